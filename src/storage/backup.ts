/**
 * A consistent copy of a data folder, taken while a broker writes to it or while none does, and the way back.
 *
 * All files are held open before the first is copied, so that the copy is of one moment however fast the broker goes on; of
 * the log counts what is whole. The manifest of the copy is written last, and a copy that fails is removed.
 */
import { rmdirSync } from 'node:fs';
import { basename, dirname, resolve, sep } from 'node:path';
import { Fault } from '../base/index.js';
import { checkStorage, copiesOf, faultOf, holdsStorage, syncedIn, withCopies } from './check.js';
import type { FileLayer } from './files.js';
import { copyFile } from './maintenance.js';
import { COPY_FOLDER, logName, type Manifest, tableName, writeManifest } from './manifest.js';
import { isBaseLost, surveyLog, writeSurveyed } from './salvage.js';
import { damaged, holdFolder, liveSegments } from './snapshot.js';

const STAGING_FOLDER = 'restoring';

export interface BackupResult {
  readonly manifest: Manifest;
  readonly tables: number;
  readonly segments: number;
  readonly bytes: number;
}

/**
 * Copies `folder` to `target`, which is new or empty, and verifies the copy. Resolves when it is on the disk.
 * Errors  `Fault` BACKUP_TARGET, STORAGE_DAMAGED (what is backed up is damaged), STORAGE_ABSENT; those of `node:fs`.
 */
export async function backupStorage(files: FileLayer, folder: string, target: string): Promise<BackupResult> {
  mustHoldStorage(files, folder);
  if (`${resolve(target)}${sep}`.startsWith(`${resolve(folder)}${sep}`))
    throw new Fault('BACKUP_TARGET', `the backup ${target} would be in the data folder ${folder} itself`);
  if (files.list(target).length > 0)
    throw new Fault('BACKUP_TARGET', `${target} is not empty; a backup goes to a new folder`);
  return copyStorage(files, folder, target);
}

export interface RestoreOptions {
  /** Puts the backup in the place of what the folder holds. */
  readonly replace: boolean;
  /** For the name under which that is kept. */
  readonly nowMs: number;
}

/**
 * Puts a verified copy of `backup` into `folder`. What the folder held is kept in a folder within it, whose name is returned.
 * Errors  `Fault` BACKUP_DAMAGED, STORAGE_ABSENT (no backup there), STORAGE_IN_USE, RESTORE_TARGET (it holds data and `replace`
 *         is not set); those of `node:fs`.
 */
export async function restoreStorage(
  files: FileLayer,
  backup: string,
  folder: string,
  { replace, nowMs }: RestoreOptions,
): Promise<BackupResult & { readonly kept: string | undefined }> {
  mustHoldStorage(files, backup);
  if (resolve(backup) === resolve(folder))
    throw new Fault('RESTORE_TARGET', `${backup} is the data folder itself: nothing to restore`);
  const wrong = checkStorage(files, backup).findings.find(({ kind }) => kind === 'damage');
  if (wrong !== undefined)
    throw new Fault(
      'BACKUP_DAMAGED',
      `the backup ${backup} is damaged (${basename(wrong.path)}: ${wrong.what}) and is not restored; dunlin storage check ${backup} tells all of it`,
    );
  files.makeFolder(folder);
  const unlock = files.lock(folder);
  try {
    const occupied = holdsStorage(files, folder);
    if (occupied && !replace)
      throw new Fault(
        'RESTORE_TARGET',
        `${folder} holds data; with --replace the backup takes its place, and the data is kept`,
      );
    const staging = `${folder}/${STAGING_FOLDER}`;
    for (const name of files.list(staging)) files.remove(`${staging}/${name}`);
    const result = await copyStorage(files, backup, staging);
    const kept = occupied ? `${folder}/replaced-${new Date(nowMs).toISOString().replace(/[:.]/g, '-')}` : undefined;
    if (kept !== undefined) await moveAway(files, folder, kept);
    for (const name of files.list(staging).sort(manifestLast)) {
      if (name === 'manifest') await files.syncFolder(folder);
      files.rename(`${staging}/${name}`, `${folder}/${name}`);
    }
    await files.syncFolder(folder);
    rmdirSync(staging);
    return { ...result, kept };
  } finally {
    unlock();
  }
}

