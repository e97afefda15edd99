/** ZIP (PKWARE APPNOTE 4.5 and before): whole small files in memory, deflated, names in UTF-8, with Unix permissions. */
import { crc32, deflateRawSync } from 'node:zlib';

export interface ZipEntry {
  readonly name: string;
  readonly contents: Buffer | string;
  /** as in `chmod` */
  readonly mode: number;
}

const LOCAL_HEADER = 0x04034b50;
const CENTRAL_HEADER = 0x02014b50;
const END_OF_DIRECTORY = 0x06054b50;
const VERSION = 20;
const MADE_BY_UNIX = (3 << 8) | VERSION;
const NAMES_IN_UTF8 = 0x0800;
const DEFLATED = 8;
const REGULAR_FILE = 0o100000;

export function makeZip(entries: readonly ZipEntry[], nowMs: number): Buffer {
  const locals: Buffer[] = [];
  const centrals: Buffer[] = [];
  let offset = 0;
  for (const { name, contents, mode } of entries) {
    const bytes = Buffer.from(contents);
    const packed = deflateRawSync(bytes);
    const encodedName = Buffer.from(name, 'utf8');
    const shared = Buffer.alloc(26);
    shared.writeUInt16LE(VERSION, 0);
    shared.writeUInt16LE(NAMES_IN_UTF8, 2);
    shared.writeUInt16LE(DEFLATED, 4);
    shared.writeUInt32LE(dosTime(nowMs), 6);
    shared.writeUInt32LE(crc32(bytes), 10);
    shared.writeUInt32LE(packed.length, 14);
    shared.writeUInt32LE(bytes.length, 18);
    shared.writeUInt16LE(encodedName.length, 22);
    const local = Buffer.concat([signature(LOCAL_HEADER), shared, encodedName, packed]);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(((REGULAR_FILE | mode) << 16) >>> 0, 6);
    rest.writeUInt32LE(offset, 10);
    centrals.push(Buffer.concat([signature(CENTRAL_HEADER), uint16(MADE_BY_UNIX), shared, rest, encodedName]));
    locals.push(local);
    offset += local.length;
  }
  const directory = Buffer.concat(centrals);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(entries.length, 4);
  end.writeUInt16LE(entries.length, 6);
  end.writeUInt32LE(directory.length, 8);
  end.writeUInt32LE(offset, 12);
  return Buffer.concat([...locals, directory, signature(END_OF_DIRECTORY), end]);
}

function signature(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

/** Time in the low half, date in the high half; UTC, since the format knows no zone. */
function dosTime(ms: number): number {
  const date = new Date(ms);
  const day = ((date.getUTCFullYear() - 1980) << 9) | ((date.getUTCMonth() + 1) << 5) | date.getUTCDate();
  const time = (date.getUTCHours() << 11) | (date.getUTCMinutes() << 5) | (date.getUTCSeconds() >> 1);
  return ((day << 16) | time) >>> 0;
}
