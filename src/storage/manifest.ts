/**
 * The file that says which other files are live: replaced as a whole, so that a change of it is the moment a change of many
 * files takes effect.
 *
 *   one line of JSON, then one line with its crc32 in hexadecimal
 */
import { randomUUID } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { FileLayer } from './files.js';

/** Raised when the files change so that an older Dunlin cannot read them. */
export const FORMAT_VERSION = 1;
/** Within a data folder, where there are two copies. */
export const COPY_FOLDER = 'copy';
const NAME = 'manifest';

export interface Manifest {
  readonly format: number;
  /** Of this broker, from its first start on. */
  readonly identity: string;
  /** Rises with every change. */
  readonly generation: number;
  /** Numbers of the table files, oldest first. */
  readonly tables: readonly number[];
  /** The first log segment that the tables do not hold. */
  readonly logFrom: number;
  /** The last operation that the tables and the first `baseBytes` of segment `logFrom` hold. */
  readonly sequence: number;
  /** What stands in segment `logFrom` up to there was carried over from segments that are gone. */
  readonly baseBytes: number;
}

export function newManifest(): Manifest {
  return {
    format: FORMAT_VERSION,
    identity: randomUUID(),
    generation: 0,
    tables: [],
    logFrom: 1,
    sequence: 0,
    baseBytes: 0,
  };
}

export const logName = (number: number): string => `log-${String(number).padStart(8, '0')}`;
export const tableName = (number: number): string => `table-${String(number).padStart(8, '0')}`;

/** The number in the name of a log segment or table; undefined when it is another file. */
export function numberOf(name: string, kind: 'log' | 'table'): number | undefined {
  const match = /^(log|table)-(\d{8,})$/.exec(name);
  return match?.[1] === kind ? Number(match[2]) : undefined;
}

/** The manifest of a folder; undefined when there is none, `damaged` when it is not whole. */
export function readManifest(files: FileLayer, folder: string): Manifest | 'damaged' | undefined {
  if (!files.list(folder).includes(NAME)) return undefined;
  const file = files.open(`${folder}/${NAME}`);
  try {
    const bytes = Buffer.alloc(file.size);
    file.read(bytes, 0, bytes.length, 0);
    const text = bytes.toString('utf8');
    const json = text.slice(0, Math.max(0, text.indexOf('\n')));
    // Until segments carried anything over, there was no `baseBytes`.
    return text === textOf(json) ? Object.assign({ baseBytes: 0 }, JSON.parse(json) as Manifest) : 'damaged';
  } finally {
    file.close();
  }
}

/** Puts `manifest` in the place of the one in each folder; resolves when it is durable in all of them. */
export async function writeManifest(files: FileLayer, folders: readonly string[], manifest: Manifest): Promise<void> {
  const bytes = Buffer.from(textOf(JSON.stringify(manifest)));
  for (const folder of folders) {
    const file = files.create(`${folder}/${NAME}.new`);
    try {
      file.append(bytes);
      await file.sync();
    } finally {
      file.close();
    }
    files.rename(`${folder}/${NAME}.new`, `${folder}/${NAME}`);
    await files.syncFolder(folder);
  }
}

function textOf(json: string): string {
  return `${json}\n${crc32(json).toString(16).padStart(8, '0')}\n`;
}
