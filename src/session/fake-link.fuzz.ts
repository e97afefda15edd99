/** A session with everything around it but a connection, and a connection that only notes what it is told. */
import { type Clock, defaultLimits, type Limits, TimerWheel } from '../base/index.js';
import { BrokerMetrics } from '../metrics/index.js';
import { Message, type NewMessage, type QoS } from '../protocol/index.js';
import { Router } from '../router/index.js';
import type { HeldPublisher, Link } from './link.js';
import { Pressure } from './pressure.js';
import type { SessionContext } from './session.js';
import { SessionRegistry } from './session-registry.js';

export class FakeLink implements Link, HeldPublisher {
  hasRoom = true;
  bytesTaken = 0;
  /** There is room, but nothing may be sent now. */
  limited = false;
  get isFull(): boolean {
    return !this.hasRoom && !this.limited;
  }
  /** What `publish` answers: false as for a packet that is too large. */
  takes = true;
  held = 0;
  takenOvers = 0;
  onTakenOver = (): void => {};
  /** `1:payload` with the packet identifier, `+dup` behind it when it is one; `rel 1`. */
  readonly sent: string[] = [];

  publish(message: Message, _qos: QoS, retain: boolean, dup: boolean, packetId: number): boolean {
    if (!this.takes) return false;
    this.sent.push(`${packetId}:${message.payload}${dup ? '+dup' : ''}${retain ? '+retain' : ''}`);
    return true;
  }

  publishRun(run: { messages(): Message[] }): void {
    for (const message of run.messages()) this.sent.push(`0:${message.payload}`);
  }

  pubrel(packetId: number, found: boolean): void {
    this.sent.push(`rel ${packetId}${found ? '' : ' unknown'}`);
  }

  gate(): void {}

  again(): void {}

  takenOver(): void {
    this.takenOvers++;
    this.onTakenOver();
  }

  hold(): void {
    this.held++;
  }

  release(): void {
    this.held--;
  }

  take(): string[] {
    return this.sent.splice(0);
  }
}

export class SessionBench {
  now = 1_000_000;
  readonly metrics = new BrokerMetrics(0);
  readonly wills: NewMessage[] = [];
  /** Clients that were told of as slow, after so many seconds; 0 is never. */
  readonly slow: string[] = [];
  slowSeconds = 0;
  readonly clock: Clock = { nowMs: () => this.now };
  readonly wheel = new TimerWheel(this.clock);
  readonly pressure: Pressure;
  readonly router: Router;
  readonly registry: SessionRegistry;

  constructor(limits: Partial<Limits> = {}, holdMs = 0) {
    this.pressure = new Pressure(this.wheel, holdMs);
    this.router = new Router({
      strategy: 'roundRobin',
      sharedQueueMessagesMax: 100,
      topicCacheEntriesMax: 100,
      retainedMessagesMax: 100,
      retainedBytesMax: 100_000,
      clock: this.clock,
      wheel: this.wheel,
      onDropped: () => this.metrics.publishDropped++,
    });
    const { router, wheel, clock, metrics, pressure } = this;
    const context: SessionContext = {
      router,
      wheel,
      clock,
      metrics,
      pressure,
      limits: { ...defaultLimits, ...limits },
      slowConsumerSeconds: () => this.slowSeconds,
      onSlowConsumer: (session) => this.slow.push(session.clientId),
    };
    this.registry = new SessionRegistry(context, (values) => this.wills.push(values));
  }

  /** Opens the session of `clientId` over a new link, and resumes it. */
  open(clientId: string, { cleanStart = false, expiry = 100, receiveMaximum = 10, delay = -1 } = {}) {
    const link = new FakeLink();
    const will = delay < 0 ? undefined : { values: { topicName: 'will', payload: clientId }, delay };
    const { session, sessionPresent } = this.registry.open(clientId, cleanStart, expiry, will, link, receiveMaximum);
    link.onTakenOver = () => this.registry.close(session, link, false);
    session.resume();
    return { session, link, sessionPresent };
  }

  /** Publishes as a client would. */
  publish(payload: string, more: Partial<NewMessage> = {}): number {
    return this.router.publish(Message.create({ topicName: 'a', payload, qos: 1, ...more }, this.now));
  }

  pass(seconds: number): void {
    for (let passed = 0; passed < seconds * 1000; passed += 250) {
      this.now += 250;
      this.wheel.advance();
    }
  }
}

export const subscribed = (
  topicFilter: string,
  qos: QoS,
  more: { shareName?: string; retainHandling?: 0 | 1 | 2 } = {},
) => ({
  topicFilter,
  shareName: more.shareName,
  qos,
  noLocal: false,
  retainAsPublished: false,
  retainHandling: more.retainHandling ?? 0,
  subscriptionId: undefined,
});
