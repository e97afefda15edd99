/**
 * What storage holds of sessions. `owner` is the number of a session, four bytes.
 *
 *   's' clientId                      owner, expiry interval, when it was disconnected
 *   'w' clientId                      its will, and when it is due
 *   'c' owner                         counts of its queue, as of the last time the log became a table
 *   'e' owner                         a session that has ended and whose entries are being removed
 *   'B' owner, filter                 a subscription
 *   'Q' owner, lane, place u48, bytes u32   a message for the client: waiting, or in flight until it is acknowledged; `lane` is
 *                                     that of `lanes.ts`
 *   'P' owner, packetId               which message is in flight with this identifier, how far it is, and its place in the order of sending
 *   'R' owner, packetId               a QoS 2 message received and not released
 *   'm', 'n' number u48               a payload that several queues share, and how many still do
 *
 * A message that is sent at once carries its packet identifier in its 'Q' entry; one that waited gets a 'P' entry. Both go when it is
 * acknowledged; after PUBREC only the 'P' entry remains.
 */
import {
  type Handling,
  type Message,
  messageRecordBytes,
  type NewMessage,
  type QoS,
  readMessageRecord,
  writeMessageRecord,
} from '../protocol/index.js';
import { type Store, successor } from '../storage/index.js';
import { priorityOf } from './lanes.js';
import { type Outgoing, OutgoingState, takeOutgoing } from './outgoing.js';
import type { SessionWill, SubscribeRequest } from './session.js';

/** Counts of one lane of a queue. */
export interface LaneCounts {
  readonly lane: number;
  messages: number;
  bytes: number;
}

export interface QueueCounts {
  nextPlace: number;
  readonly lanes: LaneCounts[];
}

/** A session as it was when the broker last ran. */
export interface StoredSession {
  readonly clientId: string;
  readonly owner: string;
  readonly expiryInterval: number;
  /** milliseconds since the Unix epoch; 0 while it had a connection */
  readonly disconnectedAtMs: number;
}

/** A message in flight that has an entry for its packet identifier. */
export interface StoredExchange {
  readonly packetId: number;
  /** of the message */
  readonly key: string;
  /** The client has it: PUBREL is due. */
  readonly released: boolean;
  /** place in the order of sending */
  readonly sequence: number;
}

export interface LoadedMessage {
  readonly key: string;
  readonly item: Outgoing;
  /** 0 unless it was sent with it at once */
  readonly packetId: number;
}

export interface LoadedMessages {
  readonly found: readonly LoadedMessage[];
  /** There are no more. */
  readonly ended: boolean;
}

export interface StoredWill {
  readonly clientId: string;
  readonly will: SessionWill;
  /** When its delay is over; 0 while the client was connected. */
  readonly dueAtMs: number;
}

/** `Q` */
const MESSAGE_KIND = 0x51;
const KEY_BYTES = 16;
/** Entries of an ended session removed at a time. */
const REMOVE_STEP = 500;

export class SessionStore {
  private nextOwner = 1;
  /** Counts of sessions as the log tells them, while it is replayed. */
  private replayed: Map<string, QueueCounts> | undefined = new Map();
  /** Of ended sessions whose entries are still there. */
  private readonly ended: string[] = [];
  private readonly handlings = new Map<number, Handling>();
  private bytesOfQueues = 0;
  /** The payload that was shared last, and by how many. */
  private shares: { body: string; count: number } | undefined;

  constructor(private readonly store: Store) {}

  /** Bytes of topic names, properties and payloads of messages that wait or are in flight. */
  get queuedBytes(): number {
    return this.bytesOfQueues;
  }

  /** Bytes that storage keeps of sessions, their subscriptions and wills: reads them all. */
  sessionBytes(): number {
    let bytes = 0;
    for (const kind of ['s', 'w', 'c', 'B', 'P', 'R'])
      for (const { key, value } of this.store.scan(kind, successor(kind)))
        if (kind !== 'c' || key.length === 5) bytes += key.length + value.length; // 'cr' counts retained messages
    return bytes;
  }

  // ---- recovery ----

