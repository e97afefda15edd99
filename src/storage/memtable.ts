/**
 * What was written since the last table file, by key, in memory: the newest version of each key, or that it was removed.
 *
 * Keys are kept in buckets, so that the keys of one owner (a session, a group) are found and put in order without a look at
 * most others: keys that begin with a capital letter, which four bytes of their owner follow, belong to the bucket of their first
 * four bytes, all others to that of their first byte. A bucket is put in order only when it is scanned, and then keeps its order.
 *
 * Most messages are gone a moment after they came. Their entries (`FreshSlot`) stand in a plain list, where they are added and
 * dropped without a look at their keys; the first question about keys of their kind moves them to their buckets.
 */
import type { Entry } from './entry.js';
import { ascending, KeyOrder } from './key-order.js';

export interface Slot {
  /** Undefined: removed. */
  readonly buffer: Buffer | undefined;
  readonly start: number;
  readonly end: number;
  /** Nothing older has this key: when it is removed, nothing remains to be hidden. */
  readonly fresh: boolean;
}

/** An entry that nobody has asked for by its key yet. */
export class FreshSlot {
  /** Position in the memtable's list. */
  index = 0;
  private text = '';

  constructor(
    /** Undefined once it is in a bucket. */
    public buffer: Buffer | undefined,
    readonly keyStart: number,
    readonly keyEnd: number,
    readonly start: number,
    readonly end: number,
  ) {}

  get key(): string {
    return this.buffer === undefined ? this.text : this.buffer.toString('latin1', this.keyStart, this.keyEnd);
  }

  /** From now on it is known by its key; who holds it holds no buffer. */
  settle(): void {
    this.text = this.key;
    this.buffer = undefined;
  }
}

const GONE: Slot = { buffer: undefined, start: 0, end: 0, fresh: false };

/** So many owners share a bucket that one of few entries costs little, and so few that a scan of one stays short. */
const OWNED_BYTES = 4;

function isOwned(key: string): boolean {
  const first = key.charCodeAt(0);
  return first >= 0x41 && first <= 0x5a;
}

function bucketOf(key: string): string {
  return key.slice(0, isOwned(key) ? OWNED_BYTES : 1);
}

class Bucket {
  readonly slots = new Map<string, Slot>();
  /** From when the bucket was first scanned. */
  private order: KeyOrder | undefined;

  set(key: string, slot: Slot): void {
    if (this.order !== undefined && !this.slots.has(key)) this.order.add(key);
    this.slots.set(key, slot);
  }

  /** Keys from `from` on, in order; some of them may be gone. */
  keysFrom(from: string): Iterable<string> {
    if (this.order === undefined) {
      this.order = new KeyOrder();
      for (const key of this.slots.keys()) this.order.add(key);
    } else if (this.order.size > 2 * this.slots.size + 64) this.order.prune((key) => this.slots.has(key));
    return this.order.from(from);
  }
}

export class MemTable {
  private readonly buckets = new Map<string, Bucket>();
  private count = 0;
  private readonly fresh: FreshSlot[] = [];
  /** The first byte of the keys in `fresh`: one kind of key at a time is kept so. */
  private freshKind = -1;

  /** Entries, removals included. */
  get size(): number {
    return this.count + this.fresh.length;
  }

  /** Whether it holds at most so many entries, and bytes of keys and values. */
  isWithin(entriesMax: number, bytesMax: number): boolean {
    if (this.size > entriesMax) return false;
    let bytes = 0;
    for (const { keyStart, end } of this.fresh) bytes += end - keyStart;
    for (const { slots } of this.buckets.values())
      for (const [key, { start, end }] of slots) bytes += key.length + end - start;
    return bytes <= bytesMax;
  }

  /** Keys that were removed and hide what tables have: looks at all entries. */
  countRemovals(): number {
    let removals = 0;
    for (const { slots } of this.buckets.values())
      for (const { buffer } of slots.values()) if (buffer === undefined) removals++;
    return removals;
  }

  /** Adds an entry whose key is not asked for soon, and begins with `kind`. */
  addFresh(slot: FreshSlot, kind: number): void {
    if (kind !== this.freshKind) {
      this.settle();
      this.freshKind = kind;
    }
    slot.index = this.fresh.length;
    this.fresh.push(slot);
  }

  /** Drops an entry that is in no bucket yet. */
  dropFresh(slot: FreshSlot): void {
    const last = this.fresh.pop()!;
    if (last === slot) return;
    this.fresh[slot.index] = last;
    last.index = slot.index;
  }

  /** Moves what was added by `addFresh` to where it is found by key. */
  settle(): void {
    for (const slot of this.fresh) {
      const { buffer, start, end } = slot;
      slot.settle();
      this.put(slot.key, buffer!, start, end, true);
    }
    this.fresh.length = 0;
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
    if (this.fresh.length > 0 && key.charCodeAt(0) === this.freshKind) this.settle();
    return this.buckets.get(bucketOf(key))?.slots.get(key);
  }

  /** Entries with `from <= key < to` in order. What changes between two steps may or may not be met. */
  *scan(from: string, to: string | undefined): Generator<Entry> {
    if (this.fresh.length > 0) {
      const kind = String.fromCharCode(this.freshKind);
      if (from < successor(kind) && (to === undefined || to > kind)) this.settle();
    }
    for (const bucket of this.between(from, to)) {
      for (const key of bucket.keysFrom(from)) {
        if (to !== undefined && key >= to) break;
        const slot = bucket.slots.get(key);
        if (slot !== undefined) yield { key, value: slot.buffer?.subarray(slot.start, slot.end) };
      }
    }
  }

  private between(from: string, to: string | undefined): Bucket[] {
    const name = bucketOf(from);
    // The common case: a range within one bucket.
    if (to !== undefined && name.length === (isOwned(name) ? OWNED_BYTES : 1) && to <= successor(name)) {
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
