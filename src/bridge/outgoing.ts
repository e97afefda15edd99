/**
 * From this broker to the remote: a local client of the router that renames what it gets and hands it to the sessions of the bridge,
 * which queue it and send it. Each topic has one session, so its order holds.
 *
 * Refuses  what came over this bridge, and what has gone over as many bridges as it may.
 */
import { type Handling, Message, type PublishRun, type QoS, variableByteIntegerLength } from '../protocol/index.js';
import {
  type Delivery,
  type MayDeliver,
  PAUSE,
  type Router,
  retainedStill,
  type Subscriber,
  Subscription,
} from '../router/index.js';
import type { Session } from '../session/index.js';
import type { Waiting } from './hand-over.js';
import { encodedHops, findHops } from './hops.js';
import type { BridgeOptions } from './options.js';
import { BoundedMap, filtersOf, isOutgoing, localFilter, renameOutgoing } from './topic-rules.js';

const NAMES_MAX = 8192;
/** Stored messages handed on in one go, and how many may wait before more are. */
const RETAINED_STEP = 1000;
const RETAINED_WAITING_MAX = 500;
const RETAINED_PAUSE_MS = 50;

/** One of the connections of a bridge, as seen from here. */
export interface OutgoingLane {
  /** Undefined while there is nobody to queue for: what comes is lost. */
  readonly session: Session | undefined;
  /** Something was queued. */
  queued(): void;
  dropped(count: number): void;
}

/** One name at the remote: what the session needs to know of the delivery, and the name as bytes. */
export class OutgoingTarget implements Delivery {
  readonly subscriptionIds: undefined = undefined;
  readonly noLocal = false;
  readonly shared: undefined = undefined;
  readonly withoutNoLocal: undefined = undefined;
  readonly topic: Buffer;

  constructor(
    readonly subscriber: Subscriber,
    readonly topicName: string,
    readonly qos: QoS,
    readonly retainAsPublished: boolean,
    readonly lane: OutgoingLane,
    /** Goes with every message that has no properties of its own. */
    readonly properties: Buffer,
  ) {
    this.topic = Buffer.from(topicName);
  }

  /** A message of a run. */
  plainMessage(payload: Uint8Array): Message {
    const { topic, properties } = this;
    const body = Buffer.concat([topic, properties, payload]);
    const propertiesEnd = topic.length + properties.length;
    const places = [0, topic.length, topic.length, propertiesEnd, propertiesEnd, body.length] as const;
    return new Message(this.topicName, 0, false, body, ...places, 0, undefined, false);
  }
}

const nothing = Buffer.alloc(0);

export interface OutgoingContext {
  readonly router: Router;
  readonly options: BridgeOptions;
  readonly lanes: readonly OutgoingLane[];
  /** Client identifiers of the sessions of this bridge: what they published is not sent back. */
  readonly own: ReadonlySet<string>;
  readonly mayDeliverRetained: MayDeliver;
}

export class Outgoing implements Subscriber {
  matchMark = 0;
  matchIndex = 0;
  readonly online = true;
  readonly accepting = true;
  readonly clientId: string;
  /** Not sent on, since they had gone over as many bridges as they may. */
  tooFar = 0;
  private subscriptions: Subscription[] = [];
  private readonly targets = new BoundedMap<readonly OutgoingTarget[]>(NAMES_MAX);
  private readonly handlings = new Map<Handling, Handling>();
  private readonly countsHops: boolean;
  /** The stored messages were not handed to them to the end. */
  private readonly unfinished = new Set<OutgoingLane>();
  private stopped = false;

  constructor(private readonly context: OutgoingContext) {
    const { options } = context;
    this.clientId = `$bridge/${options.name}`;
    this.countsHops = options.hopsMax > 0;
  }

  start(): void {
    if (this.stopped) return;
    const { router, options } = this.context;
    for (const [filter, qos] of filtersOf(options.topics.filter(isOutgoing), localFilter)) {
      const subscription = new Subscription(this, filter, undefined, qos, false, true, 2, undefined);
      this.subscriptions.push(subscription);
      router.subscribe(subscription, undefined);
    }
  }

