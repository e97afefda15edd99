import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Authority, Folder } from '../../../test/support/pki.js';
import { certificateFields } from '../certificate-fields.js';
import { type AuthorityHost, CertificateAuthority } from './certificate-authority.js';
import { readCertificates } from './certificate-text.js';
import { makeKey } from './keys.js';
import { readOwnRevocationList } from './revocation-list-file.js';

const DAY_MS = 86_400_000;
let folder: Folder;
let nowMs: number;
let warnings: string[];
let sentences: string[];

beforeEach(() => {
  folder = new Folder();
  nowMs = Date.parse('2027-01-01T00:00:00Z');
  warnings = [];
  sentences = [];
});
afterEach(() => folder.remove());

const host = (mode?: NonNullable<AuthorityHost['mode']>): AuthorityHost => {
  const warn = (event: string, sentence: string) => {
    warnings.push(event);
    sentences.push(sentence);
  };
  return {
    clock: { nowMs: () => nowMs },
    log: { level: 2, error: warn, warning: warn, information: () => {}, debug: () => {} },
    ...(mode === undefined ? {} : { mode }),
  };
};
const open = (settings = {}, mode?: NonNullable<AuthorityHost['mode']>) =>
  CertificateAuthority.open(folder.at('ca'), settings, host(mode));
const fault = (code: string, pattern: RegExp) => (error: Error & { code?: string }) => {
  assert.equal(error.code, code, error.message);
  assert.match(error.message, pattern);
  return true;
};
const entriesOf = (authority: CertificateAuthority) => {
  const list = readOwnRevocationList(authority.revocationList('der')!, authority.authority()[0]!);
  return list?.revoked;
};
const daysOf = (certificate: X509Certificate) =>
  Math.round((certificateFields(certificate.raw).notAfterMs - nowMs) / DAY_MS);

describe('a new folder', () => {
  it('gets an authority for ten years, a server certificate and a revocation list', async () => {
    const authority = await open();
    const [certificate] = authority.authority();
    assert.ok(certificate!.ca);
    assert.equal(daysOf(certificate!), 3650);
    const description = authority.describe();
    assert.match(description.subject, /^CN=Dunlin CA .* [0-9a-f]{8}$/);
    assert.equal(description.keyType, 'p256');
    assert.equal(description.cannotIssue, undefined);
    assert.equal(description.sha256, certificate!.fingerprint256.replaceAll(':', '').toLowerCase());
    assert.equal(description.sha1, certificate!.fingerprint.replaceAll(':', '').toLowerCase());
    const server = authority.serverCertificate()!;
    assert.ok(server.names.includes('localhost') && server.names.includes('127.0.0.1') && server.names.includes('::1'));
    assert.ok(authority.serverChain()[0]!.verify(certificate!.publicKey));
    assert.equal(entriesOf(authority), 0);
    assert.match(authority.revocationList('pem')!.toString(), /^-----BEGIN X509 CRL-----\n/);
  });

  it('keeps private keys from others', async () => {
    await open();
    for (const name of ['ca.key', 'server.key', 'index.json'])
      assert.equal(statSync(join(folder.at('ca'), name)).mode & 0o777, 0o600, name);
    assert.equal(statSync(folder.at('ca')).mode & 0o777, 0o700);
  });

  it('is the same when it is opened again', async () => {
    const first = await open();
    const second = await open();
    assert.deepEqual(second.describe(), first.describe());
    assert.deepEqual(second.serverCertificate(), first.serverCertificate());
    assert.deepEqual(second.describeRevocationList(), first.describeRevocationList());
  });

  it('is not made where one is needed', async () => {
    await assert.rejects(open({}, 'use'), fault('CA_MISSING', /holds no certificate authority/));
    await assert.rejects(open({}, 'read'), fault('CA_MISSING', /holds no certificate authority/));
    assert.ok(!existsSync(folder.at('ca')));
  });

  it('is made with the settings', async () => {
    const authority = await open({
      name: 'Plant CA',
      days: 100,
      keyType: 'p384',
      serverNames: ['broker.example', 'FD00::5', '10.1.2.3'],
      crlUrl: 'http://broker.example/crl',
    });
    assert.equal(authority.describe().subject, 'CN=Plant CA');
    assert.equal(authority.describe().keyType, 'p384');
    const [server] = authority.serverChain();
    for (const name of ['broker.example', 'fd00::5', '10.1.2.3'])
      assert.ok(authority.serverCertificate()!.names.includes(name), name);
    assert.equal(authority.serverCertificate()!.subject, 'CN=broker.example');
    assert.ok(server!.toLegacyObject().raw.includes('http://broker.example/crl'));
    // Ends with the authority, not after it.
    assert.equal(daysOf(server!), 100);
  });

  for (const keyType of ['rsa2048', 'ed25519'] as const)
    it(`signs with a key of type ${keyType}`, async () => {
      const authority = await open({ keyType });
      const { chain } = await authority.issue({ commonName: 'device' });
      assert.ok(chain[0]!.verify(authority.authority()[0]!.publicKey));
      assert.equal(entriesOf(authority), 0);
    });
});

