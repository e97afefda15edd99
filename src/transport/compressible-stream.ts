/**
 * A byte stream that both sides may agree to compress after it was opened. Until then everything passes through as it is.
 *
 *   write ──▶ plain bytes that are due ──▶ │ deflate, flushed with every write │ ──▶ the stream below
 *   sink  ◀────────────────────────────────│ inflate                           │ ◀──
 *
 * What a write brought is handed on before the next is taken, so there is one block a turn of whoever writes. Input is inflated in pieces; while
 * the sink has paused, nothing is read below and nothing more is inflated.
 */
import { constants, createDeflateRaw, createInflateRaw, type DeflateRaw, type InflateRaw } from 'node:zlib';
import type { ByteSink, ByteStream, PeerAddress, StreamSecurity } from './byte-stream.js';

export class CompressibleStream implements ByteStream, ByteSink {
  /** Bytes of the stream below. */
  wireBytesSent = 0;
  wireBytesReceived = 0;
  private sink: ByteSink | undefined;
  private deflate: DeflateRaw | undefined;
  private inflate: InflateRaw | undefined;
  /** Bytes that still leave as they are, though the rest is compressed. */
  private plainDue = 0;
  /** Compressed bytes of the write under way. */
  private made: Uint8Array[] = [];
  private working = false;
  /** The stream below has the write under way. */
  private handedOn = false;
  private ending = false;
  private damaged = false;
  private paused = false;
  private closedBelow = false;
  /** All that came before the end is inflated; what the sink has not taken waits. */
  private inflated = false;
  private closedBy: Error | undefined;
  private closed = false;

  constructor(private readonly stream: ByteStream) {}

  get peer(): PeerAddress {
    return this.stream.peer;
  }

  get security(): StreamSecurity | undefined {
    return this.stream.security;
  }

  get cookieHeader(): string | undefined {
    return this.stream.cookieHeader;
  }

  get preparing(): boolean {
    return this.working && !this.handedOn;
  }

  /**
   * Compresses from now on: all that comes in, `early` first (which came already), and what goes out after the next `plainBytes`.
   */
  compress(plainBytes: number, early?: Uint8Array): void {
    this.plainDue = plainBytes;
    this.deflate = createDeflateRaw({ flush: constants.Z_SYNC_FLUSH });
    this.deflate.on('data', (chunk: Buffer) => this.made.push(chunk));
    this.deflate.on('error', (error) => this.fail(error));
    const inflate = createInflateRaw();
    this.inflate = inflate;
    inflate.on('data', (chunk: Buffer) => {
      if (!this.closed) this.sink?.onBytes(chunk, 0, chunk.length);
      if (this.inflated) setImmediate(() => this.closeWhenRead());
    });
    inflate.on('error', (error) => this.fail(error));
    // A stream that says it is complete would swallow all that follows.
    inflate.on('end', () => this.fail(new Error('it ends before the connection does')));
    inflate.on('drain', () => {
      if (!this.paused) this.stream.resume();
    });
    if (this.paused) inflate.pause();
    if (early !== undefined && early.length > 0) inflate.write(Buffer.from(early));
  }

  // ---- for whoever uses the stream ----

  start(sink: ByteSink): void {
    this.sink = sink;
    this.stream.start(this);
  }

  write(chunk: Uint8Array): boolean {
    if (this.deflate !== undefined) return this.squeeze([chunk], this.deflate);
    this.wireBytesSent += chunk.length;
    return this.stream.write(chunk);
  }

  writeMany(chunks: Uint8Array[]): boolean {
    if (this.deflate !== undefined) return this.squeeze(chunks, this.deflate);
    for (const chunk of chunks) this.wireBytesSent += chunk.length;
    return this.stream.writeMany(chunks);
  }

  pause(): void {
    this.paused = true;
    this.inflate?.pause();
    this.stream.pause();
  }

  resume(): void {
    this.paused = false;
    this.inflate?.resume();
    if (this.inflate === undefined || !this.inflate.writableNeedDrain) this.stream.resume();
  }

  end(): void {
    this.ending = true;
    if (this.closedBelow) this.close();
    else if (!this.preparing) this.stream.end();
  }

  destroy(): void {
    if (this.closedBelow) this.close();
    else this.stream.destroy();
  }

  // ---- from the stream below ----

  onBytes(bytes: Buffer, start: number, end: number): void {
    const { inflate } = this;
    this.wireBytesReceived += end - start;
    if (this.ending) return;
    if (inflate === undefined) return this.sink?.onBytes(bytes, start, end);
    // The bytes below are good only during the call.
    if (!inflate.write(Buffer.from(bytes.subarray(start, end)))) this.stream.pause();
  }

  onWritten(): void {
    if (this.deflate === undefined || !this.working) this.sink?.onWritten();
    else this.written();
  }

  onClosed(error?: Error): void {
    this.closedBelow = true;
    this.closedBy ??= error;
    const { inflate } = this;
    const lost = error !== undefined && this.paused;
    if (inflate === undefined || inflate.destroyed || this.damaged || lost) return this.close();
    // What came before the end counts.
    inflate.flush(() => {
      this.inflated = true;
      setImmediate(() => this.closeWhenRead());
    });
  }

  // ---- inside ----

  private squeeze(chunks: Uint8Array[], deflate: DeflateRaw): boolean {
    if (this.closed) return true;
    this.working = true;
    const out: Uint8Array[] = [];
    const rest: Uint8Array[] = [];
    for (const chunk of chunks) {
      const plain = Math.min(this.plainDue, chunk.length);
      this.plainDue -= plain;
      if (plain > 0) out.push(chunk.subarray(0, plain));
      if (plain < chunk.length) rest.push(chunk.subarray(plain));
    }
    this.made = out;
    if (rest.length === 0) {
      setImmediate(() => this.handOn());
      return false;
    }
    rest.forEach((chunk, index) => {
      deflate.write(chunk, index === rest.length - 1 ? () => setImmediate(() => this.handOn()) : undefined);
    });
    return false;
  }

  /** Everything of the write is compressed: it goes to the stream below. */
  private handOn(): void {
    if (this.closed || this.closedBelow) return;
    const { made } = this;
    this.made = [];
    for (const chunk of made) this.wireBytesSent += chunk.length;
    this.handedOn = true;
    if (this.stream.writeMany(made)) this.written();
    else if (this.ending) this.stream.end(); // which does not wait for ever
  }

  private written(): void {
    this.working = false;
    this.handedOn = false;
    if (this.ending) this.stream.end();
    else this.sink?.onWritten();
  }

  private fail(error: Error): void {
    this.damaged = true;
    this.closedBy ??= new Error(`the compressed stream is damaged: ${error.message}`);
    if (this.closedBelow) this.close();
    else this.stream.destroy();
  }

  private closeWhenRead(): void {
    if (this.inflate?.readableLength === 0) this.close();
  }

  private close(): void {
    if (this.closed) return;
    this.closed = true;
    this.deflate?.close();
    this.inflate?.close();
    const { sink } = this;
    this.sink = undefined;
    sink?.onClosed(this.closedBy);
  }
}
