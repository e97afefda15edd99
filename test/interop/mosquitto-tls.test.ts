/**
 * Debian's mosquitto_pub and mosquitto_sub over TLS with certificates made by the OpenSSL commands of a router's manual, run
 * line by line, and with pre-shared keys; and our own tools against Debian's broker.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type Broker, createBroker } from '../../src/index.js';
import type { ConnectRequest } from '../../src/policy/index.js';
import { freePort } from '../support/free-port.js';
import { Folder } from '../support/pki.js';
import { findProgram, Lines, root, within } from './support.js';

const programs = ['mosquitto_pub', 'mosquitto_sub', 'mosquitto', 'openssl'].map((name) =>
  findProgram(name, `test/interop/mosquitto-tls: ${name}`),
);
const KEY = 'b7e87d9b2074d5889a7969985d9fc3f04e4e5b8cb57956a812b2c52b6411abd8';
const hasIPv6 = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === '::1'),
);

describe('TLS with programs of others', { skip: programs.includes(undefined), timeout: 180_000 }, () => {
  const folder = new Folder();
  const requests: ConnectRequest[] = [];
  let broker: Broker;
  const port = (name: string) => String(broker.listeners.find((listener) => listener.name === name)!.port!);
  /** Runs a command line in the folder; returns its exit code and what it wrote. */
  const run = async (line: string, input = '') => {
    const child = spawn('sh', ['-c', line], { cwd: folder.path });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    child.stdin.on('error', () => {}); // it may end without reading
    child.stdin.end(input);
    const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
    return { status, output };
  };
  const succeed = async (line: string, input?: string) => {
    const { status, output } = await run(line, input);
    assert.equal(status, 0, `${line}\n${output}`);
    return output;
  };

  before(async () => {
    // The manual's own lines; the name is the one that clients connect to.
    await succeed('openssl genpkey -algorithm RSA -out ca.key');
    await succeed('openssl req -new -x509 -days 1826 -key ca.key -out ca.crt', 'CZ\n\n\nExample\n\nrouter CA\n\n');
    await succeed('openssl genpkey -algorithm RSA -out broker.key');
    await succeed('openssl req -new -out broker.csr -key broker.key -subj "/CN=localhost"');
    await succeed(
      'openssl x509 -req -in broker.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out broker.crt -days 360',
    );
    await succeed('openssl genpkey -algorithm RSA -out client.key');
    await succeed('openssl req -new -out client.csr -key client.key -subj "/CN=client_device_001"');
    await succeed(
      'openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out client.crt -days 360',
    );
    const own = { certificate: folder.at('broker.crt'), key: folder.at('broker.key') };
    const psk = { identities: [{ identity: 'test', key: KEY }] };
    broker = createBroker({
      config: {
        listeners: [
          { name: 'server', protocol: 'mqtts', port: 0, tls: own },
          { name: 'mutual', protocol: 'mqtts', port: 0, tls: { ...own, clientCa: [folder.at('ca.crt')] } },
          { name: 'psk', protocol: 'mqtts', host: hasIPv6 ? '::1' : '127.0.0.1', port: 0, tls: { psk } },
          { name: 'both', protocol: 'mqtts', port: 0, tls: { ...own, psk } },
        ],
        sys: { intervalSeconds: 0 },
        protection: { overload: { eventLoopDelayMsMax: 0 } },
      },
      policy: {
        authenticate: (request) => {
          requests.push(request);
          return { reasonCode: 0 };
        },
      },
    });
    await broker.start();
  });
  after(async () => {
    await broker?.stop();
    folder.remove();
  });

  /** Publishes with `pub` while `sub` waits for one message; both are command lines. */
  async function passes(sub: string, pub: string, expected: string): Promise<void> {
    const subscribed = new Promise<void>((resolve) => {
      const stop = broker.on('subscribed', () => {
        stop();
        resolve();
      });
    });
    const child = spawn('sh', ['-c', `exec ${sub}`], { cwd: folder.path, stdio: ['ignore', 'pipe', 'inherit'] });
    const lines = new Lines(child.stdout);
    try {
      await within(subscribed, 'a subscription');
      await succeed(pub);
      assert.equal(await lines.find(/./), expected);
    } finally {
      child.kill();
    }
  }

  for (const version of ['', '--tls-version tlsv1.2', '--tls-version tlsv1.3']) {
    it(`the server's certificate, ${version || 'any version'}`, () => {
      const to = `--host localhost --port ${port('server')} --cafile ca.crt ${version}`;
      return passes(
        `mosquitto_sub -C 1 ${to} -t 'factory/sensor/#'`,
        `mosquitto_pub ${to} -t factory/sensor/1 -m 54`,
        '54',
      );
    });

    it(`a certificate on both sides, ${version || 'any version'}`, async () => {
      const to = `--host localhost --port ${port('mutual')} --cafile ca.crt --cert client.crt --key client.key ${version}`;
      requests.length = 0;
      await passes(
        `mosquitto_sub -C 1 ${to} -t 'factory/sensor/#'`,
        `mosquitto_pub ${to} -t factory/sensor/1 -m 54`,
        '54',
      );
      const { certificate } = requests[0]!;
      assert.equal(certificate?.commonName, 'client_device_001');
      assert.equal(certificate?.subject, 'CN=client_device_001');
      // Field by field as OpenSSL writes it.
      const openssl = async (option: string) =>
        (await succeed(`openssl x509 -noout ${option} -in client.crt`)).trim().replace(/^\w+( Fingerprint)?=\s*/i, '');
      assert.equal(certificate?.issuer, await openssl('-issuer -nameopt RFC2253'));
      assert.equal(certificate?.serialNumber, (await openssl('-serial')).replace(/^0+/, ''));
      assert.equal(certificate?.thumbprint, (await openssl('-fingerprint -sha256')).replaceAll(':', '').toLowerCase());
      assert.equal(certificate?.trusted, true);
    });

    for (const listener of ['psk', 'both'])
      it(`a pre-shared key on listener ${listener}, ${version || 'any version'}`, async () => {
        const host = listener === 'psk' && hasIPv6 ? '::1' : '127.0.0.1';
        const to = `--host ${host} --port ${port(listener)} --psk ${KEY} --psk-identity test ${version}`;
        requests.length = 0;
        await passes(
          `mosquitto_sub -C 1 ${to} -t SENSOR/#`,
          `mosquitto_pub ${to} -u house -P 12345 -t SENSOR/ROOM8/TEMPERATURE -m 54`,
          '54',
        );
        assert.deepEqual(
          requests.map(({ pskIdentity }) => pskIdentity),
          ['test', 'test'],
        );
      });
  }

  it('what is wrong is refused', async () => {
    const refused = [
      `-h localhost -p ${port('mutual')} --cafile ca.crt`,
      `-h localhost -p ${port('mutual')} --cafile ca.crt --cert broker.crt --key client.key`,
      `-h 127.0.0.1 -p ${port('server')} --cafile ca.crt`,
      `-h localhost -p ${port('server')} --cafile client.crt`,
      `-h localhost -p ${port('server')}`,
      `-h localhost -p ${port('both')} --psk ${KEY} --psk-identity nobody`,
      `-h localhost -p ${port('both')} --psk ${KEY} --psk-identity nobody --tls-version tlsv1.3`,
      `-h localhost -p ${port('both')} --psk ${KEY}00 --psk-identity test`,
    ];
    requests.length = 0;
    for (const options of refused)
      assert.notEqual((await run(`timeout 20 mosquitto_pub ${options} -t a -m b`)).status, 0, options);
    assert.deepEqual(requests, []);
  });

  it('openssl s_client agrees on versions, ciphers and names', async () => {
    const client = (options: string) =>
      run(`openssl s_client -connect localhost:${port('server')} -CAfile ca.crt ${options}`);
    for (const [options, pattern] of [
      ['-tls1_3', /New, TLSv1\.3, Cipher is TLS_/],
      ['-tls1_2', /New, TLSv1\.2, Cipher is ECDHE-RSA-AES128-GCM-SHA256/],
      ['-tls1_2 -cipher AES256-GCM-SHA384', /Cipher is AES256-GCM-SHA384/],
      ['-verify_hostname localhost -verify_return_error', /Verify return code: 0 \(ok\)/],
      ['-verify_hostname router.local', /Verify return code: 62 \(hostname mismatch\)/],
      ['-tls1_1 -cipher DEFAULT@SECLEVEL=0', /alert protocol version|no protocols available/],
      ['-tls1_2 -cipher NULL-SHA256:@SECLEVEL=0', /alert handshake failure/],
    ] as const)
      assert.match((await client(options)).output, pattern, options);
  });

  it('a key with a password is refused with a sentence that says so', async () => {
    await succeed('openssl genpkey -algorithm RSA -aes256 -pass pass:secret -out locked.key');
    const file = folder.write(
      'locked.yaml',
      'listeners: [{ name: locked, protocol: mqtts, tls: { certificate: broker.crt, key: locked.key } }]\n',
    );
    const dunlin = join(root, 'bin', 'dunlin');
    const { status, output } = await run(`${process.execPath} ${dunlin} config check ${file}`);
    assert.equal(status, 2);
    assert.match(
      output,
      /locked\.yaml: listeners\[0\]\.tls\.key: the private key in locked\.key is encrypted with a password; give the password as keyPassword, or a key without one/,
    );
  });

  it("our own tools against Debian's broker", async () => {
    const ports = [await freePort(), await freePort()];
    await succeed(`printf 'test:${KEY}\\n' > keys && chmod -R a+rX . && chmod a+r broker.key keys`);
    const config = folder.write(
      'mosquitto.conf',
      [
        'per_listener_settings true',
        `listener ${ports[0]} 127.0.0.1`,
        ...[
          'allow_anonymous true',
          'cafile ca.crt',
          'certfile broker.crt',
          'keyfile broker.key',
          'require_certificate true',
        ],
        `listener ${ports[1]} 127.0.0.1`,
        ...['allow_anonymous true', 'psk_hint hint', 'psk_file keys', 'user root', ''],
      ].join('\n'),
    );
    const server = spawn('mosquitto', ['-v', '-c', config], { cwd: folder.path, stdio: ['ignore', 'ignore', 'pipe'] });
    try {
      await new Lines(server.stderr).find(/mosquitto version .* running/);
      const dunlin = `${process.execPath} ${join(root, 'bin', 'dunlin')}`;
      await succeed(
        `${dunlin} pub -h localhost -p ${ports[0]} --cafile ca.crt --cert client.crt --key client.key -t a -m b -q 1`,
      );
      for (const version of ['tlsv1.2', 'tlsv1.3'])
        await succeed(
          `${dunlin} pub -h localhost -p ${ports[1]} --psk ${KEY} --psk-identity test --tls-version ${version} -t a -m b -q 1`,
        );
      const { output } = await run(
        `${dunlin} pub -h localhost -p ${ports[1]} --psk ${KEY} --psk-identity no -t a -m b -q 1`,
      );
      assert.match(output, /TLS: the server ended the handshake \(alert: /);
      const mismatch = await run(
        `${dunlin} pub -h localhost -p ${ports[0]} --cafile ca.crt --cert client.crt --key broker.key -t a -m b`,
      );
      assert.match(mismatch.output, /Client certificate client\.crt and key broker\.key are inconsistent/);
    } finally {
      server.kill();
    }
  });
});