describe('certificates of clients', () => {
  it('are issued with a key that is kept nowhere', async () => {
    const authority = await open();
    const { entry, chain, key } = await authority.issue({ commonName: 'device 1', organization: 'Example', days: 10 });
    assert.ok(chain[0]!.checkPrivateKey(key!));
    assert.equal(entry.subject, 'CN=device 1,O=Example');
    assert.equal(entry.state, 'authorized');
    assert.equal(daysOf(chain[0]!), 10);
    const secret = key!.export({ format: 'der', type: 'pkcs8' }).toString('base64').slice(40, 100);
    for (const file of readdirSync(folder.at('ca'), { recursive: true, encoding: 'utf8' })) {
      const path = join(folder.at('ca'), file);
      if (statSync(path).isFile()) assert.ok(!readFileSync(path, 'utf8').replaceAll('\n', '').includes(secret), file);
    }
    const again = await open();
    assert.deepEqual(
      again.certificates().find(({ id }) => id === entry.id),
      entry,
    );
    assert.equal(again.certificateOf(entry)!.fingerprint256, chain[0]!.fingerprint256);
  });

  it('have names and lives that make sense', async () => {
    const authority = await open();
    const issue = (terms: object) => authority.issue({ commonName: 'x', ...terms });
    await assert.rejects(issue({ commonName: '' }), fault('CA_INPUT', /common name has 1 to 64 characters/));
    await assert.rejects(issue({ commonName: 'x'.repeat(65) }), fault('CA_INPUT', /1 to 64/));
    await assert.rejects(issue({ commonName: 'a\nb' }), fault('CA_INPUT', /control characters: "a\\nb"/));
    await assert.rejects(issue({ commonName: 'a\u202eb' }), fault('CA_INPUT', /control characters/));
    await assert.rejects(issue({ days: 0 }), fault('CA_INPUT', /whole number from 1 to 36500, not 0/));
    await assert.rejects(issue({ days: 1.5 }), fault('CA_INPUT', /whole number/));
    await assert.rejects(issue({ keyType: 'dsa' }), fault('CA_INPUT', /"dsa" is no type of key; there are p256/));
    await assert.rejects(issue({ purpose: 'server' }), fault('CA_INPUT', /needs at least one name/));
    await assert.rejects(issue({ purpose: 'server', names: ['a b'] }), fault('CA_INPUT', /"a b" is no host name/));
    await assert.rejects(issue({ names: ['a'] }), fault('CA_INPUT', /for the certificates of servers/));
    assert.equal(authority.certificates().length, 1); // the server's
  });

  it('may be for 10,000 days: then they end with the authority, which is told', async () => {
    const authority = await open({ days: 50 });
    const { entry, notGranted } = await authority.issue({ commonName: 'device', days: 10_000 });
    assert.equal(entry.notAfter, authority.describe().notAfter);
    assert.deepEqual(notGranted, ['10000 days: it ends with the authority']);
  });

  it('are found by id, serial number, thumbprint, and name', async () => {
    const authority = await open();
    const { entry } = await authority.issue({ commonName: 'device' });
    const { id, serialNumber, thumbprint = '' } = entry;
    const colons = serialNumber.match(/../g)!.join(':').toLowerCase();
    for (const reference of [
      id,
      serialNumber,
      colons,
      `00${serialNumber}`,
      thumbprint,
      thumbprint.slice(0, 20),
      'device',
    ])
      assert.equal(authority.find(reference).id, id, reference);
    assert.throws(() => authority.find('nobody'), fault('CA_UNKNOWN', /name "nobody"/));
    await authority.issue({ commonName: 'device' });
    assert.throws(
      () => authority.find('device'),
      fault('CA_UNKNOWN', /"device" is 2 certificates: name one by its id/),
    );
    assert.equal(authority.findAll('device').length, 2);
  });

  it('are renewed with the same key or a new one, and both count until the old one ends', async () => {
    const authority = await open();
    const old = await authority.issue({ commonName: 'device', organization: 'Ünicode', keyType: 'rsa2048', days: 5 });
    const same = await authority.renew(old.entry.id, { days: 50 });
    assert.ok(same.chain[0]!.checkPrivateKey(old.key!));
    assert.equal(same.chain[0]!.subject, old.chain[0]!.subject);
    assert.equal(same.entry.renews, old.entry.id);
    assert.equal(same.key, undefined);
    const fresh = await authority.renew(same.entry.id, { newKey: true, revokeOld: true });
    assert.ok(fresh.chain[0]!.checkPrivateKey(fresh.key!));
    assert.equal(fresh.chain[0]!.publicKey.asymmetricKeyType, 'rsa');
    assert.deepEqual(
      authority.findAll('device').map(({ state }) => state),
      ['authorized', 'revoked', 'authorized'],
    );
    await assert.rejects(authority.renew(same.entry.id), fault('CA_INPUT', /is revoked and cannot be renewed/));
    const foreign = await (await Authority.create('Other')).issue('x');
    const { id } = await authority.add(new X509Certificate(foreign.der));
    await assert.rejects(authority.renew(id), fault('CA_INPUT', /was not issued here/));
  });

  it('are revoked, authorized again, removed; the revocation list follows', async () => {
    const authority = await open();
    const { entry, chain } = await authority.issue({ commonName: 'device' });
    const accepts = () =>
      authority.judge({ requireClientCertificate: true, onlyListed: false, trustListed: false })(chain[0]!.raw, true);
    const number = () => authority.describeRevocationList()!.number;
    const first = number();
    await authority.revoke('device', 'superseded');
    assert.equal(accepts(), 'its certificate is revoked');
    assert.ok(authority.isRevoked(chain[0]!.raw));
    assert.equal(entriesOf(authority), 1);
    assert.equal(number(), first + 1);
    await authority.authorize('device');
    assert.equal(accepts(), undefined);
    assert.equal(entriesOf(authority), 0);
    await authority.revoke('device', 'keyCompromise');
    await authority.revoke('device');
    await assert.rejects(authority.authorize('device'), fault('CA_INPUT', /key was compromised/));
    await authority.authorize('device', { force: true });
    await assert.rejects(authority.revoke('device', 'whim' as 'unspecified'), fault('CA_INPUT', /"whim" is no reason/));

    await authority.revoke('device');
    await authority.remove('device');
    assert.throws(() => authority.find('device'), fault('CA_UNKNOWN', /./));
    assert.equal(accepts(), 'its certificate is revoked');
    assert.equal(entriesOf(authority), 1);
    assert.equal((await authority.add(chain[0]!)).state, 'revoked');
    assert.equal(authority.find('device').id, entry.id);
  });

  it('may come from elsewhere, as a certificate or by serial number and issuer', async () => {
    const authority = await open();
    const other = await Authority.create('Other CA');
    const issued = await other.issue('thing', { subject: 'CN=thing, O=Acme' });
    const entry = await authority.add(new X509Certificate(issued.der));
    assert.equal(entry.origin, 'added');
    assert.equal(entry.authority, undefined);
    assert.deepEqual(await authority.add(new X509Certificate(issued.der)), entry);
    await authority.revoke('thing');
    assert.equal(entriesOf(authority), 0, 'another authority revokes on its own list');
    assert.ok(authority.isRevoked(issued.der));
    await authority.remove('thing');
    assert.ok(!authority.isRevoked(issued.der));

    // In the words of RFC 4514, of OpenSSL, and the other way round.
    for (const issuer of ['CN=Other CA', 'CN = Other CA', '/CN=Other CA', 'cn=other  ca']) {
      const serialNumber = `00${issued.serialNumber.toLowerCase()}`;
      const { id } = await authority.addIdentity({ serialNumber, issuer });
      await authority.revoke(id);
      assert.ok(authority.isRevoked(issued.der), issuer);
      await authority.remove(id);
      assert.ok(!authority.isRevoked(issued.der));
    }
    await assert.rejects(
      authority.addIdentity({ serialNumber: 'xyz', issuer: 'CN=a' }),
      fault('CA_INPUT', /serial number is hexadecimal, not "xyz"/),
    );
    await assert.rejects(
      authority.addIdentity({ serialNumber: '12', issuer: 'somebody' }),
      fault('CA_INPUT', /distinguished name such as CN=/),
    );
  });
});

