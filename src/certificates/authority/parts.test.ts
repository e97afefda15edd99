/** The pieces below the authority: names, keys, requests, DER, packing. Other programs check them in test/interop. */
import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, sign, X509Certificate } from 'node:crypto';
import { describe, it } from 'node:test';
import { inflateRawSync } from 'node:zlib';
import { children, derTime, derValue, expectDer, objectIdentifier, readDer } from '../der.js';
import { readName } from '../distinguished-name.js';
import { bundleFileNames, bundleFiles, fileNameFor } from './client-bundle.js';
import {
  bitString,
  boolean,
  element,
  explicit,
  integer,
  integerFromHex,
  namedBits,
  nothing,
  objectId,
  octetString,
  sequence,
  setOf,
  time,
  utf8String,
} from './der-writer.js';
import { keyTypeOf, makeKey, publicKeyFault, signingKeyFault } from './keys.js';
import { makeCertificate } from './making.js';
import { checkedSubject, lastingNames, nameKey, parseName, readServerName } from './names.js';
import { makePkcs12 } from './pkcs12.js';
import { readRequest } from './request.js';
import { makeZip } from './zip.js';

describe('what is written as DER', () => {
  it('has the shortest lengths and integers', () => {
    const hex = (bytes: Buffer) => bytes.toString('hex');
    assert.equal(hex(integer(0)), '020100');
    assert.equal(hex(integer(127)), '02017f');
    assert.equal(hex(integer(128)), '02020080');
    assert.equal(hex(integer(65536)), '0203010000');
    assert.equal(hex(integerFromHex('00FF')), '020200ff');
    assert.equal(hex(integerFromHex('F')), '02010f');
    assert.equal(hex(namedBits([5, 6])), '03020106');
    assert.equal(hex(namedBits([0])), '03020780');
    assert.equal(hex(boolean(true)), '0101ff');
    for (const length of [0, 127, 128, 255, 256, 70_000]) {
      const written = octetString(Buffer.alloc(length, 1));
      const read = readDer(written, 0, written.length);
      assert.equal(read.end - read.valueStart, length);
    }
  });

  it('reads back', () => {
    for (const id of ['2.5.29.15', '1.2.840.113549.1.9.14', '2.16.840.1.101.3.4.1.42', '0.9.2342.19200300.100.1.25'])
      assert.equal(objectIdentifier(objectId(id).subarray(2)), id);
    for (const ms of [
      Date.UTC(2026, 0, 2, 3, 4, 5),
      Date.UTC(2049, 11, 31),
      Date.UTC(2050, 0, 1),
      Date.UTC(2126, 5, 1),
    ]) {
      const written = time(ms);
      assert.equal(written[0], ms < Date.UTC(2050, 0, 1) ? 0x17 : 0x18);
      assert.equal(derTime(written, readDer(written, 0, written.length)), ms);
    }
    const set = setOf(integer(2), integer(1));
    assert.deepEqual(
      [...children(set, expectDer(set, 0, set.length, 0x31))].map((child) => derValue(set, child)[0]),
      [1, 2],
    );
  });
});

