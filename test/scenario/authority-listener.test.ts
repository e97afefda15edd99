/**
 * A listener that the built-in authority serves: no certificate is configured, and all is made at the first start. What clients see of
 * requireClientCertificate, onlyListed, trustListed and of revocations, in handshakes with a whole broker.
 */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type ConnectionOptions, connect } from 'node:tls';
import { CertificateAuthority, privateKeyPem } from '../../src/certificates/index.js';
import { type Broker, type ConfigInput, createBroker } from '../../src/index.js';
import { PacketType } from '../../src/protocol/index.js';
import { closing } from '../support/closing.js';
import { Authority, Folder } from '../support/pki.js';
import { recordingLogger } from '../support/tls-scene.js';
import { WireClient } from '../support/wire-client.js';

interface Shown {
  readonly cert: string;
  readonly key: string;
}

type Tls = NonNullable<NonNullable<ConfigInput['listeners']>[number]['tls']>;

describe('a listener of the built-in authority', { timeout: 120_000 }, () => {
  const folder = new Folder();
  const certificates = join(folder.path, 'certificates');
  const { log, lines } = recordingLogger();
  let authority: CertificateAuthority;
  let issued: Shown;
  let revoked: Shown;
  let foreign: Shown;
  let strange: Shown;

  before(async () => {
    authority = await CertificateAuthority.open(certificates, {}, {});
    issued = await issue('issued');
    revoked = await issue('revoked');
    await authority.revoke('revoked');
    const other = await Authority.create('Other');
    folder.write('other.pem', other.certificate);
    const ofOther = await other.issue('foreign');
    foreign = { cert: ofOther.certificate, key: ofOther.key };
    const ofNobody = await (await Authority.create('Nobody')).issue('strange');
    strange = { cert: ofNobody.certificate, key: ofNobody.key };
  });
  after(() => folder.remove());

  async function issue(commonName: string): Promise<Shown> {
    const { chain, key } = await authority.issue({ commonName });
    return { cert: chain.map(String).join(''), key: privateKeyPem(key!) };
  }

  async function withBroker(
    tls: Tls,
    body: (broker: Broker, port: number) => Promise<void>,
    protocol: 'mqtts' | 'wss' = 'mqtts',
  ): Promise<void> {
    lines.length = 0;
    const broker = createBroker({
      logger: log,
      config: {
        listeners: [{ name: 'secure', protocol, port: 0, allowAnonymous: true, tls }],
        certificateAuthority: { folder: certificates },
        sys: { intervalSeconds: 0 },
        protection: { overload: { eventLoopDelayMsMax: 0 } },
      },
    });
    await broker.start();
    try {
      await body(broker, broker.listeners[0]!.port!);
    } finally {
      await broker.stop();
    }
  }

  const optionsOf = (port: number, shown?: Shown): ConnectionOptions => ({
    port,
    host: '127.0.0.1',
    servername: 'localhost',
    ca: readFileSync(join(certificates, 'ca.pem')),
    ...shown,
  });

  async function dial(port: number, shown?: Shown, more: ConnectionOptions = {}): Promise<WireClient> {
    const socket = connect({ ...optionsOf(port, shown), ...more });
    socket.on('error', () => {});
    await once(socket, 'secureConnect');
    return new WireClient(socket, 5);
  }

  /** Whether a client that shows this gets as far as a CONNACK. */
  async function admitted(port: number, shown?: Shown): Promise<boolean> {
    const client = await dial(port, shown).catch(() => undefined);
    if (client === undefined) return false;
    client.sendConnect({ clientId: 'c' });
    const answer = await client.packet(PacketType.Connack).catch(() => undefined);
    client.stream.destroy();
    return answer?.reasonCode === 0;
  }

  const table: { tls: Tls; none: boolean; issued: boolean; foreign: boolean; strange: boolean }[] = [
    { tls: {}, none: true, issued: true, foreign: true, strange: true },
    { tls: { clientCertificate: 'request' }, none: true, issued: true, foreign: false, strange: false },
    { tls: { clientCertificate: 'require' }, none: false, issued: true, foreign: false, strange: false },
    {
      tls: { clientCertificate: 'require', clientCa: ['other.pem'] },
      none: false,
      issued: true,
      foreign: true,
      strange: false,
    },
    {
      tls: { clientCertificate: 'require', clientCa: ['other.pem'], onlyListed: true },
      none: false,
      issued: true,
      foreign: false,
      strange: false,
    },
  ];
  for (const { tls, ...expected } of table)
    it(`lets in whom it should: ${JSON.stringify(tls)}`, () =>
      withBroker(
        { ...tls, ...(tls.clientCa ? { clientCa: tls.clientCa.map((name) => join(folder.path, name)) } : {}) },
        async (_broker, port) => {
          const found = {
            none: await admitted(port),
            issued: await admitted(port, issued),
            foreign: await admitted(port, foreign),
            strange: await admitted(port, strange),
          };
          assert.deepEqual(found, expected);
          if (tls.clientCertificate !== undefined) assert.equal(await admitted(port, revoked), false, 'revoked wins');
        },
      ));

  it('trusts a listed certificate of nobody where that is asked for, and not when it is revoked', async () => {
    const entry = await authority.add(new X509Certificate(strange.cert));
    await withBroker({ clientCertificate: 'require' }, async (_broker, port) => {
      assert.equal(await admitted(port, strange), false);
    });
    await withBroker({ clientCertificate: 'require', trustListed: true }, async (_broker, port) => {
      assert.equal(await admitted(port, strange), true);
    });
    await authority.revoke(entry.id);
    await withBroker({ clientCertificate: 'require', trustListed: true }, async (_broker, port) => {
      assert.equal(await admitted(port, strange), false);
    });
  });

  it('hands out the revocation list and its own certificate over HTTP, and nothing else', async () => {
    const broker = createBroker({
      config: {
        listeners: [
          { name: 'web', protocol: 'ws', port: 0, allowAnonymous: true },
          { name: 'secure', protocol: 'mqtts', port: 0, allowAnonymous: true },
        ],
        certificateAuthority: { folder: certificates },
        sys: { intervalSeconds: 0 },
        protection: { overload: { eventLoopDelayMsMax: 0 } },
      },
    });
    await broker.start();
    try {
      const origin = `http://127.0.0.1:${broker.listeners[0]!.port}`;
      const list = await fetch(`${origin}/ca.crl`);
      assert.equal(list.headers.get('content-type'), 'application/pkix-crl');
      assert.deepEqual(Buffer.from(await list.arrayBuffer()), authority.revocationList('der'));
      const own = new X509Certificate(await (await fetch(`${origin}/ca.pem`)).text());
      assert.equal(own.fingerprint256.replaceAll(':', '').toLowerCase(), authority.describe().sha256);
      for (const path of ['/ca.key', '/server.key', '/../certificates/ca.key', '/index.json', '/ca.crl/'])
        assert.equal((await fetch(origin + path)).status, 404, path);
      assert.equal((await fetch(`${origin}/ca.crl`, { method: 'POST' })).status, 404);
    } finally {
      await broker.stop();
    }
  });

  it('ends the connection of a client whose certificate is revoked, and of no other', async () => {
    const gone = await issue('gone');
    await withBroker({ clientCertificate: 'require' }, async (broker, port) => {
      const [leaves, stays] = [await dial(port, gone), await dial(port, issued)];
      await leaves.connect({ clientId: 'leaves' });
      await stays.connect({ clientId: 'stays' });
      await authority.revoke('gone');
      // Each part of the folder that changed is a reason to look: who is on the way out is told of once.
      broker.reloadCertificates();
      broker.reloadCertificates();
      await leaves.refused(0x87);
      assert.equal(lines.filter(({ event }) => event === 'connection.revoked').length, 1);
      await stays.quiet();
      assert.equal(await admitted(port, gone), false);
    });
  });

  it('ends it before CONNECT as well', async () => {
    const gone = await issue('before CONNECT');
    await withBroker({ clientCertificate: 'require' }, async (broker, port) => {
      // In TLS 1.2 the broker has seen the end of the handshake before the client has.
      const client = await dial(port, gone, { maxVersion: 'TLSv1.2' });
      await authority.revoke('before CONNECT');
      broker.reloadCertificates();
      client.sendConnect({ clientId: 'early' });
      await client.closed();
    });
  });

  it('does not take the upgrade to WebSocket of a client that was revoked after its handshake', async () => {
    const gone = await issue('before upgrade');
    const open = async (broker: Broker, port: number, revoke: boolean): Promise<Buffer> => {
      const socket = connect({ ...optionsOf(port, gone), maxVersion: 'TLSv1.2' });
      socket.on('error', () => {});
      await once(socket, 'secureConnect');
      if (revoke) {
        await authority.revoke('before upgrade');
        broker.reloadCertificates();
      }
      const connectFrame = Buffer.from('829000000000100e00044d5154540402003c00026162', 'hex');
      socket.write(
        'GET /mqtt HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
          'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n',
      );
      socket.write(connectFrame);
      let received = Buffer.alloc(0);
      socket.on('data', (chunk: Buffer) => {
        received = Buffer.concat([received, chunk]);
        if (received.includes(connack)) socket.destroy();
      });
      await closing(socket);
      return received;
    };
    const connack = Buffer.from('820420020000', 'hex');
    await withBroker(
      { clientCertificate: 'require' },
      async (broker, port) => {
        assert.ok((await open(broker, port, false)).includes(connack));
        assert.ok(!(await open(broker, port, true)).includes(connack));
      },
      'wss',
    );
  });

  it('ends it though another file is damaged at that moment', async () => {
    const gone = await issue('damaged');
    await withBroker({ clientCertificate: 'require' }, async (broker, port) => {
      const client = await dial(port, gone);
      await client.connect({ clientId: 'leaves' });
      await authority.revoke('damaged');
      const file = join(certificates, 'server.pem');
      const sound = readFileSync(file);
      folder.write('certificates/server.pem', 'nonsense');
      try {
        assert.throws(() => broker.reloadCertificates(), /server\.pem/);
        await client.refused(0x87);
      } finally {
        folder.write('certificates/server.pem', sound);
      }
    });
  });
});
