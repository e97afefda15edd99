/**
 * Reads DER (X.690) as far as certificates and revocation lists need it: headers, walked without copying.
 *
 * A list with a million entries is walked in one pass; nothing is built per entry but what the caller keeps.
 * Errors  DerError for input that is cut short or has lengths that lead out of it.
 */
export class DerError extends Error {
  override readonly name = 'DerError';
}

/** One element: `bytes[start..end)` with the value at `valueStart`. */
export interface DerElement {
  readonly tag: number;
  readonly start: number;
  readonly valueStart: number;
  readonly end: number;
}

export const DerTag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** The element at `at`, which must end by `limit`. */
export function readDer(bytes: Buffer, at: number, limit: number): DerElement {
  if (at + 2 > limit) throw new DerError('an element is cut short');
  const tag = bytes[at]!;
  const first = bytes[at + 1]!;
  let valueStart = at + 2;
  let length = first;
  if (first >= 0x80) {
    const count = first & 0x7f;
    if (count === 0 || count > 4 || valueStart + count > limit) throw new DerError('a length is not DER');
    length = bytes.readUIntBE(valueStart, count);
    valueStart += count;
  }
  const end = valueStart + length;
  if (end > limit) throw new DerError('a length leads out of its element');
  return { tag, start: at, valueStart, end };
}

/** As `readDer`, where only one tag is right. */
export function expectDer(bytes: Buffer, at: number, limit: number, tag: number): DerElement {
  const element = readDer(bytes, at, limit);
  if (element.tag !== tag) throw new DerError(`found tag 0x${element.tag.toString(16)}, not 0x${tag.toString(16)}`);
  return element;
}

/** The elements of a constructed one, in order. */
export function* children(bytes: Buffer, parent: DerElement): Generator<DerElement> {
  for (let at = parent.valueStart; at < parent.end; ) {
    const element = readDer(bytes, at, parent.end);
    yield element;
    at = element.end;
  }
}

export function derValue(bytes: Buffer, { valueStart, end }: DerElement): Buffer {
  return bytes.subarray(valueStart, end);
}

/** The whole element, header included. */
export function derWhole(bytes: Buffer, { start, end }: DerElement): Buffer {
  return bytes.subarray(start, end);
}

/** `2.5.4.3` */
export function objectIdentifier(value: Buffer): string {
  const numbers: number[] = [];
  let number = 0;
  for (const byte of value) {
    number = number * 128 + (byte & 0x7f);
    if (byte < 0x80) {
      numbers.push(number);
      number = 0;
    }
  }
  const [first = 0, ...rest] = numbers;
  const root = Math.min(Math.floor(first / 40), 2);
  return [root, first - root * 40, ...rest].join('.');
}

/** Milliseconds since the Unix epoch of a UTCTime or GeneralizedTime. */
export function derTime(bytes: Buffer, element: DerElement): number {
  const text = bytes.toString('latin1', element.valueStart, element.end);
  const match = /^(\d{2})?(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(?:\.\d+)?Z$/.exec(text);
  const utc = element.tag === DerTag.utcTime;
  if (match === null || (!utc && element.tag !== DerTag.generalizedTime) || utc !== (match[1] === undefined))
    throw new DerError('a time is not DER');
  const short = Number(match[2]);
  // RFC 5280 §4.1.2.5.1
  const year = utc ? (short >= 50 ? 1900 : 2000) + short : Number(match[1]) * 100 + short;
  const [month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(3).map(Number);
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

/** A serial number: hexadecimal, upper case, without leading zeros. */
export function hexInteger(value: Buffer): string {
  return plainHex(value.toString('hex'));
}

export function plainHex(hex: string): string {
  return hex.toUpperCase().replace(/^0+(?=.)/, '');
}
