/** What a bridge counts since the broker started, and how fast it went of late. */
import type { BrokerMetrics } from '../metrics/index.js';

export class Figures {
  messagesSent = 0;
  messagesReceived = 0;
  payloadBytesSent = 0;
  payloadBytesReceived = 0;
  /** Not sent: no room in the queue, nobody to queue for, too large for the remote, expired. */
  dropped = 0;
  /** Received, and no row takes them. */
  unwanted = 0;
  /** Sent, and the remote said that it does not take them. */
  refused = 0;
  /** Received, and gone over as many bridges as they may already. */
  tooFar = 0;
  /** Messages a second over the last span that was measured. */
  sentPerSecond = 0;
  receivedPerSecond = 0;
  private measuredAtMs = 0;
  private sentBefore = 0;
  private receivedBefore = 0;

  sent(messages: number, payloadBytes: number): void {
    this.messagesSent += messages;
    this.payloadBytesSent += payloadBytes;
  }

  received(wanted: boolean, payloadBytes: number): void {
    this.messagesReceived++;
    this.payloadBytesReceived += payloadBytes;
    if (!wanted) this.unwanted++;
  }

  /** Ends a span. */
  measure(nowMs: number): void {
    const seconds = (nowMs - this.measuredAtMs) / 1000;
    if (this.measuredAtMs > 0 && seconds > 0) {
      this.sentPerSecond = (this.messagesSent - this.sentBefore) / seconds;
      this.receivedPerSecond = (this.messagesReceived - this.receivedBefore) / seconds;
    }
    this.measuredAtMs = nowMs;
    this.sentBefore = this.messagesSent;
    this.receivedBefore = this.messagesReceived;
  }

  /** The broker's counters, where what a session drops is counted here as well. */
  beside(metrics: BrokerMetrics): BrokerMetrics {
    const figures = this;
    return Object.defineProperty(Object.create(metrics) as BrokerMetrics, 'publishDropped', {
      get: () => metrics.publishDropped,
      set(value: number) {
        figures.dropped += value - metrics.publishDropped;
        metrics.publishDropped = value;
      },
    });
  }
}
