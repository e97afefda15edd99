import assert from 'node:assert/strict';
import { it } from 'node:test';
import { RefusalLines } from './refusal-lines.js';

it('a client that is refused again and again has some lines in each window, and what was left out is told', () => {
  const lines = new RefusalLines();
  const logged = (count: number, nowMs: number) =>
    Array.from({ length: count }, () => lines.take(nowMs)).filter((notLogged) => notLogged !== undefined);
  assert.deepEqual(logged(1000, 5000), Array(20).fill(0));
  assert.deepEqual(logged(10, 14_999), []);
  assert.deepEqual(logged(3, 15_000), [990, 0, 0]);
  assert.deepEqual(logged(1, 1000), [0], 'a clock that was set back starts a window');
});
