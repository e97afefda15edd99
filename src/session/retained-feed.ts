/**
 * The retained messages that subscriptions of one session asked for, subscription by subscription: no faster than the limit on them, and
 * each only when its source may still publish it. Messages are read from the store as they go out, never all at once.
 */
import { WheelTimer } from '../base/index.js';
import type { Message } from '../protocol/index.js';
import { PAUSE, retainedStill, type Subscription } from '../router/index.js';
import type { Link } from './link.js';
import type { SessionContext } from './session.js';

interface Cursor {
  readonly messages: Iterator<Message | typeof PAUSE>;
  subscription: Subscription;
  /** A message whose source is being asked about: nothing of this subscription goes out before the answer. */
  asked: { readonly message: Message; verdict: boolean | undefined } | undefined;
}

/** While the limit on retained messages holds them up, milliseconds. */
const WAIT_MS = 250;
/** Messages left out before others get their turn. */
const LEFT_OUT_STEP = 128;

export class RetainedFeed {
  private readonly cursors: Cursor[] = [];
  /** Messages that may go out now, as of `allowedSinceMs`. */
  private allowance = 0;
  private allowedSinceMs = 0;
  /** Messages left out since the last that was not. */
  private leftOut = 0;
  private current: Subscription | undefined;
  private readonly timer = new WheelTimer(() => this.goOn());

  /** @param goOn called when `next` has something again after a wait. */
  constructor(
    private readonly clientId: string,
    private readonly goOn: () => void,
  ) {}

  /** A subscription asks for messages; what it asked for before, it gets no more. */
  add(subscription: Subscription, messages: Cursor['messages']): void {
    this.remove(subscription);
    this.cursors.push({ messages, subscription, asked: undefined });
  }

  remove(subscription: Subscription): void {
    const at = this.cursors.findIndex((cursor) => cursor.subscription === subscription);
    if (at >= 0) this.cursors.splice(at, 1);
  }

  /** What `current` asked for goes out for `next`, which is in its place now. */
  replace(current: Subscription, next: Subscription): void {
    for (const cursor of this.cursors) if (cursor.subscription === current) cursor.subscription = next;
  }

  get empty(): boolean {
    return this.cursors.length === 0;
  }

  /** Whether messages wait for their turn; what waits for an answer holds up nothing else. */
  get waiting(): boolean {
    const cursor = this.cursors[0];
    return cursor !== undefined && (cursor.asked === undefined || cursor.asked.verdict !== undefined);
  }

  /** The subscription that the message of the last `next` is for. */
  get subscription(): Subscription {
    return this.current!;
  }

  /** The message that goes out next; undefined when there is none, or when it is to go on later. */
  next(link: Link, context: SessionContext): Message | undefined {
    for (let cursor = this.cursors[0]; cursor !== undefined; cursor = this.cursors[0]) {
      if (!this.withinRate(context)) return undefined;
      const { asked } = cursor;
      const message = asked === undefined ? this.read(cursor, link, context) : this.answered(cursor, asked, context);
      if (message === PAUSE) return undefined;
      if (message === undefined) continue;
      this.leftOut = 0;
      this.allowance--;
      this.current = cursor.subscription;
      return message;
    }
    return undefined;
  }

  /** The next message of a subscription; undefined when it gets none at this step. */
  private read(cursor: Cursor, link: Link, context: SessionContext): Message | typeof PAUSE | undefined {
    const { done, value: message } = cursor.messages.next();
    if (done) {
      this.cursors.shift();
      return undefined;
    }
    if (message === PAUSE) {
      link.again();
      return PAUSE;
    }
    if (cursor.subscription.noLocal && message.publisherId === this.clientId) return undefined; // [MQTT-3.8.3-3]
    const verdict = context.mayDeliverRetained?.(message) ?? true;
    if (verdict === true) return message;
    if (verdict === false) return this.leaveOut(link);
    const asked: NonNullable<Cursor['asked']> = { message, verdict: undefined };
    cursor.asked = asked;
    void verdict.then((answer) => {
      asked.verdict = answer;
      this.goOn();
    });
    return PAUSE;
  }

  /** The message that was asked about, as it is by now. */
  private answered(
    cursor: Cursor,
    { message, verdict }: NonNullable<Cursor['asked']>,
    { router }: SessionContext,
  ): Message | typeof PAUSE | undefined {
    if (verdict === undefined) return PAUSE;
    cursor.asked = undefined;
    return verdict ? retainedStill(router.retained, message) : undefined;
  }

  private leaveOut(link: Link): typeof PAUSE | undefined {
    if (++this.leftOut < LEFT_OUT_STEP) return undefined;
    this.leftOut = 0;
    link.again();
    return PAUSE;
  }

  /** Keeps to the rate of retained messages to one client; what was not used allows a second's worth at once. */
  private withinRate({ limits, clock, wheel }: SessionContext): boolean {
    const rate = limits.retainedPerSecondMax;
    if (rate === 0) return true;
    const now = clock.nowMs();
    // A clock that is set back takes nothing away.
    const passed = Math.max(0, now - this.allowedSinceMs);
    this.allowance = Math.min(rate, this.allowance + (passed * rate) / 1000);
    this.allowedSinceMs = now;
    if (this.allowance >= 1) return true;
    wheel.arm(this.timer, WAIT_MS);
    return false;
  }
}
