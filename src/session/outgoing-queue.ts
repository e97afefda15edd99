/**
 * Messages that wait for a client: first in, first out within a priority, bounded in count and bytes.
 *
 *   lane   head                       end                      lanes in order of their numbers (lanes.ts)
 *          | taken | waiting ...... | in storage only …
 *
 * Where a session is stored, a lane keeps the next few messages in memory and leaves the rest in storage; while the client is
 * away, all of them: what is dropped then is not read either. At a limit the policy decides: drop the oldest (of the least urgent), drop the newest (the one that
 * comes), drop QoS 0 first (then the oldest), or refuse (the publisher is told).
 */
import type { QueueOverflow } from '../base/index.js';
import type { Message } from '../protocol/index.js';
import type { Subscription } from '../router/index.js';
import { kindOf, LaneKind, laneNumber, priorityOf } from './lanes.js';
import { giveOutgoing, type Outgoing } from './outgoing.js';
import { partsOf, type StoredExchange } from './session-store.js';
import type { StoredMessages } from './stored-messages.js';

/** Messages that a lane of a stored session keeps in memory, and from how many bytes of them on no more. */
const WINDOW = 128;
const WINDOW_BYTES = 262_144;
/** Messages to be dropped that are looked up at a time. */
const DROP_STEP = 32;

const NO_LANES: Lane[] = [];

class Lane {
  private items: (Outgoing | undefined)[] = [];
  private head = 0;
  /** Of the messages in memory. */
  private heldBytes = 0;
  /** Messages in memory with QoS 0. */
  private qos0 = 0;
  /** The first of the rest, without their messages: the next to be dropped. */
  private doomed: Outgoing[] = [];
  /** Messages in storage only, which come after those in memory. */
  rest = 0;
  /** Key from which the rest is read. */
  private from = '';

  constructor(
    readonly number: number,
    private readonly stored: StoredMessages | undefined,
  ) {}

  get length(): number {
    return this.inMemory + this.rest;
  }

  get inMemory(): number {
    return this.items.length - this.head;
  }

  /** Whether a message that comes for a connected client is kept in memory. */
  get hasRoom(): boolean {
    return this.rest === 0 && this.inMemory < WINDOW && this.heldBytes < WINDOW_BYTES;
  }

  get holdsQos0(): boolean {
    return kindOf(this.number) === LaneKind.Qos0 ? this.length > 0 : this.qos0 > 0;
  }

  push(item: Outgoing): void {
    this.items.push(item);
    if (item.qos === 0) this.qos0++;
    this.heldBytes += item.message!.bytes;
  }

  /** Leaves a message that is stored where it is. */
  leave(item: Outgoing): void {
    if (this.rest++ === 0) this.from = item.storedKey;
  }

  /** After a restart: all of its messages are in storage. */
  restore(messages: number): void {
    this.rest = messages;
  }

  /** After a restart: those at its front that were sent, with their identifiers and their order; their messages stay in storage. */
  takeSent(exchanges: ReadonlyMap<string, StoredExchange>): Outgoing[] {
    const sent: Outgoing[] = [];
    while (this.rest > 0) {
      const { found, ended } = this.stored!.load(this.number, this.from, WINDOW, WINDOW_BYTES);
      for (const { key, item, packetId } of found) {
        const open = exchanges.get(key);
        if (open === undefined && packetId === 0) return sent;
        item.packetId = open?.packetId ?? packetId;
        item.sequence = open?.sequence ?? partsOf(key).place;
        item.exchange = open !== undefined;
        item.message = undefined;
        sent.push(item);
        this.rest--;
        this.from = `${key}\0`;
      }
      if (ended) break;
    }
    return sent;
  }

  /** After a restart: reads all into memory, and says by which shared subscription each came. */
  loadShared(subscriptionOf: (message: Message) => Subscription | undefined): void {
    while (this.rest > 0) this.load();
    for (const item of this.items) if (item) item.shared = subscriptionOf(item.message!);
  }

  peek(): Outgoing | undefined {
    if (this.inMemory === 0 && this.rest > 0) this.load();
    return this.items[this.head];
  }

  shift(): Outgoing | undefined {
    const item = this.peek();
    if (item === undefined) return undefined;
    this.heldBytes -= item.message!.bytes;
    if (item.qos === 0) this.qos0--;
    this.items[this.head++] = undefined;
    if (this.head === this.items.length) {
      this.items.length = 0;
      this.head = 0;
    } else if (this.head * 2 > this.items.length && this.head > 32) {
      this.items = this.items.slice(this.head);
      this.head = 0;
    }
    return item;
  }

