/**
 * Packets to bytes, every packet of every version, in both directions, each in its shortest form.
 *
 * The broker's fan-out writes PUBLISH by itself; this is the plain encoder for everything else, for clients and for tests.
 * What the standard gives a version no field for (properties, reason codes of 3.x acknowledgements) is left out. A value that
 * does not fit its field is the caller's mistake and a RangeError.
 */
import { FieldWriter } from './field-writer.js';
import type {
  AuthPacket,
  ConnackPacket,
  ConnectPacket,
  DisconnectPacket,
  Packet,
  Properties,
  ProtocolVersion,
  PublishPacket,
  SubackPacket,
  SubscribePacket,
  UnsubackPacket,
  UnsubscribePacket,
} from './packet.js';
import { PacketType } from './packet.js';
import { propertiesLength, willProperties, writeProperties } from './properties.js';
import { ReasonCode } from './reason-code.js';
import { subackReturnCodeOf } from './v3/return-code.js';

const writer = new FieldWriter();
const pingreq = Buffer.from([PacketType.Pingreq << 4, 0]);
const pingresp = Buffer.from([PacketType.Pingresp << 4, 0]);

/** The whole packet with its fixed header. The caller must not change the bytes: constant packets are shared. */
export function encodePacket(packet: Packet, version: ProtocolVersion): Buffer {
  switch (packet.type) {
    case PacketType.Pingreq:
      return pingreq;
    case PacketType.Pingresp:
      return pingresp;
    case PacketType.Puback:
    case PacketType.Pubrec:
    case PacketType.Pubrel:
    case PacketType.Pubcomp:
      return encodeAcknowledge(packet.type, packet.packetId, packet.reasonCode, packet.properties, version);
    case PacketType.Publish:
      return encodePublish(packet, version);
    default:
      writer.reset();
      return encodeOther(packet, version);
  }
}

function encodeOther(packet: Exclude<Packet, { type: 3 | 4 | 5 | 6 | 7 | 12 | 13 }>, version: ProtocolVersion): Buffer {
  switch (packet.type) {
    case PacketType.Connect:
      return encodeConnect(packet);
    case PacketType.Connack:
      return encodeConnack(packet, version);
    case PacketType.Subscribe:
      return encodeSubscribe(packet, version);
    case PacketType.Suback:
      return encodeSuback(packet, version);
    case PacketType.Unsubscribe:
      return encodeUnsubscribe(packet, version);
    case PacketType.Unsuback:
      return encodeUnsuback(packet, version);
    case PacketType.Disconnect:
      return encodeReason(packet, version);
    case PacketType.Auth:
      if (version < 5) throw new RangeError('AUTH exists in MQTT 5.0 only');
      return encodeReason(packet, version);
  }
}

function encodeConnect(packet: ConnectPacket): Buffer {
  const { protocolVersion: version, will, username, password } = packet;
  if (version < 5 && password !== undefined && username === undefined) {
    throw new RangeError('CONNECT cannot have a password without a user name before MQTT 5.0'); // [MQTT3-3.1.2-22]
  }
  writer.string(version === 3 ? 'MQIsdp' : 'MQTT', 'Protocol Name');
  writer.byte(packet.bridge && version < 5 ? version | 0x80 : version);
  let flags = packet.cleanStart ? 0x02 : 0;
  if (will !== undefined) flags |= 0x04 | (will.qos << 3) | (will.retain ? 0x20 : 0);
  if (password !== undefined) flags |= 0x40;
  if (username !== undefined) flags |= 0x80;
  writer.byte(flags);
  writer.twoByteInteger(packet.keepAlive, 'Keep Alive');
  if (version === 5) writeProperties(writer, packet.properties, PacketType.Connect);
  writer.string(packet.clientId, 'Client Identifier');
  if (will !== undefined) {
    if (version === 5) writeProperties(writer, will.properties, willProperties);
    writer.string(will.topicName, 'Will Topic');
    writer.binary(will.payload, 'Will Payload');
  }
  if (username !== undefined) writer.string(username, 'User Name');
  if (password !== undefined) writer.binary(password, 'Password');
  return writer.takePacket(PacketType.Connect << 4);
}

function encodeConnack(packet: ConnackPacket, version: ProtocolVersion): Buffer {
  writer.byte(packet.sessionPresent && version > 3 ? 1 : 0); // [MQTT-3.2.2-1]
  writer.byte(packet.reasonCode);
  if (version === 5) writeProperties(writer, packet.properties, PacketType.Connack);
  return writer.takePacket(PacketType.Connack << 4);
}

