/** Connections that may not be are closed before they cost a handshake, on every kind of listener; what ends gives its place back. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { createWebSocketStream, WebSocket } from 'ws';
import { type Broker, type ConfigInput, createBroker } from '../../src/index.js';
import { closing } from '../support/closing.js';
import { Authority, Folder } from '../support/pki.js';
import { type LogLine, recordingLogger } from '../support/tls-scene.js';
import { unhurried } from '../support/unhurried.js';
import { PATIENCE_MS, WireClient } from '../support/wire-client.js';

type ListenerInput = NonNullable<ConfigInput['listeners']>[number];

const FULL = 'as many connections are open as may be';
const kinds = ['mqtt', 'mqtts', 'ws', 'wss'] as const;
const doors = kinds.flatMap((protocol) => [false, true].map((proxied) => ({ protocol, proxied })));
const isSecure = (protocol: string) => protocol === 'mqtts' || protocol === 'wss';
const nameOf = ({ protocol, proxied }: Door) => (proxied ? `${protocol}-behind-a-proxy` : protocol);

interface Door {
  readonly protocol: (typeof kinds)[number];
  readonly proxied: boolean;
}

describe('connections that may not be', { timeout: 120_000 }, () => {
  const folder = new Folder();
  let tls: NonNullable<ListenerInput['tls']>;

  before(async () => {
    const { certificate, key } = await (await Authority.create('Root')).issue('localhost', { names: ['localhost'] });
    tls = { certificate: folder.write('server.pem', certificate), key: folder.write('server.key', key) };
  });
  after(() => folder.remove());

  function listenerOf({ protocol, proxied }: Door, more: ListenerInput = {}): ListenerInput {
    return {
      name: nameOf({ protocol, proxied }),
      protocol,
      port: 0,
      ...(isSecure(protocol) ? { tls } : {}),
      ...(proxied ? { proxyProtocol: 'any' } : {}),
      ...more,
    };
  }

  async function withBroker(
    listeners: ListenerInput[],
    config: ConfigInput,
    test: (broker: Broker, lines: LogLine[]) => Promise<void>,
  ): Promise<void> {
    const { log, lines } = recordingLogger();
    const broker = createBroker({
      config: unhurried({ ...config, listeners, sys: { intervalSeconds: 0 } }),
      logger: log,
    });
    await broker.start();
    try {
      await test(broker, lines);
    } finally {
      await broker.stop();
    }
  }

  const refusals = (lines: LogLine[]) =>
    lines
      .filter(({ event }) => !/^(broker|client|connection.opened|connection.tls$)/.test(event))
      .map(({ event, sentence, fields }) => ({ event, sentence, listener: fields.listener, peer: fields.peer }));

  describe('are closed without a byte in answer', () => {
    for (const door of doors) {
      const open = (broker: Broker) => begin(broker, door);

      for (const [what, config, more, reason] of [
        ['the listener has', {}, { connectionsMax: 1 }, FULL],
        ['the broker has', { limits: { connectionsMax: 1 } }, {}, FULL],
        ['the address has', { protection: { connectionsPerAddressMax: 1 } }, {}, /^the address .* has as many connect/],
      ] as const)
        it(`when ${what} as many as may be (${nameOf(door)})`, () =>
          withBroker([listenerOf(door, more)], config, async (broker, lines) => {
            // Neither says anything but where it comes from: one of them is in the middle of something for as long as it likes.
            const sockets = [open(broker), open(broker)];
            const refused = await Promise.race(sockets.map((socket) => closing(socket).then(() => socket)));
            const other = sockets.find((socket) => socket !== refused)!;
            assert.deepEqual([refused.bytesRead, other.destroyed], [0, false]);
            assert.equal(broker.metrics.connectionsRefused, 1);
            const [line, ...rest] = refusals(lines);
            assert.match(line!.sentence, new RegExp(reason));
            assert.equal(line!.listener, nameOf(door));
            assert.deepEqual(rest, []);
            other.destroy();
            await getIn(broker, door);
          }));

      it(`when more come in a second than may (${nameOf(door)})`, () =>
        withBroker([listenerOf(door)], { protection: { connectionsPerSecondMax: 1 } }, async (broker, lines) => {
          const sockets: Socket[] = [];
          // However slow the machine is.
          for (let index = 0; index < 40; index++) sockets.push(open(broker));
          const refused = await Promise.race(sockets.map((socket) => closing(socket).then(() => socket)));
          assert.equal(refused.bytesRead, 0);
          assert.equal(refusals(lines)[0]!.sentence, 'more clients connect in a second than may');
          for (const socket of sockets) socket.destroy();
        }));
    }

    it('when their address is banned', () =>
      withBroker(
        doors.map((door) => listenerOf(door)),
        {},
        async (broker, lines) => {
          broker.ban({ kind: 'address', value: '127.0.0.1' });
          broker.ban({ kind: 'address', value: '192.0.2.0/24' });
          for (const door of doors) {
            const socket = begin(broker, door);
            if (isSecure(door.protocol)) connectTls({ socket }).on('error', () => {});
            await closing(socket);
            assert.equal(socket.bytesRead, 0, `${nameOf(door)}: no ServerHello`);
          }
          assert.equal(broker.metrics.connectionsRefused, doors.length);
          assert.equal(broker.metrics.connectionsBanned, doors.length);
          assert.equal(broker.metrics.tlsHandshakesFailed, 0);
          assert.deepEqual(
            refusals(lines).map(({ event, sentence, listener }) => [event, sentence, listener]),
            doors.map((door) => [
              'connection.refused',
              `the address ${door.proxied ? '192.0.2.1' : '127.0.0.1'} is banned`,
              nameOf(door),
            ]),
          );
          broker.unban('address', '127.0.0.1');
          broker.unban('address', '192.0.2.0/24');
          for (const door of doors) await getIn(broker, door);
        },
      ));

    it('when the broker is overloaded', () =>
      withBroker(
        doors.map((door) => listenerOf(door)),
        { protection: { overload: { memoryBytesMax: 1, eventLoopDelayMsMax: 0 } } },
        async (broker, lines) => {
          await waitFor(() => broker.metrics.overloads === 1);
          for (const door of doors) {
            const socket = begin(broker, door);
            await closing(socket);
            assert.equal(socket.bytesRead, 0, nameOf(door));
          }
          assert.equal(broker.metrics.connectionsRefused, doors.length);
          assert.ok(refusals(lines).every(({ sentence }) => /^the broker is overloaded: /.test(sentence)));
        },
      ));

    it('when that was asked for while the broker runs', () =>
      withBroker(
        doors.map((door) => listenerOf(door)),
        {},
        async (broker) => {
          const stays = begin(broker, doors[0]!);
          await waitFor(() => broker.metrics.connections === 1);
          broker.protect({ listeners: doors.map((door) => ({ name: nameOf(door), connectionsMax: 1 })) });
          broker.protect({ protection: { connectionsPerAddressMax: 1 } });
          for (const door of doors.filter(({ proxied }) => !proxied)) {
            const socket = begin(broker, door);
            await closing(socket);
            assert.equal(socket.bytesRead, 0, nameOf(door));
          }
          stays.destroy();
        },
      ));
  });

  it('that are banned in the middle of a handshake do not get in', () =>
    withBroker(
      doors.map((door) => listenerOf(door)),
      {},
      async (broker, lines) => {
        const begun = await Promise.all(
          doors
            .filter(({ protocol }) => protocol !== 'mqtt')
            .map(async (door) => {
              const socket = begin(broker, door);
              if (door.protocol === 'ws') socket.write('GET /mqtt HTTP/1.1\r\n');
              await once(socket, 'connect');
              // Those that come later are taken later: this one is beyond the door.
              await getIn(broker, door);
              return { door, socket };
            }),
        );
        broker.ban({ kind: 'address', value: '127.0.0.1' });
        broker.ban({ kind: 'address', value: '192.0.2.1' });
        const { connectionsTotal } = broker.metrics;
        for (const { door, socket } of begun) {
          const goOn = door.protocol === 'ws' ? socket : await shakeHands(socket);
          if (door.protocol === 'ws') goOn.write(upgradeHeaders);
          if (door.protocol === 'wss') goOn.write(`GET /mqtt HTTP/1.1\r\n${upgradeHeaders}`);
          await closing(goOn.resume());
        }
        assert.equal(broker.metrics.connectionsTotal, connectionsTotal);
        assert.equal(broker.metrics.connectionsBanned, begun.length);
        assert.equal(refusals(lines).length, begun.length);
      },
    ));

  it('are not those of others who come by the same trusted proxy', () =>
    withBroker(
      (['ws', 'wss'] as const).map((protocol) =>
        listenerOf({ protocol, proxied: false }, { trustedProxies: ['127.0.0.1'] }),
      ),
      { protection: { connectionsPerAddressMax: 1 } },
      async (broker, lines) => {
        broker.ban({ kind: 'address', value: '192.0.2.3' });
        for (const protocol of ['ws', 'wss'] as const) {
          const port = portOf(broker, protocol);
          const by = (address: string) => webSocketTo(port, protocol, { 'x-forwarded-for': address });
          const clients = ['192.0.2.1', '192.0.2.2'].map(by);
          await Promise.all(clients.map((client) => once(client, 'open')));
          for (const [address, reason] of [
            ['192.0.2.1', 'the address 192.0.2.1 has as many connections as it may'],
            ['192.0.2.3', 'the address 192.0.2.3 is banned'],
          ] as const) {
            const refused = by(address);
            let answered = false;
            refused.on('upgrade', () => {
              answered = true;
            });
            await closing(refused);
            assert.deepEqual([answered, lines.at(-1)!.sentence], [false, reason]);
          }
          for (const client of clients) client.terminate();
          await waitFor(() => broker.metrics.connections === 0);
        }
        assert.equal(broker.metrics.connectionsRefused, 4);
      },
    ));

  it('by a Unix socket are those of the proxy that is trusted to tell of them', () => {
    const unixPath = folder.at('proxied');
    return withBroker(
      [{ name: 'local', protocol: 'ws', unixPath, trustedProxies: ['unix', '192.0.2.9'] }],
      { protection: { connectionsPerAddressMax: 1 } },
      async (broker, lines) => {
        const by = (header: string) =>
          new WebSocket(`ws+unix:${unixPath}:/mqtt`, 'mqtt', { headers: { 'x-forwarded-for': header } }).on(
            'error',
            () => {},
          );
        const clients = ['192.0.2.1', 'forged, 192.0.2.2, 192.0.2.9'].map(by);
        await Promise.all(clients.map((client) => once(client, 'open')));
        await closing(by('192.0.2.2'));
        assert.equal(lines.at(-1)!.sentence, 'the address 192.0.2.2 has as many connections as it may');
        for (const client of clients) client.terminate();
        await waitFor(() => broker.metrics.connections === 0);
      },
    );
  });

  it('are bounded on Unix sockets too, which have no address', () => {
    const unixPath = folder.at('socket');
    return withBroker(
      [{ name: 'local', protocol: 'mqtts', unixPath, tls, connectionsMax: 2 }],
      { protection: { connectionsPerAddressMax: 1 } },
      async (broker, lines) => {
        const sockets = Array.from({ length: 3 }, () => connect(unixPath));
        for (const socket of sockets) socket.on('error', () => {}).resume();
        await Promise.race(sockets.map((socket) => closing(socket)));
        assert.deepEqual(
          refusals(lines).map(({ sentence, peer }) => [sentence, peer]),
          [[FULL, 'local']],
        );
        for (const socket of sockets) socket.destroy();
        assert.equal(broker.metrics.connectionsBanned, 0);
      },
    );
  });

  it('are no more after the broker stopped in the middle of handshakes and started again', async () => {
    const { log } = recordingLogger();
    const broker = createBroker({
      config: unhurried({
        listeners: doors.map((door) => listenerOf(door)),
        sys: { intervalSeconds: 0 },
        limits: { connectionsMax: doors.length },
      }),
      logger: log,
    });
    await broker.start();
    const sockets = doors.map((door) => begin(broker, door));
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    await broker.stop();
    await Promise.all(sockets.map((socket) => socket.destroyed || closing(socket)));
    await broker.start();
    try {
      const clients: WireClient[] = [];
      for (const door of doors) clients.push(await getIn(broker, door, true));
      for (const client of clients) client.stream.destroy();
    } finally {
      await broker.stop();
    }
  });
});

const PROXIED = 'PROXY TCP4 192.0.2.1 198.51.100.7 56324 8883\r\n';
const upgradeHeaders = `Host: a\r\n${[
  'Upgrade: websocket',
  'Connection: Upgrade',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Protocol: mqtt',
  'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
].join('\r\n')}\r\n\r\n`;

function portOf(broker: Broker, name: string): number {
  return broker.listeners.find((listener) => listener.name === name)!.port!;
}

/** A connection that says nothing but where it comes from. */
function begin(broker: Broker, door: Door): Socket {
  const socket = connect(portOf(broker, nameOf(door)), '127.0.0.1');
  socket.on('error', () => {}).resume();
  if (door.proxied) socket.write(PROXIED);
  return socket;
}

