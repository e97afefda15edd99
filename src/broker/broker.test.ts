/** Goal: the broker as a program embeds it: its life, its doors, its limits, what it tells and who it tells it to. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Duplex, duplexPair, Readable } from 'node:stream';
import { after, describe, it, type TestContext } from 'node:test';
import { createWebSocketStream, WebSocket, WebSocketServer } from 'ws';
import { freePort } from '../../test/support/free-port.js';
import { type ConnectOptions, WireClient } from '../../test/support/wire-client.js';
import type { Logger } from '../base/index.js';
import type { ConfigInput } from '../config/index.js';
import { PacketType, type ProtocolVersion, ReasonCode } from '../protocol/index.js';
import { createBroker } from './broker.js';
import type { Broker, BrokerOptions } from './broker-api.js';
import type { ReceivedMessage } from './local-subscriber.js';

const listener = { name: 'test', host: '127.0.0.1', port: 0 };

/** A broker that is stopped when its test ends; it does not listen unless the configuration says where. */
function make(context: TestContext, config: ConfigInput = {}, more: Omit<BrokerOptions, 'config'> = {}): Broker {
  const broker = createBroker({
    config: {
      listeners: [],
      sys: { intervalSeconds: 0 },
      protection: { overload: { eventLoopDelayMsMax: 0 } },
      ...config,
    },
    ...more,
  });
  context.after(() => broker.stop());
  return broker;
}

async function started(context: TestContext, config: ConfigInput = {}, more: Omit<BrokerOptions, 'config'> = {}) {
  const broker = make(context, config, more);
  await broker.start();
  return broker;
}

/** A client over a socket that the program accepts and hands to the broker. */
async function open(broker: Broker, version: ProtocolVersion = 5, options?: { allowAnonymous?: boolean }) {
  const door = createServer().listen(0, '127.0.0.1');
  await once(door, 'listening');
  const accepted = once(door, 'connection');
  const client = await overTcp((door.address() as AddressInfo).port, version);
  const [socket] = (await accepted) as [Socket];
  door.close();
  broker.handle(socket, options);
  return client;
}

async function connected(broker: Broker, options: ConnectOptions & { version?: ProtocolVersion } = {}) {
  const { version = 5, ...rest } = options;
  const client = await open(broker, version);
  const connack = await client.connect(rest);
  return { client, connack };
}

/** Removed once the brokers of all tests have stopped. */
const folders: string[] = [];
after(() => Promise.all(folders.map((path) => rm(path, { recursive: true, force: true }))));

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'dunlin-broker-'));
  folders.push(path);
  return path;
}

