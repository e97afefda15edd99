/** When delayed messages go out, and that none is lost. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SimulatedFiles } from '../../test/support/simulated-files.js';
import { type Clock, silentLogger, TimerWheel } from '../base/index.js';
import { Message } from '../protocol/index.js';
import { Store } from '../storage/index.js';
import { DelayedMessages } from './delayed-messages.js';

async function open(mode: 'memory' | 'buffered') {
  const store = await Store.open({
    mode,
    folder: 'data',
    files: new SimulatedFiles(),
    log: silentLogger,
    inline: true,
  });
  let now = 1_000_000;
  const clock: Clock = { nowMs: () => now };
  const wheel = new TimerWheel(clock);
  const published: string[] = [];
  const delayed = new DelayedMessages(store, wheel, clock.nowMs, { delayedMessagesMax: 100 }, (message) =>
    published.push(message.payload.toString()),
  );
  delayed.start();
  const add = (payload: string, seconds: number) => {
    const message = Message.create({ topicName: 'x', payload, qos: 1, retain: true }, now);
    message.handling = { priority: 16, durability: 'buffered' };
    return delayed.add(message, { seconds, topicName: 'a' });
  };
  const pass = (seconds: number) => {
    for (const end = now + seconds * 1000; now < end; ) {
      now += 250;
      wheel.advance();
    }
  };
  return { store, delayed, published, add, pass };
}

describe('delayed messages', () => {
  it('that are due while storage cannot be written wait until it can', async () => {
    const { store, delayed, published, add, pass } = await open('buffered');
    add('soon', 2);
    add('later', 20);
    store.failed = new Error('full');
    pass(5);
    assert.deepEqual([published, delayed.size], [[], 2], 'what is retained could not be kept');
    store.failed = undefined;
    pass(5);
    assert.deepEqual([published, delayed.size], [['soon'], 1]);
    pass(20);
    assert.deepEqual([published, delayed.size], [['soon', 'later'], 0]);
  });
});
