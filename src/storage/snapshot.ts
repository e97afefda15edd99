/**
 * What a data folder holds at one moment, also while a broker writes to it: nothing is locked and nothing is changed.
 *
 * A broker removes files when they are not needed any more, but never before a manifest without them is in place: when a file
 * is gone, the manifest is read again. Of the log counts what is whole.
 */
import { Fault } from '../base/index.js';
import { copiesOf, newestOf } from './check.js';
import type { Entry } from './entry.js';
import type { FileLayer } from './files.js';
import { readSegment } from './log-segment.js';
import { logName, type Manifest, numberOf, readManifest, tableName } from './manifest.js';
import { MemTable } from './memtable.js';
import { mergeEntries } from './merge.js';
import { replayInto } from './replay.js';
import { Table, type TableFigures } from './table.js';

const ATTEMPTS_MAX = 100;

export interface Snapshot {
  readonly manifest: Manifest;
  readonly copies: number;
  readonly tables: readonly ({ readonly name: string } & TableFigures)[];
  readonly segments: readonly { readonly name: string; readonly bytes: number }[];
  /** Sequence of the last operation. */
  readonly sequence: number;
  /** All that is stored, in the order of the keys. */
  entries(): Generator<Required<Entry> & { value: Buffer }>;
}

/**
 * Opens the files, hands them to `work`, and closes them.
 * Errors  `Fault` STORAGE_DAMAGED when something cannot be read; those of `node:fs`.
 */
export function withSnapshot<Result>(files: FileLayer, folder: string, work: (snapshot: Snapshot) => Result): Result {
  for (let attempt = 1; ; attempt++) {
    const manifest = currentManifest(files, folder);
    const tables: Table[] = [];
    try {
      let snapshot: Snapshot;
      try {
        for (const number of manifest.tables) tables.push(Table.open(files, `${folder}/${tableName(number)}`));
        snapshot = read(files, folder, manifest, tables);
      } catch (error) {
        if (attempt < ATTEMPTS_MAX && currentManifest(files, folder).generation !== manifest.generation) continue;
        throw damaged(folder, error as Error);
      }
      return work(snapshot);
    } finally {
      for (const table of tables) table.close();
    }
  }
}

/** The manifest of a folder that may be in use. Errors: `Fault` STORAGE_DAMAGED. */
export function currentManifest(files: FileLayer, folder: string): Manifest {
  const manifest = newestOf(copiesOf(files, folder).map((each) => readManifest(files, each)));
  if (manifest === undefined) throw damaged(folder, new Error('its manifest is missing or not whole'));
  return manifest;
}

export function damaged(folder: string, cause: Error): Fault {
  return new Fault(
    'STORAGE_DAMAGED',
    `the data folder ${folder} is damaged: ${cause.message}; dunlin storage check tells all of it`,
    { cause },
  );
}

function read(files: FileLayer, folder: string, manifest: Manifest, tables: readonly Table[]): Snapshot {
  const memtable = new MemTable();
  const segments: { name: string; bytes: number }[] = [];
  let sequence = manifest.sequence;
  let whole = true;
  for (const number of liveSegments(files, folder, manifest)) {
    const name = logName(number);
    const file = files.open(`${folder}/${name}`);
    try {
      segments.push({ name, bytes: file.size });
      if (!whole || (number !== manifest.logFrom && readSegment(file, () => {}, true).firstSequence !== sequence)) {
        whole = false;
        continue;
      }
      const reading = readSegment(file, replayInto(memtable));
      sequence = Math.max(sequence, reading.lastSequence);
      whole = reading.validBytes === reading.bytes;
    } finally {
      file.close();
    }
  }
  return {
    manifest,
    copies: copiesOf(files, folder).length,
    tables: tables.map(({ figures }, index) => ({ name: tableName(manifest.tables[index]!), ...figures })),
    segments,
    sequence,
    *entries() {
      const sources = [memtable.scan('', undefined), ...tables.toReversed().map((table) => table.scan('', undefined))];
      for (const entry of mergeEntries(sources))
        if (entry.value !== undefined) yield entry as Entry & { value: Buffer };
    },
  };
}

/** Numbers of the log segments that are not in the tables, of any copy. Errors: when the first one is missing. */
export function liveSegments(files: FileLayer, folder: string, manifest: Manifest): number[] {
  const numbers = files
    .list(folder)
    .map((name) => numberOf(name, 'log') ?? 0)
    .filter((number) => number >= manifest.logFrom && number > 0)
    .sort((a, b) => a - b);
  if (numbers[0] !== manifest.logFrom && (manifest.generation > 0 || numbers.length > 0))
    throw new Error(`${logName(manifest.logFrom)} is missing`);
  return numbers;
}
