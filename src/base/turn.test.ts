import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as immediate } from 'node:timers/promises';
import { Turn } from './turn.js';

describe('a turn', () => {
  it('flushes in order after the input of the turn, each as often as it asked', async () => {
    const turn = new Turn();
    const flushed: string[] = [];
    for (const name of ['a', 'b', 'c']) turn.add({ flush: () => flushed.push(name) });
    await Promise.resolve();
    assert.deepEqual(flushed, []);
    await immediate();
    assert.deepEqual(flushed, ['a', 'b', 'c']);
    await immediate();
    assert.deepEqual(flushed, ['a', 'b', 'c']);
  });

  it('flushes in the next turn what asks while flushing', async () => {
    const turn = new Turn();
    const flushed: number[] = [];
    const again = { flush: () => flushed.push(flushed.length) < 3 && turn.add(again) };
    turn.add(again);
    turn.run();
    assert.deepEqual(flushed, [0]);
    turn.run();
    assert.deepEqual(flushed, [0, 1]);
    for (let turns = 0; turns < 4; turns++) await immediate();
    assert.deepEqual(flushed, [0, 1, 2]);
  });

  it('has nothing left to do when it was run by hand', async () => {
    const turn = new Turn();
    let flushed = 0;
    turn.add({ flush: () => flushed++ });
    turn.run();
    await immediate();
    assert.equal(flushed, 1);
  });
});
