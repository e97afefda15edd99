/** Goal: the directives of a `connection` about where it connects to, and when, decide which remote is reached, and when. */
import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { describe, it } from 'node:test';
import { PacketType } from '../../src/protocol/index.js';
import { FakeRemote } from '../support/bridge-scene.js';
import { sent, withBridges } from '../support/conf-bridge-scene.js';

const hasIPv6 = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === '::1'),
);
const bridge = (...lines: string[]) => ['connection office', 'notifications false', 'topic m/# out 1', ...lines];

describe('the remotes of a bridge of mosquitto.conf', { concurrency: true }, () => {
  it('address: one, by name or number', async () => {
    for (const host of ['127.0.0.1', 'localhost', ...(hasIPv6 ? ['::1', '[::1]'] : [])]) {
      const remote = await FakeRemote.listen(undefined, 0, host.includes(':') ? '::1' : '127.0.0.1');
      try {
        const { port } = remote.remotes[0]!;
        await withBridges(bridge(`address ${host}:${port}`), async (scene) => {
          const connection = await scene.accepted(remote);
          await scene.publish('m/a', host);
          assert.equal(await sent(connection), `m/a ${host} 1`);
        });
      } finally {
        remote.close();
      }
    }
  });

  it('addresses: the next one takes over, and the first is gone back to once it has answered CONNACK', () =>
    withBridges(
      bridge('addresses REMOTE REMOTE2 REMOTE3', 'restart_timeout 1'),
      async (scene) => {
        const [first, second, third] = scene.remotes as [FakeRemote, FakeRemote, FakeRemote];
        const { port } = first.remotes[0]!;
        const main = await scene.accepted(first);
        await scene.publish('m/a', 'main');
        assert.equal(await sent(main), 'm/a main 1');
        first.close();
        main.drop();
        const secondary = await scene.accepted(second);
        await scene.publish('m/a', 'secondary');
        assert.equal(await sent(secondary), 'm/a secondary 1');
        const again = await FakeRemote.listen(undefined, port);
        try {
          const back = await again.connection();
          await back.packet(PacketType.Connect);
          await scene.publish('m/a', 'before CONNACK');
          assert.equal(await sent(secondary), 'm/a before CONNACK 1');
          back.send({ type: PacketType.Connack, sessionPresent: false, reasonCode: 0 });
          await secondary.packet(PacketType.Disconnect);
          await scene.publish('m/a', 'home');
          assert.equal(await sent(back), 'm/a home 1');
          assert.equal(third.come, 0);
        } finally {
          again.close();
        }
      },
      { remotes: 3 },
    ));

  it('addresses: those that say no are passed over', () =>
    withBridges(
      bridge('addresses REMOTE REMOTE2 REMOTE3'),
      async (scene) => {
        for (const remote of scene.remotes.slice(0, 2)) await (await remote.connection()).accept(false, 5);
        await scene.accepted(scene.remotes[2]);
        await scene.reaches('office', 'connected');
      },
      { remotes: 3 },
    ));

  it('round_robin true: the next one after each loss, and no way back', () =>
    withBridges(
      bridge('address REMOTE REMOTE2', 'round_robin true', 'restart_timeout 1'),
      async (scene) => {
        const [first, second] = scene.remotes as [FakeRemote, FakeRemote];
        (await scene.accepted(first)).drop();
        const connection = await scene.accepted(second);
        await scene.publish('m/a', 'x');
        assert.equal(await sent(connection), 'm/a x 1');
        assert.equal(first.come, 0);
        connection.drop();
        await scene.accepted(first);
      },
      { remotes: 2 },
    ));

  it('round_robin false: the next one after a connection that did not last', () =>
    withBridges(
      bridge('address REMOTE REMOTE2', 'round_robin false', 'restart_timeout 1'),
      async (scene) => {
        const [first, second] = scene.remotes as [FakeRemote, FakeRemote];
        (await scene.accepted(first)).drop();
        await scene.accepted(second);
        assert.equal(first.come, 0);
      },
      { remotes: 2 },
    ));
});

