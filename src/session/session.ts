/**
 * What the broker keeps of a client beyond its connection (v5 §4.1): subscriptions, messages queued and in flight, QoS 2
 * identifiers received, the will.
 *
 *   deliver ──▶ queue ──▶ in flight ──▶ done          states of a message: `OutgoingState`
 *                 │ QoS 0: sent and forgotten
 *                 └ AwaitingPuback ─PUBACK─▶   AwaitingPubrec ─PUBREC─▶ AwaitingPubcomp ─PUBCOMP─▶
 *
 * Invariants: at most `window` messages are counted against the send quota; a packet identifier is in `inflight` exactly
 * while its exchange is open; everything optional is made when first needed, so an idle session is small.
 * Never sees a socket or a packet: it speaks to its `Link`.
 */
import { type Clock, type Limits, type TimerWheel, WheelTimer } from '../base/index.js';
import type { BrokerMetrics } from '../metrics/index.js';
import {
  type Message,
  type NewMessage,
  type PublishRun,
  type QoS,
  ReasonCode,
  topicMatches,
  type UnsubackReasonCode,
} from '../protocol/index.js';
import {
  type Delivery,
  type MayDeliver,
  type Router,
  type SharedGroup,
  type Subscriber,
  Subscription,
} from '../router/index.js';
import { ByteWindow } from './byte-window.js';
import type { HeldPublisher, Link } from './link.js';
import { giveOutgoing, type Outgoing, OutgoingState, takeOutgoing, unkept } from './outgoing.js';
import { laneOfSent, OutgoingQueue } from './outgoing-queue.js';
import type { Holder, Pressure } from './pressure.js';
import { RetainedFeed } from './retained-feed.js';
import type { QueueCounts, SessionStore, StoredExchange } from './session-store.js';
import { StoredMessages } from './stored-messages.js';

/** Whether a client is slow is looked at as often as this at least: the setting may have changed. */
const SLOW_LOOK_MS = 5000;

export interface SessionContext {
  readonly router: Router;
  readonly wheel: TimerWheel;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly metrics: BrokerMetrics;
  readonly pressure: Pressure;
  /** Where sessions that outlive their connection are kept; undefined where none are. */
  readonly store?: SessionStore | undefined;
  /** How long messages may wait for a connected client before it counts as slow, seconds; 0 is for ever. */
  readonly slowConsumerSeconds?: () => number;
  readonly onSlowConsumer?: (session: Session) => void;
  /** What waits for a client cannot be read. */
  readonly onDamage?: (session: Session, error: unknown) => void;
  /** Messages go out with the QoS of the subscription, whatever they came with. */
  readonly upgradeQoS?: boolean;
  /** Asked about each retained message that a subscription would get; absent: all may go out. */
  readonly mayDeliverRetained?: MayDeliver;
}

/** Session Expiry Interval that never expires (v5 §3.1.2.11.2). */
export const SESSION_NEVER_EXPIRES = 0xffffffff;

/** What a SUBSCRIBE asks for one filter, already checked. */
export interface SubscribeRequest {
  readonly topicFilter: string;
  readonly shareName: string | undefined;
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
  readonly subscriptionId: number | undefined;
}

export interface SessionWill {
  /** Made into a message when it is published: its expiry interval counts from then (v5 §3.1.3.2.4). */
  readonly values: NewMessage;
  /** seconds */
  readonly delay: number;
}

export class Session implements Subscriber {
  matchMark = 0;
  matchIndex = 0;
  /** seconds after the connection's end; 0 ends with it */
  expiryInterval = 0;
  will: SessionWill | undefined;

