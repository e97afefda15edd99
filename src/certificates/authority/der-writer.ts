/** Writes DER (X.690): each function returns one whole element. Reading is `../der.ts`. */
import { DerTag } from '../der.js';

const NULL = 0x05;
const PRINTABLE_STRING = 0x13;
const IA5_STRING = 0x16;
const BMP_STRING = 0x1e;

export function element(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const length = contents.reduce((sum, { length }) => sum + length, 0);
  return Buffer.concat([Buffer.from([tag]), lengthBytes(length), ...contents]);
}

function lengthBytes(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  const bytes = bigEndian(BigInt(length));
  return Buffer.concat([Buffer.from([0x80 | bytes.length]), bytes]);
}

function bigEndian(value: bigint): Buffer {
  const hex = value.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
}

export const sequence = (...contents: readonly Uint8Array[]) => element(DerTag.sequence, ...contents);
/** Its contents in the order that DER wants. */
export const setOf = (...contents: readonly Buffer[]) => element(DerTag.set, ...[...contents].sort(Buffer.compare));
export const octetString = (value: Uint8Array) => element(DerTag.octetString, value);
export const nothing = () => element(NULL);
export const boolean = (value: boolean) => element(DerTag.boolean, Buffer.from([value ? 0xff : 0]));
export const utf8String = (value: string) => element(DerTag.utf8String, Buffer.from(value, 'utf8'));
export const printableString = (value: string) => element(PRINTABLE_STRING, Buffer.from(value, 'latin1'));
export const ia5String = (value: string) => element(IA5_STRING, Buffer.from(value, 'latin1'));
export const bmpString = (value: string) => element(BMP_STRING, Buffer.from(value, 'utf16le').swap16());
export const enumerated = (value: number) => element(DerTag.enumerated, Buffer.from([value]));

/** Not negative. */
export function integer(value: number | bigint): Buffer {
  return unsigned(bigEndian(BigInt(value)));
}

/** An integer from its bytes; a leading zero keeps it positive. */
export function unsigned(bytes: Buffer): Buffer {
  let from = 0;
  while (from < bytes.length - 1 && bytes[from] === 0) from++;
  const rest = bytes.subarray(from);
  return rest[0]! >= 0x80 ? element(DerTag.integer, Buffer.from([0]), rest) : element(DerTag.integer, rest);
}

export function integerFromHex(hex: string): Buffer {
  return unsigned(Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex'));
}

export function bitString(value: Uint8Array, unusedBits = 0): Buffer {
  return element(DerTag.bitString, Buffer.from([unusedBits]), value);
}

/** A BIT STRING with names for its bits, trailing zeros left away. */
export function namedBits(bits: readonly number[]): Buffer {
  const highest = Math.max(...bits);
  const bytes = Buffer.alloc(Math.floor(highest / 8) + 1);
  for (const bit of bits) bytes[bit >> 3]! |= 0x80 >> (bit & 7);
  return bitString(bytes, 7 - (highest & 7));
}

export function objectId(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second, ...rest].flatMap((number) => {
    const groups = [number & 0x7f];
    for (let left = Math.floor(number / 128); left > 0; left = Math.floor(left / 128))
      groups.unshift((left & 0x7f) | 0x80);
    return groups;
  });
  return element(DerTag.objectIdentifier, Buffer.from(bytes));
}

/** RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from then on; whole seconds. */
export function time(ms: number): Buffer {
  const text = `${new Date(ms).toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`;
  const short = ms < Date.UTC(2050, 0, 1);
  return element(short ? DerTag.utcTime : DerTag.generalizedTime, Buffer.from(short ? text.slice(2) : text));
}

/** `[number]` around whole elements. */
export const explicit = (number: number, ...contents: readonly Uint8Array[]) => element(0xa0 | number, ...contents);
/** `[number]` in place of the tag of a primitive value. */
export const implicit = (number: number, value: Uint8Array) => element(0x80 | number, value);