  /** An operation that is replayed and has not taken effect yet. */
  replay(store: Store, key: string, value: Buffer | undefined): void {
    const kind = key.charCodeAt(0);
    if (kind === 0x63 && key.length === 5) {
      if (value) this.replayed!.set(key.slice(1), readCounts(value));
    } else if (kind === 0x51) {
      const owner = key.slice(1, 5);
      const known = store.get(key) !== undefined;
      if (known === (value !== undefined)) return;
      let counts = this.replayed!.get(owner);
      if (counts === undefined) {
        const saved = store.get(`c${owner}`);
        counts = saved === undefined ? { nextPlace: 0, lanes: [] } : readCounts(saved);
        this.replayed!.set(owner, counts);
      }
      const { place, bytes } = partsOf(key);
      const lane = countsOfLane(counts, key.charCodeAt(5));
      lane.messages += value === undefined ? -1 : 1;
      lane.bytes += value === undefined ? -bytes : bytes;
      counts.nextPlace = Math.max(counts.nextPlace, place + 1);
    }
  }

  /** The sessions of the last run, and which entries of ended ones are still to be removed. */
  *sessions(): Generator<StoredSession> {
    for (const { key } of this.store.scan('e', 'f')) this.ended.push(key.slice(1));
    for (const owner of this.ended) {
      this.nextOwner = Math.max(this.nextOwner, ownerNumber(owner) + 1);
      this.countsOf(owner); // its messages are still there
    }
    for (const { key, value } of this.store.scan('s', 't')) {
      const owner = value.toString('latin1', 0, 4);
      this.nextOwner = Math.max(this.nextOwner, ownerNumber(owner) + 1);
      yield {
        clientId: Buffer.from(key.slice(1), 'latin1').toString(),
        owner,
        expiryInterval: value.readUInt32LE(4),
        disconnectedAtMs: value.readUIntLE(8, 6),
      };
    }
  }

  /** Subscriptions of all sessions, those of one together. */
  *subscriptions(): Generator<{ owner: string; request: SubscribeRequest }> {
    for (const { key, value } of this.store.scan('B', 'C'))
      yield { owner: key.slice(1, 5), request: readSubscription(value) };
  }

  *received(): Generator<{ owner: string; packetId: number }> {
    for (const { key } of this.store.scan('R', 'S'))
      yield { owner: key.slice(1, 5), packetId: (key.charCodeAt(5) << 8) | key.charCodeAt(6) };
  }

  *wills(): Generator<StoredWill> {
    for (const { key, value } of this.store.scan('w', 'x')) {
      const dueAtMs = value.readUIntLE(0, 6);
      const delay = value.readUInt32LE(6);
      const values = parseValues(value.toString('utf8', 10));
      yield { clientId: Buffer.from(key.slice(1), 'latin1').toString(), will: { values, delay }, dueAtMs };
    }
  }

  /** Whether the counts of a recovered session stand in storage as they are. */
  hasSavedCounts(owner: string): boolean {
    return !this.replayed?.has(owner);
  }

  /** The counts of a recovered session's queue. */
  countsOf(owner: string): QueueCounts | undefined {
    const replayed = this.replayed?.get(owner);
    const stored = replayed === undefined ? this.store.get(`c${owner}`) : undefined;
    const counts = replayed ?? (stored && readCounts(stored));
    if (counts === undefined) return undefined;
    for (const lane of counts.lanes) this.bytesOfQueues += lane.bytes;
    return counts;
  }

  /** Everything has been taken over from the last run. */
  recovered(): void {
    this.replayed = undefined;
  }

  // ---- sessions ----

  newOwner(): string {
    return ownerText(this.nextOwner++);
  }

  saveSession(clientId: string, owner: string, expiryInterval: number, disconnectedAtMs: number): void {
    const value = Buffer.alloc(14);
    value.write(owner, 0, 'latin1');
    value.writeUInt32LE(expiryInterval, 4);
    value.writeUIntLE(disconnectedAtMs, 8, 6);
    this.store.put(`s${clientKey(clientId)}`, value);
  }

  /** Forgets a session; what it has in storage is removed bit by bit. */
  endSession(clientId: string, owner: string): void {
    this.store.remove(`s${clientKey(clientId)}`);
    this.store.put(`e${owner}`, Buffer.alloc(0));
    this.ended.push(owner);
  }

