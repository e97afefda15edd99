/** The helpers of the copying path: pooled chunks, short copies and comparisons. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { giveChunk, LARGE_CHUNK_BYTES, RUN_CHUNK_BYTES, SMALL_CHUNK_BYTES, takeChunk } from './chunk-pool.js';
import { Random } from './random.fuzz.js';
import { copyBytes, sameBytes } from './short-bytes.js';

describe('copyBytes', () => {
  it('copies any range between any two buffers, and touches nothing around it', () => {
    const random = new Random(9);
    const shared = random.bytes(4096);
    // Views into one ArrayBuffer at odd offsets, small buffers of Node's pool, and buffers of their own.
    const buffers = [
      shared.subarray(1, 2000),
      shared.subarray(2003),
      random.bytes(700),
      Buffer.from(random.bytes(650)),
    ];
    for (let step = 0; step < 20_000; step++) {
      const source = random.pick(buffers);
      const target = random.pick(buffers);
      const length = random.below(random.oneIn(4) ? 600 : 140);
      const start = random.below(source.length - length + 1);
      const offset = random.below(target.length - length + 1);
      if (source === target && start < offset + length && offset < start + length) continue;
      const expected = Buffer.from(target);
      source.copy(expected, offset, start, start + length);
      copyBytes(source, start, start + length, target, offset);
      assert.ok(target.equals(expected), `${length} bytes from ${start} to ${offset}`);
    }
  });
});

describe('sameBytes', () => {
  it('tells any two ranges apart by any one byte, and looks at nothing around them', () => {
    const random = new Random(6);
    for (let step = 0; step < 20_000; step++) {
      const length = random.below(40);
      const [a, b] = [random.below(50), 100 + random.below(50)];
      const bytes = random.bytes(b + length + random.below(3));
      bytes.copy(bytes, b, a, a + length);
      assert.equal(sameBytes(bytes, a, b, length), true);
      if (length === 0) continue;
      bytes[(random.oneIn(2) ? a : b) + random.below(length)]! ^= 1 << random.below(8);
      assert.equal(sameBytes(bytes, a, b, length), false);
    }
  });
});

describe('the chunk pool', () => {
  it('gives chunks of at least what is asked, of three sizes or of their own', () => {
    for (const [bytes, size] of [
      [0, SMALL_CHUNK_BYTES],
      [SMALL_CHUNK_BYTES, SMALL_CHUNK_BYTES],
      [SMALL_CHUNK_BYTES + 1, LARGE_CHUNK_BYTES],
      [LARGE_CHUNK_BYTES, LARGE_CHUNK_BYTES],
      [LARGE_CHUNK_BYTES + 1, RUN_CHUNK_BYTES],
      [RUN_CHUNK_BYTES, RUN_CHUNK_BYTES],
      [RUN_CHUNK_BYTES + 1, RUN_CHUNK_BYTES + 1],
    ] as const)
      assert.equal(takeChunk(bytes).length, size);
  });

  it('uses a chunk again only after it was given back', () => {
    const [one, two] = [takeChunk(1), takeChunk(1)];
    assert.notEqual(one, two);
    giveChunk(one);
    assert.equal(takeChunk(100), one);
    const large = takeChunk(LARGE_CHUNK_BYTES);
    giveChunk(large);
    assert.notEqual(takeChunk(1), large);
    assert.equal(takeChunk(SMALL_CHUNK_BYTES + 1), large);
  });

  it('keeps a bounded number, and none of another size', () => {
    for (const [size, count] of [
      [SMALL_CHUNK_BYTES, 3000],
      [LARGE_CHUNK_BYTES, 100],
      [RUN_CHUNK_BYTES, 100],
    ] as const) {
      const many = Array.from({ length: count }, () => takeChunk(size));
      for (const chunk of many) giveChunk(chunk);
      const again = new Set(Array.from({ length: count }, () => takeChunk(size)));
      const kept = many.filter((chunk) => again.has(chunk)).length;
      assert.ok(kept > 0 && kept < count, String(kept));
    }
    const own = takeChunk(RUN_CHUNK_BYTES + 1);
    giveChunk(own);
    assert.notEqual(takeChunk(RUN_CHUNK_BYTES + 1), own);
  });
});
