/**
 * A message as storage keeps it.
 *
 *   flags u8 │ expires at u48 │ publisher length u16, publisher │ topic length u16, topic │ properties varint, properties │ payload
 *              (flag 0x08)      (flag 0x10)
 *
 * flags: QoS in bits 0 and 1, RETAIN in bit 2. Times are milliseconds since the Unix epoch. The payload ends with the record.
 */
import { copyBytes } from '../base/index.js';
import { Message } from './message.js';
import type { QoS } from './packet.js';
import {
  readVariableByteInteger,
  variableByteIntegerLength,
  writeVariableByteInteger,
} from './variable-byte-integer.js';

const RETAIN = 0x04;
const EXPIRES = 0x08;
const PUBLISHER = 0x10;

/** Bytes of the record; `withPublisher` keeps who published it, for No Local. */
export function messageRecordBytes(message: Message, withPublisher: boolean): number {
  const properties = message.propertiesEnd - message.propertiesStart;
  return (
    3 +
    variableByteIntegerLength(properties) +
    message.bytes +
    (message.expiresAtMs === 0 ? 0 : 6) +
    (withPublisher && message.publisherId !== undefined ? 2 + Buffer.byteLength(message.publisherId) : 0)
  );
}

/** Writes the record to `into` at `at`, where there is room for `messageRecordBytes`. */
export function writeMessageRecord(message: Message, withPublisher: boolean, into: Buffer, at: number): void {
  const publisher = withPublisher ? message.publisherId : undefined;
  let position = at + 1;
  let flags = message.qos | (message.retain ? RETAIN : 0);
  if (message.expiresAtMs !== 0) {
    flags |= EXPIRES;
    position = into.writeUIntLE(message.expiresAtMs, position, 6);
  }
  if (publisher !== undefined) {
    flags |= PUBLISHER;
    const length = into.write(publisher, position + 2);
    into[position] = length & 0xff;
    into[position + 1] = length >>> 8;
    position += 2 + length;
  }
  into[at] = flags;
  const topicBytes = message.topicEnd - message.topicStart;
  into[position++] = topicBytes & 0xff;
  into[position++] = topicBytes >>> 8;
  const { body } = message;
  copyBytes(body, message.topicStart, message.topicEnd, into, position);
  position += topicBytes;
  const propertiesBytes = message.propertiesEnd - message.propertiesStart;
  position = writeVariableByteInteger(into, position, propertiesBytes);
  copyBytes(body, message.propertiesStart, message.propertiesEnd, into, position);
  copyBytes(body, message.payloadStart, message.bodyEnd, into, position + propertiesBytes);
}

/** The message of the record `bytes[start..end)`, whose bytes it goes on using. */
export function readMessageRecord(bytes: Buffer, start: number, end: number): Message {
  const flags = bytes[start]!;
  let at = start + 1;
  let expiresAtMs = 0;
  if (flags & EXPIRES) {
    expiresAtMs = bytes.readUIntLE(at, 6);
    at += 6;
  }
  let publisherId: string | undefined;
  if (flags & PUBLISHER) {
    const length = bytes.readUInt16LE(at);
    publisherId = bytes.toString('utf8', at + 2, at + 2 + length);
    at += 2 + length;
  }
  const topicStart = at + 2;
  const topicEnd = topicStart + bytes.readUInt16LE(at);
  const propertiesBytes = readVariableByteInteger(bytes, topicEnd, end);
  const propertiesStart = topicEnd + variableByteIntegerLength(propertiesBytes);
  const propertiesEnd = propertiesStart + propertiesBytes;
  return new Message(
    bytes.toString('utf8', topicStart, topicEnd),
    (flags & 3) as QoS,
    (flags & RETAIN) !== 0,
    bytes,
    topicStart,
    topicEnd,
    propertiesStart,
    propertiesEnd,
    propertiesEnd,
    end,
    expiresAtMs,
    publisherId,
    false,
  );
}
