import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectSocket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import type { ConnectionOptions } from 'node:tls';
import { closing } from '../../test/support/closing.js';
import { Authority, Folder, type Issued } from '../../test/support/pki.js';
import { admitted, TlsScene, tlsDefaults } from '../../test/support/tls-scene.js';
import { ListenerTls, type TlsSettings } from './listener-tls.js';

const folder = new Folder();
const DAY_MS = 86_400_000;
let root: Authority;
let stranger: Authority;
let own: Pick<TlsSettings, 'certificate' | 'key'>;
let mutual: Partial<TlsSettings>;
let alice: Issued;
let bob: Issued;
let mallory: Issued;
let late: Issued;

before(async () => {
  root = await Authority.create('Root');
  stranger = await Authority.create('Stranger');
  own = await write('server', await root.issue('localhost', { names: ['localhost', '127.0.0.1'] }));
  alice = await root.issue('alice');
  bob = await root.issue('bob');
  mallory = await stranger.issue('alice');
  late = await root.issue('late', { notAfterMs: Date.now() - DAY_MS });
  mutual = { ...own, clientCertificate: 'require', clientCa: [folder.write('root.pem', root.certificate)] };
});
after(() => folder.remove());

async function write(name: string, issued: Issued): Promise<{ certificate: string; key: string }> {
  return {
    certificate: folder.write(`${name}.pem`, issued.certificate),
    key: folder.write(`${name}.key`, issued.key),
  };
}

const showing = ({ certificate, key }: Issued): ConnectionOptions => ({ cert: certificate, key });

async function withScene(
  settings: Partial<TlsSettings>,
  body: (scene: TlsScene) => Promise<void>,
  more: Parameters<typeof TlsScene.start>[1] = {},
): Promise<void> {
  const scene = await TlsScene.start(settings, more);
  try {
    await body(scene);
  } finally {
    await scene.stop();
  }
}

/** Its first time ends in a letter that no time ends in: OpenSSL reads it, and does not trust it. */
function withoutTime(der: Buffer): string {
  const odd = Buffer.from(der);
  const at = odd.indexOf('Z', odd.indexOf(Buffer.from([0x17, 13])));
  odd[at] = 'X'.charCodeAt(0);
  return `-----BEGIN CERTIFICATE-----\n${odd.toString('base64').replace(/.{64}(?=.)/g, '$&\n')}\n-----END CERTIFICATE-----\n`;
}

const refusal = async (scene: TlsScene, options: ConnectionOptions = {}): Promise<string> => {
  const outcome = await scene.try(options);
  assert.ok('refusal' in outcome, 'let in');
  return outcome.refusal;
};

describe('client certificates', () => {
  it('required: only with a trusted one, and the reason is logged once and counted', () =>
    withScene(mutual, async (scene) => {
      const { stream } = admitted(await scene.try(showing(alice)));
      assert.equal(stream.security?.certificate?.trusted, true);
      assert.ok(stream.security?.certificate?.der.equals(alice.der));
      assert.equal(await refusal(scene), 'the client showed no certificate.');
      assert.equal(await refusal(scene, showing(mallory)), 'no authority of clientCa has issued its certificate.');
      assert.equal(await refusal(scene, showing(late)), 'its certificate, or one of its chain, has expired.');
      assert.equal(scene.failures, 3);
      assert.equal(scene.lines.length, 3);
    }));

  it('requested: none will do, a bad one will not', () =>
    withScene({ ...mutual, clientCertificate: 'request' }, async (scene) => {
      assert.equal(admitted(await scene.try()).stream.security?.certificate, undefined);
      assert.equal(admitted(await scene.try(showing(alice))).stream.security?.certificate?.trusted, true);
      await refusal(scene, showing(mallory));
    }));

  it('off: none is asked for', () =>
    withScene(own, async (scene) => {
      assert.equal(admitted(await scene.try(showing(mallory))).stream.security?.certificate, undefined);
    }));

  it('one without a trusted chain is let in where somebody vouches for it, and is marked', () =>
    withScene(
      mutual,
      async (scene) => {
        const { stream } = admitted(await scene.try(showing(mallory)));
        assert.equal(stream.security?.certificate?.trusted, false);
        assert.equal(await refusal(scene, showing(late)), 'its certificate, or one of its chain, has expired.');
      },
      { acceptUntrusted: async (certificate) => certificate.equals(mallory.der) },
    ));

  it('a trusted one is refused where somebody says so', () =>
    withScene(
      mutual,
      async (scene) => {
        assert.equal(await refusal(scene, showing(alice)), 'its certificate is not listed.');
        admitted(await scene.try(showing(bob)));
      },
      { refuseTrusted: (certificate) => (certificate.equals(bob.der) ? undefined : 'its certificate is not listed') },
    ));

  it('that are odd refuse the one who shows them, and nobody else', async () => {
    const crl = [folder.write('odd.crl', await root.revoke([]))];
    const nameless = await stranger.issue('', { subject: '' });
    const timeless = { ...mallory, certificate: withoutTime(mallory.der) };
    for (const settings of [mutual, { ...mutual, crl }])
      await withScene(settings, async (scene) => {
        assert.equal(await refusal(scene, showing(nameless)), 'no authority of clientCa has issued its certificate.');
        assert.match(await refusal(scene, showing(timeless)), /^its certificate/);
        admitted(await scene.try(showing(alice)));
      });
  });

  it('refuse the client when they cannot be judged', () =>
    withScene(
      mutual,
      async (scene) => {
        assert.equal(await refusal(scene, showing(alice)), 'the certificate could not be checked.');
        admitted(await scene.try(showing(bob)));
      },
      {
        refuseTrusted: (certificate) => {
          if (certificate.equals(bob.der)) return undefined;
          throw new Error('the list is gone');
        },
      },
    ));

  it('authorities may stand in a folder', () =>
    withScene({ ...mutual, clientCa: [folder.path] }, async (scene) => {
      admitted(await scene.try(showing(alice)));
    }));
});

