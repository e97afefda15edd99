/**
 * Encodes PUBLISH packets for one client's version into its outbound buffer: identifiers, expiry that is left, subscription
 * identifiers and topic aliases are written here, everything else is copied from the message.
 */
import { copyBytes, RUN_CHUNK_BYTES } from '../base/index.js';
import {
  type Message,
  type PublishRun,
  type QoS,
  variableByteIntegerLength,
  writeVariableByteInteger,
} from '../protocol/index.js';
import type { Outbound } from './outbound.js';
import type { AliasesToClient } from './topic-aliases.js';

/** Payloads from this size on go by reference instead of being copied. */
const REFERENCE_BYTES_MIN = 8192;
/** A run from this length on is shared by reference when it has more than one receiver, bytes. */
const SHARE_BYTES_MIN = 1024;

/** Subscription Identifier, Message Expiry Interval, Topic Alias. */
const SUBSCRIPTION_ID = 0x0b;
const MESSAGE_EXPIRY = 0x02;
const TOPIC_ALIAS = 0x23;

export interface PublishTarget {
  readonly outbound: Outbound;
  readonly version5: boolean;
  /** Maximum Packet Size of the client; Infinity when it set none */
  readonly packetBytesMax: number;
  readonly aliases: AliasesToClient | undefined;
  /** What topics begin with that the client does not see, and how many bytes that is. */
  readonly mountPoint: string;
  readonly mountBytes: number;
}

/**
 * Writes one PUBLISH. Returns its length in bytes, or 0 when it is larger than the client takes [MQTT-3.1.2-24].
 * `nowMs` is used for messages that expire only.
 */
export function writePublish(
  target: PublishTarget,
  message: Message,
  qos: QoS,
  retain: boolean,
  dup: boolean,
  packetId: number,
  subscriptionIds: readonly number[] | undefined,
  nowMs: () => number,
): number {
  if (
    qos > 0 &&
    message.wireForm === (target.version5 ? 5 : 3) &&
    message.expiresAtMs === 0 &&
    subscriptionIds === undefined &&
    target.aliases === undefined &&
    target.mountBytes === 0 &&
    message.bodyEnd - message.payloadStart < REFERENCE_BYTES_MIN
  )
    return writeAsReceived(target, message, qos, retain, dup, packetId);
  const { body, propertiesStart, propertiesEnd, payloadStart, bodyEnd } = message;
  const payloadBytes = bodyEnd - payloadStart;
  const unseen = target.mountBytes > 0 && message.topicName.startsWith(target.mountPoint) ? target.mountBytes : 0;
  const topicStart = message.topicStart + unseen;
  let topicBytes = message.topicEnd - topicStart;
  let propertyBytes = 0;
  let alias = 0;
  let length = 2 + payloadBytes + (qos > 0 ? 2 : 0);
  if (target.version5) {
    propertyBytes = propertiesEnd - propertiesStart;
    if (message.expiresAtMs !== 0) propertyBytes += 5;
    if (subscriptionIds !== undefined)
      for (const id of subscriptionIds) propertyBytes += 1 + variableByteIntegerLength(id);
    if (target.aliases !== undefined) {
      alias = target.aliases.peek(message.topicName);
      if (alias !== 0) {
        propertyBytes += 3;
        if (target.aliases.isSet(alias)) topicBytes = 0;
      }
    }
    length += variableByteIntegerLength(propertyBytes) + propertyBytes;
  }
  length += topicBytes;
  const total = 1 + variableByteIntegerLength(length) + length;
  if (total > target.packetBytesMax) return 0;
  if (alias !== 0 && topicBytes !== 0) target.aliases!.set(alias, message.topicName);

  const byReference = payloadBytes >= REFERENCE_BYTES_MIN;
  const { outbound } = target;
  let at = outbound.reserve(byReference ? total - payloadBytes : total);
  const bytes = outbound.chunk!;
  bytes[at++] = 0x30 | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0);
  at = writeVariableByteInteger(bytes, at, length);
  bytes[at++] = topicBytes >>> 8;
  bytes[at++] = topicBytes & 0xff;
  copyBytes(body, topicStart, topicStart + topicBytes, bytes, at);
  at += topicBytes;
  if (qos > 0) {
    bytes[at++] = packetId >>> 8;
    bytes[at++] = packetId & 0xff;
  }
  if (target.version5) {
    at = writeVariableByteInteger(bytes, at, propertyBytes);
    if (message.expiresAtMs !== 0) {
      bytes[at++] = MESSAGE_EXPIRY;
      at = bytes.writeUInt32BE(message.remainingSeconds(nowMs()), at); // [MQTT-3.3.2-6]
    }
    if (alias !== 0) {
      bytes[at++] = TOPIC_ALIAS;
      bytes[at++] = alias >>> 8;
      bytes[at++] = alias & 0xff;
    }
    if (subscriptionIds !== undefined)
      for (const id of subscriptionIds) {
        bytes[at++] = SUBSCRIPTION_ID; // [MQTT-3.3.4-3]
        at = writeVariableByteInteger(bytes, at, id);
      }
    copyBytes(body, propertiesStart, propertiesEnd, bytes, at);
    at += propertiesEnd - propertiesStart;
  }
  if (byReference) outbound.reference(message.keep().payload);
  else copyBytes(body, payloadStart, bodyEnd, bytes, at);
  return total;
}

/** The packet as it came, with this receiver's flags and packet identifier. */
function writeAsReceived(
  target: PublishTarget,
  message: Message,
  qos: QoS,
  retain: boolean,
  dup: boolean,
  packetId: number,
): number {
  const start = message.topicStart - 2;
  const length = message.bodyEnd - start;
  const total = 1 + variableByteIntegerLength(length) + length;
  if (total > target.packetBytesMax) return 0;
  const { outbound } = target;
  let at = outbound.reserve(total);
  const bytes = outbound.chunk!;
  bytes[at++] = 0x30 | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0);
  at = writeVariableByteInteger(bytes, at, length);
  copyBytes(message.body, start, message.bodyEnd, bytes, at);
  at += message.topicEnd - start;
  bytes[at] = packetId >>> 8;
  bytes[at + 1] = packetId & 0xff;
  return total;
}

/** Writes a run of QoS 0 messages as it is for every receiver of that version; `length` is that of the run in it, bytes. */
export function writeRun(outbound: Outbound, run: PublishRun, version5: boolean, length: number): void {
  if (length > RUN_CHUNK_BYTES || (length >= SHARE_BYTES_MIN && run.receivers > 1))
    outbound.reference(run.shared(version5));
  else {
    const at = outbound.reserve(length);
    run.copyTo(version5, outbound.chunk!, at);
  }
}
