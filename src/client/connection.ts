/**
 * One network connection of a client: packets in, bytes out, keep alive.
 *
 * Everything sent in one turn of the event loop leaves in one write. Beyond `highWaterBytes` waiting in the stream, `drained`
 * gives a promise to wait for. One timer serves keep alive, whatever the traffic.
 */
import type { Duplex } from 'node:stream';
import {
  encodePacket,
  type Packet,
  PacketReader,
  PacketType,
  ProtocolFailure,
  type ProtocolVersion,
} from '../protocol/index.js';

const highWaterBytes = 1 << 20;
/** How long the other side may take to close after `end`. */
const lingerMs = 2_000;
/** Up to here the packets of a turn are joined into one buffer; larger ones go out by themselves. */
const joinedBytesMax = 1 << 18;

const pingreq = encodePacket({ type: PacketType.Pingreq }, 4);

export interface ConnectionEvents {
  onPacket(packet: Packet): void;
  /** Once. `error` is what the stream or the reader said; undefined when the other side just closed. */
  onClosed(error: Error | undefined): void;
  onPing(): void;
  /** The server broke the protocol: returns what to say before the connection is closed. */
  onProtocolFailure(failure: ProtocolFailure): Buffer | undefined;
}

export class PingTimeout extends Error {}

export class Connection {
  private readonly reader: PacketReader;
  private outbox: Buffer[] = [];
  private outboxBytes = 0;
  private flushPlanned = false;
  private drainWaiters: (() => void)[] = [];
  private closed = false;
  private ending = false;
  private paused = false;
  private failure: Error | undefined;
  private sentAt = Date.now();
  private receivedAt = this.sentAt;
  private pingSentAt = 0;
  private keepAliveTimer: NodeJS.Timeout | undefined;

  constructor(
    private readonly stream: Duplex,
    version: ProtocolVersion,
    packetBytesMax: number,
    private readonly events: ConnectionEvents,
  ) {
    this.reader = new PacketReader('client', packetBytesMax);
    this.reader.version = version;
    stream.on('data', (chunk: Buffer) => this.receive(chunk));
    stream.on('error', (error: Error) => {
      this.failure ??= error;
    });
    stream.on('drain', () => this.releaseWaiters());
    stream.on('end', () => this.close());
    stream.on('close', () => this.close());
  }

  /** Queues bytes for the write of this turn. */
  send(bytes: Buffer): void {
    if (this.closed || this.ending) return;
    this.outbox.push(bytes);
    this.outboxBytes += bytes.length;
    if (this.flushPlanned) return;
    this.flushPlanned = true;
    setImmediate(() => this.flush());
  }

  /** Undefined while the stream takes more; otherwise resolves when it does again, or is gone. */
  drained(): Promise<void> | undefined {
    if (this.closed || this.outboxBytes + this.stream.writableLength < highWaterBytes) return undefined;
    return new Promise((resolve) => {
      this.drainWaiters.push(resolve);
    });
  }

  /** Reads no further until `resume`: what came already is still handed up. */
  pause(): void {
    if (this.closed || this.ending) return;
    this.paused = true;
    this.stream.pause();
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    // Its answer may have lain there all the time.
    this.receivedAt = Date.now();
    if (this.pingSentAt > 0) this.pingSentAt = this.receivedAt;
    this.stream.resume();
  }

  /** Starts or changes keep alive. `keepAlive` in seconds, 0 for none. */
  keepAlive(keepAlive: number, pingTimeoutMs: number): void {
    clearTimeout(this.keepAliveTimer);
    this.pingSentAt = 0;
    if (keepAlive > 0 && !this.closed) this.planKeepAlive(keepAlive * 1000, pingTimeoutMs);
  }

  /** Sends what is queued, then closes in order: the server closes its side, or is given up on after a while. */
  end(error?: Error): void {
    if (this.closed) return;
    this.failure ??= error;
    this.flush();
    clearTimeout(this.keepAliveTimer);
    this.ending = true;
    this.stream.end();
    this.resume(); // so that the end of the other side is seen
    this.keepAliveTimer = setTimeout(() => this.destroy(), lingerMs);
  }

  destroy(error?: Error): void {
    this.failure ??= error;
    this.stream.destroy();
    this.close();
  }

  private receive(chunk: Buffer): void {
    if (this.closed || this.ending) return;
    this.receivedAt = Date.now();
    try {
      this.reader.read(chunk, (packet) => {
        if (packet.type === PacketType.Pingresp) this.pingSentAt = 0;
        if (!this.closed && !this.ending) this.events.onPacket(packet);
      });
    } catch (error) {
      if (!(error instanceof ProtocolFailure)) throw error;
      const farewell = this.events.onProtocolFailure(error);
      if (farewell !== undefined) this.send(farewell);
      this.end(error);
      return;
    }
    if (this.flushPlanned) this.flush();
  }

  private flush(): void {
    this.flushPlanned = false;
    const { outbox } = this;
    if (outbox.length === 0 || this.closed) return;
    this.outbox = [];
    const bytes = this.outboxBytes;
    this.outboxBytes = 0;
    this.sentAt = Date.now();
    if (outbox.length === 1) this.stream.write(outbox[0]!);
    else if (bytes <= joinedBytesMax) this.stream.write(Buffer.concat(outbox, bytes));
    else this.writeMany(outbox);
    if (this.stream.writableLength === 0) this.releaseWaiters();
  }

  private writeMany(outbox: readonly Buffer[]): void {
    this.stream.cork();
    for (const packet of outbox) this.stream.write(packet);
    this.stream.uncork();
  }

  private releaseWaiters(): void {
    const waiters = this.drainWaiters;
    if (waiters.length === 0) return;
    this.drainWaiters = [];
    for (const resolve of waiters) resolve();
  }

  private planKeepAlive(keepAliveMs: number, pingTimeoutMs: number): void {
    const now = Date.now();
    const due = this.paused
      ? this.sentAt + keepAliveMs
      : this.pingSentAt > 0
        ? this.pingSentAt + pingTimeoutMs
        : Math.min(this.sentAt, this.receivedAt) + keepAliveMs;
    this.keepAliveTimer = setTimeout(() => this.checkKeepAlive(keepAliveMs, pingTimeoutMs), Math.max(due - now, 1));
  }

  /** [MQTT-3.1.2-20] A ping goes out after a silence in either direction, so that a dead server is noticed too. */
  private checkKeepAlive(keepAliveMs: number, pingTimeoutMs: number): void {
    if (this.closed || this.ending) return;
    const now = Date.now();
    if (this.paused) {
      // The server wants to hear of us, and its silence is ours.
      if (now - this.sentAt >= keepAliveMs) this.ping();
    } else if (this.pingSentAt > 0) {
      if (now - this.pingSentAt >= pingTimeoutMs) {
        this.destroy(new PingTimeout(`no answer to PINGREQ in ${pingTimeoutMs} ms`));
        return;
      }
    } else if (now - Math.min(this.sentAt, this.receivedAt) >= keepAliveMs) {
      this.pingSentAt = now;
      this.ping();
    }
    this.planKeepAlive(keepAliveMs, pingTimeoutMs);
  }

  private ping(): void {
    this.send(pingreq);
    this.events.onPing();
  }

  private close(): void {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.keepAliveTimer);
    this.outbox = [];
    this.releaseWaiters();
    if (!this.stream.destroyed) this.stream.destroy();
    this.events.onClosed(this.failure);
  }
}