  private link: (Link & HeldPublisher) | undefined;
  private subscriptions: Map<string, Subscription> | undefined;
  /** The shared ones of them. */
  private shared: Map<string, Subscription> | undefined;
  private queue: OutgoingQueue | undefined;
  private inflight: (Outgoing | undefined)[] | undefined;
  private resend: Outgoing[] | undefined;
  /** Made when the first subscription asks for retained messages. */
  private retainedFeed: RetainedFeed | undefined;
  private received: Set<number> | undefined;
  private stored: StoredMessages | undefined;
  /** What is sent again is marked as such. */
  private redelivers = true;
  /** In flight when the broker last ran: read when the client is back. */
  private inflightStored = false;
  /** Since when messages wait for the client, while `slowTimer` is armed. */
  private behindSinceTick = 0;
  private slowTimer: WheelTimer | undefined;
  private holder: Holder | undefined;
  private nextPacketId = 0;
  private nextSequence = 0;
  private outstanding = 0;
  private window = 0;
  /** Present while payload bytes in flight are limited. */
  private byteWindow: ByteWindow | undefined;
  private expiryTimer: WheelTimer | undefined;
  private willTimer: WheelTimer | undefined;

  constructor(
    readonly clientId: string,
    private context: SessionContext,
  ) {}

  /** Limits and counters of its own from now on, instead of those that all sessions share. */
  use(own: Pick<SessionContext, 'limits' | 'metrics' | 'slowConsumerSeconds'>): void {
    this.context = { ...this.context, ...own };
  }

  get online(): boolean {
    return this.link !== undefined;
  }

  get accepting(): boolean {
    const { queueMessagesMax, queueBytesMax } = this.context.limits;
    return this.link !== undefined && this.queuedMessages < queueMessagesMax && this.queuedBytes < queueBytesMax;
  }

  /** Its number in storage; empty when it is not stored. */
  get owner(): string {
    return this.stored?.owner ?? '';
  }

  get connection(): Link | undefined {
    return this.link;
  }

  get queuedMessages(): number {
    return this.queue?.length ?? 0;
  }

  get queuedBytes(): number {
    return this.queue?.bytes ?? 0;
  }

  get inflightMessages(): number {
    return this.outstanding;
  }

  get subscriptionCount(): number {
    return this.subscriptions?.size ?? 0;
  }

  get allSubscriptions(): Iterable<Subscription> {
    return this.subscriptions?.values() ?? [];
  }

  // ---- connection comes and goes ----

  /**
   * A connection serves the session from now on. `receiveMaximum` is the client's; nothing is sent before `resume`.
   */
  attach(link: Link & HeldPublisher, receiveMaximum: number): void {
    this.link = link;
    this.window = Math.max(1, Math.min(receiveMaximum, this.context.limits.inflightMessagesMax));
    this.byteWindow = this.context.limits.inflightBytesMax > 0 ? new ByteWindow() : undefined;
    this.cancelTimers();
  }

  private get windowFull(): boolean {
    return this.outstanding >= this.window || this.byteWindow?.full(this.context.limits.inflightBytesMax) === true;
  }

  // ---- storage ----

  /** From now on storage has the session, under the number `owner`. */
  keepIn(store: SessionStore, owner: string): void {
    this.stored = new StoredMessages(store, owner);
  }

  /** The session as storage had it when the broker started; `counts` are of its messages. */
  restore(store: SessionStore, owner: string, counts: QueueCounts | undefined): void {
    this.stored = new StoredMessages(store, owner, counts);
    this.stored.dirty = !store.hasSavedCounts(owner);
    if (counts === undefined || counts.lanes.length === 0) return;
    this.queue = new OutgoingQueue(this.stored);
    for (const { lane, messages, bytes } of counts.lanes) this.queue.restore(lane, messages, bytes);
    this.inflightStored = true;
  }

  restoreSubscription(request: SubscribeRequest): void {
    this.addSubscription(request);
  }

  restoreReceived(packetId: number): void {
    this.received ??= new Set();
    this.received.add(packetId);
  }

  /** After a restart: what waited for this client by shared subscriptions waits for their groups. */
  restoreShared(): void {
    if (!this.queue?.hasShared) return;
    this.restoreInflight();
    this.queue.loadShared((message) => {
      for (const subscription of this.shared?.values() ?? [])
        if (topicMatches(subscription.topicFilter, message.topicName)) return subscription;
      return undefined;
    });
    this.handSharedOn(false);
  }