describe('revocation lists', () => {
  it('refuse who is on them, and others not; a new list counts from the next handshake on', async () => {
    const crl = folder.write('list.crl', await root.revoke([bob.serialNumber]));
    await withScene({ ...mutual, crl: [crl] }, async (scene) => {
      const { stream, client } = admitted(await scene.try(showing(alice)));
      assert.equal(await refusal(scene, showing(bob)), 'its certificate is revoked.');
      folder.write('list.crl', await root.revoke([alice.serialNumber]));
      scene.tls.reload();
      assert.equal(await refusal(scene, showing(alice)), 'its certificate is revoked.');
      admitted(await scene.try(showing(bob)));
      assert.equal(client.destroyed, false);
      assert.equal(scene.tls.revokedNow(stream.security!.certificate!.der), true);
    });
  });

  it('refuse whom a revoked authority has certified, whatever else the client sends along', async () => {
    const middle = await Authority.create('Middle', root);
    const eve = await middle.issue('eve');
    const { serialNumber } = new X509Certificate(middle.certificate);
    const showingAlso = (...others: string[]) => ({ cert: eve.certificate + others.join(''), key: eve.key });
    await withScene(mutual, async (scene) => void admitted(await scene.try(showingAlso(middle.certificate))));
    const crl = folder.write('middle.crl', await root.revoke([serialNumber]));
    await withScene({ ...mutual, crl: [crl] }, async (scene) => {
      // Some versions of Node do not show what came beside the certificate: then nobody knows.
      for (const others of [
        [middle.certificate],
        [eve.certificate, middle.certificate],
        [stranger.certificate, stranger.certificate, middle.certificate],
      ])
        assert.match(
          await refusal(scene, showingAlso(...others)),
          /^an issuer of its certificate is (revoked|not shown)/,
        );
    });
    // An authority of our own is known without being sent.
    const clientCa = [...mutual.clientCa!, folder.write('middle.pem', middle.certificate)];
    await withScene({ ...mutual, clientCa, crl: [crl] }, async (scene) => {
      for (const others of [[], [middle.certificate]])
        assert.equal(await refusal(scene, showingAlso(...others)), 'an issuer of its certificate is revoked.');
    });
    const empty = folder.write('empty.crl', await root.revoke([]));
    await withScene({ ...mutual, clientCa, crl: [empty] }, async (scene) => {
      for (const others of [[], [middle.certificate]]) admitted(await scene.try(showingAlso(...others)));
    });
  });

  it('past their date refuse everybody of their issuer, unless told otherwise', async () => {
    const crl = [folder.write('old.crl', await root.revoke([bob.serialNumber], Date.now() - DAY_MS))];
    await withScene({ ...mutual, crl }, async (scene) => {
      assert.match(scene.tls.warnings[0] ?? '', /^tls\.crl\[0\]: .*old\.crl has expired on /);
      assert.equal(await refusal(scene, showing(alice)), 'the revocation list of its issuer has expired.');
    });
    await withScene({ ...mutual, crl, crlExpired: 'accept' }, async (scene) => {
      admitted(await scene.try(showing(alice)));
      assert.equal(await refusal(scene, showing(bob)), 'its certificate is revoked.');
    });
  });

  it('of others, changed or unreadable are refused with a sentence', async () => {
    const good = await root.revoke([alice.serialNumber, bob.serialNumber]);
    const der = Buffer.from(good.replace(/-----.*-----|\n/g, ''), 'base64');
    const at = der.indexOf(Buffer.from(alice.serialNumber, 'hex'));
    der[at + 3]! ^= 1;
    const bad: [string, string | Buffer, RegExp][] = [
      [
        'stranger.crl',
        await stranger.revoke([]),
        /is the list of "CN=Stranger", which is none of the authorities of clientCa$/,
      ],
      ['changed.crl', der, /is not signed by "CN=Root" of clientCa: it was changed or has another signer$/],
      ['text.crl', 'hello', /holds no revocation list$/],
      ['certificate.crl', root.certificate, /holds no revocation list; it holds: CERTIFICATE$/],
      ['cut.crl', der.subarray(0, 50), /is no readable revocation list: /],
      ['der.crl', alice.der, /is no readable revocation list|is the list of/],
    ];
    for (const [name, contents, message] of bad) {
      const settings = { ...tlsDefaults, ...mutual, crl: [folder.write(name, contents)] };
      const options = { name: 'test', where: 'tls', settings, log: { level: 0 } as never };
      assert.throws(() => new ListenerTls(options), { name: 'Fault', message });
    }
  });
});

