/**
 * CONNECT of 3.1, 3.1.1 and 5.0, the packet that names its own version.
 *
 * Departures for 3.1, which has no reserved bits and no ids: header flags and the reserved connect flag are not looked at,
 * client ids may be longer than 23 bytes, and a user name or password that is announced but missing counts as not announced
 * (3.1 §3.1, "User name and password flags").
 */
import { FieldReader } from './field-reader.js';
import type { ConnectPacket, ProtocolVersion, QoS, Will } from './packet.js';
import { PacketType } from './packet.js';
import { readProperties, willProperties } from './properties.js';
import { malformed, ProtocolFailure } from './protocol-failure.js';
import { ReasonCode } from './reason-code.js';
import { isValidTopicName } from './topic.js';

const bridgeBit = 0x80;

const Flag = {
  reserved: 0x01,
  cleanStart: 0x02,
  will: 0x04,
  willQoS: 0x18,
  willRetain: 0x20,
  password: 0x40,
  username: 0x80,
};

/** Decodes the bytes after the Remaining Length of CONNECT. Throws ProtocolFailure. */
export function decodeConnect(bytes: Buffer, start: number, end: number): ConnectPacket {
  const reader = new FieldReader();
  reader.reset(bytes, start, end, 'CONNECT');
  const { version, bridge } = readVersion(reader);
  const flags = reader.byte('Connect Flags');
  checkFlags(flags, version);
  const packet: ConnectPacket = {
    type: PacketType.Connect,
    protocolVersion: version,
    bridge,
    cleanStart: (flags & Flag.cleanStart) !== 0,
    keepAlive: reader.twoByteInteger('Keep Alive'),
    clientId: '',
  };
  if (version === 5) {
    const properties = readProperties(reader, PacketType.Connect);
    if (properties !== undefined) packet.properties = properties;
  }
  readPayload(reader, flags, packet); // [MQTT-3.1.3-1]
  return packet;
}

/** The version that CONNECT asks for, as far as it can be told, so that even a bad CONNECT is answered in its dialect. */
export function connectVersion(bytes: Buffer, start: number, end: number): ProtocolVersion | undefined {
  const reader = new FieldReader();
  reader.reset(bytes, start, end, 'CONNECT');
  try {
    return readVersion(reader).version;
  } catch (error) {
    if (error instanceof ProtocolFailure) return undefined;
    throw error;
  }
}

function readVersion(reader: FieldReader): { version: ProtocolVersion; bridge: boolean } {
  const protocolName = reader.string('Protocol Name');
  if (protocolName !== 'MQTT' && protocolName !== 'MQIsdp') {
    // [MQTT-3.1.2-1] [MQTT3-3.1.2-1]
    throw new ProtocolFailure(
      ReasonCode.UnsupportedProtocolVersion,
      'MQTT-3.1.2-1',
      `CONNECT Protocol Name is ${JSON.stringify(protocolName.slice(0, 40))}`,
    );
  }
  const level = reader.byte('Protocol Version');
  if (protocolName === 'MQTT') {
    if (level === 5) return { version: 5, bridge: false };
    if ((level & ~bridgeBit) === 4) return { version: 4, bridge: level !== 4 };
  } else if ((level & ~bridgeBit) === 3) {
    return { version: 3, bridge: level !== 3 };
  }
  // [MQTT-3.1.2-2] [MQTT3-3.1.2-2]
  throw new ProtocolFailure(
    ReasonCode.UnsupportedProtocolVersion,
    'MQTT-3.1.2-2',
    `CONNECT Protocol Version is ${level} for the Protocol Name ${protocolName}`,
  );
}

