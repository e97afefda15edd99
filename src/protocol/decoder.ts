/**
 * Bytes to packets, every packet of every version, in both directions.
 *
 * Owns what can be told from one packet alone. What depends on the connection (topic alias against its maximum, packet
 * identifiers in use, a second CONNECT) is the connection's to check, and an invalid topic filter is the session's to refuse,
 * filter by filter.
 */
import { decodeConnect } from './connect-decoder.js';
import { FieldReader } from './field-reader.js';
import type {
  AcknowledgePacket,
  AuthPacket,
  ConnackPacket,
  DisconnectPacket,
  Packet,
  Properties,
  ProtocolVersion,
  PublishPacket,
  QoS,
  SubackPacket,
  SubscribePacket,
  SubscriptionRequest,
  UnsubackPacket,
  UnsubscribePacket,
} from './packet.js';
import { PacketType } from './packet.js';
import { placeName, readProperties } from './properties.js';
import { malformed, ProtocolFailure, protocolError } from './protocol-failure.js';
import { ReasonCode } from './reason-code.js';
import type { Role } from './reason-code-sets.js';
import { reasonCodeAllowed } from './reason-code-sets.js';
import { isValidTopicName } from './topic.js';

/** Reused: decoding is synchronous and never nests. */
const reader = new FieldReader();

const sentToServer = new Set<number>([
  PacketType.Connect,
  PacketType.Publish,
  PacketType.Puback,
  PacketType.Pubrec,
  PacketType.Pubrel,
  PacketType.Pubcomp,
  PacketType.Subscribe,
  PacketType.Unsubscribe,
  PacketType.Pingreq,
  PacketType.Disconnect,
  PacketType.Auth,
]);
const sentToClient = new Set<number>([
  PacketType.Connack,
  PacketType.Publish,
  PacketType.Puback,
  PacketType.Pubrec,
  PacketType.Pubrel,
  PacketType.Pubcomp,
  PacketType.Suback,
  PacketType.Unsuback,
  PacketType.Pingresp,
  PacketType.Disconnect,
  PacketType.Auth,
]);

/**
 * Decodes one packet whose bytes are all there.
 *
 * Shape   `header` is the first byte of the fixed header, `bytes[start..end)` what follows the Remaining Length. The payload
 *         of a PUBLISH is a view of `bytes`; all else is copied.
 * Errors  ProtocolFailure with the reason code of the standard; nothing else.
 * Source  v5 §2 and §3, 3.1.1 §2 and §3; 3.1 where 3.1.1 differs from it.
 */
export function decodeBody(
  header: number,
  bytes: Buffer,
  start: number,
  end: number,
  version: ProtocolVersion,
  role: Role,
): Packet {
  const type = (header >> 4) as PacketType;
  if ((type as number) === 0 || (type === PacketType.Auth && version < 5)) {
    throw malformed('v5 §2.1.2', `packet type ${type} is reserved`);
  }
  if (!(role === 'server' ? sentToServer : sentToClient).has(type)) {
    throw protocolError('v5 §2.1.2', `${placeName(type)} is never sent to a ${role}`);
  }
  if (type === PacketType.Connect) {
    const packet = decodeConnect(bytes, start, end);
    checkHeaderFlags(header, type, packet.protocolVersion);
    return packet;
  }
  checkHeaderFlags(header, type, version);
  reader.reset(bytes, start, end, placeName(type));
  try {
    return decodeFields(header, type, version, role);
  } finally {
    reader.release();
  }
}

function decodeFields(header: number, type: PacketType, version: ProtocolVersion, role: Role): Packet {
  switch (type) {
    case PacketType.Connack:
      return decodeConnack(version);
    case PacketType.Publish:
      return decodePublish(header, version, role);
    case PacketType.Puback:
    case PacketType.Pubrec:
    case PacketType.Pubrel:
    case PacketType.Pubcomp:
      return decodeAcknowledge(type, version, role);
    case PacketType.Subscribe:
      return decodeSubscribe(version);
    case PacketType.Suback:
      return decodeSuback(version, role);
    case PacketType.Unsubscribe:
      return decodeUnsubscribe(version);
    case PacketType.Unsuback:
      return decodeUnsuback(version, role);
    case PacketType.Disconnect:
      return decodeDisconnect(version, role);
    case PacketType.Auth:
      return decodeAuth(role);
    default:
      reader.finish('v5 §3.12');
      return { type: type as typeof PacketType.Pingreq | typeof PacketType.Pingresp };
  }
}

