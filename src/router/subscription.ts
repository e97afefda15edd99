import type { Message, PublishRun, QoS } from '../protocol/index.js';
import type { SharedGroup } from './shared-group.js';

/** Who receives what the router matches: a session, or a local client (bridge, rules, embedding program). */
export interface Subscriber {
  readonly clientId: string;
  /** Whether a message handed over now can leave now; shared subscriptions prefer such members. */
  readonly online: boolean;
  /** Whether it is online and has room in its queue: shared subscriptions hand QoS 1 and 2 to such members only. */
  readonly accepting: boolean;
  /** Takes one message, at the smaller QoS of message and delivery. Returns false when a full queue refuses it. */
  deliver(message: Message, delivery: Delivery): boolean;
  /** Takes a run of QoS 0 packets; its bytes are good only during the call. */
  deliverRun(run: PublishRun, delivery: Delivery): void;
  /** Scratch of the topic tree while it merges overlapping subscriptions; nobody else touches it. */
  matchMark: number;
  matchIndex: number;
}

/** How one subscriber gets a message: one subscription, or several overlapping ones merged. */
export interface Delivery {
  readonly subscriber: Subscriber;
  readonly qos: QoS;
  readonly retainAsPublished: boolean;
  /** All identifiers of the matching subscriptions [MQTT-3.3.4-4]; undefined when none has one. */
  readonly subscriptionIds: readonly number[] | undefined;
  /** Not delivered to its own publisher [MQTT-3.8.3-3]. */
  readonly noLocal: boolean;
  /** The subscription itself when it is shared: a member that leaves hands on what came by it. */
  readonly shared: Subscription | undefined;
  /** Of merged deliveries of which some are No Local: what remains for the publisher itself. */
  readonly withoutNoLocal: Delivery | undefined;
}

/** One subscription of one session: identity is (subscriber, shareName, topicFilter). */
export class Subscription implements Delivery {
  readonly subscriptionIds: readonly number[] | undefined;
  readonly withoutNoLocal: Delivery | undefined = undefined;
  readonly shared: Subscription | undefined;
  /** Its group when it is shared, from when the topic tree took it. */
  group: SharedGroup | undefined;
  /** Position in the list that holds it, kept by the topic tree. */
  index = -1;

  constructor(
    readonly subscriber: Subscriber,
    readonly topicFilter: string,
    readonly shareName: string | undefined,
    readonly qos: QoS,
    readonly noLocal: boolean,
    readonly retainAsPublished: boolean,
    readonly retainHandling: 0 | 1 | 2,
    readonly subscriptionId: number | undefined,
  ) {
    this.subscriptionIds = subscriptionId === undefined ? undefined : [subscriptionId];
    this.shared = shareName === undefined ? undefined : this;
  }

  /** The filter as the client wrote it, `$share/name/` included. */
  get fullFilter(): string {
    return this.shareName === undefined ? this.topicFilter : `$share/${this.shareName}/${this.topicFilter}`;
  }
}

class MergedDelivery implements Delivery {
  readonly shared: Subscription | undefined = undefined;

  constructor(
    readonly subscriber: Subscriber,
    readonly qos: QoS,
    readonly retainAsPublished: boolean,
    readonly subscriptionIds: readonly number[] | undefined,
    readonly noLocal: boolean,
    readonly withoutNoLocal: Delivery | undefined,
  ) {}
}

/** One delivery for all overlapping subscriptions of one subscriber: highest QoS [MQTT-3.3.4-2], every identifier. */
export function mergeSubscriptions(parts: readonly Subscription[]): Delivery {
  if (parts.length === 1) return parts[0]!;
  const local = parts.filter((part) => !part.noLocal);
  const some = local.length < parts.length && local.length > 0;
  return new MergedDelivery(
    parts[0]!.subscriber,
    Math.max(...parts.map((part) => part.qos)) as QoS,
    parts.some((part) => part.retainAsPublished),
    identifiers(parts),
    local.length < parts.length,
    some ? mergeSubscriptions(local) : undefined,
  );
}

function identifiers(parts: readonly Subscription[]): number[] | undefined {
  const ids = parts.flatMap((part) => part.subscriptionIds ?? []);
  return ids.length === 0 ? undefined : ids;
}
