/**
 * Makes a damaged data folder one that opens again, with all that can still be read: from the other copy where there are two,
 * even piece by piece where both are damaged; otherwise without what is lost, which is told.
 *
 *   manifest   the newest whole one; one wrong byte is found by its checksum; else made up from the files that are there
 *   tables     written again from the blocks that are whole in one copy or another; the damaged file stays as `.damaged`
 *   log        ends before the first frame that is whole in no copy; what comes after stays in files named `.cut`
 *
 * The manifest is written last: a repair that is cut off is begun again.
 */
import { randomUUID } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { copiesOf, faultOf, newestOf, syncedIn, withCopies } from './check.js';
import type { FileLayer } from './files.js';
import { segmentHead } from './log-segment.js';
import { copyFile } from './maintenance.js';
import {
  FORMAT_VERSION,
  logName,
  type Manifest,
  numberOf,
  readManifest,
  tableName,
  writeManifest,
} from './manifest.js';
import { entriesOf, type Gap, isBaseLost, type LogSurvey, surveyLog, surveyTable, writeSurveyed } from './salvage.js';
import { writeTable } from './table.js';

export interface Repaired {
  readonly path: string;
  /** What was done, as a sentence. */
  readonly what: string;
  /** Whether something that was stored is gone for good. */
  readonly loss: boolean;
  readonly lost?: readonly Gap[];
}

/** Sequences are used once: above all that a store gets to, where nothing tells how far it was. */
const UNKNOWN_SEQUENCE = 2 ** 40;

/**
 * Repairs the folder, which the caller has locked. Returns what it did; nothing when nothing was wrong.
 * Errors  those of `node:fs`.
 */
export async function repairStorage(files: FileLayer, folder: string): Promise<Repaired[]> {
  const repair = new Repair(files, copiesOf(files, folder));
  await repair.run();
  return repair.done;
}

class Repair {
  readonly done: Repaired[] = [];

  constructor(
    private readonly files: FileLayer,
    private readonly folders: readonly string[],
  ) {}

  async run(): Promise<void> {
    const { files, folders } = this;
    const read = folders.map((folder) => readManifest(files, folder));
    const found = newestOf(read) ?? this.recoverManifest();
    const tables = found.tables.filter((number) => this.repairTable(number));
    const baseBytes = this.repairLog(found);
    for (const folder of folders) await files.syncFolder(folder);
    const changed = tables.length < found.tables.length || baseBytes !== found.baseBytes;
    const manifest = changed ? { ...found, tables, baseBytes, generation: found.generation + 1 } : found;
    for (const [index, folder] of folders.entries()) {
      const own = read[index];
      if (!changed && typeof own === 'object' && own.generation === manifest.generation) continue;
      await writeManifest(files, [folder], manifest);
      if (typeof own !== 'object') this.tell(`${folder}/manifest`, 'written again', false);
    }
  }

  private tell(path: string, what: string, loss: boolean, lost: readonly Gap[] = []): void {
    this.done.push({ path, what, loss, ...(lost.length > 0 ? { lost } : {}) });
  }

  // ---- manifest ----

  private recoverManifest(): Manifest {
    const { files, folders } = this;
    for (const folder of folders)
      for (const name of ['manifest.new', 'manifest']) {
        if (!files.list(folder).includes(name)) continue;
        const manifest = correctOneByte(contentsOf(files, `${folder}/${name}`));
        if (manifest === undefined || manifest.format > FORMAT_VERSION) continue;
        this.tell(`${folder}/${name}`, 'one wrong byte was found by its checksum', false);
        return manifest;
      }
    const numbers = (kind: 'log' | 'table') => {
      const all = folders.flatMap((folder) => files.list(folder).map((name) => numberOf(name, kind)));
      return [...new Set(all)].filter((number) => number !== undefined).sort((a, b) => a - b);
    };
    const tables = numbers('table');
    const logs = numbers('log');
    const { logFrom, sequence } = this.liveLog(logs, Math.max(0, ...tables));
    this.tell(
      `${folders[0]}/manifest`,
      `made up from the files that are there: tables ${tables.join(', ') || 'none'} in the order of their numbers, the log from ${logName(logFrom)} on; the broker has a new identity`,
      true,
    );
    return { format: FORMAT_VERSION, identity: randomUUID(), generation: 1, tables, logFrom, sequence, baseBytes: 0 };
  }