const flagRequirements: Partial<Record<PacketType, string>> = {
  [PacketType.Pubrel]: 'MQTT-3.6.1-1',
  [PacketType.Subscribe]: 'MQTT-3.8.1-1',
  [PacketType.Unsubscribe]: 'MQTT-3.10.1-1', // [MQTT-3.10.1-1] [MQTT3-3.10.1-1]
  [PacketType.Disconnect]: 'MQTT-3.14.1-1', // [MQTT-3.14.1-1] [MQTT3-3.14.1-1]
  [PacketType.Auth]: 'MQTT-3.15.1-1',
};

/** The low four bits of every packet but PUBLISH. 3.1 leaves them unused, or sets DUP in a resent SUBSCRIBE or PUBREL. */
function checkHeaderFlags(header: number, type: PacketType, version: ProtocolVersion): void {
  if (type === PacketType.Publish || version === 3) return;
  const flags = header & 0x0f;
  const expected =
    type === PacketType.Pubrel || type === PacketType.Subscribe || type === PacketType.Unsubscribe ? 0x02 : 0;
  if (flags === expected) return;
  // [MQTT-2.1.3-1] [MQTT3-2.2.2-1] [MQTT3-2.2.2-2]
  throw malformed(
    flagRequirements[type] ?? 'MQTT-2.1.3-1',
    `${placeName(type)} header flags are ${flags}, not ${expected}`,
  );
}

/** Packet Identifier 0 is well-formed and never allowed [MQTT-2.2.1-3] [MQTT-2.2.1-4] [MQTT3-2.3.1-1]. */
function readPacketId(): number {
  const packetId = reader.twoByteInteger('Packet Identifier');
  if (packetId === 0) throw protocolError('MQTT-2.2.1-3', `${reader.packetName} Packet Identifier is 0`);
  return packetId;
}

function attach<P extends { properties?: Properties }>(packet: P, properties: Properties | undefined): P {
  if (properties !== undefined) packet.properties = properties;
  return packet;
}

function checkReasonCode(type: PacketType, code: number, role: Role, requirement: string): void {
  if (reasonCodeAllowed(type, code, role)) return;
  throw protocolError(requirement, `${reader.packetName} Reason Code is 0x${code.toString(16).padStart(2, '0')}`);
}

function decodePublish(header: number, version: ProtocolVersion, role: Role): PublishPacket {
  const qos = (header >> 1) & 3;
  const dup = (header & 8) !== 0;
  if (qos === 3) throw malformed('MQTT-3.3.1-4', 'PUBLISH QoS is 3'); // [MQTT-3.3.1-4] [MQTT3-3.3.1-4]
  // [MQTT-3.3.1-2] [MQTT3-3.3.1-2]; 3.1 gives DUP no meaning at QoS 0
  if (dup && qos === 0 && version > 3) throw malformed('MQTT-3.3.1-2', 'PUBLISH has DUP at QoS 0');
  const topicName = reader.string('Topic Name', 'MQTT-3.3.2-1'); // [MQTT-3.3.2-1] [MQTT3-3.3.2-1]
  const packet: PublishPacket = {
    type: PacketType.Publish,
    dup,
    qos: qos as QoS,
    retain: (header & 1) !== 0,
    topicName,
    payload: reader.bytes,
  };
  if (qos > 0) packet.packetId = readPacketId(); // [MQTT-2.2.1-2] [MQTT3-2.3.1-5]
  const properties = version === 5 ? readProperties(reader, PacketType.Publish) : undefined;
  if (role === 'server' && properties?.subscriptionIdentifiers !== undefined) {
    throw protocolError('MQTT-3.3.4-6', 'PUBLISH of a client has a Subscription Identifier'); // [MQTT-3.3.4-6]
  }
  checkTopicName(topicName, version, properties);
  packet.payload = reader.bytes.subarray(reader.position, reader.end);
  return attach(packet, properties);
}

function checkTopicName(topicName: string, version: ProtocolVersion, properties: Properties | undefined): void {
  if (topicName === '') {
    if (version === 5 && properties?.topicAlias !== undefined) return;
    throw protocolError('MQTT-4.7.3-1', 'PUBLISH Topic Name is empty without a Topic Alias'); // [MQTT-4.7.3-1] [MQTT3-4.7.3-1]
  }
  if (isValidTopicName(topicName)) return;
  // [MQTT-3.3.2-2] [MQTT3-3.3.2-2] [MQTT-4.7.0-1]
  throw new ProtocolFailure(ReasonCode.TopicNameInvalid, 'MQTT-3.3.2-2', 'PUBLISH Topic Name has a wildcard');
}

