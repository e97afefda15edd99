/** Writes what is in a memtable as frames, to begin a log segment with. */
import type { Entry } from './entry.js';
import { type MemTable, successor } from './memtable.js';
import { OpenFrame } from './open-frame.js';

/** A frame ends when it is larger. */
const FRAME_BYTES = 65_536;

/**
 * Each frame knows `sequence` as its last operation. With `nothingOlder` there is nothing that removals would have to hide: they
 * are left out. Keys that begin with `summaryPrefix` come last.
 */
export function* dumpFrames(
  memtable: MemTable,
  sequence: number,
  nothingOlder: boolean,
  summaryPrefix: string | undefined,
): Generator<Buffer> {
  const frame = new OpenFrame(() => {});
  for (const { key, value } of summaryLast(memtable, summaryPrefix)) {
    if (value !== undefined) {
      const at = frame.put(key, value.length, memtable.find(key)!.fresh);
      frame.buffer.set(value, at);
    } else if (!nothingOlder) frame.remove(key);
    if (frame.length > FRAME_BYTES) yield frame.end(sequence, 0);
  }
  if (!frame.empty) yield frame.end(sequence, 0);
}

function* summaryLast(memtable: MemTable, summaryPrefix: string | undefined): Generator<Entry> {
  if (summaryPrefix === undefined) return yield* memtable.scan('', undefined);
  yield* memtable.scan('', summaryPrefix);
  yield* memtable.scan(successor(summaryPrefix), undefined);
  yield* memtable.scan(summaryPrefix, successor(summaryPrefix));
}
