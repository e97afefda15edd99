/** A bridge that goes on under another client identifier, or with fewer connections: what waits goes with it. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { at, type BridgeInput, Brokers, freePort, reaches, statusOf, Watch, within } from '../support/bridge-scene.js';
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

  it('leaves no session at a remote that it does not come back to', async () => {
    const [remote, other] = [await brokers.start(), await brokers.start()];
    const bridge = (more: Partial<BridgeInput>): BridgeInput => ({
      name: 'b',
      remotes: at(remote),
      clientId: 'one',
      topics: [
        { topic: 'i/#', direction: 'in', qos: 1 },
        { topic: 'j/#', direction: 'in', qos: 1 },
      ],
      ...more,
    });
    const local = await brokers.start({ bridges: [bridge({ connections: 2 })] });
    const sessions = async (count: number, then: () => void) => {
      await reaches(local, 'b', 'connected');
      const gone: string[] = [];
      let wake = () => {};
      const stop = remote.on('clientDisconnected', ({ client }) => {
        gone.push(client.clientId);
        wake();
      });
      then();
      await within(
        new Promise<void>((resolve) => {
          wake = () => gone.length === count && resolve();
        }),
        () => `the end of ${count} connections, after ${gone}`,
      );
      stop();
      await reaches(local, 'b', 'connected');
      return remote.status().sessions;
    };
    assert.equal(await sessions(2, () => local.changeBridge('b', bridge({}))), 1, 'fewer connections');
    assert.equal(await sessions(1, () => local.changeBridge('b', bridge({ clientId: 'two' }))), 1, 'another name');
    const moved = bridge({ clientId: 'two', remotes: at(other) });
    assert.equal(await sessions(1, () => local.changeBridge('b', moved)), 0, 'another remote');
  });
});