  /** Writes down what the log alone tells. */
  saveCounts(): void {
    this.stored?.save();
  }

  /** What was sent when the broker last ran and not acknowledged is in flight again. */
  private restoreInflight(): void {
    if (!this.inflightStored) return;
    this.inflightStored = false;
    const { store, owner } = this.stored!;
    const exchanges = new Map<string, StoredExchange>();
    this.inflight ??= [];
    for (const exchange of store.exchanges(owner)) {
      const { packetId, key, released, sequence } = exchange;
      this.stored!.notePlace(sequence);
      if (!released) {
        exchanges.set(key, exchange);
        continue;
      }
      const item = takeOutgoing(undefined, 2, false, undefined, undefined);
      item.state = OutgoingState.AwaitingPubcomp;
      item.packetId = packetId;
      item.sequence = sequence;
      item.exchange = true;
      this.inflight[packetId] = item;
    }
    for (const item of this.queue!.takeSent(exchanges)) {
      item.state = item.qos === 1 ? OutgoingState.AwaitingPuback : OutgoingState.AwaitingPubrec;
      this.inflight[item.packetId] = item;
    }
  }

  /** Nothing is kept of a message any more. */
  private forget(item: Outgoing): void {
    if (item.exchange) this.stored!.store.removeExchange(this.owner, item);
    if (item.isStored) this.stored!.remove(item);
    item.exchange = false;
  }

  /**
   * Re-delivers what was in flight, in the first order of sending [MQTT-4.4.0-1], then what waits. Where the other side does not know
   * the session any more (`known` is false), it is sent as new, and packet identifiers received before mean nothing.
   */
  resume(known = true): void {
    this.restoreInflight();
    this.outstanding = 0;
    this.redelivers = known;
    if (!known) for (const packetId of [...(this.received ?? [])]) this.release(packetId);
    if (this.inflight) {
      const open = this.inflight.filter((item) => item !== undefined);
      if (open.length > 0) {
        for (const item of open) item.counted = false;
        this.resend = open.sort((a, b) => a.sequence - b.sequence);
      }
    }
    this.pump();
  }

  /** The connection is gone; the session lives on for its expiry interval. Returns false when it ends now. */
  detach(): boolean {
    this.link = undefined;
    this.caughtUp();
    this.resend = undefined;
    this.holder?.drained();
    this.holder = undefined;
    if (this.expiryInterval === 0) return false;
    this.handSharedOn(false);
    this.queue?.unload();
    return true;
  }

  /** Calls `expired` in so many seconds, unless the session never expires. */
  startExpiry(seconds: number, expired: () => void): void {
    if (this.expiryInterval === SESSION_NEVER_EXPIRES) return;
    this.expiryTimer ??= new WheelTimer(expired);
    this.context.wheel.arm(this.expiryTimer, seconds * 1000);
  }

  /** Publishes the will now, or once what is left of its delay is over [MQTT-3.1.2-8]. */
  startWill(seconds: number, publish: (values: NewMessage) => void): void {
    const { will } = this;
    if (will === undefined) return;
    if (seconds === 0) {
      this.will = undefined; // [MQTT-3.1.2-10]
      publish(will.values);
      return;
    }
    this.willTimer = new WheelTimer(() => {
      this.willTimer = undefined;
      this.will = undefined;
      publish(will.values);
    });
    this.context.wheel.arm(this.willTimer, seconds * 1000);
  }

  /** Discards everything; what the session shared goes back to its groups. The caller has taken it off the registry. */
  end(): void {
    this.link = undefined;
    this.caughtUp();
    this.cancelTimers();
    this.holder?.drained();
    this.retainedFeed = undefined;
    try {
      if (this.shared !== undefined) this.restoreInflight();
      this.handSharedOn(true);
    } finally {
      this.discard(); // also where storage is damaged
    }
  }

