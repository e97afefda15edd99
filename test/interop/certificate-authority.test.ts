/**
 * What the built-in certificate authority makes, in the hands of others: OpenSSL and Java read it, Node and Mosquitto's tools
 * shake hands with it, the examples of a client's zip run, and who is revoked is refused.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect, createServer } from 'node:tls';
import { runCa } from '../../apps/cli/ca.js';
import { CertificateAuthority, keyTypes } from '../../src/certificates/index.js';
import { type Broker, createBroker } from '../../src/index.js';
import { Folder } from '../support/pki.js';
import { findProgram, Lines, root, within } from './support.js';

const findTool = (name: string) => findProgram(name, `test/interop/certificate-authority: ${name}`);
const openssl = findTool('openssl');
const keytool = findTool('keytool');
const python = findTool('python3');
const mosquitto = [findTool('mosquitto_pub'), findTool('mosquitto_sub')];

const folder = new Folder();
let authority: CertificateAuthority;
after(() => folder.remove());

/** Runs a command line in the folder; returns its exit code and what it wrote. */
async function run(line: string): Promise<{ status: number | null; output: string }> {
  const child = spawn('sh', ['-c', line], { cwd: folder.path, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { status, output };
}

async function succeed(line: string): Promise<string> {
  const { status, output } = await run(line);
  assert.equal(status, 0, `${line}\n${output}`);
  return output;
}

/** `dunlin ca …` on the folder's authority, or that of another configuration. */
async function ca(...args: string[]): Promise<string> {
  let output = '';
  const write = (text: string | Uint8Array) => {
    output += String(text);
  };
  const where = args.includes('--folder') ? [] : ['-c', folder.at('dunlin.yaml')];
  const status = await runCa([...args, ...where], { stdout: { write }, stderr: { write } });
  assert.equal(status, 0, output);
  return output;
}

before(async () => {
  const settings = { folder: folder.at('ca'), crlUrl: 'http://localhost/crl' };
  folder.write('dunlin.yaml', JSON.stringify({ certificateAuthority: settings })); // JSON is YAML
  folder.write('password', 'correct horse');
  authority = await CertificateAuthority.open(folder.at('ca'), { crlUrl: settings.crlUrl });
});

describe('OpenSSL', { skip: openssl === undefined, timeout: 120_000 }, () => {
  for (const keyType of keyTypes)
    it(`verifies a client with a key of type ${keyType}`, async () => {
      await ca('issue', `device-${keyType}`, '--key-type', keyType, '--out', folder.at(keyType));
      await succeed(
        `openssl verify -x509_strict -purpose sslclient -CAfile ca/ca.pem ${keyType}/device-${keyType}.crt`,
      );
      const { status } = await run(
        `openssl verify -purpose sslserver -CAfile ca/ca.pem ${keyType}/device-${keyType}.crt`,
      );
      assert.notEqual(status, 0, 'a client is no server');
    });

  it('verifies the server by its names, and an authority of each kind', async () => {
    await succeed(
      'openssl verify -x509_strict -purpose sslserver -verify_hostname localhost -CAfile ca/ca.pem ca/server.pem',
    );
    await succeed('openssl verify -purpose sslserver -verify_ip 127.0.0.1 -CAfile ca/ca.pem ca/server.pem');
    await succeed('openssl verify -purpose sslserver -verify_ip ::1 -CAfile ca/ca.pem ca/server.pem');
    for (const keyType of ['p384', 'rsa3072', 'ed25519'] as const) {
      const other = `ca-${keyType}`;
      const made = await CertificateAuthority.open(folder.at(other), { keyType, name: 'Müller & Söhne, Inc.' });
      await made.revoke((await made.issue({ commonName: 'gone', purpose: 'client' })).entry.id, 'privilegeWithdrawn');
      await succeed(
        `openssl verify -x509_strict -purpose sslserver -crl_check -CRLfile ${other}/crl.pem -CAfile ${other}/ca.pem ${other}/server.pem`,
      );
    }
  });

  it('prints a certificate as it was meant', async () => {
    const text = await succeed('openssl x509 -noout -text -nameopt RFC2253,utf8 -in p256/device-p256.crt');
    for (const pattern of [
      /Version: 3/,
      /Subject: CN=device-p256/,
      /Basic Constraints: critical\s+CA:FALSE/,
      /Key Usage: critical\s+Digital Signature\n/,
      /Extended Key Usage: \s+TLS Web Client Authentication\n/,
      /CRL Distribution Points: \s+Full Name:\s+URI:http:\/\/localhost\/crl/,
    ])
      assert.match(text, pattern);
    const root = await succeed('openssl x509 -noout -text -in ca/ca.pem');
    assert.match(root, /Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
    assert.match(root, /Key Usage: critical\s+Certificate Sign, CRL Sign\n/);
    const [issuer] = /Authority Key Identifier: \s+\S+/.exec(text)!;
    assert.equal(issuer.split(/\s+/).at(-1), /Subject Key Identifier: \s+(\S+)/.exec(root)![1]);
    const { sha1, sha256 } = authority.describe();
    const print = async (digest: string) =>
      (await succeed(`openssl x509 -noout -fingerprint -${digest} -in ca/ca.pem`)).split('=')[1]!;
    assert.equal((await print('sha1')).trim().replaceAll(':', '').toLowerCase(), sha1);
    assert.equal((await print('sha256')).trim().replaceAll(':', '').toLowerCase(), sha256);
  });

  it('reads the revocation list and refuses who is on it', async () => {
    await ca('issue', 'lost', '--out', folder.at('lost'));
    const check = 'openssl verify -purpose sslclient -crl_check -CRLfile ca/crl.pem -CAfile ca/ca.pem';
    await succeed(`${check} lost/lost.crt`);
    await ca('revoke', 'lost', '--reason', 'keyCompromise');
    assert.match((await run(`${check} lost/lost.crt`)).output, /certificate revoked/);
    await succeed(`${check} p256/device-p256.crt`);
    const text = await succeed('openssl crl -noout -text -CAfile ca/ca.pem -in ca/crl.pem');
    assert.match(text, /verify OK/);
    assert.match(text, /CRL Number: \s+\d+/);
    assert.match(text, /Reason Code: \s+Key Compromise/);
    authority.readAgain();
    assert.ok(text.includes(`Serial Number: ${authority.find('lost').serialNumber}`));
    await ca('crl', '--der', '--out', folder.at('crl.der'));
    await succeed('openssl crl -inform der -noout -CAfile ca/ca.pem -in crl.der');
  });

  it('has its requests signed', async () => {
    for (const key of ['rsa:2048', 'ec -pkeyopt ec_paramgen_curve:P-384', 'ed25519']) {
      await succeed(`openssl req -new -newkey ${key} -nodes -keyout own.key -out own.csr -subj "/C=DE/O=Own/CN=own"`);
      const certificate = await ca('sign', folder.at('own.csr'));
      folder.write('own.crt', certificate);
      await succeed('openssl verify -x509_strict -purpose sslclient -CAfile ca/ca.pem own.crt');
      assert.match(await succeed('openssl x509 -noout -subject -nameopt RFC2253 -in own.crt'), /CN=own,O=Own,C=DE/);
      const publicKey = await succeed('openssl pkey -in own.key -pubout');
      assert.equal(await succeed('openssl x509 -noout -pubkey -in own.crt'), publicKey);
    }
    await ca('sign', folder.at('own.csr'), '--server', '--name', 'other.example', '--out', folder.at('other.crt'));
    await succeed('openssl verify -purpose sslserver -verify_hostname other.example -CAfile ca/ca.pem other.crt');
  });

  it('makes authorities that are taken over', async () => {
    await succeed(
      'openssl req -x509 -newkey rsa:2048 -nodes -keyout company.key -out company.crt -days 3650 -subj "/C=DE/O=Företag/CN=Company CA" -utf8',
    );
    await ca('import', folder.at('company.crt'), '--key', folder.at('company.key'), '--folder', folder.at('company'));
    await succeed(
      'openssl verify -purpose sslserver -crl_check -CRLfile company/crl.pem -CAfile company.crt company/server.pem',
    );
  });

  it('opens the PKCS#12 file', async () => {
    const name = 'Büro 7';
    await ca('issue', name, '--out', folder.at('p12'), '--password-file', folder.at('password'));
    const text = await succeed('openssl pkcs12 -in p12/B_ro_7.p12 -passin file:password -nodes -info');
    assert.match(text, /MAC: sha256/);
    assert.match(text, /AES-256-CBC/);
    assert.equal([...text.matchAll(/BEGIN CERTIFICATE/g)].length, 2);
    const key = await succeed('openssl pkcs12 -in p12/B_ro_7.p12 -passin file:password -nocerts -nodes | openssl pkey');
    assert.equal(key, await succeed('openssl pkey -in p12/B_ro_7.key'));
    assert.notEqual((await run('openssl pkcs12 -in p12/B_ro_7.p12 -passin pass:wrong1 -nodes')).status, 0);
  });
});

describe('Java', { skip: keytool === undefined, timeout: 120_000 }, () => {
  it('reads the PKCS#12 file and the authority', async () => {
    await ca('issue', 'java', '--out', folder.at('java'), '--password-file', folder.at('password'));
    const text = await succeed("keytool -list -v -keystore java/java.p12 -storetype PKCS12 -storepass 'correct horse'");
    assert.match(text, /Alias name: java\n/);
    assert.match(text, /PrivateKeyEntry\nCertificate chain length: 2/);
    await succeed('keytool -importcert -noprompt -alias ca -file ca/ca.pem -keystore trust.p12 -storepass changeit');
    const printed = await succeed('keytool -printcrl -file ca/crl.pem');
    assert.match(printed, /X509v2 CRL|X.509 CRL/);
  });
});

describe('Node', { timeout: 120_000 }, () => {
  it('shakes hands with both, and sees who is revoked', async () => {
    const issued = await authority.issue({ commonName: 'node' });
    const client = { cert: issued.chain.join(''), key: issued.key!.export({ format: 'pem', type: 'pkcs8' }) as string };
    const trusted = authority.authority().join('');
    const own = () => ({
      cert: authority.serverChain().join(''),
      key: readFileSync(authority.paths.key),
      ca: trusted,
      crl: authority.revocationList('pem')!.toString(),
    });
    const server = createServer({ ...own(), requestCert: true, rejectUnauthorized: false });
    server.on('secureConnection', (socket) =>
      socket.end(socket.authorized ? socket.getPeerX509Certificate()!.subject : String(socket.authorizationError)),
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const greeting = async () => {
      const socket = connect({ port, host: '127.0.0.1', servername: 'localhost', ca: trusted, ...client });
      const [text] = await within(once(socket, 'data'), 'the greeting');
      socket.destroy();
      return String(text);
    };
    try {
      assert.equal(await greeting(), 'CN=node');
      await authority.revoke(issued.entry.id);
      server.setSecureContext(own());
      assert.equal(await greeting(), 'CERT_REVOKED');
    } finally {
      server.close();
    }
  });
});

describe('clients of a broker with the authority', { skip: mosquitto.includes(undefined), timeout: 120_000 }, () => {
  let broker: Broker;
  let port: number;

  before(async () => {
    const { ca: clientCa, certificate, key, crl } = authority.paths;
    const tls = { certificate, key, clientCa: [clientCa], crl: [crl] };
    broker = createBroker({
      config: {
        listeners: [{ protocol: 'mqtts', port: 0, allowAnonymous: true, tls }],
        sys: { intervalSeconds: 0 },
        protection: { overload: { eventLoopDelayMsMax: 0 } },
      },
    });
    await broker.start();
    port = broker.listeners[0]!.port!;
  });
  after(() => broker?.stop());

  it('run the examples of their folder: Mosquitto, MQTT.js, Python', async () => {
    const out = folder.at('client');
    await ca('issue', "it's 7", '--out', out, '--host', 'localhost', '--port', String(port));
    await succeed('cd client && sh mosquitto.sh -E');
    symlinkSync(join(root, 'node_modules'), join(out, 'node_modules'));
    const child = spawn(process.execPath, ['mqttjs.mjs'], { cwd: out, stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await new Lines(child.stdout).find(/^hello it works$/);
    } finally {
      child.kill();
    }
    if (python !== undefined) await succeed('cd client && python3 -m py_compile python.py');
  });

  it('get the same in a zip', { skip: python === undefined }, async () => {
    await ca('issue', 'zipped', '--zip', folder.at('zipped.zip'), '--host', 'localhost', '--port', String(port));
    await succeed('python3 -m zipfile -t zipped.zip && python3 -m zipfile -e zipped.zip unzipped');
    await succeed('cd unzipped && sh mosquitto.sh -E');
  });

  it('are refused once they are revoked: the running broker sees it by itself', async () => {
    const out = folder.at('gone');
    await ca('issue', 'gone', '--out', out, '--host', 'localhost', '--port', String(port));
    const client = (event: 'clientConnected' | 'clientDisconnected') =>
      new Promise<void>((resolve) => broker.on(event, ({ client: { clientId } }) => clientId === 'gone' && resolve()));
    const connected = client('clientConnected');
    const options = '--cafile ca.crt --cert gone.crt --key gone.key';
    const subscriber = spawn('sh', ['-c', `exec mosquitto_sub -h localhost -p ${port} ${options} -i gone -t x`], {
      cwd: out,
      stdio: 'ignore',
    });
    try {
      await within(connected, 'the subscriber');
      const disconnected = client('clientDisconnected');
      await ca('revoke', 'gone');
      await within(disconnected, 'the end of the connection');
    } finally {
      subscriber.kill();
    }
    assert.notEqual((await run('cd gone && sh mosquitto.sh -E')).status, 0);
  });
});
