/**
 * Buffers for bytes on their way out, attached to a connection only while it has some: an idle connection holds none.
 *
 * Three sizes, since most turns produce a few hundred bytes for a connection, some tens of kilobytes, and a run may be as long as what was
 * read at once. The pool keeps a bounded number of each and leaves the rest to the garbage collector.
 */
export const SMALL_CHUNK_BYTES = 4096;
export const LARGE_CHUNK_BYTES = 65536;
export const RUN_CHUNK_BYTES = 131072;

const SMALL_KEPT_MAX = 2048;
const LARGE_KEPT_MAX = 64;
const RUN_KEPT_MAX = 16;

const small: Buffer[] = [];
const large: Buffer[] = [];
const runs: Buffer[] = [];

/** A chunk of at least `bytes`; its contents are whatever was there before. Above the largest size it is one of its own. */
export function takeChunk(bytes: number): Buffer {
  if (bytes > RUN_CHUNK_BYTES) return Buffer.allocUnsafeSlow(bytes);
  if (bytes > LARGE_CHUNK_BYTES) return runs.pop() ?? Buffer.allocUnsafeSlow(RUN_CHUNK_BYTES);
  if (bytes <= SMALL_CHUNK_BYTES) return small.pop() ?? Buffer.allocUnsafeSlow(SMALL_CHUNK_BYTES);
  return large.pop() ?? Buffer.allocUnsafeSlow(LARGE_CHUNK_BYTES);
}

/** Gives back what `takeChunk` gave. Nobody may look at it any more. */
export function giveChunk(chunk: Buffer): void {
  if (chunk.length === SMALL_CHUNK_BYTES) {
    if (small.length < SMALL_KEPT_MAX) small.push(chunk);
  } else if (chunk.length === LARGE_CHUNK_BYTES) {
    if (large.length < LARGE_KEPT_MAX) large.push(chunk);
  } else if (chunk.length === RUN_CHUNK_BYTES && runs.length < RUN_KEPT_MAX) runs.push(chunk);
}