  private discard(): void {
    const subscriptions = this.subscriptions;
    this.subscriptions = undefined;
    this.shared = undefined;
    if (subscriptions) for (const subscription of subscriptions.values()) this.context.router.unsubscribe(subscription);
    this.queue = undefined;
    this.inflight = undefined;
    this.resend = undefined;
    this.received = undefined;
    this.stored?.store.endSession(this.clientId, this.owner);
    this.stored = undefined;
  }

  private cancelTimers(): void {
    if (this.expiryTimer) this.context.wheel.disarm(this.expiryTimer);
    if (this.willTimer) this.context.wheel.disarm(this.willTimer);
    this.expiryTimer = undefined;
    this.willTimer = undefined;
  }

  // ---- subscriptions ----

  /**
   * Subscribes, or replaces the subscription with the same filter [MQTT-3.8.4-3]. Retained messages that it asks for are
   * sent by the next `pump`.
   */
  subscribe(request: SubscribeRequest): void {
    const { subscription, current } = this.addSubscription(request);
    if (current !== undefined) this.retainedFeed?.replace(current, subscription);
    this.stored?.store.saveSubscription(this.owner, request);
    // retained messages are not sent to shared subscriptions (v5 §4.8.2)
    if (request.shareName !== undefined) return;
    // [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]
    if (request.retainHandling === 2 || (request.retainHandling === 1 && current !== undefined)) return;
    if (this.context.router.retained.size === 0) return;
    this.retainedFeed ??= new RetainedFeed(this.clientId, () => this.link?.again());
    this.retainedFeed.add(subscription, this.context.router.retained.match(request.topicFilter));
  }

  private addSubscription(request: SubscribeRequest): {
    subscription: Subscription;
    current: Subscription | undefined;
  } {
    this.subscriptions ??= new Map();
    const subscription = new Subscription(
      this,
      request.topicFilter,
      request.shareName,
      request.qos,
      request.noLocal,
      request.retainAsPublished,
      request.retainHandling,
      request.subscriptionId,
    );
    const key = subscription.fullFilter;
    const current = this.subscriptions.get(key);
    this.context.router.subscribe(subscription, current);
    this.subscriptions.set(key, subscription);
    if (request.shareName !== undefined) {
      this.shared ??= new Map();
      this.shared.set(key, subscription);
    }
    return { subscription, current };
  }

  hasSubscription(fullFilter: string): boolean {
    return this.subscriptions?.has(fullFilter) ?? false;
  }

  /** Removes the subscription with exactly this filter [MQTT-3.10.4-1]. */
  unsubscribe(fullFilter: string): UnsubackReasonCode {
    const subscription = this.subscriptions?.get(fullFilter);
    if (subscription === undefined) return ReasonCode.NoSubscriptionExisted;
    this.subscriptions!.delete(fullFilter);
    if (this.subscriptions!.size === 0) this.subscriptions = undefined;
    this.retainedFeed?.remove(subscription);
    this.stored?.store.removeSubscription(this.owner, subscription.shareName, subscription.topicFilter);
    this.shared?.delete(fullFilter);
    if (this.shared?.size === 0) this.shared = undefined;
    this.context.router.unsubscribe(subscription);
    const { group } = subscription;
    // What was sent is completed [MQTT-3.10.4-3]; what still waits belongs to the group's other members.
    if (group) group.takeBack(this.takeQueued((item) => item.shared?.group === group));
    this.pump();
    return ReasonCode.Success;
  }

  // ---- from the router ----

  deliver(message: Message, delivery: Delivery): boolean {
    const qos = this.qosOf(message.qos, delivery.qos);
    const retain = message.retain && delivery.retainAsPublished; // [MQTT-3.3.1-12] [MQTT-3.3.1-13]
    const { link } = this;
    if (qos === 0) {
      if (link !== undefined && !this.qos0Waits) {
        if (!link.publish(message, 0, retain, false, 0, delivery.subscriptionIds))
          this.context.metrics.publishDropped++;
        if (link.isFull) this.fallBehind();
        return true;
      }
      if (link === undefined && (!this.context.limits.queueQos0 || this.expiryInterval === 0)) return true;
    }
    const { shared, subscriptionIds } = delivery;
    if (link !== undefined && !this.windowFull && !this.hasWaiting() && link.hasRoom) {
      if (this.keeps(shared)) this.send(takeOutgoing(message, qos, retain, subscriptionIds, shared), link);
      else this.sendUnkept(message, qos, retain, subscriptionIds, link);
      return true;
    }
    return this.enqueue(takeOutgoing(undefined, qos, retain, subscriptionIds, shared), message);
  }

