/**
 * Whether the paths of a data folder still lead to what the store has open: a folder that was removed, moved away or replaced takes every write,
 * and nobody will find it again.
 *
 * Refuses  to put a store together again somewhere else: what lies in the place of its folder is not the store's, be it a backup that was put
 *          there or the empty folder below a mount.
 */
import { Fault } from '../base/index.js';
import type { FileLayer } from './files.js';
import type { HeldPath } from './held-path.js';
import { LOCK, lockPath } from './lock.js';
import { type Manifest, readManifest, tableName } from './manifest.js';

/** Errors  `Fault` STORAGE_FOLDER_GONE */
export function checkHeld(held: Iterable<readonly [path: string, held: HeldPath]>): void {
  for (const [path, { there }] of held)
    if (!there()) throw gone(`${path} is not what the broker opened: it was removed, moved away or replaced`);
}

export function isGone(error: unknown): boolean {
  return error instanceof Fault && error.code === 'STORAGE_FOLDER_GONE';
}

function gone(sentence: string): Fault {
  return new Fault('STORAGE_FOLDER_GONE', sentence);
}

/** The folders of a store, and its lock. */
export class Place {
  private readonly held = new Map<string, HeldPath>();
  private unlock: () => void;

  /** Errors  `Fault` STORAGE_IN_USE; those of `node:fs`. */
  constructor(
    private readonly files: FileLayer,
    private readonly folders: readonly string[],
  ) {
    for (const folder of folders) files.makeFolder(folder);
    this.unlock = files.lock(folders[0]!);
    try {
      for (const path of [...folders, this.lock]) this.hold(path);
    } catch (error) {
      this.leave();
      throw error;
    }
  }

  private get lock(): string {
    return lockPath(this.folders[0]!);
  }

  /** Errors  `Fault` STORAGE_FOLDER_GONE */
  check(): void {
    checkHeld(this.held);
  }

  /**
   * Whether a store that goes on here is whole: they are its folders, with its tables, nobody else took the lock, and nothing was put in the place
   * of its own. `generations` are those that its manifest may be of.
   * Errors  `Fault` STORAGE_FOLDER_GONE, STORAGE_IN_USE; those of `node:fs`.
   */
  checkWhole(manifest: Manifest, generations: readonly [from: number, to: number]): void {
    checkHeld([...this.held].filter(([path]) => path !== this.lock));
    for (const folder of this.folders) {
      const names = this.files.list(folder);
      const missing = manifest.tables.map(tableName).find((name) => !names.includes(name));
      if (missing !== undefined) throw gone(`${folder}/${missing} was removed`);
      const found = readManifest(this.files, folder);
      if (found === undefined || found === 'damaged') continue;
      const [from, to] = generations;
      if (found.identity !== manifest.identity || found.generation < from || found.generation > to)
        throw gone(`other data was put into ${folder}`);
    }
    if (this.held.get(this.lock)?.there() === false) {
      // One that seems to be dead may live in another container.
      if (this.files.list(this.folders[0]!).includes(LOCK)) throw gone(`another process took ${this.lock}`);
      this.unlock = this.files.lock(this.folders[0]!);
      this.held.get(this.lock)?.close();
      this.hold(this.lock);
    }
  }

  /** Gives the folder back. */
  leave(): void {
    for (const each of this.held.values()) each.close();
    this.held.clear();
    this.unlock();
  }

  private hold(path: string): void {
    const held = this.files.hold?.(path);
    if (held !== undefined) this.held.set(path, held);
  }
}
