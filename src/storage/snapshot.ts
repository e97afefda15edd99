/**
 * What a data folder holds at one moment, also while a broker writes to it: nothing is locked and nothing is changed.
 *
 * A broker removes files when they are not needed any more, and appends to the last log segment. Who holds a file open is not
 * concerned: what was removed stays readable until it is closed, and of what is appended the beginning counts. So all files
 * are opened first, which takes no time, and read at leisure. Of the log counts what is whole.
 */
import { Fault } from '../base/index.js';
import { copiesOf, newestOf } from './check.js';
import type { Entry } from './entry.js';
import type { FileLayer, OpenFile } from './files.js';
import { readSegment } from './log-segment.js';
import { logName, type Manifest, numberOf, readManifest, tableName } from './manifest.js';
import { MemTable } from './memtable.js';
import { mergeEntries } from './merge.js';
import { refuse } from './read-only-files.js';
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
 * Opens the files, hands what they hold to `work`, and closes them.
 * Errors  `Fault` STORAGE_DAMAGED when something cannot be read; those of `node:fs`.
 */
export function withSnapshot<Result>(files: FileLayer, folder: string, work: (snapshot: Snapshot) => Result): Result {
  const held = holdFolder(files, folder);
  const tables: Table[] = [];
  try {
    let snapshot: Snapshot;
    try {
      for (const number of held.manifest.tables) tables.push(Table.open(held.files, `${folder}/${tableName(number)}`));
      snapshot = read(held, folder, tables);
    } catch (error) {
      throw damaged(folder, error as Error);
    }
    return work(snapshot);
  } finally {
    for (const table of tables) table.close();
    held.close();
  }
}

export interface HeldFolder {
  readonly manifest: Manifest;
  /** In this view the folder and its copy have the live files of that moment, and no others; all else is as it is. */
  readonly files: FileLayer;
  close(): void;
}

/**
 * Opens all live files of a folder, so that they can be read as they are now until `close`.
 * Errors  `Fault` STORAGE_DAMAGED when no manifest can be read; those of `node:fs`.
 */
export function holdFolder(files: FileLayer, folder: string): HeldFolder {
  for (let attempt = 1; ; attempt++) {
    const manifest = currentManifest(files, folder);
    const held = new Map<string, OpenFile>();
    const close = (): void => {
      for (const file of held.values()) file.close();
    };
    try {
      for (const path of livePaths(files, folder, manifest)) hold(files, path, held);
      // No file that a manifest names is removed before the next manifest is in place.
      if (attempt === ATTEMPTS_MAX || currentManifest(files, folder).generation === manifest.generation)
        return { manifest, files: viewOf(files, copiesOf(files, folder), held), close };
    } catch (error) {
      close();
      throw error;
    }
    close();
  }
}

/**
 * Tables, then the log segments from the last one back: one that is there is not the end of the log any more when the one
 * before it is opened, so that one is complete.
 */
function livePaths(files: FileLayer, folder: string, manifest: Manifest): string[] {
  const tables: string[] = [];
  const segments: [number, string][] = [];
  for (const each of copiesOf(files, folder))
    for (const name of files.list(each)) {
      const table = numberOf(name, 'table');
      const segment = numberOf(name, 'log');
      if (table !== undefined && manifest.tables.includes(table)) tables.push(`${each}/${name}`);
      if (segment !== undefined && segment >= manifest.logFrom) segments.push([segment, `${each}/${name}`]);
    }
  segments.sort(([a], [b]) => b - a);
  return [...tables, ...segments.map(([, path]) => path)];
}

function hold(files: FileLayer, path: string, held: Map<string, OpenFile>): void {
  try {
    held.set(path, files.open(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

function viewOf(files: FileLayer, folders: readonly string[], held: ReadonlyMap<string, OpenFile>): FileLayer {
  const sizes = new Map([...held].map(([path, { size }]) => [path, size]));
  const names = new Map(
    folders.map((folder) => [
      folder,
      files.list(folder).filter((name) => name === 'manifest' || held.has(`${folder}/${name}`)),
    ]),
  );
  return {
    lock: (folder) => files.lock(folder),
    list: (folder) => names.get(folder) ?? files.list(folder),
    makeFolder: (folder) => files.makeFolder(folder),
    create: (path) => files.create(path),
    open(path) {
      const file = held.get(path);
      return file === undefined ? files.open(path) : new HeldFile(file, sizes.get(path)!);
    },
    rename: (from, to) => files.rename(from, to),
    remove: (path) => files.remove(path),
    syncFolder: (folder) => files.syncFolder(folder),
  };
}

/** A file as large as it was. */
class HeldFile implements OpenFile {
  readonly append = refuse;
  readonly truncate = refuse;
  readonly sync = refuse;
  readonly syncNow = refuse;

  constructor(
    private readonly file: OpenFile,
    readonly size: number,
  ) {}

  read(into: Uint8Array, offset: number, length: number, position: number): number {
    return this.file.read(into, offset, Math.max(0, Math.min(length, this.size - position)), position);
  }

  /** Who holds it closes it. */
  close(): void {}
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

function read({ files, manifest }: HeldFolder, folder: string, tables: readonly Table[]): Snapshot {
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
  const present = copiesOf(files, folder).flatMap((each) => files.list(each).map((name) => numberOf(name, 'log') ?? 0));
  const numbers = [...new Set(present)]
    .filter((number) => number >= manifest.logFrom && number > 0)
    .sort((a, b) => a - b);
  if (numbers[0] !== manifest.logFrom && (manifest.generation > 0 || numbers.length > 0))
    throw new Error(`${logName(manifest.logFrom)} is missing`);
  return numbers;
}
