/**
 * Merging of ascending entries from several places, the newest version of a key winning: of iterators (`mergeEntries`, which
 * scans of the whole store use too) and of table files into a new one (`mergeTables`).
 *
 * One and two sources have loops of their own. More stand in a binary heap, the smallest key at the root, and of equal keys
 * the newest source's. A step makes no object of its own.
 */
import type { Entry } from './entry.js';
import type { FileLayer } from './files.js';
import { type Table, type TableFigures, writeTable } from './table.js';

/**
 * All entries of `sources` in ascending order, each key once.
 *
 * Shape   each source has strictly ascending keys; the newest source comes first.
 * Returns the newest version of each key; tombstones are passed on. Ending early ends the sources (`return`).
 * Errors  those of the sources.
 */
export function mergeEntries(sources: readonly Iterator<Entry>[]): Generator<Entry> {
  if (sources.length === 2) return mergeTwo(sources[0]!, sources[1]!);
  return sources.length === 1 ? passOn(sources[0]!) : mergeMany(sources);
}

/**
 * Writes what `inputs` hold to a new table at `path`.
 *
 * Shape   the newest table first. `dropTombstones`: nothing older than these tables is left that a removal must hide.
 * Returns the figures of the new table; it has no entries when nothing was left.
 * Errors  `TableDamage` of an input; failures of the disk. Then there is no file at `path`.
 */
export function mergeTables(
  files: FileLayer,
  inputs: readonly Table[],
  path: string,
  dropTombstones: boolean,
): TableFigures {
  const entries = mergeEntries(inputs.map((table) => table.scan('', undefined)));
  return writeTable(files, path, dropTombstones ? withoutTombstones(entries) : entries);
}

function* withoutTombstones(entries: Iterable<Entry>): Generator<Entry> {
  for (const entry of entries) if (entry.value !== undefined) yield entry;
}

function* passOn(source: Iterator<Entry>): Generator<Entry> {
  try {
    for (let step = source.next(); !step.done; step = source.next()) yield step.value;
  } finally {
    source.return?.();
  }
}

function* mergeTwo(newer: Iterator<Entry>, older: Iterator<Entry>): Generator<Entry> {
  try {
    let left = newer.next();
    let right = older.next();
    while (!left.done && !right.done) {
      if (right.value.key < left.value.key) {
        yield right.value;
        right = older.next();
      } else {
        if (right.value.key === left.value.key) right = older.next();
        yield left.value;
        left = newer.next();
      }
    }
    for (; !left.done; left = newer.next()) yield left.value;
    for (; !right.done; right = older.next()) yield right.value;
  } finally {
    newer.return?.();
    older.return?.();
  }
}

function* mergeMany(sources: readonly Iterator<Entry>[]): Generator<Entry> {
  try {
    const heads: Entry[] = [];
    const heap: number[] = [];
    for (let source = 0; source < sources.length; source++) {
      const step = sources[source]!.next();
      heads.push(step.done ? { key: '', value: undefined } : step.value);
      if (!step.done) heap.push(source);
    }
    for (let at = heap.length >> 1; at >= 0; at--) siftDown(heap, heads, at);
    let last: string | undefined;
    while (heap.length > 0) {
      const source = heap[0]!;
      const entry = heads[source]!;
      const step = sources[source]!.next();
      if (!step.done) heads[source] = step.value;
      else {
        const moved = heap.pop()!;
        if (heap.length > 0) heap[0] = moved;
      }
      siftDown(heap, heads, 0);
      if (entry.key === last) continue;
      last = entry.key;
      yield entry;
    }
  } finally {
    for (const source of sources) source.return?.();
  }
}

/** Moves the source at `heap[at]` down to where none below it comes before it. */
function siftDown(heap: number[], heads: readonly Entry[], at: number): void {
  const source = heap[at]!;
  const key = heads[source]?.key ?? '';
  let hole = at;
  for (let child = 2 * hole + 1; child < heap.length; child = 2 * hole + 1) {
    let below = heap[child]!;
    let belowKey = heads[below]!.key;
    if (child + 1 < heap.length) {
      const sibling = heap[child + 1]!;
      const siblingKey = heads[sibling]!.key;
      if (siblingKey < belowKey || (siblingKey === belowKey && sibling < below)) {
        child++;
        below = sibling;
        belowKey = siblingKey;
      }
    }
    if (key < belowKey || (key === belowKey && source < below)) break;
    heap[hole] = below;
    hole = child;
  }
  if (hole !== at) heap[hole] = source;
}
