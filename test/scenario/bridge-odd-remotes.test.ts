/** Remotes that offer little, ask for much or lie; what they may not reach here; and clients that come near to a bridge. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { type ClientError, MqttClient } from '../../src/client/index.js';
import { resolveConfig } from '../../src/config/index.js';
import { type Broker, createBroker } from '../../src/index.js';
import { PacketType, type Properties, ReasonCode } from '../../src/protocol/index.js';
import {
  Brokers,
  type FakeConnection,
  FakeRemote,
  freePort,
  portOf,
  reaches,
  statusOf,
  Watch,
  within,
} from '../support/bridge-scene.js';

const out = (qos: number) => [{ topic: 'm/#', direction: 'out' as const, qos }];
const quiet = { notifications: { enabled: false } };

describe('a bridge', () => {
  let brokers: Brokers;
  let fakes: FakeRemote[];
  let clients: MqttClient[];
  beforeEach(() => {
    brokers = new Brokers();
    fakes = [];
    clients = [];
  });
  afterEach(async () => {
    for (const client of clients) client.destroy();
    for (const fake of fakes) fake.close();
    await brokers.stop();
  });
  async function fakeRemote() {
    const fake = await FakeRemote.listen();
    fakes.push(fake);
    return fake;
  }
  function clientOf(broker: Broker, clientId: string, more: { username?: string; properties?: Properties } = {}) {
    const client = new MqttClient({
      target: { transport: 'tcp', host: '127.0.0.1', port: portOf(broker) },
      protocolVersion: 5,
      clientId,
      cleanStart: true,
      keepAlive: 0,
      ...more,
    });
    clients.push(client);
    return client;
  }
  const answer = async (connection: FakeConnection, properties: Properties, sessionPresent = false) => {
    const connect = await connection.packet(PacketType.Connect);
    connection.send({ type: PacketType.Connack, sessionPresent, reasonCode: 0, properties });
    return connect;
  };

  it('counts the bridges of a plain message where topics have aliases, too', async () => {
    const remote = await fakeRemote();
    const local = await brokers.start({
      bridges: [{ name: 'b', remotes: remote.remotes, topicAliasMaximum: 5, topics: out(0), ...quiet }],
    });
    const connection = await remote.connection();
    await answer(connection, { topicAliasMaximum: 5 });
    await reaches(local, 'b', 'connected');
    const client = clientOf(local, 'c');
    await client.connect();
    await client.publish('m/a', Buffer.from('x'));
    const { properties } = await connection.packet(PacketType.Publish);
    assert.deepEqual(properties?.userProperties, [['dunlin-hops', '1']]);
  });

  it('renames a plain message that goes out with the QoS of its row', async () => {
    const remote = await fakeRemote();
    const local = await brokers.start({
      protocol: { upgradeQoS: true },
      bridges: [
        {
          name: 'b',
          remotes: remote.remotes,
          topics: [{ topic: '#', direction: 'out', qos: 1, localPrefix: 'here/', remotePrefix: 'there/' }],
          ...quiet,
        },
      ],
    });
    const connection = await remote.connection();
    await answer(connection, {});
    await reaches(local, 'b', 'connected');
    const client = clientOf(local, 'c');
    await client.connect();
    await client.publish('here/a', Buffer.from('x'));
    const { topicName, qos } = await connection.packet(PacketType.Publish);
    assert.deepEqual([topicName, qos], ['there/a', 1]);
  });

  it('says that it is there without RETAIN to a remote that retains nothing', async () => {
    const remote = await fakeRemote();
    await brokers.start({ bridges: [{ name: 'b', remotes: remote.remotes, topics: out(0) }] });
    const connection = await remote.connection();
    await answer(connection, { retainAvailable: 0 });
    const { retain, payload } = await connection.packet(PacketType.Publish);
    assert.deepEqual([Buffer.from(payload).toString(), retain], ['1', false]);
  });

  for (const [reasonCode, expected] of [
    [ReasonCode.RetainNotSupported, { qos: 1, retain: false }],
    [ReasonCode.QoSNotSupported, { qos: 0, retain: true }],
  ] as const)
    it(`asks once more with less of a will after 0x${reasonCode.toString(16)}`, async () => {
      const remote = await fakeRemote();
      const local = await brokers.start({ bridges: [{ name: 'b', remotes: remote.remotes, topics: out(0) }] });
      const first = await (await remote.connection()).accept(false, reasonCode);
      assert.deepEqual([first.will?.qos, first.will?.retain], [1, true]);
      const second = await (await remote.connection()).accept(false);
      assert.deepEqual({ qos: second.will?.qos, retain: second.will?.retain }, expected);
      await reaches(local, 'b', 'connected');
    });

  it('takes no topic of more levels than a client may publish to', async () => {
    const remote = await fakeRemote();
    const local = await brokers.start({
      limits: { topicLevelsMax: 10 },
      bridges: [{ name: 'b', remotes: remote.remotes, topics: [{ topic: '#', direction: 'in', qos: 1 }], ...quiet }],
    });
    const here = new Watch(local, '#');
    const connection = await remote.connection();
    await answer(connection, {});
    await connection.grant();
    const publish = { type: PacketType.Publish, qos: 1, retain: false, dup: false, payload: Buffer.from('x') } as const;
    connection.send({ ...publish, packetId: 1, topicName: 'a/'.repeat(2000) });
    connection.send({ ...publish, packetId: 2, topicName: 'a/b' });
    await connection.packet(PacketType.Puback);
    await connection.packet(PacketType.Puback);
    assert.equal((await here.next()).topicName, 'a/b');
    assert.equal(statusOf(local, 'b').messagesUnwanted, 1);
  });

  it('tells a remote of 5.0 that a message was not taken', async () => {
    const remote = await fakeRemote();
    await brokers.start({
      limits: { retainedMessagesMax: 1 },
      bridges: [{ name: 'b', remotes: remote.remotes, topics: [{ topic: '#', direction: 'in', qos: 2 }], ...quiet }],
    });
    const connection = await remote.connection();
    await answer(connection, {});
    await connection.grant();
    const publish = { type: PacketType.Publish, retain: true, dup: false, payload: Buffer.from('x') } as const;
    connection.send({ ...publish, qos: 1, packetId: 1, topicName: 'a' });
    assert.equal((await connection.packet(PacketType.Puback)).reasonCode, 0);
    connection.send({ ...publish, qos: 1, packetId: 2, topicName: 'b' });
    assert.equal((await connection.packet(PacketType.Puback)).reasonCode, ReasonCode.QuotaExceeded);
    connection.send({ ...publish, qos: 2, packetId: 3, topicName: 'b' });
    assert.equal((await connection.packet(PacketType.Pubrec)).reasonCode, ReasonCode.QuotaExceeded);
  });

  it('believes no Session Present where it asked for a clean start', async () => {
    const remote = await fakeRemote();
    const local = await brokers.start({
      bridges: [
        {
          name: 'b',
          remotes: remote.remotes,
          cleanSession: true,
          topics: [{ topic: '#', direction: 'in', qos: 2 }],
          ...quiet,
        },
      ],
    });
    const here = new Watch(local, '#');
    const publish = { type: PacketType.Publish, qos: 2, retain: false, dup: false, packetId: 1 } as const;
    let connection = await remote.connection();
    await answer(connection, {});
    await connection.grant();
    connection.send({ ...publish, topicName: 'a', payload: Buffer.from('first') });
    await connection.packet(PacketType.Pubrec);
    connection.drop();
    connection = await remote.connection();
    await answer(connection, {}, true);
    await connection.grant();
    connection.send({ ...publish, topicName: 'a', payload: Buffer.from('second') });
    await connection.packet(PacketType.Pubrec);
    assert.deepEqual(
      (await here.take(2)).map(({ payload }) => payload),
      ['first', 'second'],
    );
  });

  it('subscribes in as many packets as the remote takes, and says what it does not take', async () => {
    const remote = await fakeRemote();
    const names = Array.from({ length: 10 }, (_, index) => `${index}`.repeat(40));
    const rows = [...names, 'x'.repeat(200)].map((topic) => ({ topic, direction: 'in' as const, qos: 1 }));
    const local = await brokers.start({ bridges: [{ name: 'b', remotes: remote.remotes, topics: rows, ...quiet }] });
    const connection = await remote.connection();
    await answer(connection, { maximumPacketSize: 128 });
    const asked: string[] = [];
    while (asked.length < names.length)
      asked.push(...(await connection.grant()).subscriptions.map(({ topicFilter }) => topicFilter));
    assert.deepEqual(asked, names);
    assert.match(statusOf(local, 'b').lastError, /the subscription to x+ is larger than the remote takes/);
  });

  it('hands on all stored messages though the connection breaks while it does', async () => {
    const remote = await fakeRemote();
    const local = await brokers.start();
    const count = 3000;
    for (let index = 0; index < count; index++) local.publish(`m/${index}`, 'x', { qos: 1, retain: true });
    local.addBridge({ name: 'b', remotes: remote.remotes, inflightMessagesMax: 100, topics: out(1), ...quiet });
    let connection = await remote.connection();
    await answer(connection, {});
    await connection.packet(PacketType.Publish);
    connection.drop();
    connection = await remote.connection();
    await answer(connection, {}, true);
    const seen = new Set<string>();
    while (seen.size < count) {
      const { packetId, topicName } = await connection.packet(PacketType.Publish);
      seen.add(topicName);
      connection.send({ type: PacketType.Puback, packetId: packetId!, reasonCode: 0 });
    }
  });

  it('begins with a session of its own where a client had one under its identifier', async () => {
    const remote = await fakeRemote();
    const local = await brokers.start();
    const client = clientOf(local, 'local.b', { properties: { sessionExpiryInterval: 1000 } });
    await client.connect();
    await client.subscribe([
      { topicFilter: 'secret/#', qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 },
    ]);
    local.addBridge({ name: 'b', remotes: remote.remotes, topics: out(1), ...quiet });
    const connection = await remote.connection();
    await answer(connection, {});
    await reaches(local, 'b', 'connected');
    local.publish('secret/a', 'x', { qos: 1 });
    local.publish('m/a', 'x', { qos: 1 });
    assert.equal((await connection.packet(PacketType.Publish)).topicName, 'm/a');
  });

  it('keeps its session from a client that is named after its user', async () => {
    const local = await brokers.start({
      listeners: [{ name: 'test', port: 0, usernameAsClientId: true }],
      bridges: [{ name: 'b', remotes: [{ host: '127.0.0.1', port: await freePort() }] }],
    });
    for (const username of ['local.b', 'x'.repeat(1000)]) {
      const client = clientOf(local, 'innocent', { username });
      await assert.rejects(client.connect(), (error: ClientError) => error.code === 'CLIENT_CONNECT_REFUSED');
    }
  });

  it('changes places with another whose session it gets', async () => {
    const port = await freePort();
    const bridge = (name: string, localClientId: string) => ({
      name,
      remotes: [{ host: '127.0.0.1', port }],
      localClientId,
      topics: [{ topic: 'm', direction: 'out' as const, qos: 1, remotePrefix: `${name}/` }],
      ...quiet,
    });
    const local = await brokers.start({ bridges: [bridge('a', 'x'), bridge('b', 'y')] });
    local.replaceBridges(resolveConfig({ bridges: [bridge('a', 'y'), bridge('b', 'x')] }).bridges);
    local.publish('m', 'kept', { qos: 1 });
    const remote = await brokers.start({ listeners: [{ name: 'test', port }] });
    const there = new Watch(remote, '#');
    const topics = (await there.take(2)).map(({ topicName }) => topicName);
    assert.deepEqual(topics.sort(), ['a/m', 'b/m']);
  });

  it('is refused where its name or its session is that of another', async () => {
    const remotes = [{ host: '127.0.0.1', port: await freePort() }];
    const local = await brokers.start({
      bridges: [
        { name: 'a', remotes },
        { name: 'b', remotes },
      ],
    });
    const refused = { code: 'BRIDGE_EXISTS' };
    assert.throws(() => local.changeBridge('a', { name: 'b', remotes }), refused);
    assert.throws(() => local.changeBridge('a', { localClientId: 'local.b', remotes }), refused);
    assert.throws(() => local.addBridge({ name: 'c', localClientId: 'local.b', remotes }), refused);
    assert.deepEqual(
      local.bridges().map(({ name }) => name),
      ['a', 'b'],
    );
  });

  it('is tried again where the log throws in the middle of its first moments', async () => {
    const remote = await fakeRemote();
    let thrown = 0;
    const nothing = () => {};
    const broker = createBroker({
      config: {
        listeners: [],
        sys: { intervalSeconds: 0 },
        bridges: [{ name: 'b', remotes: remote.remotes, ...quiet }],
      },
      logger: {
        level: 3,
        error: nothing,
        warning: nothing,
        debug: nothing,
        information(event) {
          if (event !== 'bridge.connected' || thrown++ > 0) return;
          throw new Error('no room for this line');
        },
      },
    });
    await broker.start();
    try {
      await answer(await remote.connection(), {});
      await answer(await remote.connection(), {});
      await reaches(broker, 'b', 'connected');
    } finally {
      await broker.stop();
    }
  });

  it('does not take its own pause for silence of the remote', async () => {
    const remote = await fakeRemote();
    const local = await brokers.start({
      bridges: [{ name: 'b', remotes: remote.remotes, keepAliveSeconds: 1, ...quiet }],
    });
    const connection = await remote.connection();
    await answer(connection, {});
    await reaches(local, 'b', 'connected');
    const { bridging } = local as unknown as { bridging: { bridges: Map<string, { uplinks: { hold(): void }[] }> } };
    bridging.bridges.get('b')!.uplinks[0]!.hold();
    let pings = 0;
    const enough = new Promise<void>((resolve, reject) => {
      connection.socket.on('data', (bytes) => {
        pings += bytes.filter((byte) => byte === 0xc0).length;
        if (pings >= 6) resolve();
      });
      connection.socket.on('close', () => reject(new Error(`the connection ended after ${pings} pings`)));
    });
    await within(enough, () => 'pings');
  });

  it('learns the alias of a message that it had already', async () => {
    const remote = await fakeRemote();
    const local = await brokers.start({
      bridges: [
        {
          name: 'b',
          remotes: remote.remotes,
          topicAliasMaximum: 5,
          cleanSession: false,
          topics: [{ topic: 'm/#', direction: 'in', qos: 2 }],
          ...quiet,
        },
      ],
    });
    const here = new Watch(local, 'm/#');
    const first = {
      type: PacketType.Publish,
      dup: false,
      qos: 2,
      retain: false,
      topicName: 'm/a',
      packetId: 1,
      payload: Buffer.from('first'),
    } as const;
    let connection = await remote.connection();
    await answer(connection, {});
    await connection.grant();
    connection.send(first);
    await connection.packet(PacketType.Pubrec);
    connection.drop();
    connection = await remote.connection();
    await answer(connection, {}, true);
    await connection.grant();
    connection.send({ ...first, dup: true, properties: { topicAlias: 1 } });
    await connection.packet(PacketType.Pubrec);
    connection.send({
      ...first,
      packetId: 2,
      topicName: '',
      payload: Buffer.from('second'),
      properties: { topicAlias: 1 },
    });
    await connection.packet(PacketType.Pubrec);
    assert.deepEqual(
      (await here.take(2)).map(({ topicName, payload }) => `${topicName} ${payload}`),
      ['m/a first', 'm/a second'],
    );
  });

  for (const state of ['connecting', 'connected'] as const)
    it(`stays removed by a listener that hears that it is ${state}`, async () => {
      const remote = await fakeRemote();
      const first = await brokers.start();
      let heard = 0;
      first.on('bridgeChanged', ({ bridge }) => {
        if (bridge.state !== state || heard++ > 0) return;
        first.removeBridge('b');
      });
      first.addBridge({ name: 'b', remotes: remote.remotes, topics: out(1), ...quiet });
      if (state === 'connected') {
        const connection = await remote.connection();
        await answer(connection, {});
        await connection.packet(PacketType.Disconnect);
      }
      first.addBridge({ name: 'again', remotes: remote.remotes, topics: out(1), ...quiet });
      const { clientId } = await answer(await remote.connection(), {});
      assert.match(clientId, /again/);
      await reaches(first, 'again', 'connected');
      assert.equal(remote.come, 0);
      const { bridging } = first as unknown as { bridging: { kept: Map<string, { bridge: string }> } };
      assert.deepEqual(
        [...bridging.kept.values()].map(({ bridge }) => bridge),
        ['again'],
      );
    });

  it('leaves no figures behind under a name that it has no longer', async () => {
    const local = await brokers.start({
      sys: { intervalSeconds: 1 },
      bridges: [{ name: 'b', remotes: [{ host: '127.0.0.1', port: await freePort() }], topics: out(1), ...quiet }],
    });
    const figures = new Watch(local, '$SYS/broker/bridge/+/state');
    assert.notEqual((await figures.topic('$SYS/broker/bridge/b/state')).payload, '');
    local.changeBridge('b', { name: 'c', remotes: [{ host: '127.0.0.1', port: await freePort() }], ...quiet });
    const last = new Map<string, string>();
    while (!last.has('$SYS/broker/bridge/c/state')) {
      const { topicName, payload } = await figures.next();
      last.set(topicName, payload);
    }
    assert.equal(last.get('$SYS/broker/bridge/b/state'), '');
  });

  it('connects once only after it has connected', async () => {
    const remote = await fakeRemote();
    const local = await brokers.start({ bridges: [{ name: 'b', start: 'once', remotes: remote.remotes, ...quiet }] });
    const connection = await remote.connection();
    await answer(connection, {});
    await reaches(local, 'b', 'connected');
    connection.drop();
    await reaches(local, 'b', 'idle');
    // As after a restart: who served the session before is known.
    local.changeBridge('b', { start: 'once', remotes: remote.remotes, keepAliveSeconds: 30, ...quiet });
    (await remote.connection()).drop();
    await answer(await remote.connection(), {});
    await reaches(local, 'b', 'connected');
  });
});
