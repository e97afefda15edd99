/** What a bridge leaves on the disk, and what becomes of it at the next start. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { createBroker } from '../../src/index.js';
import { at, type BridgeInput, Brokers, freePort, reaches, statusOf, Watch, within } from '../support/bridge-scene.js';

describe('a bridge with storage', () => {
  let brokers: Brokers;
  let folder: string;
  beforeEach(() => {
    brokers = new Brokers();
    folder = mkdtempSync(join(tmpdir(), 'dunlin-bridge-storage-'));
  });
  afterEach(async () => {
    await brokers.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const start = (bridges: BridgeInput[], mode: 'buffered' | 'memory' = 'buffered') =>
    brokers.start({ storage: { mode, path: folder }, bridges });
  const bridge = (port: number, more: Partial<BridgeInput> = {}): BridgeInput => ({
    name: 'b',
    remotes: [{ host: '127.0.0.1', port }],
    topics: [{ topic: 'm/#', direction: 'out', qos: 2, remotePrefix: 'up/' }],
    ...more,
  });

  it('sends after a restart what had waited, the urgent first', async () => {
    const port = await freePort();
    const priorities = [{ filter: 'm/alarm', priority: 40 }];
    const config = { storage: { mode: 'buffered' as const, path: folder }, priorities, bridges: [bridge(port)] };
    const first = await brokers.start(config);
    for (let count = 0; count < 300; count++) first.publish('m/a', `${count}`, { qos: (1 + (count % 2)) as 1 | 2 });
    first.publish('m/alarm', 'urgent', { qos: 1 });
    await first.stop();
    const remote = await brokers.start({ listeners: [{ name: 'test', port }] });
    const there = new Watch(remote, 'up/#');
    const second = await brokers.start(config);
    const seen = await there.take(301);
    assert.equal(seen[0]!.payload, 'urgent');
    assert.deepEqual(
      seen.slice(1).map(({ payload }) => Number(payload)),
      Array.from({ length: 300 }, (_, count) => count),
    );
    await reaches(second, 'b', 'connected');
  });

  it('ends at the remote what rows asked for that are gone after a restart', async () => {
    const remote = await brokers.start();
    const rows = (...topics: string[]) => ({
      remotes: at(remote),
      topics: topics.map((topic) => ({ topic, direction: 'in' as const, qos: 1 })),
    });
    const first = await start([bridge(1, rows('stays', 'goes'))]);
    await reaches(first, 'b', 'connected');
    const here = new Watch(first, 'stays', 'goes');
    remote.publish('goes', 'x', { qos: 1, retain: true });
    await here.topic('goes');
    await first.stop();
    const unsubscribed = new Promise<string>((resolve) => {
      remote.on('unsubscribed', ({ topicFilter }) => resolve(topicFilter));
    });
    await start([bridge(1, rows('stays'))]);
    assert.equal(await within(unsubscribed, () => 'UNSUBSCRIBE'), 'goes');
  });

  it('begins with the broker when it was added before', async () => {
    const remote = await brokers.start();
    const local = createBroker({
      config: { listeners: [], sys: { intervalSeconds: 0 }, storage: { mode: 'buffered', path: folder } },
    });
    local.addBridge(bridge(1, { remotes: at(remote) }));
    await local.start();
    try {
      await reaches(local, 'b', 'connected');
    } finally {
      await local.stop();
    }
  });

  it('keeps nothing that its own durability leaves in memory', async () => {
    const port = await freePort();
    const first = await start([bridge(port, { durability: 'memory' })]);
    first.publish('m/a', 'x', { qos: 1 });
    assert.equal(statusOf(first, 'b').queuedMessages, 1);
    await first.stop();
    const second = await start([bridge(port)]);
    assert.equal(statusOf(second, 'b').queuedMessages, 0);
  });

  it('leaves no session behind when it is no more', async () => {
    const port = await freePort();
    const first = await start([bridge(port)]);
    first.publish('m/a', 'x', { qos: 1 });
    assert.equal(first.status().sessions, 1);
    await first.stop();
    const second = await start([]);
    assert.equal(second.status().sessions, 0);
    second.addBridge(bridge(port));
    assert.equal(statusOf(second, 'b').queuedMessages, 0);
  });

  it('forgets with the connection where both sides are to', async () => {
    const remote = await brokers.start();
    const local = await start([bridge(at(remote)[0]!.port, { cleanSession: true, localCleanSession: true })]);
    await reaches(local, 'b', 'connected');
    const there = new Watch(remote, 'up/#');
    local.publish('m/a', '1', { qos: 2 });
    await there.next();
    remote.disconnect('b');
    await reaches(local, 'b', 'waiting');
    assert.equal(remote.status().sessions, 0);
    local.publish('m/a', 'nobody keeps it', { qos: 2 });
    assert.equal(statusOf(local, 'b').messagesDropped, 1);
    await reaches(local, 'b', 'connected');
    local.publish('m/a', '2', { qos: 2 });
    assert.equal((await there.next()).payload, '2');
  });
});