/** An HTTP server, and what it answers to an upgrade. */
async function httpServer(context: TestContext) {
  const server = createHttpServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => server.close().closeAllConnections());
  const upgrade = (path: string) =>
    new Promise<number | undefined>((resolve) => {
      const webSocket = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}${path}`, ['mqtt']);
      context.after(() => webSocket.terminate());
      webSocket.on('error', () => {});
      webSocket.on('upgrade', ({ statusCode }) => resolve(statusCode));
      webSocket.on('unexpected-response', (_request, { statusCode }) => resolve(statusCode));
    });
  return { server, upgrade };
}

function collectingLog() {
  const lines: string[] = [];
  const at = (level: string) => (event: string, sentence: string) => lines.push(`${level} ${event}: ${sentence}`);
  const log: Logger = {
    level: 4,
    error: at('error'),
    warning: at('warning'),
    information: at('information'),
    debug: at('debug'),
  };
  return { log, lines };
}

const portOf = (broker: Broker) => broker.listeners[0]!.port!;

async function overTcp(port: number, version: ProtocolVersion = 5): Promise<WireClient> {
  const socket = dial({ host: '127.0.0.1', port });
  await once(socket, 'connect');
  return new WireClient(socket, version);
}

describe('the life of a broker', () => {
  it('tells where it listens, stops, and starts again with its sessions', async (context) => {
    const broker = make(context, { listeners: [listener, { name: 'web', protocol: 'ws', port: 0, path: '/x' }] });
    assert.equal(broker.listeners.length, 0);
    await broker.start();
    const [tcp, web] = broker.listeners;
    assert.ok(tcp!.port! > 0 && web!.port! > 0);
    assert.deepEqual(
      [tcp!.name, tcp!.protocol, tcp!.address, web!.name, web!.protocol],
      ['test', 'mqtt', '127.0.0.1', 'web', 'ws'],
    );
    const first = await overTcp(tcp!.port!);
    await first.connect({ clientId: 'c', properties: { sessionExpiryInterval: 100 } });
    await first.subscribe('a');
    const formerPort = tcp!.port!;
    await broker.stop();
    assert.deepEqual(broker.listeners, []);
    await assert.rejects(overTcp(formerPort), { code: 'ECONNREFUSED' });
    await broker.stop();

    await broker.start();
    const again = await overTcp(portOf(broker));
    const connack = await again.connect({ clientId: 'c', cleanStart: false });
    assert.equal(connack.sessionPresent, true);
    broker.publish('a', 'x');
    assert.equal((await again.message()).payload, 'x');
    again.stream.destroy();
  });

  it('is not started twice', async (context) => {
    const broker = await started(context);
    await assert.rejects(broker.start(), { code: 'BROKER_RUNNING' });
  });

  it('says in one line which listener could not be bound, and leaves none bound', async (context) => {
    const blocker = createServer().listen(0, '127.0.0.1');
    await once(blocker, 'listening');
    context.after(() => blocker.close());
    const { port } = blocker.address() as AddressInfo;
    const free = await freePort();
    const broker = make(context, {
      listeners: [
        { name: 'free', port: free },
        { name: 'taken', port },
      ],
    });
    for (let attempt = 0; attempt < 2; attempt++)
      await assert.rejects(broker.start(), {
        name: 'Fault',
        code: 'LISTEN_ADDRESS_IN_USE',
        message: `listener taken: cannot listen on 127.0.0.1:${port}: the address is in use by another program`,
      });
    assert.deepEqual(broker.listeners, []);
    await assert.rejects(overTcp(free), { code: 'ECONNREFUSED' });
    blocker.close();
    await once(blocker, 'close');
    await broker.start();
    assert.equal(broker.listeners.length, 2);
  });

  it('names an address that this machine does not have', async (context) => {
    const broker = make(context, { listeners: [{ name: 'far', host: '192.0.2.1', port: 0, allowAnonymous: true }] });
    await assert.rejects(broker.start(), { code: 'LISTEN_ADDRESS_UNKNOWN' });
  });

  it('leaves nothing bound when it is stopped while it starts', async (context) => {
    const broker = make(context, { listeners: [listener, { name: 'second', port: 0 }] });
    const starting = broker.start().catch(() => {});
    await broker.stop();
    await starting;
    assert.deepEqual(broker.listeners, []);
    await broker.start();
    assert.equal(broker.listeners.length, 2);
  });

  for (const mode of ['memory', 'buffered'] as const)
    it(`leaves nothing behind when it is stopped while it starts without a listener, with storage in mode ${mode}`, async (context) => {
      const storage = { mode, path: await folder() };
      const broker = make(context, { storage });
      const start = broker.start();
      const stop = broker.stop();
      await assert.rejects(start, { code: 'BROKER_STOPPED' });
      await stop;
      assert.equal(broker.status().running, false);
      await started(context, { storage }); // its folder is free
    });

  it('stops once for all who ask, and starts again after that', async (context) => {
    const broker = await started(context, { listeners: [listener] });
    const [near, far] = duplexPair();
    broker.handle(far);
    const client = new WireClient(near, 4);
    await client.connect();
    near.pause(); // it does not take the goodbye, so that stopping takes a while
    const order: string[] = [];
    const first = broker.stop().then(() => order.push('first'));
    const second = broker.stop().then(() => order.push('second'));
    const start = broker.start().then(() => order.push('start'));
    await assert.rejects(broker.start(), { code: 'BROKER_RUNNING' });
    await Promise.all([first, second, start]);
    assert.deepEqual(order, ['first', 'second', 'start']);
    await (await overTcp(portOf(broker))).connect();
  });

  it('lets nobody in before its storage is open', async (context) => {
    const broker = make(context, { storage: { mode: 'buffered', path: await folder() } });
    const start = broker.start();
    const [, stream] = duplexPair();
    broker.handle(stream);
    await once(stream, 'close');
    await start;
    await connected(broker);
  });

  it('tells its clients that it shuts down, and publishes no wills', async (context) => {
    const broker = await started(context);
    const wills: string[] = [];
    broker.subscribe('will', ({ payload }) => wills.push(payload.toString()));
    const will = { topicName: 'will', payload: Buffer.from('w'), qos: 0, retain: false } as const;
    const five = await connected(broker, { clientId: 'five', will });
    const four = await connected(broker, { clientId: 'four', version: 4, will });
    const early = await open(broker);
    await broker.stop();
    await five.client.refused(ReasonCode.ServerShuttingDown);
    await four.client.closed();
    await early.ended();
    assert.deepEqual([wills, broker.metrics.connections, broker.metrics.clientsConnected], [[], 0, 0]);
  });

  it('tells a client whose login is being decided that it is not there', async (context) => {
    for (const [version, code] of [
      [5, ReasonCode.ServerUnavailable],
      [4, 3],
    ] as const) {
      let asked = () => {};
      const isAsked = new Promise<void>((resolve) => {
        asked = resolve;
      });
      const authenticate = () => {
        asked();
        return new Promise<never>(() => {});
      };
      const broker = await started(context, {}, { policy: { authenticate } });
      const client = await open(broker, version);
      client.sendConnect({ username: 'ada', password: 'x' });
      await isAsked;
      await broker.stop();
      assert.equal((await client.packet(PacketType.Connack)).reasonCode, code);
    }
  });

  it('stops although a client never reads', async (context) => {
    const broker = await started(context, { listeners: [listener] });
    const client = await overTcp(portOf(broker));
    await client.connect();
    await client.subscribe('a');
    client.stream.pause();
    for (let count = 0; count < 100; count++) broker.publish('a', Buffer.alloc(100_000));
    await broker.stop();
    assert.equal(broker.metrics.connections, 0);
    client.stream.destroy();
  });

  it('refuses settings it does not know', () => {
    assert.throws(() => createBroker({ config: { limit: {} } as ConfigInput }), { code: 'CONFIG_INVALID' });
  });
});

describe('the program of a broker', () => {
  it('publishes and subscribes like a client, without having started', (context) => {
    const broker = make(context);
    assert.equal(broker.publish('a/1', 'stored', { retain: true, qos: 1 }), ReasonCode.NoMatchingSubscribers);
    const received: ReceivedMessage[] = [];
    const end = broker.subscribe('a/+', (message) => received.push(message), { qos: 1 });
    const properties = { contentType: 'text/plain' };
    assert.equal(broker.publish('a/2', Buffer.from([0, 255]), { qos: 2, properties }), ReasonCode.Success);
    end();
    end();
    assert.equal(broker.publish('a/3', ''), ReasonCode.NoMatchingSubscribers);
    assert.deepEqual(
      received.map(({ payload, ...rest }) => ({ ...rest, payload: payload.toString('latin1') })),
      [
        { topicName: 'a/1', qos: 1, retain: true, payload: 'stored', properties: undefined, publisherId: undefined },
        { topicName: 'a/2', qos: 1, retain: false, payload: '\0ÿ', properties, publisherId: undefined },
      ],
    );
  });

  it('is told at once what is no topic', (context) => {
    const broker = make(context);
    assert.throws(() => broker.publish('a/#', ''), { code: 'TOPIC_NAME_INVALID', message: /"a\/#"/ });
    assert.throws(() => broker.subscribe('a/#/b', () => {}), { code: 'TOPIC_FILTER_INVALID' });
  });

  it('gets what clients publish, in whatever way, and may answer from within', async (context) => {
    const { log, lines } = collectingLog();
    const broker = await started(context, {}, { logger: log });
    const got: string[] = [];
    broker.subscribe('in/#', ({ topicName, payload, publisherId, qos }) => {
      got.push(`${topicName} ${payload} ${publisherId} ${qos}`);
      broker.publish(`out/${payload}`, payload);
      if (payload.toString() === '2') throw new Error('handler gives up');
    });
    const { client } = await connected(broker, { clientId: 'c' });
    await client.subscribe('out/#');
    const payload = Buffer.from('1');
    const packet = { type: PacketType.Publish, dup: false, qos: 0, retain: false, topicName: 'in/x' } as const;
    client.send(
      { ...packet, payload },
      { ...packet, payload: Buffer.from('2') },
      { ...packet, payload: Buffer.from('3') },
    );
    for (const expected of ['out/1', 'out/2', 'out/3']) assert.equal((await client.message()).topicName, expected);
    await client.deliver('in/y', '4', { qos: 1 }).catch(() => {});
    assert.deepEqual(got, ['in/x 1 c 0', 'in/x 2 c 0', 'in/x 3 c 0', 'in/y 4 c 1']);
    assert.deepEqual(
      lines.filter((line) => line.startsWith('error')),
      ['error subscription.handler-failed: a message handler threw: Error: handler gives up'],
    );
  });

  it('sees clients come, subscribe and go, whatever a listener throws', async (context) => {
    const { log, lines } = collectingLog();
    const broker = await started(context, {}, { logger: log });
    const seen: string[] = [];
    broker.on('clientConnected', () => {
      throw new Error('listener gives up');
    });
    broker.on('clientConnected', ({ client }) => seen.push(`+${client.clientId} ${client.protocolVersion}`));
    broker.on('subscribed', ({ topicFilter, qos }) => seen.push(`${topicFilter} ${qos}`));
    broker.on('unsubscribed', ({ topicFilter }) => seen.push(`no ${topicFilter}`));
    const mute = broker.on('clientDisconnected', () => seen.push('never'));
    mute();
    broker.on('clientDisconnected', ({ client, reasonCode, reason }) =>
      seen.push(`-${client.clientId} ${reasonCode} ${reason}`),
    );
    const { client } = await connected(broker, { clientId: 'c' });
    await client.subscribe(['a', '$share/g/b'], { qos: 1 });
    await client.unsubscribe('a', 'unknown');
    client.send({ type: PacketType.Disconnect, reasonCode: 0 });
    await client.ended();
    const { client: lost } = await connected(broker, { clientId: 'lost', version: 4 });
    lost.stream.destroy();
    while (seen.length < 7) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(seen, [
      '+c 5',
      'a 1',
      '$share/g/b 1',
      'no a',
      '-c 0 Normal disconnection',
      '+lost 4',
      '-lost undefined connection lost',
    ]);
    assert.equal(lines.filter((line) => line.includes('listener gives up')).length, 2);
  });

  it('may hand over functions that are asynchronous, and fail', async (context) => {
    const { log, lines } = collectingLog();
    const broker = await started(context, {}, { logger: log });
    broker.on('clientConnected', async () => {
      throw new Error('listener fails');
    });
    broker.subscribe('a', async () => {
      throw new Error('handler fails');
    });
    const { client } = await connected(broker);
    await client.deliver('a', '1', { qos: 1 });
    assert.deepEqual(
      lines.filter((line) => line.startsWith('error')),
      [
        'error events.listener-failed: a listener of clientConnected threw: Error: listener fails',
        'error subscription.handler-failed: a message handler threw: Error: handler fails',
      ],
    );
  });

  it('may listen, stop listening and end subscriptions from within', async (context) => {
    const broker = await started(context);
    const seen: string[] = [];
    broker.on('clientConnected', ({ client }) => {
      seen.push(`first ${client.clientId}`);
      stopSecond();
      broker.on('clientConnected', (event) => seen.push(`added ${event.client.clientId}`));
    });
    const stopSecond = broker.on('clientConnected', () => seen.push('never'));
    const end = broker.subscribe('a', ({ payload }) => {
      seen.push(payload.toString());
      end();
    });
    const { client } = await connected(broker, { clientId: 'c1' });
    const packet = { type: PacketType.Publish, dup: false, qos: 0, retain: false, topicName: 'a' } as const;
    client.send({ ...packet, payload: Buffer.from('1') }, { ...packet, payload: Buffer.from('2') });
    await client.deliver('b', '', { qos: 1 });
    await connected(broker, { clientId: 'c2' });
    assert.deepEqual(seen, ['first c1', '1', 'first c2', 'added c2']);
  });

  it('lists and disconnects clients', async (context) => {
    const broker = await started(context);
    const { client } = await connected(broker, { clientId: 'c', username: 'ada' });
    assert.deepEqual(broker.clients(), [
      { clientId: 'c', username: 'ada', protocolVersion: 5, listener: 'handle', address: '127.0.0.1' },
    ]);
    assert.equal(broker.disconnect('nobody'), false);
    assert.equal(broker.disconnect('c'), true);
    assert.deepEqual(broker.clients(), [], 'gone at once, however slowly its stream closes');
    assert.equal(broker.disconnect('c'), false);
    await client.refused(ReasonCode.AdministrativeAction);
  });

  it('lists one client once when it takes its session over', async (context) => {
    const broker = await started(context);
    const first = await connected(broker, { clientId: 'c' });
    const second = await connected(broker, { clientId: 'c' });
    assert.deepEqual(
      broker.clients().map(({ clientId }) => clientId),
      ['c'],
    );
    await first.client.refused(ReasonCode.SessionTakenOver);
    await second.client.quiet();
    assert.equal(broker.metrics.clientsConnected, 1);
  });

  it('decides what it wants to decide, and leaves the rest to the configuration', async (context) => {
    const { log, lines } = collectingLog();
    const broker = await started(
      context,
      {},
      {
        logger: log,
        policy: {
          authenticate: async ({ username, password }) => {
            if (username === 'broken') throw new Error('database away');
            const good = username === 'ada' && password?.toString() === 'pw';
            return { reasonCode: good ? ReasonCode.Success : ReasonCode.Banned, reasonString: 'says the program' };
          },
          authorizeSubscribe: (_client, topicFilter, qos) =>
            topicFilter === 'secret' ? ReasonCode.NotAuthorized : qos > 1 ? 1 : qos,
        },
      },
    );
    const { client } = await connected(broker, { username: 'ada', password: 'pw' });
    assert.deepEqual(await client.subscribe(['secret', 'open', '$share/g/secret'], { qos: 2 }), [
      ReasonCode.NotAuthorized,
      1,
      ReasonCode.NotAuthorized,
    ]);
    assert.equal(await client.deliver('$SYS/x', '', { qos: 1 }), ReasonCode.NotAuthorized);
    for (const [username, reasonCode] of [
      ['eve', ReasonCode.Banned],
      ['broken', ReasonCode.ServerUnavailable],
    ] as const) {
      const refused = await open(broker);
      refused.sendConnect({ username });
      await refused.refused(reasonCode);
    }
    assert.ok(lines.some((line) => line.startsWith('error authentication.failed') && line.includes('database away')));
  });
});

describe('the doors of a broker', () => {
  it('are closed while it does not run', async (context) => {
    const broker = make(context);
    const client = await open(broker);
    await client.ended();
    assert.equal(broker.metrics.connections, 0);
  });

  it('open to any stream of the program, and say goodbye over it', async (context) => {
    const broker = await started(context);
    // It takes no write at once, unlike a socket.
    const [near, far] = duplexPair();
    broker.handle(near);
    const client = new WireClient(far, 5);
    await client.connect();
    assert.deepEqual(await client.subscribe('a'), [0]);
    broker.publish('a', 'x');
    assert.equal((await client.message()).payload, 'x');
    client.send('3603000161'); // QoS 3
    await client.refused(ReasonCode.MalformedPacket);
  });

  it('let anonymous clients in as the program says', async (context) => {
    const broker = await started(context, { users: [{ username: 'ada', password: 'pw' }] });
    const options = { allowAnonymous: false };
    const anonymous = await open(broker, 5, options);
    anonymous.sendConnect();
    await anonymous.refused(ReasonCode.NotAuthorized);
    const wrong = await open(broker, 4, options);
    wrong.sendConnect({ username: 'ada', password: 'no' });
    await wrong.refused(0, 4);
    await (await open(broker, 5, options)).connect({ username: 'ada', password: 'pw' });
    await (await open(broker)).connect();
  });

  it('open on an HTTP server of the program, until they are let go', async (context) => {
    const broker = await started(context);
    const http = createHttpServer((_request, response) => response.end('page')).listen(0, '127.0.0.1');
    await once(http, 'listening');
    context.after(() => http.close());
    const { port } = http.address() as AddressInfo;
    const detach = broker.attachWebSocket(http, { path: '/broker' });
    const socket = new WebSocket(`ws://127.0.0.1:${port}/broker`, 'mqtt');
    const client = new WireClient(createWebSocketStream(socket) as Duplex, 5);
    await once(socket, 'open');
    await client.connect({ clientId: 'web' });
    assert.equal(broker.clients()[0]?.listener, 'attached');
    assert.equal(await (await fetch(`http://127.0.0.1:${port}/broker`)).text(), 'page');
    detach();
    await client.quiet();
    const late = new WebSocket(`ws://127.0.0.1:${port}/broker`, 'mqtt');
    const [error] = (await once(late, 'error')) as [Error];
    assert.ok(error instanceof Error);
    client.stream.destroy();
    await client.ended();
    http.closeAllConnections();
  });

  it('stand beside each other on one HTTP server, each at its own path', async (context) => {
    const [one, other] = [await started(context), await started(context)];
    const { server, upgrade } = await httpServer(context);
    const detach = one.attachWebSocket(server, { path: '/one' });
    other.attachWebSocket(server, { path: '/other' });
    for (const broker of [one, other])
      for (const path of ['/one', '*'])
        assert.throws(() => broker.attachWebSocket(server, { path }), { code: 'PATH_TAKEN' });
    for (const path of ['/one', '/other']) assert.equal(await upgrade(path), 101);
    assert.equal(await upgrade('/none'), 404);
    detach();
    detach();
    assert.equal(await upgrade('/one'), 404);
    other.attachWebSocket(server, { path: '/one' });
    assert.equal(await upgrade('/one'), 101);
  });

  it('leave a WebSocket alone that another handler of the HTTP server has taken', async (context) => {
    const { log, lines } = collectingLog();
    const broker = await started(context, {}, { logger: log });
    const { server, upgrade } = await httpServer(context);
    new WebSocketServer({ server, clientTracking: false });
    broker.attachWebSocket(server);
    assert.equal(await upgrade('/mqtt'), 101);
    assert.match(lines.join('\n'), /^error connection\.refused: A WebSocket cannot be taken: /);
  });

  it('ask for a stream, a server and options that they know', async (context) => {
    const broker = await started(context);
    const loose = (value: unknown) => value as never;
    for (const stream of [undefined, 5, {}, new Readable()])
      assert.throws(() => broker.handle(loose(stream)), { code: 'STREAM_INVALID' });
    assert.throws(() => broker.handle(duplexPair()[0], loose({ anonymous: true })), { code: 'OPTIONS_INVALID' });
    for (const server of [undefined, 5, Object.assign(() => {}, { on() {}, listen() {} })])
      assert.throws(() => broker.attachWebSocket(loose(server)), { code: 'SERVER_INVALID' });
    const server = createHttpServer();
    const wrong = [null, { path: 'mqtt' }, { path: '/a?b' }, { paths: [] }, { origins: 'x' }, { allowAnonymous: 'no' }];
    for (const options of wrong)
      assert.throws(() => broker.attachWebSocket(server, loose(options)), { code: 'OPTIONS_INVALID' });
    assert.equal(server.listenerCount('upgrade'), 0);
  });

  it('forget a stream that was closed before it was handed over', async (context) => {
    const broker = await started(context);
    const stream = duplexPair()[0];
    stream.destroy();
    await once(stream, 'close');
    broker.handle(stream);
    while (broker.metrics.connections > 0) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(broker.metrics.connectionsTotal, 1);
  });

  it('let in no more connections than they may, and the next one when one has left', async (context) => {
    for (const config of [
      { listeners: [{ ...listener, connectionsMax: 2 }] },
      { listeners: [listener], limits: { connectionsMax: 2 } },
    ]) {
      const broker = await started(context, config);
      const clients = [await overTcp(portOf(broker)), await overTcp(portOf(broker))];
      for (const [index, client] of clients.entries()) await client.connect({ clientId: `c${index}` });
      await (await overTcp(portOf(broker))).ended();
      assert.deepEqual([broker.metrics.connections, broker.metrics.connectionsRefused], [2, 1]);
      clients[0]!.stream.destroy();
      while (broker.metrics.connections > 1) await new Promise((resolve) => setImmediate(resolve));
      const next = await overTcp(portOf(broker));
      await next.connect();
      for (const client of [...clients, next]) client.stream.destroy();
      await broker.stop();
    }
  });

  it('take the versions their listener takes', async (context) => {
    const broker = await started(context, { listeners: [{ ...listener, protocolVersions: ['5.0'] }] });
    await (await overTcp(portOf(broker))).connect();
    const old = await overTcp(portOf(broker), 4);
    old.sendConnect();
    await old.refused(0, 1);
  });
});

