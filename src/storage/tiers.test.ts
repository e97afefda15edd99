/** Which tables are merged: enough to keep them few, seldom enough to write each entry a bounded number of times. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../base/random.fuzz.js';
import type { TableFigures } from './table.js';
import { choose } from './tiers.js';

const table = (bytes: number, entries = 100, tombstones = 0): TableFigures => ({ bytes, entries, tombstones });
const sized = (...bytes: number[]) => choose(bytes.map((each) => table(each)));

describe('choose', () => {
  it('leaves few tables alone', () => {
    assert.equal(choose([]), undefined);
    assert.equal(sized(1000), undefined);
    assert.equal(sized(1000, 1000, 1000), undefined);
    assert.equal(sized(100_000_000, 10_000_000, 1_000_000), undefined);
  });

  it('merges those of like size from the newest on', () => {
    assert.deepEqual(sized(1000, 1000, 1000, 1000), { from: 0, to: 4 });
    assert.deepEqual(sized(100_000_000, 1_300_000, 1_100_000, 1_900_000, 1_200_000), { from: 1, to: 5 });
    assert.equal(sized(1_000_000, 1_000_000, 1_000_000, 100_000_000), undefined);
  });

  it('merges everything when much of it is removals, which can go then', () => {
    assert.deepEqual(choose([table(1_000_000, 70), table(1000, 40, 40)]), { from: 0, to: 2 });
    assert.equal(choose([table(1_000_000, 71), table(1000, 29, 29)]), undefined);
    assert.equal(choose([table(1000, 10, 10)]), undefined);
  });

  it('keeps tables few and writes an entry again seldom, for any sizes', () => {
    const random = new Random(3);
    for (let round = 0; round < 20; round++) {
      const tables: TableFigures[] = [];
      let flushed = 0;
      let written = 0;
      for (let flush = 0; flush < 400; flush++) {
        const bytes = random.pick([200_000, 1_000_000, 16_000_000]) + random.below(100_000);
        tables.push(table(bytes));
        flushed += bytes;
        written += bytes;
        for (let chosen = choose(tables); chosen !== undefined; chosen = choose(tables)) {
          assert.ok(chosen.to - chosen.from > 1);
          const sum = tables.slice(chosen.from, chosen.to).reduce((total, each) => total + each.bytes, 0);
          tables.splice(chosen.from, chosen.to - chosen.from, table(sum));
          written += sum;
        }
        assert.ok(tables.length <= 30, `${tables.length} tables`);
      }
      assert.ok(written / flushed < 12, `each byte written ${written / flushed} times`);
    }
  });
});
