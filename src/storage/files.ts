/**
 * The file operations that storage needs, and no others: everything on disk goes through them, so that tests can put a
 * simulated disk in their place (power cuts, full disks, failing syncs).
 *
 * All calls but `sync` and `syncFolder` complete before they return. Errors are those of `node:fs` (`code` as in `ENOSPC`).
 */
import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  fsync,
  ftruncateSync,
  mkdirSync,
  open,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { type HeldPath, holdPath } from './held-path.js';
import { lockFolder } from './lock.js';

export interface OpenFile {
  /** bytes */
  readonly size: number;
  /** Appends all of `bytes`; when it throws, any part may have been written. */
  append(bytes: Uint8Array): void;
  /** Reads up to `length` bytes at `position` into `into[offset..]`; returns how many there were. */
  read(into: Uint8Array, offset: number, length: number, position: number): number;
  truncate(size: number): void;
  /** Resolves when everything appended before the call is on the disk. */
  sync(): Promise<void>;
  syncNow(): void;
  close(): void;
}

export interface FileLayer {
  /** Makes this process the only one on a folder; returns what ends that. Errors: `Fault` STORAGE_IN_USE. */
  lock(folder: string): () => void;
  /** Names in a folder, sorted; none when there is no such folder. */
  list(folder: string): string[];
  makeFolder(folder: string): void;
  /** A new empty file, in the place of one with this name, for appending and reading. */
  create(path: string): OpenFile;
  /** An existing file, for appending and reading. Errors: `ENOENT`. */
  open(path: string): OpenFile;
  /** Replaces `to`. */
  rename(from: string, to: string): void;
  /** No error when there is none. */
  remove(path: string): void;
  /** Resolves when creations, renames and removals in the folder before the call are on the disk. */
  syncFolder(folder: string): Promise<void>;
  /** Keeps hold of a file or folder, to see whether its path still leads to it; absent where nobody else can take anything away. */
  hold?(path: string): HeldPath;
}

class RealFile implements OpenFile {
  private bytes: number;

  constructor(private readonly fd: number) {
    this.bytes = fstatSync(fd).size;
  }

  get size(): number {
    return this.bytes;
  }

  append(bytes: Uint8Array): void {
    let done = 0;
    while (done < bytes.length) {
      const written = writeSync(this.fd, bytes, done, bytes.length - done, this.bytes);
      done += written;
      this.bytes += written;
    }
  }

  read(into: Uint8Array, offset: number, length: number, position: number): number {
    let done = 0;
    while (done < length) {
      const got = readSync(this.fd, into, offset + done, length - done, position + done);
      if (got === 0) break;
      done += got;
    }
    return done;
  }

  truncate(size: number): void {
    ftruncateSync(this.fd, size);
    this.bytes = size;
  }

  sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fdatasync(this.fd, (error) => (error ? reject(error) : resolve()));
    });
  }

  syncNow(): void {
    fdatasyncSync(this.fd);
  }

  close(): void {
    closeSync(this.fd);
  }
}

/** The disk of this machine. */
export const realFiles: FileLayer = {
  lock: lockFolder,
  list(folder) {
    try {
      return readdirSync(folder).sort();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  },
  makeFolder: (folder) => void mkdirSync(folder, { recursive: true, mode: 0o700 }),
  create: (path) => new RealFile(openSync(path, 'w+', 0o600)),
  open: (path) => new RealFile(openSync(path, 'r+')),
  rename: renameSync,
  remove: (path) => rmSync(path, { force: true }),
  hold: holdPath,
  syncFolder(folder) {
    return new Promise((resolve, reject) => {
      open(folder, 'r', (openError, fd) => {
        if (openError) return reject(openError);
        fsync(fd, (error) => {
          closeSync(fd);
          if (error) reject(error);
          else resolve();
        });
      });
    });
  },
};
