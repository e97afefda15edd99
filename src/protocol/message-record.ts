/**
 * A message as storage keeps it.
 *
 *   flags u8 │ expires at u48 │ publisher length u16, publisher │ topic length u16, topic │ properties varint, properties │ payload
 *              (flag 0x08)      (flag 0x10)
 *
 * flags: QoS in bits 0 and 1, RETAIN in bit 2. Times are milliseconds since the Unix epoch. The payload ends with the record.
 *
 * publisher: the client identifier; where the source is kept, NUL and the name of the listener follow, and NUL and the user name if the
 * client has one. No identifier holds NUL, and a Dunlin that knows of no sources reads a publisher that nobody is.
 */
import { copyBytes } from '../base/index.js';
import { Message, type MessageSource } from './message.js';
import type { QoS } from './packet.js';
import {
  readVariableByteInteger,
  variableByteIntegerLength,
  writeVariableByteInteger,
} from './variable-byte-integer.js';

const RETAIN = 0x04;
const EXPIRES = 0x08;
const PUBLISHER = 0x10;
const PUBLISHER_BYTES_MAX = 0xffff;
/** Instead of a source that is too long to be kept: one without a name, to whom only what is everybody's is allowed. */
const NAMELESS = '\0';

/** Bytes of the record; `withPublisher` keeps who published it, for No Local, and the source. */
export function messageRecordBytes(message: Message, withPublisher: boolean): number {
  const publisher = withPublisher ? publisherOf(message) : undefined;
  const properties = message.propertiesEnd - message.propertiesStart;
  return (
    3 +
    variableByteIntegerLength(properties) +
    message.bytes +
    (message.expiresAtMs === 0 ? 0 : 6) +
    (publisher === undefined ? 0 : 2 + Buffer.byteLength(publisher))
  );
}

/** Writes the record to `into` at `at`, where there is room for `messageRecordBytes`. */
export function writeMessageRecord(message: Message, withPublisher: boolean, into: Buffer, at: number): void {
  const publisher = withPublisher ? publisherOf(message) : undefined;
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

function publisherOf({ publisherId, source }: Message): string | undefined {
  if (source === undefined) return publisherId;
  const { clientId, listener, username } = source;
  const publisher = `${clientId}\0${listener}${username === undefined ? '' : `\0${username}`}`;
  return Buffer.byteLength(publisher) > PUBLISHER_BYTES_MAX ? NAMELESS : publisher;
}

function sourceOf(publisher: string, clientEnd: number): MessageSource {
  const listenerEnd = publisher.indexOf('\0', clientEnd + 1);
  return {
    clientId: publisher.slice(0, clientEnd),
    listener: publisher.slice(clientEnd + 1, listenerEnd < 0 ? undefined : listenerEnd),
    username: listenerEnd < 0 ? undefined : publisher.slice(listenerEnd + 1),
  };
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
  let source: MessageSource | undefined;
  if (flags & PUBLISHER) {
    const length = bytes.readUInt16LE(at);
    publisherId = bytes.toString('utf8', at + 2, at + 2 + length);
    const clientEnd = publisherId.indexOf('\0');
    if (clientEnd >= 0) {
      source = sourceOf(publisherId, clientEnd);
      publisherId = source.clientId;
    }
    at += 2 + length;
  }
  const topicStart = at + 2;
  const topicEnd = topicStart + bytes.readUInt16LE(at);
  const propertiesBytes = readVariableByteInteger(bytes, topicEnd, end);
  const propertiesStart = topicEnd + variableByteIntegerLength(propertiesBytes);
  const propertiesEnd = propertiesStart + propertiesBytes;
  const message = new Message(
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
  message.source = source;
  return message;
}
