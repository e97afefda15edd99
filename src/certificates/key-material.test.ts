import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { findProgram } from '../../test/interop/support.js';
import { Authority, Folder, type Issued } from '../../test/support/pki.js';
import { type KeyMaterialSettings, readKeyMaterial } from './key-material.js';

const folder = new Folder();
const keytool = findProgram('keytool', 'src/certificates/key-material: keytool (default-jre-headless)');
const openssl = findProgram('openssl', 'src/certificates/key-material: openssl');
let root: Authority;
let middle: Authority;
let server: Issued;
let other: Issued;
const files: Record<string, string> = {};

before(async () => {
  root = await Authority.create('Root');
  middle = await Authority.create('Middle', root);
  server = await middle.issue('localhost', { names: ['localhost'] });
  other = await root.issue('other');
  const encrypted = createPrivateKey(server.key).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'secret',
  });
  const legacy = createPrivateKey(server.key).export({
    type: 'sec1',
    format: 'pem',
    cipher: 'aes-128-cbc',
    passphrase: 'secret',
  });
  const expired = await middle.issue('old', { notAfterMs: Date.now() - 86_400_000 });
  const early = await middle.issue('early', { notBeforeMs: Date.now() + 86_400_000 });
  const weak = await root.issue('weak', {
    algorithm: {
      name: 'RSASSA-PKCS1-v1_5',
      hash: 'SHA-256',
      modulusLength: 1024,
      publicExponent: new Uint8Array([1, 0, 1]),
    },
  });
  for (const [name, contents] of Object.entries({
    certificate: server.certificate,
    chain: server.certificate + middle.chain,
    reversed: root.certificate + middle.certificate + server.certificate,
    mixed: server.certificate + other.certificate,
    key: server.key,
    otherKey: other.key,
    both: server.key + server.certificate,
    encrypted,
    legacy,
    empty: '',
    text: 'nothing of the kind',
    der: server.der,
    broken: server.certificate.replace(/\n[A-Za-z0-9+/]{64}\n/, '\nAAAA\n'),
    brokenKey: '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n',
    expired: expired.certificate,
    expiredKey: expired.key,
    early: early.certificate,
    earlyKey: early.key,
    weak: weak.certificate,
    weakKey: weak.key,
  }))
    files[name] = folder.write(name, contents);
});
after(() => folder.remove());

const read = (settings: KeyMaterialSettings) => readKeyMaterial(settings, 'tls');

