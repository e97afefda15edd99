/** What a walk over stored retained messages hands out is what is retained when it is handed out. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SimulatedFiles } from '../../test/support/simulated-files.js';
import { silentLogger } from '../base/index.js';
import { Message } from '../protocol/index.js';
import { Store } from '../storage/index.js';
import { PAUSE } from './retained-store.js';
import { StoredRetained } from './stored-retained.js';

async function open() {
  const store = await Store.open({
    mode: 'buffered',
    folder: 'data',
    files: new SimulatedFiles(),
    log: silentLogger,
    inline: true,
  });
  const clock = { now: 1_000_000 };
  const retained = new StoredRetained(store, { messagesMax: 1000, bytesMax: 1_000_000 }, () => clock.now);
  const retain = (topicName: string, payload: string, seconds?: number): boolean => {
    const properties = seconds === undefined ? undefined : { messageExpiryInterval: seconds };
    const message = Message.create({ topicName, payload, retain: true, properties }, clock.now);
    message.handling = { priority: 16, durability: 'buffered' };
    return retained.set(message);
  };
  return { retained, retain, clock };
}

function rest(walk: Iterable<Message | typeof PAUSE>): string[] {
  return [...walk].filter((each) => each !== PAUSE).map(({ topicName, payload }) => `${topicName}=${payload}`);
}

describe('a walk over stored retained messages', () => {
  it('hands out none that was replaced, removed or has expired since it began', async () => {
    const { retained, retain, clock } = await open();
    retain('a/1', 'one');
    retain('a/2', 'two');
    retain('a/3', 'three');
    retain('a/4', 'four', 10);
    retain('a/5', 'five');
    const walk = retained.match('a/#');
    assert.equal((walk.next().value as Message).topicName, 'a/1');
    retain('a/2', 'newer');
    retain('a/3', '');
    clock.now += 11_000;
    assert.deepEqual(rest(walk), ['a/2=newer', 'a/5=five']);
  });
});
