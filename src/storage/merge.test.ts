/** Merges against a model: a map into which the sources are put, the oldest first. */
import assert from 'node:assert/strict';
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import type { Entry } from './entry.js';
import { realFiles } from './files.js';
import { mergeEntries, mergeTables } from './merge.js';
import { Table, TableDamage, writeTable } from './table.js';

const folder = mkdtempSync(join(tmpdir(), 'dunlin-merge-'));
after(() => rmSync(folder, { recursive: true }));

function entry(key: string, value?: string): Entry {
  return { key, value: value === undefined ? undefined : Buffer.from(value) };
}

function shown(entries: Iterable<Entry>): string[] {
  return Array.from(entries, ({ key, value }) => (value ? `${key}=${value}` : `${key} removed`));
}

function sorted(entries: Iterable<Entry>): Entry[] {
  return [...entries].sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** What remains of sources, the newest first. */
function modelOf(sources: readonly (readonly Entry[])[]): Entry[] {
  const newest = new Map<string, Entry>();
  for (const source of sources.toReversed()) for (const each of source) newest.set(each.key, each);
  return sorted(newest.values());
}

function merged(sources: readonly (readonly Entry[])[]): Generator<Entry> {
  return mergeEntries(sources.map((source) => source[Symbol.iterator]()));
}

/** Up to six sources whose keys often meet; each value names its source. */
const anySources = fc
  .array(fc.uniqueArray(fc.tuple(fc.integer({ min: 0, max: 25 }), fc.boolean()), { selector: ([key]) => key }), {
    maxLength: 6,
  })
  .map((sources) =>
    sources.map((source, age) =>
      sorted(source.map(([key, gone]) => entry(String.fromCharCode(97 + key), gone ? undefined : `from ${age}`))),
    ),
  );

describe('mergeEntries', () => {
  it('yields each key once, in order, as the newest source has it, for any number of sources', () => {
    fc.assert(
      fc.property(anySources, (sources) => {
        assert.deepEqual(shown(merged(sources)), shown(modelOf(sources)));
      }),
      { numRuns: 500 },
    );
  });

  it('yields the entries themselves, not copies', () => {
    const [first, second, third] = [entry('a', '1'), entry('b', '2'), entry('c', '3')];
    for (const sources of [[[first]], [[first], [second]], [[first], [second], [third]]])
      for (const each of merged(sources)) assert.ok([first, second, third].includes(each));
  });

  it('ends the sources when it is given up half-way, and when one of them fails', () => {
    for (const count of [1, 2, 3, 5]) {
      let ended = 0;
      function* source(failing: boolean): Generator<Entry> {
        try {
          for (let key = 0; key < 10; key++) {
            if (failing && key === 5) throw new Error('no more');
            yield entry(String(key), 'value');
          }
        } finally {
          ended++;
        }
      }
      const sources = () => Array.from({ length: count }, (_, index) => source(index === count - 1));
      for (const { key } of mergeEntries(sources())) if (key === '2') break;
      assert.equal(ended, count);
      assert.throws(() => [...mergeEntries(sources())], /no more/);
      assert.equal(ended, 2 * count);
    }
  });
});

describe('mergeTables', () => {
  const open: Table[] = [];
  after(() => {
    for (const table of open) table.close();
  });
  let tables = 0;
  function table(entries: Iterable<Entry>): Table {
    const path = join(folder, `input-${tables++}`);
    writeTable(realFiles, path, entries);
    open.push(Table.open(realFiles, path));
    return open.at(-1)!;
  }

  it('writes what the newest versions are, with tombstones or without', () => {
    const sources = [
      [entry('b'), entry('d', 'new'), entry('x')],
      [entry('a', 'middle'), entry('b', 'middle')],
      [entry('a', 'old'), entry('b', 'old'), entry('c', 'old'), entry('d')],
    ];
    const inputs = sources.map(table);
    for (const dropTombstones of [false, true]) {
      const path = join(folder, `merged-${dropTombstones}`);
      const figures = mergeTables(realFiles, inputs, path, dropTombstones);
      const output = Table.open(realFiles, path);
      const left = modelOf(sources).filter(({ value }) => !dropTombstones || value !== undefined);
      assert.deepEqual(shown(output.scan('', undefined)), shown(left));
      assert.deepEqual(figures, output.figures);
      assert.equal(figures.tombstones, dropTombstones ? 0 : 2);
      output.verify();
      output.close();
    }
  });

  it('merges tables of many blocks', () => {
    const value = 'v'.repeat(300);
    const numbers = Array.from({ length: 3000 }, (_, index) => String(index).padStart(6, '0'));
    const inputs = [3, 2, 1].map((step) =>
      table(numbers.filter((_, index) => index % step === 0).map((key) => entry(key, `${step} ${value}`))),
    );
    const path = join(folder, 'many-blocks');
    assert.equal(mergeTables(realFiles, inputs, path, true).entries, 3000);
    const output = Table.open(realFiles, path);
    for (const [index, key] of numbers.entries()) {
      const step = index % 3 === 0 ? 3 : index % 2 === 0 ? 2 : 1;
      assert.equal(output.get(key)?.value?.toString(), `${step} ${value}`);
    }
    output.close();
  });

  it('writes an empty table when nothing is left', () => {
    const path = join(folder, 'nothing');
    const figures = mergeTables(realFiles, [table([entry('a')]), table([entry('a', 'old')])], path, true);
    assert.equal(figures.entries, 0);
    const output = Table.open(realFiles, path);
    assert.deepEqual([...output.scan('', undefined)], []);
    output.close();
  });

  it('fails on a damaged block of an input and leaves no file', () => {
    const good = table([entry('a', 'good')]);
    const damaged = table([entry('b', 'bad')]);
    const fd = openSync(damaged.path, 'r+');
    writeSync(fd, Buffer.from('?'), 0, 1, 16 + 8 + 4);
    closeSync(fd);
    const path = join(folder, 'not-there');
    assert.throws(() => mergeTables(realFiles, [good, damaged], path, true), TableDamage);
    assert.equal(existsSync(path), false);
  });
});