  /**
   * Removes some of what ended sessions left; returns whether there is more.
   * Errors  `TableDamage`: what that session left stays until the next start.
   */
  sweep(): boolean {
    const owner = this.ended[0];
    if (owner === undefined) return false;
    try {
      if (!this.sweepOwner(owner)) this.ended.shift();
    } catch (error) {
      this.ended.shift();
      throw error;
    }
    return this.ended.length > 0;
  }

  /** Returns whether there may be more of this session. */
  private sweepOwner(owner: string): boolean {
    let count = 0;
    for (const kind of ['Q', 'P', 'R', 'B']) {
      const prefix = kind + owner;
      const keys: string[] = [];
      const bodies: string[] = [];
      for (const { key, value } of this.store.scan(prefix, successor(prefix))) {
        keys.push(key);
        if (kind === 'Q' && value[0]! & SHARED) bodies.push(bodyOf(value));
        if (++count === REMOVE_STEP) break;
      }
      for (const key of keys) {
        if (kind === 'Q') this.bytesOfQueues -= partsOf(key).bytes;
        this.store.remove(key, 'buffered');
      }
      for (const body of bodies) this.releaseBody(body, 'buffered');
      if (count === REMOVE_STEP) return true;
    }
    this.store.remove(`c${owner}`, 'buffered');
    this.store.remove(`e${owner}`, 'buffered');
    return false;
  }

  saveCounts(owner: string, counts: QueueCounts): void {
    const value = Buffer.alloc(6 + 11 * counts.lanes.length);
    let at = value.writeUIntLE(counts.nextPlace, 0, 6);
    for (const { lane, messages, bytes } of counts.lanes) {
      value[at] = lane;
      value.writeUInt32LE(messages, at + 1);
      at = value.writeUIntLE(bytes, at + 5, 6);
    }
    this.store.put(`c${owner}`, value, 'buffered');
  }

  saveWill(clientId: string, will: SessionWill, dueAtMs: number): void {
    const json = Buffer.from(formatValues(will.values));
    const value = Buffer.alloc(10 + json.length);
    value.writeUIntLE(dueAtMs, 0, 6);
    value.writeUInt32LE(will.delay, 6);
    json.copy(value, 10);
    this.store.put(`w${clientKey(clientId)}`, value);
  }

  removeWill(clientId: string): void {
    this.store.remove(`w${clientKey(clientId)}`);
  }

  saveSubscription(owner: string, request: SubscribeRequest): void {
    this.store.put(
      subscriptionKey(owner, request.shareName, request.topicFilter),
      Buffer.from(JSON.stringify(request)),
    );
  }

  removeSubscription(owner: string, shareName: string | undefined, topicFilter: string): void {
    this.store.remove(subscriptionKey(owner, shareName, topicFilter));
  }

  // ---- messages to the client ----

  /** Stores a message for the client; `packetId` is 0 while it waits. */
  add(owner: string, lane: number, place: number, item: Outgoing, message: Message, packetId: number): void {
    const sync = message.handling.durability === 'sync' && item.qos > 0;
    const { subscriptionIds } = item;
    const many = subscriptionIds !== undefined && subscriptionIds.length > 255;
    const ids = subscriptionIds === undefined ? 0 : (many ? 4 : 1) + 4 * subscriptionIds.length;
    const body = message.receivers > 1 ? this.shareBody(message, sync) : undefined;
    const length = 3 + ids + (body === undefined ? messageRecordBytes(message, false) : 6);
    const slot = this.store.reserveFresh(MESSAGE_KIND, KEY_BYTES, length, sync);
    const buffer = slot.buffer!;
    writeMessageKey(buffer, slot.keyStart, owner, lane, place, message.bytes);
    let at = slot.start;
    buffer[at++] =
      item.qos |
      (item.retain ? RETAIN : 0) |
      (ids > 0 ? IDENTIFIERS : 0) |
      (body === undefined ? 0 : SHARED) |
      (many ? MANY : 0) |
      (sync ? SYNCED : 0);
    buffer[at++] = packetId & 0xff;
    buffer[at++] = packetId >>> 8;
    if (subscriptionIds !== undefined) {
      if (many) at = buffer.writeUInt32LE(subscriptionIds.length, at);
      else buffer[at++] = subscriptionIds.length;
      for (const id of subscriptionIds) at = buffer.writeUInt32LE(id, at);
    }
    if (body === undefined) writeMessageRecord(message, false, buffer, at);
    else buffer.write(body, at, 'latin1');
    this.bytesOfQueues += message.bytes;
    item.slot = slot;
    item.synced = sync;
  }

