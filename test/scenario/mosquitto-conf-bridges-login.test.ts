/** Goal: the directives of a `connection` about how it logs in are what the remote sees in CONNECT, and what follows from it. */
import assert from 'node:assert/strict';
import { hostname } from 'node:os';
import { describe, it } from 'node:test';
import { PacketType } from '../../src/protocol/index.js';
import { sent, withBridges } from '../support/conf-bridge-scene.js';

const bridge = (...lines: string[]) => ['connection office', 'address REMOTE', 'topic m/# out 1', ...lines];
const textOf = (bytes: Uint8Array | undefined) => (bytes === undefined ? undefined : Buffer.from(bytes).toString());

describe('the login of a bridge of mosquitto.conf', () => {
  it('is that of Mosquitto where nothing is said', () =>
    withBridges(bridge(), async ({ remote }) => {
      const connect = await (await remote.connection()).packet(PacketType.Connect);
      assert.equal(connect.protocolVersion, 4);
      assert.equal(connect.bridge, true);
      assert.equal(connect.clientId, `${hostname()}.office`);
      assert.equal(connect.cleanStart, false);
      assert.equal(connect.keepAlive, 60);
      assert.deepEqual([connect.username, connect.password], [undefined, undefined]);
    }));

  for (const [name, version] of [
    ['mqttv31', 3],
    ['mqttv311', 4],
    ['mqttv50', 5],
  ] as const)
    it(`bridge_protocol_version ${name}`, () =>
      withBridges(bridge(`bridge_protocol_version ${name}`, 'notifications false'), async (scene) => {
        const connection = await scene.remote.connection();
        assert.equal((await connection.accept(false)).protocolVersion, version);
        assert.equal(connection.version, version);
        await scene.publish('m/a', 'x');
        assert.equal(await sent(connection), 'm/a x 1');
      }));

  for (const [id, username, password] of [
    ['remote_clientid', 'remote_username', 'remote_password'],
    ['clientid', 'username', 'password'],
  ] as const)
    it(`${id}, ${username}, ${password}`, () =>
      withBridges(bridge(`${id} edge 7`, `${username} site`, `${password} a secret`), async (scene) => {
        const connect = await (await scene.remote.connection()).accept(false);
        assert.equal(connect.clientId, 'edge 7');
        assert.equal(connect.username, 'site');
        assert.equal(textOf(connect.password), 'a secret');
        // The state is announced by the identifier that the remote knows.
        const near = await scene.client();
        await near.subscribe('$SYS/broker/connection/+/state');
        assert.equal((await near.message()).topicName, '$SYS/broker/connection/edge 7/state');
        assert.doesNotMatch(scene.local.log.join(''), /a secret/);
      }));

  it('local_clientid names the session here, and no client may have it', async () => {
    for (const [line, localClientId] of [
      ['local_clientid queue', 'queue'],
      ['remote_clientid edge', 'local.edge'],
    ] as const)
      await withBridges(bridge(line), async (scene) => {
        await scene.accepted();
        const thief = await scene.local.client(5);
        thief.sendConnect({ clientId: localClientId });
        await thief.refused(0x85);
        await scene.client('queue2');
      });
  });

  it('keepalive_interval is told to the remote, which is pinged within it', () =>
    withBridges(bridge('keepalive_interval 5', 'notifications false'), async (scene) => {
      const connection = await scene.remote.connection();
      assert.equal((await connection.accept(false)).keepAlive, 5);
      await connection.packet(PacketType.Pingreq);
      // It is never answered.
      assert.match((await scene.reaches('office', 'waiting')).lastError, /no answer to PINGREQ/);
    }));

  for (const [line, cleanStart] of [
    ['cleansession true', true],
    ['cleansession false', false],
  ] as const)
    it(line, () =>
      withBridges(bridge(line), async ({ remote }) => {
        assert.equal((await (await remote.connection()).accept(false)).cleanStart, cleanStart);
      }),
    );

  it('try_private shows the mark of a bridge; a remote that refuses it is asked again without', () =>
    withBridges(bridge('try_private true', 'notifications false'), async (scene) => {
      const marked = await scene.remote.connection();
      assert.equal((await marked.accept(false, 1)).bridge, true);
      const plain = await scene.remote.connection();
      assert.equal((await plain.accept(false)).bridge, false);
      await scene.publish('m/a', 'x');
      assert.equal(await sent(plain), 'm/a x 1');
    }));

  it('try_private true: a remote that closes without a word is asked again without the mark as well', () =>
    withBridges(bridge('try_private true', 'bridge_protocol_version mqttv31'), async (scene) => {
      const marked = await scene.remote.connection();
      assert.equal((await marked.packet(PacketType.Connect)).bridge, true);
      marked.drop();
      assert.equal((await (await scene.remote.connection()).accept(false)).bridge, false);
    }));

  it('try_private false shows none', () =>
    withBridges(bridge('try_private false'), async ({ remote }) => {
      assert.equal((await (await remote.connection()).accept(false)).bridge, false);
    }));

  it('bridge_session_expiry_interval', async () => {
    for (const [lines, seconds] of [
      [['bridge_session_expiry_interval 100'], 100],
      [['bridge_session_expiry_interval 0'], 0],
      [[], 4_294_967_295],
    ] as const)
      await withBridges(bridge('bridge_protocol_version mqttv50', ...lines), async ({ remote }) => {
        const { properties } = await (await remote.connection()).accept(false);
        assert.equal(properties?.sessionExpiryInterval, seconds);
      });
  });

  it('bridge_receive_maximum is told to the remote; more are taken all the same', () =>
    withBridges(
      ['connection office', 'address REMOTE', 'topic m/# in 2', 'notifications false'].concat(
        'bridge_protocol_version mqttv50',
        'bridge_receive_maximum 2',
      ),
      async (scene) => {
        const connection = await scene.remote.connection();
        assert.equal((await connection.accept(false)).properties?.receiveMaximum, 2);
        await connection.grant();
        const publish = (packetId: number) =>
          connection.send({
            type: PacketType.Publish,
            topicName: 'm/a',
            payload: Buffer.from('x'),
            qos: 2,
            retain: false,
            dup: false,
            packetId,
          });
        for (const packetId of [1, 2, 3, 4]) {
          publish(packetId);
          const { packetId: answered, reasonCode } = await connection.packet(PacketType.Pubrec);
          assert.equal(answered, packetId);
          assert.ok(reasonCode < 0x80);
        }
      },
    ));

  it('bridge_max_topic_alias counts both ways, and there are none without it', async () => {
    const lines = ['connection office', 'address REMOTE', 'topic m/# both 1', 'notifications false'];
    await withBridges([...lines, 'bridge_protocol_version mqttv50', 'bridge_max_topic_alias 3'], async (scene) => {
      const connection = await scene.remote.connection();
      const connect = await connection.packet(PacketType.Connect);
      assert.equal(connect.properties?.topicAliasMaximum, 3);
      connection.send({
        type: PacketType.Connack,
        sessionPresent: false,
        reasonCode: 0,
        properties: { topicAliasMaximum: 10 },
      });
      await connection.grant();
      const near = await scene.client();
      await near.subscribe('m/#', { qos: 1 });
      const values = {
        type: PacketType.Publish,
        payload: Buffer.from('in'),
        qos: 0,
        retain: false,
        dup: false,
      } as const;
      connection.send({ ...values, topicName: 'm/theirs', properties: { topicAlias: 3 } });
      connection.send({ ...values, topicName: '', properties: { topicAlias: 3 } });
      for (const _ of [1, 2]) assert.equal((await near.message()).topicName, 'm/theirs');
      const aliases = new Map<string, number>();
      for (const topicName of ['m/1', 'm/2', 'm/1', 'm/2']) {
        await scene.publish(topicName, 'out');
        const publish = await connection.packet(PacketType.Publish);
        connection.send({ type: PacketType.Puback, packetId: publish.packetId!, reasonCode: 0 });
        const alias = publish.properties?.topicAlias;
        assert.ok(alias !== undefined && alias <= 3, `${alias}`);
        assert.equal(publish.topicName, aliases.has(topicName) ? '' : topicName);
        assert.equal(aliases.get(topicName) ?? alias, alias);
        aliases.set(topicName, alias);
      }
      assert.equal(aliases.size, 2);
    });
    await withBridges([...lines, 'bridge_protocol_version mqttv50'], async (scene) => {
      const { properties } = await (await scene.remote.connection()).accept(false);
      assert.equal(properties?.topicAliasMaximum, undefined);
    });
  });

  it('bridge_bind_address is where the connection comes from', async () => {
    for (const address of ['127.0.0.5', '127.0.0.6'])
      await withBridges(bridge(`bridge_bind_address ${address}`), async ({ remote }) => {
        assert.equal((await remote.connection()).socket.remoteAddress, address);
      });
  });
});
