/** Against `openssl ocsp` as responder. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import type { ConnectionOptions } from 'node:tls';
import { findProgram, Lines } from '../../test/interop/support.js';
import { freePort } from '../../test/support/free-port.js';
import { Authority, Folder, type Issued } from '../../test/support/pki.js';
import { admitted, TlsScene } from '../../test/support/tls-scene.js';
import type { TlsSettings } from './listener-tls.js';

const openssl = findProgram('openssl', 'src/certificates/ocsp: openssl');

describe('OCSP', { skip: openssl === undefined, timeout: 60_000 }, () => {
  const folder = new Folder();
  let responder: ChildProcess;
  let silent: ReturnType<typeof createServer>;
  let root: Authority;
  let mutual: Partial<TlsSettings>;
  const clients: Record<string, Issued> = {};
  let server: Issued;

  before(async () => {
    root = await Authority.create('Root');
    const rootFile = folder.write('root.pem', root.certificate);
    // Its port is known only when it runs, and certificates name it: so it is found first.
    const port = await freePort();
    const ocspUrl = `http://127.0.0.1:${port}`;
    silent = createServer(() => {}).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const silentUrl = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    clients.good = await root.issue('good', { ocspUrl });
    clients.revoked = await root.issue('revoked', { ocspUrl });
    clients.unheard = await root.issue('unheard', { ocspUrl });
    clients.silent = await root.issue('silent', { ocspUrl: silentUrl });
    clients.nowhere = await root.issue('nowhere');
    server = await root.issue('localhost', { names: ['localhost'], ocspUrl });
    const line = (state: string, { serialNumber }: Issued) =>
      `${state}\t300101000000Z\t${state === 'R' ? '250101000000Z' : ''}\t${serialNumber}\tunknown\t/CN=${serialNumber}\n`;
    const index = folder.write('index.txt', line('V', clients.good) + line('R', clients.revoked) + line('V', server));
    const key = folder.write('root.key', root.key);
    const args = ['ocsp', '-index', index, '-port', String(port), '-rsigner', rootFile, '-rkey', key, '-CA', rootFile];
    responder = spawn(openssl!, [...args, '-nmin', '5'], { stdio: ['ignore', 'pipe', 'pipe'] });
    await Promise.race([
      new Lines(responder.stdout!).find(/ACCEPT/),
      new Lines(responder.stderr!).find(/ACCEPT|waiting/i),
    ]);
    mutual = {
      certificate: folder.write('server.pem', server.certificate + root.certificate),
      key: folder.write('server.key', server.key),
      clientCertificate: 'require',
      clientCa: [rootFile],
      ocspTimeoutSeconds: 20,
    };
  });
  after(async () => {
    responder?.kill();
    silent?.closeAllConnections();
    silent?.close();
    folder.remove();
  });

  for (const [mode, outcomes] of [
    ['soft', { good: true, revoked: false, unheard: true, silent: true, nowhere: true }],
    ['hard', { good: true, revoked: false, unheard: false, silent: false, nowhere: false }],
  ] as const)
    it(`${mode}: asks about client certificates`, async () => {
      for (const [name, letIn] of Object.entries(outcomes)) {
        // The one that never answers is not waited for long; the others may take their time.
        const impatient = name === 'silent' ? { ocspTimeoutSeconds: 1 } : {};
        const scene = await TlsScene.start({ ...mutual, ...impatient, ocsp: mode });
        const { certificate, key } = clients[name]!;
        const outcome = await scene.try({ cert: certificate, key });
        assert.equal('stream' in outcome, letIn, name);
        if (name === 'revoked')
          assert.equal(
            (outcome as { refusal: string }).refusal,
            'its certificate is revoked, says the OCSP responder.',
          );
        await scene.stop();
      }
    });

  it('asks whoever has issued the certificate, whatever else the client sends along', async () => {
    const { certificate, key } = clients.revoked!;
    const stranger = await Authority.create('Stranger');
    const scene = await TlsScene.start({ ...mutual, ocsp: 'soft' });
    for (const other of [stranger.certificate, certificate]) {
      const outcome = await scene.try({ cert: certificate + other, key });
      assert.ok('refusal' in outcome, 'let in');
      scene.tls.reload(); // forgets the answer
    }
    await scene.stop();
  });

  it('staples the answer about our own certificate for clients that ask for it', async () => {
    const scene = await TlsScene.start({ ...mutual, clientCertificate: 'off', clientCa: [], ocspStapling: true });
    for (let round = 0; round < 2; round++) {
      const client = scene.dial({ requestOCSP: true } as ConnectionOptions);
      const [response] = (await once(client, 'OCSPResponse')) as [Buffer | null];
      assert.ok(response !== null && response.length > 100);
      assert.ok(response.includes(Buffer.from(server.serialNumber, 'hex')));
    }
    admitted(await scene.try());
    await scene.stop();
  });
});
