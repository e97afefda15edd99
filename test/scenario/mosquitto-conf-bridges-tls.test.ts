/** Goal: the TLS directives of a `connection` decide whom the bridge trusts, what it shows, and what the two sides agree on. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import type { TLSSocket, TlsOptions } from 'node:tls';
import type { FakeConnection } from '../support/bridge-scene.js';
import { type ConfBridgeScene, sent, withBridges } from '../support/conf-bridge-scene.js';
import { Authority, type Issued } from '../support/pki.js';

const KEY = 'b7e87d9b2074d5889a7969985d9fc3f04e4e5b8cb57956a812b2c52b6411abd8';
let authority: Authority;
let foreign: Authority;
let server: Issued;
let elsewhere: Issued;
let site: Issued;
let files: Record<string, string>;

before(async () => {
  authority = await Authority.create('CA');
  foreign = await Authority.create('foreign CA');
  server = await authority.issue('localhost', { names: ['localhost', '127.0.0.1'] });
  elsewhere = await authority.issue('elsewhere', { names: ['elsewhere.example'] });
  site = await authority.issue('site 7');
  files = {
    'ca.crt': authority.certificate,
    'foreign.crt': foreign.certificate,
    'site.crt': site.certificate,
    'site.key': site.key,
    'folder/ca.pem': authority.certificate,
  };
});

const shows = ({ certificate, key }: Issued, more: TlsOptions = {}): TlsOptions => ({
  cert: certificate,
  key,
  ...more,
});
const secured = (connection: FakeConnection) => connection.socket as TLSSocket;

/** Runs `test` with a bridge that has these lines, and a remote that shows its own certificate unless told otherwise. */
const withTls = (lines: readonly string[], test: (scene: ConfBridgeScene) => Promise<void>, tls = shows(server)) =>
  withBridges(['connection office', 'address REMOTE', 'notifications false', 'topic m/# out 1', ...lines], test, {
    tls,
    files,
  });

/** The bridge connects, and what it forwards arrives. */
async function serves(scene: ConfBridgeScene): Promise<FakeConnection> {
  const connection = await scene.accepted();
  await scene.publish('m/a', 'x');
  assert.equal(await sent(connection), 'm/a x 1');
  return connection;
}

/** The bridge does not connect, for a reason that it names. */
async function refuses(scene: ConfBridgeScene, reason: RegExp): Promise<void> {
  assert.match((await scene.reaches('office', 'waiting')).lastError, reason);
  assert.equal(scene.remote.come, 0);
}

