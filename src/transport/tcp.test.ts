import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { byteStreamContract } from './byte-stream.contract.js';
import type { ByteStream, Listener } from './byte-stream.js';
import { handlesAvailable } from './handle-stream.js';
import { listenTcp } from './tcp.js';

async function pair(where: { host: string; port: number } | { unixPath: string }, plainSockets: boolean) {
  let accept: (stream: ByteStream) => void = () => {};
  const accepted = new Promise<ByteStream>((resolve) => {
    accept = resolve;
  });
  const listener = await listenTcp({ name: 'test', ...where, plainSockets, onStream: (stream) => accept(stream) });
  const remote = dial(listener);
  await once(remote, 'connect');
  const stream = await accepted;
  const close = async () => {
    remote.destroy();
    stream.destroy();
    await listener.close();
  };
  return { stream, remote, close };
}

function dial(listener: Listener): Socket {
  const { bound } = listener;
  return 'path' in bound ? connect(bound.path) : connect(bound.port, bound.address);
}

it('this Node offers the handle interface that the fast transport uses', () => {
  assert.equal(handlesAvailable, true);
});

byteStreamContract('TCP on handles', () => pair({ host: '127.0.0.1', port: 0 }, false));
byteStreamContract('TCP on net.Socket', () => pair({ host: '127.0.0.1', port: 0 }, true));

if (process.platform !== 'win32') {
  byteStreamContract('Unix socket on handles', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'dunlin-'));
    const made = await pair({ unixPath: join(folder, 'socket') }, false);
    return {
      ...made,
      close: async () => {
        await made.close();
        rmSync(folder, { recursive: true });
      },
    };
  });
}

it('knows the addresses of both ends, and keeps them after the end', async () => {
  const { stream, remote, close } = await pair({ host: '127.0.0.1', port: 0 }, false);
  const { localPort, remotePort } = remote;
  const closed = new Promise<void>((resolve) => {
    stream.start({ onBytes: () => {}, onWritten: () => {}, onClosed: () => resolve() });
  });
  remote.destroy();
  await closed;
  assert.deepEqual(stream.peer, {
    address: '127.0.0.1',
    port: localPort,
    localAddress: '127.0.0.1',
    localPort: remotePort,
  });
  await close();
});

it('a port in use is a fault that names listener and address', async () => {
  const listener = await listenTcp({ name: 'first', host: '127.0.0.1', port: 0, onStream: () => {} });
  const { port } = listener.bound as { port: number };
  await assert.rejects(listenTcp({ name: 'second', host: '127.0.0.1', port, onStream: () => {} }), {
    name: 'Fault',
    code: 'LISTEN_ADDRESS_IN_USE',
    message: `listener second: cannot listen on 127.0.0.1:${port}: the address is in use by another program`,
  });
  await listener.close();
});