const acknowledgeRequirements: Partial<Record<PacketType, string>> = {
  [PacketType.Puback]: 'MQTT-3.4.2-1',
  [PacketType.Pubrec]: 'MQTT-3.5.2-1',
  [PacketType.Pubrel]: 'MQTT-3.6.2-1',
  [PacketType.Pubcomp]: 'MQTT-3.7.2-1',
};

function decodeAcknowledge(type: AcknowledgePacket['type'], version: ProtocolVersion, role: Role): AcknowledgePacket {
  const packetId = readPacketId();
  const packet: AcknowledgePacket = { type, packetId, reasonCode: ReasonCode.Success };
  if (version === 5 && reader.remaining > 0) {
    packet.reasonCode = reader.byte('Reason Code');
    checkReasonCode(type, packet.reasonCode, role, acknowledgeRequirements[type] ?? '');
    if (reader.remaining > 0) attach(packet, readProperties(reader, type));
  }
  reader.finish('v5 §3.4.2');
  return packet;
}

function decodeConnack(version: ProtocolVersion): ConnackPacket {
  const flags = reader.byte('Connect Acknowledge Flags');
  if (version > 3 && flags > 1) throw malformed('MQTT-3.2.2-1', `CONNACK Connect Acknowledge Flags are ${flags}`); // [MQTT-3.2.2-1]
  const reasonCode = reader.byte('Reason Code');
  const packet: ConnackPacket = { type: PacketType.Connack, sessionPresent: version > 3 && flags === 1, reasonCode };
  if (version === 5) {
    if (reader.remaining === 0 && reasonCode > 0 && reasonCode <= 5) {
      const text = `CONNACK is one of MQTT 3.x with return code ${reasonCode}`;
      throw new ProtocolFailure(ReasonCode.UnsupportedProtocolVersion, 'MQTT-3.1.2-2', text);
    }
    checkReasonCode(PacketType.Connack, reasonCode, 'client', 'MQTT-3.2.2-8');
    // some servers refuse in two bytes whatever the version
    if (reader.remaining > 0 || reasonCode < 0x80) attach(packet, readProperties(reader, PacketType.Connack));
  } else if (reasonCode > 5) {
    throw protocolError('3.1.1 §3.2.2.3', `CONNACK return code is ${reasonCode}`);
  }
  if (reasonCode !== 0 && packet.sessionPresent) {
    throw protocolError('MQTT-3.2.2-6', 'CONNACK has Session Present in a refusal'); // [MQTT-3.2.2-6] [MQTT3-3.2.2-4]
  }
  reader.finish('v5 §3.2');
  return packet;
}

function decodeSubscribe(version: ProtocolVersion): SubscribePacket {
  const packet: SubscribePacket = { type: PacketType.Subscribe, packetId: readPacketId(), subscriptions: [] };
  if (version === 5) attach(packet, readProperties(reader, PacketType.Subscribe));
  // [MQTT-3.8.3-2]
  if (reader.remaining === 0) throw protocolError('MQTT-3.8.3-2', 'SUBSCRIBE has no Topic Filter');
  while (reader.remaining > 0) packet.subscriptions.push(readSubscription(version));
  return packet;
}

function readSubscription(version: ProtocolVersion): SubscriptionRequest {
  const topicFilter = reader.string('Topic Filter', 'MQTT-3.8.3-1');
  const options = reader.byte('Subscription Options');
  const reserved = version === 5 ? 0xc0 : version === 4 ? 0xfc : 0;
  if ((options & reserved) !== 0) {
    // [MQTT-3.8.3-5] [MQTT3-3.8.3-4]
    throw malformed(version === 5 ? 'MQTT-3.8.3-5' : 'MQTT3-3.8.3-4', 'SUBSCRIBE has reserved Subscription Options');
  }
  const qos = options & 3;
  if (qos === 3) {
    throw version === 5 // [MQTT3-3.8.3-4]
      ? protocolError('v5 §3.8.3.1', 'SUBSCRIBE Maximum QoS is 3')
      : malformed('MQTT3-3.8.3-4', 'SUBSCRIBE Requested QoS is 3');
  }
  if (version < 5) {
    return { topicFilter, qos: qos as QoS, noLocal: false, retainAsPublished: false, retainHandling: 0 };
  }
  const noLocal = (options & 4) !== 0;
  const retainHandling = (options >> 4) & 3;
  if (retainHandling === 3) throw protocolError('v5 §3.8.3.1', 'SUBSCRIBE Retain Handling is 3');
  if (noLocal && topicFilter.startsWith('$share/')) {
    throw protocolError('MQTT-3.8.3-4', 'SUBSCRIBE has No Local on a Shared Subscription'); // [MQTT-3.8.3-4]
  }
  return {
    topicFilter,
    qos: qos as QoS,
    noLocal,
    retainAsPublished: (options & 8) !== 0,
    retainHandling: retainHandling as 0 | 1 | 2,
  };
}

