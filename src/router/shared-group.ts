/**
 * One shared subscription: `$share/<shareName>/<topicFilter>` and the sessions in it (v5 §4.8.2).
 *
 * A QoS 1 or 2 message goes to one member that is online and has room; while there is none it waits here, for the group and
 * not for a member, and whatever comes after it waits behind it, up to a limit above which the oldest is dropped. QoS 0 goes
 * to an online member or nowhere. What a member had not acknowledged when it left comes back through `takeBack`, before
 * anything newer.
 */
import type { Message, PublishRun } from '../protocol/index.js';
import type { GroupStore, StoredGroup, Waiting } from './group-store.js';
import type { Subscription } from './subscription.js';

export const shareStrategies = ['roundRobin', 'random', 'sticky', 'hashClientId', 'hashTopic', 'localFirst'] as const;
export type ShareStrategy = (typeof shareStrategies)[number];

export interface SharedGroupOptions {
  readonly strategy: ShareStrategy;
  /** Messages that wait while no member is online; the oldest goes first above it. */
  readonly queueMessagesMax: number;
  /** Counts a message dropped from a full or expired group queue. */
  readonly onDropped: () => void;
  readonly nowMs: () => number;
  /** Where what waits is stored; undefined where nothing is. */
  readonly store?: GroupStore | undefined;
}

export class SharedGroup {
  private readonly members: Subscription[] = [];
  private next = 0;
  private sticky: Subscription | undefined;
  private waiting: Waiting[] = [];
  private readonly stored: StoredGroup | undefined;
  private draining = false;

  constructor(
    readonly shareName: string,
    readonly topicFilter: string,
    private readonly options: SharedGroupOptions,
  ) {
    this.stored = options.store?.open(shareName, topicFilter);
    if (this.stored) this.waiting = this.stored.load();
  }

  get size(): number {
    return this.members.length;
  }

  get queued(): number {
    return this.waiting.length;
  }

  get subscriptions(): readonly Subscription[] {
    return this.members;
  }

  /** Whether any member is connected. */
  get online(): boolean {
    return this.members.some(isOnline);
  }

  add(subscription: Subscription): void {
    this.members.push(subscription);
  }

  replace(current: Subscription, next: Subscription): void {
    this.members[this.members.indexOf(current)] = next;
    if (this.sticky === current) this.sticky = next;
  }

  remove(subscription: Subscription): void {
    const index = this.members.indexOf(subscription);
    this.members.splice(index, 1);
    if (this.next > index) this.next--;
    if (this.sticky === subscription) this.sticky = undefined;
    if (this.members.length > 0) return;
    for (const each of this.waiting) this.stored?.remove(each);
    this.waiting = [];
    this.stored?.forget();
  }

  /** Hands `message` to one member, or keeps it for the group. Returns false when the member's queue refuses it. */
  deliver(message: Message): boolean {
    if (message.qos === 0) {
      const member = this.choose(message.publisherId, message.topicName, isOnline);
      return member === undefined || member.subscriber.deliver(message, member);
    }
    if (this.waiting.length === 0) {
      const member = this.choose(message.publisherId, message.topicName, isAccepting);
      if (member !== undefined) return member.subscriber.deliver(message, member);
    }
    const kept = message.receivers > 1 ? message.copy() : message.compact(); // the others may share its stored bytes
    this.waiting.push(this.stored?.append(kept) ?? { message: kept, key: '' });
    this.drain();
    this.trim();
    return true;
  }

  /** Hands each packet of a QoS 0 run to a member; a run of one member goes as it is. */
  deliverRun(run: PublishRun, topicName: string): void {
    if (this.members.length === 1 || run.count === 1) {
      const member = this.choose(run.publisherId, topicName, isOnline);
      member?.subscriber.deliverRun(run, member);
      return;
    }
    const part = run.part();
    run.forEach((packetStart, _payloadStart, packetEnd) => {
      const member = this.choose(run.publisherId, topicName, isOnline);
      if (member === undefined) return;
      part.beginPart(run, packetStart, packetEnd);
      member.subscriber.deliverRun(part, member);
    });
    part.release();
  }

  /** A member came online or has room again: what waited goes out, to this and other members, as far as they have room. */
  drain(): void {
    if (this.draining) return;
    this.draining = true;
    const now = this.options.nowMs();
    let taken = 0;
    for (; taken < this.waiting.length; taken++) {
      const waiting = this.waiting[taken]!;
      const { message } = waiting;
      if (message.isExpired(now)) {
        this.stored?.remove(waiting);
        this.options.onDropped(); // [MQTT-3.3.2-5]
        continue;
      }
      const member = this.choose(message.publisherId, message.topicName, isAccepting);
      if (member === undefined) break;
      member.subscriber.deliver(message, member);
      this.stored?.remove(waiting);
    }
    if (taken > 0) this.waiting = this.waiting.slice(taken);
    this.draining = false;
  }

  /** Messages that a leaving member had not finished, oldest first. */
  takeBack(messages: readonly Message[]): void {
    if (messages.length === 0 || this.members.length === 0) return;
    const first = this.stored?.prepend(messages) ?? messages.map((message) => ({ message, key: '' }));
    this.waiting = [...first, ...this.waiting];
    this.drain();
    this.trim();
  }

  private trim(): void {
    while (this.waiting.length > this.options.queueMessagesMax) {
      const oldest = this.waiting.shift()!;
      this.stored?.remove(oldest);
      this.options.onDropped();
    }
  }

  /** A member by the strategy among those that are `fit`; undefined when none is. */
  private choose(
    publisherId: string | undefined,
    topicName: string,
    fit: (member: Subscription) => boolean,
  ): Subscription | undefined {
    const count = this.members.length;
    if (count === 0) return undefined;
    switch (this.options.strategy) {
      case 'random':
        return this.members[this.firstFit(Math.floor(Math.random() * count), fit)];
      case 'sticky':
        if (this.sticky === undefined || !fit(this.sticky))
          this.sticky = this.members[this.firstFit(this.next++ % count, fit)];
        return this.sticky;
      case 'hashClientId':
        return this.members[this.firstFit(hash(publisherId ?? '') % count, fit)];
      case 'hashTopic':
        return this.members[this.firstFit(hash(topicName) % count, fit)];
      default: {
        // localFirst prefers members on this node; every member of a single node is local, in turn.
        const index = this.firstFit(this.next % count, fit);
        if (index < 0) return undefined;
        this.next = index + 1;
        return this.members[index];
      }
    }
  }

  /** Index of the first fit member from `start` on; -1 when none is. */
  private firstFit(start: number, fit: (member: Subscription) => boolean): number {
    const count = this.members.length;
    for (let step = 0; step < count; step++) {
      const index = start + step < count ? start + step : start + step - count;
      if (fit(this.members[index]!)) return index;
    }
    return -1;
  }
}

const isOnline = (member: Subscription): boolean => member.subscriber.online;
const isAccepting = (member: Subscription): boolean => member.subscriber.accepting;

/** FNV-1a over UTF-16 units: spreads identifiers that differ in their last digits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  value ^= value >>> 15;
  return value >>> 0;
}
