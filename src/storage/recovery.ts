/**
 * From what is on the disk to a store that can go on: which files are live, what they hold, what is damaged.
 *
 * With two copies each file that is damaged, torn or missing in one is replaced by that of the other before anything is read.
 * What remains wrong is one of two things. A tail of the log that nobody was promised: it is cut off, as after every crash.
 * Or something that was on the disk and is gone: that is for a person to decide, so it is refused with what to do.
 */
import { Fault, type Logger } from '../base/index.js';
import type { FileLayer } from './files.js';
import {
  OperationKind,
  type OperationSink,
  readSegment,
  SEGMENT_HEAD_BYTES,
  type SegmentReading,
  segmentHead,
} from './log-segment.js';
import { copyFile } from './maintenance.js';
import {
  COPY_FOLDER,
  FORMAT_VERSION,
  logName,
  type Manifest,
  newManifest,
  numberOf,
  readManifest,
  tableName,
  writeManifest,
} from './manifest.js';
import { MemTable } from './memtable.js';
import { replayInto } from './replay.js';
import { type BlockCache, Table } from './table.js';

export interface Recovered {
  readonly manifest: Manifest;
  readonly nextNumber: number;
  readonly lastSequence: number;
  /** Bytes of the segments that were replayed. */
  readonly segmentBytes: number;
}

type ReplayHook = (key: string, value: Buffer | undefined) => void;

/**
 * Opens what `folders` (a folder and perhaps its copy) hold. `prepare` is handed the memtable that is about to be filled and
 * the tables, and returns who is told of every operation before it takes effect.
 * Errors  `Fault` STORAGE_DAMAGED, STORAGE_FORMAT; those of `node:fs`.
 */
export async function recover(
  files: FileLayer,
  folders: readonly string[],
  log: Logger,
  cache: BlockCache | undefined,
  prepare: (memtable: MemTable, tables: Table[]) => ReplayHook | undefined,
): Promise<Recovered> {
  const manifest = await openManifest(files, folders, log);
  // The manifest was read, and may still not be on the disk: what it does not name is not removed before it is.
  for (const folder of folders) await files.syncFolder(folder);
  removeLeftovers(files, folders, manifest);
  if (folders.length > 1) mendCopies(files, folders, manifest, log);
  const folder = folders[0]!;
  const tables: Table[] = [];
  const memtable = new MemTable();
  let replayed: { lastSequence: number; bytes: number };
  try {
    for (const number of manifest.tables) tables.push(openTable(files, `${folder}/${tableName(number)}`, cache));
    replayed = await replayLog(files, folders, manifest, log, memtable, prepare(memtable, tables));
  } catch (error) {
    for (const table of tables) table.close();
    throw error;
  }
  if (folders.length === 1) await dropCopy(files, folder);
  const { lastSequence, bytes } = replayed;
  const numbers = files.list(folder).map((name) => numberOf(name, 'log') ?? numberOf(name, 'table') ?? 0);
  const nextNumber = Math.max(manifest.logFrom - 1, ...manifest.tables, ...numbers) + 1;
  return { manifest, nextNumber, lastSequence, segmentBytes: bytes };
}

/** A copy from a time when there were two says less and less: it goes once the folder has been read without it. */
async function dropCopy(files: FileLayer, folder: string): Promise<void> {
  const copy = `${folder}/${COPY_FOLDER}`;
  const names = files.list(copy);
  if (names.length === 0) return;
  files.remove(`${copy}/manifest`); // without it nothing else counts
  await files.syncFolder(copy);
  for (const name of names) files.remove(`${copy}/${name}`);
  await files.syncFolder(copy);
}

function damaged(folder: string, what: string): Fault {
  return new Fault(
    'STORAGE_DAMAGED',
    `the data folder ${folder} is damaged: ${what}. Restore a backup (dunlin storage restore), or go on with what is left after dunlin storage check --repair`,
  );
}

