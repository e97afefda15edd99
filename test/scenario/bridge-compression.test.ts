/** Compression of a bridge between two Dunlins: agreed on by both, or not there at all. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { at, Brokers, reaches, statusOf, Watch, within } from '../support/bridge-scene.js';

describe('compression of a bridge', () => {
  let brokers: Brokers;
  beforeEach(() => {
    brokers = new Brokers();
  });
  afterEach(() => brokers.stop());

  async function pair(allowed: boolean, compression: boolean) {
    const remote = await brokers.start({ protocol: { compression: allowed } });
    const topics = [
      { topic: 'out/#', direction: 'out' as const, qos: 2 },
      { topic: 'in/#', direction: 'in' as const, qos: 2 },
    ];
    const subscribed = new Promise<void>((resolve) => {
      remote.on('subscribed', ({ topicFilter }) => topicFilter === 'in/#' && resolve());
    });
    const local = await brokers.start({ bridges: [{ name: 'b', remotes: at(remote), compression, topics }] });
    await reaches(local, 'b', 'connected');
    await subscribed;
    return { remote, local };
  }

  it('makes less of much of the same, and loses nothing either way', async () => {
    const { remote, local } = await pair(true, true);
    assert.equal(statusOf(local, 'b').connections[0]!.compressed, true);
    const there = new Watch(remote, 'out/#');
    const here = new Watch(local, 'in/#');
    const payload = '{"temperature":21.5,"unit":"C"}'.repeat(20);
    for (let count = 0; count < 600; count++) {
      const qos = (count % 3) as 0 | 1 | 2;
      local.publish(`out/${count % 7}`, `${count} ${payload}`, { qos });
      remote.publish(`in/${count % 7}`, `${count} ${payload}`, { qos });
    }
    for (const seen of [await there.take(600), await here.take(600)]) {
      const numbers = seen.map((message) => Number(message.payload.split(' ')[0])).sort((a, b) => a - b);
      assert.deepEqual(
        numbers,
        Array.from({ length: 600 }, (_, count) => count),
      );
    }
    const { wireBytesSent, wireBytesReceived } = statusOf(local, 'b').connections[0]!;
    const plain = 600 * payload.length;
    assert.ok(wireBytesSent * 5 < plain, `${wireBytesSent} of ${plain}`);
    assert.ok(wireBytesReceived * 5 < plain, `${wireBytesReceived} of ${plain}`);
  });

  it('carries large messages that do not shrink', async () => {
    const { remote, local } = await pair(true, true);
    const there = new Watch(remote, 'out/#');
    const payload = randomBytes(400_000).toString('base64');
    for (let count = 0; count < 8; count++) local.publish('out/large', `${count}${payload}`, { qos: 1 });
    for (let count = 0; count < 8; count++) assert.equal((await there.next()).payload, `${count}${payload}`);
  });

  it('sends what was published just before its end', async () => {
    const { remote, local } = await pair(true, true);
    const there = new Watch(remote, 'out/#');
    const payload = randomBytes(600_000).toString('base64');
    const goodbye = new Promise<number | undefined>((resolve) => {
      remote.on('clientDisconnected', ({ reasonCode }) => resolve(reasonCode));
    });
    local.publish('out/large', payload);
    // The turn ends, and with it the write begins.
    await new Promise((resolve) => setImmediate(resolve));
    local.removeBridge('b');
    assert.equal((await there.next()).payload, payload);
    assert.equal(await within(goodbye, () => 'the end'), 0);
  });

  for (const [allowed, asked] of [
    [false, true],
    [true, false],
  ] as const)
    it(`is not there when ${allowed ? 'nobody asks' : 'the remote does not allow it'}`, async () => {
      const { remote, local } = await pair(allowed, asked);
      assert.equal(statusOf(local, 'b').connections[0]!.compressed, false);
      const there = new Watch(remote, 'out/#');
      local.publish('out/a', 'x', { qos: 2 });
      assert.equal((await there.next()).payload, 'x');
    });
});