  /** The longest row of segments up to the last one in which each begins where the one before ends. */
  private liveLog(logs: readonly number[], lastTable: number): { logFrom: number; sequence: number } {
    const surveys = logs.map((number) =>
      withCopies(this.files, this.folders, logName(number), (copies) => surveyLog(copies)),
    );
    let first = logs.length - 1;
    for (; first > 0; first--) {
      const before = surveys[first - 1]!;
      if (before.validBytes === before.bytes && before.lastSequence !== surveys[first]!.firstSequence) break;
    }
    if (first < 0) return { logFrom: lastTable + 1, sequence: UNKNOWN_SEQUENCE };
    const { firstSequence } = surveys[first]!;
    return { logFrom: logs[first]!, sequence: firstSequence < 0 ? UNKNOWN_SEQUENCE : firstSequence };
  }

  // ---- tables ----

  /** Returns whether the table can be read afterwards. */
  private repairTable(number: number): boolean {
    const { files, folders } = this;
    const name = tableName(number);
    const wrong = folders.filter(
      (folder) => !files.list(folder).includes(name) || faultOf(files, `${folder}/${name}`) !== undefined,
    );
    if (wrong.length === 0) return true;
    const whole = folders.find((folder) => !wrong.includes(folder));
    if (whole !== undefined) {
      for (const folder of wrong) {
        this.replace(`${whole}/${name}`, `${folder}/${name}`);
        this.tell(`${folder}/${name}`, 'replaced by its copy', false);
      }
      return true;
    }
    const path = `${folders[0]}/${name}`;
    const written = withCopies(files, folders, name, (copies, paths) => {
      if (copies.length === 0) return undefined;
      const survey = surveyTable(copies);
      for (const each of paths) copyFile(files, each, `${each}.damaged`);
      writeTable(files, `${path}.new`, entriesOf(copies, survey));
      return { survey, paths };
    });
    if (written === undefined) {
      this.tell(path, 'missing: all that stood in it is lost', true);
      return false;
    }
    const { survey, paths } = written;
    for (const folder of folders.slice(1)) this.replace(`${path}.new`, `${folder}/${name}`);
    files.rename(`${path}.new`, path);
    const entries = survey.blocks.reduce((sum, block) => sum + block.entries, 0);
    const lost = survey.gaps.length === 0 ? 'none are lost' : `${survey.entriesLost ?? 'an unknown number'} are lost`;
    const kept = paths.map((each) => `${each}.damaged`).join(' and ');
    this.tell(
      path,
      `written again with the ${entries} entries that can be read; ${lost}; the damaged file is kept as ${kept}`,
      survey.gaps.length > 0,
      survey.gaps,
    );
    return true;
  }

  private replace(from: string, to: string): void {
    copyFile(this.files, from, `${to}.new`);
    this.files.rename(`${to}.new`, to);
  }

  // ---- log ----

  /** Returns how much of what was carried over to the first segment is left. */
  private repairLog(manifest: Manifest): number {
    const { files, folders } = this;
    const present = new Set(folders.flatMap((folder) => files.list(folder).map((name) => numberOf(name, 'log') ?? 0)));
    const numbers = [...present].filter((number) => number >= manifest.logFrom && number > 0).sort((a, b) => a - b);
    let last = manifest.sequence;
    if (numbers[0] !== manifest.logFrom) {
      if (manifest.generation > 0 || numbers.length > 0)
        this.tell(`${folders[0]}/${logName(manifest.logFrom)}`, 'missing: what stood in it is lost', true);
      this.cutAway(numbers);
      this.createEmpty(manifest.logFrom, last);
      return 0;
    }
    for (const [index, number] of numbers.entries()) {
      const expected = index === 0 ? manifest.sequence : undefined; // which the manifest knows
      const survey = withCopies(files, folders, logName(number), (copies) => surveyLog(copies, expected));
      const fits = survey.firstSequence >= 0 && (index === 0 || survey.firstSequence === last);
      const baseLost = index === 0 && isBaseLost(survey, manifest.baseBytes);
      const whole = fits && !baseLost && survey.validBytes === survey.bytes;
      if (whole) this.alignCopies(number, survey);
      if (!whole) {
        const at = fits ? survey.validBytes : 0;
        const rest = numbers.slice(index + 1);
        const end = fits ? survey.lastSequence : last;
        const synced = syncedIn(files, folders, [number, ...rest]);
        let consequence = 'nothing that the log knows to have been on the disk stood there';
        if (baseLost) consequence = 'what stood there was on the disk and is lost, with all that came after';
        else if (synced > end) consequence = `operations ${end + 1} to ${synced}, or a part of them, are lost`;
        this.tell(
          `${folders[0]}/${logName(number)}`,
          `cut off at byte ${at}${rest.length > 0 ? `, and ${rest.map(logName).join(', ')} as a whole` : ''}: ${consequence}; what was cut off is kept in files named .cut`,
          baseLost || synced > end,
        );
        if (fits) {
          for (const folder of folders)
            if (files.list(folder).includes(logName(number)))
              copyFile(files, `${folder}/${logName(number)}`, `${folder}/${logName(number)}.cut`);
          this.alignCopies(number, survey);
        } else this.cutAway([number]);
        this.cutAway(rest);
        if (!fits && index === 0) this.createEmpty(number, last); // the manifest names it
        return baseLost ? at : manifest.baseBytes;
      }
      last = survey.lastSequence;
    }
    return manifest.baseBytes;
  }