describe('what is due', () => {
  it('is a server certificate with a third of its life left: the same key, new dates', async () => {
    const authority = await open({ serverDays: 90 });
    const { notAfter, serialNumber } = authority.serverCertificate()!;
    const key = authority.serverChain()[0]!.publicKey;
    const changes: string[] = [];
    authority.onChange((change) => changes.push(change));
    nowMs += 59 * DAY_MS;
    await authority.maintain();
    assert.equal(authority.serverCertificate()!.serialNumber, serialNumber);
    nowMs += 2 * DAY_MS;
    await authority.maintain();
    assert.notEqual(authority.serverCertificate()!.serialNumber, serialNumber);
    assert.ok(authority.serverCertificate()!.notAfter > notAfter);
    assert.ok(authority.serverChain()[0]!.publicKey.equals(key));
    assert.ok(changes.includes('server'));
    assert.equal(readdirSync(join(folder.at('ca'), 'replaced')).length, 1);
  });

  it('is one for a name that was configured since', async () => {
    await open();
    const authority = await open({ serverNames: ['new.example'] });
    assert.ok(authority.serverCertificate()!.names.includes('new.example'));
    const { serialNumber } = authority.serverCertificate()!;
    assert.equal((await open({ serverNames: ['new.example'] })).serverCertificate()!.serialNumber, serialNumber);
  });

  it('is one whose key was lost', async () => {
    const { serialNumber } = (await open()).serverCertificate()!;
    rmSync(join(folder.at('ca'), 'server.key'));
    assert.notEqual((await open()).serverCertificate()!.serialNumber, serialNumber);
  });

  it('is never one that was imported', async () => {
    const authority = await open();
    const other = await Authority.create('Other');
    const issued = await other.issue('server', { notAfterMs: nowMs + DAY_MS, notBeforeMs: nowMs - 90 * DAY_MS });
    await authority.importServer([new X509Certificate(issued.der)], createPrivateKey(issued.key));
    assert.equal(authority.serverCertificate()!.origin, 'imported');
    await authority.maintain();
    assert.equal(authority.serverCertificate()!.subject, 'CN=server');
    assert.ok(warnings.includes('authority.server-expires'));
    await assert.rejects(
      authority.importServer([new X509Certificate(issued.der)], await makeKey('p256')),
      fault('CA_INPUT', /not that of the certificate/),
    );
    await authority.createServer({ names: ['one.example'] });
    assert.deepEqual(authority.serverCertificate()!.names, ['one.example']);
    nowMs += 380 * DAY_MS;
    await authority.maintain();
    assert.deepEqual(authority.serverCertificate()!.names, ['one.example']);
    assert.equal(daysOf(authority.serverChain()[0]!), 397);
  });

  it('is a revocation list with half of its life left', async () => {
    const authority = await open({ crlDays: 10 });
    const number = () => authority.describeRevocationList()!.number;
    nowMs += 4 * DAY_MS;
    await authority.maintain();
    assert.equal(number(), 1);
    nowMs += 2 * DAY_MS;
    await authority.maintain();
    assert.equal(number(), 2);
    rmSync(join(folder.at('ca'), 'crl.pem'));
    await authority.maintain();
    assert.equal(number(), 3);
    await authority.refreshRevocationList();
    assert.equal(number(), 4);
  });

  it('is a word about an authority in its last year', async () => {
    const authority = await open();
    await authority.maintain();
    assert.deepEqual(warnings, []);
    nowMs += 3400 * DAY_MS;
    await authority.maintain();
    assert.deepEqual(warnings, ['authority.expires']);
    assert.match(sentences[0]!, /expires on \d{4}-\d\d-\d\d; dunlin ca renew --authority renews it\.$/);
    nowMs += 300 * DAY_MS;
    await authority.maintain();
    assert.match(authority.describe().cannotIssue!, /has expired/);
    await assert.rejects(authority.issue({ commonName: 'x' }), fault('CA_NO_KEY', /has expired/));
  });

  it('is another word where it cannot be renewed here', async () => {
    nowMs = Date.now() + 3400 * DAY_MS;
    const authority = await open({}, 'begin');
    await authority.import(
      readCertificates(Buffer.from((await Authority.create('Company CA')).certificate), 'test'),
      undefined,
    );
    assert.match(sentences[0]!, /it has to be renewed where it was made, and imported again\.$/);
  });

  it('is not kept from long revoked certificates: they leave the list a month after they expired', async () => {
    const authority = await open();
    await authority.issue({ commonName: 'device', days: 10 });
    await authority.revoke('device');
    nowMs += 30 * DAY_MS;
    await authority.refreshRevocationList();
    assert.equal(entriesOf(authority), 1);
    nowMs += 20 * DAY_MS;
    await authority.refreshRevocationList();
    assert.equal(entriesOf(authority), 0);
  });
});