  /** The message is acknowledged, handed on, dropped or expired. Returns its lane and bytes, good until the next call. */
  removeMessage(item: Outgoing): { lane: number; bytes: number } {
    const { store } = this;
    const level = levelOf(item);
    const { slot } = item;
    const buffer = slot?.buffer;
    let value: Buffer | undefined;
    if (slot === undefined || buffer === undefined) {
      const key = item.storedKey;
      value = store.get(key);
      store.remove(key, level);
      removed.lane = key.charCodeAt(5);
      removed.bytes = partsOf(key).bytes;
    } else {
      if (buffer[slot.start]! & SHARED) value = buffer.subarray(slot.start, slot.end);
      removed.lane = buffer[slot.keyStart + 5]!;
      removed.bytes = buffer.readUInt32BE(slot.keyStart + 12);
      store.removeFresh(slot, level);
    }
    this.bytesOfQueues -= removed.bytes;
    if (value !== undefined && value[0]! & SHARED) this.releaseBody(bodyOf(value), level);
    item.slot = undefined;
    item.key = '';
    return removed;
  }

  /** What is stored of a message. */
  messageOf(item: Outgoing): Message | undefined {
    const key = item.storedKey;
    const value = this.store.get(key);
    return value === undefined ? undefined : this.readItem(key, value)?.item.message;
  }

  /** Messages from `from` on, in order: at most `count`, and none after those that fill `bytes`. */
  load(from: string, to: string, count: number, bytes: number): LoadedMessages {
    const found: LoadedMessage[] = [];
    let held = 0;
    for (const { key, value } of this.store.scan(from, to)) {
      if (found.length === count || held >= bytes) return { found, ended: false };
      const read = this.readItem(key, value);
      if (read === undefined) continue;
      found.push(read);
      held += read.item.message!.bytes;
    }
    return { found, ended: true };
  }

  /** As `load`, without their messages. */
  first(from: string, to: string, count: number): Outgoing[] {
    const found: Outgoing[] = [];
    for (const { key, value } of this.store.scan(from, to)) {
      if (found.length === count) break;
      const flags = value[0]!;
      const item = takeOutgoing(undefined, (flags & 3) as QoS, (flags & RETAIN) !== 0, undefined, undefined);
      item.key = key;
      item.synced = this.isSynced(flags);
      found.push(item);
    }
    return found;
  }

  private readItem(key: string, value: Buffer): LoadedMessage | undefined {
    const flags = value[0]!;
    let at = 3;
    let subscriptionIds: number[] | undefined;
    if (flags & IDENTIFIERS) {
      const length = flags & MANY ? value.readUInt32LE(at) : value[at]!;
      at += flags & MANY ? 4 : 1;
      subscriptionIds = [];
      for (let index = 0; index < length; index++, at += 4) subscriptionIds.push(value.readUInt32LE(at));
    }
    let message: Message;
    if (flags & SHARED) {
      const body = this.store.get(`m${bodyOf(value)}`);
      if (body === undefined) return undefined; // its block is damaged, which was logged
      message = readMessageRecord(body, 0, body.length);
      message.storedBody = bodyOf(value);
    } else message = readMessageRecord(value, at, value.length).compact();
    message.handling = this.handlingOf(priorityOf(key.charCodeAt(5)));
    const item = takeOutgoing(message, (flags & 3) as QoS, (flags & RETAIN) !== 0, subscriptionIds, undefined);
    item.key = key;
    item.synced = this.isSynced(flags);
    return { key, item, packetId: value.readUInt16LE(1) };
  }

  /** Where the mode changed since, as that says. */
  private isSynced(flags: number): boolean {
    return (flags & 3) > 0 && ((flags & SYNCED) !== 0 || this.store.asksSync());
  }

  private handlingOf(priority: number): Handling {
    let handling = this.handlings.get(priority);
    if (handling === undefined) {
      handling = { priority, durability: this.store.asksSync() ? 'sync' : 'buffered' };
      this.handlings.set(priority, handling);
    }
    return handling;
  }

  // ---- payloads that queues share ----

