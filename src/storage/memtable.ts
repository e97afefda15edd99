/**
 * What was written since the last table file, by key, in memory: the newest version of each key, or that it was removed.
 *
 * Keys are kept in buckets, so that the keys of one owner (a session, a group) are found and put in order without a look at
 * the others: keys that begin with a capital letter belong to the bucket of their first five bytes, all others to that of
 * their first byte. A bucket is put in order only when it is scanned, and then keeps its order.
 */
import type { Entry } from './entry.js';

export interface Slot {
  /** Undefined: removed. */
  readonly buffer: Buffer | undefined;
  readonly start: number;
  readonly end: number;
  /** Nothing older has this key: when it is removed, nothing remains to be hidden. */
  readonly fresh: boolean;
}

const GONE: Slot = { buffer: undefined, start: 0, end: 0, fresh: false };

function isOwned(key: string): boolean {
  const first = key.charCodeAt(0);
  return first >= 0x41 && first <= 0x5a;
}

function bucketOf(key: string): string {
  return key.slice(0, isOwned(key) ? 5 : 1);
}

class Bucket {
  readonly slots = new Map<string, Slot>();
  /** Ascending, from when the bucket was first scanned; may hold keys that are gone. */
  private ordered: string[] | undefined;
  /** Keys that came since and belong before the last of `ordered`. */
  private late: string[] = [];

  set(key: string, slot: Slot): void {
    if (this.ordered !== undefined && !this.slots.has(key)) {
      const last = this.ordered.at(-1);
      if (last === undefined || key > last) this.ordered.push(key);
      else this.late.push(key);
    }
    this.slots.set(key, slot);
  }

  inOrder(): string[] {
    if (this.ordered === undefined) this.ordered = [...this.slots.keys()].sort(ascending);
    else if (this.late.length > 0 || this.ordered.length > 2 * this.slots.size + 64) {
      this.late.sort(ascending);
      this.ordered = mergeKeys(this.ordered, this.late, this.slots);
    }
    this.late = [];
    return this.ordered;
  }
}

export class MemTable {
  private readonly buckets = new Map<string, Bucket>();
  private count = 0;

  /** Entries, removals included. */
  get size(): number {
    return this.count;
  }

  put(key: string, buffer: Buffer, start: number, end: number, fresh: boolean): void {
    const name = bucketOf(key);
    let bucket = this.buckets.get(name);
    if (bucket === undefined) {
      bucket = new Bucket();
      this.buckets.set(name, bucket);
    }
    const before = bucket.slots.size;
    bucket.set(key, { buffer, start, end, fresh });
    if (bucket.slots.size > before) this.count++;
    else if (fresh) bucket.set(key, { buffer, start, end, fresh: false }); // it hid something, and goes on hiding it
  }

  remove(key: string): void {
    const name = bucketOf(key);
    let bucket = this.buckets.get(name);
    if (bucket?.slots.get(key)?.fresh) {
      bucket.slots.delete(key);
      this.count--;
      return;
    }
    if (bucket === undefined) {
      bucket = new Bucket();
      this.buckets.set(name, bucket);
    }
    const before = bucket.slots.size;
    bucket.set(key, GONE);
    this.count += bucket.slots.size - before;
  }

  find(key: string): Slot | undefined {
    return this.buckets.get(bucketOf(key))?.slots.get(key);
  }

  /** Entries with `from <= key < to` in order. What changes between two steps may or may not be met. */
  *scan(from: string, to: string | undefined): Generator<Entry> {
    for (const bucket of this.between(from, to)) {
      const keys = bucket.inOrder();
      for (let index = lowerBound(keys, from); index < keys.length; index++) {
        const key = keys[index]!;
        if (to !== undefined && key >= to) break;
        const slot = bucket.slots.get(key);
        if (slot !== undefined) yield { key, value: slot.buffer?.subarray(slot.start, slot.end) };
      }
    }
  }

  private between(from: string, to: string | undefined): Bucket[] {
    const name = bucketOf(from);
    // The common case: a range within one bucket.
    if (to !== undefined && name.length === (isOwned(name) ? 5 : 1) && to <= successor(name)) {
      const bucket = this.buckets.get(name);
      return bucket === undefined ? [] : [bucket];
    }
    return [...this.buckets.entries()]
      .filter(([prefix]) => (to === undefined || prefix < to) && successor(prefix) > from)
      .sort(([a], [b]) => ascending(a, b))
      .map(([, bucket]) => bucket);
  }
}

/** The first string that is greater than all that begin with `prefix`. */
export function successor(prefix: string): string {
  const last = prefix.charCodeAt(prefix.length - 1);
  return prefix === '' ? '\uffff' : prefix.slice(0, -1) + String.fromCharCode(last + 1);
}

function ascending(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function lowerBound(keys: readonly string[], from: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < from) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Both lists in one, without the keys that have no slot any more and without repetitions. */
function mergeKeys(a: readonly string[], b: readonly string[], slots: ReadonlyMap<string, Slot>): string[] {
  const out: string[] = [];
  let left = 0;
  let right = 0;
  while (left < a.length || right < b.length) {
    const next = right >= b.length || (left < a.length && a[left]! <= b[right]!) ? a[left++]! : b[right++]!;
    if (next !== out.at(-1) && slots.has(next)) out.push(next);
  }
  return out;
}
