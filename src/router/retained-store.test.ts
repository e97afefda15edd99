/** Goal: one message per topic name, within the limits, found as `topicMatches` says, gone when it expires. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { TimerWheel } from '../base/index.js';
import { Random } from '../base/random.fuzz.js';
import { Message, topicMatches } from '../protocol/index.js';
import { RetainedStore } from './retained-store.js';
import { randomTopicFilter, randomTopicName } from './topics.fuzz.js';

function store(limits: { messagesMax?: number; bytesMax?: number } = {}) {
  const clock = { now: 0, nowMs: () => clock.now };
  const wheel = new TimerWheel(clock);
  const retained = new RetainedStore({ messagesMax: 100_000, bytesMax: 1e6, ...limits }, wheel, clock.nowMs);
  const set = (topicName: string, payload: string, seconds?: number) => {
    const properties = seconds === undefined ? undefined : { messageExpiryInterval: seconds };
    return retained.set(Message.create({ topicName, payload, retain: true, properties }, clock.now));
  };
  const payloads = (topicFilter: string) => [...retained.match(topicFilter)].map(({ payload }) => payload.toString());
  const root = (retained as unknown as { root: { children: unknown } }).root;
  return { clock, wheel, retained, set, payloads, root };
}

describe('the retained store', () => {
  it('matches as topicMatches does while messages come, are replaced and go', () => {
    const random = new Random(7);
    const { retained, set, root } = store();
    const model = new Map<string, string>();
    for (let step = 0; step < 20_000; step++) {
      const topicName = randomTopicName(random);
      if (random.oneIn(3)) {
        assert.equal(set(topicName, ''), true); // [MQTT-3.3.1-6]
        model.delete(topicName);
      } else if (random.oneIn(4)) assert.equal(retained.delete(topicName), model.delete(topicName));
      else {
        set(topicName, String(step));
        model.set(topicName, String(step));
      }
      assert.equal(retained.size, model.size);
      assert.equal(retained.get(topicName)?.payload.toString(), model.get(topicName));
      if (step % 5 !== 0) continue;
      const topicFilter = randomTopicFilter(random);
      assert.deepEqual(
        [...retained.match(topicFilter)].map((message) => message.topicName).sort(),
        [...model.keys()].filter((name) => topicMatches(topicFilter, name)).sort(),
        topicFilter,
      );
    }
    for (const name of model.keys()) retained.delete(name);
    assert.deepEqual([retained.size, retained.bytes, root.children], [0, 0, undefined]);
  });

  it('refuses a new message above either limit and takes a replacement that fits', () => {
    const few = store({ messagesMax: 2 });
    assert.deepEqual(
      ['a', 'b', 'c', 'a'].map((topicName) => few.set(topicName, 'x')),
      [true, true, false, true],
    );
    assert.equal(few.set('a', ''), true);
    assert.equal(few.set('c', 'x'), true);

    const small = store({ bytesMax: 20 });
    assert.equal(small.set('a', 'x'.repeat(10)), true);
    assert.equal(small.set('b', 'x'.repeat(9)), false);
    assert.equal(small.set('a', 'x'.repeat(20)), false);
    assert.equal(small.retained.get('a')?.payload.length, 10, 'a replacement that does not fit leaves the old one');
    assert.equal(small.set('a', 'x'.repeat(19)), true);
    assert.equal(small.retained.bytes, 20);
    assert.deepEqual(small.payloads('b'), []);
  });

  it('counts what the broker says of itself, and refuses nothing because of it', () => {
    const { set, retained } = store({ messagesMax: 1, bytesMax: 40 });
    for (const name of ['uptime', 'version', 'load']) assert.equal(set(`$SYS/broker/${name}`, 'x'.repeat(30)), true);
    assert.equal(set('a', '1'), true);
    assert.equal(set('b', '2'), false);
    assert.equal(set('$SYS/broker/uptime', 'y'), true);
    assert.equal(retained.size, 4);
    retained.delete('$SYS/broker/version');
    set('a', '');
    assert.equal(set('b', '2'), true);
    assert.equal(set('c', '3'), false);
    assert.equal(retained.size, 3);
  });

  it('hands out no expired message, and forgets it by itself', () => {
    const { clock, wheel, retained, set, payloads, root } = store();
    set('a/b', 'x', 10);
    clock.now = 9_999;
    wheel.advance();
    assert.deepEqual([payloads('#'), payloads('a/b')], [['x'], ['x']]);
    clock.now = 10_000; // not fired yet
    assert.deepEqual([payloads('#'), payloads('a/b'), payloads('a/+')], [[], [], []]);
    clock.now = 10_500;
    wheel.advance();
    assert.deepEqual([retained.size, retained.bytes, root.children, wheel.size], [0, 0, undefined, 0]);
  });

  it('goes by the expiry of the message that replaced another', () => {
    const { clock, wheel, retained, set } = store();
    set('a', 'short', 10);
    set('a', 'long', 100);
    clock.now = 50_000;
    wheel.advance();
    assert.equal(retained.get('a')?.payload.toString(), 'long');
    set('a', 'for ever');
    assert.equal(wheel.size, 0);
    set('a', 'x', 1);
    set('a', '');
    assert.equal(wheel.size, 0);
  });

  it('keeps bytes of its own of a message whose chunk is used again', () => {
    const { retained } = store();
    const message = Message.create({ topicName: 'a', payload: 'kept', retain: true }, 0);
    retained.set(message);
    message.body.fill(0x21, message.topicStart, message.bodyEnd);
    assert.equal(retained.get('a')?.payload.toString(), 'kept');
  });

  it('survives changes while a reader pauses', () => {
    const { retained, set } = store();
    for (const name of ['a/1', 'a/2', 'a/3']) set(name, name);
    const reader = retained.match('a/#');
    const first = reader.next().value as Message;
    for (const name of ['a/1', 'a/2', 'a/3']) retained.delete(name);
    set('a/9', 'later');
    const rest = [...reader].map(({ topicName }) => topicName);
    assert.equal(first.topicName, 'a/1');
    assert.ok(!rest.includes('a/2') && !rest.includes('a/3'));
    assert.deepEqual(
      [...retained.match('a/#')].map(({ topicName }) => topicName),
      ['a/9'],
    );
  });
});
