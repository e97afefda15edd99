import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { it } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import { byteStreamContract, until } from './byte-stream.contract.js';
import type { ByteSink, ByteStream } from './byte-stream.js';
import { CompressibleStream } from './compressible-stream.js';
import { NodeStream } from './node-stream.js';

async function socketPair(): Promise<{ accepted: Socket; remote: Socket; close: () => Promise<void> }> {
  const server = createServer({ noDelay: true }).listen(0, '127.0.0.1');
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

byteStreamContract('CompressibleStream that is not compressed', async () => {
  const { accepted, remote, close } = await socketPair();
  return { stream: new CompressibleStream(new NodeStream(accepted)), remote, close };
});

class Recorder implements ByteSink {
  received: Buffer = Buffer.alloc(0);
  written = 0;
  closed: (Error | undefined)[] = [];
  onBytes(bytes: Buffer, start: number, end: number): void {
    this.received = Buffer.concat([this.received, bytes.subarray(start, end)]);
  }
  onWritten(): void {
    this.written++;
  }
  onClosed(error?: Error): void {
    this.closed.push(error);
  }
}

async function compressedPair() {
  const { accepted, remote, close } = await socketPair();
  const [a, b] = [new CompressibleStream(new NodeStream(accepted)), new CompressibleStream(new NodeStream(remote))];
  const [atA, atB] = [new Recorder(), new Recorder()];
  a.start(atA);
  b.start(atB);
  return { a, b, atA, atB, accepted, remote, close };
}

it('hands up what came before the end, however long reading is paused', async () => {
  const { accepted, remote, close } = await socketPair();
  const [a, b] = [new CompressibleStream(new NodeStream(accepted)), new CompressibleStream(new NodeStream(remote))];
  const [atA, atB] = [new Recorder(), new Recorder()];
  let paused = 0;
  a.start({
    onBytes: (bytes, start, end) => {
      atA.onBytes(bytes, start, end);
      paused++;
      a.pause();
    },
    onWritten: () => {},
    onClosed: (error) => atA.onClosed(error),
  });
  b.start(atB);
  a.compress(0);
  b.compress(0);
  const sent = Buffer.alloc(200_000, 'compressible ');
  b.write(sent);
  b.end();
  while (atA.closed.length === 0) {
    const before = paused;
    await until(() => paused > before || atA.closed.length > 0 || before === 0);
    await new Promise((resolve) => setTimeout(resolve, 5));
    a.resume();
    if (atA.received.length === sent.length) break;
  }
  await until(() => atA.closed.length > 0);
  assert.equal(atA.received.length, sent.length);
  assert.deepEqual(atA.closed, [undefined]);
  await close();
});

it('compresses from where both agree on, and passes what lies before', async () => {
  const { a, b, atA, atB, close } = await compressedPair();
  a.compress(5);
  assert.equal(a.write(Buffer.from('plain')), false);
  await until(() => atA.written === 1);
  await until(() => atB.received.length === 5);
  assert.equal(atB.received.toString(), 'plain');
  b.compress(0);
  const text = Buffer.from('the same again and again '.repeat(4000));
  a.writeMany([text.subarray(0, 10), text.subarray(10)]);
  b.write(Buffer.from('back'));
  await until(() => atB.received.length === 5 + text.length);
  await until(() => atA.received.toString() === 'back');
  assert.deepEqual(atB.received.subarray(5), text);
  assert.ok(a.wireBytesSent < text.length / 10);
  await close();
});

it('hands on what came before the end, and ends once', async () => {
  const { a, b, atB, close } = await compressedPair();
  a.compress(0);
  b.compress(0);
  const last = Buffer.alloc(300_000, 'last words ');
  a.write(last);
  a.end();
  await until(() => atB.closed.length > 0);
  assert.deepEqual(atB.received, last);
  assert.deepEqual(atB.closed, [undefined]);
  await close();
});

it('hands nothing up while it is paused', async () => {
  const { a, b, atB, close } = await compressedPair();
  a.compress(0);
  b.compress(0);
  b.pause();
  const bytes = Buffer.alloc(5_000_000, 'waiting ');
  a.write(bytes);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(atB.received.length, 0);
  b.resume();
  await until(() => atB.received.length === bytes.length);
  await close();
});

it('ends with an error when what comes is not compressed', async () => {
  const { a, atA, remote, close } = await compressedPair();
  a.compress(0);
  remote.write('this is no deflate stream at all, whatever one may read in it');
  await until(() => atA.closed.length > 0);
  assert.match(atA.closed[0]!.message, /compressed stream is damaged/);
  await close();
});

it('ends with an error when the compressed stream is complete and the connection is not', async () => {
  const { a, atA, remote, close } = await compressedPair();
  a.compress(0);
  remote.write(Buffer.concat([deflateRawSync('the last words'), Buffer.from('and more')]));
  await until(() => atA.closed.length > 0);
  assert.match(atA.closed[0]!.message, /it ends before the connection does/);
  await close();
});

it('ends the stream below though that does not get rid of the last write', async () => {
  let end = (): void => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const stuck: ByteStream = {
    peer: { address: '', port: 0, localAddress: '', localPort: 0 },
    start() {},
    write: () => false,
    writeMany: () => false,
    pause() {},
    resume() {},
    end,
    destroy() {},
  };
  const stream = new CompressibleStream(stuck);
  stream.start(new Recorder());
  stream.compress(0);
  stream.write(Buffer.from('goodbye'));
  assert.equal(stream.preparing, true);
  stream.end();
  await ended;
});
