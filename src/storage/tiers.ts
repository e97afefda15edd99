/** Which neighbouring tables become one: bounds both how many there are and how often an entry is written again. */
import type { TableFigures } from './table.js';

/** Tables of like size that are kept side by side. */
const TABLES_MAX = 4;
/** From this share of removals on, everything is merged, so that what is gone gives its space back. */
const TOMBSTONE_SHARE = 0.3;
const SMALL_BYTES = 262_144;

/** Sizes that differ by less than a factor of four count as alike. */
function tierOf({ bytes }: TableFigures): number {
  return Math.max(0, Math.floor(Math.log(bytes / SMALL_BYTES) / Math.log(4)) + 1);
}

/** Whether so many of `entries` are removals that what they removed is to give its space back. */
export function isWorthMerging(tombstones: number, entries: number): boolean {
  return tombstones > entries * TOMBSTONE_SHARE;
}

/** The range of tables to merge, oldest first; undefined when all is well. */
export function choose(tables: readonly TableFigures[]): { readonly from: number; readonly to: number } | undefined {
  const entries = tables.reduce((sum, table) => sum + table.entries, 0);
  const tombstones = tables.reduce((sum, table) => sum + table.tombstones, 0);
  if (tables.length > 1 && isWorthMerging(tombstones, entries)) return { from: 0, to: tables.length };
  // From the newest on: as far as tables are no larger than the largest so far of a run that is long enough.
  let from = tables.length;
  let tier = 0;
  let chosen: number | undefined;
  while (from > 0) {
    const next = tierOf(tables[from - 1]!);
    tier = Math.max(tier, next);
    from--;
    const alike = tables.slice(from).filter((table) => tierOf(table) >= tier).length;
    if (alike >= TABLES_MAX) chosen = from;
  }
  return chosen === undefined ? undefined : { from: chosen, to: tables.length };
}
