/**
 * Reads all of a data folder that no broker uses and tells what is wrong with it: every checksum of every file, in both
 * copies where there are two. Changes nothing; `repair.ts` does.
 *
 * A finding is damage when something that was on the disk cannot be read from a file any more, and a note when it is what a
 * process that was killed or a power cut leaves and the next start tidies up.
 */
import type { FileLayer, OpenFile } from './files.js';
import { readSegment, SEGMENT_HEAD_BYTES, type SegmentReading } from './log-segment.js';
import { COPY_FOLDER, FORMAT_VERSION, logName, type Manifest, numberOf, readManifest, tableName } from './manifest.js';
import { type Gap, isBaseLost, surveyLog, surveyTable } from './salvage.js';
import { Table } from './table.js';

export interface Finding {
  readonly kind: 'damage' | 'note';
  /** The file. */
  readonly path: string;
  /** Where in it, bytes; undefined when it is about the file as a whole. */
  readonly offset: number | undefined;
  readonly what: string;
  /** What follows from it. */
  readonly meaning: string;
  /** Ranges of keys that can be read nowhere. */
  readonly lost?: readonly Gap[];
}

export interface CheckReport {
  readonly manifest: Manifest | undefined;
  readonly copies: number;
  readonly tables: number;
  readonly segments: number;
  /** That were read, of all copies. */
  readonly bytes: number;
  readonly findings: readonly Finding[];
  /** A newer Dunlin wrote it: what this one finds says little, and it repairs nothing. */
  readonly newerFormat: boolean;
}

/** Whether a folder is, or was, one of a store. */
export function holdsStorage(files: FileLayer, folder: string): boolean {
  return [folder, `${folder}/${COPY_FOLDER}`].some((each) => files.list(each).some(isStorageFile));
}

/** The folder, and that of the second copy if there is one. */
export function copiesOf(files: FileLayer, folder: string): string[] {
  const copy = `${folder}/${COPY_FOLDER}`;
  return files.list(copy).some(isStorageFile) ? [folder, copy] : [folder];
}

function isStorageFile(name: string): boolean {
  return name === 'manifest' || numberOf(name, 'log') !== undefined || numberOf(name, 'table') !== undefined;
}

/**
 * Checks the folder. Nobody may write to it meanwhile.
 * Errors  those of `node:fs`.
 */
export function checkStorage(files: FileLayer, folder: string): CheckReport {
  return new Check(files, copiesOf(files, folder)).run();
}

/** How far the log of one folder can be read. */
interface Chain {
  readonly lastSequence: number;
  /** Whether the beginning of the first segment is there, with all that was carried over to it. */
  readonly base: boolean;
  readonly stop: { readonly number: number; readonly offset: number | undefined; readonly what: string } | undefined;
}

class Check {
  private readonly findings: Finding[] = [];
  private bytes = 0;
  /** The last operation that the log itself says was on the disk. */
  private synced = 0;

  constructor(
    private readonly files: FileLayer,
    private readonly folders: readonly string[],
  ) {}

  run(): CheckReport {
    const { files, folders, findings } = this;
    const manifest = this.checkManifests();
    const tables = new Set<number>();
    const segments = new Set<number>();
    for (const each of folders)
      for (const name of files.list(each)) {
        const table = numberOf(name, 'table');
        const segment = numberOf(name, 'log');
        const live =
          manifest === undefined ||
          (table !== undefined
            ? manifest.tables.includes(table)
            : segment === undefined || segment >= manifest.logFrom);
        if (table !== undefined && live) tables.add(table);
        if (segment !== undefined && live) segments.add(segment);
        if (!live || name.endsWith('.new'))
          this.note(`${each}/${name}`, 'no manifest names it: work that was cut off', 'the next start removes it');
        else if (name.endsWith('.cut') || name.endsWith('.damaged'))
          this.note(`${each}/${name}`, 'kept by a repair or a start', 'the broker does not read it');
      }
    for (const number of manifest?.tables ?? []) tables.add(number);
    for (const number of [...tables].sort((a, b) => a - b)) this.checkTable(tableName(number));
    this.checkLog(
      [...segments].sort((a, b) => a - b),
      manifest,
    );
    return {
      manifest,
      copies: folders.length,
      tables: tables.size,
      segments: segments.size,
      bytes: this.bytes,
      findings,
      newerFormat: (manifest?.format ?? 0) > FORMAT_VERSION,
    };
  }

  private damage(path: string, offset: number | undefined, what: string, meaning: string, lost?: readonly Gap[]): void {
    this.findings.push({ kind: 'damage', path, offset, what, meaning, ...(lost === undefined ? {} : { lost }) });
  }

  private note(path: string, what: string, meaning: string, offset?: number): void {
    this.findings.push({ kind: 'note', path, offset, what, meaning });
  }