async function openManifest(files: FileLayer, folders: readonly string[], log: Logger): Promise<Manifest> {
  const read = folders.map((folder) => readManifest(files, folder));
  const whole = read.filter((each): each is Manifest => typeof each === 'object');
  const manifest = whole.reduce<Manifest | undefined>(
    (best, each) => (best === undefined || each.generation > best.generation ? each : best),
    undefined,
  );
  const folder = folders[0]!;
  if (manifest === undefined) {
    const inUse = files.list(folder).some((name) => (numberOf(name, 'log') ?? numberOf(name, 'table')) !== undefined);
    if (read.includes('damaged') || inUse) {
      // A first start that was cut off before its manifest was whole has stored nothing yet.
      const empty = files
        .list(folder)
        .every((name) => numberOf(name, 'table') === undefined && (numberOf(name, 'log') ?? 1) === 1);
      if (!empty || read.includes('damaged')) throw damaged(folder, 'its manifest is missing or not whole');
    }
    const fresh = newManifest();
    await writeManifest(files, folders, fresh);
    return fresh;
  }
  if (manifest.format > FORMAT_VERSION)
    throw new Fault(
      'STORAGE_FORMAT',
      `the data folder ${folder} is of format ${manifest.format}; this Dunlin reads up to ${FORMAT_VERSION}`,
    );
  const behind = folders.filter((_each, index) => {
    const each = read[index];
    return typeof each !== 'object' || each.generation !== manifest.generation;
  });
  if (behind.length > 0) {
    log.warning(
      'storage.repaired',
      `The manifest in ${behind.join(', ')} was missing, damaged or old; it is replaced.`,
    );
    for (const each of behind) {
      files.makeFolder(each);
      await writeManifest(files, [each], manifest);
    }
  }
  return manifest;
}

/** Files that no manifest names: of work that was cut off, or that could not be removed. */
function removeLeftovers(files: FileLayer, folders: readonly string[], manifest: Manifest): void {
  for (const folder of folders) {
    for (const name of files.list(folder)) {
      const table = numberOf(name, 'table');
      const segment = numberOf(name, 'log');
      if (
        (table !== undefined && !manifest.tables.includes(table)) ||
        (segment !== undefined && segment < manifest.logFrom) ||
        name.endsWith('.new')
      )
        files.remove(`${folder}/${name}`);
    }
  }
}

function openTable(files: FileLayer, path: string, cache: BlockCache | undefined): Table {
  try {
    return Table.open(files, path, cache);
  } catch (error) {
    throw damaged(path.slice(0, path.lastIndexOf('/')), (error as Error).message);
  }
}

// ---- two copies ----

function mendCopies(files: FileLayer, folders: readonly string[], manifest: Manifest, log: Logger): void {
  for (const number of manifest.tables) mendTable(files, folders, tableName(number), log);
  const segments = new Set<number>();
  for (const folder of folders)
    for (const name of files.list(folder)) {
      const number = numberOf(name, 'log');
      if (number !== undefined) segments.add(number);
    }
  let expected = manifest.sequence;
  for (const number of [...segments].sort((a, b) => a - b))
    expected = mendSegment(files, folders, logName(number), expected, log);
}

