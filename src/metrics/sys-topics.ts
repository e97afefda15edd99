/**
 * `$SYS/broker/…`: Mosquitto's names for the broker's figures, published retained every interval, and only what changed.
 */
import type { BrokerMetrics } from './broker-metrics.js';
import { LoadAverage } from './load-average.js';

/** Figures that are counted elsewhere than in `BrokerMetrics`. */
export interface SysFigures {
  readonly version: string;
  readonly subscriptions: number;
  readonly sharedSubscriptions: number;
  readonly retainedMessages: number;
  readonly storedMessages: number;
  readonly storedBytes: number;
  readonly heapBytes: number;
  /** QoS 1 and 2, sent and not acknowledged */
  readonly inflightMessages: number;
  /** Waiting for clients that are connected */
  readonly outgoingMessages: number;
  readonly outgoingBytes: number;
}

/** Our own, below `protection/`: what was refused or held back, and whom it may concern. */
const protectionFigures = [
  'connectionsRefused',
  'connectionsBanned',
  'tlsHandshakesFailed',
  'loginsFailed',
  'publishRefused',
  'publishDelayed',
  'publishAboveRate',
  'subscriptionsRefused',
  'slowConsumers',
  'overloads',
] as const satisfies readonly (keyof BrokerMetrics)[];

export type PublishFigure = (topicName: string, payload: string) => void;

export class SysTopics {
  private readonly shown = new Map<string, string>();
  private readonly loads = new Map<string, LoadAverage>();
  private heapMax = 0;
  private lastMs: number;

  constructor(
    private readonly metrics: BrokerMetrics,
    private readonly figures: () => SysFigures,
    private readonly publish: PublishFigure,
  ) {
    this.lastMs = metrics.startedAtMs;
  }

  /** Publishes every figure whose text differs from the last one. */
  update(nowMs: number): void {
    const { metrics } = this;
    const figures = this.figures();
    this.heapMax = Math.max(this.heapMax, figures.heapBytes);
    this.show('version', figures.version);
    this.show('uptime', `${Math.floor((nowMs - metrics.startedAtMs) / 1000)} seconds`);
    this.show('clients/total', metrics.sessions);
    this.show('clients/maximum', metrics.sessionsMax);
    this.show('clients/connected', metrics.clientsConnected);
    this.show('clients/active', metrics.clientsConnected);
    this.show('clients/disconnected', metrics.sessions - metrics.clientsConnected);
    this.show('clients/inactive', metrics.sessions - metrics.clientsConnected);
    this.show('clients/expired', metrics.sessionsExpired);
    this.show('subscriptions/count', figures.subscriptions);
    this.show('shared_subscriptions/count', figures.sharedSubscriptions);
    this.show('retained messages/count', figures.retainedMessages);
    this.show('messages/stored', figures.storedMessages);
    this.show('store/messages/count', figures.storedMessages);
    this.show('store/messages/bytes', figures.storedBytes);
    this.show('messages/inflight', figures.inflightMessages);
    this.show('packet/out/count', figures.outgoingMessages);
    this.show('packet/out/bytes', figures.outgoingBytes);
    this.show('connections/socket/count', metrics.connectionsTotal);
    this.show('heap/current', figures.heapBytes);
    this.show('heap/maximum', this.heapMax);
    this.show('messages/received', metrics.packetsReceived);
    this.show('messages/sent', metrics.packetsSent);
    this.show('publish/messages/received', metrics.publishReceived);
    this.show('publish/messages/sent', metrics.publishSent);
    this.show('publish/messages/dropped', metrics.publishDropped);
    this.show('publish/bytes/received', metrics.publishBytesReceived);
    this.show('publish/bytes/sent', metrics.publishBytesSent);
    this.show('bytes/received', metrics.bytesReceived);
    this.show('bytes/sent', metrics.bytesSent);
    for (const name of protectionFigures) this.show(`protection/${name}`, metrics[name]);
    const seconds = Math.max(0.001, (nowMs - this.lastMs) / 1000);
    this.lastMs = nowMs;
    this.load('messages/received', metrics.packetsReceived, seconds);
    this.load('messages/sent', metrics.packetsSent, seconds);
    this.load('publish/received', metrics.publishReceived, seconds);
    this.load('publish/sent', metrics.publishSent, seconds);
    this.load('publish/dropped', metrics.publishDropped, seconds);
    this.load('bytes/received', metrics.bytesReceived, seconds);
    this.load('bytes/sent', metrics.bytesSent, seconds);
    this.load('sockets', metrics.connectionsTotal, seconds);
    this.load('connections', metrics.connectionsTotal, seconds);
  }

  private load(name: string, total: number, seconds: number): void {
    let average = this.loads.get(name);
    if (average === undefined) {
      average = new LoadAverage();
      this.loads.set(name, average);
    }
    const [one, five, fifteen] = average.sample(total, seconds);
    this.show(`load/${name}/1min`, one!.toFixed(2));
    this.show(`load/${name}/5min`, five!.toFixed(2));
    this.show(`load/${name}/15min`, fifteen!.toFixed(2));
  }

  private show(name: string, value: string | number): void {
    const text = String(value);
    if (this.shown.get(name) === text) return;
    this.shown.set(name, text);
    this.publish(`$SYS/broker/${name}`, text);
  }
}