  /** [MQTT-3.8.4-8] the smaller one, unless the configuration says otherwise */
  private qosOf(published: QoS, subscribed: QoS): QoS {
    return published < subscribed && this.context.upgradeQoS !== true ? published : subscribed;
  }

  /** Whether `deliverRun` hands a run to the connection as it is. */
  passesRuns({ qos }: Delivery): boolean {
    return this.link !== undefined && (qos === 0 || this.context.upgradeQoS !== true);
  }

  deliverRun(run: PublishRun, delivery: Delivery): void {
    const { link } = this;
    if ((this.context.upgradeQoS === true && delivery.qos > 0) || this.qos0Waits) {
      for (const message of run.messages()) this.deliver(message, delivery);
      return;
    }
    if (link !== undefined) {
      link.publishRun(run, delivery);
      if (link.isFull) this.fallBehind();
    } else if (this.context.limits.queueQos0 && this.expiryInterval !== 0) {
      for (const message of run.messages()) this.deliver(message, delivery);
    }
  }

  /** Messages with QoS 0 wait, which are the older ones [MQTT-4.6.0-5]. */
  private get qos0Waits(): boolean {
    return this.queue !== undefined && this.queue.length > 0 && this.queue.holdsQos0;
  }

  private hasWaiting(): boolean {
    return (
      (this.queue !== undefined && this.queue.length > 0) ||
      this.resend !== undefined ||
      this.retainedFeed?.waiting === true
    );
  }

  private enqueue(item: Outgoing, message: Message): boolean {
    const { limits, metrics } = this.context;
    const { queueMessagesMax, queueBytesMax, queueOverflow } = limits;
    const online = this.link !== undefined;
    let dropped: number;
    try {
      this.restoreInflight(); // what was sent is not among what may be dropped
      this.queue ??= new OutgoingQueue(this.stored);
      dropped = this.queue.push(item, message, online, queueMessagesMax, queueBytesMax, queueOverflow);
    } catch (error) {
      // Damage here is no fault of who publishes, nor of the others who get it.
      if (this.context.onDamage === undefined) throw error;
      this.context.onDamage(this, error);
      dropped = -1;
    }
    if (this.queue === undefined || dropped < 0) {
      metrics.publishDropped++;
      return false;
    }
    metrics.publishDropped += dropped;
    if (online) this.noteBehind();
    const { length, bytes } = this.queue;
    if (this.link !== undefined && (length * 2 >= limits.queueMessagesMax || bytes * 2 >= limits.queueBytesMax))
      this.fallBehind();
    return true;
  }

  /** Something waits for the client, which is connected: from now on, unless it did already. */
  private noteBehind(): void {
    if (this.slowTimer?.armed || !this.context.slowConsumerSeconds?.()) return;
    this.slowTimer ??= new WheelTimer(() => this.lookBehind());
    this.behindSinceTick = this.context.wheel.tick;
    this.lookBehind();
  }

  /** The client is slow when something has waited for so long without a break. */
  private lookBehind(): void {
    const { wheel, slowConsumerSeconds, onSlowConsumer } = this.context;
    const seconds = slowConsumerSeconds?.() ?? 0;
    if (seconds === 0 || this.link === undefined) return;
    const needed = wheel.ticksOf(seconds * 1000);
    // What it could take waits for a rate of ours.
    if (!this.link.isFull && !this.windowFull) this.behindSinceTick = wheel.tick;
    if (wheel.tick - this.behindSinceTick >= needed) {
      this.behindSinceTick = wheel.tick; // once in that time
      onSlowConsumer?.(this);
    }
    const left = needed - (wheel.tick - this.behindSinceTick);
    wheel.armTicks(this.slowTimer!, Math.min(left, wheel.ticksOf(SLOW_LOOK_MS)));
  }

