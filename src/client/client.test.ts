/**
 * Goal: the client speaks to a broker that is not ours, over every transport, and keeps QoS state over lost connections.
 * Method: Debian's mosquitto; where a server must misbehave, a scripted one made of the codec.
 */
import assert from 'node:assert/strict';
import dns from 'node:dns';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, connect as connectTcp, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { WebSocketServer } from 'ws';
import { encodePacket, type Packet, PacketReader, PacketType, ReasonCode } from '../protocol/index.js';
import {
  type ClientError,
  type ClientHandlers,
  type ClientOptions,
  type IncomingMessage,
  MqttClient,
} from './index.js';
import { findProgram, type Mosquitto, startMosquitto } from './mosquitto.test.helper.js';

const program = findProgram('mosquitto', 'src/client/client.test.ts');
const text = (value: string) => Buffer.from(value);
const filter = (topicFilter: string, qos: 0 | 1 | 2 = 0) => ({
  topicFilter,
  qos,
  noLocal: false,
  retainAsPublished: false,
  retainHandling: 0 as const,
});

function optionsFor(port: number, more: Partial<ClientOptions> = {}): ClientOptions {
  return {
    target: { transport: 'tcp', host: '127.0.0.1', port },
    protocolVersion: 5,
    clientId: '',
    cleanStart: true,
    keepAlive: 60,
    ...more,
  };
}

/** Collects messages and lets a test wait for a number of them. */
class Inbox {
  readonly messages: IncomingMessage[] = [];
  private waiting: { count: number; resolve: () => void } | undefined;

  readonly onMessage = (message: IncomingMessage) => {
    this.messages.push(message);
    if (this.waiting !== undefined && this.messages.length >= this.waiting.count) this.waiting.resolve();
  };

  async take(count: number): Promise<string[]> {
    if (this.messages.length < count) {
      await new Promise<void>((resolve) => {
        this.waiting = { count, resolve };
      });
    }
    return this.messages.splice(0, count).map(({ topicName, payload }) => `${topicName} ${Buffer.from(payload)}`);
  }
}