function checkFlags(flags: number, version: ProtocolVersion): void {
  if (version > 3 && (flags & Flag.reserved) !== 0) {
    throw malformed('MQTT-3.1.2-3', 'CONNECT reserved flag is 1'); // [MQTT-3.1.2-3] [MQTT3-3.1.2-3]
  }
  if ((flags & Flag.will) === 0) {
    // [MQTT-3.1.2-11] [MQTT3-3.1.2-11] [MQTT3-3.1.2-13]
    if (version > 3 && (flags & Flag.willQoS) !== 0)
      throw malformed('MQTT-3.1.2-11', 'CONNECT has a Will QoS without Will Flag');
    // [MQTT-3.1.2-13] [MQTT3-3.1.2-15]
    if (version > 3 && (flags & Flag.willRetain) !== 0)
      throw malformed('MQTT-3.1.2-13', 'CONNECT has Will Retain without Will Flag');
  } else if ((flags & Flag.willQoS) === Flag.willQoS) {
    throw malformed('MQTT-3.1.2-12', 'CONNECT Will QoS is 3'); // [MQTT-3.1.2-12] [MQTT3-3.1.2-14]
  }
  if (version < 5 && (flags & Flag.password) !== 0 && (flags & Flag.username) === 0) {
    throw malformed('MQTT3-3.1.2-22', 'CONNECT has a Password Flag without User Name Flag'); // [MQTT3-3.1.2-22]
  }
}

function readPayload(reader: FieldReader, flags: number, packet: ConnectPacket): void {
  const version = packet.protocolVersion;
  packet.clientId = reader.string('Client Identifier', 'MQTT-3.1.3-4'); // [MQTT-3.1.3-3] [MQTT-3.1.3-4]
  if (packet.clientId === '') refuseEmptyClientId(packet);
  if ((flags & Flag.will) !== 0) packet.will = readWill(reader, flags, version); // [MQTT-3.1.2-9] [MQTT3-3.1.2-9]
  const mayBeMissing = version === 3;
  if ((flags & Flag.username) !== 0 && !(mayBeMissing && reader.remaining === 0)) {
    packet.username = reader.string('User Name', 'MQTT-3.1.3-12'); // [MQTT-3.1.2-17] [MQTT3-3.1.2-19]
  }
  if ((flags & Flag.password) !== 0 && !(mayBeMissing && reader.remaining === 0)) {
    packet.password = reader.binary('Password'); // [MQTT-3.1.2-19] [MQTT3-3.1.2-21]
  }
  // [MQTT-3.1.2-16] [MQTT-3.1.2-18] [MQTT3-3.1.2-18] [MQTT3-3.1.2-20]: what no flag announces is left over
  reader.finish('MQTT-3.1.4-1');
}

function refuseEmptyClientId({ protocolVersion, cleanStart }: ConnectPacket): void {
  if (protocolVersion === 3) {
    throw new ProtocolFailure(ReasonCode.ClientIdentifierNotValid, '3.1 §3.1', 'CONNECT Client Identifier is empty');
  }
  if (protocolVersion === 4 && !cleanStart) {
    // [MQTT3-3.1.3-7] [MQTT3-3.1.3-8]
    throw new ProtocolFailure(
      ReasonCode.ClientIdentifierNotValid,
      'MQTT3-3.1.3-8',
      'CONNECT Client Identifier is empty without Clean Session',
    );
  }
}

function readWill(reader: FieldReader, flags: number, version: ProtocolVersion): Will {
  const properties = version === 5 ? readProperties(reader, willProperties) : undefined;
  const topicName = reader.string('Will Topic', 'MQTT-3.1.3-11');
  if (!isValidTopicName(topicName)) {
    throw new ProtocolFailure(
      ReasonCode.TopicNameInvalid,
      topicName === '' ? 'MQTT-4.7.3-1' : 'MQTT-4.7.0-1',
      'CONNECT Will Topic is empty or has a wildcard',
    );
  }
  const payload = reader.binary('Will Payload');
  const qos = ((flags & Flag.willQoS) >> 3) as QoS;
  const will: Will = { topicName, payload, qos, retain: (flags & Flag.willRetain) !== 0 };
  if (properties !== undefined) will.properties = properties;
  return will;
}