  private caughtUp(): void {
    if (this.slowTimer?.armed) this.context.wheel.disarm(this.slowTimer);
  }

  private fallBehind(): void {
    this.holder ??= this.context.pressure.holder();
    this.holder.behind(this.link);
  }

  // ---- to the client ----

  /** Sends as much of what waits as quota and connection allow. Called when either has changed. */
  pump(): void {
    const link = this.link;
    if (link === undefined) return;
    while (link.hasRoom) {
      if (this.resend !== undefined) {
        if (this.windowFull) break;
        this.resendOne(link);
      } else if (this.queue !== undefined && this.queue.length > 0) {
        const next = this.queue.peek();
        if (next === undefined) continue;
        const item = next.qos > 0 && this.windowFull ? this.queue.shiftQos0() : this.queue.shift();
        if (item === undefined) break;
        if (item.message!.isExpired(this.context.clock.nowMs())) {
          this.context.metrics.publishDropped++; // [MQTT-3.3.2-5]
          this.forget(item);
          giveOutgoing(item);
        } else this.send(item, link);
      } else if (this.retainedFeed === undefined || this.windowFull || !this.sendRetained(this.retainedFeed, link))
        break;
    }
    if (this.queuedMessages === 0) this.caughtUp();
    else this.noteBehind();
    if (this.shared !== undefined)
      for (const { group } of this.shared.values()) if (group!.queued > 0 && this.accepting) group!.drain();
    if (this.holder !== undefined && this.drainedEnough(link)) {
      this.holder.drained();
      this.holder = undefined;
    }
  }

  private drainedEnough(link: Link): boolean {
    const { limits } = this.context;
    return (
      !link.isFull && this.queuedMessages * 4 <= limits.queueMessagesMax && this.queuedBytes * 4 <= limits.queueBytesMax
    );
  }

  /** Whether what is sent may have to be sent again: to this client later, or to another member of its group. */
  private keeps(shared: Subscription | undefined): boolean {
    return this.expiryInterval !== 0 || shared !== undefined;
  }

  private send(item: Outgoing, link: Link): void {
    const message = item.message!;
    if (item.qos === 0) {
      if (!link.publish(message, 0, item.retain, false, 0, item.subscriptionIds)) this.context.metrics.publishDropped++;
      this.forget(item);
      giveOutgoing(item);
      return;
    }
    if (!this.keeps(item.shared)) {
      this.sendUnkept(message, item.qos, item.retain, item.subscriptionIds, link);
      this.forget(item);
      giveOutgoing(item);
      return;
    }
    const packetId = this.unusedPacketId(); // [MQTT-2.2.1-4]
    if (!link.publish(message, item.qos, item.retain, false, packetId, item.subscriptionIds)) {
      this.context.metrics.publishDropped++; // [MQTT-3.1.2-25] as if it had been sent and acknowledged
      this.forget(item);
      giveOutgoing(item);
      return;
    }
    if (this.stored === undefined) item.sequence = this.nextSequence++;
    else this.store(item, message, packetId, link, this.stored);
    item.message = item.isStored ? undefined : message.keep(); // storage has it, should it be sent again
    item.packetId = packetId;
    item.state = item.qos === 1 ? OutgoingState.AwaitingPuback : OutgoingState.AwaitingPubrec;
    item.counted = true;
    this.outstanding++;
    this.byteWindow?.sent(packetId, message.payload.length);
    this.inflight![packetId] = item;
  }

