/**
 * Bytes on their way to one client: gathered while a turn runs, handed to the stream in one write when it ends.
 *
 *   list (complete segments, in order)          chunk (being filled)
 *   | view of a pooled chunk | shared bytes | … | used ........ free |
 *
 * Small packets are copied into pooled chunks, large payloads and shared runs go by reference. While the stream still has a
 * write under way, new bytes gather behind it. What has to wait for storage is held: what comes later gathers behind, so that a peer
 * that keeps sending does not put off its own answers. An idle connection holds no buffer.
 */
import { giveChunk, LARGE_CHUNK_BYTES, takeChunk } from '../base/index.js';
import type { ByteStream } from '../transport/index.js';
import type { OutboundTotals } from './outbound-totals.js';

export class Outbound {
  /** The chunk being filled; write to it only what `reserve` granted. */
  chunk: Buffer | undefined;
  private used = 0;
  private list: Uint8Array[] | undefined;
  private pooled: Buffer[] | undefined;
  private waiting = 0;
  private underWay = 0;
  private sent: Buffer[] | undefined;
  /** Bytes that the kernel has taken. */
  taken = 0;
  private held: { list: Uint8Array[]; pooled: Buffer[] | undefined; bytes: number } | undefined;

  constructor(private readonly totals: OutboundTotals) {}

  /** Bytes that the kernel has not taken. */
  get bytes(): number {
    return this.waiting + this.underWay + (this.held?.bytes ?? 0);
  }

  /** Bytes that no stream has yet, those held left out. */
  get gathered(): number {
    return this.waiting;
  }

  get holds(): boolean {
    return this.held !== undefined;
  }

  /** Whether a write is under way that has not completed. */
  get busy(): boolean {
    return this.underWay > 0;
  }

  /** Makes room for `bytes` in `chunk` and returns where it begins. */
  reserve(bytes: number): number {
    if (this.chunk === undefined) this.chunk = takeChunk(bytes);
    else if (this.used + bytes > this.chunk.length) {
      this.seal();
      this.chunk = takeChunk(Math.max(bytes, LARGE_CHUNK_BYTES));
    }
    const at = this.used;
    this.used += bytes;
    this.waiting += bytes;
    this.totals.bytes += bytes;
    return at;
  }

  /** Appends bytes that nobody changes, without copying them. */
  reference(bytes: Uint8Array): void {
    this.seal();
    this.list ??= [];
    this.list.push(bytes);
    this.waiting += bytes.length;
    this.totals.bytes += bytes.length;
  }

  /** Sets aside what is gathered; nothing may be held yet. */
  hold(): void {
    this.seal();
    this.held = { list: this.list!, pooled: this.pooled, bytes: this.waiting };
    this.list = undefined;
    this.pooled = undefined;
    this.waiting = 0;
  }

  /** Hands what is held to the stream. Returns true when the kernel has taken it, or nothing was held. */
  flushHeld(stream: ByteStream): boolean {
    const { held } = this;
    if (held === undefined) return true;
    if (this.underWay > 0) return false;
    this.held = undefined;
    return this.write(stream, held.list, held.pooled, held.bytes);
  }

  /** Hands everything gathered to the stream. Returns true when nothing is left waiting. */
  flush(stream: ByteStream): boolean {
    if (this.underWay > 0) return false;
    if (this.waiting === 0) return true;
    const bytes = this.waiting;
    if (this.list === undefined) {
      const chunk = this.chunk!;
      const taken = stream.write(this.used === chunk.length ? chunk : chunk.subarray(0, this.used));
      this.chunk = undefined;
      this.used = 0;
      if (taken) giveChunk(chunk);
      else this.sent = [chunk];
      this.waiting = 0;
      return this.submitted(taken, bytes);
    }
    this.seal();
    const { list, pooled } = this;
    this.list = undefined;
    this.pooled = undefined;
    this.waiting = 0;
    return this.write(stream, list, pooled, bytes);
  }

  private write(stream: ByteStream, list: Uint8Array[], pooled: Buffer[] | undefined, bytes: number): boolean {
    const taken = list.length === 1 ? stream.write(list[0]!) : stream.writeMany(list);
    if (!taken) this.sent = pooled;
    else if (pooled) for (const chunk of pooled) giveChunk(chunk);
    return this.submitted(taken, bytes);
  }

  /** The stream has completed the write under way. */
  completed(): void {
    if (this.sent) for (const chunk of this.sent) giveChunk(chunk);
    this.sent = undefined;
    this.totals.bytes -= this.underWay;
    this.taken += this.underWay;
    this.underWay = 0;
  }

  /** Gives up everything: the connection is gone. Chunks that the kernel may still read are left to the collector. */
  discard(): void {
    this.totals.bytes -= this.bytes;
    this.held = undefined;
    this.waiting = 0;
    this.underWay = 0;
    this.chunk = undefined;
    this.used = 0;
    this.list = undefined;
    this.pooled = undefined;
    this.sent = undefined;
  }

  private submitted(taken: boolean, bytes: number): boolean {
    this.totals.metrics.bytesSent += bytes;
    if (taken) {
      this.totals.bytes -= bytes;
      this.taken += bytes;
    } else this.underWay = bytes;
    return taken;
  }

  /** Moves what is in the chunk to the list. */
  private seal(): void {
    const { chunk } = this;
    if (chunk === undefined) return;
    this.list ??= [];
    this.list.push(chunk.subarray(0, this.used));
    this.pooled ??= [];
    this.pooled.push(chunk);
    this.chunk = undefined;
    this.used = 0;
  }
}
