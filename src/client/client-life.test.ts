/**
 * Goal: whatever is called, awaited or lost meanwhile, a client has one connection at most, none after its end, and no promise that hangs.
 * Method: scripted servers on the loopback address.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { encodePacket, type Packet, PacketReader, PacketType } from '../protocol/index.js';
import { type ClientOptions, MqttClient } from './index.js';

type Script = (packet: Packet, answer: (packet: Packet) => void, socket: Socket, connection: number) => void;

async function serve(script: Script) {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    const connection = sockets.push(socket);
    const reader = new PacketReader('server', 1_000_000);
    const answer = (packet: Packet) => socket.write(encodePacket(packet, reader.version));
    socket.on('error', () => {});
    socket.on('data', (chunk) =>
      reader.read(Buffer.from(chunk), (packet) => script(packet, answer, socket, connection)),
    );
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const options = (more: Partial<ClientOptions> = {}): ClientOptions => ({
    target: { transport: 'tcp', host: '127.0.0.1', port: (server.address() as AddressInfo).port },
    protocolVersion: 5,
    clientId: 'c',
    cleanStart: true,
    keepAlive: 0,
    ...more,
  });
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  };
  return { server, sockets, options, close };
}

const welcome = { type: PacketType.Connack, sessionPresent: false, reasonCode: 0 } as const;
const reconnect = { delayMsMin: 1, delayMsMax: 1, initial: true };
/** Longer than anything that is to have happened by then on the loopback address. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 50));

test('a method of authentication that cannot begin leaves no connection behind', async () => {
  const server = await serve(() => {});
  const authenticator = {
    method: 'X',
    begin: () => Promise.reject(new Error('no key')),
    respond: () => undefined,
  };
  const client = new MqttClient(server.options({ authenticator }));
  await assert.rejects(client.connect(), /no key/);
  await settled();
  assert.ok(server.sockets.every((socket) => socket.destroyed || socket.readableEnded));
  await server.close();
});

test('a connection that is lost while a method of authentication begins fails the attempt', async () => {
  const server = await serve(() => {});
  server.server.on('connection', (socket) => setTimeout(() => socket.resetAndDestroy(), 10));
  const authenticator = { method: 'X', begin: () => settled().then(() => undefined), respond: () => undefined };
  const client = new MqttClient(server.options({ authenticator, connectTimeoutMs: 20_000 }));
  await assert.rejects(client.connect(), ({ code }) => code !== 'CLIENT_CONNECT_TIMEOUT');
  await server.close();
});

test('ended by a handler that hears of a failed attempt, it tries no more', async () => {
  for (const initial of [true, false]) {
    let come = 0;
    const server = await serve((packet, answer, socket) => {
      if (packet.type !== PacketType.Connect) return;
      come++;
      if (initial || come > 1) socket.destroy();
      else answer(welcome);
    });
    let ended = 0;
    const client = new MqttClient(server.options({ reconnect: { ...reconnect, initial } }), {
      onReconnectFailed: () => {
        client.destroy();
        ended = come;
      },
    });
    const connecting = client.connect();
    if (initial) await assert.rejects(connecting, { code: 'CLIENT_CLOSED' });
    else {
      await connecting;
      server.sockets[0]!.destroy();
    }
    while (ended === 0) await settled();
    await settled();
    assert.equal(come, ended);
    assert.equal(client.connected, false);
    client.destroy();
    await server.close();
  }
});

test('connected anew right after its end, it knows nothing of the attempt before', async () => {
  const server = await serve((packet, answer, _socket, connection) => {
    if (packet.type === PacketType.Connect && connection > 1) answer(welcome);
  });
  const client = new MqttClient(server.options());
  const first = client.connect();
  while (server.sockets.length === 0) await settled();
  client.destroy();
  const second = client.connect();
  await assert.rejects(first, { code: 'CLIENT_CLOSED' });
  await assert.rejects(client.connect(), { code: 'CLIENT_NOT_CONNECTED' });
  await second;
  assert.equal(client.connected, true);
  client.destroy();
  await server.close();
});

test('ended while it dials anew, it stays so', async () => {
  const server = await serve((packet, answer, _socket, connection) => {
    if (packet.type === PacketType.Connect && connection > 1) answer(welcome);
  });
  const client = new MqttClient(server.options());
  const first = client.connect();
  while (server.sockets.length === 0) await settled();
  client.destroy();
  const second = client.connect();
  await assert.rejects(first, { code: 'CLIENT_CLOSED' });
  client.destroy();
  await assert.rejects(second, { code: 'CLIENT_CLOSED' });
  await settled();
  assert.equal(client.connected, false);
  await server.close();
});

test('what waits is not sent to a server that has come to take less', async () => {
  const published: Packet[] = [];
  const server = await serve((packet, answer, socket, connection) => {
    if (packet.type === PacketType.Connect) {
      answer(connection === 1 ? welcome : { ...welcome, properties: { maximumQoS: 1 } });
      if (connection === 1) socket.end();
    } else if (packet.type === PacketType.Publish) published.push(packet);
  });
  let lost = () => {};
  const gone = new Promise<void>((resolve) => {
    lost = resolve;
  });
  const client = new MqttClient(server.options({ reconnect }), { onClose: lost });
  await client.connect();
  await gone;
  await assert.rejects(client.publish('t', Buffer.from('x'), { qos: 2 }), { code: 'CLIENT_NOT_SUPPORTED_BY_SERVER' });
  assert.deepEqual(published, []);
  client.destroy();
  await server.close();
});

test('exchanges that an earlier connection left open do not count for the Receive Maximum', async () => {
  const message = { type: PacketType.Publish, dup: false, retain: false, topicName: 't', payload: Buffer.alloc(0) };
  let completed = () => {};
  const complete = new Promise<void>((resolve) => {
    completed = resolve;
  });
  const server = await serve((packet, answer, socket, connection) => {
    if (packet.type === PacketType.Connect) {
      answer({ ...welcome, sessionPresent: connection > 1 });
      answer({ ...message, qos: connection === 1 ? 2 : 1, packetId: connection } as Packet);
    } else if (packet.type === PacketType.Pubrec) socket.end();
    else if (packet.type === PacketType.Puback) answer({ type: PacketType.Pubrel, packetId: 1, reasonCode: 0 });
    else if (packet.type === PacketType.Pubcomp) completed();
  });
  const errors: string[] = [];
  const client = new MqttClient(server.options({ reconnect, properties: { receiveMaximum: 1 } }), {
    onClose: ({ code }) => {
      errors.push(code);
      if (errors.length > 1) completed();
    },
  });
  await client.connect();
  await complete;
  assert.deepEqual(errors, ['CLIENT_CONNECTION_LOST']);
  client.destroy();
  await server.close();
});

test('an answer of a method of authentication goes to the connection that asked, and to no other', async () => {
  let answer = (_data: Uint8Array) => {};
  const said: number[] = [];
  const server = await serve((packet, reply, socket, connection) => {
    said.push(packet.type);
    if (packet.type === PacketType.Connect) reply({ ...welcome, properties: { authenticationMethod: 'X' } });
    else if (packet.type === PacketType.Auth && connection === 1) {
      reply({ type: PacketType.Auth, reasonCode: 0x18, properties: { authenticationMethod: 'X' } });
      socket.end();
    }
  });
  const authenticator = {
    method: 'X',
    begin: () => undefined,
    respond: () =>
      new Promise<Uint8Array>((resolve) => {
        answer = resolve;
      }),
  };
  let again = () => {};
  const back = new Promise<void>((resolve) => {
    again = resolve;
  });
  let connects = 0;
  const client = new MqttClient(server.options({ reconnect, authenticator }), {
    onConnect: () => {
      if (++connects === 2) again();
    },
  });
  await client.connect();
  await assert.rejects(client.reauthenticate());
  await back;
  answer(Buffer.from('late'));
  await settled();
  assert.deepEqual(said, [PacketType.Connect, PacketType.Auth, PacketType.Connect]);
  client.destroy();
  await server.close();
});

test('authentication anew fails when the connection is lost before it begins', async () => {
  const server = await serve((packet, answer) => {
    if (packet.type === PacketType.Connect) answer({ ...welcome, properties: { authenticationMethod: 'X' } });
  });
  let begun = 0;
  const authenticator = {
    method: 'X',
    begin: () => (begun++ === 0 ? undefined : settled().then(() => undefined)),
    respond: () => undefined,
  };
  const client = new MqttClient(server.options({ authenticator }));
  await client.connect();
  const again = client.reauthenticate();
  server.sockets[0]!.destroy();
  await assert.rejects(again, { code: 'CLIENT_NOT_CONNECTED' });
  await server.close();
});