describe('another authority', () => {
  const imported = async (withKey: boolean) => {
    const other = await Authority.create('Company CA');
    const chain = readCertificates(Buffer.from(other.certificate), 'test');
    return { other, chain, key: withKey ? createPrivateKey(other.key) : undefined };
  };

  it('takes the place of one only when that is asked for, and the old one is kept', async () => {
    nowMs = Date.now();
    const authority = await open({ name: 'First' });
    await authority.issue({ commonName: 'device' });
    await authority.revoke('device');
    await assert.rejects(authority.create({}), fault('CA_EXISTS', /holds an authority already \(CN=First\)/));
    const { chain, key, other } = await imported(true);
    await assert.rejects(authority.import(chain, key), fault('CA_EXISTS', /already/));
    await authority.import(chain, key, { replace: true });
    assert.equal(authority.describe().subject, 'CN=Company CA');
    assert.equal(authority.serverCertificate()!.issuer, 'CN=Company CA');
    assert.equal(entriesOf(authority), 0, 'the list of the other authority begins empty');
    assert.ok(authority.find('device').state === 'revoked');
    const kept = readdirSync(join(folder.at('ca'), 'replaced'), { recursive: true, encoding: 'utf8' });
    for (const name of ['ca.pem', 'ca.key', 'crl.pem', 'index.json', 'server.pem', 'server.key'])
      assert.ok(
        kept.some((file) => file.endsWith(`/${name}`)),
        name,
      );

    // What it has issued elsewhere may be revoked here.
    const issued = await other.issue('outside');
    await authority.add(new X509Certificate(issued.der));
    await authority.revoke('outside');
    assert.equal(entriesOf(authority), 1);
    const { id } = await authority.addIdentity({ serialNumber: 'ABCD', issuer: 'CN=Company CA' });
    await authority.revoke(id);
    assert.equal(entriesOf(authority), 2);
  });

  it('issues nothing without its key, and says why; the key may follow', async () => {
    nowMs = Date.now();
    const authority = await open({}, 'begin');
    const { chain, key } = await imported(true);
    await authority.import(chain, undefined);
    assert.match(authority.describe().cannotIssue!, /private key of the authority is not here \(.*ca\.key\)/);
    const { selfSigned, serialNumber } = authority.serverCertificate()!;
    assert.ok(selfSigned);
    await authority.maintain();
    assert.equal(authority.serverCertificate()!.serialNumber, serialNumber);
    assert.equal(authority.revocationList('pem'), undefined);
    await assert.rejects(authority.issue({ commonName: 'x' }), fault('CA_NO_KEY', /is not here/));
    await assert.rejects(authority.refreshRevocationList(), fault('CA_NO_KEY', /is not here/));
    await assert.rejects(authority.renewAuthority(), fault('CA_NO_KEY', /is not here/));
    const stranger = await (await Authority.create('Stranger')).issue('thing');
    await authority.add(new X509Certificate(stranger.der));
    await authority.revoke('thing');
    assert.ok(authority.isRevoked(stranger.der));

    await authority.import(chain, key);
    await authority.issue({ commonName: 'x' });
    assert.ok(!authority.serverCertificate()!.selfSigned);
    await assert.rejects(
      authority.import(chain, undefined, { replace: true }),
      fault('CA_EXISTS', /already, with its key/),
    );
  });

  it('is refused when it is none', async () => {
    nowMs = Date.now();
    const authority = await open({}, 'begin');
    const { other } = await imported(true);
    const leaf = await other.issue('leaf');
    const middle = await Authority.create('Middle', other);
    const read = (pem: string) => readCertificates(Buffer.from(pem), 'test');
    await assert.rejects(
      authority.import(read(leaf.certificate), undefined),
      fault('CA_INPUT', /is not that of an authority/),
    );
    await assert.rejects(
      authority.import(read(middle.certificate), createPrivateKey(middle.key)),
      fault('CA_INPUT', /the issuer of CN=Middle is missing/),
    );
    await assert.rejects(
      authority.import(read(other.certificate), await makeKey('p256')),
      fault('CA_INPUT', /private key is not that/),
    );
    nowMs += 4000 * DAY_MS;
    await assert.rejects(authority.import(read(other.certificate), undefined), fault('CA_INPUT', /has expired on/));
    nowMs = Date.now();
    await authority.import(read(middle.certificate + other.certificate), createPrivateKey(middle.key));
    const { chain } = await authority.issue({ commonName: 'device' });
    assert.deepEqual(
      chain.map(({ subject }) => subject),
      ['CN=device', 'CN=Middle'],
    );
    await assert.rejects(authority.renewAuthority(), fault('CA_INPUT', /certified by another/));
  });

  it('is not one that was renewed: what was issued stays valid', async () => {
    const authority = await open({ days: 100 });
    const { chain } = await authority.issue({ commonName: 'device' });
    await authority.revoke('device');
    nowMs += 50 * DAY_MS;
    const before = authority.describe();
    await authority.renewAuthority(1000);
    assert.notEqual(authority.describe().serialNumber, before.serialNumber);
    assert.equal(daysOf(authority.authority()[0]!), 1000);
    assert.ok(chain[0]!.checkIssued(authority.authority()[0]!));
    assert.ok(chain[0]!.verify(authority.authority()[0]!.publicKey));
    assert.equal(entriesOf(authority), 1);
  });
});

