/**
 * `-d`: a line for every packet, on standard output.
 */
import { type Packet, PacketType, type PublishPacket } from '../../../src/protocol/index.js';

export class DebugLines {
  private clientId: string;
  /** Message numbers go up with every PUBLISH and request, whether the packet carries one or not. */
  private number = 0;

  constructor(
    clientId: string,
    private readonly write: (line: string) => void,
  ) {
    this.clientId = clientId === '' ? '(null)' : clientId;
  }

  readonly onPacket = (direction: 'sent' | 'received', packet: Packet): void => {
    if (packet.type === PacketType.Connack)
      this.clientId = packet.properties?.assignedClientIdentifier ?? this.clientId;
    const verb = direction === 'sent' ? 'sending' : 'received';
    for (const text of direction === 'sent' ? this.sent(packet) : received(packet)) {
      this.write(`Client ${this.clientId} ${verb} ${text}\n`);
    }
  };

  private sent(packet: Packet): string[] {
    switch (packet.type) {
      case PacketType.Publish:
        this.number = packet.packetId ?? this.number + 1;
        return [publishText(packet, this.number)];
      case PacketType.Puback:
        return [`PUBACK (m${packet.packetId}, rc${packet.reasonCode})`];
      case PacketType.Pubrec:
        return [`PUBREC (m${packet.packetId}, rc${packet.reasonCode})`];
      case PacketType.Pubrel:
        return [`PUBREL (m${packet.packetId})`];
      case PacketType.Pubcomp:
        return [`PUBCOMP (m${packet.packetId})`];
      case PacketType.Subscribe:
        this.number = packet.packetId;
        return packet.subscriptions.map(({ topicFilter, qos, noLocal, retainAsPublished, retainHandling }) => {
          const options = (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | (retainHandling << 4);
          return `SUBSCRIBE (Mid: ${packet.packetId}, Topic: ${topicFilter}, QoS: ${qos}, Options: 0x${hex(options)})`;
        });
      case PacketType.Unsubscribe:
        this.number = packet.packetId;
        return packet.topicFilters.map((topicFilter) => `UNSUBSCRIBE (Mid: ${packet.packetId}, Topic: ${topicFilter})`);
      default:
        return [typeName(packet)];
    }
  }
}

function received(packet: Packet): string[] {
  switch (packet.type) {
    case PacketType.Connack:
      return [`CONNACK (${packet.reasonCode})`];
    case PacketType.Publish:
      return [publishText(packet, packet.packetId ?? 0)];
    case PacketType.Puback:
    case PacketType.Pubcomp:
      return [`${typeName(packet)} (Mid: ${packet.packetId}, RC:${packet.reasonCode})`];
    case PacketType.Pubrec:
    case PacketType.Pubrel:
      return [`${typeName(packet)} (Mid: ${packet.packetId})`];
    case PacketType.Disconnect:
      return [`DISCONNECT (${packet.reasonCode})`];
    default:
      return [typeName(packet)];
  }
}

function publishText({ dup, qos, retain, topicName, payload }: PublishPacket, number: number): string {
  const flags = `d${dup ? 1 : 0}, q${qos}, r${retain ? 1 : 0}, m${number}`;
  return `PUBLISH (${flags}, '${topicName}', ... (${payload.length} bytes))`;
}

const typeNames = new Map<number, string>(Object.entries(PacketType).map(([name, type]) => [type, name.toUpperCase()]));

function typeName({ type }: Packet): string {
  return typeNames.get(type) ?? String(type);
}

function hex(value: number): string {
  return value.toString(16).padStart(2, '0');
}
