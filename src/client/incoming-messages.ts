/**
 * Messages that the server sends: topic aliases, duplicates at QoS 2, and acknowledgements in the order of arrival
 * [MQTT-4.6.0-2] [MQTT-4.6.0-3].
 *
 * A QoS 2 message is delivered on its first PUBLISH; its Packet Identifier is remembered until PUBREL, so that a second PUBLISH
 * is answered and not delivered [MQTT-4.3.3-10].
 */
import {
  PacketType,
  type Properties,
  ProtocolFailure,
  type PublishPacket,
  protocolError,
  type QoS,
  ReasonCode,
} from '../protocol/index.js';

type Acknowledgement = typeof PacketType.Puback | typeof PacketType.Pubrec | typeof PacketType.Pubcomp;

export type SendAcknowledgement = (
  type: Acknowledgement,
  packetId: number,
  reasonCode: number,
  properties?: Properties,
) => void;

/** One message as the handler gets it. `payload` stays good for as long as it is held. */
export class IncomingMessage {
  /** what the handler decided, once it did */
  decision: { reasonCode: number; properties: Properties | undefined } | undefined;

  constructor(
    readonly topicName: string,
    readonly payload: Uint8Array,
    readonly qos: QoS,
    readonly retain: boolean,
    readonly dup: boolean,
    /** 0 at QoS 0 */
    readonly packetId: number,
    readonly properties: Properties | undefined,
    private readonly owner: IncomingMessages,
  ) {}

  /**
   * Accepts the message, or refuses it with a reason code of 0x80 or more (5.0). Does nothing at QoS 0, when called again,
   * after the connection that brought the message has ended, and when the client acknowledges by itself.
   */
  acknowledge(reasonCode: number = ReasonCode.Success, properties?: Properties): void {
    if (this.decision !== undefined || this.qos === 0) return;
    this.decision = { reasonCode, properties };
    this.owner.settle(this.qos);
  }
}

export class IncomingMessages {
  /** delivered and not yet acknowledged, oldest first */
  private unacknowledged: { 1: IncomingMessage[]; 2: IncomingMessage[] } = { 1: [], 2: [] };
  /** QoS 2: PUBREC sent, PUBREL awaited */
  private readonly received = new Set<number>();
  /** Those of them that an earlier connection left open: Receive Maximum is about this one. */
  private receivedBefore = new Set<number>();
  private aliases: string[] = [];

  constructor(
    private readonly deliver: (message: IncomingMessage) => void,
    private readonly acknowledge: SendAcknowledgement,
    private readonly options: { topicAliasMaximum: number; receiveMaximum: number; manualAcknowledge: boolean },
  ) {}

  start(sessionPresent: boolean): void {
    this.aliases = []; // [MQTT-3.3.2-7]
    this.unacknowledged = { 1: [], 2: [] };
    if (!sessionPresent) this.received.clear();
    this.receivedBefore = new Set(this.received);
  }

  onPublish(packet: PublishPacket): void {
    const { qos, retain, dup, payload, packetId = 0 } = packet;
    const topicName = this.resolveTopic(packet);
    if (qos === 2 && this.received.has(packetId)) {
      this.acknowledge(PacketType.Pubrec, packetId, ReasonCode.Success);
      return;
    }
    const message = new IncomingMessage(topicName, payload, qos, retain, dup, packetId, packet.properties, this);
    if (qos === 0) {
      this.deliver(message);
      return;
    }
    this.unacknowledged[qos].push(message);
    const open = this.received.size - this.receivedBefore.size;
    const outstanding = this.unacknowledged[1].length + this.unacknowledged[2].length + open;
    if (outstanding > this.options.receiveMaximum) {
      throw new ProtocolFailure(
        ReasonCode.ReceiveMaximumExceeded,
        'MQTT-3.3.4-9',
        `${outstanding} unacknowledged messages exceed the Receive Maximum of ${this.options.receiveMaximum}`,
      );
    }
    this.deliver(message);
    if (!this.options.manualAcknowledge) message.acknowledge();
  }

  /** [MQTT-4.3.3-11] */
  onPubrel(packetId: number): void {
    const known = this.received.delete(packetId);
    this.receivedBefore.delete(packetId);
    this.acknowledge(PacketType.Pubcomp, packetId, known ? ReasonCode.Success : ReasonCode.PacketIdentifierNotFound);
  }

  /** Sends the acknowledgements that are next in order. */
  settle(qos: 1 | 2): void {
    const queue = this.unacknowledged[qos];
    let count = 0;
    for (const { packetId, decision } of queue) {
      if (decision === undefined) break;
      count += 1;
      if (qos === 2 && decision.reasonCode < 0x80) this.received.add(packetId);
      const type = qos === 1 ? PacketType.Puback : PacketType.Pubrec;
      this.acknowledge(type, packetId, decision.reasonCode, decision.properties);
    }
    queue.splice(0, count);
  }

  private resolveTopic(packet: PublishPacket): string {
    const alias = packet.properties?.topicAlias;
    if (alias === undefined) return packet.topicName;
    if (alias > this.options.topicAliasMaximum) {
      throw new ProtocolFailure(
        ReasonCode.TopicAliasInvalid,
        'MQTT-3.3.2-11',
        `PUBLISH Topic Alias ${alias} exceeds the maximum of ${this.options.topicAliasMaximum}`,
      );
    }
    if (packet.topicName !== '') {
      this.aliases[alias] = packet.topicName;
      return packet.topicName;
    }
    const topicName = this.aliases[alias];
    if (topicName === undefined) throw protocolError('v5 §3.3.2.3.4', `PUBLISH Topic Alias ${alias} was never set`);
    return topicName;
  }
}
