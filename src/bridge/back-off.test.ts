import assert from 'node:assert/strict';
import { it } from 'node:test';
import { BackOff } from './back-off.js';

it('waits twice as long each time, up to the maximum, and begins anew after a success', () => {
  const backOff = new BackOff(1000, 10_000, () => 1);
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6].map(() => backOff.next()),
    [1000, 2000, 4000, 8000, 10_000, 10_000],
  );
  for (let attempt = 0; attempt < 100; attempt++) assert.ok(backOff.next() <= 10_000);
  backOff.reset();
  assert.equal(backOff.next(), 1000);
});

it('leaves a random part out, but never waits less than the minimum', () => {
  const least = new BackOff(1000, 60_000, () => 0);
  assert.deepEqual(
    [1, 2, 3, 4].map(() => least.next()),
    [1000, 1000, 2000, 4000],
  );
  const seen = new Set<number>();
  for (let bridge = 0; bridge < 20; bridge++) {
    const backOff = new BackOff(1000, 60_000);
    for (let attempt = 0; attempt < 5; attempt++) backOff.next();
    seen.add(backOff.next());
  }
  assert.ok(seen.size > 10, 'many bridges spread their attempts');
});