function decodeSuback(version: ProtocolVersion, role: Role): SubackPacket {
  const packet: SubackPacket = { type: PacketType.Suback, packetId: readPacketId(), reasonCodes: [] };
  if (version === 5) attach(packet, readProperties(reader, PacketType.Suback));
  while (reader.remaining > 0) {
    const code = reader.byte('Reason Code');
    if (version === 5) checkReasonCode(PacketType.Suback, code, role, 'MQTT-3.9.3-2');
    // [MQTT3-3.9.3-2]
    else if (code > 2 && code !== 0x80) throw protocolError('MQTT3-3.9.3-2', `SUBACK return code is ${code}`);
    packet.reasonCodes.push(code);
  }
  if (packet.reasonCodes.length === 0) throw protocolError('MQTT-3.8.4-6', 'SUBACK has no Reason Code');
  return packet;
}

function decodeUnsubscribe(version: ProtocolVersion): UnsubscribePacket {
  const packet: UnsubscribePacket = { type: PacketType.Unsubscribe, packetId: readPacketId(), topicFilters: [] };
  if (version === 5) attach(packet, readProperties(reader, PacketType.Unsubscribe));
  // [MQTT-3.10.3-2] [MQTT3-3.10.3-2]
  if (reader.remaining === 0) throw protocolError('MQTT-3.10.3-2', 'UNSUBSCRIBE has no Topic Filter');
  // [MQTT-3.10.3-1] [MQTT3-3.10.3-1]
  while (reader.remaining > 0) packet.topicFilters.push(reader.string('Topic Filter', 'MQTT-3.10.3-1'));
  return packet;
}

function decodeUnsuback(version: ProtocolVersion, role: Role): UnsubackPacket {
  const packet: UnsubackPacket = { type: PacketType.Unsuback, packetId: readPacketId(), reasonCodes: [] };
  if (version < 5) {
    reader.finish('3.1.1 §3.11');
    return packet;
  }
  attach(packet, readProperties(reader, PacketType.Unsuback));
  while (reader.remaining > 0) {
    const code = reader.byte('Reason Code');
    checkReasonCode(PacketType.Unsuback, code, role, 'MQTT-3.11.3-2');
    packet.reasonCodes.push(code);
  }
  if (packet.reasonCodes.length === 0) throw protocolError('MQTT-3.11.3-2', 'UNSUBACK has no Reason Code');
  return packet;
}

function decodeDisconnect(version: ProtocolVersion, role: Role): DisconnectPacket {
  if (version < 5 && role === 'client') {
    throw protocolError('3.1.1 §3.14', 'DISCONNECT is never sent to a client of this version');
  }
  const packet: DisconnectPacket = { type: PacketType.Disconnect, reasonCode: ReasonCode.NormalDisconnection };
  if (version === 5 && reader.remaining > 0) {
    packet.reasonCode = reader.byte('Reason Code');
    checkReasonCode(PacketType.Disconnect, packet.reasonCode, role, 'MQTT-3.14.2-1');
    if (reader.remaining > 0) attach(packet, readProperties(reader, PacketType.Disconnect));
  }
  if (role === 'client' && packet.properties?.sessionExpiryInterval !== undefined) {
    throw protocolError('MQTT-3.14.2-2', 'DISCONNECT of a server has a Session Expiry Interval'); // [MQTT-3.14.2-2]
  }
  reader.finish('v5 §3.14');
  return packet;
}

function decodeAuth(role: Role): AuthPacket {
  const packet: AuthPacket = { type: PacketType.Auth, reasonCode: ReasonCode.Success };
  const short = reader.remaining === 0;
  if (!short) packet.reasonCode = reader.byte('Reason Code');
  checkReasonCode(PacketType.Auth, packet.reasonCode, role, 'MQTT-3.15.2-1');
  if (short) return packet;
  attach(packet, readProperties(reader, PacketType.Auth));
  if (packet.properties?.authenticationMethod === undefined) {
    throw protocolError('v5 §3.15.2.2.2', 'AUTH has no Authentication Method');
  }
  reader.finish('v5 §3.15');
  return packet;
}
