/**
 * Takes what is published and hands it to whoever subscribed: retained store, topic tree, shared groups, in that order.
 *
 * Owns the routes of this node. Knows no sessions (they are `Subscriber`s like every local client), no packets, no rights.
 */
import { type Clock, Fault, type TimerWheel } from '../base/index.js';
import {
  type Handling,
  IN_MEMORY,
  isValidTopicName,
  Message,
  type NewMessage,
  type PubackReasonCode,
  type PublishRun,
  ReasonCode,
} from '../protocol/index.js';
import { AllRetained } from './all-retained.js';
import { isControlTopic } from './control-topic.js';
import { type Delay, type DelayedMessages, delayOf } from './delayed-messages.js';
import type { GroupStore } from './group-store.js';
import { type Retained, type RetainedLimits, RetainedStore } from './retained-store.js';
import type { SharedGroup, ShareStrategy } from './shared-group.js';
import type { StoredRetained } from './stored-retained.js';
import type { Delivery, Subscription } from './subscription.js';
import { TopicCache, type TopicEntry } from './topic-cache.js';
import { TopicTree } from './topic-tree.js';

export interface RouterOptions {
  readonly strategy: ShareStrategy;
  readonly topicCacheEntriesMax: number;
  /** These three may change. */
  readonly sharedQueueMessagesMax: number;
  readonly retainedMessagesMax: number;
  readonly retainedBytesMax: number;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  /** Counts messages dropped by a shared group's queue. */
  readonly onDropped: () => void;
  /** How messages of a topic are kept; asked once for each name that is resolved. */
  readonly handlingOf?: (topicName: string) => Handling;
  /** Where retained messages are stored that are not kept in memory only. */
  readonly storedRetained?: StoredRetained;
  /** Where what waits for shared groups is stored. */
  readonly groupStore?: GroupStore;
  /** Whether storage cannot be written at present. */
  readonly storeFailed?: () => boolean;
}

export class Router {
  readonly retained: Retained;
  /** Takes what is to be published later; undefined where `$delayed/` means nothing. */
  delayed: DelayedMessages | undefined;
  private readonly tree: TopicTree;
  private readonly cache: TopicCache;
  private readonly clock: Clock;
  private readonly storeFailed: () => boolean;
  /** How messages of a topic are kept. */
  readonly handlingOf: (topicName: string) => Handling;

  constructor(options: RouterOptions) {
    this.clock = options.clock;
    const nowMs = () => options.clock.nowMs();
    this.tree = new TopicTree({
      strategy: options.strategy,
      get queueMessagesMax() {
        return options.sharedQueueMessagesMax;
      },
      onDropped: options.onDropped,
      nowMs,
      store: options.groupStore,
    });
    this.cache = new TopicCache(options.topicCacheEntriesMax);
    const inMemory = new RetainedStore(retainedLimits(options), options.wheel, nowMs);
    this.retained = options.storedRetained ? new AllRetained(inMemory, options.storedRetained) : inMemory;
    this.storeFailed = options.storeFailed ?? (() => false);
    this.handlingOf = options.handlingOf ?? (() => IN_MEMORY);
  }

  get subscriptionCount(): number {
    return this.tree.size;
  }

  get sharedGroupCount(): number {
    return this.tree.sharedGroups;
  }

  /** The entry of a name by its bytes, resolved; undefined when the name was not seen lately (then `resolve` it). */
  findEntry(bytes: Buffer, start: number, end: number): TopicEntry | undefined {
    const entry = this.cache.find(bytes, start, end);
    if (entry !== undefined && !this.cache.isFresh(entry)) this.refresh(entry);
    return entry;
  }

  /** Makes sure that an entry kept from before matches the subscriptions of now. */
  current(entry: TopicEntry): boolean {
    return this.cache.isFresh(entry);
  }

  /** Every name counts as not seen lately. */
  forgetNames(): void {
    this.cache.clear();
  }

  /** The entry of a valid topic name, resolved. */
  resolve(topicName: string): TopicEntry {
    const bytes = Buffer.from(topicName);
    const found = this.findEntry(bytes, 0, bytes.length);
    if (found) return found;
    const entry = this.cache.add(topicName);
    entry.handling = this.handlingOf(topicName);
    if (this.delayed !== undefined) {
      entry.delayed = delayOf(topicName);
      if (typeof entry.delayed === 'object') entry.handling = this.handlingOf(entry.delayed.topicName);
    }
    if (isControlTopic(topicName)) entry.delayed = 'control';
    this.refresh(entry);
    return entry;
  }

