/**
 * Buffers for bytes on their way out, attached to a connection only while it has some: an idle connection holds none.
 *
 * Two sizes, since most turns produce a few hundred bytes for a connection and some produce tens of kilobytes. The pool
 * keeps a bounded number of each and leaves the rest to the garbage collector.
 */
export const SMALL_CHUNK_BYTES = 4096;
export const LARGE_CHUNK_BYTES = 65536;

const SMALL_KEPT_MAX = 2048;
const LARGE_KEPT_MAX = 64;

const small: Buffer[] = [];
const large: Buffer[] = [];

/** A chunk of at least `bytes`; its contents are whatever was there before. Above the large size it is one of its own. */
export function takeChunk(bytes: number): Buffer {
  if (bytes > LARGE_CHUNK_BYTES) return Buffer.allocUnsafeSlow(bytes);
  if (bytes <= SMALL_CHUNK_BYTES) return small.pop() ?? Buffer.allocUnsafeSlow(SMALL_CHUNK_BYTES);
  return large.pop() ?? Buffer.allocUnsafeSlow(LARGE_CHUNK_BYTES);
}

/** Gives back what `takeChunk` gave. Nobody may look at it any more. */
export function giveChunk(chunk: Buffer): void {
  if (chunk.length === SMALL_CHUNK_BYTES) {
    if (small.length < SMALL_KEPT_MAX) small.push(chunk);
  } else if (chunk.length === LARGE_CHUNK_BYTES && large.length < LARGE_KEPT_MAX) large.push(chunk);
}
