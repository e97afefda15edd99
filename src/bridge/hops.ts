/**
 * How often a message has gone over a bridge: a user property that counts, so that rings of brokers do not turn messages for ever.
 * Works where every broker on the way speaks 5.0 or is passed without one that does not.
 */
import {
  encodePublishProperties,
  type Message,
  readVariableByteInteger,
  variableByteIntegerLength,
} from '../protocol/index.js';

export const HOPS_PROPERTY = 'dunlin-hops';

const USER_PROPERTY = 0x26;
const nameBytes = Buffer.from(HOPS_PROPERTY);
const first = propertyOf(1);

/** Where the count stands in the properties of a message; `end` is 0 when it has none. */
export interface HopsFound {
  readonly hops: number;
  readonly start: number;
  readonly end: number;
}

const none: HopsFound = { hops: 0, start: 0, end: 0 };

/** Reads the count. One that is no number counts as 0. */
export function findHops({ body, propertiesStart, propertiesEnd }: Message): HopsFound {
  let at = propertiesStart;
  while (at < propertiesEnd) {
    const start = at;
    const id = body[at++]!;
    if (id === 0x01) at += 1;
    else {
      const textStart = at + 2;
      at = textStart + body.readUInt16BE(at);
      if (id !== USER_PROPERTY) continue;
      const valueStart = at + 2;
      const named = body.compare(nameBytes, 0, nameBytes.length, textStart, at) === 0;
      at = valueStart + body.readUInt16BE(at);
      if (!named) continue;
      const value = body.toString('latin1', valueStart, at);
      return { hops: /^\d{1,4}$/.test(value) ? Number(value) : 0, start, end: at };
    }
  }
  return none;
}

/** The property with a count, encoded. */
export function encodedHops(hops: number): Buffer {
  return hops === 1 ? first : propertyOf(hops);
}

function propertyOf(hops: number): Buffer {
  const encoded = encodePublishProperties({ userProperties: [[HOPS_PROPERTY, String(hops)]] });
  const length = readVariableByteInteger(encoded, 0, encoded.length);
  return encoded.subarray(variableByteIntegerLength(length));
}