  /** Takes out the first one, to be dropped: what is in storage only is not read for it. */
  takeFirst(): Outgoing | undefined {
    if (this.inMemory > 0) return this.shift();
    if (this.rest === 0) return undefined;
    if (this.doomed.length === 0) this.doomed = this.stored!.first(this.number, this.from, DROP_STEP);
    const item = this.doomed.shift();
    if (item === undefined) {
      this.rest = 0; // storage lost some, which it has said
      return undefined;
    }
    this.rest--;
    this.from = `${item.key}\0`;
    return item;
  }

  /** Takes out of memory those for which `taken` says true. */
  extract(taken: (item: Outgoing) => boolean, out: Outgoing[]): void {
    const waiting = this.items.slice(this.head) as Outgoing[];
    this.items = waiting.filter((item) => {
      if (!taken(item)) return true;
      this.heldBytes -= item.message!.bytes;
      if (item.qos === 0) this.qos0--;
      out.push(item);
      return false;
    });
    this.head = 0;
  }

  /** Forgets what memory holds of messages that are stored; they are read again when the client is back. */
  unload(): void {
    const first = this.items[this.head];
    if (first === undefined || !first.isStored) return;
    this.from = first.storedKey;
    for (let index = this.head; index < this.items.length; index++) giveOutgoing(this.items[index]!);
    this.rest += this.inMemory;
    this.items.length = 0;
    this.head = 0;
    this.heldBytes = 0;
    this.qos0 = 0;
  }

  /** As `shift`, of the messages with QoS 0; the others wait for longer, so the next to be taken are brought together. */
  shiftQos0(): Outgoing | undefined {
    const next = this.holdsQos0 ? this.peek() : undefined;
    if (next === undefined) return undefined;
    if (next.qos !== 0) {
      const waiting = this.items.slice(this.head) as Outgoing[];
      this.items = [...waiting.filter(({ qos }) => qos === 0), ...waiting.filter(({ qos }) => qos !== 0)];
      this.head = 0;
    }
    return this.shift();
  }

  /** Takes the first QoS 0 message in memory. */
  takeQos0(): Outgoing | undefined {
    for (let index = this.head; index < this.items.length; index++) {
      const item = this.items[index]!;
      if (item.qos !== 0) continue;
      this.heldBytes -= item.message!.bytes;
      this.qos0--;
      this.items.splice(index, 1);
      return item;
    }
    return undefined;
  }

  private load(): void {
    const { found, ended } = this.stored!.load(this.number, this.from, WINDOW, WINDOW_BYTES);
    for (const { item } of found) this.push(item);
    this.doomed = [];
    // Fewer than counted are there only when storage lost some, which it has said.
    this.rest = ended ? 0 : Math.max(0, this.rest - found.length);
    const last = found.at(-1);
    if (last) this.from = `${last.key}\0`;
  }
}

export class OutgoingQueue {
  private lanes: Lane[] = NO_LANES;
  private messages = 0;
  private byteCount = 0;

  constructor(private readonly stored: StoredMessages | undefined) {}

  get length(): number {
    return this.messages;
  }

  get bytes(): number {
    return this.byteCount;
  }

  /**
   * Appends `item`, which is to carry `message`, within the limits; `online` when a client is there to take it soon. Returns how
   * many messages were dropped for it (itself perhaps), or -1 when it was refused.
   */
  push(
    item: Outgoing,
    message: Message,
    online: boolean,
    messagesMax: number,
    bytesMax: number,
    overflow: QueueOverflow,
  ): number {
    const { bytes } = message;
    let dropped = 0;
    if (bytes > bytesMax) return overflow === 'refuse' ? -1 : 1;
    while (this.messages >= messagesMax || (this.byteCount + bytes > bytesMax && this.messages > 0)) {
      if (overflow === 'refuse') return -1;
      if (overflow === 'dropNewest') return 1;
      if (overflow === 'dropQos0First') {
        if (this.dropQos0()) {
          dropped++;
          continue;
        }
        if (item.qos === 0) return dropped + 1;
      }
      if (this.leastPriority > message.handling.priority) return dropped + 1; // it is the least urgent itself
      this.dropOldest();
      dropped++;
    }
    const lane = this.laneFor(item, message);
    this.messages++;
    this.byteCount += bytes;
    if (this.stored === undefined || kindOf(lane.number) === LaneKind.Volatile) {
      item.message = online ? message.keep() : message.compact();
      lane.push(item);
      return dropped;
    }
    this.stored.add(lane.number, item, message, 0);
    if (kindOf(lane.number) === LaneKind.Shared || (online && lane.hasRoom)) {
      item.message = message.keep();
      lane.push(item);
    } else {
      lane.leave(item);
      giveOutgoing(item);
    }
    return dropped;
  }

  /** After a restart: what a lane has in storage, waiting or in flight. */
  restore(number: number, messages: number, bytes: number): void {
    if (messages <= 0) return;
    this.lane(number).restore(messages);
    this.messages += messages;
    this.byteCount += bytes;
  }