describe('names', () => {
  it('are read in the ways that people write them', () => {
    const cn = (text: string) => parseName(text)?.find(({ type }) => type === 'CN')?.value;
    assert.equal(cn('CN=Plant CA,O=Example'), 'Plant CA');
    assert.equal(cn('C = DE, O = Example, CN = Plant CA'), 'Plant CA');
    assert.equal(cn('/C=DE/O=Example/CN=Plant CA'), 'Plant CA');
    assert.equal(cn('O=Example\\, Inc.,CN=a\\+b'), 'a+b');
    assert.equal(cn('O="Example, Inc.", CN="a"'), 'a');
    assert.equal(cn('CN=x\\\\,O=y'), 'x\\');
    assert.equal(cn('CN=M\\C3\\BCller'), 'Müller');
    assert.equal(cn('CN=trailing\\ '), 'trailing ');
    assert.equal(parseName('nobody'), undefined);
    assert.equal(parseName(''), undefined);
    assert.equal(parseName('CN=a,,O=b'), undefined);
  });

  it('are the same in any order and spelling, and different when a part is', () => {
    const key = nameKey('CN=Plant CA,O=Example,C=DE');
    for (const text of [
      'C = DE, O = Example, CN = Plant CA',
      '/C=DE/O=Example/CN=Plant CA',
      'cn=plant  ca,o=EXAMPLE,c=de',
    ])
      assert.equal(nameKey(text), key, text);
    for (const text of ['CN=Plant CA,O=Example', 'CN=Plant CA,O=Other,C=DE', 'CN=Plant CA\\,O=Example,C=DE'])
      assert.notEqual(nameKey(text), key, text);
  });

  it('of nothing but spaces take no longer than others', () => {
    // Each space took a look at all the others: these would take minutes.
    assert.equal(nameKey(`CN=a${'\u00a0'.repeat(1_000_000)}`), nameKey('CN=a'));
    assert.equal(nameKey(`CN=${' '.repeat(1_000_000)}a\\ ,O=b`), nameKey('CN=a,O=b'));
  });

  it('of certificates survive the way out and back', async () => {
    const key = await makeKey('p256');
    for (const value of ['a,b', 'a+b=c', ' #"<>;\\', 'Ünïcode 😀', 'x\\', '#04', ' ', 'x\\ ', 'x  ']) {
      const der = await makeCertificate(
        {
          subject: [{ type: 'CN', value }],
          publicKey: createPublicKey(key),
          purpose: 'client',
          names: [],
          notBeforeMs: 0,
          notAfterMs: 1e12,
          crlUrl: '',
        },
        { certificate: undefined, key },
      );
      const { raw } = new X509Certificate(der);
      const tbs = [...children(raw, readDer(raw, 0, raw.length))][0]!;
      const name = readName(raw, [...children(raw, tbs)][5]!);
      assert.equal(name.commonName, value);
      assert.deepEqual(parseName(name.text), [{ type: 'CN', value }]);
    }
  });

  it('of servers are host names or addresses', () => {
    assert.deepEqual(readServerName('Broker.Example.'), { kind: 'dns', value: 'broker.example' });
    assert.deepEqual(readServerName('[FE80:0::1]'), { kind: 'ip', value: 'fe80::1' });
    assert.deepEqual(readServerName('*.example.org'), { kind: 'dns', value: '*.example.org' });
    for (const text of [
      '',
      'a b',
      '*.org',
      'a.*.org',
      '-a',
      'a-',
      '1.2.3',
      '1.2.3.4.5',
      'a..b',
      'fe80::1%eth0',
      'x'.repeat(64),
    ])
      assert.throws(() => readServerName(text), /is no host name and no IP address/, text);
    const names = lastingNames(['one.example', 'ONE.example']);
    assert.equal(names.filter(({ value }) => value === 'one.example').length, 1);
  });

  it('of subjects are bounded', () => {
    assert.throws(() => checkedSubject([{ type: 'C', value: 'Germany' }]), /"Germany" cannot be the C/);
    assert.throws(() => checkedSubject([{ type: 'O', value: 'x'.repeat(65) }]), /cannot be the O/);
    assert.throws(() => checkedSubject([{ type: 'serialNumber', value: 'ü' }]), /cannot be the serialNumber/);
    assert.throws(() => checkedSubject([{ type: 'OU', value: 'a\u0000b' }]), /cannot be the OU/);
    checkedSubject([{ type: 'emailAddress', value: `${'x'.repeat(100)}@example.org` }]);
  });
});

describe('keys', () => {
  it('are told apart and checked', async () => {
    assert.equal(keyTypeOf(await makeKey('p384')), 'p384');
    assert.equal(keyTypeOf(await makeKey('rsa2048')), 'rsa2048');
    const rsa1024 = generateKeyPairSync('rsa', { modulusLength: 1024 });
    assert.match(publicKeyFault(rsa1024.publicKey)!, /RSA key has 1024 bits; 2048 to 8192/);
    const exponent3 = generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 });
    assert.match(publicKeyFault(exponent3.publicKey)!, /exponent 3/);
    assert.match(publicKeyFault(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey)!, /secp256k1/);
    assert.match(publicKeyFault(generateKeyPairSync('x25519').publicKey)!, /x25519 are not allowed/);
    assert.equal(publicKeyFault(generateKeyPairSync('ed448').publicKey), undefined);
    assert.match(signingKeyFault(generateKeyPairSync('ed448').privateKey)!, /ed448 cannot sign here/);
  });
});

/** A request with these extensions, signed by `key` or another. */
function request(extensions: readonly Buffer[], { subject = 'device', signer = 'own', type = '2.5.4.3' } = {}): Buffer {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const other = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
  const info = sequence(
    integer(0),
    sequence(setOf(sequence(objectId(type), utf8String(subject)))),
    publicKey.export({ format: 'der', type: 'spki' }),
    explicit(0, sequence(objectId('1.2.840.113549.1.9.14'), setOf(sequence(...extensions)))),
  );
  const signature = sign('sha256', info, signer === 'own' ? privateKey : other);
  return sequence(info, sequence(objectId('1.2.840.10045.4.3.2')), bitString(signature));
}
const extension = (id: string, value: Buffer) => sequence(objectId(id), octetString(value));

