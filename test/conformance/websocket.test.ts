/** Transports: MQTT over TCP and over WebSocket (v5 §4.2 and §6, 3.1.1 §6 and §7.1.1). */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get } from 'node:http';
import { createWebSocketStream, WebSocket } from 'ws';
import { encodePacket, PacketType } from '../../src/protocol/index.js';
import { all, conformance, v4v5 } from '../support/conformance.js';
import type { Scene } from '../support/scene.js';
import { connectPacket, WireClient } from '../support/wire-client.js';

const both = {
  config: {
    listeners: [
      { name: 'tcp', port: 0 },
      { name: 'web', protocol: 'ws' as const, port: 0, path: '/mqtt' },
    ],
  },
};

const url = (scene: Scene) => `ws://127.0.0.1:${scene.broker.listeners[1]!.port}/mqtt`;

async function openSocket(scene: Scene, protocols: string | string[] = 'mqtt'): Promise<WebSocket> {
  const socket = new WebSocket(url(scene), protocols);
  await once(socket, 'open');
  return socket;
}

/** A wire client over WebSocket. */
async function web(scene: Scene, clientId: string): Promise<WireClient> {
  const client = new WireClient(createWebSocketStream(await openSocket(scene)), scene.version);
  await client.connect({ clientId });
  return client;
}

/** Collects what comes in binary frames until `bytes` are there. */
async function collect(socket: WebSocket, bytes: number): Promise<string> {
  const parts: Buffer[] = [];
  const kinds = new Set<boolean>();
  while (parts.reduce((sum, part) => sum + part.length, 0) < bytes) {
    const [data, isBinary] = (await once(socket, 'message')) as [Buffer, boolean];
    kinds.add(isBinary);
    parts.push(data);
  }
  assert.deepEqual([...kinds], [true], 'binary frames only');
  return Buffer.concat(parts).toString('hex');
}

conformance(
  '[MQTT-4.2-1] [MQTT3-7.1.1-1] clients of a TCP and of a WebSocket listener talk to each other',
  all,
  both,
  async (scene) => {
    const tcp = await scene.connect();
    const ws = await web(scene, 'web');
    try {
      await tcp.subscribe('t', { qos: 1 });
      await ws.subscribe('t', { qos: 1 });
      const publisher = await scene.connect();
      for (const qos of [0, 1] as const) {
        await publisher.deliver('t', 'to both', { qos });
        for (const client of [tcp, ws]) assert.equal((await client.message()).payload, 'to both');
      }
      await ws.unsubscribe('t');
      await ws.deliver('t', 'from WebSocket', { qos: 2 });
      assert.equal((await tcp.message()).payload, 'from WebSocket');
    } finally {
      ws.stream.destroy();
    }
  },
);

conformance(
  '[MQTT-6.0.0-1] [MQTT3-6.0.0-1] the broker sends binary frames, and closes when a text frame comes',
  v4v5,
  both,
  async (scene) => {
    const fine = await openSocket(scene);
    fine.send(encodePacket(connectPacket(scene.version, { clientId: 'binary' }), scene.version));
    await collect(fine, 4);
    const wrong = await openSocket(scene);
    const closed = once(wrong, 'close');
    wrong.send(encodePacket(connectPacket(scene.version, { clientId: 'text' }), scene.version).toString('latin1'), {
      binary: false,
    });
    const [code] = await closed;
    assert.equal(code, 1003);
    assert.deepEqual(
      scene.broker.clients().map(({ clientId }) => clientId),
      ['binary'],
    );
    fine.send(Buffer.from('c000', 'hex'));
    assert.equal(await collect(fine, 2), 'd000');
    const textLater = once(fine, 'close');
    fine.send('\xc0\0', { binary: false });
    assert.equal((await textLater)[0], 1003);
  },
);

conformance(
  '[MQTT-6.0.0-2] [MQTT3-6.0.0-2] packets may be split and joined over frames at will',
  v4v5,
  both,
  async (scene) => {
    const socket = await openSocket(scene);
    const connect = encodePacket(connectPacket(scene.version, { clientId: 'pieces' }), scene.version);
    for (const byte of connect) socket.send(Buffer.from([byte]));
    await collect(socket, 4);
    socket.send(Buffer.from('c000c000c0', 'hex')); // two and a half
    assert.equal(await collect(socket, 4), 'd000d000');
    socket.send(Buffer.from('00c000', 'hex'));
    assert.equal(await collect(socket, 4), 'd000d000');
    socket.send(Buffer.alloc(0));
    socket.send(Buffer.from('c000', 'hex'));
    assert.equal(await collect(socket, 2), 'd000');
    socket.terminate();
  },
);

conformance(
  '[MQTT-6.0.0-4] [MQTT3-6.0.0-4] the sub-protocol that the broker selects is mqtt',
  v4v5,
  both,
  async (scene) => {
    for (const offered of [['mqtt'], ['other', 'mqtt'], ['mqttv3.1', 'mqtt']]) {
      const socket = await openSocket(scene, offered);
      assert.equal(socket.protocol, 'mqtt');
      socket.terminate();
    }
  },
);

conformance(
  '[MQTT-6.0.0-3] [MQTT3-6.0.0-3] a handshake that does not offer mqtt is refused',
  v4v5,
  both,
  async (scene) => {
    for (const offered of [[], ['other']]) {
      const socket = new WebSocket(url(scene), offered);
      const [, response] = await once(socket, 'unexpected-response');
      assert.equal(response.statusCode, 400);
      socket.on('error', () => {}); // closed before it was open
      socket.terminate();
    }
  },
);

conformance('3.1 clients may offer mqttv3.1 alone', [3], both, async (scene) => {
  const socket = await openSocket(scene, 'mqttv3.1');
  assert.equal(socket.protocol, 'mqttv3.1');
  socket.send(encodePacket(connectPacket(3, { clientId: 'old' }), 3));
  assert.equal(await collect(socket, 4), '20020000');
  socket.terminate();
});

conformance('a plain HTTP request is told what is here', v4v5, both, async (scene) => {
  const request = get(url(scene).replace('ws:', 'http:'));
  const [response] = await once(request, 'response');
  assert.equal(response.statusCode, 426);
  response.resume();
});

conformance(
  '[MQTT3-7.0.0-2] a client that keeps to the standard and knows no extension is served',
  [4],
  async ({ open }) => {
    const client = await open();
    client.send('100d 0004 4d515454 04 02 000a 0001 61', '8206 0001 0001 74 02');
    assert.equal(await client.bytes(), '20020000');
    assert.equal(await client.bytes(), '9003000102');
    client.send('3206 0001 74 0002 78', '3406 0001 74 0003 79');
    const seen: string[] = [];
    for (let count = 0; count < 4; count++) seen.push(await client.bytes());
    assert.deepEqual(
      seen.sort(),
      ['320600017400 0178', '340600017400 0279', '40020002', '50020003'].map((t) => t.replace(' ', '')),
    );
    client.send({ type: PacketType.Pubrel, packetId: 3, reasonCode: 0 });
    assert.equal(await client.bytes(), '70020003');
    client.send('e000');
    await client.closed();
  },
);