  stop(): void {
    this.stopped = true;
    for (const subscription of this.subscriptions) this.context.router.unsubscribe(subscription);
    this.subscriptions = [];
  }

  /**
   * Hands the stored messages of `lane`'s topics to it, no faster than it takes them. `known`: the remote has its half of the session,
   * and so has them already, unless the connection broke while they were handed over. `failed` is told of what cannot be read.
   */
  sendRetained(lane: OutgoingLane, known: boolean, failed: (error: unknown) => void): void {
    const { router, options } = this.context;
    if (!options.outgoingRetain || (known && !this.unfinished.has(lane))) return;
    this.unfinished.delete(lane);
    if (router.retained.size === 0) return;
    const filters = [...filtersOf(options.topics.filter(isOutgoing), localFilter).keys()];
    const firstFilter = filters.shift();
    if (firstFilter === undefined) return;
    const connection = lane.session?.connection;
    if (connection === undefined) return;
    this.unfinished.add(lane);
    const handed = filters.length > 0 ? new Set<string>() : undefined;
    const handOver = (message: Message): void => {
      message.handling = router.handlingOf(message.topicName);
      for (const target of this.targetsOf(message.topicName))
        if (target.lane === lane) this.hand(message, target, true);
    };
    const step = (stored: Iterator<Message | typeof PAUSE>): void => {
      for (let count = 0; count < RETAINED_STEP; count++) {
        if (this.stopped || lane.session?.connection !== connection) return;
        if (lane.session.queuedMessages > RETAINED_WAITING_MAX || !connection.hasRoom) break;
        const next = stored.next();
        if (next.done) {
          const filter = filters.shift();
          if (filter !== undefined) return step(router.retained.match(filter));
          this.unfinished.delete(lane);
          return;
        }
        if (next.value === PAUSE) break;
        const message = next.value;
        if (handed?.has(message.topicName) || this.cameThisWay(message.publisherId)) continue;
        handed?.add(message.topicName);
        const verdict = this.context.mayDeliverRetained(message);
        if (typeof verdict !== 'boolean') {
          void verdict.then((known) => {
            if (this.stopped || lane.session?.connection !== connection) return;
            try {
              const current = known ? retainedStill(router.retained, message) : undefined;
              if (current !== undefined) handOver(current);
            } catch (error) {
              return failed(error);
            }
            tryStep(stored);
          });
          return;
        }
        if (verdict) handOver(message);
      }
      setTimeout(tryStep, RETAINED_PAUSE_MS, stored).unref();
    };
    const tryStep = (stored: Iterator<Message | typeof PAUSE>): void => {
      try {
        step(stored);
      } catch (error) {
        failed(error);
      }
    };
    tryStep(router.retained.match(firstFilter));
  }

  /** What waited in a session that the bridge has no longer; it was renamed and counted already. */
  takeOver(lane: OutgoingLane, waiting: readonly Waiting[]): void {
    for (const { message, qos, retain } of waiting) {
      if (lane.session === undefined) {
        lane.dropped(1);
        continue;
      }
      message.retain = retain;
      message.handling = this.handlingOf(message.handling);
      lane.session.deliver(message, new OutgoingTarget(this, message.topicName, qos, retain, lane, nothing));
    }
    if (lane.session !== undefined && waiting.length > 0) lane.queued();
  }

  deliver(message: Message): boolean {
    if (this.cameThisWay(message.publisherId)) return true;
    let taken = true;
    for (const target of this.targetsOf(message.topicName))
      if (!this.hand(message, target, message.retain)) taken = false;
    return taken;
  }