describe('a signing request', () => {
  it('is read; what it asks for beyond a client’s certificate is told', () => {
    const names = extension('2.5.29.17', sequence(element(0x82, Buffer.from('evil.example'))));
    const read = readRequest(request([names, extension('1.2.3.4', nothing())]), 'test');
    assert.deepEqual(read.subject, [{ type: 'CN', value: 'device' }]);
    assert.deepEqual(read.notGranted, ['subjectAltName', 'extension 1.2.3.4']);
    assert.deepEqual(readRequest(request([], { type: '2.5.4.42' }), 'test').notGranted, ['GN in its subject']);
  });

  it('is refused when it would make an authority, by flag or by usage', () => {
    for (const asked of [
      extension('2.5.29.19', sequence(boolean(true))),
      extension('2.5.29.15', namedBits([5])),
      extension('2.5.29.15', namedBits([0, 6])),
    ])
      assert.throws(
        () => readRequest(request([asked]), 'r.csr'),
        /r\.csr is refused: it asks for the certificate of an auth/,
      );
    readRequest(request([extension('2.5.29.19', sequence()), extension('2.5.29.15', namedBits([0]))]), 'test');
  });

  it('is refused when its maker does not have the key', () => {
    assert.throws(() => readRequest(request([], { signer: 'other' }), 'test'), /not signed with its own key/);
  });

  it('is refused when it is none', () => {
    assert.throws(() => readRequest(Buffer.from('hello'), 'test'), /holds no certificate signing request/);
    assert.throws(() => readRequest(Buffer.alloc(100_000), 'test'), /has 100000 bytes/);
    const whole = request([]);
    for (let length = 0; length < whole.length; length++)
      assert.throws(() => readRequest(whole.subarray(0, length), 'test'), { code: 'CA_INPUT' });
    assert.throws(() => readRequest(request([sequence()]), 'test'), { code: 'CA_INPUT' }, 'an extension of nothing');
  });

  it('with any byte changed is refused or read, and nothing else', () => {
    const whole = request([extension('2.5.29.17', sequence(element(0x82, Buffer.from('a'))))]);
    for (let at = 0; at < whole.length; at++)
      for (const change of [1, 0x80]) {
        const changed = Buffer.from(whole);
        changed[at]! ^= change;
        try {
          readRequest(changed, 'test');
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'CA_INPUT', `byte ${at}: ${(error as Error).stack}`);
        }
      }
  });
});

describe('what is packed for a client', () => {
  const made = async (commonName: string, host = 'broker.example') => {
    const key = await makeKey('p256');
    const der = await makeCertificate(
      {
        subject: [{ type: 'CN', value: commonName }],
        publicKey: createPublicKey(key),
        purpose: 'client',
        names: [],
        notBeforeMs: 0,
        notAfterMs: 1e12,
        crlUrl: '',
      },
      { certificate: undefined, key },
    );
    const chain = [new X509Certificate(der)];
    return bundleFiles({
      commonName,
      purpose: 'client',
      chain,
      key,
      authorities: chain,
      host,
      port: 8883,
      password: 'secret',
    });
  };

  it('has file names that every system takes', () => {
    assert.equal(fileNameFor('boiler 7/a'), 'boiler_7_a');
    assert.equal(fileNameFor('../../etc/passwd'), '__.._etc_passwd'); // no path, no dot in front
    assert.equal(fileNameFor('CON'), 'client_CON');
    assert.equal(fileNameFor('äöü'), '_');
    assert.equal(fileNameFor('x'.repeat(100)).length, 64);
  });

  it('quotes names in its scripts', async () => {
    const name = `'; rm -rf "$HOME" \`x\` \\ 😀`;
    const files = new Map((await made(name)).map((file) => [file.name, file.contents.toString()]));
    assert.deepEqual([...files.keys()].sort(), bundleFileNames(name, 'client', true, true).sort());
    assert.ok(files.get('mosquitto.sh')!.includes(`-i ''\\''; rm -rf "$HOME" \`x\` \\ 😀'`));
    assert.ok(files.get('mqttjs.mjs')!.includes(`clientId: "'; rm -rf \\"$HOME\\" \`x\` \\\\ \\ud83d\\ude00"`));
    assert.ok(files.get('python.py')!.includes(`client_id="'; rm -rf \\"$HOME\\" \`x\` \\\\ \\U0001f600"`));
  });

  it('is a ZIP that unpacks to what went in', async () => {
    const files = await made('device');
    const zip = makeZip(files, Date.UTC(2026, 10, 21));
    let at = 0;
    for (const { name, contents } of files) {
      assert.equal(zip.readUInt32LE(at), 0x04034b50);
      const packed = zip.readUInt32LE(at + 18);
      const nameBytes = zip.readUInt16LE(at + 26);
      assert.equal(zip.toString('utf8', at + 30, at + 30 + nameBytes), name);
      const from = at + 30 + nameBytes;
      assert.deepEqual(inflateRawSync(zip.subarray(from, from + packed)), Buffer.from(contents));
      at = from + packed;
    }
    assert.equal(zip.readUInt32LE(at), 0x02014b50);
  });

  it('has a PKCS#12 password that Java and OpenSSL take', async () => {
    const key = await makeKey('p256');
    const make = (password: string) => makePkcs12({ key, certificates: [], friendlyName: 'x', password });
    await assert.rejects(make('short'), { code: 'CA_INPUT' });
    await assert.rejects(make('pässword'), { code: 'CA_INPUT' });
  });
});