  private checkManifests(): Manifest | undefined {
    const { files, folders } = this;
    const read = folders.map((each) => readManifest(files, each));
    const manifest = newestOf(read);
    for (const [index, each] of folders.entries()) {
      const own = read[index];
      if (typeof own === 'object') {
        if (own.format > FORMAT_VERSION)
          this.damage(
            `${each}/manifest`,
            undefined,
            `it says format ${own.format}, and this Dunlin reads up to ${FORMAT_VERSION}`,
            'a newer Dunlin wrote it: use that one',
          );
        else if (own.generation < manifest!.generation)
          this.note(`${each}/manifest`, 'it is older than that of the other copy', 'the next start replaces it');
        continue;
      }
      this.damage(
        `${each}/manifest`,
        own === 'damaged' ? 0 : undefined,
        own === 'damaged' ? 'its checksum is wrong' : 'it is missing',
        manifest === undefined
          ? 'which files are live, and in which order, is not known'
          : 'the other copy has it, and the next start with two copies replaces it',
      );
    }
    return manifest;
  }

  private checkTable(name: string): void {
    const { files, folders } = this;
    const opened = new Map<string, OpenFile>();
    const wrong: { path: string; offset: number | undefined; what: string }[] = [];
    try {
      for (const folder of folders) {
        const path = `${folder}/${name}`;
        if (!files.list(folder).includes(name)) {
          wrong.push({ path, offset: undefined, what: 'it is missing' });
          continue;
        }
        const file = files.open(path);
        opened.set(path, file);
        this.bytes += file.size;
        const what = faultOf(files, path);
        if (what === undefined) continue;
        const { gaps } = surveyTable([file]);
        for (const gap of gaps)
          wrong.push({
            path,
            offset: gap.offset,
            what: gap.offset === gap.end ? 'it ends here, too early' : `it cannot be read from here to byte ${gap.end}`,
          });
        if (gaps.length === 0) wrong.push({ path, ...what });
      }
      if (wrong.length === 0) return;
      const whole = [...opened.keys()].some((path) => !wrong.some((each) => each.path === path));
      const survey = whole ? undefined : surveyTable([...opened.values()]);
      let meaning = 'the other copy is whole, and the next start with two copies replaces this one';
      if (opened.size === 0) meaning = 'all that stood in it is lost';
      else if (survey !== undefined)
        meaning =
          survey.gaps.length > 0
            ? `${survey.entriesLost ?? 'an unknown number of'} entries can be read nowhere`
            : 'no entry is lost, but the broker does not open it like this';
      for (const [index, { path, offset, what }] of wrong.entries())
        this.damage(path, offset, what, meaning, index === wrong.length - 1 ? survey?.gaps : undefined);
    } finally {
      for (const file of opened.values()) file.close();
    }
  }

  private checkLog(numbers: readonly number[], manifest: Manifest | undefined): void {
    const chains = this.folders.map((folder) => this.chainOf(folder, numbers, manifest));
    const best = this.combined(numbers, manifest);
    const whole = best.base && best.lastSequence >= this.synced;
    for (const [index, { lastSequence, base, stop }] of chains.entries()) {
      const folder = this.folders[index]!;
      const missing = !base || lastSequence < this.synced;
      if (!missing && stop === undefined) continue;
      const path = `${folder}/${logName(stop?.number ?? numbers.at(-1) ?? manifest?.logFrom ?? 1)}`;
      const what = stop?.what ?? 'its end is missing';
      if (!missing && stop?.offset !== undefined)
        this.note(
          path,
          what,
          'as after a crash: no later frame knows it to have been on the disk; the next start cuts it off',
          stop.offset,
        );
      else if (missing && whole)
        this.damage(
          path,
          stop?.offset,
          what,
          this.folders.length > 1
            ? 'the other copy has it, and the next start with two copies replaces it'
            : 'nothing is lost: a repair writes it again',
        );
      else if (missing && !best.base)
        this.damage(path, stop?.offset, what, 'what stood there was on the disk and is lost, with all that came after');
      else if (missing)
        this.damage(
          path,
          stop?.offset,
          what,
          `operations ${best.lastSequence + 1} to ${this.synced}, or a part of them, were on the disk and cannot be read; what comes after them cannot be used`,
        );
      else this.damage(path, undefined, what, 'what stood in it is lost');
    }
  }

