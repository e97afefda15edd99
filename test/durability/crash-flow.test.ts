// What the crash test would say: it must not be blind.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Flow, GroupInbox, Inbox } from './crash-flow.js';

const flowOf = (sent: number) => {
  const flow = new Flow('p1/2', 'load/p1/2', 2);
  flow.sent = sent;
  return flow;
};

describe('an inbox', () => {
  test('is content with every number in order', () => {
    const inbox = new Inbox('s', flowOf(3), true);
    inbox.due = 1;
    for (const sequence of [1, 2, 3]) assert.equal(inbox.arrive(sequence), undefined);
    assert.ok(inbox.complete);
    assert.deepEqual(inbox.lost(), []);
  });

  test('misses the beginning, a gap and the end', () => {
    const inbox = new Inbox('s', flowOf(6), true);
    inbox.due = 1;
    for (const sequence of [2, 4, 5]) inbox.arrive(sequence);
    assert.ok(!inbox.complete);
    assert.deepEqual(inbox.lost(), [1, 3, 6]);
  });

  test('misses nothing that was sent before the subscription', () => {
    const inbox = new Inbox('s', flowOf(6), true);
    inbox.due = 5;
    for (const sequence of [4, 5, 6]) assert.equal(inbox.arrive(sequence), undefined);
    assert.ok(inbox.complete);
  });

  test('tells a doubled message at QoS 2, and none at QoS 1', () => {
    for (const exactlyOnce of [true, false]) {
      const inbox = new Inbox('s', flowOf(2), exactlyOnce);
      for (const sequence of [1, 2]) inbox.arrive(sequence);
      const problem = inbox.arrive(1);
      if (exactlyOnce) assert.match(problem ?? '', /^doubled: s got p1\/2 #1 .* again, at #2$/);
      else assert.equal(problem, undefined);
    }
  });

  test('tells a late message, once', () => {
    const inbox = new Inbox('s', flowOf(3), true);
    inbox.due = 1;
    for (const sequence of [1, 3]) inbox.arrive(sequence);
    assert.match(inbox.arrive(2) ?? '', /^out of order: s got p1\/2 #2 .* after #3$/);
    assert.ok(inbox.complete);
  });
});

test('a group takes any order, and misses what no member got', () => {
  const inbox = new GroupInbox('g', flowOf(4), true);
  for (const sequence of [3, 1]) assert.equal(inbox.arrive(sequence, 'm1'), undefined);
  assert.match(inbox.arrive(3, 'm2') ?? '', /^doubled: g got p1\/2 #3 .* again, now m2$/);
  assert.deepEqual(inbox.lost(), [2, 4]);
});

describe('a flow', () => {
  test('knows its own bytes, whole and unchanged', () => {
    const flow = flowOf(40);
    for (let sequence = 1; sequence <= 40; sequence++) {
      const payload = flow.payload(sequence);
      assert.equal(flow.sequenceOf(payload), sequence);
      assert.equal(flow.sequenceOf(payload.subarray(0, -1)), undefined);
      payload[payload.length - 1]! ^= 1;
      assert.equal(flow.sequenceOf(payload), undefined);
    }
    assert.equal(flow.sequenceOf(Buffer.from('p1/2 41 41.41.')), undefined);
  });

  test('says in which life of the broker a message was sent and acknowledged', () => {
    const flow = flowOf(3);
    flow.acknowledge(2);
    flow.acknowledge(1);
    flow.endOfLife();
    flow.sent = 5;
    flow.acknowledge(3);
    flow.endOfLife();
    assert.equal(flow.describe(2), 'p1/2 #2 (first sent in life 1 of the broker, acknowledged in life 1)');
    assert.equal(flow.describe(3), 'p1/2 #3 (first sent in life 1 of the broker, acknowledged in life 2)');
    assert.equal(flow.describe(5), 'p1/2 #5 (first sent in life 2 of the broker, not acknowledged)');
  });
});
