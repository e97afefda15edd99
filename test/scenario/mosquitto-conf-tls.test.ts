/** Goal: the directives of mosquitto.conf about TLS do to clients what they do there. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { MosquittoScene } from '../support/mosquitto-scene.js';
import { Authority, type Issued } from '../support/pki.js';
import { WireClient } from '../support/wire-client.js';

const KEY = 'b7e87d9b2074d5889a7969985d9fc3f04e4e5b8cb57956a812b2c52b6411abd8';
let authority: Authority;
let foreign: Authority;
let server: Issued;
const clients: Record<string, Issued> = {};
let revocations: string;

before(async () => {
  authority = await Authority.create('CA');
  foreign = await Authority.create('foreign CA');
  server = await authority.issue('localhost', { names: ['localhost', '127.0.0.1'] });
  clients.ada = await authority.issue('ada', { subject: 'CN=ada,OU=people,O=Example' });
  clients.gone = await authority.issue('gone');
  clients.foreign = await foreign.issue('ada');
  revocations = await authority.revoke([clients.gone.serialNumber]);
});

const material = 'certfile DIR/server.crt\nkeyfile DIR/server.key\n';

async function withTls(text: string, test: (scene: MosquittoScene) => Promise<void>): Promise<void> {
  const scene = new MosquittoScene();
  try {
    scene.file('ca.crt', authority.certificate);
    scene.file('server.crt', server.certificate);
    scene.file('server.key', server.key);
    scene.file('revoked.crl', revocations);
    scene.file('psk', `sensor:${KEY}\n`);
    await scene.start(text);
    await test(scene);
  } finally {
    await scene.stop();
  }
}

const sockets: TLSSocket[] = [];
after(() => {
  for (const socket of sockets) socket.destroy();
});

/** The CONNACK code of a client that shakes hands so; undefined when the handshake or connection ends. */
async function code(
  scene: MosquittoScene,
  options: ConnectionOptions = {},
  username?: string,
): Promise<number | undefined> {
  const socket = connect({ host: '127.0.0.1', port: scene.ports[0]!, ca: authority.certificate, ...options });
  sockets.push(socket);
  try {
    await once(socket, 'secureConnect');
  } catch {
    return undefined;
  }
  const client = new WireClient(socket, 5);
  client.sendConnect({ clientId: 'tls', ...(username === undefined ? {} : { username }) });
  try {
    const { packet } = await client.next();
    return 'reasonCode' in packet ? packet.reasonCode : undefined;
  } catch {
    return undefined;
  } finally {
    socket.destroy();
  }
}

const shows = ({ certificate, key }: Issued): ConnectionOptions => ({ cert: certificate, key });

describe('TLS of a mosquitto.conf', () => {
  it('certfile and keyfile, whoever connects', () =>
    withTls(`listener PORT 127.0.0.1\nallow_anonymous true\n${material}cafile DIR/ca.crt\n`, async (scene) => {
      assert.equal(await code(scene), 0);
    }));

  it('capath, and tls_keyform pem', async () => {
    const scene = new MosquittoScene();
    mkdirSync(join(scene.folder, 'ca'));
    writeFileSync(join(scene.folder, 'ca', 'one.pem'), authority.certificate);
    scene.file('server.crt', server.certificate);
    scene.file('server.key', server.key);
    try {
      await scene.start(
        `listener PORT 127.0.0.1\nallow_anonymous true\n${material}tls_keyform pem\ncapath DIR/ca\nrequire_certificate true\n`,
      );
      assert.equal(await code(scene, shows(clients.ada!)), 0);
      assert.equal(await code(scene, shows(clients.foreign!)), undefined);
    } finally {
      await scene.stop();
    }
  });

  it('require_certificate, cafile and crlfile', () =>
    withTls(
      `listener PORT 127.0.0.1\nallow_anonymous true\n${material}cafile DIR/ca.crt\nrequire_certificate true\ncrlfile DIR/revoked.crl\n`,
      async (scene) => {
        assert.equal(await code(scene, shows(clients.ada!)), 0);
        assert.equal(await code(scene, shows(clients.gone!)), undefined);
        assert.equal(await code(scene, shows(clients.foreign!)), undefined);
        assert.equal(await code(scene), undefined);
      },
    ));

  for (const [directive, expected] of [
    ['use_identity_as_username', 'ada'],
    ['use_subject_as_username', 'CN=ada,OU=people,O=Example'],
  ] as const)
    it(directive, () =>
      withTls(
        `listener PORT 127.0.0.1\n${material}cafile DIR/ca.crt\nrequire_certificate true\n${directive} true\n`,
        async (scene) => {
          let username: string | undefined;
          scene.broker.on('clientConnected', ({ client }) => {
            username = client.username;
          });
          assert.equal(await code(scene, shows(clients.ada!), 'somebody'), 0);
          assert.equal(username?.split(',').sort().join(), expected.split(',').sort().join());
        },
      ),
    );

  it('tls_version, ciphers and ciphers_tls1.3', async () => {
    await withTls(
      `listener PORT 127.0.0.1\nallow_anonymous true\n${material}tls_version tlsv1.3\nciphers_tls1.3 TLS_CHACHA20_POLY1305_SHA256\n`,
      async (scene) => {
        assert.equal(await code(scene, { maxVersion: 'TLSv1.2' }), undefined);
        assert.equal(await code(scene, { ciphers: 'TLS_AES_128_GCM_SHA256' }), undefined);
        assert.equal(await code(scene, { ciphers: 'TLS_CHACHA20_POLY1305_SHA256' }), 0);
      },
    );
    await withTls(
      `listener PORT 127.0.0.1\nallow_anonymous true\n${material}ciphers ECDHE-ECDSA-AES256-GCM-SHA384\n`,
      async (scene) => {
        assert.equal(await code(scene, { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' }), undefined);
        assert.equal(await code(scene, { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384' }), 0);
      },
    );
  });

  for (const asUsername of [true, false])
    it(`psk_hint and psk_file, use_identity_as_username ${asUsername}`, () =>
      withTls(
        `psk_file DIR/psk\nlistener PORT 127.0.0.1\npsk_hint broker\nuse_identity_as_username ${asUsername}\nlistener_allow_anonymous ${!asUsername}\n`,
        async (scene) => {
          const withKey = (key: string): ConnectionOptions => ({
            ciphers: 'PSK',
            maxVersion: 'TLSv1.2',
            checkServerIdentity: () => undefined,
            pskCallback: (hint) => {
              assert.equal(hint, 'broker');
              return { identity: 'sensor', psk: Buffer.from(key, 'hex') };
            },
          });
          const usernames: (string | undefined)[] = [];
          scene.broker.on('clientConnected', ({ client }) => usernames.push(client.username));
          assert.equal(await code(scene, withKey(KEY)), 0);
          assert.equal(await code(scene, withKey('00'.repeat(32))), undefined);
          assert.deepEqual(usernames, [asUsername ? 'sensor' : undefined]);
        },
      ));
});
