/** The filter never denies a key it was given, and rarely affirms one it was not. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BloomFilter, BloomFilterBuilder, keyHash } from './bloom-filter.js';

function filterOf(keys: readonly string[]): BloomFilter {
  const builder = new BloomFilterBuilder();
  for (const key of keys) builder.add(keyHash(key));
  return new BloomFilter(builder.build());
}

function numbered(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`);
}

describe('BloomFilter', () => {
  it('knows every key that was added, from one to many', () => {
    for (const count of [1, 2, 7, 1023, 1024, 1025, 20_000]) {
      const keys = numbered('session/', count);
      const filter = filterOf(keys);
      for (const key of keys) assert.equal(filter.mayHold(keyHash(key)), true, `${key} of ${count}`);
    }
  });

  it('denies all but about one in a hundred of other keys, however alike the keys are', () => {
    for (const [added, asked] of [
      ['queue/device-7/', 'queue/device-8/'],
      ['', 'x'],
      ['\0\0\0', '\0\0\0\xff'],
    ] as const) {
      const filter = filterOf(numbered(added, 20_000));
      const wrong = numbered(asked, 20_000).filter((key) => filter.mayHold(keyHash(key))).length;
      assert.ok(wrong < 20_000 * 0.015, `${wrong} of 20000 keys ${asked}… were affirmed`);
    }
  });

  it('takes about ten bits a key', () => {
    const builder = new BloomFilterBuilder();
    for (let hash = 0; hash < 8000; hash++) builder.add(hash);
    assert.equal(builder.build().length, 10_000);
  });

  it('denies everything when nothing was added', () => {
    assert.equal(new BloomFilterBuilder().build().length, 0);
    assert.equal(filterOf([]).mayHold(keyHash('')), false);
  });

  it('stays as table files on disks have it: hashes, bits and probes are fixed', () => {
    assert.deepEqual([keyHash(''), keyHash('a'), keyHash('retained/\0\xff')], [2872998923, 444641715, 3329468980]);
    const builder = new BloomFilterBuilder();
    for (const key of ['', 'a', 'retained/\0\xff']) builder.add(keyHash(key));
    assert.equal(builder.build().toString('hex'), '201afdc7');
  });
});