async function shakeHands(socket: Socket): Promise<TLSSocket> {
  socket.pause();
  const secure = connectTls({ socket, rejectUnauthorized: false });
  secure.on('error', () => {});
  await once(secure, 'secureConnect');
  return secure;
}

function webSocketTo(port: number, scheme: 'ws' | 'wss', headers: Record<string, string> = {}, proxied = false) {
  const webSocket = new WebSocket(`${scheme}://127.0.0.1:${port}/mqtt`, 'mqtt', {
    headers,
    rejectUnauthorized: false,
    ...(proxied
      ? {
          createConnection: () => {
            const socket = connect(port, '127.0.0.1');
            socket.write(PROXIED);
            return scheme === 'ws' ? socket : connectTls({ socket, rejectUnauthorized: false });
          },
        }
      : {}),
  });
  webSocket.on('error', () => {});
  return webSocket;
}

/** Connects a client, which stays if asked to; tried again while the place of one that left is not given back yet. */
async function getIn(broker: Broker, door: Door, stays = false): Promise<WireClient> {
  const { protocol, proxied } = door;
  const port = portOf(broker, nameOf(door));
  const deadline = Date.now() + PATIENCE_MS;
  for (;;)
    try {
      const client = await openClient(port, protocol, proxied);
      await client.connect({ clientId: `by ${nameOf(door)}` });
      if (!stays) {
        const gone = new Promise<void>((resolve) => {
          const stop = broker.on('clientDisconnected', () => {
            stop();
            resolve();
          });
        });
        client.send('e000');
        await gone;
        client.stream.destroy();
      }
      return client;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
}

async function openClient(port: number, protocol: Door['protocol'], proxied: boolean): Promise<WireClient> {
  if (protocol === 'ws' || protocol === 'wss') {
    const webSocket = webSocketTo(port, protocol, {}, proxied);
    const stream = createWebSocketStream(webSocket);
    stream.on('error', () => {});
    await Promise.race([once(webSocket, 'open'), closing(webSocket).then(() => assert.fail('closed'))]);
    return new WireClient(stream, 5);
  }
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  if (proxied) socket.write(PROXIED);
  if (protocol === 'mqtt') return new WireClient(socket, 5);
  const secure = connectTls({ socket, rejectUnauthorized: false });
  secure.on('error', () => {});
  await Promise.race([once(secure, 'secureConnect'), closing(secure).then(() => assert.fail('closed'))]);
  return new WireClient(secure, 5);
}

async function waitFor(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  while (!condition()) {
    assert.ok(Date.now() < deadline, 'what was waited for has not come');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