  /** After a restart: takes out what was in flight. `exchanges` are those that have entries of their own, by key of the message. */
  takeSent(exchanges: ReadonlyMap<string, StoredExchange>): Outgoing[] {
    const sent = this.lanes.flatMap((lane) => lane.takeSent(exchanges));
    for (const item of sent) this.taken(item);
    return sent;
  }

  /** Whether anything waits that came by shared subscriptions. */
  get hasShared(): boolean {
    return this.lanes.some((lane) => kindOf(lane.number) === LaneKind.Shared && lane.length > 0);
  }

  loadShared(subscriptionOf: (message: Message) => Subscription | undefined): void {
    for (const lane of this.lanes) if (kindOf(lane.number) === LaneKind.Shared) lane.loadShared(subscriptionOf);
  }

  peek(): Outgoing | undefined {
    for (const lane of this.lanes) {
      const item = lane.peek();
      if (item !== undefined) return item;
    }
    this.messages = 0;
    this.byteCount = 0;
    return undefined;
  }

  /** The next message; it stays in storage until it is acknowledged or `dropped`. */
  shift(): Outgoing | undefined {
    for (const lane of this.lanes) {
      const item = lane.shift();
      if (item === undefined) continue;
      this.taken(item);
      return item;
    }
    return undefined;
  }

  /** Whether a message with QoS 0 waits. */
  get holdsQos0(): boolean {
    return this.lanes.some((lane) => lane.holdsQos0);
  }

  /** The next message with QoS 0, which needs no acknowledgement to be sent. */
  shiftQos0(): Outgoing | undefined {
    for (const lane of this.lanes) {
      const item = lane.shiftQos0();
      if (item === undefined) continue;
      this.taken(item);
      return item;
    }
    return undefined;
  }

  /** Takes out every item for which `taken` says true, in order; of those that came by shared subscriptions. */
  extract(taken: (item: Outgoing) => boolean): Outgoing[] {
    const out: Outgoing[] = [];
    for (const lane of this.lanes) lane.extract(taken, out);
    for (const item of out) this.taken(item);
    return out;
  }

  /** The client is away: memory need not hold what is stored. */
  unload(): void {
    if (this.stored === undefined) return;
    for (const lane of this.lanes) {
      const kind = kindOf(lane.number);
      if (kind === LaneKind.Plain || kind === LaneKind.Qos0) lane.unload();
    }
  }

  private taken(item: Outgoing): void {
    this.messages--;
    this.byteCount -= item.message?.bytes ?? partsOf(item.key).bytes;
  }

  private laneFor(item: Outgoing, { handling }: Message): Lane {
    let kind: LaneKind = LaneKind.Plain;
    if (this.stored !== undefined) {
      if (handling.durability === 'memory') kind = LaneKind.Volatile;
      else if (item.shared !== undefined) kind = LaneKind.Shared;
      else if (item.qos === 0) kind = LaneKind.Qos0;
    }
    return this.lane(laneNumber(handling.priority, kind));
  }

  private lane(number: number): Lane {
    const { lanes } = this;
    let index = 0;
    while (index < lanes.length && lanes[index]!.number < number) index++;
    const found = lanes[index];
    if (found?.number === number) return found;
    const lane = new Lane(number, this.stored);
    this.lanes = lanes.length === 0 ? [lane] : lanes.toSpliced(index, 0, lane);
    return lane;
  }

  /** The priority of the least urgent message that waits. */
  private get leastPriority(): number {
    const last = this.lanes.findLast((lane) => lane.length > 0);
    return last === undefined ? 0 : priorityOf(last.number);
  }

  private dropOldest(): void {
    for (let index = this.lanes.length - 1; index >= 0; index--) {
      const item = this.lanes[index]!.takeFirst();
      if (item === undefined) continue;
      return this.drop(item);
    }
    this.messages = 0;
    this.byteCount = 0;
  }

  private dropQos0(): boolean {
    for (let index = this.lanes.length - 1; index >= 0; index--) {
      const lane = this.lanes[index]!;
      const item = kindOf(lane.number) === LaneKind.Qos0 ? lane.takeFirst() : lane.takeQos0();
      if (item === undefined) continue;
      this.drop(item);
      return true;
    }
    return false;
  }

  private drop(item: Outgoing): void {
    this.taken(item);
    if (item.isStored) this.stored!.remove(item);
    giveOutgoing(item);
  }
}

/** The lane of a message that is sent without waiting. */
export function laneOfSent(item: Outgoing, { handling }: Message): number {
  return laneNumber(handling.priority, item.shared === undefined ? LaneKind.Plain : LaneKind.Shared);
}
