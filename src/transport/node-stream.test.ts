import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { it } from 'node:test';
import { byteStreamContract, until } from './byte-stream.contract.js';
import { NodeStream } from './node-stream.js';

async function socketPair(): Promise<{ accepted: Socket; remote: Socket; close: () => Promise<void> }> {
  const server = createServer({ noDelay: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const remote = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' });
  const [[accepted]] = (await Promise.all([once(server, 'connection'), once(remote, 'connect')])) as unknown as [
    [Socket],
  ];
  const close = async () => {
    remote.destroy();
    accepted.destroy();
    server.close();
    await once(server, 'close');
  };
  return { accepted, remote, close };
}

byteStreamContract('NodeStream', async () => {
  const { accepted, remote, close } = await socketPair();
  return { stream: new NodeStream(accepted), remote, close };
});

it('NodeStream knows both addresses', async () => {
  const { accepted, remote, close } = await socketPair();
  const { peer } = new NodeStream(accepted);
  assert.deepEqual(peer, {
    address: '127.0.0.1',
    port: remote.localPort,
    localAddress: '127.0.0.1',
    localPort: remote.remotePort,
  });
  await close();
});

it('NodeStream that closed before start tells it after start', async () => {
  const { accepted, remote, close } = await socketPair();
  const stream = new NodeStream(accepted);
  remote.resetAndDestroy();
  accepted.resume();
  await until(() => accepted.closed);
  const closed: unknown[] = [];
  stream.start({ onBytes: () => {}, onWritten: () => {}, onClosed: (error) => closed.push(error) });
  await until(() => closed.length > 0);
  assert.equal(closed.length, 1);
  await close();
});

it('NodeStream over a stream that is closed already tells it after start', async () => {
  const duplex = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
  duplex.destroy();
  await once(duplex, 'close');
  const stream = new NodeStream(duplex);
  await new Promise<void>((resolve) =>
    stream.start({ onBytes: () => {}, onWritten: () => {}, onClosed: () => resolve() }),
  );
});

it('NodeStream takes bytes of any kind, and ends a stream that hands out something else', async () => {
  const duplex = new Duplex({ objectMode: true, read() {}, write: (_chunk, _encoding, done) => done() });
  const stream = new NodeStream(duplex);
  const got: string[] = [];
  const closed = new Promise<Error | undefined>((resolve) =>
    stream.start({
      onBytes: (bytes, start, end) => got.push(bytes.toString('latin1', start, end)),
      onWritten: () => {},
      onClosed: resolve,
    }),
  );
  duplex.push(new Uint8Array([0x61, 0x62, 0x63]).subarray(1));
  duplex.push(Buffer.from('d'));
  duplex.push('text');
  assert.match((await closed)?.message ?? '', /values of type string instead of bytes/);
  assert.deepEqual(got, ['bc', 'd']);
});