function encodePublish(packet: PublishPacket, version: ProtocolVersion): Buffer {
  writer.reset();
  writer.string(packet.topicName, 'Topic Name');
  if (packet.qos > 0) {
    if (packet.packetId === undefined || packet.packetId === 0) {
      throw new RangeError('PUBLISH at QoS 1 or 2 needs a Packet Identifier'); // [MQTT-2.2.1-3]
    }
    writer.twoByteInteger(packet.packetId, 'Packet Identifier');
  }
  if (version === 5) writeProperties(writer, packet.properties, PacketType.Publish);
  const dup = packet.dup && packet.qos > 0; // [MQTT-3.3.1-2]
  const flags = (dup ? 8 : 0) | (packet.qos << 1) | (packet.retain ? 1 : 0);
  return writer.takePacket((PacketType.Publish << 4) | flags, packet.payload);
}

/** PUBACK, PUBREC, PUBREL or PUBCOMP without making an object for it. */
export function encodeAcknowledge(
  type: typeof PacketType.Puback | typeof PacketType.Pubrec | typeof PacketType.Pubrel | typeof PacketType.Pubcomp,
  packetId: number,
  reasonCode: number,
  properties: Properties | undefined,
  version: ProtocolVersion,
): Buffer {
  const firstByte = (type << 4) | (type === PacketType.Pubrel ? 0x02 : 0);
  const withProperties = propertiesLength(properties) > 0;
  writer.reset();
  writer.twoByteInteger(packetId, 'Packet Identifier');
  if (version === 5 && (reasonCode !== ReasonCode.Success || withProperties)) {
    writer.byte(reasonCode);
    if (withProperties) writeProperties(writer, properties, type);
  }
  return writer.takePacket(firstByte);
}

function encodeSubscribe(packet: SubscribePacket, version: ProtocolVersion): Buffer {
  writer.twoByteInteger(packet.packetId, 'Packet Identifier');
  if (version === 5) writeProperties(writer, packet.properties, PacketType.Subscribe);
  for (const { topicFilter, qos, noLocal, retainAsPublished, retainHandling } of packet.subscriptions) {
    writer.string(topicFilter, 'Topic Filter');
    const options = (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | (retainHandling << 4);
    writer.byte(version === 5 ? qos | options : qos);
  }
  return writer.takePacket((PacketType.Subscribe << 4) | 0x02);
}

function encodeSuback(packet: SubackPacket, version: ProtocolVersion): Buffer {
  writer.twoByteInteger(packet.packetId, 'Packet Identifier');
  if (version === 5) writeProperties(writer, packet.properties, PacketType.Suback);
  for (const code of packet.reasonCodes) writer.byte(version === 5 ? code : subackReturnCodeOf(code));
  return writer.takePacket(PacketType.Suback << 4);
}

function encodeUnsubscribe(packet: UnsubscribePacket, version: ProtocolVersion): Buffer {
  writer.twoByteInteger(packet.packetId, 'Packet Identifier');
  if (version === 5) writeProperties(writer, packet.properties, PacketType.Unsubscribe);
  for (const topicFilter of packet.topicFilters) writer.string(topicFilter, 'Topic Filter');
  return writer.takePacket((PacketType.Unsubscribe << 4) | 0x02);
}

function encodeUnsuback(packet: UnsubackPacket, version: ProtocolVersion): Buffer {
  writer.twoByteInteger(packet.packetId, 'Packet Identifier');
  if (version === 5) {
    writeProperties(writer, packet.properties, PacketType.Unsuback);
    for (const code of packet.reasonCodes) writer.byte(code);
  }
  return writer.takePacket(PacketType.Unsuback << 4);
}

/** DISCONNECT and AUTH: nothing, a reason code, or a reason code and properties. */
function encodeReason(packet: DisconnectPacket | AuthPacket, version: ProtocolVersion): Buffer {
  const withProperties = propertiesLength(packet.properties) > 0;
  if (version === 5 && (packet.reasonCode !== ReasonCode.Success || withProperties)) {
    writer.byte(packet.reasonCode);
    // AUTH has no form that ends after the reason code (v5 §3.15.2.2.1)
    if (withProperties || packet.type === PacketType.Auth) writeProperties(writer, packet.properties, packet.type);
  }
  return writer.takePacket(packet.type << 4);
}
