/**
 * The Variable Byte Integer of v5 §1.5.5, also the Remaining Length of every version: seven bits a byte, lowest first,
 * bit 7 says that another byte follows, four bytes at most.
 */

export const variableByteIntegerMax = 268_435_455;

/** More bytes are needed before the value is known. */
export const variableByteIntegerIncomplete = -1;
/** A fifth byte would follow, or the last byte is a padding zero [MQTT-1.5.5-1]. */
export const variableByteIntegerMalformed = -2;

/**
 * The value that starts at `start`, or one of the two negative constants above.
 *
 * Only minimal encodings are accepted, so the number of bytes read is `variableByteIntegerLength(value)`.
 */
export function readVariableByteInteger(bytes: Uint8Array, start: number, end: number): number {
  let value = 0;
  for (let index = 0; index < 4; index += 1) {
    if (start + index >= end) return variableByteIntegerIncomplete;
    const byte = bytes[start + index]!;
    value |= (byte & 0x7f) << (7 * index);
    if (byte < 0x80) return byte === 0 && index > 0 ? variableByteIntegerMalformed : value;
  }
  return variableByteIntegerMalformed;
}

/** Bytes that `value` takes, 1 to 4. */
export function variableByteIntegerLength(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  return 4;
}

/** Writes `value` at `at` and returns the position after it. The caller keeps `value` within the maximum. */
export function writeVariableByteInteger(bytes: Uint8Array, at: number, value: number): number {
  let rest = value;
  let next = at;
  while (rest > 0x7f) {
    bytes[next] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
    next += 1;
  }
  bytes[next] = rest;
  return next + 1;
}
