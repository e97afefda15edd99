/**
 * A TLS connection driven by its handle, as `handle-stream` drives TCP: once the handshake is over, Node's stream machinery is
 * passed by. OpenSSL decrypts record by record, and a record comes up even after reading was stopped, as does the end; those are held.
 */
import type { TLSSocket } from 'node:tls';
import type { ByteSink, ByteStream, PeerAddress, StreamSecurity } from './byte-stream.js';
import { HandleStream, handlesAvailable, readBuffer, type StreamHandle, UV_EOF } from './handle-stream.js';
import { NodeStream } from './node-stream.js';

/** Call it in the turn in which the handshake ended, or later; nothing else may read from or write to `socket` afterwards. */
export function secureStream(socket: TLSSocket, peer: PeerAddress, security: StreamSecurity): ByteStream {
  const handle = (socket as unknown as { _handle?: StreamHandle | null })._handle;
  const driveable = handlesAvailable && typeof handle?.useUserBuffer === 'function';
  return driveable ? new SecureHandleStream(socket, handle, peer, security) : new NodeStream(socket, peer, security);
}

class SecureHandleStream extends HandleStream {
  /** Decrypted while nobody read: at most what one read of the socket held. */
  private held: Buffer[] = [];
  private releasing = false;
  /** The peer ended while nobody read: that is told behind what is held. */
  private ended = false;
  private failure: Error | undefined;

  constructor(
    private readonly socket: TLSSocket,
    handle: StreamHandle,
    peer: PeerAddress,
    readonly security: StreamSecurity,
  ) {
    socket.setNoDelay(true);
    // What came while the client was judged.
    const early = socket.read() as Buffer | null;
    super(handle);
    if (early !== null) this.held.push(early);
    handle.readStop();
    this.address = peer;
    socket.on('error', (error) => {
      this.failure ??= error;
    });
    socket.on('close', () => this.close(this.failure));
  }

  override start(sink: ByteSink): void {
    if (!this.closed) return super.start(sink);
    process.nextTick(() => sink.onClosed(this.failure));
  }

  override received(count: number): void {
    if (count > 0 && (!this.reading || this.held.length > 0) && !this.ending && !this.closed)
      this.held.push(Buffer.from(readBuffer.subarray(0, count)));
    else if (count === UV_EOF && (!this.reading || this.held.length > 0) && !this.ending) this.ended = true;
    else super.received(count);
  }

  override resume(): void {
    if (this.ending || (this.held.length === 0 && !this.ended)) return super.resume();
    if (this.releasing || this.closed) return;
    this.releasing = true;
    this.reading = true;
    process.nextTick(() => this.handUp());
  }

  override pause(): void {
    if (!this.releasing) return super.pause();
    this.reading = false;
  }

  protected override release(): void {
    this.held = [];
    this.socket.destroy();
  }

  private handUp(): void {
    while (this.reading && !this.ending && !this.closed) {
      const bytes = this.held.shift();
      if (bytes === undefined) break;
      this.sink?.onBytes(bytes, 0, bytes.length);
    }
    this.releasing = false;
    if (!this.reading && !this.ending) return;
    if (this.ended && !this.ending) return super.received(UV_EOF);
    this.reading = false;
    super.resume();
  }
}
