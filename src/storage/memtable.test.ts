/** The newest of each key, in order, whatever order they came in; buckets are nobody's business. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../base/random.fuzz.js';
import { MemTable, successor } from './memtable.js';

const put = (table: MemTable, key: string, value: string, fresh = false): void => {
  const bytes = Buffer.from(`..${value}.`);
  table.put(key, bytes, 2, 2 + value.length, fresh);
};

const scanned = (table: MemTable, from = '', to?: string) =>
  [...table.scan(from, to)].map(({ key, value }) => [key, value?.toString()] as const);

describe('MemTable', () => {
  it('finds the newest version, and knows what was removed from what never was', () => {
    const table = new MemTable();
    put(table, 'k', 'one');
    put(table, 'k', 'two');
    const slot = table.find('k')!;
    assert.equal(slot.buffer!.subarray(slot.start, slot.end).toString(), 'two');
    table.remove('k');
    assert.equal(table.find('k')!.buffer, undefined);
    table.remove('never');
    assert.deepEqual(scanned(table), [
      ['k', undefined],
      ['never', undefined],
    ]);
    assert.equal(table.find('other'), undefined);
    assert.equal(table.size, 2);
  });

  it('leaves no trace of a fresh key that is removed', () => {
    const table = new MemTable();
    put(table, 'Qaaaa1', 'x', true);
    table.remove('Qaaaa1');
    assert.deepEqual([table.size, table.find('Qaaaa1'), scanned(table)], [0, undefined, []]);
    put(table, 'Qaaaa1', 'y', false);
    table.remove('Qaaaa1');
    assert.deepEqual(scanned(table), [['Qaaaa1', undefined]]);
  });

  it('goes on hiding what is older when a removed key is written as a fresh one', () => {
    const table = new MemTable();
    table.remove('Qaaaa1');
    put(table, 'Qaaaa1', 'x', true);
    table.remove('Qaaaa1');
    assert.deepEqual(scanned(table), [['Qaaaa1', undefined]]);
  });

  it('scans what lies between, as a plain model does, while it changes', () => {
    const random = new Random(11);
    const prefixes = ['', 'a', 'r/', 'Qaaaa', 'Qaaab', 'Q', 'Z\xff\xff\xff\xff', '\0', '\xff'];
    const keyOf = () => random.pick(prefixes) + (random.oneIn(5) ? '' : String.fromCharCode(random.below(256)));
    for (let round = 0; round < 30; round++) {
      const table = new MemTable();
      const model = new Map<string, string | undefined>();
      for (let step = 0; step < 150; step++) {
        const key = keyOf();
        if (random.oneIn(3)) {
          table.remove(key);
          model.set(key, undefined);
        } else {
          put(table, key, `${step}`);
          model.set(key, `${step}`);
        }
        if (!random.oneIn(6)) continue;
        const from = random.oneIn(3) ? '' : keyOf();
        const to = random.oneIn(3) ? undefined : random.oneIn(2) ? keyOf() : successor(from === '' ? 'Q' : from);
        const expected = [...model]
          .filter(([each]) => each >= from && (to === undefined || each < to))
          .sort(([a], [b]) => (a < b ? -1 : 1));
        assert.deepEqual(scanned(table, from, to), expected, `round ${round}, ${JSON.stringify([from, to])}`);
      }
      assert.equal(table.size, model.size);
    }
  });

  it('can be scanned step by step while entries before and after go', () => {
    const table = new MemTable();
    for (const key of ['a', 'b', 'c', 'd']) put(table, key, key, true);
    const seen: string[] = [];
    for (const { key } of table.scan('', undefined)) {
      seen.push(key);
      if (key === 'b') for (const gone of ['a', 'c']) table.remove(gone);
    }
    assert.deepEqual(seen, ['a', 'b', 'd']);
  });
});

describe('successor', () => {
  it('is above all that begin with a prefix and below all else that is above', () => {
    for (const prefix of ['a', 'r\0', 'Q\xff', '\xff'])
      for (const more of ['', '\0', '\xff\xff\xff']) assert.ok(prefix + more < successor(prefix));
    assert.equal(successor('ab'), 'ac');
    assert.ok(successor('') > '\xff\xff');
  });
});
