/**
 * Reads a PUBLISH in place: one reused view of offsets into the chunk instead of an object a packet.
 *
 * Validates everything v5 §3.3 asks of the bytes. What depends on the connection (alias maximum, receive maximum, limits)
 * is the connection's to check.
 */

import type { ProtocolVersion, QoS } from './packet.js';
import { malformed, ProtocolFailure, protocolError } from './protocol-failure.js';
import { ReasonCode } from './reason-code.js';
import { isValidUtf8 } from './utf8.js';
import { readVariableByteInteger, variableByteIntegerLength } from './variable-byte-integer.js';

const PAYLOAD_FORMAT = 0x01;
const MESSAGE_EXPIRY = 0x02;
const CONTENT_TYPE = 0x03;
const RESPONSE_TOPIC = 0x08;
const CORRELATION_DATA = 0x09;
const SUBSCRIPTION_ID = 0x0b;
const TOPIC_ALIAS = 0x23;
const USER_PROPERTY = 0x26;

export class PublishView {
  dup = false;
  qos: QoS = 0;
  retain = false;
  /** The Topic Name's bytes, without its length; empty when an alias stands for it. */
  topicStart = 0;
  topicEnd = 0;
  version5 = false;
  /** 0 at QoS 0 */
  packetId = 0;
  /** Properties without their length; equal when there are none. */
  propertiesStart = 0;
  propertiesEnd = 0;
  /** Whether the properties hold any that is not forwarded as it stands (alias, expiry). */
  propertiesMixed = false;
  payloadStart = 0;
  payloadEnd = 0;
  /** 0 when absent */
  topicAlias = 0;
  /** seconds; -1 when absent */
  messageExpiryInterval = -1;

  /**
   * Reads the packet whose first byte is `header` and whose body is `bytes[start..end)`.
   * Errors  `ProtocolFailure` with the standard's reason code.
   */
  read(header: number, bytes: Buffer, start: number, end: number, version: ProtocolVersion): void {
    const qos = (header >> 1) & 3;
    if (qos === 3) throw malformed(version === 5 ? 'MQTT-3.3.1-4' : 'MQTT3-3.3.1-4', 'PUBLISH QoS is 3');
    this.qos = qos as QoS;
    this.dup = (header & 8) !== 0;
    this.retain = (header & 1) !== 0;
    // [MQTT-3.3.1-2] DUP is 0 at QoS 0; MQTT 3.1 §2.1 gives DUP no meaning there
    if (this.dup && qos === 0 && version !== 3)
      throw malformed(version === 5 ? 'MQTT-3.3.1-2' : 'MQTT3-3.3.1-2', 'PUBLISH DUP is 1 at QoS 0');
    if (start + 2 > end) throw malformed('MQTT-3.3.2-1', 'PUBLISH Topic Name is cut short');
    const topicStart = start + 2;
    let at = topicStart + ((bytes[start]! << 8) | bytes[start + 1]!);
    if (at > end) throw malformed('MQTT-3.3.2-1', 'PUBLISH Topic Name is cut short');
    this.topicStart = topicStart;
    this.topicEnd = at;
    if (qos > 0) {
      if (at + 2 > end) throw malformed('v5 §3.3.2.2', 'PUBLISH Packet Identifier is cut short');
      this.packetId = (bytes[at]! << 8) | bytes[at + 1]!;
      if (this.packetId === 0) throw protocolError('MQTT-2.2.1-3', 'PUBLISH Packet Identifier is 0');
      at += 2;
    } else this.packetId = 0;
    this.topicAlias = 0;
    this.messageExpiryInterval = -1;
    this.propertiesMixed = false;
    this.version5 = version === 5;
    if (version === 5) {
      const length = readVariableByteInteger(bytes, at, end);
      if (length < 0) throw malformed('MQTT-1.5.5-1', 'PUBLISH Property Length is malformed');
      at += variableByteIntegerLength(length);
      if (at + length > end) throw malformed('v5 §2.2.2.1', 'PUBLISH Property Length reaches beyond the packet');
      this.propertiesStart = at;
      at += length;
      this.propertiesEnd = at;
      if (length > 0) this.readProperties(bytes);
    } else {
      this.propertiesStart = at;
      this.propertiesEnd = at;
    }
    if (this.topicStart === this.topicEnd && this.topicAlias === 0) {
      if (version === 5)
        throw protocolError('v5 §3.3.2.1', 'PUBLISH Topic Name is empty and no Topic Alias stands for it');
      throw malformed('MQTT3-4.7.3-1', 'PUBLISH Topic Name is empty');
    }
    this.payloadStart = at;
    this.payloadEnd = end;
  }

  /** Takes the bounds of a QoS 0 packet without properties that was read before. */
  readPlain(topicStart: number, topicEnd: number, payloadStart: number, payloadEnd: number): void {
    this.dup = false;
    this.qos = 0;
    this.retain = false;
    this.packetId = 0;
    this.topicStart = topicStart;
    this.topicEnd = topicEnd;
    this.propertiesStart = payloadStart;
    this.propertiesEnd = payloadStart;
    this.propertiesMixed = false;
    this.payloadStart = payloadStart;
    this.payloadEnd = payloadEnd;
    this.topicAlias = 0;
    this.messageExpiryInterval = -1;
  }