describe('PEM files', () => {
  it('give certificate, chain and key', () => {
    const material = read({ certificate: files.chain!, key: files.key! });
    assert.deepEqual(
      material.chain.map(({ subject }) => subject),
      ['CN=localhost', 'CN=Middle', 'CN=Root'],
    );
    assert.deepEqual(material.warnings, []);
    assert.deepEqual(material.files, [files.chain, files.key]);
  });

  it('may be one file, and the key encrypted', () => {
    assert.equal(read({ certificate: files.both! }).certificate.subject, 'CN=localhost');
    for (const key of [files.encrypted!, files.legacy!])
      assert.match(read({ certificate: files.certificate!, key, keyPassword: 'secret' }).keyPem, /BEGIN PRIVATE KEY/);
  });

  it('may have a certificate without a subject', async () => {
    const { certificate, key } = await (await Authority.create('Root')).issue('', {
      subject: '',
      names: ['localhost'],
    });
    const file = folder.write('nameless', certificate + key);
    assert.deepEqual(read({ certificate: file }).warnings, []);
    assert.throws(
      () => read({ certificate: file, key: files.key! }),
      /tls: .* is not the key of certificate "" in .*nameless$/,
    );
  });

  it('in the wrong order are put right, and what does not belong is named', () => {
    const reversed = read({ certificate: files.reversed!, key: files.key! });
    assert.equal(reversed.certificatePem, read({ certificate: files.chain!, key: files.key! }).certificatePem);
    assert.deepEqual(reversed.warnings, [
      `tls: the certificates in ${files.reversed} are in the wrong order; they are sent in the right one`,
    ]);
    assert.deepEqual(read({ certificate: files.mixed!, key: files.key! }).warnings, [
      `tls: ${files.mixed} holds certificate "CN=other", which does not belong to the chain and is not sent`,
    ]);
  });

  it('that are out of date or weak are used with a warning', () => {
    // Of the certificate itself: it was made a while ago, perhaps before midnight.
    const day = (file: string, end: 'validFrom' | 'validTo') =>
      new Date(new X509Certificate(readFileSync(file))[end]).toISOString().slice(0, 10);
    assert.deepEqual(read({ certificate: files.expired!, key: files.expiredKey! }).warnings, [
      `tls: certificate "CN=old" in ${files.expired} has expired on ${day(files.expired!, 'validTo')}`,
    ]);
    assert.deepEqual(read({ certificate: files.early!, key: files.earlyKey! }).warnings, [
      `tls: certificate "CN=early" in ${files.early} is valid only from ${day(files.early!, 'validFrom')}`,
    ]);
    assert.deepEqual(read({ certificate: files.weak!, key: files.weakKey! }).warnings, [
      `tls: certificate "CN=weak" in ${files.weak} has an RSA key of 1024 bits, which is weak; 2048 are usual`,
    ]);
  });

  const wrong: [string, () => KeyMaterialSettings, () => string | RegExp][] = [
    [
      'no certificate file',
      () => ({ certificate: '/no/such', key: files.key! }),
      () => 'tls.certificate: /no/such cannot be read: there is no such file',
    ],
    [
      'a folder',
      () => ({ certificate: folder.path }),
      () => `tls.certificate: ${folder.path} cannot be read: it is a folder`,
    ],
    [
      'an empty file',
      () => ({ certificate: files.empty! }),
      () => `tls.certificate: ${files.empty} holds no certificate; it is empty`,
    ],
    ['some text', () => ({ certificate: files.text! }), () => `tls.certificate: ${files.text} holds no certificate`],
    [
      'a key for a certificate',
      () => ({ certificate: files.key! }),
      () => `tls.certificate: ${files.key} holds no certificate; it holds: PRIVATE KEY`,
    ],
    [
      'a certificate for a key',
      () => ({ certificate: files.certificate!, key: files.certificate! }),
      () => `tls.key: ${files.certificate} holds no private key; it holds: CERTIFICATE`,
    ],
    [
      'DER',
      () => ({ certificate: files.der! }),
      () =>
        `tls.certificate: ${files.der} holds no certificate; it looks like DER or PKCS#12, PEM is needed (openssl x509 -inform der, or keystore)`,
    ],
    [
      'a damaged certificate',
      () => ({ certificate: files.broken!, key: files.key! }),
      () => `tls.certificate: ${files.broken} holds a certificate that cannot be read`,
    ],
    [
      'a damaged key',
      () => ({ certificate: files.certificate!, key: files.brokenKey! }),
      () => `tls.key: the private key in ${files.brokenKey} cannot be read`,
    ],
    [
      'no key',
      () => ({ certificate: files.certificate! }),
      () => `tls.key: ${files.certificate} holds no private key; it holds: CERTIFICATE`,
    ],
    [
      'the key of another',
      () => ({ certificate: files.certificate!, key: files.otherKey! }),
      () => `tls: ${files.otherKey} is not the key of certificate "CN=localhost" in ${files.certificate}`,
    ],
    [
      'an encrypted key without password',
      () => ({ certificate: files.certificate!, key: files.encrypted! }),
      () =>
        `tls.key: the private key in ${files.encrypted} is encrypted with a password; give the password as keyPassword, or a key without one`,
    ],
    [
      'the older form of it',
      () => ({ certificate: files.certificate!, key: files.legacy! }),
      () =>
        `tls.key: the private key in ${files.legacy} is encrypted with a password; give the password as keyPassword, or a key without one`,
    ],
    [
      'an encrypted key with a wrong one',
      () => ({ certificate: files.certificate!, key: files.encrypted!, keyPassword: 'no' }),
      () => `tls.key: keyPassword does not open the private key in ${files.encrypted}`,
    ],
  ];
  for (const [what, settings, message] of wrong)
    it(`${what}: is refused with a sentence that names it`, () => {
      assert.throws(() => read(settings()), { name: 'Fault', code: 'TLS_MATERIAL_INVALID', message: message() });
    });
});

