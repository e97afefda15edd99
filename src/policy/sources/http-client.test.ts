/** Goal: a request gets its answer though the service has closed the connection that was kept for it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { HttpClient } from './http-client.js';

describe('a client of HTTP services', () => {
  it('asks again where a kept connection is cut off under its request, and only there', async (context) => {
    const connections = new Set<Socket>();
    let answers = Number.POSITIVE_INFINITY;
    const server = createServer((socket) => {
      connections.add(socket);
      let asked = 0;
      socket.on('error', () => {});
      socket.on('data', () => {
        asked++;
        if (asked > 1 || answers <= 0) socket.resetAndDestroy();
        else socket.write('HTTP/1.1 204 No Content\r\n\r\n');
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = new HttpClient({ connectionsMax: 4 });
    context.after(() => {
      client.close();
      for (const socket of connections) socket.destroy();
      server.close();
    });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const ask = async () => {
      const request = { url, method: 'GET', headers: {}, body: undefined };
      const { status } = await client.send(request, new AbortController().signal);
      // The connection is kept from the next turn on.
      await new Promise(setImmediate);
      return status;
    };
    assert.deepEqual([await ask(), await ask(), await ask()], [204, 204, 204]);
    assert.equal(connections.size, 3);
    answers = 0;
    await assert.rejects(ask(), { code: 'ECONNRESET' });
    assert.equal(connections.size, 4, 'one that was kept, and one that was new');
  });
});
