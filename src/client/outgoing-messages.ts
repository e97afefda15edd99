/**
 * QoS 1 and 2 messages on their way out.
 *
 *   waiting --PUBLISH--> published --PUBACK--> done
 *                        published --PUBREC--> released --PUBCOMP--> done
 *
 * A message keeps its Packet Identifier until it is done. At most `limit` are in flight [MQTT-4.9.0-2]. After a reconnect with
 * the session still there, what was in flight is sent again in its old order [MQTT-4.4.0-1] [MQTT-4.6.0-1]; without one,
 * published messages start anew and released ones count as done, because the server had taken them.
 */
import type { Properties, QoS } from '../protocol/index.js';
import type { ClientError } from './client-error.js';
import type { PacketIds } from './packet-ids.js';

export interface PublishResult {
  /** Success or No Matching Subscribers, or why the server refused the message; 0 in 3.x and for QoS 0 */
  reasonCode: number;
  properties?: Properties;
}

export interface OutgoingMessage {
  topicName: string;
  payload: Uint8Array;
  qos: QoS;
  retain: boolean;
  properties: Properties | undefined;
  packetId: number;
  state: 'waiting' | 'published' | 'released';
  resolve(result: PublishResult): void;
  reject(error: Error): void;
}

export interface OutgoingWire {
  publish(message: OutgoingMessage, dup: boolean): void;
  release(packetId: number, reasonCode: number): void;
}

export class OutgoingMessages {
  private waiting: OutgoingMessage[] = [];
  private waitingHead = 0;
  /** in the order of their first PUBLISH */
  private readonly inflight = new Map<number, OutgoingMessage>();
  private resend: OutgoingMessage[] = [];
  private connected = false;
  private limit = 0;
  /** messages of `inflight` that were sent on this connection */
  private active = 0;

  constructor(
    private readonly packetIds: PacketIds,
    private readonly wire: OutgoingWire,
    private readonly queueMessagesMax: number,
  ) {}

  get count(): number {
    return this.waiting.length - this.waitingHead + this.inflight.size;
  }

  /** False when the queue is full; the message is then not taken. */
  add(message: OutgoingMessage): boolean {
    if (this.count >= this.queueMessagesMax) return false;
    this.waiting.push(message);
    this.pump();
    return true;
  }

  start(sessionPresent: boolean, limit: number): void {
    this.connected = true;
    this.limit = limit;
    this.active = 0;
    const unfinished = [...this.inflight.values()];
    if (sessionPresent) {
      this.resend = unfinished;
    } else {
      // [MQTT-3.2.2-5] the old exchange is gone; what it had not completed is published as new
      this.inflight.clear();
      for (const message of unfinished) this.packetIds.release(message.packetId);
      for (const message of unfinished) if (message.state === 'released') message.resolve({ reasonCode: 0 });
      const again = unfinished.filter((message) => message.state === 'published');
      for (const message of again) message.state = 'waiting';
      this.waiting = [...again, ...this.waiting.slice(this.waitingHead)];
      this.waitingHead = 0;
    }
    this.pump();
  }

  stop(): void {
    this.connected = false;
    this.resend = [];
  }

  /** Gives up on everything. */
  fail(error: ClientError): void {
    const all = [...this.inflight.values(), ...this.waiting.slice(this.waitingHead)];
    for (const packetId of this.inflight.keys()) this.packetIds.release(packetId);
    this.inflight.clear();
    this.waiting = [];
    this.waitingHead = 0;
    this.resend = [];
    for (const message of all) message.reject(error);
  }

  onPuback(packetId: number, reasonCode: number, properties: Properties | undefined): void {
    const message = this.inflight.get(packetId);
    if (message?.qos === 1) this.finish(message, reasonCode, properties);
  }

  /** [MQTT-4.3.3-4] PUBREL answers PUBREC, also when nothing is known of it; [MQTT-4.4.0-2] a refusal ends the exchange. */
  onPubrec(packetId: number, reasonCode: number, properties: Properties | undefined): void {
    const message = this.inflight.get(packetId);
    if (message?.qos !== 2) {
      this.wire.release(packetId, 0x92);
    } else if (reasonCode >= 0x80) {
      this.finish(message, reasonCode, properties);
    } else {
      message.state = 'released';
      this.wire.release(packetId, 0);
    }
  }

  onPubcomp(packetId: number, reasonCode: number, properties: Properties | undefined): void {
    const message = this.inflight.get(packetId);
    if (message?.state === 'released') this.finish(message, reasonCode, properties);
  }

  /** The message cannot be sent to this server at all; its exchange ends here. */
  refuse(message: OutgoingMessage, error: Error): void {
    this.inflight.delete(message.packetId);
    this.packetIds.release(message.packetId);
    this.active -= 1;
    message.reject(error);
  }

  private finish(message: OutgoingMessage, reasonCode: number, properties: Properties | undefined): void {
    this.inflight.delete(message.packetId);
    this.packetIds.release(message.packetId);
    this.active -= 1;
    message.resolve(properties === undefined ? { reasonCode } : { reasonCode, properties });
    this.pump();
  }

  private pump(): void {
    if (!this.connected) return;
    while (this.resend.length > 0 && this.active < this.limit) {
      const message = this.resend.shift()!;
      this.active += 1;
      if (message.state === 'released') this.wire.release(message.packetId, 0);
      else this.wire.publish(message, true); // [MQTT-3.3.1-1]
    }
    while (this.waitingHead < this.waiting.length && this.active < this.limit && this.resend.length === 0) {
      const packetId = this.packetIds.take();
      if (packetId === undefined) return;
      const message = this.waiting[this.waitingHead]!;
      this.advance();
      message.packetId = packetId;
      message.state = 'published';
      this.inflight.set(packetId, message);
      this.active += 1;
      this.wire.publish(message, false);
    }
  }

  /** Drops the head without moving the rest each time. */
  private advance(): void {
    this.waitingHead += 1;
    if (this.waitingHead < 1024 && this.waitingHead < this.waiting.length) return;
    this.waiting = this.waiting.slice(this.waitingHead);
    this.waitingHead = 0;
  }
}