describe('keystores', { skip: keytool === undefined || openssl === undefined }, () => {
  const run = (program: string, ...args: string[]) =>
    execFileSync(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });

  before(() => {
    const [p12, legacy] = [folder.at('server.p12'), folder.at('legacy.p12')];
    const source = ['-inkey', files.key!, '-in', files.chain!, '-name', 'server', '-passout', 'pass:changeit'];
    run(openssl!, 'pkcs12', '-export', ...source, '-out', p12);
    run(
      openssl!,
      'pkcs12',
      '-export',
      '-keypbe',
      'PBE-SHA1-3DES',
      '-certpbe',
      'PBE-SHA1-3DES',
      '-macalg',
      'sha1',
      ...source,
      '-out',
      legacy,
    );
    const store = (file: string, type: string) => {
      const path = folder.at(file);
      run(
        keytool!,
        '-importkeystore',
        '-noprompt',
        '-srckeystore',
        p12,
        '-srcstoretype',
        'PKCS12',
        '-srcstorepass',
        'changeit',
        '-destkeystore',
        path,
        '-deststoretype',
        type,
        '-deststorepass',
        'changeit',
      );
      return path;
    };
    files.p12 = p12;
    files.legacyP12 = legacy;
    files.jks = store('server.jks', 'JKS');
    files.jceks = store('server.jceks', 'JCEKS');
    files.javaP12 = store('java.p12', 'PKCS12');
    files.two = store('two.jks', 'JKS');
    run(
      keytool!,
      '-genkeypair',
      '-alias',
      'second',
      '-keyalg',
      'RSA',
      '-dname',
      'CN=second',
      '-keystore',
      files.two,
      '-storetype',
      'JKS',
      '-storepass',
      'changeit',
      '-keypass',
      'changeit',
    );
    files.split = store('split.jks', 'JKS');
    run(
      keytool!,
      '-keypasswd',
      '-alias',
      'server',
      '-keystore',
      files.split,
      '-storepass',
      'changeit',
      '-keypass',
      'changeit',
      '-new',
      'another',
    );
    files.trustOnly = folder.at('trust.jks');
    run(
      keytool!,
      '-importcert',
      '-noprompt',
      '-alias',
      'root',
      '-file',
      folder.write('root.pem', root.certificate),
      '-keystore',
      files.trustOnly,
      '-storetype',
      'JKS',
      '-storepass',
      'changeit',
    );
  });

  for (const name of ['p12', 'legacyP12', 'javaP12', 'jks'])
    it(`${name} gives certificate, chain and key`, () => {
      const material = read({ keystore: files[name]!, keystorePassword: 'changeit' });
      assert.deepEqual(
        material.chain.map(({ subject }) => subject),
        ['CN=localhost', 'CN=Middle', 'CN=Root'],
      );
      assert.ok(material.certificate.checkPrivateKey(material.key));
    });

  it('with several keys need the name of one, in any case of letters', () => {
    const material = read({ keystore: files.two!, keystorePassword: 'changeit', keystoreEntry: 'SECOND' });
    assert.equal(material.certificate.subject, 'CN=second');
  });

  const wrong: [string, () => KeyMaterialSettings, () => string | RegExp][] = [
    [
      'wrong password of PKCS#12',
      () => ({ keystore: files.p12!, keystorePassword: 'no' }),
      () => `tls.keystore: keystorePassword does not open ${files.p12}`,
    ],
    [
      'wrong password of JKS',
      () => ({ keystore: files.jks!, keystorePassword: 'no' }),
      () => `tls.keystore: keystorePassword does not open ${files.jks}`,
    ],
    [
      'another password of the key',
      () => ({ keystore: files.split!, keystorePassword: 'changeit' }),
      () =>
        `tls.keystore: keystorePassword opens ${files.split}, but not the private key in it; both need the same password`,
    ],
    [
      'no private key',
      () => ({ keystore: files.trustOnly!, keystorePassword: 'changeit' }),
      () => `tls.keystore: ${files.trustOnly} holds no private key; it holds: root (certificate)`,
    ],
    [
      'several keys',
      () => ({ keystore: files.two!, keystorePassword: 'changeit' }),
      () => /two.jks holds several private keys; name one as keystoreEntry; it holds: /,
    ],
    [
      'no such entry',
      () => ({ keystore: files.jks!, keystorePassword: 'changeit', keystoreEntry: 'web' }),
      () => `tls.keystore: ${files.jks} holds no private key named "web"; it holds: server (key)`,
    ],
    [
      'another type',
      () => ({ keystore: files.jks!, keystorePassword: 'changeit', keystoreType: 'pkcs12' }),
      () => `tls.keystore: ${files.jks} is a Java keystore (jks), not pkcs12`,
    ],
    [
      'JCEKS',
      () => ({ keystore: files.jceks!, keystorePassword: 'changeit' }),
      () => /server.jceks is a JCEKS keystore; convert it with keytool/,
    ],
    [
      'PEM',
      () => ({ keystore: files.chain!, keystorePassword: 'changeit' }),
      () => `tls.keystore: ${files.chain} is neither PKCS#12 nor a Java keystore`,
    ],
    [
      'a Java keystore as PEM',
      () => ({ certificate: files.jks! }),
      () => `tls.certificate: ${files.jks} holds no certificate; it is a Java keystore: give it as keystore`,
    ],
  ];
  for (const [what, settings, message] of wrong)
    it(`${what}: is refused with a sentence that names it`, () => {
      assert.throws(() => read(settings()), { name: 'Fault', message: message() });
    });

  it('cut short is refused, whatever the place', () => {
    for (const name of ['p12', 'jks']) {
      const bytes = execFileSync('cat', [files[name]!]);
      for (const length of [4, 20, 100, bytes.length >> 1, bytes.length - 1]) {
        const keystore = folder.write('cut', bytes.subarray(0, length));
        assert.throws(() => read({ keystore, keystorePassword: 'changeit' }), { name: 'Fault' });
      }
    }
  });
});
