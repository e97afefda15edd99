/**
 * Well-formedness of MQTT strings, checked on the bytes before they become a JavaScript string.
 *
 * A byte order mark is an ordinary character here and stays where it is [MQTT-1.5.4-3].
 */

/** True when `bytes[start..end)` is UTF-8 without NUL, surrogates, overlong forms or code points above U+10FFFF. */
export function isValidUtf8(bytes: Uint8Array, start: number, end: number): boolean {
  let at = start;
  while (at < end) {
    const first = bytes[at]!;
    if (first < 0x80) {
      if (first === 0) return false; // [MQTT-1.5.4-2]
      at += 1;
      continue;
    }
    const length = multiByteLength(bytes, at, first, end);
    if (length === 0) return false; // [MQTT-1.5.4-1]
    at += length;
  }
  return true;
}

/** True when every byte is 0x01 to 0x7f, so that the bytes are their own Latin-1 text. */
export function isAscii(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at]!;
    if (byte === 0 || byte > 0x7f) return false;
  }
  return true;
}

/** Length of the sequence that `first` opens at `at`, or 0 when it is ill-formed (RFC 3629 §4). */
function multiByteLength(bytes: Uint8Array, at: number, first: number, end: number): number {
  if (first < 0xc2 || first > 0xf4) return 0;
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (at + length > end) return 0;
  const second = bytes[at + 1]!;
  const low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  if (second < low || second > high) return 0;
  for (let next = at + 2; next < at + length; next += 1) {
    if ((bytes[next]! & 0xc0) !== 0x80) return 0;
  }
  return length;
}
