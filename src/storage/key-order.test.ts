import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../base/random.fuzz.js';
import { KeyOrder } from './key-order.js';

describe('KeyOrder', () => {
  it('gives each key once, in order, as a sorted set does', () => {
    const random = new Random(7);
    for (let round = 0; round < 40; round++) {
      const order = new KeyOrder();
      const model = new Set<string>();
      for (let step = 0; step < 200; step++) {
        // Now ascending, now anywhere.
        const key = random.oneIn(2) ? `k${1000 + step}` : `k${1000 + random.below(400)}`;
        order.add(key);
        model.add(key);
        if (!random.oneIn(8)) continue;
        const from = random.oneIn(3) ? '' : `k${1000 + random.below(400)}`;
        assert.deepEqual([...order.from(from)], [...model].filter((each) => each >= from).sort());
        if (random.oneIn(6)) {
          for (const each of model) if (random.oneIn(3)) model.delete(each);
          order.prune((each) => model.has(each));
          assert.equal(order.size, model.size);
        }
      }
    }
  });

  it('goes on where it stood while keys are added behind it', () => {
    const order = new KeyOrder();
    for (const key of ['b', 'd', 'a']) order.add(key);
    const keys = order.from('');
    assert.equal(keys.next().value, 'a');
    order.add('0');
    assert.deepEqual([...keys], ['b', 'd']);
    assert.deepEqual([...order.from('')], ['0', 'a', 'b', 'd']);
  });

  it('takes additions between two looks without sorting all again', () => {
    const order = new KeyOrder();
    const count = 50_000;
    const key = (number: number) => String(number).padStart(8, '0');
    for (let index = 0; index < count; index++) order.add(key(2 * count + index));
    let met = 0;
    // Each look is followed by keys before all that it has: with a list that is merged whole, this would take minutes.
    for (let index = 0; index < count; index += 10) {
      for (let each = index; each < index + 10; each++) order.add(key(each));
      met += order.from(key(index)).next().done ? 0 : 1;
    }
    assert.equal(met, count / 10);
    assert.equal([...order.from('')].length, 2 * count);
  });
});