describe('against mosquitto', { skip: program === undefined && 'mosquitto is not installed' }, () => {
  let broker: Mosquitto;
  before(async () => {
    broker = await startMosquitto(program!, (port, directory) => [
      `listener ${port} 127.0.0.1`,
      'allow_anonymous true',
      'max_topic_alias 3',
      'max_inflight_messages 5',
      `listener 0 ${directory}/broker.sock`,
      'allow_anonymous true',
    ]);
  });
  after(() => broker.stop());

  const open = async (more: Partial<ClientOptions> = {}, handlers: ClientHandlers = {}) => {
    const client = new MqttClient(optionsFor(broker.port, more), handlers);
    await client.connect();
    return client;
  };

  for (const protocolVersion of [3, 4, 5] as const) {
    test(`version ${protocolVersion}: every QoS there and back`, async () => {
      const inbox = new Inbox();
      const clientId = `v${protocolVersion}`;
      const client = await open({ protocolVersion, clientId }, inbox);
      assert.deepEqual((await client.subscribe([filter(`${clientId}/#`, 2)])).reasonCodes, [2]);
      for (const qos of [0, 1, 2] as const) {
        assert.equal((await client.publish(`${clientId}/${qos}`, text('x'), { qos })).reasonCode, 0);
        assert.deepEqual(await inbox.take(1), [`${clientId}/${qos} x`]);
      }
      assert.deepEqual((await client.unsubscribe([`${clientId}/#`])).reasonCodes, [0]);
      assert.equal(
        (await client.publish(`${clientId}/1`, text('x'), { qos: 1 })).reasonCode,
        protocolVersion === 5 ? 0x10 : 0,
      );
      await client.disconnect();
      assert.equal(client.connected, false);
    });
  }

  test('a thousand messages in flight at QoS 2 arrive once each and in order', async () => {
    const inbox = new Inbox();
    const client = await open(
      { protocolVersion: 5, automaticTopicAliases: true, properties: { topicAliasMaximum: 5, receiveMaximum: 7 } },
      inbox,
    );
    await client.subscribe([filter('many/+', 2)]);
    const expected = Array.from({ length: 1000 }, (_, index) => `many/${index % 4} ${index}`);
    await Promise.all(expected.map((_, index) => client.publish(`many/${index % 4}`, text(String(index)), { qos: 2 })));
    assert.deepEqual(await inbox.take(1000), expected);
    assert.equal(client.unacknowledgedCount, 0);
    await client.disconnect();
  });

  test('properties, retained messages and an assigned client id', async () => {
    const inbox = new Inbox();
    const client = await open({}, inbox);
    assert.notEqual(client.clientId, '');
    const properties = {
      contentType: 'text/plain',
      responseTopic: 'r',
      correlationData: text('c'),
      userProperties: [['a', '1'] as const, ['a', '2'] as const],
    };
    await client.publish('props/x', text('kept'), { qos: 1, retain: true, properties });
    await client.subscribe([filter('props/x', 1)], { subscriptionIdentifiers: [42] });
    await inbox.take(0);
    while (inbox.messages.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const [message] = inbox.messages;
    assert.equal(message?.retain, true);
    assert.deepEqual(JSON.parse(JSON.stringify(message?.properties)), {
      ...JSON.parse(JSON.stringify(properties)),
      subscriptionIdentifiers: [42],
    });
    await client.publish('props/x', Buffer.alloc(0), { qos: 1, retain: true });
    await client.disconnect();
  });

  test('a will is sent when the connection is destroyed and not when it says goodbye', async () => {
    const inbox = new Inbox();
    const watcher = await open({}, inbox);
    await watcher.subscribe([filter('wills/#')]);
    const will = (name: string) => ({
      topicName: `wills/${name}`,
      payload: text('gone'),
      qos: 0 as const,
      retain: false,
    });
    const polite = await open({ will: will('polite') });
    await polite.disconnect();
    const broken = await open({ will: will('broken') });
    broken.destroy();
    assert.deepEqual(await inbox.take(1), ['wills/broken gone']);
    await watcher.disconnect();
  });

  test('a Unix socket', async () => {
    const client = await open({ target: { transport: 'unix', path: join(broker.directory, 'broker.sock') } });
    assert.equal(client.address, join(broker.directory, 'broker.sock'));
    assert.equal((await client.publish('a', text('b'), { qos: 1 })).reasonCode, 0x10);
    await client.disconnect();
  });

  test('a session is resumed after the network failed, with what was in flight', async () => {
    const relay = await startRelay(broker.port);
    const inbox = new Inbox();
    let connects = 0;
    let lost = 0;
    const client = new MqttClient(
      optionsFor(relay.port, {
        clientId: 'resumer',
        properties: { sessionExpiryInterval: 60 },
        reconnect: { delayMsMin: 1, delayMsMax: 20, initial: false },
      }),
      {
        onMessage: inbox.onMessage,
        onConnect: () => {
          connects += 1;
        },
        onClose: (error) => {
          lost += 1;
          assert.equal(error.code, 'CLIENT_CONNECTION_LOST');
        },
      },
    );
    await client.connect();
    await client.subscribe([filter('resume/#', 2)]);
    const expected: string[] = [];
    for (let round = 0; round < 5; round += 1) {
      const results: Promise<unknown>[] = [];
      for (let index = 0; index < 40; index += 1) {
        expected.push(`resume/${round} ${index}`);
        results.push(client.publish(`resume/${round}`, text(String(index)), { qos: 2 }));
      }
      setImmediate(() => relay.cut());
      await Promise.all(results);
    }
    const got = await inbox.take(200);
    assert.deepEqual([...new Set(got)].length, 200);
    assert.deepEqual(got, expected);
    assert.ok(connects > 1 && lost === connects - 1, `${connects} connects, ${lost} lost`);
    await client.disconnect();
    await relay.close();
  });

  test('a resumed client with no session subscribes again', async () => {
    const relay = await startRelay(broker.port);
    const inbox = new Inbox();
    const connected: boolean[] = [];
    let again: () => void = () => {};
    const reconnected = new Promise<void>((resolve) => {
      again = resolve;
    });
    const client = new MqttClient(
      optionsFor(relay.port, {
        protocolVersion: 4,
        clientId: 'forgetful',
        reconnect: { delayMsMin: 1, delayMsMax: 20, initial: false },
      }),
      {
        onMessage: inbox.onMessage,
        onConnect: ({ sessionPresent }) => {
          connected.push(sessionPresent);
          if (connected.length > 1) again();
        },
      },
    );
    await client.connect();
    await client.subscribe([filter('forget/#')]);
    relay.cut();
    await reconnected;
    // SUBSCRIBE went out before this, so the message comes back
    await client.publish('forget/x', text('1'));
    assert.deepEqual(await inbox.take(1), ['forget/x 1']);
    assert.deepEqual(connected, [false, false]);
    await client.disconnect();
    await relay.close();
  });

  test('nothing listens: the error names host and port', async () => {
    const relay = await startRelay(1);
    await relay.close();
    const client = new MqttClient(optionsFor(relay.port));
    await assert.rejects(client.connect(), (error: ClientError) => {
      assert.equal(error.code, 'CLIENT_DIAL_FAILED');
      assert.match(error.message, new RegExp(`^cannot connect to 127.0.0.1:${relay.port}: .*ECONNREFUSED`));
      return true;
    });
    await assert.rejects(client.publish('a', text('b'), { qos: 1 }), { code: 'CLIENT_NOT_CONNECTED' });
  });
});

describe('against mosquitto with TLS-PSK and without anonymous clients', {
  skip: program === undefined && 'mosquitto is not installed',
}, () => {
  test('a pre-shared key', async () => {
    const broker = await startMosquitto(program!, (port, directory) => [
      `listener ${port} 127.0.0.1`,
      'allow_anonymous true',
      'psk_hint dunlin',
      `psk_file ${writePsk(directory)}`,
      'tls_version tlsv1.2',
    ]);
    const target = (psk: string): ClientOptions['target'] => ({
      transport: 'tcp',
      host: '127.0.0.1',
      port: broker.port,
      tls: {
        maxVersion: 'TLSv1.2',
        ciphers: 'PSK',
        checkServerIdentity: () => undefined,
        pskCallback: () => ({ psk: Buffer.from(psk, 'hex'), identity: 'gull' }),
      },
    });
    const client = new MqttClient(optionsFor(broker.port, { target: target('00ff11') }));
    await client.connect();
    await client.publish('a', Buffer.alloc(300_000, 1), { qos: 1 });
    await client.disconnect();
    const wrong = new MqttClient(optionsFor(broker.port, { target: target('00ff12') }));
    await assert.rejects(wrong.connect(), { code: 'CLIENT_DIAL_FAILED' });
    await broker.stop();
  });

  test('a refusal names the reason in every version', async () => {
    const broker = await startMosquitto(program!, (port) => [`listener ${port} 127.0.0.1`, 'allow_anonymous false']);
    for (const protocolVersion of [3, 4, 5] as const) {
      const client = new MqttClient(optionsFor(broker.port, { protocolVersion, clientId: 'x' }));
      await assert.rejects(client.connect(), (error: ClientError) => {
        assert.deepEqual([error.code, error.reasonCode], ['CLIENT_CONNECT_REFUSED', ReasonCode.NotAuthorized]);
        assert.equal(error.message, `127.0.0.1:${broker.port} refused the connection: Not Authorized (0x87)`);
        return true;
      });
    }
    await broker.stop();
  });
});

describe('against a scripted server', () => {
  test('enhanced authentication in CONNECT and again', async () => {
    const server = await startServer((packet, answer) => {
      if (packet.type === PacketType.Connect) {
        assert.equal(packet.properties?.authenticationMethod, 'ADD');
        answer({
          type: PacketType.Auth,
          reasonCode: 0x18,
          properties: { authenticationMethod: 'ADD', authenticationData: text('1') },
        });
      } else if (packet.type === PacketType.Auth && packet.reasonCode === 0x19) {
        answer({
          type: PacketType.Auth,
          reasonCode: 0,
          properties: { authenticationMethod: 'ADD', authenticationData: text('9') },
        });
      } else if (packet.type === PacketType.Auth) {
        assert.equal(String(packet.properties?.authenticationData), '1+1');
        answer({
          type: PacketType.Connack,
          sessionPresent: false,
          reasonCode: 0,
          properties: { authenticationMethod: 'ADD', authenticationData: text('2') },
        });
      }
    });
    const seen: string[] = [];
    const authenticator = {
      method: 'ADD',
      begin: () => text('0'),
      respond: async (data: Uint8Array | undefined, last: boolean) => {
        seen.push(`${Buffer.from(data ?? [])}${last ? '.' : ''}`);
        return last ? undefined : text(`${Buffer.from(data ?? [])}+1`);
      },
    };
    const client = new MqttClient(optionsFor(server.port, { authenticator }));
    await client.connect();
    await client.reauthenticate();
    assert.deepEqual(seen, ['1', '2.', '9.']);
    client.destroy();
    await server.close();
  });

  test('messages that the handler holds back are acknowledged in the order of arrival', async () => {
    const acknowledged: string[] = [];
    let done = () => {};
    const all = new Promise<void>((resolve) => {
      done = resolve;
    });
    const server = await startServer((packet, answer) => {
      if (packet.type === PacketType.Connect) {
        answer({ type: PacketType.Connack, sessionPresent: false, reasonCode: 0 });
        for (const packetId of [1, 2, 3]) {
          answer({
            type: PacketType.Publish,
            dup: false,
            qos: 1,
            retain: false,
            topicName: 't',
            packetId,
            payload: text(''),
          });
        }
      } else if (packet.type === PacketType.Puback) {
        acknowledged.push(`${packet.packetId}:${packet.reasonCode}`);
        if (acknowledged.length === 3) done();
      }
    });
    const held: IncomingMessage[] = [];
    const client = new MqttClient(optionsFor(server.port, { manualAcknowledge: true }), {
      onMessage: (message) => {
        held.push(message);
        if (held.length < 3) return;
        held[2]!.acknowledge();
        held[0]!.acknowledge(0x87);
        setImmediate(() => held[1]!.acknowledge());
      },
    });
    await client.connect();
    await all;
    assert.deepEqual(acknowledged, ['1:135', '2:0', '3:0']);
    client.destroy();
    await server.close();
  });

  for (const [name, answers, code, reasonCode] of [
    ['a topic alias that was never allowed', [publish({ topicAlias: 1 })], 'CLIENT_PROTOCOL_FAILURE', 0x94],
    [
      'more than the receive maximum',
      [publish(undefined, 1), publish(undefined, 2), publish(undefined, 3)],
      'CLIENT_PROTOCOL_FAILURE',
      0x93,
    ],
    [
      'a second CONNACK',
      [{ type: PacketType.Connack, sessionPresent: false, reasonCode: 0 }],
      'CLIENT_PROTOCOL_FAILURE',
      0x82,
    ],
    ['DISCONNECT', [{ type: PacketType.Disconnect, reasonCode: 0x8b }], 'CLIENT_SERVER_DISCONNECTED', 0x8b],
  ] as const) {
    test(`a server that sends ${name}`, async () => {
      const said: number[] = [];
      const server = await startServer((packet, answer) => {
        if (packet.type === PacketType.Connect) {
          answer({ type: PacketType.Connack, sessionPresent: false, reasonCode: 0 });
          for (const each of answers) answer(each as Packet);
        } else if (packet.type === PacketType.Disconnect) said.push(packet.reasonCode);
      });
      const closed = new Promise<ClientError>((resolve) => {
        const client = new MqttClient(
          optionsFor(server.port, { manualAcknowledge: true, properties: { receiveMaximum: 2 } }),
          { onClose: resolve },
        );
        client.connect().catch(assert.fail);
      });
      const error = await closed;
      assert.deepEqual([error.code, error.reasonCode], [code, reasonCode], error.message);
      assert.deepEqual(said, code === 'CLIENT_PROTOCOL_FAILURE' ? [reasonCode] : []);
      assert.match(error.message, new RegExp(`127.0.0.1:${server.port}`));
      await server.close();
    });
  }

  test('limits of the server are kept: QoS, retain, packet size', async () => {
    const server = await startServer((packet, answer) => {
      if (packet.type !== PacketType.Connect) return;
      const properties = { maximumQoS: 1, retainAvailable: 0, maximumPacketSize: 50 };
      answer({ type: PacketType.Connack, sessionPresent: false, reasonCode: 0, properties });
    });
    const client = new MqttClient(optionsFor(server.port));
    await client.connect();
    const code = 'CLIENT_NOT_SUPPORTED_BY_SERVER';
    await assert.rejects(client.publish('a', text('b'), { qos: 2 }), { code, reasonCode: 0x9b });
    await assert.rejects(client.publish('a', text('b'), { retain: true }), { code, reasonCode: 0x9a });
    await assert.rejects(client.publish('a', Buffer.alloc(50)), { code, reasonCode: 0x95 });
    await assert.rejects(client.publish('a', Buffer.alloc(50), { qos: 1 }), { code, reasonCode: 0x95 });
    assert.equal(client.unacknowledgedCount, 0);
    client.destroy();
    await server.close();
  });

  test('a silent server is left: no CONNACK, no PINGRESP', async () => {
    const server = await startServer((packet, answer) => {
      if (packet.type === PacketType.Connect && packet.clientId === 'talk') {
        answer({ type: PacketType.Connack, sessionPresent: false, reasonCode: 0, properties: { serverKeepAlive: 1 } });
      }
    });
    await assert.rejects(new MqttClient(optionsFor(server.port, { connectTimeoutMs: 50 })).connect(), {
      code: 'CLIENT_CONNECT_TIMEOUT',
    });
    const sent: number[] = [];
    const error = await new Promise<ClientError>((resolve) => {
      const client = new MqttClient(optionsFor(server.port, { clientId: 'talk', pingTimeoutMs: 50 }), {
        onClose: resolve,
        onPacket: (direction, packet) => direction === 'sent' && sent.push(packet.type),
      });
      client.connect().catch(assert.fail);
    });
    assert.equal(error.code, 'CLIENT_KEEP_ALIVE_TIMEOUT');
    assert.deepEqual(sent, [PacketType.Connect, PacketType.Pingreq]);
    await server.close();
  });

  for (const transport of ['tcp', 'webSocket'] as const)
    test(`a host of two addresses, of which one answers, and late (${transport})`, async (t) => {
      const http = new WebSocketServer({ host: '127.0.0.1', port: 0 });
      await once(http, 'listening');
      http.on('connection', (webSocket) =>
        webSocket.send(encodePacket({ type: PacketType.Connack, sessionPresent: false, reasonCode: 0 }, 5)),
      );
      const server = await startServer((packet, answer) => {
        if (packet.type === PacketType.Connect)
          answer({ type: PacketType.Connack, sessionPresent: false, reasonCode: 0 });
      });
      // As a host without IPv6 tells it: the address that answers, then the one that does not.
      t.mock.method(dns, 'lookup', (_host: string, _options: object, done: (error: null, all: object[]) => void) => {
        const all = [
          { address: '127.0.0.1', family: 4 },
          { address: '::1', family: 6 },
        ];
        setImmediate(() => {
          done(null, all);
          // The process is busy meanwhile, which looks the same as a link that is slow.
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 600);
        });
      });
      const url = `ws://two.example:${(http.address() as AddressInfo).port}/`;
      const target: ClientOptions['target'] =
        transport === 'tcp' ? { transport, host: 'two.example', port: server.port } : { transport, url };
      const client = new MqttClient(optionsFor(0, { clientId: 'two', target }));
      await client.connect();
      client.destroy();
      await server.close();
      for (const webSocket of http.clients) webSocket.terminate();
      await new Promise((resolve) => http.close(resolve));
    });

  test('WebSocket: sub-protocol by version, packets of a turn in one frame', async () => {
    const http = new WebSocketServer({ host: '127.0.0.1', port: 0 });
    await once(http, 'listening');
    const { port } = http.address() as AddressInfo;
    const frames: string[] = [];
    http.on('connection', (webSocket, request) => {
      const reader = new PacketReader('server', 1 << 20);
      webSocket.on('message', (data: Buffer, isBinary) => {
        const types: number[] = [];
        reader.read(data, (packet) => {
          types.push(packet.type);
          if (packet.type === PacketType.Connect) {
            webSocket.send(
              encodePacket({ type: PacketType.Connack, sessionPresent: false, reasonCode: 0 }, packet.protocolVersion),
            );
          }
        });
        frames.push(`${request.url} ${webSocket.protocol} ${isBinary} ${types}`);
      });
    });
    for (const protocolVersion of [3, 5] as const) {
      const url = `ws://127.0.0.1:${port}/mqtt`;
      const client = new MqttClient(
        optionsFor(0, { protocolVersion, clientId: 'w', target: { transport: 'webSocket', url } }),
      );
      await client.connect();
      await Promise.all([client.publish('a', text('1')), client.publish('a', text('2')), client.disconnect()]);
    }
    const expected = (protocol: string) => [`/mqtt ${protocol} true 1`, `/mqtt ${protocol} true 3,3,14`];
    assert.deepEqual(frames, [...expected('mqttv3.1'), ...expected('mqtt')]);
    await assert.rejects(
      new MqttClient(optionsFor(0, { target: { transport: 'webSocket', url: `ws://u:p@127.0.0.1:1/mqtt` } })).connect(),
      /^ClientError: cannot connect to ws:\/\/127.0.0.1:1\/mqtt: /,
    );
    await new Promise((resolve) => http.close(resolve));
  });

  test('through a SOCKS5 proxy, with and without a password, and refused', async () => {
    const server = await startServer((packet, answer) => {
      if (packet.type === PacketType.Connect)
        answer({ type: PacketType.Connack, sessionPresent: false, reasonCode: 0 });
    });
    const proxy = await startProxy('ann', 'secret');
    const target = (host: string, password: string | undefined): ClientOptions['target'] => ({
      transport: 'tcp',
      host,
      port: server.port,
      proxy: { host: '127.0.0.1', port: proxy.port, ...(password === undefined ? {} : { username: 'ann', password }) },
    });
    for (const host of ['127.0.0.1', 'localhost', '::ffff:127.0.0.1']) {
      const client = new MqttClient(optionsFor(0, { target: target(host, 'secret') }));
      await client.connect();
      client.destroy();
    }
    assert.deepEqual(proxy.asked, ['127.0.0.1', 'localhost', '0:0:0:0:0:ffff:7f00:1']);
    await assert.rejects(
      new MqttClient(optionsFor(0, { target: target('127.0.0.1', 'wrong') })).connect(),
      /refused the user name or password/,
    );
    await assert.rejects(
      new MqttClient(optionsFor(0, { target: target('127.0.0.1', undefined) })).connect(),
      /none of the authentication methods/,
    );
    await proxy.close();
    await server.close();
  });
});

