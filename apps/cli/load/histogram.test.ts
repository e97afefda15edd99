import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Histogram } from './histogram.js';

test('an empty histogram reads zero', () => {
  assert.deepEqual(new Histogram().summary(), { count: 0, p50: 0, p99: 0, p999: 0, max: 0 });
});

test('one value is every quantile, within 0.8 %, from one nanosecond to half an hour', () => {
  for (let value = 1; value < 2e12; value = Math.ceil(value * 1.37)) {
    const histogram = new Histogram();
    histogram.record(value);
    for (const share of [0, 0.5, 0.999, 1]) {
      const read = histogram.quantile(share);
      assert.ok(Math.abs(read - value) <= value / 128, `${value} read as ${read}`);
    }
    assert.equal(histogram.max, value);
  }
});

test('bigger values never read smaller', () => {
  let before = 0;
  for (let value = 1; value < 2e12; value = Math.ceil(value * 1.01)) {
    const histogram = new Histogram();
    histogram.record(value);
    histogram.max = Number.MAX_SAFE_INTEGER;
    const read = histogram.quantile(0.5);
    assert.ok(read >= before, `${value} read as ${read} after ${before}`);
    before = read;
  }
});

test('quantiles of a known spread', () => {
  const histogram = new Histogram();
  for (let value = 1; value <= 10_000; value++) histogram.record(value * 1000);
  for (const [share, expected] of [
    [0.5, 5_000_000],
    [0.99, 9_900_000],
    [0.999, 9_990_000],
  ] as const) {
    const read = histogram.quantile(share);
    assert.ok(Math.abs(read - expected) <= expected / 100, `${share}: ${read}`);
  }
});

test('recording many at once and merging equal recording one by one', () => {
  const one = new Histogram();
  const many = new Histogram();
  const half = new Histogram();
  for (let i = 0; i < 50; i++) one.record(1234);
  for (let i = 0; i < 50; i++) one.record(99_000);
  many.record(1234, 50);
  half.record(99_000, 50);
  many.merge(half);
  assert.deepEqual(many.summary(), one.summary());
  assert.deepEqual(many.counts, one.counts);
});

test('a clock that went backwards and a value beyond the range are counted, not lost', () => {
  const histogram = new Histogram();
  histogram.record(-5);
  histogram.record(1e15);
  assert.equal(histogram.count, 2);
  assert.equal(histogram.max, 1e15);
  assert.equal(histogram.quantile(0), 0);
});
