/** TLS in a whole broker: renewals and revocations under connected clients, users by key, WSS with cookies, the command. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { connect as connectSocket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { WebSocket } from 'ws';
import { type Broker, type ConfigInput, createBroker } from '../../src/index.js';
import type { ConnectRequest, Policy } from '../../src/policy/index.js';
import { endProcess, Lines, root, within } from '../interop/support.js';
import { closing } from '../support/closing.js';
import { Authority, Folder, type Issued } from '../support/pki.js';
import { recordingLogger } from '../support/tls-scene.js';
import { WireClient } from '../support/wire-client.js';

const KEY = 'b7e87d9b2074d5889a7969985d9fc3f04e4e5b8cb57956a812b2c52b6411abd8';
type Listeners = NonNullable<ConfigInput['listeners']>;
type Tls = NonNullable<Listeners[number]['tls']>;

describe('a broker with TLS', { timeout: 120_000 }, () => {
  const folder = new Folder();
  let authority: Authority;
  let alice: Issued;
  let bob: Issued;
  let own: Tls;

  before(async () => {
    authority = await Authority.create('Root');
    alice = await authority.issue('alice');
    bob = await authority.issue('bob');
    own = write('server', await authority.issue('localhost', { names: ['localhost', '127.0.0.1'] }));
    folder.write('root.pem', authority.certificate);
  });
  after(() => folder.remove());

  function write(name: string, issued: Issued): { certificate: string; key: string } {
    return {
      certificate: folder.write(`${name}.pem`, issued.certificate),
      key: folder.write(`${name}.key`, issued.key),
    };
  }

  async function withBroker(
    listener: Listeners[number],
    body: (broker: Broker, port: number, lines: ReturnType<typeof recordingLogger>['lines']) => Promise<void>,
    policy: Partial<Policy> = {},
    more: ConfigInput = {},
  ): Promise<void> {
    const { log, lines } = recordingLogger();
    const config = {
      ...more,
      listeners: [{ name: 'test', port: 0, ...listener }],
      sys: { intervalSeconds: 0 },
      protection: { overload: { eventLoopDelayMsMax: 0 } },
    };
    const broker = createBroker({ config, logger: log, policy });
    await broker.start();
    try {
      await body(broker, broker.listeners[0]!.port!, lines);
    } finally {
      await broker.stop();
    }
  }

  async function dial(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
    const socket = connect({ port, host: '127.0.0.1', ca: authority.certificate, servername: 'localhost', ...options });
    socket.on('error', () => {});
    await once(socket, 'secureConnect');
    return socket;
  }

  it('keeps its clients when certificates change, and drops those that are revoked', async () => {
    const crl = folder.write('list.crl', await authority.revoke([]));
    const files = write('renewed', await authority.issue('localhost', { names: ['localhost'], subject: 'CN=first' }));
    const tls: Tls = { ...files, clientCa: [folder.at('root.pem')], crl: [crl], reloadOnChange: false };
    await withBroker({ protocol: 'mqtts', tls }, async (broker, port, lines) => {
      const client = async ({ certificate, key }: Issued, clientId: string) => {
        const wire = new WireClient(await dial(port, { cert: certificate, key }), 5);
        await wire.connect({ clientId });
        return wire;
      };
      const stays = await client(alice, 'alice');
      const goes = await client(bob, 'bob');
      const gone = new Promise<number | undefined>((resolve) => {
        broker.on('clientDisconnected', ({ client: { clientId }, reasonCode }) => {
          if (clientId === 'bob') resolve(reasonCode);
        });
      });
      write('renewed', await authority.issue('localhost', { names: ['localhost'], subject: 'CN=second' }));
      folder.write('list.crl', await authority.revoke([bob.serialNumber]));
      broker.reloadCertificates();
      assert.equal(await gone, 0x87);
      assert.match(await goes.bytes(), /^e0..87/);
      await goes.closed();
      assert.deepEqual(
        broker.clients().map(({ clientId }) => clientId),
        ['alice'],
      );
      assert.equal((stays.stream as TLSSocket).getPeerCertificate().subject.CN, 'first');
      const fresh = await client(alice, 'another');
      assert.equal((fresh.stream as TLSSocket).getPeerCertificate().subject.CN, 'second');
      fresh.stream.destroy();
      const refused = await dial(port, { cert: bob.certificate, key: bob.key });
      refused.resume();
      await closing(refused);
      assert.equal(broker.metrics.tlsHandshakesFailed, 1);
      assert.ok(lines.some(({ sentence }) => sentence === 'Refused in the TLS handshake: its certificate is revoked.'));

      folder.write('renewed.pem', 'broken');
      assert.throws(() => broker.reloadCertificates(), {
        code: 'TLS_MATERIAL_INVALID',
        message: /^listener test: tls\.certificate: .*renewed\.pem holds no certificate/,
      });
      const still = await dial(port, { cert: alice.certificate, key: alice.key });
      assert.equal(still.getPeerCertificate().subject.CN, 'second');
      still.destroy();
      stays.stream.destroy();
    });
  });

  it('takes the identity of a key as user name where told to, whatever CONNECT says', async () => {
    const psk = { identities: [{ identity: 'sensor', key: KEY }] };
    const options: ConnectionOptions = {
      pskCallback: () => ({ identity: 'sensor', psk: Buffer.from(KEY, 'hex') }),
      ciphers: 'TLS_AES_128_GCM_SHA256:PSK',
      checkServerIdentity: () => undefined,
    };
    const users = [{ username: 'house', password: '12345' }];
    for (const identityAsUsername of [true, false])
      await withBroker(
        { protocol: 'mqtts', tls: { psk: { ...psk, identityAsUsername } } },
        async (broker, port) => {
          const client = new WireClient(await dial(port, options), 5);
          if (identityAsUsername) await client.connect({ clientId: 'a', username: 'admin' });
          else await client.connect({ clientId: 'a', username: 'house', password: '12345' });
          assert.equal(broker.clients()[0]?.username, identityAsUsername ? 'sensor' : 'house');
          client.stream.destroy();
        },
        {},
        { users },
      );
  });

  it('serves WSS, and knows cookies and certificate of the browser', async () => {
    const requests: ConnectRequest[] = [];
    const policy: Partial<Policy> = {
      authenticate: (request) => {
        requests.push(request);
        return { reasonCode: 0 };
      },
    };
    const tls: Tls = { ...own, clientCa: [folder.at('root.pem')], clientCertificate: 'request' };
    await withBroker(
      { protocol: 'wss', tls },
      async (broker, port) => {
        const webSocket = new WebSocket(`wss://127.0.0.1:${port}/mqtt`, 'mqtt', {
          ca: authority.certificate,
          cert: alice.certificate,
          key: alice.key,
          headers: { cookie: 'session=abc; theme="dark"; session=second' },
        });
        await once(webSocket, 'open');
        const connected = new Promise((resolve) => broker.on('clientConnected', resolve));
        webSocket.send(Buffer.from('101000044d5154540402003c000477656231', 'hex'));
        await within(connected, 'the client');
        const [request] = requests;
        assert.deepEqual({ ...request!.cookies }, { session: 'abc', theme: 'dark' });
        assert.equal(request!.certificate?.commonName, 'alice');
        webSocket.terminate();
      },
      policy,
    );
  });

  it('knows the certificate of clients that come by the HTTPS server of a program', async () => {
    const requests: ConnectRequest[] = [];
    const broker = createBroker({
      config: { listeners: [], sys: { intervalSeconds: 0 }, protection: { overload: { eventLoopDelayMsMax: 0 } } },
      policy: {
        authenticate: (request) => {
          requests.push(request);
          return { reasonCode: 0 };
        },
      },
    });
    await broker.start();
    const [cert, key] = [readFileSync(String(own.certificate)), readFileSync(String(own.key))];
    const server = createServer({ cert, key, ca: authority.certificate, requestCert: true, rejectUnauthorized: false });
    broker.attachWebSocket(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    for (const [issued, trusted] of [
      [alice, true],
      [await (await Authority.create('Stranger')).issue('alice'), false],
    ] as const) {
      const webSocket = new WebSocket(`wss://127.0.0.1:${port}/mqtt`, 'mqtt', {
        ca: authority.certificate,
        cert: issued.certificate,
        key: issued.key,
      });
      await once(webSocket, 'open');
      const connected = new Promise<void>((resolve) => {
        const stop = broker.on('clientConnected', () => {
          stop();
          resolve();
        });
      });
      webSocket.send(Buffer.from('101000044d5154540402003c000477656231', 'hex'));
      await within(connected, 'the client');
      webSocket.terminate();
      const { certificate } = requests.pop()!;
      assert.deepEqual([certificate?.commonName, certificate?.trusted], ['alice', trusted]);
    }
    server.close();
    server.closeAllConnections();
    await broker.stop();
  });

  it('bounds handshakes that never end by the CONNECT timeout and the number of connections', () =>
    withBroker(
      { protocol: 'mqtts', tls: own, connectionsMax: 5 },
      async (broker, port, lines) => {
        const sockets = Array.from({ length: 8 }, () => connectSocket(port, '127.0.0.1'));
        let closed = 0;
        for (const socket of sockets) {
          socket.on('error', () => {});
          socket.on('close', () => closed++);
          socket.resume();
        }
        const ended = Promise.all(sockets.map(closing));
        while (closed < 3) await new Promise((resolve) => setTimeout(resolve, 5));
        assert.equal(broker.metrics.tlsHandshakesFailed, 0, 'the others had their time');
        await within(ended, 'the ends of the handshakes');
        assert.equal(broker.metrics.tlsHandshakesFailed, 5);
        assert.ok(lines.some(({ sentence }) => sentence.endsWith('the handshake did not end in time.')));
        const late = await dial(port);
        late.destroy();
      },
      {},
      { limits: { connectTimeoutSeconds: 1 } },
    ));

  it('is reached by our own tools: URLs, certificates, load', async () => {
    const tls: Tls = { ...own, clientCa: [folder.at('root.pem')] };
    const { log } = recordingLogger();
    const broker = createBroker({
      config: {
        listeners: [
          { name: 'a', protocol: 'mqtts', port: 0, tls },
          { name: 'b', protocol: 'wss', port: 0, path: '/other', tls: own },
        ],
      },
      logger: log,
    });
    await broker.start();
    try {
      const [a, b] = broker.listeners.map(({ port }) => port);
      const { certificate, key } = write('alice', alice);
      const trust = ['--cafile', folder.at('root.pem')];
      const mine = [...trust, '--cert', certificate, '--key', key];
      const messages: string[] = [];
      broker.subscribe('t', (message) => messages.push(String(message.payload)));
      const runs: [string[], number, RegExp][] = [
        [['pub', '-L', `mqtts://localhost:${a}/t`, ...mine, '-m', 'one', '-q', '1'], 0, /^$/],
        [['pub', '-L', `wss://localhost:${b}/t`, '--ws-path', '/other', ...trust, '-m', 'two', '-q', '1'], 0, /^$/],
        [['pub', '-L', `wss://localhost:${b}/t`, ...trust, '-m', 'no'], 1, /404/],
        [['pub', '-L', `mqtts://localhost:${a}/t`, '-m', 'no'], 1, /verify|self-signed/],
        [
          ['bench', 'pair', '-c', '2', '-d', '0.3', '--warm-up', '0', '-p', `${a}`, ...mine, '--json'],
          0,
          /"kind":"pair"/,
        ],
        [
          ['bench', 'pair', '-c', '2', '-d', '0.3', '-p', `${a}`, ...trust],
          1,
          /it closed the connection while greeting/,
        ],
        [['bench', 'pair', '--cert', certificate], 2, /--cert needs TLS: give --tls, --cafile or --psk/],
      ];
      for (const [args, status, pattern] of runs) {
        const child = spawn(process.execPath, [join(root, 'bin', 'dunlin'), ...args], {
          stdio: ['ignore', 'pipe', 'pipe'],
        });
        let output = '';
        for (const stream of [child.stdout, child.stderr])
          stream.setEncoding('utf8').on('data', (text: string) => {
            output += text;
          });
        const [code] = await once(child, 'close');
        assert.equal(code, status, `${args.join(' ')}\n${output}`);
        assert.match(output, pattern, args.join(' '));
      }
      assert.deepEqual(messages, ['one', 'two']);
    } finally {
      await broker.stop();
    }
  });

  it('as a command: names what is wrong before it starts, and reads files again on SIGHUP', async () => {
    const file = folder.write('dunlin.yaml', '');
    const dunlin = join(root, 'bin', 'dunlin');
    const put = (tls: Tls) =>
      folder.write(
        'dunlin.yaml',
        JSON.stringify({
          listeners: [{ name: 'a', protocol: 'mqtts', port: 0, tls }],
          log: { level: 'information', format: 'json' },
        }),
      );
    const finish = async (...args: string[]) => {
      const child = spawn(process.execPath, [dunlin, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
      let output = '';
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
      const [code] = await once(child, 'close');
      return { code, output };
    };
    put({ ...own, key: folder.at('root.pem') });
    for (const args of [
      ['config', 'check', file],
      ['--test-config', '-c', file],
      ['-c', file],
    ]) {
      const { code, output } = await finish(...args);
      assert.equal(code, 2, output);
      assert.match(output, /tls\.key: .*root\.pem holds no private key; it holds: CERTIFICATE/);
    }
    const files = write('hup', await authority.issue('localhost', { names: ['localhost'], subject: 'CN=first' }));
    put({ ...files, reloadOnChange: false });
    const child = spawn(process.execPath, [dunlin, '-c', file], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      const output = new Lines(child.stdout);
      const port = Number(/:(\d+)"/.exec(await output.find(/Listening on mqtts:/))![1]);
      write('hup', await authority.issue('localhost', { names: ['localhost'], subject: 'CN=second' }));
      child.kill('SIGHUP');
      await output.find(/listener\.tls-reloaded/);
      const socket = await dial(port);
      assert.equal(socket.getPeerCertificate().subject.CN, 'second');
      socket.destroy();
      folder.write('hup.key', 'nothing');
      child.kill('SIGHUP');
      await output.find(/What was read before stays in use: listener a: tls\.key: .*hup\.key holds no private key/);
    } finally {
      await endProcess(child, 'SIGTERM');
    }
  });
});
