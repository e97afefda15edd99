/** A bridge that goes on under another client identifier, or with fewer connections: what waits goes with it. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { type BridgeInput, Brokers, freePort, statusOf, Watch } from '../support/bridge-scene.js';
import { Folder } from '../support/pki.js';

const TOPICS = 8;
const MESSAGES = 20;

describe('a bridge', () => {
  let brokers: Brokers;
  let folder: Folder;
  beforeEach(() => {
    brokers = new Brokers();
    folder = new Folder();
  });
  afterEach(async () => {
    await brokers.stop();
    folder.remove();
  });

  const changes: [string, Partial<BridgeInput>, Partial<BridgeInput>][] = [
    ['fewer connections', { connections: 4 }, { connections: 2 }],
    ['another client identifier', { clientId: 'one' }, { clientId: 'two' }],
  ];
  for (const [title, before, after] of changes)
    for (const restarted of [false, true])
      it(`keeps what waits with ${title}${restarted ? ' after a restart' : ''}`, async () => {
        const port = await freePort();
        const bridge = (more: Partial<BridgeInput>): BridgeInput => ({
          name: 'b',
          remotes: [{ host: '127.0.0.1', port }],
          topics: [{ topic: 'm/#', direction: 'out', qos: 2 }],
          ...more,
        });
        const storage = { mode: 'buffered' as const, path: folder.path };
        let local = await brokers.start({ storage, bridges: [bridge(before)] });
        for (let count = 0; count < MESSAGES; count++)
          for (let topic = 0; topic < TOPICS; topic++)
            local.publish(`m/${topic}`, `${count}`, { qos: count % 2 === 0 ? 1 : 2 });
        assert.equal(statusOf(local, 'b').queuedMessages, TOPICS * MESSAGES);
        if (restarted) {
          await local.stop();
          local = await brokers.start({ storage, bridges: [bridge(after)] });
        } else local.changeBridge('b', bridge(after));
        assert.equal(statusOf(local, 'b').queuedMessages, TOPICS * MESSAGES);
        const remote = await brokers.start({ listeners: [{ name: 'test', port }] });
        const seen = await new Watch(remote, 'm/#').take(TOPICS * MESSAGES);
        for (let topic = 0; topic < TOPICS; topic++)
          assert.deepEqual(
            seen.filter(({ topicName }) => topicName === `m/${topic}`).map(({ payload }) => Number(payload)),
            Array.from({ length: MESSAGES }, (_, count) => count),
          );
      });
});