  /** Stores a message with the identifier that it is sent with. */
  private store(item: Outgoing, message: Message, packetId: number, link: Link, stored: StoredMessages): void {
    if (item.isStored) {
      item.sequence = stored.takePlace();
      stored.store.saveExchange(stored.owner, packetId, item);
      item.exchange = true;
    } else if (message.handling.durability === 'memory') {
      item.sequence = stored.takePlace();
      return;
    } else item.sequence = stored.add(laneOfSent(item, message), item, message, packetId);
    // The client keeps the identifier of a QoS 2 message, so ours may not be lost; QoS 1 comes twice at worst.
    if (item.qos === 2) link.gate();
  }

  private sendUnkept(
    message: Message,
    qos: QoS,
    retain: boolean,
    subscriptionIds: readonly number[] | undefined,
    link: Link,
  ): void {
    const packetId = this.unusedPacketId(); // [MQTT-2.2.1-4]
    if (!link.publish(message, qos, retain, false, packetId, subscriptionIds)) {
      this.context.metrics.publishDropped++; // [MQTT-3.1.2-25]
      return;
    }
    this.outstanding++;
    this.byteWindow?.sent(packetId, message.payload.length);
    this.inflight![packetId] = qos === 1 ? unkept.awaitingPuback : unkept.awaitingPubrec;
  }

  private resendOne(link: Link): void {
    const item = this.resend!.shift()!;
    if (this.resend!.length === 0) this.resend = undefined;
    if (this.inflight![item.packetId] !== item) return; // acknowledged meanwhile
    item.counted = true;
    this.outstanding++;
    this.byteWindow?.sent(item.packetId, this.messageOf(item)?.payload.length ?? 0);
    if (item.state === OutgoingState.AwaitingPubcomp) link.pubrel(item.packetId, true);
    // [MQTT-3.3.1-1] DUP marks the re-delivery
    else if (!this.republish(item, link)) this.finish(item, item.packetId);
  }

  /** Sends a message again; returns false when it was not sent, and is not to be. */
  private republish(item: Outgoing, link: Link): boolean {
    const message = this.messageOf(item);
    if (message === undefined) return false;
    return link.publish(message, item.qos, item.retain, this.redelivers, item.packetId, item.subscriptionIds);
  }

  /** The message of an item in flight: in memory, or in storage. */
  private messageOf(item: Outgoing): Message | undefined {
    return item.message ?? (item.isStored ? this.stored!.store.messageOf(item) : undefined);
  }

  /** Sends the next retained message that a subscription asked for; returns false when there is none to send now. */
  private sendRetained(feed: RetainedFeed, link: Link): boolean {
    const message = feed.next(link, this.context);
    if (message === undefined) {
      // Under a limit it knows how many the client had.
      if (feed.empty && this.context.limits.retainedPerSecondMax === 0) this.retainedFeed = undefined;
      return false;
    }
    const { subscription } = feed;
    const qos = this.qosOf(message.qos, subscription.qos);
    message.handling = this.context.router.handlingOf(message.topicName);
    this.send(takeOutgoing(message, qos, true, subscription.subscriptionIds, undefined), link);
    return true;
  }

  /** Identifiers go round a range of twice the window, so the table of open exchanges stays small. */
  private unusedPacketId(): number {
    this.inflight ??= [];
    const range = Math.min(65535, Math.max(this.window * 2, 64));
    do this.nextPacketId = this.nextPacketId >= range ? 1 : this.nextPacketId + 1;
    while (this.inflight[this.nextPacketId] !== undefined);
    return this.nextPacketId;
  }

  /** Ends the exchange of `packetId`, whose message is `item`. */
  private finish(item: Outgoing, packetId: number): void {
    this.inflight![packetId] = undefined;
    this.forget(item);
    this.byteWindow?.done(packetId);
    if (item.counted) this.outstanding--;
    // The list of what is to be re-sent may still hold it: then it is not used again.
    if (item.packetId !== 0 && this.resend === undefined) giveOutgoing(item);
  }

  // ---- acknowledgements from the client ----

  /** A message that a client refuses counts as acknowledged [MQTT-4.4.0-2]. */
  puback(packetId: number): void {
    const item = this.inflight?.[packetId];
    if (item === undefined || item.state !== OutgoingState.AwaitingPuback) return;
    this.finish(item, packetId);
    if (this.hasWaiting()) this.pump();
  }

