/** Goal: what a `connection` says of retained messages, subscriptions of before, large messages and its own state is seen on both sides. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PacketType } from '../../src/protocol/index.js';
import { type ConfBridgeScene, give, sent, withBridges } from '../support/conf-bridge-scene.js';

const bridge = (...lines: string[]) => ['connection office', 'address REMOTE', 'remote_clientid edge', ...lines];
const quiet = (...lines: string[]) => bridge('notifications false', ...lines);

describe('the messages of a bridge of mosquitto.conf', () => {
  it('retained messages stay so both ways, those stored before the remote knew the bridge included', () =>
    withBridges(quiet('topic a/# both 1', 'bridge_outgoing_retain true', 'restart_timeout 1'), async (scene) => {
      (await scene.remote.connection()).drop();
      await scene.publish('a/stored', 'x', 0, true);
      const connection = await scene.accepted();
      await connection.grant();
      assert.equal(await sent(connection), 'a/stored x 0 retained');
      await scene.publish('a/live', 'x', 1, true);
      assert.equal(await sent(connection), 'a/live x 1 retained');
      await give(connection, 'a/theirs', 'x', 1, true);
      const late = await scene.client('late');
      await late.subscribe('a/theirs');
      assert.equal((await late.message()).retain, true);
    }));

  it('bridge_outgoing_retain false takes the flag off and leaves stored messages here', () =>
    withBridges(quiet('topic a/# out 1', 'bridge_outgoing_retain false'), async (scene) => {
      await scene.remote.connection().then((connection) => connection.drop());
      await scene.publish('a/stored', 'x', 0, true);
      const connection = await scene.accepted();
      await scene.reaches('office', 'connected');
      await scene.publish('a/live', 'x', 1, true);
      assert.equal(await sent(connection), 'a/live x 1');
    }));

  it('bridge_protocol_version mqttv50: properties go along both ways, and the bridges gone over are counted', () =>
    withBridges(quiet('topic a/# both 1', 'bridge_protocol_version mqttv50'), async (scene) => {
      const connection = await scene.accepted();
      const { subscriptions } = await connection.grant();
      assert.deepEqual(subscriptions, [
        { topicFilter: 'a/#', qos: 1, noLocal: true, retainAsPublished: true, retainHandling: 0 },
      ]);
      const near = await scene.client('near', 5);
      const properties = { contentType: 'text/plain', responseTopic: 'a/answer', messageExpiryInterval: 1000 };
      const count = (hops: string): [string, string][] => [
        ['unit', 'K'],
        ['dunlin-hops', hops],
      ];
      near.publish('a/ours', 'x', { properties: { ...properties, userProperties: [['unit', 'K']] } });
      const ours = await connection.packet(PacketType.Publish);
      assert.ok(ours.properties!.messageExpiryInterval! > 0);
      assert.deepEqual(
        { ...ours.properties, messageExpiryInterval: 1000 },
        { ...properties, userProperties: count('1') },
      );
      await near.subscribe('a/#');
      connection.send({
        type: PacketType.Publish,
        topicName: 'a/theirs',
        payload: Buffer.from('x'),
        qos: 0,
        retain: false,
        dup: false,
        properties: { ...properties, userProperties: count('3') },
      });
      const theirs = await near.message();
      assert.deepEqual(
        { ...theirs.properties, messageExpiryInterval: 1000 },
        { ...properties, userProperties: count('4') },
      );
    }));

  for (const [line, unsubscribed] of [
    ['bridge_attempt_unsubscribe true', true],
    ['bridge_attempt_unsubscribe false', false],
    ['', true],
  ] as const)
    it(`${line || 'without bridge_attempt_unsubscribe'}: what a session of before may have subscribed to`, () =>
      withBridges(quiet('topic a/# out 1 "" to/', 'topic b/# in', ...(line ? [line] : [])), async (scene) => {
        const connection = await scene.accepted(scene.remote, true);
        if (unsubscribed) assert.deepEqual((await connection.packet(PacketType.Unsubscribe)).topicFilters, ['to/a/#']);
        assert.deepEqual(await connection.grant().then(({ subscriptions }) => subscriptions.length), 1);
        await scene.publish('a/1', 'x');
        assert.equal(await sent(connection), 'to/a/1 x 1');
        assert.equal(connection.passedOver.includes(PacketType.Unsubscribe), false);
      }));

  for (const [version, most] of [
    ['mqttv311', 100],
    ['mqttv50', 60],
  ] as const)
    it(`bridge_max_packet_size: what is larger is not sent, ${version}`, () =>
      withBridges(
        quiet('topic a/# out 1', 'bridge_max_packet_size 100', `bridge_protocol_version ${version}`),
        async (scene) => {
          const connection = await scene.remote.connection();
          await connection.packet(PacketType.Connect);
          connection.send({
            type: PacketType.Connack,
            sessionPresent: false,
            reasonCode: 0,
            ...(version === 'mqttv50' ? { properties: { maximumPacketSize: most } } : {}),
          });
          for (const qos of [0, 1, 2] as const) await scene.publish('a/large', 'x'.repeat(most - 10), qos);
          await scene.publish('a/small', 'x'.repeat(20));
          assert.equal(await sent(connection), `a/small ${'x'.repeat(20)} 1`);
        },
      ));
});

describe('the state of a bridge of mosquitto.conf', () => {
  /** The next state that a client sees on the topic. */
  const watch = async (scene: ConfBridgeScene, topicFilter: string) => {
    const near = await scene.client('watch');
    await near.subscribe(topicFilter);
    return async () => {
      const { topicName, payload } = await near.message();
      return `${topicName} ${payload}`;
    };
  };

  for (const [line, topicName] of [
    ['notifications true', '$SYS/broker/connection/edge/state'],
    ['notification_topic state/of/bridge', 'state/of/bridge'],
  ] as const)
    it(`${line}: 1 and 0 here, 1 and a will of 0 at the remote`, () =>
      withBridges(bridge('topic a', line), async (scene) => {
        const connection = await scene.remote.connection();
        const next = await watch(scene, topicName);
        assert.equal(await next(), `${topicName} 0`);
        const { will } = await connection.accept(false);
        assert.deepEqual(
          [will?.topicName, Buffer.from(will!.payload).toString(), will?.qos, will?.retain],
          [topicName, '0', 1, true],
        );
        assert.match(await sent(connection), new RegExp(`^${topicName.replaceAll('$', '\\$')} 1 [01] retained$`));
        assert.equal(await next(), `${topicName} 1`);
        connection.drop();
        assert.equal(await next(), `${topicName} 0`);
      }));

  it('bridge_outgoing_retain false: neither the state nor the will asks the remote to keep anything', () =>
    withBridges(bridge('topic a', 'bridge_outgoing_retain false'), async (scene) => {
      const connection = await scene.remote.connection();
      assert.equal((await connection.accept(false)).will?.retain, false);
      assert.equal(await sent(connection), '$SYS/broker/connection/edge/state 1 0');
    }));

  it('a remote of 5.0 that keeps no messages is asked for none', () =>
    withBridges(bridge('topic a', 'bridge_protocol_version mqttv50'), async (scene) => {
      const connection = await scene.remote.connection();
      await connection.packet(PacketType.Connect);
      connection.send({
        type: PacketType.Connack,
        sessionPresent: false,
        reasonCode: 0,
        properties: { retainAvailable: 0 },
      });
      assert.equal(await sent(connection), '$SYS/broker/connection/edge/state 1 0');
    }));

  it('notifications_local_only true: nothing at the remote', () =>
    withBridges(bridge('topic a', 'notifications_local_only true'), async (scene) => {
      const connection = await scene.remote.connection();
      const topicName = '$SYS/broker/connection/edge/state';
      const next = await watch(scene, topicName);
      assert.equal(await next(), `${topicName} 0`);
      assert.equal((await connection.accept(false)).will, undefined);
      assert.equal(await next(), `${topicName} 1`);
      await scene.publish('a', 'x');
      assert.equal(await sent(connection), 'a x 0');
    }));

  it('notifications false: nothing anywhere', () =>
    withBridges(bridge('topic a', 'notifications false'), async (scene) => {
      const connection = await scene.remote.connection();
      const near = await scene.client();
      await near.subscribe(['$SYS/broker/connection/#', 'a']);
      assert.equal((await connection.accept(false)).will, undefined);
      await scene.reaches('office', 'connected');
      await scene.publish('a', 'x');
      assert.equal(await sent(connection), 'a x 0');
      assert.equal((await near.message()).topicName, 'a');
    }));
});