  private readProperties(bytes: Buffer): void {
    const end = this.propertiesEnd;
    let at = this.propertiesStart;
    let seen = 0;
    while (at < end) {
      const id = bytes[at]!;
      if (id !== USER_PROPERTY && id < 32) {
        if (seen & (1 << id)) throw protocolError('v5 §3.3.2.3', `PUBLISH property 0x${hex(id)} appears twice`);
        seen |= 1 << id;
      }
      at += 1;
      switch (id) {
        case PAYLOAD_FORMAT:
          if (at + 1 > end) throw cutShort('Payload Format Indicator');
          if (bytes[at]! > 1) throw protocolError('v5 §3.3.2.3.2', `PUBLISH Payload Format Indicator is ${bytes[at]}`);
          at += 1;
          break;
        case MESSAGE_EXPIRY:
          if (at + 4 > end) throw cutShort('Message Expiry Interval');
          this.messageExpiryInterval = bytes.readUInt32BE(at);
          this.propertiesMixed = true;
          at += 4;
          break;
        case TOPIC_ALIAS:
          if (at + 2 > end) throw cutShort('Topic Alias');
          if (this.topicAlias !== 0) throw protocolError('v5 §3.3.2.3.4', 'PUBLISH property 0x23 appears twice');
          this.topicAlias = (bytes[at]! << 8) | bytes[at + 1]!;
          if (this.topicAlias === 0)
            throw new ProtocolFailure(ReasonCode.TopicAliasInvalid, 'MQTT-3.3.2-8', 'PUBLISH Topic Alias is 0');
          this.propertiesMixed = true;
          at += 2;
          break;
        case CONTENT_TYPE:
          at = text(bytes, at, end, 'Content Type', 'MQTT-3.3.2-19');
          break;
        case RESPONSE_TOPIC: {
          const start = at + 2;
          at = text(bytes, at, end, 'Response Topic', 'MQTT-3.3.2-13');
          if (start === at) throw protocolError('v5 §3.3.2.3.5', 'PUBLISH Response Topic is empty');
          for (let index = start; index < at; index++)
            if (bytes[index] === 0x23 || bytes[index] === 0x2b)
              throw protocolError('MQTT-3.3.2-14', 'PUBLISH Response Topic holds a wildcard');
          break;
        }
        case CORRELATION_DATA:
          at = skip(bytes, at, end, 'Correlation Data');
          break;
        case USER_PROPERTY:
          at = text(bytes, at, end, 'User Property name', 'MQTT-1.5.7-1');
          at = text(bytes, at, end, 'User Property value', 'MQTT-1.5.7-1');
          break;
        case SUBSCRIPTION_ID:
          throw protocolError('MQTT-3.3.4-6', 'PUBLISH from a client holds a Subscription Identifier');
        default:
          throw unexpectedProperty(id);
      }
    }
  }
}

/** Unknown, or not one of PUBLISH: both are malformed (v5 §2.2.2.2). */
function unexpectedProperty(id: number): ProtocolFailure {
  return malformed('v5 §2.2.2.2', `PUBLISH holds property 0x${hex(id)}, which is none of its own`);
}

function hex(id: number): string {
  return id.toString(16).padStart(2, '0');
}

function cutShort(field: string): ProtocolFailure {
  return malformed('v5 §2.2.2.1', `PUBLISH ${field} is cut short`);
}

function skip(bytes: Buffer, at: number, end: number, field: string): number {
  if (at + 2 > end) throw cutShort(field);
  const next = at + 2 + ((bytes[at]! << 8) | bytes[at + 1]!);
  if (next > end) throw cutShort(field);
  return next;
}

function text(bytes: Buffer, at: number, end: number, field: string, requirement: string): number {
  const next = skip(bytes, at, end, field);
  if (!isValidUtf8(bytes, at + 2, next))
    throw malformed(requirement, `PUBLISH ${field} is not well-formed UTF-8 without NUL`);
  return next;
}

/**
 * Copies the forwardable properties of `bytes[start..end)` (all but alias and expiry, order kept [MQTT-3.3.2-18]) to
 * `target` and returns the position after them. The properties were validated before.
 */
export function copyForwardedProperties(
  bytes: Buffer,
  start: number,
  end: number,
  target: Buffer,
  offset: number,
): number {
  let at = start;
  let to = offset;
  while (at < end) {
    const id = bytes[at]!;
    let next = at + 1;
    if (id === PAYLOAD_FORMAT) next += 1;
    else if (id === MESSAGE_EXPIRY) next += 4;
    else if (id === TOPIC_ALIAS) next += 2;
    else {
      next += 2 + ((bytes[next]! << 8) | bytes[next + 1]!);
      if (id === USER_PROPERTY) next += 2 + ((bytes[next]! << 8) | bytes[next + 1]!);
    }
    if (id !== MESSAGE_EXPIRY && id !== TOPIC_ALIAS) to += bytes.copy(target, to, at, next);
    at = next;
  }
  return to;
}
