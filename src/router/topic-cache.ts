/**
 * Topic names resolved once: from the bytes of a name to an entry that holds the decoded string and what it matches.
 *
 * A hash table with chains through the entries, bounded in entries and in bytes of names by a clock hand: a hit marks an
 * entry as used, and a full table evicts the first unmarked one the hand meets. Random topic names cost their senders'
 * misses and nobody's memory.
 *
 * An entry is good while its stamp equals the sum of the generations of the scopes it lies in: all names, the names under
 * its first level, and those under its first two. A wildcard filter that comes or goes raises the generation of the
 * narrowest scope that contains everything it can match; a filter without wildcards drops the one entry it names.
 * Generations only grow, so equal sums mean that none changed.
 */
import { randomInt } from 'node:crypto';
import { type Handling, IN_MEMORY } from '../protocol/index.js';
import type { Delay } from './delayed-messages.js';
import type { SharedGroup } from './shared-group.js';
import type { Delivery } from './subscription.js';

/** The names kept may take this many bytes an entry on average. */
const NAME_BYTES_MEAN = 128;
/** FNV-1a from a start of this process, so that nobody can choose names that all meet in one chain. */
const HASH_START = randomInt(2 ** 32) | 0;

export class TopicEntry {
  next: TopicEntry | undefined;
  /** Hit since the hand last passed; a new name has to prove itself, so a flood of random ones evicts itself first. */
  used = false;
  stamp = -1;
  deliveries: readonly Delivery[] = [];
  groups: readonly SharedGroup[] = [];
  handling: Handling = IN_MEMORY;
  /** What `$delayed/<seconds>/<topic name>` asks for, or that the name lies below `$CONTROL/`; undefined for every other name. */
  delayed: Delay | 'invalid' | 'control' | undefined;

  constructor(
    readonly hash: number,
    /** The name's bytes, one per UTF-16 unit; the same string as `topicName` where that is ASCII. */
    readonly key: string,
    readonly topicName: string,
    readonly first: Scope,
    readonly second: Scope | undefined,
  ) {}

  /** Whether `bytes[start..end)` is this name. */
  isNamed(bytes: Buffer, start: number, end: number): boolean {
    const { key } = this;
    const { length } = key;
    if (length !== end - start) return false;
    let at = 0;
    while (at < length && key.charCodeAt(at) === bytes[start + at]) at++;
    return at === length;
  }
}

class Scope {
  generation = 0;
  entries = 0;
}

export class TopicCache {
  private buckets: (TopicEntry | undefined)[];
  private mask: number;
  private readonly ring: TopicEntry[] = [];
  private hand = 0;
  private readonly scopes = new Map<string, Scope>();
  private generation = 0;
  private nameBytes = 0;

  constructor(private readonly entriesMax: number) {
    this.mask = 1023;
    this.buckets = new Array(this.mask + 1).fill(undefined);
  }

  get size(): number {
    return this.ring.length;
  }

  /** The entry of the name `bytes[start..end)`, fresh or stale; undefined when there is none. */
  find(bytes: Buffer, start: number, end: number): TopicEntry | undefined {
    let hash = HASH_START;
    for (let at = start; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193);
    let entry = this.buckets[hash & this.mask];
    while (entry !== undefined && (entry.hash !== hash || !entry.isNamed(bytes, start, end))) entry = entry.next;
    if (entry !== undefined) entry.used = true;
    return entry;
  }

  isFresh(entry: TopicEntry): boolean {
    return entry.stamp === this.generation + entry.first.generation + (entry.second?.generation ?? 0);
  }

  /** Notes that the entry's matches are of now. */
  freshen(entry: TopicEntry): void {
    entry.stamp = this.generation + entry.first.generation + (entry.second?.generation ?? 0);
  }

