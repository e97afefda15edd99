/** A subscription of the embedding program: a client of the router like a session, without a connection. */
import type { Logger } from '../base/index.js';
import type { Message, Properties, PublishRun, QoS } from '../protocol/index.js';
import { type Delivery, PAUSE, type Router, type Subscriber, Subscription } from '../router/index.js';
import { callSafely } from './call-safely.js';

/** An Application Message as a handler gets it. */
export interface ReceivedMessage {
  readonly topicName: string;
  /** Belongs to the broker: copy it to keep or change it. */
  readonly payload: Buffer;
  readonly qos: QoS;
  /** Set on a stored message that a new subscription receives. */
  readonly retain: boolean;
  readonly properties: Properties | undefined;
  /** Client identifier of the publisher; undefined when the program or the broker published it. */
  readonly publisherId: string | undefined;
}

export type MessageHandler = (message: ReceivedMessage) => void;

export class LocalSubscriber implements Subscriber {
  matchMark = 0;
  matchIndex = 0;
  readonly online = true;
  readonly accepting = true;
  private active = true;

  constructor(
    /** Not one a client can have: `$` and a number. */
    readonly clientId: string,
    private readonly handler: MessageHandler,
    private readonly log: Logger,
  ) {}

  /** Subscribes, and hands up what is retained bit by bit. Returns what ends the subscription. */
  subscribe(router: Router, topicFilter: string, qos: QoS): () => void {
    const subscription = new Subscription(this, topicFilter, undefined, qos, false, false, 0, undefined);
    router.subscribe(subscription, undefined);
    const retained = router.retained.match(topicFilter);
    const handSome = (): void => {
      for (let next = retained.next(); this.active && !next.done; next = retained.next()) {
        if (next.value === PAUSE) return void setImmediate(handSome);
        this.hand(next.value, next.value.qos, true);
      }
    };
    handSome();
    return () => {
      if (this.active) router.unsubscribe(subscription);
      this.active = false;
    };
  }

  deliver(message: Message, delivery: Delivery): boolean {
    const qos = Math.min(message.qos, delivery.qos) as QoS;
    this.hand(message, qos, message.retain && delivery.retainAsPublished);
    return true;
  }

  deliverRun(run: PublishRun): void {
    for (const message of run.messages()) this.hand(message, 0, false);
  }

  /** A handler may have ended the subscription in the middle of what was on its way. */
  private hand(message: Message, qos: QoS, retain: boolean): void {
    if (!this.active) return;
    const { topicName, payload, properties, publisherId } = message.keep();
    const failed = (error: unknown) =>
      this.log.error('subscription.handler-failed', `a message handler threw: ${String(error)}`, { topicName });
    callSafely(() => this.handler({ topicName, payload, qos, retain, properties, publisherId }), failed);
  }
}
