// Text in columns, and what stands in them.

import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** The first column and the last are text, the others figures. */
export function formatColumns(rows: readonly (readonly string[])[]): string {
  const count = Math.max(...rows.map((row) => row.length));
  const widths = Array.from({ length: count }, (_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  const lines = rows.map((row) =>
    widths
      .map((width, column) => {
        const cell = row[column] ?? '';
        return column === 0 || column === count - 1 ? cell.padEnd(width) : cell.padStart(width);
      })
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}

export const megabytes = (bytes: number) => (bytes / 1_000_000).toFixed(1);
export const mebibytes = (bytes: number) => (bytes / 1_048_576).toFixed(0);

export interface DiskUse {
  /** Blocks that the files take, not their nominal length. */
  bytes: number;
  files: number;
}

/** Of a folder and what is below it. Files that go in the middle count as nothing. */
export function diskUse(folder: string): DiskUse {
  const use: DiskUse = { bytes: 0, files: 0 };
  for (const name of namesIn(folder)) {
    const path = join(folder, name);
    const found = statSync(path, { throwIfNoEntry: false });
    if (found?.isDirectory()) {
      const below = diskUse(path);
      use.bytes += below.bytes;
      use.files += below.files;
    } else if (found !== undefined) {
      use.bytes += found.blocks * 512;
      use.files++;
    }
  }
  return use;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
