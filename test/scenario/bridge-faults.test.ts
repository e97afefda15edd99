/** Bridges whose remote is away, says no, breaks off or changes; and settings that change while they run. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type ClientError, MqttClient } from '../../src/client/index.js';
import { PacketType } from '../../src/protocol/index.js';
import { at, Brokers, FakeRemote, freePort, portOf, reaches, statusOf, Watch } from '../support/bridge-scene.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const out = (qos: number) => [{ topic: 'm/#', direction: 'out' as const, qos }];

describe('a bridge', () => {
  let brokers: Brokers;
  let fakes: FakeRemote[];
  beforeEach(() => {
    brokers = new Brokers();
    fakes = [];
  });
  afterEach(async () => {
    for (const fake of fakes) fake.close();
    await brokers.stop();
  });
  async function fakeRemote() {
    const fake = await FakeRemote.listen();
    fakes.push(fake);
    return fake;
  }

  it('queues while the remote is away, and sends all in order once it is there', async () => {
    const port = await freePort();
    const local = await brokers.start({
      bridges: [{ name: 'b', remotes: [{ host: '127.0.0.1', port }], topics: out(1) }],
    });
    const { lastError } = await reaches(local, 'b', 'waiting');
    assert.match(lastError, /connection refused: nothing listens there/);
    for (let count = 0; count < 500; count++) local.publish('m/a', `${count}`, { qos: 1 });
    assert.equal(statusOf(local, 'b').queuedMessages, 500);
    const remote = await brokers.start({ listeners: [{ name: 'test', port }] });
    const there = new Watch(remote, 'm/#');
    assert.deepEqual(
      (await there.take(500)).map(({ payload }) => Number(payload)),
      Array.from({ length: 500 }, (_, count) => count),
    );
  });

  it('drops by its own policy when its queue is full, and counts that', async () => {
    const port = await freePort();
    const queue = { messagesMax: 10 };
    const bridge = { remotes: [{ host: '127.0.0.1', port }], topics: out(1) };
    const local = await brokers.start({
      bridges: [
        { ...bridge, name: 'oldest', queue },
        { ...bridge, name: 'newest', queue: { ...queue, overflow: 'dropNewest' } },
      ],
    });
    for (let count = 0; count < 25; count++) local.publish('m/a', `${count}`, { qos: 1 });
    for (const name of ['oldest', 'newest']) {
      const { queuedMessages, messagesDropped } = statusOf(local, name);
      assert.deepEqual([queuedMessages, messagesDropped], [10, 15], name);
    }
    const remote = await brokers.start({ listeners: [{ name: 'test', port }] });
    const there = new Watch(remote, 'm/#');
    assert.deepEqual(
      (await there.take(20)).map(({ payload }) => Number(payload)).sort((a, b) => a - b),
      [...Array.from({ length: 10 }, (_, count) => count), ...Array.from({ length: 10 }, (_, count) => count + 15)],
    );
  });

  it('says which host does not exist, and waits', async () => {
    const local = await brokers.start({
      bridges: [{ name: 'b', remotes: [{ host: 'nowhere.invalid' }], topics: out(0) }],
    });
    const { lastError, remote } = await reaches(local, 'b', 'waiting');
    assert.match(lastError, /the host (does not exist|name cannot be looked up)/);
    assert.equal(remote, 'nowhere.invalid:1883');
  });

  it('says what a remote that speaks no MQTT did', async () => {
    const server = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')).listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const { port } = server.address() as { port: number };
      const local = await brokers.start({
        bridges: [{ name: 'b', remotes: [{ host: '127.0.0.1', port }], topics: out(0) }],
      });
      const { lastError } = await reaches(local, 'b', ({ lastError: error }) => error !== '');
      assert.match(lastError, /answer|packet/);
    } finally {
      server.close();
    }
  });

  it('gives up a remote that accepts and says nothing', async () => {
    const remote = await fakeRemote();
    const local = await brokers.start({
      limits: { connectTimeoutSeconds: 1 },
      bridges: [{ name: 'b', remotes: remote.remotes, topics: out(0) }],
    });
    const connection = await remote.connection();
    const collecting = setInterval(collectGarbage, 50);
    try {
      const { lastError } = await reaches(local, 'b', 'waiting');
      assert.equal(lastError, 'no answer from the remote within 1 seconds');
    } finally {
      clearInterval(collecting);
      connection.drop();
    }
  });

  it('says that a login was refused, and takes a new password while it runs', async () => {
    const remote = await brokers.start({
      listeners: [{ name: 'test', port: 0, allowAnonymous: false }],
      users: [{ username: 'site', password: 'right' }],
    });
    const bridge = { name: 'b', remotes: at(remote), username: 'site', topics: out(1) };
    const local = await brokers.start({ bridges: [{ ...bridge, password: 'wrong' }] });
    const { lastError } = await reaches(local, 'b', 'waiting');
    assert.match(lastError, /Bad User Name or Password/i);
    assert.doesNotMatch(JSON.stringify(local.bridges()), /wrong/);
    local.publish('m/a', 'kept', { qos: 1 });
    const there = new Watch(remote, 'm/#');
    local.changeBridge('b', { ...bridge, password: 'right' });
    await reaches(local, 'b', 'connected');
    assert.equal((await there.next()).payload, 'kept');
  });

  it('does not let a client take its session', async () => {
    const local = await brokers.start({
      bridges: [{ name: 'b', remotes: [{ host: '127.0.0.1', port: await freePort() }] }],
    });
    const client = new MqttClient({
      target: { transport: 'tcp', host: '127.0.0.1', port: portOf(local) },
      protocolVersion: 5,
      clientId: 'local.b',
      cleanStart: true,
      keepAlive: 0,
    });
    await assert.rejects(client.connect(), (error: ClientError) => error.code === 'CLIENT_CONNECT_REFUSED');
  });

  for (const sessionPresent of [true, false])
    it(`goes on with QoS 2 after a break, the session ${sessionPresent ? 'kept' : 'lost'} at the remote`, async () => {
      const remote = await fakeRemote();
      const local = await brokers.start({
        bridges: [
          {
            name: 'b',
            protocolVersion: '3.1.1',
            remotes: remote.remotes,
            notifications: { enabled: false },
            topics: out(2),
          },
        ],
      });
      let connection = await remote.connection();
      await connection.accept(false);
      await reaches(local, 'b', 'connected');
      local.publish('m/1', 'first', { qos: 2 });
      local.publish('m/2', 'second', { qos: 2 });
      const first = await connection.packet(PacketType.Publish);
      const second = await connection.packet(PacketType.Publish);
      assert.equal(first.dup, false);
      connection.send({ type: PacketType.Pubrec, packetId: first.packetId!, reasonCode: 0 });
      await connection.packet(PacketType.Pubrel);
      connection.drop();

      connection = await remote.connection();
      await connection.accept(sessionPresent);
      // The first is released, the second sent again.
      assert.equal((await connection.packet(PacketType.Pubrel)).packetId, first.packetId);
      const again = await connection.packet(PacketType.Publish);
      assert.deepEqual([again.packetId, again.dup, again.topicName], [second.packetId, sessionPresent, 'm/2']);
      connection.send({ type: PacketType.Pubcomp, packetId: first.packetId!, reasonCode: 0 });
      connection.send({ type: PacketType.Pubrec, packetId: second.packetId!, reasonCode: 0 });
      await connection.packet(PacketType.Pubrel);
      connection.send({ type: PacketType.Pubcomp, packetId: second.packetId!, reasonCode: 0 });
      local.publish('m/3', 'third', { qos: 1 });
      assert.equal((await connection.packet(PacketType.Publish)).topicName, 'm/3');
    });

  for (const sessionPresent of [true, false])
    it(`takes QoS 2 in once when the remote breaks off, the session ${sessionPresent ? 'kept' : 'lost'}`, async () => {
      const remote = await fakeRemote();
      const local = await brokers.start({
        bridges: [
          {
            name: 'b',
            protocolVersion: '3.1.1',
            remotes: remote.remotes,
            notifications: { enabled: false },
            topics: [{ topic: 'm/#', direction: 'in', qos: 2 }],
          },
        ],
      });
      const here = new Watch(local, 'm/#');
      const publish = { type: PacketType.Publish, qos: 2 as const, retain: false, packetId: 7 };
      let connection = await remote.connection();
      await connection.accept(false);
      await connection.grant();
      connection.send({ ...publish, topicName: 'm/1', payload: Buffer.from('one'), dup: false });
      await connection.packet(PacketType.Pubrec);
      connection.drop();

      connection = await remote.connection();
      await connection.accept(sessionPresent);
      await connection.grant();
      // The same identifier: the same message to a remote that kept the session, another one to a remote that has lost it.
      const topicName = sessionPresent ? 'm/1' : 'm/2';
      connection.send({ ...publish, topicName, payload: Buffer.from('two'), dup: sessionPresent });
      await connection.packet(PacketType.Pubrec);
      connection.send({ type: PacketType.Pubrel, packetId: 7, reasonCode: 0 });
      await connection.packet(PacketType.Pubcomp);
      connection.send({ ...publish, topicName: 'm/end', payload: Buffer.from(''), dup: false });
      await here.topic('m/1');
      if (!sessionPresent) assert.equal((await here.next()).topicName, 'm/2');
      assert.equal((await here.next()).topicName, 'm/end');
    });

  it('is not a bridge by its version where the remote refuses that', async () => {
    const remote = await fakeRemote();
    const local = await brokers.start({
      bridges: [{ name: 'b', protocolVersion: '3.1.1', remotes: remote.remotes, topics: out(0) }],
    });
    const marked = await (await remote.connection()).accept(false, 1);
    assert.equal(marked.bridge, true);
    const plain = await (await remote.connection()).accept(false);
    assert.equal(plain.bridge, false);
    await reaches(local, 'b', 'connected');
  });

  it('takes no more than the remote allows at a time, and no higher QoS', async () => {
    const remote = await fakeRemote();
    const local = await brokers.start({
      bridges: [{ name: 'b', remotes: remote.remotes, notifications: { enabled: false }, topics: out(2) }],
    });
    const connection = await remote.connection();
    await connection.packet(PacketType.Connect);
    connection.send({
      type: PacketType.Connack,
      sessionPresent: false,
      reasonCode: 0,
      properties: { receiveMaximum: 2, maximumQoS: 1, retainAvailable: 0 },
    });
    await reaches(local, 'b', 'connected');
    for (let count = 0; count < 5; count++) local.publish('m/a', `${count}`, { qos: 2, retain: true });
    for (let count = 0; count < 5; count += 1) {
      const { qos, retain, packetId, payload } = await connection.packet(PacketType.Publish);
      assert.deepEqual([qos, retain, Buffer.from(payload).toString()], [1, false, `${count}`]);
      assert.ok(statusOf(local, 'b').inflightMessages <= 2);
      connection.send({ type: PacketType.Puback, packetId: packetId!, reasonCode: 0 });
    }
  });

  it('goes to the second remote, and back to the first once that has answered', async () => {
    const primaryPort = await freePort();
    const secondary = await brokers.start();
    const there = new Watch(secondary, 'm/#');
    const local = await brokers.start({
      bridges: [
        {
          name: 'b',
          remotes: [{ host: '127.0.0.1', port: primaryPort }, ...at(secondary)],
          failbackSeconds: 1,
          topics: out(2),
        },
      ],
    });
    const second = await reaches(local, 'b', 'connected');
    assert.equal(second.remote, `127.0.0.1:${portOf(secondary)}`);
    let sent = 0;
    const publish = () => local.publish('m/a', `${sent++}`, { qos: 2 });
    for (let count = 0; count < 50; count++) publish();
    await there.take(50);
    // A primary that accepts connections and says nothing is none.
    const deaf = createServer().listen(primaryPort, '127.0.0.1');
    const [tried] = (await once(deaf, 'connection')) as [Socket];
    publish();
    await there.take(1);
    assert.equal(statusOf(local, 'b').state, 'connected');
    const over = once(deaf, 'close');
    deaf.close();
    tried.destroy();
    await over;
    const primary = await brokers.start({ listeners: [{ name: 'test', port: primaryPort }] });
    const home = new Watch(primary, 'm/#');
    const timer = setInterval(publish, 5);
    await reaches(local, 'b', ({ state, remote }) => state === 'connected' && remote.endsWith(`:${primaryPort}`));
    clearInterval(timer);
    local.publish('m/a', 'end', { qos: 2 });
    const seen = [...there.messages];
    for (let message = await home.next(); message.payload !== 'end'; message = await home.next()) seen.push(message);
    const all = seen.map(({ payload }) => Number(payload));
    assert.equal(new Set(all).size, all.length, 'nothing twice');
    assert.equal(all.length, sent - 51, 'nothing lost');
  });

  it('connects when enough waits, where it is lazy, and leaves when nothing does', async () => {
    const remote = await brokers.start();
    const local = await brokers.start({
      bridges: [
        { name: 'b', remotes: at(remote), start: 'lazy', lazy: { idleSeconds: 1, threshold: 3 }, topics: out(1) },
      ],
    });
    assert.equal(statusOf(local, 'b').state, 'idle');
    const there = new Watch(remote, 'm/#');
    local.publish('m/a', '1', { qos: 1 });
    local.publish('m/a', '2', { qos: 1 });
    assert.equal(statusOf(local, 'b').state, 'idle');
    local.publish('m/a', '3', { qos: 1 });
    await there.take(3);
    await reaches(local, 'b', 'idle');
    assert.equal(statusOf(local, 'b').lastError, '');
  });

  it('connects one time only, where it says so', async () => {
    const remote = await brokers.start();
    const local = await brokers.start({ bridges: [{ name: 'b', remotes: at(remote), start: 'once', topics: out(1) }] });
    await reaches(local, 'b', 'connected');
    remote.disconnect('b');
    assert.match((await reaches(local, 'b', 'idle')).lastError, /Administrative/i);
  });

  it('is added, changed and removed while the broker runs; others are left alone', async () => {
    const remote = await brokers.start();
    const bridge = (name: string, topic: string) => ({
      name,
      remotes: at(remote),
      topics: [{ topic, direction: 'both' as const, qos: 2 }],
    });
    const local = await brokers.start({ bridges: [bridge('stays', 's/#')] });
    const { sinceMs } = await reaches(local, 'stays', 'connected');
    local.addBridge(bridge('more', 'm/#'));
    await reaches(local, 'more', 'connected');
    assert.throws(() => local.addBridge(bridge('more', 'm/#')), /there is a bridge "more" already/);
    const there = new Watch(remote, '#');
    local.publish('m/1', '', { qos: 2 });
    await there.topic('m/1');
    const gone = new Promise<void>((resolve) => {
      remote.on('unsubscribed', ({ topicFilter }) => topicFilter === 'm/#' && resolve());
    });
    local.changeBridge('more', bridge('more', 'n/#'));
    await reaches(local, 'more', 'connected');
    await gone;
    local.publish('m/2', '', { qos: 2 });
    local.publish('n/1', '', { qos: 2 });
    assert.equal((await there.next()).topicName, 'n/1');
    local.removeBridge('more');
    assert.deepEqual(
      local.bridges().map(({ name }) => name),
      ['stays'],
    );
    assert.throws(() => local.removeBridge('more'), /there is no bridge "more"/);
    assert.equal(statusOf(local, 'stays').sinceMs, sinceMs);
  });

  it('says on both sides whether it is connected, and its figures under $SYS', async () => {
    const remote = await brokers.start();
    const local = await brokers.start({
      sys: { intervalSeconds: 1 },
      bridges: [{ name: 'b', remotes: at(remote), clientId: 'site-7', topics: out(0) }],
    });
    const topic = '$SYS/broker/connection/site-7/state';
    const there = new Watch(remote, topic);
    const here = new Watch(local, topic);
    while ((await here.next()).payload !== '1');
    while ((await there.next()).payload !== '1');
    const figures = new Watch(local, '$SYS/broker/bridge/b/#');
    while ((await figures.topic('$SYS/broker/bridge/b/state')).payload !== 'connected');
    local.removeBridge('b');
    assert.equal((await there.next()).payload, '0');
    assert.equal((await here.next()).payload, '0');
  });

  it('leaves no state behind under a name it has no longer', async () => {
    const remote = await brokers.start();
    const settings = { name: 'b', remotes: at(remote), topics: out(0) };
    const local = await brokers.start({ bridges: [{ ...settings, clientId: 'old' }] });
    const states = new Watch(local, '$SYS/broker/connection/+/state');
    while ((await states.topic('$SYS/broker/connection/old/state')).payload !== '1');
    local.changeBridge('b', { ...settings, clientId: 'new' });
    while ((await states.topic('$SYS/broker/connection/old/state')).payload !== '');
    while ((await states.topic('$SYS/broker/connection/new/state')).payload !== '1');
    const later = new Watch(local, '$SYS/broker/connection/+/state');
    assert.equal((await later.next()).topicName, '$SYS/broker/connection/new/state');
  });

  for (const protocolVersion of ['3.1.1', '5.0'] as const)
    it(`leaves nothing at the remote that fills up once it was removed, ${protocolVersion}`, async () => {
      const remote = await brokers.start();
      const both = [
        { direction: 'both', topic: 'a/#', qos: 1 } as const,
        { direction: 'in', topic: 'b', qos: 2 } as const,
      ];
      const settings = { remotes: at(remote), protocolVersion, topics: both, notifications: { enabled: false } };
      const local = await brokers.start();
      let asked = 0;
      const subscribed = new Promise<void>((resolve) => {
        remote.on('subscribed', () => ++asked === 4 && resolve());
      });
      for (const name of ['removed', 'stays']) local.addBridge({ ...settings, name });
      await subscribed;
      const left = new Promise<void>((resolve) => {
        remote.on('clientDisconnected', () => resolve());
      });
      local.removeBridge('removed');
      await left;
      const { sessions, subscriptions } = remote.status();
      assert.deepEqual({ sessions, subscriptions }, { sessions: protocolVersion === '5.0' ? 1 : 2, subscriptions: 2 });
    });
});