describe('several names on one listener', () => {
  it('show the certificate of the name that the client asked for', async () => {
    const settings: Partial<TlsSettings> = {
      ...own,
      servers: [
        { names: ['one.example.org', 'ONE.test'], ...(await write('one', await root.issue('one'))) },
        { names: ['*.example.net'], ...(await write('net', await root.issue('net'))) },
      ],
    };
    await withScene(settings, async (scene) => {
      const shownFor = async (servername?: string) => {
        const { client, stream } = admitted(await scene.try(servername === undefined ? {} : { servername }));
        assert.equal(stream.security?.serverName, servername);
        return client.getPeerCertificate().subject.CN;
      };
      assert.equal(await shownFor('one.example.org'), 'one');
      assert.equal(await shownFor('one.test'), 'one');
      assert.equal(await shownFor('a.example.net'), 'net');
      assert.equal(await shownFor('a.b.example.net'), 'localhost');
      assert.equal(await shownFor('other.org'), 'localhost');
      assert.equal(await shownFor(), 'localhost');
    });
  });
});

describe('sessions', () => {
  async function resumes(scene: TlsScene, version: 'TLSv1.2' | 'TLSv1.3', between = () => {}): Promise<boolean> {
    const options = { ...showing(alice), minVersion: version, maxVersion: version };
    const first = scene.dial(options);
    const [[session]] = (await Promise.all([once(first, 'session'), once(first, 'data')])) as [[Buffer], unknown];
    first.destroy();
    between();
    const { client, stream } = admitted(await scene.try({ ...options, session }));
    assert.ok(stream.security?.certificate?.der.equals(alice.der));
    assert.equal(stream.security?.certificate?.trusted, true);
    return client.isSessionReused();
  }

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    it(`of ${version} are resumed, with the certificate of the client`, () =>
      withScene(mutual, async (scene) => assert.equal(await resumes(scene, version), true)));
    it(`of ${version} are not resumed after a reload`, () =>
      withScene(mutual, async (scene) => assert.equal(await resumes(scene, version, () => scene.tls.reload()), false)));
    it(`of ${version} are not resumed without tickets`, () =>
      withScene({ ...mutual, sessionTickets: false }, async (scene) =>
        assert.equal(await resumes(scene, version), false),
      ));
    it(`of ${version} are not resumed where OCSP is asked: they bring no issuers`, () =>
      withScene({ ...mutual, ocsp: 'soft' }, async (scene) => assert.equal(await resumes(scene, version), false)));
  }
});

