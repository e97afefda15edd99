/** Connections that do not come as far as a CONNECT: each is counted, and has a line in the log. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { it } from 'node:test';
import { createBroker, type Logger, silentLogger } from '../../src/index.js';
import { WireClient } from '../support/wire-client.js';

const cases = [
  ['says nothing (mqtt)', { protocol: 'mqtt' }, '', /no complete CONNECT in time/],
  ['says nothing (ws)', { protocol: 'ws' }, '', /no complete HTTP request in time/],
  ['speaks something else than HTTP', { protocol: 'ws' }, '\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0', /no HTTP request/],
  ['speaks TLS where none is', { protocol: 'mqtt' }, '\x16\x03\x01\x02\0\x01\0', /what comes is TLS/],
  ['speaks HTTP to MQTT', { protocol: 'mqtt' }, 'GET / HTTP/1.0\r\n\r\n', /what comes is HTTP/],
  ['has a PROXY header too much', { protocol: 'mqtt' }, 'PROXY UNKNOWN\r\n\x10\x0c', /PROXY protocol header, and/],
  ['begins with a PUBLISH', { protocol: 'mqtt' }, '\x30\xff', /first packet is of type 3, not CONNECT/],
  ['asks for another path', { protocol: 'ws' }, upgrade('/other'), /no WebSocket at this path/],
  ['has no PROXY header (mqtt)', { protocol: 'mqtt', proxyProtocol: 'any' }, 'x', /PROXY protocol header/],
  ['has no PROXY header (ws)', { protocol: 'ws', proxyProtocol: 'any' }, 'x', /PROXY protocol header/],
] as const;

for (const [what, listener, bytes, sentence] of cases)
  it(`one that ${what}`, async () => {
    const lines: string[] = [];
    const note = (_event: string, message: string) => void lines.push(message);
    const logger: Logger = { ...silentLogger, level: 3, information: note, warning: note };
    const config = { listeners: [{ name: 'a', port: 0, ...listener }], limits: { connectTimeoutSeconds: 1 } };
    const broker = createBroker({ config, logger });
    await broker.start();
    try {
      const socket = connect(broker.listeners[0]!.port!, '127.0.0.1');
      socket.on('error', () => {});
      socket.resume();
      socket.write(Buffer.from(bytes, 'latin1'));
      await once(socket, 'close');
      assert.equal(broker.metrics.connectionsRefused, 1);
      assert.equal(lines.filter((line) => sentence.test(line)).length, 1, lines.join('\n'));
    } finally {
      await broker.stop();
    }
  });

it('a failed login with a name of 60 KB makes a short line', async () => {
  const names: string[] = [];
  const warning: Logger['warning'] = (_event, _message, fields) => void names.push(String(fields?.username));
  const broker = createBroker({
    config: { listeners: [{ name: 'a', port: 0, allowAnonymous: false }], users: [{ username: 'u', password: 'p' }] },
    logger: { ...silentLogger, warning },
  });
  await broker.start();
  try {
    const socket = connect(broker.listeners[0]!.port!, '127.0.0.1');
    const client = new WireClient(socket, 5);
    client.sendConnect({ clientId: 'x', username: 'n'.repeat(60_000), password: 'p' });
    await client.refused(0x86);
    assert.deepEqual(
      names.map((name) => name.length),
      [257],
    );
  } finally {
    await broker.stop();
  }
});

function upgrade(path: string): string {
  const headers = ['Host: a', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13'];
  return [`GET ${path} HTTP/1.1`, ...headers, 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==', '', ''].join('\r\n');
}
