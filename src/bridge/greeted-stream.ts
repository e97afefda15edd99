/**
 * A byte stream to a remote whose CONNECT has been answered: what came after CONNACK waits for whoever takes the stream over.
 *
 *   CONNECT ──▶ │ CONNACK │ everything after it ──▶ the sink of `start`
 */
import {
  type ConnackPacket,
  type ConnectPacket,
  decodeBody,
  encodePacket,
  PacketType,
  readVariableByteInteger,
  variableByteIntegerIncomplete,
  variableByteIntegerLength,
} from '../protocol/index.js';
import type { ByteSink, ByteStream, CompressibleStream, PeerAddress, StreamSecurity } from '../transport/index.js';

const CONNACK_BYTES_MAX = 262_144;

/** The remote closed the connection before it answered. */
export class NotAnswered extends Error {}

export class GreetedStream implements ByteStream, ByteSink {
  private sink: ByteSink | undefined;
  private early: Buffer = Buffer.alloc(0);
  private closed = false;
  private closedBy: Error | undefined;
  private answered: ((answer: ConnackPacket | Error) => void) | undefined;
  private version: ConnectPacket['protocolVersion'] = 4;

  constructor(private readonly stream: CompressibleStream) {}

  get peer(): PeerAddress {
    return this.stream.peer;
  }

  get wireBytesSent(): number {
    return this.stream.wireBytesSent;
  }

  get wireBytesReceived(): number {
    return this.stream.wireBytesReceived;
  }

  get preparing(): boolean {
    return this.stream.preparing;
  }

  get security(): StreamSecurity | undefined {
    return this.stream.security;
  }

  /** Sends CONNECT and resolves to the answer. Rejects when the stream ends first, or is aborted. */
  async greet(connect: ConnectPacket, signal: AbortSignal): Promise<ConnackPacket> {
    this.version = connect.protocolVersion;
    if (signal.aborted) {
      this.stream.destroy();
      throw signal.reason;
    }
    const answer = new Promise<ConnackPacket | Error>((resolve) => {
      this.answered = resolve;
    });
    const abort = (): void => {
      this.answered?.(signal.reason as Error);
      this.stream.destroy();
    };
    signal.addEventListener('abort', abort, { once: true });
    try {
      this.stream.start(this);
      this.write(encodePacket(connect, connect.protocolVersion));
      const got = await answer;
      if (got instanceof Error) {
        this.stream.destroy();
        throw got;
      }
      return got;
    } finally {
      this.answered = undefined;
      signal.removeEventListener('abort', abort);
    }
  }

  /** Both sides have agreed to compress what follows CONNECT and CONNACK. */
  compressed = false;

  compress(): void {
    this.compressed = true;
    const { early } = this;
    this.early = Buffer.alloc(0);
    this.stream.compress(0, early);
  }

  // ---- ByteSink of the stream below ----

  onBytes(bytes: Buffer, start: number, end: number): void {
    if (this.sink !== undefined) {
      this.sink.onBytes(bytes, start, end);
      return;
    }
    this.early = Buffer.concat([this.early, bytes.subarray(start, end)]);
    this.lookForAnswer();
  }

  onWritten(): void {
    this.sink?.onWritten();
  }

  onClosed(error?: Error): void {
    this.closed = true;
    this.closedBy = error;
    this.answered?.(error ?? new NotAnswered('the remote closed the connection before it answered CONNECT'));
    this.sink?.onClosed(error);
  }

  private lookForAnswer(): void {
    const { early, answered } = this;
    if (answered === undefined || early.length < 2) return;
    const length = readVariableByteInteger(early, 1, early.length);
    if (length === variableByteIntegerIncomplete) return;
    if (length < 0 || length > CONNACK_BYTES_MAX) return answered(new Error('the answer of the remote is not MQTT'));
    const bodyStart = 1 + variableByteIntegerLength(length);
    const bodyEnd = bodyStart + length;
    if (early.length < bodyEnd) return;
    try {
      const packet = decodeBody(early[0]!, early, bodyStart, bodyEnd, this.version, 'client');
      this.early = early.subarray(bodyEnd);
      this.stream.pause();
      answered(
        packet.type === PacketType.Connack
          ? packet
          : new Error(`the remote answered CONNECT with packet type ${packet.type}, not CONNACK`),
      );
    } catch (error) {
      answered(error as Error);
    }
  }

  // ---- ByteStream for whoever takes over ----

  start(sink: ByteSink): void {
    this.sink = sink;
    if (this.closed) {
      process.nextTick(() => sink.onClosed(this.closedBy));
      return;
    }
    const { early } = this;
    this.early = Buffer.alloc(0);
    this.stream.resume();
    if (early.length > 0) sink.onBytes(early, 0, early.length);
  }

  write(chunk: Uint8Array): boolean {
    return this.stream.write(chunk);
  }

  writeMany(chunks: Uint8Array[]): boolean {
    return this.stream.writeMany(chunks);
  }

  pause(): void {
    this.stream.pause();
  }

  resume(): void {
    this.stream.resume();
  }

  end(): void {
    this.stream.end();
  }

  destroy(): void {
    this.stream.destroy();
  }
}
