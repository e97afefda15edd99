/** Goal: what waits for the remote of a `connection` is kept, bounded and forgotten as the file says. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PacketType } from '../../src/protocol/index.js';
import { type ConfBridgeScene, sent, withBridges } from '../support/conf-bridge-scene.js';

const bridge = (...lines: string[]) => [
  'connection office',
  'address REMOTE',
  'notifications false',
  'topic m/# out 1',
  'restart_timeout 1',
  ...lines,
];

/** Publishes while the bridge is not connected, after it has been; returns the connection that comes then. */
async function publishedMeanwhile(scene: ConfBridgeScene, publish: () => Promise<void>) {
  const first = await scene.accepted();
  await scene.reaches('office', 'connected');
  first.drop();
  await scene.reaches('office', 'waiting');
  await publish();
  const connection = await scene.accepted(scene.remote, true);
  await scene.reaches('office', 'connected');
  await scene.publish('m/end', '');
  return connection;
}

const END = 'm/end  1';

describe('what waits for the remote of a bridge of mosquitto.conf', { concurrency: true }, () => {
  for (const [lines, kept] of [
    [[], true],
    [['local_cleansession false'], true],
    [['local_cleansession true'], false],
    [['cleansession true'], false],
    [['cleansession true', 'local_cleansession false'], true],
    [['cleansession false', 'local_cleansession true'], false],
  ] as const)
    it(`${lines.join(', ') || 'without cleansession'}: ${kept ? 'kept' : 'forgotten'}`, () =>
      withBridges(bridge(...lines), async (scene) => {
        const connection = await publishedMeanwhile(scene, () => scene.publish('m/a', 'meanwhile'));
        if (kept) assert.equal(await sent(connection), 'm/a meanwhile 1');
        assert.equal(await sent(connection), END);
      }));

  it('max_queued_messages', () =>
    withBridges(
      bridge(),
      async (scene) => {
        const connection = await publishedMeanwhile(scene, async () => {
          for (let count = 0; count < 6; count++) await scene.publish('m/a', `${count}`);
        });
        for (const count of [0, 1, 2]) assert.equal(await sent(connection), `m/a ${count} 1`);
        assert.equal(await sent(connection), END);
      },
      { global: ['max_queued_messages 3'] },
    ));

  it('max_queued_bytes', () =>
    withBridges(
      bridge(),
      async (scene) => {
        const connection = await publishedMeanwhile(scene, async () => {
          for (let count = 0; count < 6; count++) await scene.publish('m/a', `${count}`.repeat(800));
        });
        for (const count of [0, 1]) assert.equal(await sent(connection), `m/a ${`${count}`.repeat(800)} 1`);
        assert.equal(await sent(connection), END);
      },
      { global: ['max_queued_bytes 2000'] },
    ));

  for (const waits of [true, false])
    it(`queue_qos0_messages ${waits}`, () =>
      withBridges(
        bridge(),
        async (scene) => {
          const connection = await publishedMeanwhile(scene, () => scene.publish('m/a', 'meanwhile', 0));
          if (waits) assert.equal(await sent(connection), 'm/a meanwhile 0');
          assert.equal(await sent(connection), END);
        },
        { global: [`queue_qos0_messages ${waits}`] },
      ));

  it('max_inflight_messages', () =>
    withBridges(
      bridge(),
      async (scene) => {
        const connection = await scene.accepted();
        await scene.reaches('office', 'connected');
        for (let count = 0; count < 4; count++) await scene.publish('m/a', `${count}`);
        const open = [await connection.packet(PacketType.Publish), await connection.packet(PacketType.Publish)];
        const { inflightMessages, queuedMessages } = scene.local.broker.bridges()[0]!;
        assert.deepEqual([inflightMessages, queuedMessages], [2, 2]);
        for (const { packetId } of open)
          connection.send({ type: PacketType.Puback, packetId: packetId!, reasonCode: 0 });
        assert.equal(await sent(connection), 'm/a 2 1');
        assert.equal(await sent(connection), 'm/a 3 1');
      },
      { global: ['max_inflight_messages 2'] },
    ));

  it('outlives the broker with persistence true', () =>
    withBridges(
      bridge(),
      async (scene) => {
        await (await scene.remote.connection()).accept(false, 5);
        await scene.publish('m/a', 'kept');
        await scene.local.restart();
        const connection = await scene.accepted();
        assert.equal(await sent(connection), 'm/a kept 1');
      },
      { global: ['persistence true', 'persistence_location DIR'] },
    ));
});
