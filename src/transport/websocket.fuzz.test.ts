/** Goal: damaged HTTP upgrades and WebSocket frames end their own connection, if any, and touch no other. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { describe, it } from 'node:test';
import { WebSocket } from 'ws';
import { closing } from '../../test/support/closing.js';
import { damagedBytes } from '../base/damage.fuzz.js';
import { silentLogger } from '../base/index.js';
import { Random } from '../base/random.fuzz.js';
import { attachWebSocket } from './websocket.js';

const COUNT = 1500;
const seed = Number(process.env.DUNLIN_SEED ?? 20_261);

const request = Buffer.from(
  [
    'GET /mqtt HTTP/1.1',
    'Host: localhost',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Protocol: mqtt',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'X-Forwarded-For: 192.0.2.1, 10.0.0.1',
    '\r\n',
  ].join('\r\n'),
);

/** A masked frame. */
const frame = (opcode: number, payload: Buffer): Buffer =>
  Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0]), payload]);

describe('a damaged WebSocket', () => {
  it(`touches no other (seed ${seed})`, { timeout: 300_000 }, async (context) => {
    const random = new Random(seed);
    const server = createServer((_request, response) => response.writeHead(404).end()).listen(0, '127.0.0.1');
    await once(server, 'listening');
    context.after(() => {
      server.closeAllConnections();
      server.close();
    });
    server.on('clientError', (_error, socket) => socket.destroy());
    let open = 0;
    let bytesSeen = 0;
    attachWebSocket(server, {
      name: 'fuzz',
      path: '/mqtt',
      origins: [],
      packetBytesMax: () => 1000,
      trustedProxies: ['127.0.0.1', '10.0.0.0/8'],
      log: silentLogger,
      onStream: (stream) => {
        open++;
        stream.start({
          onBytes: (bytes, start, end) => {
            bytesSeen += end - start;
            if (stream.peer.address === '127.0.0.1') stream.write(Buffer.from(bytes.subarray(start, end)));
          },
          onWritten: () => {},
          onClosed: () => open--,
        });
      },
    });
    const { port } = server.address() as AddressInfo;
    const bystander = new WebSocket(`ws://127.0.0.1:${port}/mqtt`, 'mqtt');
    await once(bystander, 'open');
    for (let count = 0; count < COUNT; count++) {
      const frames = Array.from({ length: 3 }, () =>
        frame(random.pick([2, 2, 2, 0, 1, 8, 9, 10]), random.bytes(random.below(60))),
      );
      const bytes = Buffer.concat([
        random.oneIn(4) ? damagedBytes(random, request) : request,
        damagedBytes(random, Buffer.concat(frames)),
      ]);
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => {});
      socket.resume();
      const cut = random.below(bytes.length);
      socket.write(bytes.subarray(0, cut));
      socket.end(bytes.subarray(cut));
      const closed = closing(socket);
      if (random.oneIn(8)) socket.destroy();
      await closed;
      if (count % 100 !== 0) continue;
      bystander.send(Buffer.from(`still here ${count}`));
      const [echo] = (await once(bystander, 'message')) as [Buffer];
      assert.equal(echo.toString(), `still here ${count}`);
    }
    bystander.close();
    while (open > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.ok(bytesSeen > COUNT, 'most upgrades lead to a stream');
  });
});
