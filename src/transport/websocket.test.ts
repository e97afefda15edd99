import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, get, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createWebSocketStream, WebSocket } from 'ws';
import { Fault, silentLogger } from '../base/index.js';
import { byteStreamContract, until } from './byte-stream.contract.js';
import type { ByteStream, Listener } from './byte-stream.js';
import { attachWebSocket } from './websocket.js';
import { listenWebSocket, type WebSocketListenOptions } from './websocket-listener.js';

interface Setup {
  listener: Listener;
  port: number;
  streams: ByteStream[];
  lines: string[];
  close(): Promise<void>;
}

async function listen(options: Partial<WebSocketListenOptions> = {}): Promise<Setup> {
  const streams: ByteStream[] = [];
  const lines: string[] = [];
  const listener = await listenWebSocket({
    name: 'web',
    host: '127.0.0.1',
    port: 0,
    path: '/mqtt',
    origins: [],
    packetBytesMax: () => 32 * 1024 * 1024,
    handshakeTimeoutMs: 60_000,
    onStream: (stream) => streams.push(stream),
    log: { ...silentLogger, warning: (_event, sentence) => lines.push(sentence) },
    ...options,
  });
  const close = async () => {
    for (const stream of streams) stream.destroy();
    await listener.close();
  };
  return { listener, port: 'port' in listener.bound ? listener.bound.port : 0, streams, lines, close };
}

const dial = (
  port: number,
  protocols: string | string[] = 'mqtt',
  path = '/mqtt',
  headers: Record<string, string> = {},
) => {
  const client = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, { perMessageDeflate: true, headers });
  client.on('error', () => {});
  return client;
};

/** The HTTP status a refused client gets, or 101. */
async function statusOf(client: WebSocket): Promise<number> {
  const refused = once(client, 'unexpected-response') as Promise<[unknown, IncomingMessage]>;
  const status = await Promise.race([
    once(client, 'open').then(() => 101),
    refused.then(([, response]) => response.statusCode ?? 0),
  ]);
  client.terminate();
  return status;
}

byteStreamContract('WebSocketStream', async () => {
  const { port, streams, close } = await listen();
  const client = dial(port);
  const remote = createWebSocketStream(client, { decodeStrings: false });
  await once(client, 'open');
  await until(() => streams.length === 1);
  return {
    stream: streams[0]!,
    remote,
    close: async () => {
      client.terminate();
      await close();
    },
  };
});