describe('reload', () => {
  it('shows the new certificate to new clients and leaves the old ones alone', async () => {
    const files = await write('renewed', await root.issue('before'));
    await withScene(files, async (scene) => {
      const { client: old } = admitted(await scene.try());
      assert.equal(old.getPeerCertificate().subject.CN, 'before');
      await write('renewed', await root.issue('after'));
      scene.tls.reload();
      const { client } = admitted(await scene.try());
      assert.equal(client.getPeerCertificate().subject.CN, 'after');
      assert.equal(old.destroyed, false);
      scene.streams[0]!.write(Buffer.from('still here'));
      const [bytes] = await once(old, 'data');
      assert.equal(String(bytes), 'still here');
    });
  });

  it('by itself when files change; a broken one changes nothing and is logged', async () => {
    const files = await write('watched', await root.issue('first'));
    const reloads: number[] = [];
    await withScene(files, async (scene) => {
      scene.tls.startWatching(() => reloads.push(1));
      const line = async (event: string) => {
        while (!scene.lines.some((entry) => entry.event === event))
          await new Promise((resolve) => setTimeout(resolve, 10));
        return scene.lines.find((entry) => entry.event === event)!;
      };
      folder.write('watched.pem', 'no longer a certificate');
      const rejected = await line('listener.tls-rejected');
      assert.match(
        rejected.sentence,
        /what was read before stays in use: tls\.certificate: .*watched\.pem holds no certificate/,
      );
      assert.equal(admitted(await scene.try()).client.getPeerCertificate().subject.CN, 'first');
      assert.deepEqual(reloads, []);
      await write('watched', await root.issue('second'));
      await line('listener.tls-reloaded');
      assert.equal(admitted(await scene.try()).client.getPeerCertificate().subject.CN, 'second');
      assert.deepEqual(reloads, [1]);
    });
  });
});

