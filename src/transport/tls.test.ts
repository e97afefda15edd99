import assert from 'node:assert/strict';
import { once } from 'node:events';
import { before, it } from 'node:test';
import { type ConnectionOptions, connect, createServer, type TLSSocket } from 'node:tls';
import { Authority } from '../../test/support/pki.js';
import { byteStreamContract } from './byte-stream.contract.js';
import type { ByteStream, Listener } from './byte-stream.js';
import { NodeStream } from './node-stream.js';
import type { TlsProvider } from './secure-server.js';
import { listenTls } from './tls.js';

const log = { level: 0, error: () => {}, warning: () => {}, information: () => {}, debug: () => {} };
let tls: TlsProvider;
let cert = '';
let key = '';

before(async () => {
  const authority = await Authority.create('Root');
  const issued = await authority.issue('localhost', { names: ['localhost'] });
  cert = issued.certificate;
  key = issued.key;
  tls = { terms: { context: { cert, key } }, pskHint: undefined, alpn: [], onChange: () => () => {} };
});

async function pair(options: ConnectionOptions = {}) {
  let accept: (stream: ByteStream) => void = () => {};
  const accepted = new Promise<ByteStream>((resolve) => {
    accept = resolve;
  });
  const listener: Listener = await listenTls({
    name: 'test',
    host: '127.0.0.1',
    port: 0,
    tls,
    handshakeTimeoutMs: 10_000,
    log,
    onStream: (stream) => accept(stream),
  });
  const { port } = listener.bound as { port: number };
  const remote = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
  remote.on('error', () => {});
  await once(remote, 'secureConnect');
  const stream = await accepted;
  const close = async () => {
    remote.destroy();
    stream.destroy();
    await listener.close();
  };
  return { stream, remote, close };
}

byteStreamContract('TLS 1.3 on handles', () => pair({ minVersion: 'TLSv1.3' }));
byteStreamContract('TLS 1.2 on handles', () => pair({ maxVersion: 'TLSv1.2' }));
byteStreamContract('TLS on node:tls', async () => {
  const server = createServer({ cert, key }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const remote = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  const [socket] = (await once(server, 'secureConnection')) as [TLSSocket];
  const close = async () => {
    remote.destroy();
    socket.destroy();
    server.close();
  };
  return { stream: new NodeStream(socket), remote, close };
});

it('tells what was agreed on, and keeps the address after the end', async () => {
  const { stream, remote, close } = await pair({ servername: 'localhost', maxVersion: 'TLSv1.2' });
  const { localPort } = remote;
  assert.deepEqual(stream.security, {
    version: 'TLSv1.2',
    cipher: 'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256',
    serverName: 'localhost',
    certificate: undefined,
    pskIdentity: undefined,
  });
  await close();
  assert.equal(stream.peer.port, localPort);
});
