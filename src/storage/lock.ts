/**
 * One process at a time on a data folder: a file with the process that has it, which counts only while that process lives.
 */
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { Fault } from '../base/index.js';

interface Holder {
  readonly pid: number;
  /** Start of the process in clock ticks since boot, where the system tells; else empty. */
  readonly started: string;
}

export const LOCK = 'lock';
export const lockPath = (folder: string): string => `${folder}/${LOCK}`;

/**
 * Takes the lock of `folder`; returns what gives it back, unless it is another's by then.
 * Errors  `Fault` STORAGE_IN_USE naming the folder and the process.
 */
export function lockFolder(folder: string): () => void {
  const path = lockPath(folder);
  const mine = `${path}.${process.pid}`;
  const content = JSON.stringify({ pid: process.pid, started: startOf(process.pid) } satisfies Holder);
  // To be read by another user's process in the same folder too: what it cannot read it would take for half written.
  writeFileSync(mine, content, { mode: 0o644 });
  try {
    for (;;) {
      try {
        linkSync(mine, path); // fails when there is one already
        break;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      const holder = readHolder(path);
      if (holder !== undefined && lives(holder))
        throw new Fault('STORAGE_IN_USE', `the data folder ${folder} is in use by process ${holder.pid}`);
      takeAway(path, mine, folder);
    }
  } finally {
    rmSync(mine, { force: true });
  }
  return () => {
    const holder = readHolder(path);
    if (holder?.pid === process.pid) rmSync(path, { force: true });
  };
}

/** Removes a lock whose process is gone, unless another process was quicker and the lock is that one's now. */
function takeAway(path: string, mine: string, folder: string): void {
  const aside = `${mine}.former`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  const holder = readHolder(aside);
  const taken = holder !== undefined && lives(holder);
  if (taken) linkSync(aside, path);
  rmSync(aside, { force: true });
  if (taken) throw new Fault('STORAGE_IN_USE', `the data folder ${folder} is in use by process ${holder.pid}`);
}

function readHolder(path: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Holder;
  } catch {
    return undefined; // half written by a process that is gone
  }
}

function lives({ pid, started }: Holder): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  return started === startOf(pid); // another process may have the number by now
}

function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}