  pubrec(packetId: number, reasonCode: number): void {
    const item = this.inflight?.[packetId];
    if (item === undefined || item.state === OutgoingState.AwaitingPuback) {
      if (reasonCode < 0x80) this.link?.pubrel(packetId, false);
      return;
    }
    if (reasonCode >= 0x80) {
      if (item.state !== OutgoingState.AwaitingPubrec) return;
      this.finish(item, packetId); // [MQTT-4.4.0-2] [MQTT-4.8.2-6]
      if (this.hasWaiting()) this.pump();
      return;
    }
    if (item.packetId === 0) this.inflight![packetId] = unkept.awaitingPubcomp;
    else {
      item.state = OutgoingState.AwaitingPubcomp;
      if (item.isStored) {
        this.stored!.released(packetId, item);
        item.exchange = true;
        this.link?.gate();
      }
      item.message = undefined; // [MQTT-4.3.3-6]
    }
    this.link?.pubrel(packetId, true); // [MQTT-4.3.3-4]
  }

  pubcomp(packetId: number): void {
    const item = this.inflight?.[packetId];
    if (item === undefined || item.state !== OutgoingState.AwaitingPubcomp) return;
    this.finish(item, packetId);
    if (this.hasWaiting()) this.pump();
  }

  // ---- QoS 2 from the client ----

  /** Messages received at QoS 2 and not released yet. */
  get receivedCount(): number {
    return this.received?.size ?? 0;
  }

  hasReceived(packetId: number): boolean {
    return this.received?.has(packetId) ?? false;
  }

  /** Notes an identifier, so that a repeated PUBLISH delivers nothing [MQTT-4.3.3-10]. */
  noteReceived(packetId: number): void {
    this.received ??= new Set();
    this.received.add(packetId);
    this.stored?.store.noteReceived(this.owner, packetId);
  }

  /** The client released it; returns false when it was not known. */
  release(packetId: number): boolean {
    if (!this.received?.delete(packetId)) return false;
    this.stored?.store.removeReceived(this.owner, packetId);
    return true;
  }

  // ---- shared subscriptions ----

  /**
   * Gives back to its groups what came by shared subscriptions and is not finished: what waits, and QoS 1 in flight when the
   * session ends or another member can take it now; else this client gets it again, with its identifier [MQTT-4.4.0-1]. A
   * QoS 2 message that was sent stays with this client [MQTT-4.8.2-4] [MQTT-4.8.2-5].
   */
  private handSharedOn(ending: boolean): void {
    const mine = this.shared;
    if (mine === undefined) return;
    const byGroup = new Map<SharedGroup, Message[]>();
    const giveBack = (item: Outgoing): boolean => {
      const group = item.shared?.group;
      // What came by a subscription that was given up since stays with this client [MQTT-3.10.4-3].
      const known = this.messageOf(item);
      if (group === undefined || known === undefined || mine.get(item.shared!.fullFilter)?.group !== group)
        return false;
      const messages = byGroup.get(group);
      // The queue keeps the message at its own QoS and retain flag; another member's QoS may differ.
      const message = known.copy();
      if (messages) messages.push(message);
      else byGroup.set(group, [message]);
      return true;
    };
    const sent = (this.inflight ?? []).filter((item) => item?.state === OutgoingState.AwaitingPuback) as Outgoing[];
    for (const item of sent.sort((a, b) => a.sequence - b.sequence))
      if ((ending || item.shared?.group?.online) && giveBack(item)) this.finish(item, item.packetId);
    for (const item of this.queue?.extract(giveBack) ?? []) this.forget(item);
    for (const [group, messages] of byGroup) group.takeBack(messages);
  }

  private takeQueued(taken: (item: Outgoing) => boolean): Message[] {
    return (
      this.queue?.extract(taken).map((item) => {
        const message = item.message!.copy();
        this.forget(item);
        return message;
      }) ?? []
    );
  }
}