describe('the start of a bridge of mosquitto.conf', { concurrency: true }, () => {
  it('start_type automatic: at once, and again after each loss', () =>
    withBridges(bridge('address REMOTE', 'start_type automatic', 'restart_timeout 1'), async (scene) => {
      for (let count = 0; count < 3; count++) (await scene.accepted()).drop();
      await scene.accepted();
    }));

  it('start_type once: at once, and not again', () =>
    withBridges(bridge('address REMOTE', 'start_type once', 'restart_timeout 1'), async (scene) => {
      (await scene.remote.connection()).drop();
      // The first attempts may fail.
      for (const _ of [1, 2]) (await scene.remote.connection()).drop();
      const connection = await scene.accepted();
      await scene.publish('m/a', 'x');
      assert.equal(await sent(connection), 'm/a x 1');
      connection.drop();
      await scene.reaches('office', 'idle');
      assert.equal(scene.remote.come, 0);
    }));

  it('start_type once: again when the broker starts again, even where the first attempts fail', () =>
    withBridges(
      bridge('address REMOTE', 'start_type once', 'restart_timeout 1'),
      async (scene) => {
        await scene.accepted();
        await scene.reaches('office', 'connected');
        await scene.local.restart();
        await (await scene.remote.connection()).accept(false, 5);
        await scene.accepted();
      },
      { global: ['persistence true', 'persistence_location DIR'] },
    ));

  it('start_type lazy: with threshold messages, until there has been nothing for idle_timeout', () =>
    withBridges(bridge('address REMOTE', 'start_type lazy', 'threshold 3', 'idle_timeout 1'), async (scene) => {
      for (let round = 0; round < 2; round++) {
        for (let count = 0; count < 3; count++) {
          await scene.reaches('office', 'idle');
          assert.equal(scene.remote.come, 0);
          await scene.publish('m/a', `${round}-${count}`);
        }
        const connection = await scene.accepted(scene.remote, round > 0);
        for (let count = 0; count < 3; count++) assert.equal(await sent(connection), `m/a ${round}-${count} 1`);
        await connection.packet(PacketType.Disconnect);
      }
    }));

  it('threshold is 10 where nothing is said', () =>
    withBridges(bridge('address REMOTE', 'start_type lazy'), async (scene) => {
      for (let count = 0; count < 9; count++) await scene.publish('m/a', `${count}`);
      await scene.reaches('office', 'idle');
      await scene.publish('m/a', '9');
      const connection = await scene.accepted();
      for (let count = 0; count < 10; count++) assert.equal(await sent(connection), `m/a ${count} 1`);
    }));

  it('restart_timeout: the same wait every time, or one that grows to its cap', () =>
    withBridges(
      [
        ...['connection same', 'address REMOTE', 'topic m/# out', 'restart_timeout 1'],
        ...['connection growing', 'address REMOTE2', 'topic m/# out', 'restart_timeout 1 600'],
        ...['connection patient', 'address REMOTE3', 'topic m/# out', 'restart_timeout 600'],
      ],
      async (scene) => {
        const [same, growing, patient] = scene.remotes as [FakeRemote, FakeRemote, FakeRemote];
        const refuse = async (remote: FakeRemote) => {
          await (await remote.connection()).accept(false, 5);
          return performance.now();
        };
        /** Milliseconds between attempts; a timer may come one early. */
        const gaps = async (remote: FakeRemote, count: number) => {
          let before = await refuse(remote);
          const all: number[] = [];
          for (; all.length < count; before += all.at(-1)!) all.push((await refuse(remote)) - before + 5);
          return all;
        };
        await refuse(patient);
        const [constant, grown] = await Promise.all([gaps(same, 4), gaps(growing, 3)]);
        assert.ok(
          constant.every((gap) => gap >= 1000),
          `${constant}`,
        );
        assert.ok(grown[0]! >= 1000 && grown[2]! >= 2000, `${grown}`);
        assert.equal(patient.come, 0);
      },
      { remotes: 3 },
    ));
});