describe('versions and ciphers', () => {
  const speaks = (version: 'TLSv1.2' | 'TLSv1.3', more: ConnectionOptions = {}) => ({
    minVersion: version,
    maxVersion: version,
    ...more,
  });

  it('are those of the settings', async () => {
    await withScene(own, async (scene) => {
      for (const version of ['TLSv1.2', 'TLSv1.3'] as const)
        assert.equal(admitted(await scene.try(speaks(version))).stream.security?.version, version);
      assert.match(
        await refusal(scene, { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }),
        /^the client speaks only TLS versions that are switched off/,
      );
    });
    await withScene({ ...own, versionMin: 'TLSv1.3' }, async (scene) => {
      await refusal(scene, speaks('TLSv1.2'));
      admitted(await scene.try(speaks('TLSv1.3')));
    });
    await withScene({ ...own, versionMax: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384' }, async (scene) => {
      const { stream } = admitted(await scene.try());
      assert.equal(stream.security?.cipher, 'TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384');
      assert.match(
        await refusal(scene, { ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' }),
        /^no cipher suite is known to both/,
      );
    });
  });

  it('that OpenSSL does not know are refused at the start', () => {
    for (const bad of [{ ciphers: 'NO-SUCH' }, { cipherSuites: 'TLS_NO_SUCH' }])
      assert.throws(
        () =>
          new ListenerTls({ name: 'x', where: 'tls', settings: { ...tlsDefaults, ...own, ...bad }, log: {} as never }),
        { message: /^tls\.ciphers: OpenSSL does not take "(NO-SUCH|TLS_NO_SUCH)": / },
      );
  });

  it('ALPN: offered protocols are chosen, others refused; without the setting any is let in', async () => {
    await withScene({ ...own, alpn: ['mqtt', 'x-amzn-mqtt-ca'] }, async (scene) => {
      const { client } = admitted(await scene.try({ ALPNProtocols: ['h2', 'x-amzn-mqtt-ca'] }));
      assert.equal(client.alpnProtocol, 'x-amzn-mqtt-ca');
      assert.equal(await refusal(scene, { ALPNProtocols: ['h2'] }), 'no protocol of ALPN is known to both sides.');
      admitted(await scene.try());
    });
    await withScene(own, async (scene) => void admitted(await scene.try({ ALPNProtocols: ['h2'] })));
  });
});

describe('what is no handshake', () => {
  it('is refused in words', () =>
    withScene(own, async (scene) => {
      for (const [bytes, reason] of [
        ['GET / HTTP/1.1\r\n\r\n', 'what came is HTTP without TLS.'],
        ['\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00', 'what came is not TLS.'],
      ] as const) {
        const { length } = scene.lines;
        const socket = connectSocket(scene.port, '127.0.0.1');
        socket.on('error', () => {});
        socket.write(bytes, 'latin1');
        socket.resume();
        await closing(socket);
        assert.equal(scene.lines[length]?.sentence, `Refused in the TLS handshake: ${reason}`);
      }
    }));

  it('ends when its time is over, whether it began or not', () =>
    withScene(
      own,
      async (scene) => {
        for (const bytes of ['', '160301']) {
          const { length } = scene.lines;
          const socket = connectSocket(scene.port, '127.0.0.1');
          socket.on('error', () => {});
          socket.write(Buffer.from(bytes, 'hex'));
          socket.resume();
          await closing(socket);
          assert.equal(
            scene.lines[length]?.sentence,
            'Refused in the TLS handshake: the handshake did not end in time.',
          );
        }
      },
      { handshakeTimeoutMs: 200 },
    ));

  it('a PROXY protocol header comes before it', () =>
    withScene(
      own,
      async (scene) => {
        const socket = connectSocket(scene.port, '127.0.0.1');
        socket.write('PROXY TCP4 192.0.2.7 198.51.100.1 4711 8883\r\n');
        const { stream } = admitted(await scene.try({ socket } as ConnectionOptions));
        assert.deepEqual([stream.peer.address, stream.peer.port], ['192.0.2.7', 4711]);
      },
      { proxyProtocol: 'v1' },
    ));
});

describe('pre-shared keys', () => {
  const key = 'b7e87d9b2074d5889a7969985d9fc3f04e4e5b8cb57956a812b2c52b6411abd8';
  const psk = { identities: [{ identity: 'test', key }], hint: 'ask me' };
  const offering = (identity: string, hex: string, version?: 'TLSv1.2' | 'TLSv1.3'): ConnectionOptions => ({
    pskCallback: () => ({ identity, psk: Buffer.from(hex, 'hex') }),
    ciphers: 'PSK:ECDHE-PSK-AES128-CBC-SHA256:TLS_AES_128_GCM_SHA256',
    checkServerIdentity: () => undefined,
    ...(version === undefined ? {} : { minVersion: version, maxVersion: version }),
  });

  for (const beside of [false, true])
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const)
      it(`${version}, ${beside ? 'beside a certificate' : 'alone'}: the right key is let in, others not`, () =>
        withScene({ ...(beside ? own : {}), psk }, async (scene) => {
          const { stream } = admitted(await scene.try(offering('test', key, version)));
          assert.equal(stream.security?.pskIdentity, 'test');
          assert.equal(await refusal(scene, offering('nobody', key, version)), 'the PSK identity is not known.');
          assert.equal(
            await refusal(scene, offering('test', `${key}00`, version)),
            'the client has another key for this PSK identity.',
          );
          assert.deepEqual(
            scene.lines.map(({ fields }) => fields.pskIdentity),
            ['nobody', 'test'],
          );
          if (!beside) return;
          const plain = admitted(await scene.try({ minVersion: version, maxVersion: version }));
          assert.equal(plain.stream.security?.pskIdentity, undefined);
        }));

  it('an identity without its key lets nobody in by the certificate', () =>
    withScene({ ...own, psk }, async (scene) => {
      // The suite's hash does not fit, so OpenSSL would pass over the key and go on with the certificate.
      const outcome = await scene.try({
        ...offering('test', `${key}00`, 'TLSv1.3'),
        ciphers: 'TLS_AES_256_GCM_SHA384',
      });
      assert.ok('refusal' in outcome, 'let in');
      assert.equal(outcome.refusal, 'the client named a PSK identity without using its key.');
    }));

  it('come from a file as well, which is read again', async () => {
    const file = folder.write('keys.psk', `# devices\n\none:${key}\nwith:colon:00ff\n`);
    await withScene({ psk: { identities: [], file, hint: '' } }, async (scene) => {
      admitted(await scene.try(offering('one', key)));
      admitted(await scene.try(offering('with:colon', '00ff')));
      folder.write('keys.psk', 'two:abcd\n');
      scene.tls.reload();
      admitted(await scene.try(offering('two', 'abcd')));
      assert.equal(await refusal(scene, offering('one', key)), 'the PSK identity is not known.');
    });
  });

  it('in a file that is wrong are refused with file and line, and never shown', () => {
    const bad: [string, RegExp][] = [
      ['one', /line 1: is not identity:hexkey$/],
      ['one:xyz', /line 1: the key is not an even number of hexadecimal digits/],
      ['one:abc', /line 1: the key is not an even number of hexadecimal digits/],
      ['\none:ab\none:cd', /line 3: identity "one" is given twice$/],
      [':abcd', /line 1: an identity has 1 to 128 bytes, this one 0$/],
      [`one:${'ab'.repeat(257)}`, /line 1: the key has more than 256 bytes$/],
    ];
    for (const [contents, message] of bad) {
      const file = folder.write('bad.psk', contents);
      const settings = { ...tlsDefaults, psk: { identities: [], file, hint: '' } };
      assert.throws(() => new ListenerTls({ name: 'x', where: 'tls', settings, log: {} as never }), { message });
    }
  });
});