describe('TLS of the bridges of a mosquitto.conf', () => {
  it('bridge_cafile: a remote of that authority', async () => {
    await withTls(['bridge_cafile DIR/ca.crt'], async (scene) => {
      await serves(scene);
    });
    await withTls(['bridge_cafile DIR/foreign.crt'], (scene) => refuses(scene, /authority that is not trusted/));
  });

  it('bridge_capath: a remote of an authority in the folder', () =>
    withTls(['bridge_capath DIR/folder'], async (scene) => {
      await serves(scene);
    }));

  it('bridge_tls_use_os_certs: a remote of an authority that the system trusts, and no other', async () => {
    await withTls(['bridge_tls_use_os_certs true'], (scene) => refuses(scene, /authority that is not trusted/));
    await withBridges(
      ['connection office', 'address REMOTE', 'notifications false', 'topic m/#', 'bridge_tls_use_os_certs false'],
      async (scene) => {
        await scene.accepted();
        await scene.publish('m/a', 'in the clear');
      },
    );
    await withTls(['bridge_tls_use_os_certs true', 'bridge_cafile DIR/ca.crt'], async (scene) => {
      await serves(scene);
    });
  });

  it('bridge_certfile and bridge_keyfile are shown to a remote that asks', async () => {
    const asks = shows(server, { requestCert: true, rejectUnauthorized: true, ca: authority.certificate });
    await withTls(
      ['bridge_cafile DIR/ca.crt', 'bridge_certfile DIR/site.crt', 'bridge_keyfile DIR/site.key'],
      async (scene) => {
        const { subject } = secured(await serves(scene)).getPeerCertificate();
        assert.equal(subject.CN, 'site 7');
      },
      asks,
    );
    await withTls(
      ['bridge_cafile DIR/ca.crt', 'bridge_tls_version tlsv1.2'],
      (scene) => scene.reaches('office', 'waiting').then(() => assert.equal(scene.remote.come, 0)),
      { ...asks, maxVersion: 'TLSv1.2' },
    );
  });

  it('bridge_insecure: a certificate for another name, of a trusted authority', async () => {
    const named = shows(elsewhere);
    for (const line of ['bridge_insecure false', 'bridge_alpn mqtt'])
      await withTls(['bridge_cafile DIR/ca.crt', line], (scene) => refuses(scene, /for another host name/), named);
    await withTls(
      ['bridge_cafile DIR/ca.crt', 'bridge_insecure true'],
      async (scene) => {
        await serves(scene);
      },
      named,
    );
    await withTls(
      ['bridge_cafile DIR/foreign.crt', 'bridge_insecure true'],
      (scene) => refuses(scene, /authority that is not trusted/),
      named,
    );
  });

  it('bridge_alpn', async () => {
    for (const [lines, agreed] of [
      [['bridge_alpn x-amzn-mqtt-ca'], 'x-amzn-mqtt-ca'],
      [['bridge_alpn mqtt'], 'mqtt'],
      [[], false],
    ] as const)
      await withTls(
        ['bridge_cafile DIR/ca.crt', ...lines],
        async (scene) => {
          assert.equal(secured(await serves(scene)).alpnProtocol, agreed);
        },
        shows(server, { ALPNProtocols: ['mqtt', 'x-amzn-mqtt-ca'] }),
      );
  });

  it('bridge_tls_version: the oldest that is spoken', async () => {
    for (const [lines, remote, agreed] of [
      [[], 'TLSv1.3', 'TLSv1.3'],
      [[], 'TLSv1.2', 'TLSv1.2'],
      [['bridge_tls_version tlsv1.2'], 'TLSv1.3', 'TLSv1.3'],
      [['bridge_tls_version tlsv1.2'], 'TLSv1.2', 'TLSv1.2'],
      [['bridge_tls_version tlsv1.1'], 'TLSv1.2', 'TLSv1.2'],
      [['bridge_tls_version tlsv1.3'], 'TLSv1.3', 'TLSv1.3'],
    ] as const)
      await withTls(
        ['bridge_cafile DIR/ca.crt', ...lines],
        async (scene) => {
          assert.equal(secured(await serves(scene)).getProtocol(), agreed);
        },
        shows(server, { maxVersion: remote }),
      );
    await withTls(
      ['bridge_cafile DIR/ca.crt', 'bridge_tls_version tlsv1.3'],
      (scene) => refuses(scene, /version/i),
      shows(server, { maxVersion: 'TLSv1.2' }),
    );
  });

  it('bridge_ciphers counts up to TLS 1.2, bridge_ciphers_tls1.3 above, and neither switches the other off', async () => {
    const old = 'ECDHE-ECDSA-AES256-GCM-SHA384';
    const suite = 'TLS_CHACHA20_POLY1305_SHA256';
    for (const [lines, remote, agreed] of [
      [[`bridge_ciphers ${old}`], 'TLSv1.2', old],
      [[`bridge_ciphers ${old}`], 'TLSv1.3', /^TLS_/],
      [[`bridge_ciphers_tls1.3 ${suite}`], 'TLSv1.3', suite],
      [[`bridge_ciphers_tls1.3 ${suite}`], 'TLSv1.2', /^ECDHE-ECDSA/],
      [[`bridge_ciphers_tls1.3 ${suite}`, `bridge_ciphers ${old}`], 'TLSv1.2', old],
      [[`bridge_ciphers_tls1.3 ${suite}`, `bridge_ciphers ${old}`], 'TLSv1.3', suite],
    ] as const)
      await withTls(
        ['bridge_cafile DIR/ca.crt', ...lines],
        async (scene) => {
          const { name } = secured(await serves(scene)).getCipher();
          if (typeof agreed === 'string') assert.equal(name, agreed);
          else assert.match(name, agreed);
        },
        shows(server, { maxVersion: remote }),
      );
    await withTls(
      ['bridge_cafile DIR/ca.crt', `bridge_ciphers ${old}`],
      (scene) => refuses(scene, /handshake/i),
      shows(server, { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' }),
    );
  });

  describe('bridge_identity and bridge_psk', () => {
    const identities: string[] = [];
    const keyed = (maxVersion: 'TLSv1.2' | 'TLSv1.3', ciphers = 'PSK:TLS_AES_128_GCM_SHA256'): TlsOptions => ({
      maxVersion,
      ciphers,
      pskCallback: (_socket, identity) => {
        identities.push(identity);
        return identity === 'site 7' ? Buffer.from(KEY, 'hex') : null;
      },
    });

    it('are what the remote knows the bridge by', async () => {
      for (const version of ['TLSv1.2', 'TLSv1.3'] as const)
        await withTls(
          ['bridge_identity site 7', `bridge_psk ${KEY}`],
          async (scene) => {
            identities.length = 0;
            assert.equal(secured(await serves(scene)).getProtocol(), version);
            assert.deepEqual(new Set(identities), new Set(['site 7']));
            assert.doesNotMatch(scene.local.log.join(''), new RegExp(KEY));
          },
          keyed(version),
        );
    });

    it('have to be right', async () => {
      for (const lines of [
        ['bridge_identity site 8', `bridge_psk ${KEY}`],
        ['bridge_identity site 7', `bridge_psk ${'00'.repeat(32)}`],
      ])
        await withTls(lines, (scene) => refuses(scene, /./), keyed('TLSv1.2'));
    });

    it('go with bridge_ciphers and bridge_ciphers_tls1.3', async () => {
      const suite = 'TLS_AES_128_GCM_SHA256';
      for (const [line, version, agreed] of [
        ['bridge_ciphers PSK-AES256-GCM-SHA384', 'TLSv1.2', 'PSK-AES256-GCM-SHA384'],
        ['bridge_ciphers PSK-AES256-GCM-SHA384', 'TLSv1.3', suite],
        [`bridge_ciphers_tls1.3 ${suite}`, 'TLSv1.3', suite],
        [`bridge_ciphers_tls1.3 ${suite}`, 'TLSv1.2', /PSK/],
      ] as const)
        await withTls(
          ['bridge_identity site 7', `bridge_psk ${KEY}`, line],
          async (scene) => {
            const { name } = secured(await serves(scene)).getCipher();
            if (typeof agreed === 'string') assert.equal(name, agreed);
            else assert.match(name, agreed);
          },
          keyed(version),
        );
    });
  });
});