  private shareBody(message: Message, sync: boolean): string {
    const kept = message.keep();
    const { shares } = this;
    if (shares !== undefined && shares.body === kept.storedBody) {
      shares.count++;
      this.writeShares(shares.body, shares.count, sync ? 'sync' : 'buffered');
    } else this.addShare(kept, message, sync);
    message.storedBody = kept.storedBody;
    return kept.storedBody;
  }

  private addShare(kept: Message, message: Message, sync: boolean): void {
    const { store } = this;
    const count = kept.storedBody === '' ? 0 : this.sharesOf(kept.storedBody);
    if (count === 0) {
      kept.storedBody = placeText(store.sequence + 1); // sequences are used once
      const at = store.reserve(`m${kept.storedBody}`, messageRecordBytes(message, false), sync, true);
      writeMessageRecord(message, false, store.chunk, at);
    }
    this.shares = { body: kept.storedBody, count: count + 1 };
    this.writeShares(kept.storedBody, count + 1, sync ? 'sync' : 'buffered');
  }

  private releaseBody(body: string, level: 'buffered' | 'sync'): void {
    if (this.shares?.body === body) this.shares = undefined;
    const left = this.sharesOf(body) - 1;
    if (left > 0) return this.writeShares(body, left, level);
    this.store.remove(`m${body}`, level);
    this.store.remove(`n${body}`, level);
  }

  private sharesOf(body: string): number {
    return this.store.get(`n${body}`)?.readUInt32LE(0) ?? 0;
  }

  private writeShares(body: string, count: number, level: 'buffered' | 'sync'): void {
    const at = this.store.reserve(`n${body}`, 4, level === 'sync', false);
    this.store.chunk.writeUInt32LE(count, at);
  }

  // ---- exchanges ----

  /** A message that waited is sent with this identifier. */
  saveExchange(owner: string, packetId: number, item: Outgoing): void {
    this.writeExchange(owner, packetId, item, OutgoingState.Queued);
  }

  /** The client has it: only the identifier is open now. */
  saveReleased(owner: string, packetId: number, item: Outgoing): void {
    this.writeExchange(owner, packetId, item, OutgoingState.AwaitingPubcomp);
  }

  removeExchange(owner: string, item: Outgoing): void {
    this.store.remove(exchangeKey('P', owner, item.packetId), levelOf(item));
  }

  private writeExchange(owner: string, packetId: number, item: Outgoing, state: number): void {
    const sync = levelOf(item) === 'sync';
    const at = this.store.reserve(exchangeKey('P', owner, packetId), 1 + KEY_BYTES + 6, sync, false);
    const { chunk } = this.store;
    chunk[at] = state;
    chunk.write(item.storedKey, at + 1, 'latin1');
    chunk.writeUIntLE(item.sequence, at + 1 + KEY_BYTES, 6);
  }

  /** Exchanges of a recovered session that have an entry of their own. */
  *exchanges(owner: string): Generator<StoredExchange> {
    const prefix = `P${owner}`;
    for (const { key, value } of this.store.scan(prefix, successor(prefix)))
      yield {
        packetId: (key.charCodeAt(5) << 8) | key.charCodeAt(6),
        key: value.toString('latin1', 1, 1 + KEY_BYTES),
        released: value[0] === OutgoingState.AwaitingPubcomp,
        sequence: value.readUIntLE(1 + KEY_BYTES, 6),
      };
  }

  noteReceived(owner: string, packetId: number): void {
    this.store.reserve(exchangeKey('R', owner, packetId), 0, this.store.asksSync(), false);
  }

  removeReceived(owner: string, packetId: number): void {
    this.store.remove(exchangeKey('R', owner, packetId));
  }
}

// ---- keys and values ----

const RETAIN = 0x04;
const IDENTIFIERS = 0x08;
const SHARED = 0x10;
/** More identifiers than a byte counts. */
const MANY = 0x20;
/** Its topic asks for a sync before it is acknowledged. */
const SYNCED = 0x40;

function ownerText(number: number): string {
  return String.fromCharCode((number >>> 24) & 255, (number >>> 16) & 255, (number >>> 8) & 255, number & 255);
}

function ownerNumber(owner: string): number {
  return owner.charCodeAt(0) * 2 ** 24 + (owner.charCodeAt(1) << 16) + (owner.charCodeAt(2) << 8) + owner.charCodeAt(3);
}

