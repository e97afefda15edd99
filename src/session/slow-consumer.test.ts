/** Goal: a client is slow when messages wait for it, connected, for so long without a break, and at no other time. */
import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { SessionBench, subscribed } from './fake-link.fuzz.js';

describe('a slow consumer', () => {
  let bench: SessionBench;
  beforeEach(() => {
    bench = new SessionBench();
    bench.slowSeconds = 30;
  });

  function stuck() {
    const { session, link } = bench.open('c', { receiveMaximum: 1 });
    session.subscribe(subscribed('#', 1));
    bench.publish('sent');
    bench.publish('waits');
    return { session, link };
  }

  it('is noticed though nothing more comes for it, and again after as long', () => {
    stuck();
    bench.pass(29);
    assert.deepEqual(bench.slow, []);
    bench.pass(2);
    assert.deepEqual(bench.slow, ['c']);
    bench.pass(31);
    assert.deepEqual(bench.slow, ['c', 'c']);
  });

  it('is none once it has caught up', () => {
    const { session } = stuck();
    bench.pass(20);
    session.puback(1);
    bench.publish('waits again');
    bench.pass(20);
    assert.deepEqual(bench.slow, []);
    bench.pass(11);
    assert.deepEqual(bench.slow, ['c']);
  });

  it('is none for the time that it was away', () => {
    const { session, link } = stuck();
    bench.pass(20);
    bench.registry.close(session, link, false);
    bench.pass(60);
    bench.open('c', { receiveMaximum: 1 });
    bench.publish('more');
    bench.pass(25);
    assert.deepEqual(bench.slow, []);
    bench.pass(6);
    assert.deepEqual(bench.slow, ['c']);
  });

  it('is none while what waits for it waits for its rate', () => {
    const { session, link } = bench.open('c');
    session.subscribe(subscribed('#', 1));
    link.hasRoom = false;
    link.limited = true;
    bench.publish('waits');
    bench.pass(100);
    assert.deepEqual(bench.slow, []);
  });

  it('is noticed after the time of now', () => {
    stuck();
    bench.pass(3);
    bench.slowSeconds = 8;
    bench.pass(8);
    assert.deepEqual(bench.slow, ['c']);
    bench.slowSeconds = 0;
    bench.pass(100);
    assert.deepEqual(bench.slow, ['c']);
  });
});
