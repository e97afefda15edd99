/** A file or folder that is held open, so that a path can be seen to lead elsewhere. */
import { closeSync, fstatSync, openSync, statSync } from 'node:fs';

export interface HeldPath {
  /** Whether the path leads to it, and to no other. */
  there(): boolean;
  close(): void;
}

/** Held open, so that no other gets its number. */
export function holdPath(path: string): HeldPath {
  const fd = openSync(path, 'r');
  const { dev, ino } = fstatSync(fd);
  return {
    there() {
      const now = statSync(path, { throwIfNoEntry: false });
      return now?.ino === ino && now.dev === dev;
    },
    close: () => closeSync(fd),
  };
}