  /** Adds an entry, stale, for a name that `find` did not find. */
  add(topicName: string): TopicEntry {
    if (this.ring.length > this.mask) this.grow();
    const bytes = Buffer.from(topicName);
    const key = bytes.length === topicName.length ? topicName : bytes.toString('latin1');
    const hash = hashOf(key);
    const slash = topicName.indexOf('/');
    const first = this.scope(slash < 0 ? topicName : topicName.slice(0, slash));
    const secondSlash = slash < 0 ? -1 : topicName.indexOf('/', slash + 1);
    const second = slash < 0 ? undefined : this.scope(secondSlash < 0 ? topicName : topicName.slice(0, secondSlash));
    const entry = new TopicEntry(hash, key, topicName, first, second);
    this.nameBytes += key.length;
    while (
      this.ring.length > 0 &&
      (this.ring.length >= this.entriesMax || this.nameBytes > this.entriesMax * NAME_BYTES_MEAN)
    )
      this.evict();
    this.ring.push(entry);
    const bucket = hash & this.mask;
    entry.next = this.buckets[bucket];
    this.buckets[bucket] = entry;
    return entry;
  }

  /** A subscription with this filter came, went or changed. */
  invalidate(topicFilter: string): void {
    const plus = topicFilter.indexOf('+');
    const wildcard = plus < 0 ? topicFilter.indexOf('#') : plus;
    if (wildcard < 0) {
      const bytes = Buffer.from(topicFilter);
      const entry = this.find(bytes, 0, bytes.length);
      if (entry) entry.stamp = -1;
      return;
    }
    const literal = topicFilter.slice(0, Math.max(0, wildcard - 1)); // without the slash before the wildcard
    if (wildcard === 0) this.generation++;
    else {
      const slash = literal.indexOf('/');
      const secondSlash = slash < 0 ? -1 : literal.indexOf('/', slash + 1);
      const scope = this.scopes.get(secondSlash < 0 ? literal : literal.slice(0, secondSlash));
      if (scope) scope.generation++;
    }
  }

  /** Forgets all names. */
  clear(): void {
    for (const entry of this.ring) entry.stamp = -1; // whoever still holds it must not trust it
    this.ring.length = 0;
    this.buckets.fill(undefined);
    this.scopes.clear();
    this.hand = 0;
    this.nameBytes = 0;
  }

  private scope(prefix: string): Scope {
    let scope = this.scopes.get(prefix);
    if (scope === undefined) {
      scope = new Scope();
      this.scopes.set(prefix, scope);
    }
    scope.entries++;
    return scope;
  }

  private evict(): void {
    for (;;) {
      if (this.hand >= this.ring.length) this.hand = 0;
      const entry = this.ring[this.hand]!;
      if (!entry.used) break;
      entry.used = false;
      this.hand++;
    }
    const victim = this.ring[this.hand]!;
    const last = this.ring.pop()!;
    if (last !== victim) this.ring[this.hand] = last;
    this.nameBytes -= victim.key.length;
    this.unlink(victim);
    const slash = victim.topicName.indexOf('/');
    this.release(slash < 0 ? victim.topicName : victim.topicName.slice(0, slash), victim.first);
    if (victim.second) {
      const secondSlash = victim.topicName.indexOf('/', slash + 1);
      this.release(secondSlash < 0 ? victim.topicName : victim.topicName.slice(0, secondSlash), victim.second);
    }
    victim.stamp = -1; // whoever still holds it must not trust it
  }

  private release(prefix: string, scope: Scope): void {
    if (--scope.entries === 0) this.scopes.delete(prefix);
  }

  private unlink(entry: TopicEntry): void {
    const bucket = entry.hash & this.mask;
    let at = this.buckets[bucket];
    if (at === entry) {
      this.buckets[bucket] = entry.next;
      return;
    }
    while (at !== undefined && at.next !== entry) at = at.next;
    if (at) at.next = entry.next;
  }

  private grow(): void {
    this.mask = (this.mask + 1) * 2 - 1;
    this.buckets = new Array(this.mask + 1).fill(undefined);
    for (const entry of this.ring) {
      const bucket = entry.hash & this.mask;
      entry.next = this.buckets[bucket];
      this.buckets[bucket] = entry;
    }
  }
}

function hashOf(key: string): number {
  let hash = HASH_START;
  for (let at = 0; at < key.length; at++) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
  return hash;
}