function mustHoldStorage(files: FileLayer, folder: string): void {
  if (!holdsStorage(files, folder)) throw new Fault('STORAGE_ABSENT', `there is no data folder of Dunlin at ${folder}`);
}

function manifestLast(a: string, b: string): number {
  return Number(a === 'manifest') - Number(b === 'manifest') || (a < b ? -1 : 1);
}

/** The manifests first, so that half a folder is never taken for a whole one. */
async function moveAway(files: FileLayer, folder: string, to: string): Promise<void> {
  const folders = copiesOf(files, folder);
  const targets = folders.map((_each, index) => (index === 0 ? to : `${to}/${COPY_FOLDER}`));
  for (const target of targets) files.makeFolder(target);
  for (const only of [true, false]) {
    for (const [index, each] of folders.entries()) {
      for (const name of files.list(each)) {
        const ours = /^(manifest|log-\d+|table-\d+)(\.new|\.cut|\.damaged)?$/.test(name);
        if (ours && (name === 'manifest') === only) files.rename(`${each}/${name}`, `${targets[index]}/${name}`);
      }
      await files.syncFolder(targets[index]!);
      await files.syncFolder(each);
    }
  }
}

// ---- copying ----

/** To a folder that is empty, or not there yet. */
async function copyStorage(files: FileLayer, folder: string, target: string): Promise<BackupResult> {
  files.makeFolder(target);
  try {
    const manifest = copyHeld(files, folder, target);
    await files.syncFolder(target);
    await writeManifest(files, [target], manifest);
    await files.syncFolder(dirname(target));
    const { findings, tables, segments, bytes } = checkStorage(files, target);
    if (findings.length > 0)
      throw new Fault('BACKUP_DAMAGED', `the copy ${target} does not read back: ${findings[0]!.what}`);
    return { manifest, tables, segments, bytes };
  } catch (error) {
    for (const name of files.list(target)) files.remove(`${target}/${name}`);
    throw error;
  }
}

function copyHeld(files: FileLayer, folder: string, target: string): Manifest {
  const held = holdFolder(files, folder);
  try {
    for (const number of held.manifest.tables) copyTable(held.files, folder, target, number);
    copyLog(held.files, folder, target, held.manifest);
    return held.manifest;
  } catch (error) {
    // What the disk says, such as that it is full, is not about the data.
    throw (error as { code?: unknown }).code === undefined ? damaged(folder, error as Error) : error;
  } finally {
    held.close();
  }
}

/** From the first copy in which it is whole. */
function copyTable(files: FileLayer, folder: string, target: string, number: number): void {
  const name = tableName(number);
  const to = `${target}/${name}`;
  let last: string | undefined;
  for (const each of copiesOf(files, folder)) {
    if (!files.list(each).includes(name)) continue;
    copyFile(files, `${each}/${name}`, to);
    const wrong = faultOf(files, to);
    if (wrong === undefined) return;
    last = `${each}/${name}: ${wrong.what}`;
  }
  throw new Error(last ?? `${folder}/${name} is missing`);
}

function copyLog(files: FileLayer, folder: string, target: string, manifest: Manifest): void {
  const folders = copiesOf(files, folder);
  const numbers = liveSegments(files, folder, manifest);
  let sequence = manifest.sequence;
  for (const [index, number] of numbers.entries()) {
    const rest = numbers.slice(index);
    const survey = withCopies(files, folders, logName(number), (copies) => {
      const found = surveyLog(copies, index === 0 ? manifest.sequence : undefined);
      const fits = found.firstSequence >= 0 && (index === 0 || found.firstSequence === sequence);
      if (fits) writeSurveyed(files, copies, found, `${target}/${logName(number)}`);
      return { ...found, fits };
    });
    if (survey.fits) sequence = Math.max(sequence, survey.lastSequence);
    const base = index > 0 || !isBaseLost(survey, manifest.baseBytes);
    if (survey.fits && base && survey.validBytes === survey.bytes) continue;
    // What cannot be read is the end that is being written just now, or was not acknowledged; or it is damage.
    const synced = syncedIn(files, folders, rest);
    if (!base || synced > sequence)
      throw new Error(`${logName(number)} cannot be read at byte ${survey.fits ? survey.validBytes : 0}`);
    return;
  }
}
