/**
 * Work on whole files that need not hold up the broker: log segments into a table, tables into one, a file into its copy.
 * From files to files, so that it runs as well in another thread.
 */
import type { Entry } from './entry.js';
import type { FileLayer } from './files.js';
import { readSegment } from './log-segment.js';
import { MemTable } from './memtable.js';
import { mergeTables } from './merge.js';
import { replayInto } from './replay.js';
import { Table, type TableFigures, writeTable } from './table.js';

export type MaintenanceTask =
  | {
      readonly kind: 'build';
      readonly segments: readonly string[];
      readonly dropTombstones: boolean;
      readonly to: readonly string[];
    }
  | {
      readonly kind: 'merge';
      /** newest first */
      readonly tables: readonly string[];
      readonly dropTombstones: boolean;
      readonly to: readonly string[];
    };

/**
 * Does it. `to` names the result and its copies. The last segment of a build ends where it is to end: it is not written any more.
 * Errors  those of `node:fs`, `TableDamage`.
 */
export function runMaintenance(files: FileLayer, task: MaintenanceTask): TableFigures {
  const [path, ...copies] = task.to as [string, ...string[]];
  let figures: TableFigures;
  if (task.kind === 'build') {
    const memtable = new MemTable();
    for (const segment of task.segments) {
      const file = files.open(segment);
      try {
        const { validBytes, bytes } = readSegment(file, replayInto(memtable));
        if (validBytes !== bytes) throw new Error(`${segment} cannot be read at byte ${validBytes}`);
      } finally {
        file.close();
      }
    }
    const entries = memtable.scan('', undefined);
    figures = writeTable(files, path, task.dropTombstones ? live(entries) : entries);
  } else {
    const tables = task.tables.map((input) => Table.open(files, input));
    try {
      figures = mergeTables(files, tables, path, task.dropTombstones);
    } finally {
      for (const table of tables) table.close();
    }
  }
  for (const copy of copies) copyFile(files, path, copy);
  return figures;
}

function* live(entries: Iterable<Entry>): Generator<Entry> {
  for (const entry of entries) if (entry.value !== undefined) yield entry;
}

/** Copies a file and syncs the copy. */
export function copyFile(files: FileLayer, from: string, to: string): void {
  const source = files.open(from);
  try {
    const target = files.create(to);
    try {
      const buffer = Buffer.allocUnsafe(Math.min(1_048_576, Math.max(1, source.size)));
      for (let at = 0; at < source.size; ) {
        const length = source.read(buffer, 0, buffer.length, at);
        target.append(buffer.subarray(0, length));
        at += length;
      }
      target.syncNow();
    } finally {
      target.close();
    }
  } finally {
    source.close();
  }
}
