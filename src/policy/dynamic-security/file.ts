/**
 * The file on the disk: read as a whole, and written beside itself, flushed and put in its place, so that a crash leaves the old one or
 * the new one. Only its owner may read it, as it holds what is kept of passwords.
 */
import { type FileHandle, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Fault } from '../../base/index.js';
import { type Contents, Draft } from './contents.js';
import { contentsPieces, parseContents } from './file-format.js';

const BYTES_MAX = 256 * 1024 * 1024;
/** Put into words and written in one go. */
const WRITE_CHARACTERS = 256 * 1024;

/**
 * Undefined when there is no such file.
 * Errors  `Fault` ACCESS_FILE when it cannot be read or understood.
 */
export async function readContents(path: string): Promise<Contents | undefined> {
  try {
    const bytes = await readFile(path);
    if (bytes.length > BYTES_MAX) throw new Error(`has ${bytes.length} bytes; at most ${BYTES_MAX} are allowed`);
    return parseContents(decode(bytes));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Fault('ACCESS_FILE', `${path}: ${describe(error)}`, { cause: error });
  }
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new Error('is not UTF-8 text');
  }
}

/** Errors  those of `node:fs`; then the file is as it was. */
export async function saveDraft(path: string, draft: Draft): Promise<void> {
  const beside = `${path}.new`;
  try {
    await rm(beside, { force: true });
    await writeNew(beside, contentsPieces(draft));
    await rename(beside, path);
  } catch (error) {
    await rm(beside, { force: true }).catch(() => {});
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Errors  EEXIST when there is one already; those of `node:fs`, then nothing is left of it. */
export async function writeNew(path: string, pieces: Iterable<string>): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await writeTo(file, pieces);
  } catch (error) {
    // What is cut short would be taken for a damaged file.
    await rm(path, { force: true }).catch(() => {});
    throw error;
  }
}

async function writeTo(file: FileHandle, pieces: Iterable<string>): Promise<void> {
  try {
    let text = '';
    for (const piece of pieces) {
      text += piece;
      if (text.length < WRITE_CHARACTERS) continue;
      await file.writeFile(text);
      text = '';
    }
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** A new file with these contents. Errors: as `writeNew`. */
export function writeContents(path: string, contents: Contents): Promise<void> {
  return writeNew(path, contentsPieces(new Draft(contents)));
}

/** The renamed file is found after a power cut; a system that cannot do that for folders does it by itself. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r').catch(() => undefined);
  await folder?.sync().catch(() => {});
  await folder?.close();
}

export function describe(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is no such folder';
  if (code === 'EACCES' || code === 'EPERM') return 'permission denied';
  if (code === 'EISDIR') return 'it is a folder';
  if (code === 'EEXIST') return 'there is such a file already';
  return message;
}