describe('a WebSocket handshake', () => {
  it('chooses mqtt when it is offered, and mqttv3.1 for clients that know only that [MQTT-6.0.0-4] [MQTT3-6.0.0-4]', async () => {
    const { port, close } = await listen();
    for (const [offered, chosen] of [
      [['mqtt'], 'mqtt'],
      [['mqttv3.1'], 'mqttv3.1'],
      [['chat', 'mqttv3.1', 'mqtt'], 'mqtt'],
      [['chat', 'mqttv3.1'], 'mqttv3.1'],
    ] as const) {
      const client = dial(port, [...offered]);
      await once(client, 'open');
      assert.equal(client.protocol, chosen);
      assert.equal(client.extensions, '');
      client.terminate();
    }
    await close();
  });

  it('is refused without such a sub-protocol [MQTT-6.0.0-3] [MQTT3-6.0.0-3]', async () => {
    const { port, streams, lines, close } = await listen();
    assert.equal(await statusOf(dial(port, [])), 400);
    assert.equal(await statusOf(dial(port, ['chat'])), 400);
    assert.equal(streams.length, 0);
    assert.equal(lines.length, 2);
    await close();
  });

  it('is refused at another path, whatever the query', async () => {
    const { port, close } = await listen({ path: '/a' });
    assert.equal(await statusOf(dial(port, 'mqtt', '/mqtt')), 404);
    assert.equal(await statusOf(dial(port, 'mqtt', '/a/b')), 404);
    assert.equal(await statusOf(dial(port, 'mqtt', '/a?token=x')), 101);
    await close();
  });

  it('is refused for pages of other origins', async () => {
    const { port, close } = await listen({ origins: ['https://ok.example'] });
    assert.equal(await statusOf(dial(port, 'mqtt', '/mqtt', { origin: 'https://evil.example' })), 403);
    assert.equal(await statusOf(dial(port, 'mqtt', '/mqtt', { origin: 'null' })), 403);
    assert.equal(await statusOf(dial(port, 'mqtt', '/mqtt', { origin: 'https://OK.example' })), 101);
    assert.equal(await statusOf(dial(port)), 101);
    await close();
  });

  it('is answered in HTTP when it is none', async () => {
    const { port, close } = await listen();
    const status = async (path: string) => {
      const [response] = (await once(get({ port, host: '127.0.0.1', path, agent: false }), 'response')) as [
        IncomingMessage,
      ];
      response.resume();
      return [response.statusCode, response.headers.upgrade];
    };
    assert.deepEqual(await status('/mqtt'), [426, 'websocket']);
    assert.deepEqual(await status('/'), [404, undefined]);
    await close();
  });

  it('that never finishes is ended', async () => {
    const { port, close } = await listen({ handshakeTimeoutMs: 100 });
    const socket = connect(port, '127.0.0.1');
    socket.write('GET /mqtt HTTP/1.1\r\nHost: x\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    assert.match(answer.toString(), /^HTTP\/1\.1 408 /);
    socket.destroy();
    await close();
  });
});

describe('a WebSocket connection', () => {
  it('takes packets split and joined over frames [MQTT-6.0.0-2] [MQTT3-6.0.0-2]', async () => {
    const { port, streams, close } = await listen();
    const client = dial(port);
    await once(client, 'open');
    await until(() => streams.length === 1);
    const received: Buffer[] = [];
    streams[0]!.start({
      onBytes: (bytes, start, end) => received.push(Buffer.from(bytes.subarray(start, end))),
      onWritten: () => {},
      onClosed: () => {},
    });
    client.send(Buffer.from('ab'));
    client.send(Buffer.from('c'), { fin: false });
    client.send(Buffer.from('d'), { fin: true });
    client.send(Buffer.alloc(0));
    client.send(Buffer.from('efg'));
    await until(() => Buffer.concat(received).toString() === 'abcdefg');
    client.terminate();
    await close();
  });

  it('hands up what came before the close frame, however long reading is paused', async () => {
    const { port, streams, close } = await listen();
    const client = dial(port);
    await once(client, 'open');
    await until(() => streams.length === 1);
    const received: string[] = [];
    const closedWith: (Error | undefined)[] = [];
    streams[0]!.start({
      onBytes: (bytes, start, end) => {
        received.push(bytes.toString('latin1', start, end));
        streams[0]!.pause();
      },
      onWritten: () => {},
      onClosed: (error) => closedWith.push(error),
    });
    const { _socket: socket } = client as unknown as { _socket: Socket };
    socket.cork();
    for (const word of ['a', 'b', 'c']) client.send(Buffer.from(word));
    client.close();
    socket.uncork();
    await once(client, 'close');
    for (const count of [1, 2, 3]) {
      await until(() => received.length === count);
      streams[0]!.resume();
    }
    await until(() => closedWith.length > 0);
    assert.deepEqual(received, ['a', 'b', 'c']);
    assert.deepEqual(closedWith, [undefined]);
    await close();
  });

  it('is closed with 1003 when a text frame comes [MQTT-6.0.0-1] [MQTT3-6.0.0-1]', async () => {
    const { port, streams, close } = await listen();
    const client = dial(port);
    await once(client, 'open');
    await until(() => streams.length === 1);
    const closed: (Error | undefined)[] = [];
    let bytes = 0;
    streams[0]!.start({
      onBytes: () => {
        bytes++;
      },
      onWritten: () => {},
      onClosed: (error) => closed.push(error),
    });
    client.send('text');
    client.send(Buffer.from('more'));
    const [code] = await once(client, 'close');
    assert.equal(code, 1003);
    await until(() => closed.length === 1);
    assert.match(closed[0]!.message, /text frame/);
    assert.equal(bytes, 0);
    await close();
  });

  it('is closed when a frame is larger than any packets could need', async () => {
    const { port, streams, close } = await listen({ packetBytesMax: () => 1000 });
    const client = dial(port);
    await once(client, 'open');
    await until(() => streams.length === 1);
    const closed: (Error | undefined)[] = [];
    let bytes = 0;
    streams[0]!.start({
      onBytes: (_bytes, start, end) => {
        bytes += end - start;
      },
      onWritten: () => {},
      onClosed: (error) => closed.push(error),
    });
    client.send(Buffer.alloc(67_536));
    client.send(Buffer.alloc(67_537));
    const [code] = await once(client, 'close');
    assert.equal(code, 1009);
    await until(() => closed.length === 1);
    assert.ok(closed[0] instanceof Error);
    assert.equal(bytes, 67_536);
    await close();
  });

  it('believes X-Forwarded-For only from trusted proxies, up to the first stranger', async () => {
    const forwarded = { 'x-forwarded-for': '203.0.113.9, 198.51.100.4, 10.0.0.2' };
    const plain = await listen();
    assert.equal(await statusOf(dial(plain.port, 'mqtt', '/mqtt', forwarded)), 101);
    await until(() => plain.streams.length === 1);
    assert.equal(plain.streams[0]!.peer.address, '127.0.0.1');
    await plain.close();
    const trusting = await listen({ trustedProxies: ['127.0.0.1', '10.0.0.0/8', 'fd00::/8'] });
    for (const header of [forwarded['x-forwarded-for'], '10.0.0.3', 'nonsense', '1.2.3.4, nonsense', '2001:db8::1'])
      assert.equal(await statusOf(dial(trusting.port, 'mqtt', '/mqtt', { 'x-forwarded-for': header })), 101);
    await until(() => trusting.streams.length === 5);
    assert.deepEqual(
      trusting.streams.map(({ peer }) => peer.address),
      ['198.51.100.4', '10.0.0.3', '127.0.0.1', '127.0.0.1', '2001:db8::1'],
    );
    await trusting.close();
  });
});

describe('a WebSocket listener', () => {
  it('reads a PROXY protocol header before the request', async () => {
    const { port, streams, lines, close } = await listen({ proxyProtocol: 'v1' });
    const dialProxied = (header: string) =>
      new WebSocket('ws://localhost/mqtt', 'mqtt', {
        createConnection: () => {
          const socket: Socket = connect(port, '127.0.0.1');
          socket.write(header);
          return socket;
        },
      });
    const client = dialProxied('PROXY TCP4 192.0.2.1 198.51.100.7 56324 8083\r\n');
    await once(client, 'open');
    await until(() => streams.length === 1);
    assert.deepEqual(streams[0]!.peer, {
      address: '192.0.2.1',
      port: 56324,
      localAddress: '198.51.100.7',
      localPort: 8083,
    });
    let received = '';
    streams[0]!.start({
      onBytes: (bytes, start, end) => {
        received += bytes.toString('latin1', start, end);
      },
      onWritten: () => {},
      onClosed: () => {},
    });
    client.send(Buffer.from('hello'));
    await until(() => received === 'hello');
    client.terminate();
    const stranger = dialProxied('');
    await once(stranger, 'error');
    assert.equal(lines.length, 1);
    await close();
  });

  it('listens on a Unix socket', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'dunlin-ws-'));
    const unixPath = join(folder, 's');
    const { listener, streams, close } = await listen({ unixPath });
    assert.deepEqual(listener.bound, { path: unixPath });
    const client = new WebSocket(`ws+unix:${unixPath}:/mqtt`, 'mqtt');
    await once(client, 'open');
    await until(() => streams.length === 1);
    assert.equal(streams[0]!.peer.address, '');
    client.terminate();
    await close();
    rmSync(folder, { recursive: true });
  });

  it('names a port in use in one line', async () => {
    const { port, close } = await listen();
    await assert.rejects(
      listen({ port }),
      (error) => error instanceof Fault && error.code === 'LISTEN_ADDRESS_IN_USE' && !error.message.includes('\n'),
    );
    await close();
  });

  it('keeps streams when it stops accepting', async () => {
    const { listener, port, streams, close } = await listen();
    const client = dial(port);
    await once(client, 'open');
    await until(() => streams.length === 1);
    await listener.close();
    const late = dial(port);
    await once(late, 'error');
    streams[0]!.start({ onBytes: () => {}, onWritten: () => {}, onClosed: () => {} });
    streams[0]!.write(Buffer.from('still here'));
    const [data] = await once(client, 'message');
    assert.equal(String(data), 'still here');
    client.terminate();
    await close();
  });
});

it('a WebSocket attached to an HTTP server leaves other paths and requests to it', async () => {
  const server = createServer((_request, response) => response.end('page'));
  const streams: ByteStream[] = [];
  const detach = attachWebSocket(server, {
    name: 'shared',
    path: '/mqtt',
    origins: [],
    packetBytesMax: () => 1000,
    onStream: (stream) => streams.push(stream),
    log: silentLogger,
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const [page] = (await once(get({ port, host: '127.0.0.1', agent: false }), 'response')) as [IncomingMessage];
  assert.equal(page.statusCode, 200);
  page.resume();
  assert.equal(await statusOf(dial(port, 'mqtt', '/other')), 404);
  server.on('upgrade', (request, socket) => {
    if (request.url === '/other') socket.end('HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n');
  });
  assert.equal(await statusOf(dial(port, 'mqtt', '/other')), 418);
  assert.equal(await statusOf(dial(port)), 101);
  assert.equal(streams.length, 1);
  detach();
  for (const stream of streams) stream.destroy();
  server.closeAllConnections();
  server.close();
});