  deliverRun(run: PublishRun): void {
    if (this.cameThisWay(run.publisherId)) return;
    for (const target of this.targetsOf(run.topicName)) {
      const { session } = target.lane;
      if (session?.passesRuns(target)) session.deliverRun(run, target);
      else if (session?.online) for (const message of run.messages()) this.hand(message, target, false);
      else if (session === undefined || !this.context.options.queue.qos0) target.lane.dropped(run.count);
      else for (const message of run.messages()) this.hand(message, target, false);
    }
  }

  private cameThisWay(publisherId: string | undefined): boolean {
    return publisherId !== undefined && this.context.own.has(publisherId);
  }

  private hand(message: Message, target: OutgoingTarget, retain: boolean): boolean {
    const { lane } = target;
    const { session } = lane;
    const { options } = this.context;
    if (session === undefined || (!session.online && Math.min(message.qos, target.qos) === 0 && !options.queue.qos0)) {
      lane.dropped(1);
      return true;
    }
    const found = findHops(message);
    if (this.countsHops && found.hops >= options.hopsMax) {
      this.tooFar++;
      return true;
    }
    const hops = this.countsHops ? (found.hops === 0 ? target.properties : encodedHops(found.hops + 1)) : nothing;
    const renamed = renameMessage(message, target, hops, this.countsHops ? found : undefined);
    renamed.retain = retain;
    renamed.handling = this.handlingOf(message.handling);
    const taken = session.deliver(renamed, target);
    lane.queued();
    return taken;
  }

  /** The durability of the bridge takes the place of what the broker's rules say of the topic. */
  private handlingOf(handling: Handling): Handling {
    const { durability } = this.context.options;
    if (durability === 'asBroker') return handling;
    let known = this.handlings.get(handling);
    if (known === undefined) {
      known = { ...handling, durability: durability === 'faultTolerant' ? 'sync' : durability };
      this.handlings.set(handling, known);
    }
    return known;
  }

  private targetsOf(topicName: string): readonly OutgoingTarget[] {
    const known = this.targets.get(topicName);
    if (known !== undefined) return known;
    const { options, lanes } = this.context;
    const lane = lanes[hash(topicName) % lanes.length]!;
    const properties = this.countsHops ? encodedHops(1) : nothing;
    return this.targets.set(
      topicName,
      renameOutgoing(options.topics, topicName).map(
        ({ topicName: name, qos }) => new OutgoingTarget(this, name, qos, options.outgoingRetain, lane, properties),
      ),
    );
  }
}

/** A message of its own under another name, with `added` after its properties and the count it had left out. */
export function renameMessage(
  message: Message,
  { topicName, topic }: Pick<OutgoingTarget, 'topicName' | 'topic'>,
  added: Buffer,
  former: { readonly start: number; readonly end: number } | undefined,
): Message {
  const { body, propertiesStart, propertiesEnd, payloadStart, bodyEnd } = message;
  const left = former === undefined ? 0 : former.end - former.start;
  const total = topic.length + propertiesEnd - propertiesStart - left + added.length + bodyEnd - payloadStart;
  const bytes = Buffer.allocUnsafe(total);
  topic.copy(bytes, 0);
  let at = topic.length;
  if (left > 0) {
    at += body.copy(bytes, at, propertiesStart, former!.start);
    at += body.copy(bytes, at, former!.end, propertiesEnd);
  } else if (propertiesEnd > propertiesStart) at += body.copy(bytes, at, propertiesStart, propertiesEnd);
  if (added.length > 0) at += added.copy(bytes, at);
  const end = at + body.copy(bytes, at, payloadStart, bodyEnd);
  return new Message(
    topicName,
    message.qos,
    message.retain,
    bytes,
    0,
    topic.length,
    topic.length,
    at,
    at,
    end,
    message.expiresAtMs,
    message.publisherId,
    false,
  );
}

/** Bytes of one plain QoS 0 packet under the name of a target. */
export function plainPacketBody(target: OutgoingTarget, version5: boolean, payloadBytes: number): number {
  const properties = target.properties.length;
  return 2 + target.topic.length + (version5 ? variableByteIntegerLength(properties) + properties : 0) + payloadBytes;
}

function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  return value >>> 0;
}
