import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Flows } from './flows.js';

function feed(sequences: number[]): { steps: number[]; duplicates: number; outOfOrder: number } {
  const flows = new Flows(2);
  const steps = sequences.map((sequence) => flows.see(1, sequence));
  return { steps, duplicates: flows.duplicates, outOfOrder: flows.outOfOrder };
}

test('in order: every step is one', () => {
  assert.deepEqual(feed([1, 2, 3]), { steps: [1, 1, 1], duplicates: 0, outOfOrder: 0 });
});

test('a gap steps over what is missing', () => {
  assert.deepEqual(feed([1, 5, 6]), { steps: [1, 4, 1], duplicates: 0, outOfOrder: 0 });
});

test('a late one is out of order once, then a duplicate', () => {
  assert.deepEqual(feed([1, 3, 2, 2]), { steps: [1, 2, 0, 0], duplicates: 1, outOfOrder: 1 });
});

test('the same one twice is a duplicate', () => {
  assert.deepEqual(feed([1, 1, 2, 1]), { steps: [1, 0, 1, 0], duplicates: 2, outOfOrder: 0 });
});

test('the window is 32 wide', () => {
  assert.deepEqual(feed([40, 9]), { steps: [40, 0], duplicates: 0, outOfOrder: 1 });
  assert.deepEqual(feed([40, 8]), { steps: [40, 0], duplicates: 1, outOfOrder: 0 });
});

test('flows do not disturb each other', () => {
  const flows = new Flows(2);
  assert.equal(flows.see(0, 1), 1);
  assert.equal(flows.see(1, 1), 1);
  assert.equal(flows.see(0, 2), 1);
  assert.equal(flows.duplicates, 0);
});