function placeText(place: number): string {
  const high = Math.floor(place / 2 ** 32);
  return String.fromCharCode(
    (high >>> 8) & 255,
    high & 255,
    (place >>> 24) & 255,
    (place >>> 16) & 255,
    (place >>> 8) & 255,
    place & 255,
  );
}

function placeAt(key: string, at: number): number {
  let place = 0;
  for (let index = at; index < at + 6; index++) place = place * 256 + key.charCodeAt(index);
  return place;
}

/** The first key of a lane. */
export function lanePrefix(owner: string, lane: number): string {
  return `Q${owner}${String.fromCharCode(lane)}`;
}

/** What is sent again at worst is allowed to come twice; a QoS 2 message is not. */
function levelOf({ qos, synced }: Outgoing): 'buffered' | 'sync' {
  return qos === 2 && synced ? 'sync' : 'buffered';
}

const removed = { lane: 0, bytes: 0 };

function writeMessageKey(into: Buffer, at: number, owner: string, lane: number, place: number, bytes: number): void {
  into[at] = MESSAGE_KIND;
  for (let index = 0; index < 4; index++) into[at + 1 + index] = owner.charCodeAt(index);
  into[at + 5] = lane;
  const high = Math.floor(place / 2 ** 32);
  into[at + 6] = high >>> 8;
  into[at + 7] = high;
  into[at + 8] = place >>> 24;
  into[at + 9] = place >>> 16;
  into[at + 10] = place >>> 8;
  into[at + 11] = place;
  into[at + 12] = bytes >>> 24;
  into[at + 13] = bytes >>> 16;
  into[at + 14] = bytes >>> 8;
  into[at + 15] = bytes;
}

/** What the key of a message tells of it. */
export function partsOf(key: string): { place: number; bytes: number } {
  return { place: placeAt(key, 6), bytes: ownerNumber(key.slice(12)) };
}

function bodyOf(value: Buffer): string {
  return value.toString('latin1', value.length - 6);
}

function exchangeKey(kind: 'P' | 'R', owner: string, packetId: number): string {
  return `${kind}${owner}${String.fromCharCode(packetId >>> 8, packetId & 255)}`;
}

function clientKey(clientId: string): string {
  return Buffer.from(clientId).toString('latin1');
}

function subscriptionKey(owner: string, shareName: string | undefined, topicFilter: string): string {
  const filter = shareName === undefined ? topicFilter : `$share/${shareName}/${topicFilter}`;
  return `B${owner}${Buffer.from(filter).toString('latin1')}`;
}

function readSubscription(value: Buffer): SubscribeRequest {
  const { shareName, subscriptionId, ...rest } = JSON.parse(value.toString()) as SubscribeRequest;
  return { ...rest, shareName, subscriptionId };
}

export function countsOfLane(counts: QueueCounts, number: number): LaneCounts {
  for (const lane of counts.lanes) if (lane.lane === number) return lane;
  const lane = { lane: number, messages: 0, bytes: 0 };
  counts.lanes.push(lane);
  return lane;
}

function readCounts(value: Buffer): QueueCounts {
  const counts: QueueCounts = { nextPlace: value.readUIntLE(0, 6), lanes: [] };
  for (let at = 6; at < value.length; at += 11)
    counts.lanes.push({
      lane: value[at]!,
      messages: value.readUInt32LE(at + 1),
      bytes: value.readUIntLE(at + 5, 6),
    });
  return counts;
}

/** Wills are few and of many shapes: JSON, with bytes in base64. */
function formatValues(values: NewMessage): string {
  return JSON.stringify(values, (_key, value: unknown) => {
    if (value instanceof Uint8Array) return { base64: Buffer.from(value).toString('base64') };
    // A Buffer gets here as what its toJSON made of it.
    const json = value as { type?: string; data?: number[] } | null;
    if (json?.type === 'Buffer' && Array.isArray(json.data))
      return { base64: Buffer.from(json.data).toString('base64') };
    return value;
  });
}

function parseValues(json: string): NewMessage {
  return JSON.parse(json, (_key, value: unknown) => {
    const { base64 } = (value ?? {}) as { base64?: unknown };
    return typeof base64 === 'string' ? Buffer.from(base64, 'base64') : value;
  }) as NewMessage;
}