function publish(properties?: { topicAlias: number }, packetId?: number): Packet {
  return {
    type: PacketType.Publish,
    dup: false,
    qos: packetId === undefined ? 0 : 1,
    retain: false,
    topicName: 't',
    payload: text(''),
    ...(packetId === undefined ? {} : { packetId }),
    ...(properties === undefined ? {} : { properties }),
  };
}

function writePsk(directory: string): string {
  const file = join(directory, 'psk');
  writeFileSync(file, 'gull:00ff11\n');
  return file;
}

interface Running {
  readonly port: number;
  close(): Promise<void>;
}

/** Whatever a failing test left open. */
const listening: Running[] = [];
after(() => Promise.all(listening.map((running) => running.close())));

async function listen(onSocket: (socket: Socket) => void): Promise<Running> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    onSocket(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const running = {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  listening.push(running);
  return running;
}

/** A server that answers each packet as `script` says. */
function startServer(script: (packet: Packet, answer: (packet: Packet) => void) => void): Promise<Running> {
  return listen((socket) => {
    const reader = new PacketReader('server', 1 << 20);
    reader.version = 5;
    socket.on('data', (chunk: Buffer) =>
      reader.read(chunk, (packet) => script(packet, (answer) => socket.write(encodePacket(answer, 5)))),
    );
  });
}

/** Hands bytes on to `target` until `cut` breaks every connection, both sides at once. */
async function startRelay(target: number): Promise<Running & { cut(): void }> {
  let pairs: Socket[] = [];
  const running = await listen((socket) => {
    const other = connectTcp(target, '127.0.0.1');
    other.on('error', () => socket.destroy());
    other.on('close', () => socket.destroy());
    socket.on('close', () => other.destroy());
    socket.pipe(other);
    other.pipe(socket);
    pairs.push(socket, other);
  });
  return {
    ...running,
    cut: () => {
      for (const socket of pairs) socket.resetAndDestroy();
      pairs = [];
    },
  };
}

/** A SOCKS5 proxy for one user. */
async function startProxy(username: string, password: string): Promise<Running & { asked: string[] }> {
  const asked: string[] = [];
  const running = await listen((socket) => {
    let step: 'greeting' | 'login' | 'request' | 'relay' = 'greeting';
    socket.on('data', (bytes: Buffer) => {
      if (step === 'greeting') {
        const offered = bytes.subarray(2).includes(2);
        step = 'login';
        socket.write(Buffer.from([5, offered ? 2 : 0xff]));
      } else if (step === 'login') {
        const name = String(bytes.subarray(2, 2 + bytes[1]!));
        const secret = String(bytes.subarray(3 + bytes[1]!));
        step = 'request';
        socket.write(Buffer.from([1, name === username && secret === password ? 0 : 1]));
      } else if (step === 'request') {
        const type = bytes[3];
        asked.push(
          type === 1
            ? bytes.subarray(4, 8).join('.')
            : type === 3
              ? String(bytes.subarray(5, -2))
              : Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(4 + index * 2).toString(16)).join(':'),
        );
        step = 'relay';
        const other = connectTcp(bytes.readUInt16BE(bytes.length - 2), '127.0.0.1', () => {
          socket.write(Buffer.from([5, 0, 0, 1, 127, 0, 0, 1, 0, 0]));
          socket.pipe(other).pipe(socket);
        });
        other.on('error', () => socket.destroy());
      }
    });
  });
  return { ...running, asked };
}
