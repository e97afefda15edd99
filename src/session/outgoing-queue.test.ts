/** Goal: first in, first out, within both limits; above them what the policy says. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type QueueOverflow, queueOverflowPolicies } from '../base/index.js';
import { Random } from '../base/random.fuzz.js';
import { Message, type QoS } from '../protocol/index.js';
import { Outgoing } from './outgoing.js';
import { OutgoingQueue } from './outgoing-queue.js';

/** `1x` is a QoS 1 message with that payload; every one takes 10 bytes of topic name besides. */
const item = (text: string, bytes = 2) => {
  const payload = text.padEnd(bytes, '.');
  const message = Message.create({ topicName: 'ten/bytes/', payload }, 0);
  return new Outgoing(message, Number(text[0]) as QoS, false, undefined, undefined);
};

const push = (queue: OutgoingQueue, next: Outgoing, messagesMax: number, bytesMax: number, overflow: QueueOverflow) =>
  queue.push(next, next.message!, true, messagesMax, bytesMax, overflow);

function fill(overflow: QueueOverflow, texts: readonly string[], messagesMax = 3, bytesMax = 1000) {
  const queue = new OutgoingQueue(undefined);
  const answers = texts.map((text) => push(queue, item(text), messagesMax, bytesMax, overflow));
  return { queue, answers, left: () => drain(queue) };
}

function drain(queue: OutgoingQueue): string[] {
  const out: string[] = [];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) out.push(next.message!.payload.toString());
  return out;
}

describe('a queue', () => {
  it('drops the oldest', () => {
    const { answers, left } = fill('dropOldest', ['1a', '0b', '2c', '1d', '0e']);
    assert.deepEqual(
      [answers, left()],
      [
        [0, 0, 0, 1, 1],
        ['2c', '1d', '0e'],
      ],
    );
  });

  it('drops the newest', () => {
    const { answers, left } = fill('dropNewest', ['1a', '0b', '2c', '1d', '0e']);
    assert.deepEqual(
      [answers, left()],
      [
        [0, 0, 0, 1, 1],
        ['1a', '0b', '2c'],
      ],
    );
  });

  it('drops QoS 0 first, the oldest of them, then the oldest; a QoS 0 message never drives out another QoS', () => {
    const first = fill('dropQos0First', ['1a', '0b', '0c', '1d', '2e', '1f']);
    assert.deepEqual(
      [first.answers, first.left()],
      [
        [0, 0, 0, 1, 1, 1],
        ['1d', '2e', '1f'],
      ],
    );
    const second = fill('dropQos0First', ['1a', '1b', '1c', '0d']);
    assert.deepEqual(
      [second.answers, second.left()],
      [
        [0, 0, 0, 1],
        ['1a', '1b', '1c'],
      ],
    );
  });

  it('refuses', () => {
    const { answers, left } = fill('refuse', ['1a', '0b', '2c', '1d']);
    assert.deepEqual(
      [answers, left()],
      [
        [0, 0, 0, -1],
        ['1a', '0b', '2c'],
      ],
    );
  });

  it('drops as many as the bytes of the new one ask for', () => {
    const queue = new OutgoingQueue(undefined);
    for (const text of ['1a', '1b', '1c']) push(queue, item(text), 100, 40, 'dropOldest');
    assert.equal(queue.bytes, 36);
    assert.equal(push(queue, item('1d', 15), 100, 40, 'dropOldest'), 2);
    assert.equal(queue.bytes, 37);
    assert.deepEqual(
      drain(queue).map((text) => text.slice(0, 2)),
      ['1c', '1d'],
    );
  });

  for (const overflow of queueOverflowPolicies)
    it(`takes none that is larger than all it may hold (${overflow})`, () => {
      const queue = new OutgoingQueue(undefined);
      assert.equal(push(queue, item('1a', 31), 3, 40, overflow), overflow === 'refuse' ? -1 : 1);
      assert.deepEqual([queue.length, queue.bytes], [0, 0]);
    });

  it('keeps order and count through any mixture of calls', () => {
    for (const overflow of queueOverflowPolicies) {
      const random = new Random(overflow.length);
      const queue = new OutgoingQueue(undefined);
      let model: Outgoing[] = [];
      for (let step = 0; step < 20_000; step++) {
        if (random.oneIn(2)) {
          const next = item(`${random.below(3)}${step}`, 10);
          const before = queue.length;
          const dropped = push(queue, next, 100, 1500, overflow);
          // Up to 75 items of 20 bytes: it is the bytes that bind.
          const overfull = before === 75;
          assert.equal(dropped, overfull ? (overflow === 'refuse' ? -1 : 1) : 0);
          if (!overfull) model.push(next);
          else if (overflow === 'dropOldest') model = [...model.slice(1), next];
          else if (overflow === 'dropQos0First') {
            const zero = model.findIndex(({ qos }) => qos === 0);
            if (zero >= 0) model.splice(zero, 1);
            else if (next.qos > 0) model.shift();
            if (zero >= 0 || next.qos > 0) model.push(next);
          }
        } else if (random.oneIn(50)) {
          const taken = queue.extract(({ qos }) => qos === 1);
          assert.deepEqual(
            taken,
            model.filter(({ qos }) => qos === 1),
          );
          model = model.filter(({ qos }) => qos !== 1);
        } else if (random.oneIn(9)) {
          const zeros = model.filter(({ qos }) => qos === 0);
          // They come to the front together.
          if (zeros.length > 0 && model[0]!.qos !== 0) model = [...zeros, ...model.filter(({ qos }) => qos !== 0)];
          assert.equal(queue.holdsQos0, zeros.length > 0);
          assert.equal(queue.shiftQos0(), zeros[0] === undefined ? undefined : model.shift());
        } else if (random.oneIn(3)) assert.equal(queue.shift(), model.shift());
        assert.equal(queue.peek(), model[0]);
        assert.equal(queue.length, model.length);
        assert.equal(queue.bytes, model.length * 20);
      }
    }
  });
});