  private chainOf(folder: string, numbers: readonly number[], manifest: Manifest | undefined): Chain {
    const { files } = this;
    let lastSequence = manifest?.sequence ?? 0;
    let base = true;
    let stop: Chain['stop'];
    const present = files.list(folder);
    const begun = manifest === undefined || manifest.generation > 0 || numbers.length > 0;
    const first = manifest?.logFrom ?? numbers[0] ?? 1;
    if (begun && !present.includes(logName(first))) stop = { number: first, offset: undefined, what: 'it is missing' };
    for (const number of numbers) {
      if (!present.includes(logName(number))) continue; // the next one shows the gap
      const reading = this.read(`${folder}/${logName(number)}`);
      this.synced = Math.max(this.synced, reading.synced, reading.beyond?.synced ?? 0);
      if (stop !== undefined) continue;
      if (number === first && manifest === undefined) lastSequence = Math.max(0, reading.firstSequence);
      if (number === first && manifest !== undefined && reading.firstSequence !== manifest.sequence) {
        base = false;
        const cut = reading.bytes < SEGMENT_HEAD_BYTES;
        stop = { number, offset: 0, what: cut ? 'it ends before its head does' : 'its head is wrong' };
        continue;
      }
      if (number !== first && reading.firstSequence !== lastSequence) {
        const what =
          reading.firstSequence < 0
            ? 'its head is not whole'
            : `it begins after operation ${reading.firstSequence}, and what comes before it ends with ${lastSequence}`;
        stop = { number, offset: 0, what };
        continue;
      }
      lastSequence = Math.max(lastSequence, reading.lastSequence);
      if (number === first && manifest !== undefined && reading.validBytes < manifest.baseBytes) base = false;
      if (reading.validBytes === reading.bytes) {
        if (!base) stop = { number, offset: reading.bytes, what: 'it ends here, too early' };
        continue;
      }
      const { beyond } = reading;
      const what =
        beyond === undefined
          ? `nothing can be read from here to its end at byte ${reading.bytes}`
          : `it cannot be read from here to byte ${beyond.offset}; at least ${beyond.frames} frames follow that can`;
      stop = { number, offset: reading.validBytes, what };
    }
    return { lastSequence, base, stop };
  }

  private read(path: string): SegmentReading {
    const file = this.files.open(path);
    try {
      this.bytes += file.size;
      return readSegment(file, () => {});
    } finally {
      file.close();
    }
  }

  /** The last operation that can be read when each frame is taken from any copy that has it. */
  private combined(numbers: readonly number[], manifest: Manifest | undefined): Pick<Chain, 'lastSequence' | 'base'> {
    let last = manifest?.sequence ?? 0;
    let base = true;
    for (const [index, number] of numbers.entries()) {
      const expected = index === 0 ? manifest?.sequence : undefined;
      const survey = withCopies(this.files, this.folders, logName(number), (copies) => surveyLog(copies, expected));
      if (index > 0 && survey.firstSequence !== last) break;
      if (index === 0 && isBaseLost(survey, manifest?.baseBytes ?? 0)) base = false;
      last = Math.max(last, survey.lastSequence);
      if (survey.validBytes !== survey.bytes) break;
    }
    return { lastSequence: last, base };
  }
}

/** The manifest that counts. */
export function newestOf(read: readonly (Manifest | 'damaged' | undefined)[]): Manifest | undefined {
  let newest: Manifest | undefined;
  for (const each of read)
    if (typeof each === 'object' && (newest === undefined || each.generation > newest.generation)) newest = each;
  return newest;
}

/** Opens the copies of a file that are there, in the order of `folders`, for as long as `work` takes. */
export function withCopies<Result>(
  files: FileLayer,
  folders: readonly string[],
  name: string,
  work: (copies: readonly OpenFile[], paths: readonly string[]) => Result,
): Result {
  const paths = folders.filter((folder) => files.list(folder).includes(name)).map((folder) => `${folder}/${name}`);
  const copies: OpenFile[] = [];
  try {
    for (const path of paths) copies.push(files.open(path));
    return work(copies, paths);
  } finally {
    for (const file of copies) file.close();
  }
}

/** What is wrong with a table file; undefined when it is whole. */
export function faultOf(files: FileLayer, path: string): { offset: number | undefined; what: string } | undefined {
  try {
    const table = Table.open(files, path);
    try {
      table.verify();
    } finally {
      table.close();
    }
    return undefined;
  } catch (error) {
    const { offset, message } = error as Error & { offset?: number };
    return { offset, what: message.replace(`${path} is damaged: `, '').replace(/ \(at offset \d+\)$/, '') };
  }
}

/** The last operation that one of these segments knows to have been on the disk. */
export function syncedIn(files: FileLayer, folders: readonly string[], numbers: readonly number[]): number {
  let synced = 0;
  for (const number of numbers)
    withCopies(files, folders, logName(number), (copies) => {
      for (const file of copies) {
        const reading = readSegment(file, () => {});
        synced = Math.max(synced, reading.synced, reading.beyond?.synced ?? 0);
      }
    });
  return synced;
}
