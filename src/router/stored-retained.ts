/**
 * Retained messages in storage: memory holds what storage caches of them, and two counts.
 *
 *   'r' topic            the message; `/` stands as byte 0, so that what lies below a name follows it at once
 *   'x' time u48, topic  when it expires
 *   'c' 'r'              the counts, as of the last time the log became a table
 *
 * A walk reads some entries at a time and begins again after the last. What it read is read again where anything was changed before it is
 * handed out: who gets it may have had what is newer.
 */
import {
  isValidTopicName,
  type Message,
  messageRecordBytes,
  readMessageRecord,
  topicMatches,
  writeMessageRecord,
} from '../protocol/index.js';
import { type Store, successor } from '../storage/index.js';
import { PAUSE, type Retained, type RetainedLimits } from './retained-store.js';

const COUNTS_KEY = 'cr';
/** Entries that a walk reads at a time. */
const STEP = 128;
/** Expired messages removed at a time. */
const SWEEP = 1000;

export class StoredRetained implements Retained {
  private count = 0;
  private byteCount = 0;
  /** Messages kept and removed so far. */
  private changes = 0;

  constructor(
    private readonly store: Store,
    private readonly limits: RetainedLimits,
    private readonly nowMs: () => number,
  ) {}

  get size(): number {
    return this.count;
  }

  get bytes(): number {
    return this.byteCount;
  }

  // ---- the counts over a restart ----

  /** An operation that is replayed and has not taken effect yet. */
  replay(store: Store, key: string, value: Buffer | undefined): void {
    if (key === COUNTS_KEY) {
      if (value) this.readCounts(value);
      return;
    }
    if (!key.startsWith('r')) return;
    const current = store.get(key);
    if (current !== undefined) this.subtract(recordBytes(current));
    if (value !== undefined) this.add(recordBytes(value));
  }

  /** Once the tables are open, before anything is replayed. */
  begin(store: Store): void {
    const value = store.get(COUNTS_KEY);
    if (value) this.readCounts(value);
  }

  saveCounts(): void {
    const value = Buffer.alloc(12);
    value.writeUIntLE(this.count, 0, 6);
    value.writeUIntLE(this.byteCount, 6, 6);
    this.store.put(COUNTS_KEY, value, 'buffered');
  }

  private readCounts(value: Buffer): void {
    this.count = value.readUIntLE(0, 6);
    this.byteCount = value.readUIntLE(6, 6);
  }

  private add(bytes: number): void {
    this.changes++;
    this.count++;
    this.byteCount += bytes;
  }

  private subtract(bytes: number): void {
    this.changes++;
    this.count--;
    this.byteCount -= bytes;
  }

  // ---- messages ----

  set(message: Message): boolean {
    const { store } = this;
    if (store.failed !== undefined) return false;
    const key = keyOf(message.topicName);
    const current = store.get(key);
    const level = message.handling.durability === 'sync' ? 'sync' : 'buffered';
    if (message.payloadStart === message.bodyEnd) {
      if (current !== undefined) this.drop(key, current, level); // [MQTT-3.3.1-7] an empty one is not stored
      return true;
    }
    const bytes = messageRecordBytes(message, true);
    const former = current === undefined ? 0 : recordBytes(current);
    if (this.byteCount - former + message.bytes > this.limits.bytesMax) return false;
    if (current === undefined && this.count >= this.limits.messagesMax) return false;
    if (current !== undefined) this.dropExpiry(key, current, level);
    const at = store.reserve(key, bytes, level === 'sync', false);
    writeMessageRecord(message, true, store.chunk, at);
    if (current !== undefined) this.subtract(former);
    this.add(message.bytes);
    if (message.expiresAtMs !== 0) store.put(expiryKey(message.expiresAtMs, key), Buffer.alloc(0), 'buffered');
    return true;
  }

  get(topicName: string): Message | undefined {
    const value = this.store.get(keyOf(topicName));
    if (value === undefined) return undefined;
    const message = readMessageRecord(value, 0, value.length);
    return message.isExpired(this.nowMs()) ? undefined : message;
  }

  delete(topicName: string): boolean {
    const key = keyOf(topicName);
    const current = this.store.get(key);
    if (current === undefined) return false;
    this.drop(key, current, 'buffered');
    return true;
  }

  *match(topicFilter: string): Generator<Message | typeof PAUSE, void> {
    if (isValidTopicName(topicFilter)) {
      const message = this.get(topicFilter);
      if (message) yield message;
      return;
    }
    const levels = topicFilter.split('/');
    const fixed = levels.slice(
      0,
      levels.findIndex((level) => level === '+' || level === '#'),
    );
    const below = fixed.length === 0 ? 'r' : `${keyOf(fixed.join('/'))}\0`;
    if (levels[fixed.length] === '#' && fixed.length > 0) {
      const parent = this.get(fixed.join('/')); // `a/#` matches `a` as well
      if (parent) yield parent;
    }
    const end = successor(below);
    let from = below;
    for (;;) {
      const found: Message[] = [];
      let seen = 0;
      let last = '';
      const now = this.nowMs();
      const { changes } = this;
      for (const { key, value } of this.store.scan(from, end)) {
        seen++;
        last = key;
        const message = readMessageRecord(value, 0, value.length);
        if (!message.isExpired(now) && topicMatches(topicFilter, message.topicName)) found.push(message);
        if (seen === STEP) break;
      }
      for (const read of found) {
        const message = changes === this.changes ? read : this.get(read.topicName);
        if (message !== undefined && !message.isExpired(this.nowMs())) yield message;
      }
      if (seen < STEP) return;
      if (found.length < STEP / 4) yield PAUSE;
      from = `${last}\x00`;
    }
  }

  /** Removes messages that have expired, some at a time; returns whether there may be more. */
  sweep(): boolean {
    let count = 0;
    const now = this.nowMs();
    const due: string[] = [];
    for (const { key } of this.store.scan('x', expiryKey(now + 1, ''))) {
      due.push(key);
      if (++count === SWEEP) break;
    }
    for (const key of due) {
      const messageKey = key.slice(7);
      const current = this.store.get(messageKey);
      if (current !== undefined && readMessageRecord(current, 0, current.length).isExpired(now))
        this.drop(messageKey, current, 'buffered');
      else this.store.remove(key, 'buffered');
    }
    return count === SWEEP;
  }

  private drop(key: string, current: Buffer, level: 'buffered' | 'sync'): void {
    this.dropExpiry(key, current, level);
    this.store.remove(key, level);
    this.subtract(recordBytes(current));
  }

  private dropExpiry(key: string, current: Buffer, level: 'buffered' | 'sync'): void {
    const { expiresAtMs } = readMessageRecord(current, 0, current.length);
    if (expiresAtMs !== 0) this.store.remove(expiryKey(expiresAtMs, key), level);
  }
}

function recordBytes(value: Buffer): number {
  return readMessageRecord(value, 0, value.length).bytes;
}

function keyOf(topicName: string): string {
  const bytes = /[^\x00-\x7f]/.test(topicName) ? Buffer.from(topicName).toString('latin1') : topicName;
  return `r${bytes.replaceAll('/', '\0')}`;
}

const clockBytes = Buffer.alloc(6);

function expiryKey(timeMs: number, key: string): string {
  clockBytes.writeUIntBE(timeMs, 0, 6);
  return `x${clockBytes.toString('latin1')}${key}`;
}
