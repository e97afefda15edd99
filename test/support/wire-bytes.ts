/**
 * MQTT bytes written by hand, for what no encoder would write: a packet is a header byte, a Remaining Length that `frame`
 * fills in, and fields.
 */

export type Field = string | Uint8Array | readonly number[];

/** A whole packet. A string field is hex, spaces allowed. */
export function frame(header: number, ...fields: Field[]): Buffer {
  const body = join(...fields);
  return Buffer.concat([Buffer.from([header]), variableByteInteger(body.length), body]);
}

export function join(...fields: Field[]): Buffer {
  return Buffer.concat(fields.map((field) => (typeof field === 'string' ? hex(field) : Buffer.from(field))));
}

export function hex(text: string): Buffer {
  const digits = text.replaceAll(' ', '');
  const bytes = Buffer.from(digits, 'hex');
  if (bytes.length * 2 !== digits.length) throw new RangeError(`not hex: ${text}`);
  return bytes;
}

/** A length-prefixed field. Text becomes UTF-8; bytes stay as they are. */
export function field(value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([twoByteInteger(bytes.length), bytes]);
}

export function twoByteInteger(value: number): Buffer {
  return Buffer.from([value >>> 8, value & 0xff]);
}

export function variableByteInteger(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  do {
    const low = rest % 128;
    rest = Math.floor(rest / 128);
    bytes.push(rest > 0 ? low | 0x80 : low);
  } while (rest > 0);
  return Buffer.from(bytes);
}

/** Properties of 5.0 with their Property Length in front. */
export function properties(...fields: Field[]): Buffer {
  const bytes = join(...fields);
  return Buffer.concat([variableByteInteger(bytes.length), bytes]);
}

export interface RawConnect {
  readonly name?: string;
  readonly level?: number;
  readonly flags?: number;
  readonly keepAlive?: number;
  /** with their Property Length; 5.0 only */
  readonly properties?: Buffer;
  readonly payload?: readonly Field[];
  readonly header?: number;
}

/** CONNECT of `version` with any part of it replaced. */
export function rawConnect(version: 3 | 4 | 5, parts: RawConnect = {}): Buffer {
  return frame(
    parts.header ?? 0x10,
    field(parts.name ?? (version === 3 ? 'MQIsdp' : 'MQTT')),
    [parts.level ?? version, parts.flags ?? 0x02],
    twoByteInteger(parts.keepAlive ?? 0),
    version === 5 ? (parts.properties ?? properties()) : [],
    ...(parts.payload ?? [field('raw')]),
  );
}
