/**
 * One shared subscription: `$share/<shareName>/<topicFilter>` and the sessions in it (v5 §4.8.2).
 *
 * A message goes to one member, an online one when there is any. While none is online, QoS 1 and 2 messages wait here, for
 * the group and not for a member, up to a limit above which the oldest is dropped. What a member had not acknowledged when
 * it left for good comes back through `takeBack`, oldest first, before anything newer.
 */
import type { Message, PublishRun } from '../protocol/index.js';
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
}

export class SharedGroup {
  private readonly members: Subscription[] = [];
  private next = 0;
  private sticky: Subscription | undefined;
  private waiting: Message[] = [];

  constructor(
    readonly shareName: string,
    readonly topicFilter: string,
    private readonly options: SharedGroupOptions,
  ) {}

  get size(): number {
    return this.members.length;
  }

  get queued(): number {
    return this.waiting.length;
  }

  get subscriptions(): readonly Subscription[] {
    return this.members;
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
    if (this.members.length === 0) this.waiting = [];
  }

  /** Hands `message` to one member, or keeps it for the group. Returns false when the member's queue refuses it. */
  deliver(message: Message): boolean {
    const member = this.choose(message.publisherId, message.topicName);
    if (member === undefined) return true;
    if (member.subscriber.online || message.qos === 0) return member.subscriber.deliver(message, member);
    this.keep(message);
    return true;
  }

  /** Hands each packet of a QoS 0 run to a member; a run of one member goes as it is. */
  deliverRun(run: PublishRun, topicName: string): void {
    if (this.members.length === 1 || run.count === 1) {
      const member = this.choose(run.publisherId, topicName);
      member?.subscriber.deliverRun(run, member);
      return;
    }
    const part = run.part();
    run.forEach((packetStart, _payloadStart, packetEnd) => {
      const member = this.choose(run.publisherId, topicName);
      if (member === undefined) return;
      part.beginPart(run, packetStart, packetEnd);
      member.subscriber.deliverRun(part, member);
    });
    part.release();
  }

  /** A member came online: what waited goes out, to this and other online members. */
  drain(): void {
    if (this.waiting.length === 0) return;
    const waiting = this.waiting;
    this.waiting = [];
    const now = this.options.nowMs();
    for (const message of waiting) {
      if (message.isExpired(now))
        this.options.onDropped(); // [MQTT-3.3.2-5]
      else this.deliver(message);
    }
  }

  /** Messages that a leaving member had not finished, oldest first. */
  takeBack(messages: readonly Message[]): void {
    if (messages.length === 0 || this.members.length === 0) return;
    this.waiting = [...messages, ...this.waiting];
    this.drain();
    this.trim();
  }

  private keep(message: Message): void {
    this.waiting.push(message.compact());
    this.trim();
  }

  private trim(): void {
    while (this.waiting.length > this.options.queueMessagesMax) {
      this.waiting.shift();
      this.options.onDropped();
    }
  }

  /** A member by the strategy among the online ones; when none is, by the strategy among all. */
  private choose(publisherId: string | undefined, topicName: string): Subscription | undefined {
    const count = this.members.length;
    if (count === 0) return undefined;
    switch (this.options.strategy) {
      case 'random':
        return this.members[this.onlineFrom(Math.floor(Math.random() * count))];
      case 'sticky':
        if (this.sticky === undefined || !this.sticky.subscriber.online)
          this.sticky = this.members[this.onlineFrom(this.next++ % count)];
        return this.sticky;
      case 'hashClientId':
        return this.members[this.onlineFrom(hash(publisherId ?? '') % count)];
      case 'hashTopic':
        return this.members[this.onlineFrom(hash(topicName) % count)];
      default: {
        // localFirst prefers members on this node; every member of a single node is local, in turn.
        const index = this.onlineFrom(this.next % count);
        this.next = index + 1;
        return this.members[index];
      }
    }
  }

  /** Index of the first online member from `start` on; `start` when none is. */
  private onlineFrom(start: number): number {
    const count = this.members.length;
    for (let step = 0; step < count; step++) {
      const index = start + step < count ? start + step : start + step - count;
      if (this.members[index]!.subscriber.online) return index;
    }
    return start;
  }
}

/** FNV-1a over UTF-16 units: spreads identifiers that differ in their last digits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  value ^= value >>> 15;
  return value >>> 0;
}
