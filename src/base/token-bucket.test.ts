import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { TokenBucket } from './token-bucket.js';

describe('TokenBucket', () => {
  it('allows a burst, then the rate, and saves up to a burst again', () => {
    const bucket = new TokenBucket(10, 20, 0);
    bucket.spend(20, 0);
    assert.equal(bucket.ready(0), false);
    assert.equal(bucket.ready(100), true);
    bucket.spend(1, 100);
    assert.equal(bucket.isFull(1000), false);
    assert.equal(bucket.isFull(60_000), true);
    bucket.spend(20, 60_000);
    assert.equal(bucket.ready(60_000), false);
  });

  it('gives no part of a token away', () => {
    const bucket = new TokenBucket(1, 1, 0);
    bucket.spend(1, 0);
    assert.equal(bucket.ready(999), false);
    assert.equal(bucket.ready(1000), true);
  });

  it('lets whoever overdrew wait until it is even', () => {
    const bucket = new TokenBucket(100, 10, 0);
    bucket.spend(60, 0);
    const wait = bucket.waitMs(0);
    assert.equal(wait, 510);
    assert.equal(bucket.waitMs(wait), 0);
  });

  it('bears a clock that is set back', () => {
    const bucket = new TokenBucket(10, 10, 1_000_000);
    bucket.spend(10, 1_000_000);
    assert.equal(bucket.ready(500_000), false);
    assert.equal(bucket.ready(500_200), true);
  });
});
