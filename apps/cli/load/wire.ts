// The few packets a load generator sends, encoded once for MQTT 3.1.1 and 5. Deliberately not the broker's own codec: a
// mistake there must not cancel itself out in a measurement. Nothing is decoded into objects anywhere in this folder.

export type ProtocolLevel = 4 | 5;
export type Qos = 0 | 1 | 2;

export const PACKET = {
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  suback: 9,
  pingresp: 13,
  disconnect: 14,
} as const;

export const DISCONNECT = Buffer.from([0xe0, 0]);
export const PINGREQ = Buffer.from([0xc0, 0]);

/** What the payload of a measured message starts with; the rest is filler. All little endian. */
export const STAMP = { magic: 0, timeLow: 4, timeHigh: 8, publisher: 12, sequence: 16, size: 20 } as const;

/** The upper half of the magic number; the lower half tells one run from another. */
const STAMP_MARK = 0xd0a7;

export function stampMagic(run: number): number {
  return ((STAMP_MARK << 16) | (run & 0xffff)) >>> 0;
}

function remainingLength(length: number): number[] {
  const bytes: number[] = [];
  let rest = length;
  do {
    const seven = rest % 128;
    rest = Math.floor(rest / 128);
    bytes.push(rest > 0 ? seven | 128 : seven);
  } while (rest > 0);
  return bytes;
}

function field(text: string | Buffer): Buffer {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  if (bytes.length > 65535) throw new RangeError(`${bytes.length} bytes do not fit an MQTT string`);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
}

function packet(first: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([first, ...remainingLength(body.length)]), body]);
}

export interface ConnectFields {
  level: ProtocolLevel;
  clientId: string;
  cleanStart: boolean;
  keepAlive: number;
  /** Seconds; version 5 only. 3.1.1 keeps the session of a client that did not ask for a clean one. */
  sessionExpiryInterval?: number | undefined;
  receiveMaximum?: number | undefined;
  username?: string | undefined;
  password?: string | undefined;
}

export function encodeConnect(fields: ConnectFields): Buffer {
  const flags =
    (fields.cleanStart ? 0x02 : 0) |
    (fields.username === undefined ? 0 : 0x80) |
    (fields.password === undefined ? 0 : 0x40);
  const head = Buffer.from([fields.level, flags, fields.keepAlive >> 8, fields.keepAlive & 255]);
  const parts = [field('MQTT'), head];
  if (fields.level === 5) {
    const properties: number[] = [];
    const expiry = fields.sessionExpiryInterval ?? 0;
    if (expiry > 0) properties.push(0x11, expiry >>> 24, (expiry >>> 16) & 255, (expiry >>> 8) & 255, expiry & 255);
    const maximum = fields.receiveMaximum ?? 0;
    if (maximum > 0) properties.push(0x21, maximum >> 8, maximum & 255);
    parts.push(Buffer.from([properties.length, ...properties]));
  }
  parts.push(field(fields.clientId));
  if (fields.username !== undefined) parts.push(field(fields.username));
  if (fields.password !== undefined) parts.push(field(fields.password));
  return packet(0x10, ...parts);
}

export function encodeSubscribe(level: ProtocolLevel, packetId: number, topicFilters: string[], qos: Qos): Buffer {
  const parts: Buffer[] = [Buffer.from([packetId >> 8, packetId & 255])];
  if (level === 5) parts.push(Buffer.from([0]));
  for (const topicFilter of topicFilters) parts.push(field(topicFilter), Buffer.from([qos]));
  return packet(0x82, ...parts);
}

export interface PublishTemplate {
  bytes: Buffer;
  topicAt: number;
  /** 0 when there is none (QoS 0). */
  packetIdAt: number;
  payloadAt: number;
}

/** One PUBLISH with places left for packet identifier and stamp. */
export function encodePublish(
  level: ProtocolLevel,
  topicName: string,
  payload: Buffer,
  qos: Qos,
  retain: boolean,
): PublishTemplate {
  const variable: Buffer[] = [field(topicName)];
  if (qos > 0) variable.push(Buffer.alloc(2));
  if (level === 5) variable.push(Buffer.alloc(1));
  const bytes = packet(0x30 | (qos << 1) | (retain ? 1 : 0), ...variable, payload);
  const payloadAt = bytes.length - payload.length;
  const topicAt = payloadAt - variable.reduce((sum, part) => sum + part.length, 0) + 2;
  const packetIdAt = qos > 0 ? topicAt + Buffer.byteLength(topicName) : 0;
  return { bytes, topicAt, packetIdAt, payloadAt };
}