describe('the folder', () => {
  it('is shared: what one changes the other sees, and nothing is lost when both write', async () => {
    const one = await open();
    const other = await CertificateAuthority.open(folder.at('ca'), {}, host());
    await Promise.all(
      Array.from({ length: 20 }, (_, index) => (index % 2 ? one : other).issue({ commonName: `device ${index}` })),
    );
    one.readAgain();
    assert.equal(one.certificates().filter(({ purpose }) => purpose === 'client').length, 20);
    const changes: string[] = [];
    other.onChange((change) => changes.push(change));
    await one.revoke('device 3');
    other.readAgain();
    assert.equal(other.find('device 3').state, 'revoked');
    assert.deepEqual(changes, ['crl', 'list']);
  });

  it('is read again by itself when another process changed it', async () => {
    const one = await open();
    const other = await open();
    await one.issue({ commonName: 'device' });
    const told = new Promise<string>((resolve) => other.onChange(resolve));
    other.start();
    const patience = setTimeout(() => {}, 60_000); // the watch keeps no process alive
    try {
      await one.revoke('device');
      assert.ok(['crl', 'list'].includes(await told));
      assert.equal(other.find('device').state, 'revoked');
    } finally {
      other.stop();
      clearTimeout(patience);
    }
  });

  it('has its list read again, and told, though another file is damaged', async () => {
    const one = await open();
    const other = await open();
    await one.issue({ commonName: 'device' });
    other.readAgain();
    const changes: string[] = [];
    other.onChange((change) => changes.push(change));
    await one.revoke('device');
    writeFileSync(join(folder.at('ca'), 'ca.pem'), 'nonsense');
    assert.throws(() => other.readAgain(), fault('CA_DAMAGED', /ca\.pem/));
    assert.equal(other.find('device').state, 'revoked');
    assert.deepEqual(changes, ['list']);
  });

  it('is not opened when the list cannot be read: it would let in who was revoked', async () => {
    const authority = await open();
    await authority.issue({ commonName: 'device' });
    await authority.revoke('device');
    const index = join(folder.at('ca'), 'index.json');
    const whole = readFileSync(index, 'utf8');
    for (const [text, pattern] of [
      [whole.slice(0, -20), /index\.json cannot be read as JSON; a copy of an earlier state is .*\.previous/],
      ['{}', /is no index of certificates/],
      [whole.replace('"state":"revoked"', '"state":"fine"'), /has an entry that is none: certificates\[1\]/],
      [whole.replace('"format": 1', '"format": 2'), /made by a newer Dunlin/],
    ] as const) {
      writeFileSync(index, text);
      await assert.rejects(open(), fault('CA_DAMAGED', pattern));
    }
    // A running one goes on with what it knows.
    assert.throws(() => authority.readAgain(), fault('CA_DAMAGED', /./));
    assert.equal(authority.find('device').state, 'revoked');
    writeFileSync(index, whole);
    assert.equal((await open()).find('device').state, 'revoked');
    renameSync(`${index}.previous`, index);
    assert.equal((await open()).find('device').state, 'authorized', 'the state before the last change');
  });

  it('is not opened with a key that is another one’s', async () => {
    await open();
    writeFileSync(join(folder.at('ca'), 'ca.key'), (await makeKey('p256')).export({ format: 'pem', type: 'pkcs8' }));
    await assert.rejects(open(), fault('CA_DAMAGED', /ca\.key is not the key of .*ca\.pem/));
  });

  for (const [moment, left] of [
    ['before the certificate was there', 'old'],
    ['when both were there', 'new'],
    ['between the two', 'new'],
  ] as const)
    it(`is whole after a crash while a pair changed, ${moment}`, async () => {
      const authority = await open();
      const old = authority.serverCertificate()!.serialNumber;
      const at = (name: string) => join(folder.at('ca'), name);
      const [oldPem, oldKey] = [readFileSync(at('server.pem')), readFileSync(at('server.key'))];
      await authority.createServer();
      const fresh = authority.serverCertificate()!.serialNumber;
      const [newPem, newKey] = [readFileSync(at('server.pem')), readFileSync(at('server.key'))];
      writeFileSync(at('server.pem'), oldPem);
      writeFileSync(at('server.key'), moment === 'between the two' ? newKey : oldKey);
      if (moment !== 'between the two') writeFileSync(at('server.key.new'), newKey);
      if (moment !== 'before the certificate was there') writeFileSync(at('server.pem.new'), newPem);
      const again = await open();
      assert.equal(again.serverCertificate()!.serialNumber, left === 'old' ? old : fresh);
      assert.ok(!existsSync(at('server.key.new')) && !existsSync(at('server.pem.new')));
    });

  it('says so when others may read a key', async () => {
    await open();
    chmodSync(join(folder.at('ca'), 'ca.key'), 0o644);
    await open();
    assert.deepEqual(warnings, ['authority.key-exposed']);
  });

  it('that is a file is an error of the world', async () => {
    mkdirSync(folder.at('x'));
    writeFileSync(folder.at('ca'), '');
    await assert.rejects(open(), { code: /ENOTDIR|EEXIST/ });
  });
});
