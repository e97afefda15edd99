import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { connect, createServer, type TlsOptions } from 'node:tls';
import { Authority } from '../../test/support/pki.js';
import { bridgeTls } from './bridge-tls.js';

const key = '0123456789abcdef';
const options = bridgeTls(
  {
    enabled: true,
    ca: [],
    trustSystemStore: false,
    psk: { identity: 'me', key },
    verifyHostname: true,
    insecure: false,
    alpn: [],
    ciphers: '',
    versionMin: 'TLSv1.2',
  },
  'bridge b: tls',
)!;

/** Connects to a server with these settings and returns what came of it. */
async function outcome(settings: TlsOptions, trusted: string[]): Promise<string> {
  const server = createServer(settings).listen(0, '127.0.0.1');
  server.on('tlsClientError', () => {});
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  // `ca`: as if the whole world trusted whoever signed the server's certificate.
  const socket = connect({ ...options, port, host: '127.0.0.1', ...(trusted.length > 0 ? { ca: trusted } : {}) });
  try {
    await once(socket, 'secureConnect');
    return 'connected';
  } catch (error) {
    return (error as Error).message;
  } finally {
    socket.destroy();
    server.close();
  }
}

describe('a bridge with a pre-shared key', () => {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    it(`connects to whoever has the key, ${version}`, async () => {
      const pskCallback = () => Buffer.from(key, 'hex');
      const ciphers = `TLS_AES_128_GCM_SHA256:${options.ciphers}`;
      assert.equal(await outcome({ pskCallback, ciphers, minVersion: version, maxVersion: version }, []), 'connected');
    });
  }

  it('takes no trusted certificate for the key', async () => {
    const authority = await Authority.create('Everybody trusts me');
    const { certificate, key: privateKey } = await authority.issue('elsewhere.example');
    const said = await outcome({ cert: certificate, key: privateKey }, [authority.certificate]);
    assert.match(said, /a certificate instead of proving that it has the pre-shared key/);
  });
});