function mendTable(files: FileLayer, folders: readonly string[], name: string, log: Logger): void {
  const wrong = folders.map((folder) => {
    try {
      const table = Table.open(files, `${folder}/${name}`);
      try {
        table.verify();
      } finally {
        table.close();
      }
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  });
  const good = wrong.indexOf(undefined);
  if (good < 0) throw damaged(folders[0]!, `${name} is damaged in both copies: ${wrong.join('; ')}`);
  wrong.forEach((what, index) => {
    if (what === undefined) return;
    replaceFile(files, `${folders[good]}/${name}`, `${folders[index]}/${name}`);
    log.warning('storage.repaired', `${folders[index]}/${name} was damaged (${what}); it is replaced by its copy.`);
  });
}

/**
 * The copy with the longer whole part counts, of those that begin after operation `expected` if there is one: the other is torn,
 * damaged or missing. Returns the last operation.
 */
function mendSegment(
  files: FileLayer,
  folders: readonly string[],
  name: string,
  expected: number,
  log: Logger,
): number {
  const readings = folders.map((folder): SegmentReading | undefined => {
    if (!files.list(folder).includes(name)) return undefined;
    return withFile(files, `${folder}/${name}`, (file) => readSegment(file, () => {}));
  });
  const follows = readings.some((reading) => reading?.firstSequence === expected);
  const valid = readings.map((reading) =>
    reading === undefined || (follows && reading.firstSequence !== expected) ? -1 : reading.validBytes,
  );
  const best = valid.indexOf(Math.max(...valid));
  readings.forEach((reading, index) => {
    if (index === best) return;
    if (reading !== undefined && valid[index] === valid[best] && reading.bytes === readings[best]!.bytes) return;
    replaceFile(files, `${folders[best]}/${name}`, `${folders[index]}/${name}`);
    log.warning(
      'storage.repaired',
      `${folders[index]}/${name} was ${reading === undefined ? 'missing' : `damaged or torn at byte ${Math.max(0, valid[index]!)}`}; it is replaced by its copy.`,
    );
  });
  return readings[best]!.lastSequence;
}

/** The file is the old one or the new one, whenever the power goes. */
function replaceFile(files: FileLayer, from: string, to: string): void {
  copyFile(files, from, `${to}.new`);
  files.rename(`${to}.new`, to);
}

// ---- the log ----

async function replayLog(
  files: FileLayer,
  folders: readonly string[],
  manifest: Manifest,
  log: Logger,
  memtable: MemTable,
  hook: ReplayHook | undefined,
): Promise<{ lastSequence: number; bytes: number }> {
  const folder = folders[0]!;
  const numbers = files
    .list(folder)
    .map((name) => numberOf(name, 'log') ?? 0)
    .filter((number) => number >= manifest.logFrom && number > 0)
    .sort((a, b) => a - b);
  if (numbers[0] !== manifest.logFrom && (manifest.generation > 0 || numbers.length > 0))
    throw damaged(folder, `${logName(manifest.logFrom)} is missing`);
  const put = replayInto(memtable);
  const sink: OperationSink = (kind, key, value, start, end) => {
    hook?.(key, kind === OperationKind.Remove ? undefined : value.subarray(start, end));
    put(kind, key, value, start, end);
  };
  let lastSequence = manifest.sequence;
  let bytes = 0;
  for (const [index, number] of numbers.entries()) {
    const path = `${folder}/${logName(number)}`;
    const gap =
      index > 0 && withFile(files, path, (file) => readSegment(file, () => {}, true)).firstSequence !== lastSequence;
    const reading = gap ? undefined : withFile(files, path, (file) => readSegment(file, sink));
    // What a process that was killed had only handed to the operating system counts as synced from now on.
    for (const each of folders) withFile(files, `${each}/${logName(number)}`, (file) => file.syncNow());
    if (reading !== undefined) {
      lastSequence = Math.max(lastSequence, reading.lastSequence);
      bytes += reading.validBytes;
    }
    if (
      index === 0 &&
      reading !== undefined &&
      reading.firstSequence >= 0 &&
      reading.firstSequence !== manifest.sequence
    )
      throw damaged(
        folder,
        `the head of ${logName(number)} names operation ${reading.firstSequence}, the manifest ${manifest.sequence}`,
      );
    if (index === 0 && reading !== undefined && reading.validBytes < manifest.baseBytes)
      throw damaged(
        folder,
        `${logName(number)} cannot be read at byte ${reading.validBytes}, where it holds what was carried over from earlier segments`,
      );
    if (reading !== undefined && reading.validBytes === reading.bytes) continue;
    await cutAfter(files, folders, numbers.slice(index), reading, lastSequence, log);
    break;
  }
  return { lastSequence, bytes };
}

/** The log ends in the first of `numbers`, whose reading is given (none when all of it comes after a gap). */
async function cutAfter(
  files: FileLayer,
  folders: readonly string[],
  numbers: readonly number[],
  reading: SegmentReading | undefined,
  lastSequence: number,
  log: Logger,
): Promise<void> {
  const folder = folders[0]!;
  let frames = reading?.beyond?.frames ?? 0;
  let synced = reading?.beyond?.synced ?? 0;
  for (const number of reading === undefined ? numbers : numbers.slice(1)) {
    withFile(files, `${folder}/${logName(number)}`, (file) => {
      const later = readSegment(file, () => {});
      const whole = later.lastSequence > later.firstSequence;
      frames += (whole ? 1 : 0) + (later.beyond?.frames ?? 0);
      synced = Math.max(synced, later.synced, later.beyond?.synced ?? 0);
    });
  }
  const name = logName(numbers[0]!);
  const at = reading?.validBytes ?? 0;
  if (synced > lastSequence)
    throw damaged(
      folder,
      `${name} cannot be read at byte ${at}, where operations ${lastSequence + 1} to ${synced} or a part of them stood; at least ${frames} later frames can be read`,
    );
  for (const each of folders) {
    for (const [index, number] of numbers.entries()) {
      const path = `${each}/${logName(number)}`;
      if (!files.list(each).includes(logName(number))) continue;
      if (index === 0 && at >= SEGMENT_HEAD_BYTES) {
        if (frames > 0) copyFile(files, path, `${path}.cut`);
        withFile(files, path, (file) => {
          file.truncate(at);
          file.syncNow();
        });
      } else {
        if (frames > 0) files.rename(path, `${path}.cut`);
        else files.remove(path);
        if (index > 0) continue;
        const file = files.create(path); // the manifest may name it
        file.append(segmentHead(lastSequence));
        file.syncNow();
        file.close();
      }
    }
    await files.syncFolder(each);
  }
  log.warning(
    'storage.tail-cut',
    `The end of ${name} was not written completely; it is cut off at byte ${at}.${
      frames > 0 ? ` ${frames} later frames that no acknowledgement waited for are kept in files named .cut.` : ''
    }`,
  );
}

function withFile<Result>(
  files: FileLayer,
  path: string,
  work: (file: ReturnType<FileLayer['open']>) => Result,
): Result {
  const file = files.open(path);
  try {
    return work(file);
  } finally {
    file.close();
  }
}