describe('what a broker tells its clients', () => {
  it('is how many subscriptions they may have', async (context) => {
    const broker = await started(context, { limits: { subscriptionsPerClientMax: 2 } });
    const { client } = await connected(broker);
    const { QuotaExceeded } = ReasonCode;
    assert.deepEqual(await client.subscribe(['a', 'b', 'c', 'a', '$share/g/a']), [
      0,
      0,
      QuotaExceeded,
      0,
      QuotaExceeded,
    ]);
    await client.unsubscribe('a');
    assert.deepEqual(await client.subscribe('c'), [0]);
  });

  it('is where else to go', async (context) => {
    for (const [redirect, reasonCode] of [
      ['useAnotherServer', ReasonCode.UseAnotherServer],
      ['serverMoved', ReasonCode.ServerMoved],
    ] as const) {
      const broker = await started(context, { protocol: { redirect, serverReference: 'other:1883' } });
      const client = await open(broker);
      client.sendConnect();
      assert.equal((await client.refused(reasonCode)).serverReference, 'other:1883');
      const old = await open(broker, 4);
      old.sendConnect();
      await old.refused(0, 3);
      await broker.stop();
    }
  });

  it('is the keep alive it wants', async (context) => {
    const broker = await started(context, { limits: { keepAliveSecondsMax: 100 } });
    for (const [asked, told] of [
      [50, undefined],
      [100, undefined],
      [101, 100],
      [0, 100],
    ] as const)
      assert.equal((await connected(broker, { keepAlive: asked })).connack.properties?.serverKeepAlive, told);
    const free = await started(context);
    assert.equal((await connected(free, { keepAlive: 0 })).connack.properties?.serverKeepAlive, undefined);
  });

  it('is response information, to those that ask', async (context) => {
    const broker = await started(context, { protocol: { responseInformation: 'responses/' } });
    for (const [asked, told] of [
      [1, 'responses/c/'],
      [0, undefined],
      [undefined, undefined],
    ] as const) {
      const properties = asked === undefined ? {} : { requestResponseInformation: asked };
      const { connack } = await connected(broker, { clientId: 'c', properties });
      assert.equal(connack.properties?.responseInformation, told);
    }
  });

  it('is a client identifier of their own, if they have none', async (context) => {
    const broker = await started(context);
    const ids = new Set<string>();
    for (let count = 0; count < 5; count++) {
      const { connack } = await connected(broker, { clientId: '' });
      ids.add(connack.properties?.assignedClientIdentifier ?? '');
    }
    assert.equal(ids.size, 5);
    assert.deepEqual(new Set(broker.clients().map(({ clientId }) => clientId)), ids);
    const named = await connected(broker, { clientId: 'named' });
    assert.equal(named.connack.properties?.assignedClientIdentifier, undefined);
    await connected(broker, { clientId: '', version: 4 });
  });

  it('is what is switched off, and its limits', async (context) => {
    const broker = await started(context, {
      protocol: {
        maximumQoS: 1,
        retain: false,
        wildcardSubscriptions: false,
        subscriptionIdentifiers: false,
        sharedSubscriptions: false,
      },
      limits: { receiveMaximum: 7, packetBytesMax: 2000, topicAliasMaximum: 3, sessionExpirySecondsMax: 60 },
    });
    const { client, connack } = await connected(broker, { properties: { sessionExpiryInterval: 61 } });
    assert.deepEqual(connack.properties, {
      receiveMaximum: 7,
      maximumPacketSize: 2000,
      topicAliasMaximum: 3,
      sessionExpiryInterval: 60,
      maximumQoS: 1,
      retainAvailable: 0,
      wildcardSubscriptionAvailable: 0,
      subscriptionIdentifierAvailable: 0,
      sharedSubscriptionAvailable: 0,
    });
    assert.deepEqual(await client.subscribe(['a/+', '$share/g/a', 'a']), [
      ReasonCode.WildcardSubscriptionsNotSupported,
      ReasonCode.SharedSubscriptionsNotSupported,
      0,
    ]);
    client.publish('a', '', { qos: 2 });
    await client.refused(ReasonCode.QoSNotSupported);
  });

  it('are its figures below $SYS, which nobody else may publish', async (context) => {
    const broker = await started(context, { sys: { intervalSeconds: 1000 } });
    const { client } = await connected(broker, { version: 4 });
    await client.subscribe('$SYS/broker/version');
    const message = await client.message();
    assert.equal(message.retain, true);
    assert.match(message.payload, /^dunlin version \d+\.\d+\.\d+/);
  });
});
