/**
 * The disk of this machine for those who only look: opens files without the right to write them, so that a folder of another
 * user or on a read-only disk can be looked at, and throws wherever something would be changed.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { type FileLayer, type OpenFile, realFiles } from './files.js';

/** In the place of what would change a file. */
export function refuse(): never {
  throw new Error('this view of the disk is for reading');
}

class ReadOnlyFile implements OpenFile {
  readonly size: number;
  readonly append = refuse;
  readonly truncate = refuse;
  readonly sync = refuse;
  readonly syncNow = refuse;

  constructor(private readonly fd: number) {
    this.size = fstatSync(fd).size;
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

  close(): void {
    closeSync(this.fd);
  }
}

export const readOnlyFiles: FileLayer = {
  lock: refuse,
  list: realFiles.list,
  makeFolder: refuse,
  create: refuse,
  open: (path) => new ReadOnlyFile(openSync(path, 'r')),
  rename: refuse,
  remove: refuse,
  syncFolder: refuse,
};

/** As `readOnlyFiles`, but new files can be made: for copies of a folder that is only read. */
export const copyingFiles: FileLayer = { ...realFiles, open: readOnlyFiles.open };
