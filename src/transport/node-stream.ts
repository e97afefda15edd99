/**
 * A `ByteStream` over any Node stream with two directions: `net.Socket`, `tls.TLSSocket`, a tunnel.
 *
 * Node keeps a queue of its own below `write`; `writableLength` is 0 right after a write exactly when the kernel took all.
 */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { ByteSink, ByteStream, PeerAddress, StreamSecurity } from './byte-stream.js';
import { peerOfSocket } from './peer-address.js';

/** How long `end` waits for the peer to take what was written and to close. */
const LINGER_MS = 10_000;

export class NodeStream implements ByteStream {
  readonly peer: PeerAddress;
  private sink: ByteSink | undefined;
  /** Callbacks that Node still owes; they come in the order of the writes. */
  private callbacksDue = 0;
  private waiting = false;
  private ending = false;
  private closed = false;
  private failure: Error | undefined;

  constructor(
    private readonly socket: Duplex,
    peer?: PeerAddress,
    readonly security?: StreamSecurity,
  ) {
    this.peer = peer ?? peerOfSocket(socket as Partial<Socket>);
    (socket as { setNoDelay?: (on: boolean) => void }).setNoDelay?.(true);
    socket.on('error', (error) => {
      this.failure = error;
    });
    socket.on('close', () => this.close());
    if (socket.destroyed) this.closed = true; // its end has been told already
  }

  start(sink: ByteSink): void {
    this.sink = sink;
    if (this.closed) {
      process.nextTick(() => sink.onClosed(this.failure));
      return;
    }
    this.socket.on('data', (chunk: unknown) => {
      // After `end` the peer's bytes are read and dropped, so that closing does not reset the connection.
      if (this.ending || this.closed) return;
      if (!(chunk instanceof Uint8Array)) {
        this.socket.destroy(new Error(`the stream hands out values of type ${typeof chunk} instead of bytes`));
        return;
      }
      const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      sink.onBytes(bytes, 0, bytes.length);
    });
    this.socket.on('end', () => this.socket.end());
  }

  write(chunk: Uint8Array): boolean {
    if (this.gone()) return true;
    this.callbacksDue++;
    this.socket.write(chunk, this.written);
    return this.taken();
  }

  writeMany(chunks: Uint8Array[]): boolean {
    if (chunks.length === 0 || this.gone()) return true;
    this.callbacksDue += chunks.length;
    this.socket.cork();
    for (const chunk of chunks) this.socket.write(chunk, this.written);
    this.socket.uncork();
    return this.taken();
  }

  pause(): void {
    if (!this.ending) this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  end(): void {
    if (this.ending || this.closed) return;
    this.ending = true;
    this.socket.end();
    this.socket.resume(); // so that the peer's end is seen even when reading was paused
    const linger = setTimeout(() => this.socket.destroy(), LINGER_MS).unref();
    this.socket.once('close', () => clearTimeout(linger));
  }

  destroy(): void {
    this.socket.destroy();
  }

  private gone(): boolean {
    return this.closed || this.socket.destroyed || !this.socket.writable;
  }

  private taken(): boolean {
    if (this.socket.writableLength === 0 || this.socket.destroyed) return true;
    this.waiting = true;
    return false;
  }

  private readonly written = (error?: Error | null): void => {
    this.callbacksDue--;
    // A socket that was destroyed calls back without an error for bytes it never wrote.
    if (error || !this.waiting || this.callbacksDue > 0 || this.socket.destroyed) return;
    this.waiting = false;
    this.sink?.onWritten();
  };

  private close(): void {
    if (this.closed) return;
    this.closed = true;
    this.sink?.onClosed(this.failure);
    this.sink = undefined;
  }
}
