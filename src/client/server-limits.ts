/** What a server takes, as its CONNACK said, and the topic aliases of the connection. */
import { type ConnackPacket, type PublishPacket, type QoS, ReasonCode } from '../protocol/index.js';
import { ClientError } from './client-error.js';
import { packetBytesMaxDefault } from './client-options.js';

export class ServerLimits {
  private readonly maximumQoS: number;
  private readonly retainAvailable: boolean;
  private readonly maximumPacketSize: number;
  private readonly topicAliasMaximum: number;
  private readonly topicAliases = new Map<string, number>();

  /** @param address names the server in errors. */
  constructor(
    private readonly address: string,
    { properties }: Pick<ConnackPacket, 'properties'>,
  ) {
    this.maximumQoS = properties?.maximumQoS ?? 2;
    this.retainAvailable = properties?.retainAvailable !== 0;
    this.maximumPacketSize = properties?.maximumPacketSize ?? packetBytesMaxDefault;
    this.topicAliasMaximum = properties?.topicAliasMaximum ?? 0;
  }

  /** Why a message of this kind would not be taken; undefined when it would. */
  refusalOf(qos: QoS, retain: boolean): ClientError | undefined {
    // [MQTT-3.2.2-11]
    if (qos > this.maximumQoS)
      return this.refusal(`takes messages up to QoS ${this.maximumQoS}, not QoS ${qos}`, ReasonCode.QoSNotSupported);
    // [MQTT-3.2.2-14]
    if (retain && !this.retainAvailable)
      return this.refusal('takes no retained messages', ReasonCode.RetainNotSupported);
    return undefined;
  }

  /** Why a PUBLISH of so many bytes would not be taken [MQTT-3.2.2-15]. */
  refusalOfSize(bytes: number): ClientError | undefined {
    if (bytes <= this.maximumPacketSize) return undefined;
    const text = `takes packets of ${this.maximumPacketSize} bytes, this PUBLISH has ${bytes}`;
    return this.refusal(text, ReasonCode.PacketTooLarge);
  }

  /**
   * Puts an alias in the place of the topic name, or beside it the first time. Returns what to call once such a first packet is
   * sent [MQTT-3.2.2-17] [MQTT-3.2.2-18].
   */
  applyTopicAlias(packet: PublishPacket): (() => void) | undefined {
    if (packet.properties?.topicAlias !== undefined) return undefined;
    const { topicName } = packet;
    const known = this.topicAliases.get(topicName);
    if (known !== undefined) {
      packet.topicName = '';
      packet.properties = { ...packet.properties, topicAlias: known };
      return undefined;
    }
    if (this.topicAliases.size >= this.topicAliasMaximum) return undefined;
    const topicAlias = this.topicAliases.size + 1;
    packet.properties = { ...packet.properties, topicAlias };
    return () => this.topicAliases.set(topicName, topicAlias);
  }

  private refusal(text: string, reasonCode: number): ClientError {
    return new ClientError('CLIENT_NOT_SUPPORTED_BY_SERVER', `${this.address} ${text}`, reasonCode);
  }
}