  /**
   * Routes one Application Message to every matching subscriber of this node.
   *
   * Shape   `message.topicName` has no wildcards; a retained message replaces or removes the stored one first.
   * Returns Success, NoMatchingSubscribers, or QuotaExceeded when the retained store is full and nothing was done, or when
   *         a subscriber's queue is full and its policy is to refuse (the other subscribers have the message).
   * Source  v5 §3.3.1.3, §4.7; order per publishing client [MQTT-4.6.0-5].
   */
  publish(message: Message, entry: TopicEntry = this.resolve(message.topicName)): PubackReasonCode {
    message.handling = entry.handling;
    if (entry.delayed !== undefined) return this.delay(message, entry.delayed);
    // While storage cannot be written, QoS 0 goes on without being kept.
    if (message.retain && !this.retained.set(message) && (message.qos > 0 || !this.storeFailed()))
      return ReasonCode.QuotaExceeded;
    const { deliveries, groups } = entry;
    const { publisherId } = message;
    message.receivers = deliveries.length + groups.length;
    let refused = false;
    for (let index = 0; index < deliveries.length; index++) {
      const delivery = deliveries[index]!;
      if (delivery.noLocal && delivery.subscriber.clientId === publisherId) {
        const rest = delivery.withoutNoLocal; // [MQTT-3.8.3-3]
        if (rest !== undefined && !rest.subscriber.deliver(message, rest)) refused = true;
        continue;
      }
      if (!delivery.subscriber.deliver(message, delivery)) refused = true;
    }
    for (let index = 0; index < groups.length; index++) if (!groups[index]!.deliver(message)) refused = true;
    if (refused) return ReasonCode.QuotaExceeded;
    return deliveries.length + groups.length === 0 ? ReasonCode.NoMatchingSubscribers : ReasonCode.Success;
  }

  private delay(message: Message, delayed: Delay | 'invalid' | 'control'): PubackReasonCode {
    // Clients alone administer the broker: what they publish there does not come here.
    if (delayed === 'control') return ReasonCode.NotAuthorized;
    if (delayed === 'invalid') return ReasonCode.TopicNameInvalid;
    return this.delayed!.add(message, delayed) ? ReasonCode.Success : ReasonCode.QuotaExceeded;
  }

  /** Routes a run of QoS 0 packets of `entry`'s topic. */
  publishRun(run: PublishRun, entry: TopicEntry): void {
    if (entry.delayed !== undefined) {
      for (const message of run.messages()) this.publish(message, entry);
      return;
    }
    const { deliveries, groups } = entry;
    for (let index = 0; index < deliveries.length; index++) {
      let delivery: Delivery | undefined = deliveries[index]!;
      if (delivery.noLocal && delivery.subscriber.clientId === run.publisherId) {
        delivery = delivery.withoutNoLocal;
        if (delivery === undefined) continue;
      }
      delivery.subscriber.deliverRun(run, delivery);
    }
    for (let index = 0; index < groups.length; index++) groups[index]!.deliverRun(run, entry.topicName);
  }

  /**
   * Publishes for a local client: the embedding program, `$SYS`, bridges, rules.
   * Errors  `Fault` TOPIC_NAME_INVALID naming the topic.
   */
  publishLocal(values: NewMessage): PubackReasonCode {
    const { topicName } = values;
    const wellFormed = !/[\ud800-\udfff]/u.test(topicName); // a lone surrogate has no UTF-8 form [MQTT-1.5.4-1]
    if (!isValidTopicName(topicName) || !wellFormed || Buffer.byteLength(topicName) > 65535)
      throw new Fault('TOPIC_NAME_INVALID', `not a valid topic name: ${JSON.stringify(topicName)}`);
    return this.publish(Message.create(values, this.clock.nowMs()));
  }

  /** Adds a subscription, in the place of `current` when the same subscriber had one with this filter [MQTT-3.8.4-3]. */
  subscribe(subscription: Subscription, current: Subscription | undefined): SharedGroup | undefined {
    this.cache.invalidate(subscription.topicFilter);
    if (current === undefined) return this.tree.add(subscription);
    this.tree.replace(current, subscription);
    return undefined;
  }

  unsubscribe(subscription: Subscription): SharedGroup | undefined {
    this.cache.invalidate(subscription.topicFilter);
    return this.tree.remove(subscription);
  }

  private refresh(entry: TopicEntry): void {
    const { deliveries, groups } = this.tree.match(entry.topicName);
    entry.deliveries = deliveries;
    entry.groups = groups;
    this.cache.freshen(entry);
  }
}

/** The limits on retained messages as they are whenever one is kept. */
export function retainedLimits(
  limits: Pick<RouterOptions, 'retainedMessagesMax' | 'retainedBytesMax'>,
): RetainedLimits {
  return {
    get messagesMax() {
      return limits.retainedMessagesMax;
    },
    get bytesMax() {
      return limits.retainedBytesMax;
    },
  };
}
