/**
 * Tells from the first bytes of a connection what else than MQTT its other side speaks, for the log: most often a setting is wrong on one
 * of the two sides. Nothing is promised about bytes that it does not know.
 */

const beginnings: readonly [bytes: string, what: string][] = [
  ['\x16\x03', 'TLS, and this listener has none'],
  ['PROXY ', 'a PROXY protocol header, and this listener expects none'],
  ['\r\n\r\n\0\r\n', 'a PROXY protocol header, and this listener expects none'],
  ...['GET ', 'HEAD ', 'POST ', 'PUT ', 'OPTIONS ', 'CONNECT '].map((method): [string, string] => [
    method,
    'HTTP, and this listener speaks MQTT without WebSocket',
  ]),
];

/** What begins at `bytes[start..end)`, in words; undefined for MQTT and for what is not known. */
export function foreignProtocol(bytes: Buffer, start: number, end: number): string | undefined {
  const begin = bytes.toString('latin1', start, Math.min(end, start + 8));
  return beginnings.find(([known]) => begin.startsWith(known))?.[1];
}