  /** Every copy has the whole frames of all of them, and nothing after. */
  private alignCopies(number: number, survey: LogSurvey): void {
    const { files, folders } = this;
    const name = logName(number);
    withCopies(files, folders, name, (copies, paths) => {
      for (const folder of folders) {
        const path = `${folder}/${name}`;
        const own = copies[paths.indexOf(path)];
        const alone = own && surveyLog([own]);
        const right = alone?.firstSequence === survey.firstSequence && alone.validBytes === survey.validBytes;
        if (right && alone.bytes === survey.validBytes) continue;
        writeSurveyed(files, copies, survey, `${path}.new`);
        files.rename(`${path}.new`, path);
        if (right) continue; // but for a torn end
        this.tell(path, folders.length > 1 ? 'completed from the other copy' : 'its head is written again', false);
      }
    });
  }

  private cutAway(numbers: readonly number[]): void {
    const { files, folders } = this;
    for (const folder of folders)
      for (const number of numbers) {
        const name = logName(number);
        if (files.list(folder).includes(name)) files.rename(`${folder}/${name}`, `${folder}/${name}.cut`);
      }
  }

  private createEmpty(number: number, sequence: number): void {
    for (const folder of this.folders) {
      const file = this.files.create(`${folder}/${logName(number)}`);
      try {
        file.append(segmentHead(sequence));
        file.syncNow();
      } finally {
        file.close();
      }
    }
  }
}

function contentsOf(files: FileLayer, path: string): Buffer {
  const file = files.open(path);
  try {
    const bytes = Buffer.alloc(Math.min(file.size, 1_048_576));
    file.read(bytes, 0, bytes.length, 0);
    return bytes;
  } finally {
    file.close();
  }
}

/** A manifest of which at most one byte is wrong. */
function correctOneByte(bytes: Buffer): Manifest | undefined {
  const jsonBytes = bytes.length - 10; // behind it a line break, eight digits, a line break
  if (jsonBytes < 2 || jsonBytes > 65_536) return undefined;
  const sum = (tail: Buffer) => Number.parseInt(tail.toString('latin1', 1, 9), 16);
  const json = Buffer.from(bytes.subarray(0, jsonBytes));
  const expected = sum(bytes.subarray(jsonBytes));
  const actual = crc32(json);
  if (actual === expected || oneCharacterApart(actual, bytes.subarray(jsonBytes))) return parseManifest(json);
  for (let at = 0; at < json.length; at++) {
    const was = json[at]!;
    for (let byte = 1; byte < 256; byte++) {
      json[at] = was ^ byte;
      if (crc32(json) === expected) return parseManifest(json);
    }
    json[at] = was;
  }
  return undefined;
}

/** Whether the wrong byte may be one of the checksum itself. */
function oneCharacterApart(checksum: number, tail: Buffer): boolean {
  const right = Buffer.from(`\n${checksum.toString(16).padStart(8, '0')}\n`);
  let wrong = 0;
  for (const [index, byte] of right.entries()) if (tail[index] !== byte) wrong++;
  return wrong <= 1;
}

function parseManifest(json: Buffer): Manifest | undefined {
  try {
    return JSON.parse(json.toString()) as Manifest;
  } catch {
    return undefined;
  }
}
