/**
 * What every `ByteStream` must do, run against each implementation over real loopback sockets.
 *
 * The other end is a plain Node duplex stream, so the suite needs no second implementation.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { ByteSink, ByteStream } from './byte-stream.js';

export interface StreamPair {
  /** The one under test, not started. */
  stream: ByteStream;
  /** The other end: bytes written to it reach the stream. It is paused until the test reads from it. */
  remote: Duplex;
  close(): Promise<void>;
}

interface Recorder extends ByteSink {
  readonly received: Buffer[];
  readonly closedWith: (Error | undefined)[];
  written: number;
  bytes(): Buffer;
}

function recorder(): Recorder {
  const received: Buffer[] = [];
  const closedWith: (Error | undefined)[] = [];
  return {
    received,
    closedWith,
    written: 0,
    bytes: () => Buffer.concat(received),
    onBytes: (bytes, start, end) => received.push(Buffer.from(bytes.subarray(start, end))),
    onWritten() {
      this.written++;
    },
    onClosed: (error) => closedWith.push(error),
  };
}

/** Waits for what sockets bring about; the test runner's own limit ends a wait in vain. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(2);
}

/** Bytes that a shift, a repeat or a gap would show. */
function pattern(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >>> 8) * 7 + (i >>> 16)) & 0xff;
  return bytes;
}

/** In pieces, for transports whose other end takes a piece whole before it pushes back. */
function megabytes(bytes: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  for (let from = 0; from < bytes.length; from += 1_048_576) pieces.push(bytes.subarray(from, from + 1_048_576));
  return pieces;
}

function collect(remote: Duplex): Buffer[] {
  const chunks: Buffer[] = [];
  remote.on('data', (chunk: Buffer) => chunks.push(chunk));
  return chunks;
}

const length = (chunks: readonly Buffer[]) => chunks.reduce((sum, chunk) => sum + chunk.length, 0);

export function byteStreamContract(name: string, connect: () => Promise<StreamPair>): void {
  describe(`${name} as a ByteStream`, { timeout: 60_000 }, () => {
    const withPair = (title: string, body: (pair: StreamPair, sink: Recorder) => Promise<void>) =>
      it(title, async () => {
        const pair = await connect();
        pair.remote.on('error', () => {});
        try {
          await body(pair, recorder());
        } finally {
          await pair.close();
        }
      });

    withPair('hands up nothing before start, and everything after', async ({ stream, remote }, sink) => {
      remote.write(Buffer.from('early'));
      await delay(20);
      stream.start(sink);
      remote.write(Buffer.from(' late'));
      await until(() => sink.bytes().length === 10);
      assert.equal(sink.bytes().toString(), 'early late');
    });

    withPair('hands up a megabyte in order', async ({ stream, remote }, sink) => {
      stream.start(sink);
      const sent = pattern(1_000_000);
      remote.write(sent);
      await until(() => sink.bytes().length >= sent.length);
      assert.ok(sink.bytes().equals(sent));
    });

    withPair('writes buffers in order, by one call or many', async ({ stream, remote }, sink) => {
      stream.start(sink);
      const chunks = collect(remote);
      const write = async (given: Buffer | Buffer[]) => {
        const before = sink.written;
        const taken = Array.isArray(given) ? stream.writeMany(given) : stream.write(given);
        if (!taken) await until(() => sink.written === before + 1);
      };
      const sent = pattern(300_000);
      await write(sent.subarray(0, 1));
      await write([sent.subarray(1, 10), sent.subarray(10, 11), sent.subarray(11, 100_000)]);
      await write(sent.subarray(100_000));
      await write([]);
      await until(() => length(chunks) >= sent.length);
      assert.ok(Buffer.concat(chunks).equals(sent));
    });

    withPair('is done with the buffer when write returned true', async ({ stream, remote }, sink) => {
      stream.start(sink);
      const chunks = collect(remote);
      const buffer = Buffer.alloc(100);
      for (let i = 0; i < 200; i++) {
        buffer.fill(i);
        const before = sink.written;
        if (!stream.write(buffer)) await until(() => sink.written === before + 1);
        buffer.fill(255);
      }
      await until(() => length(chunks) >= 20_000);
      const received = Buffer.concat(chunks);
      for (let i = 0; i < 200; i++)
        assert.ok(received.subarray(i * 100, i * 100 + 100).every((byte) => byte === (i & 255)));
    });

    withPair(
      'returns false while the peer does not read, and says when it is written',
      async ({ stream, remote }, sink) => {
        stream.start(sink);
        const sent = pattern(24 * 1024 * 1024);
        assert.equal(stream.write(sent), false);
        await delay(20);
        assert.equal(sink.written, 0);
        const chunks = collect(remote);
        await until(() => sink.written === 1);
        await until(() => length(chunks) >= sent.length);
        assert.ok(Buffer.concat(chunks).equals(sent));
        const taken = stream.write(Buffer.from('more'));
        await until(() => length(chunks) === sent.length + 4);
        await until(() => sink.written === (taken ? 1 : 2));
      },
    );

    withPair('makes the peer feel a pause', async ({ stream, remote }, sink) => {
      stream.start(sink);
      stream.pause();
      stream.pause();
      await delay(20);
      const before = length(sink.received);
      const sent = pattern(24 * 1024 * 1024);
      let flushed = false;
      remote.write(sent, () => {
        flushed = true;
      });
      await delay(100);
      assert.equal(length(sink.received), before);
      assert.equal(flushed, false);
      stream.resume();
      stream.resume();
      await until(() => length(sink.received) >= sent.length);
      assert.ok(sink.bytes().equals(sent));
    });

    withPair('may be paused within onBytes', async ({ stream, remote }, sink) => {
      let calls = 0;
      stream.start({
        ...sink,
        onBytes: (bytes, start, end) => {
          calls++;
          sink.onBytes(bytes, start, end);
          stream.pause();
        },
        onClosed: sink.onClosed,
        onWritten: () => {},
      });
      const sent = pattern(500_000);
      for (let from = 0; from < sent.length; from += 5000) remote.write(sent.subarray(from, from + 5000));
      while (length(sink.received) < sent.length) {
        const callsBefore = calls;
        await until(() => calls > callsBefore || calls === 1);
        await delay(1);
        assert.ok(calls <= callsBefore + 1 || callsBefore === 0, 'bytes came while paused');
        stream.resume();
      }
      assert.ok(sink.bytes().equals(sent));
    });

    withPair('tells once, without error, that the peer closed in order', async ({ stream, remote }, sink) => {
      stream.start(sink);
      remote.end(Buffer.from('bye'));
      remote.resume();
      await until(() => sink.closedWith.length > 0);
      await delay(20);
      assert.deepEqual(sink.closedWith, [undefined]);
      assert.equal(sink.bytes().toString(), 'bye');
    });

    withPair('hands up what came before the end, however long reading is paused', async ({ stream, remote }, sink) => {
      let paused = false;
      stream.start({
        ...sink,
        onBytes: (bytes, start, end) => {
          sink.onBytes(bytes, start, end);
          if (paused) return;
          paused = true;
          stream.pause();
        },
      });
      const sent = pattern(50_000);
      remote.cork();
      for (let from = 0; from < sent.length; from += 500) remote.write(sent.subarray(from, from + 500));
      remote.end();
      remote.uncork();
      remote.resume();
      await until(() => paused);
      await delay(100);
      stream.resume();
      await until(() => sink.closedWith.length > 0);
      assert.deepEqual(sink.closedWith, [undefined]);
      assert.ok(sink.bytes().equals(sent));
    });

    withPair('sends what was written before it ends', async ({ stream, remote }, sink) => {
      stream.start(sink);
      stream.write(pattern(3_000_000));
      stream.end();
      stream.end();
      const chunks = collect(remote);
      await once(remote, 'end');
      assert.ok(Buffer.concat(chunks).equals(pattern(3_000_000)));
      remote.end();
      await until(() => sink.closedWith.length > 0);
      assert.equal(sink.closedWith.length, 1);
    });

    withPair('ends even when reading is paused, and hands up nothing more', async ({ stream, remote }, sink) => {
      stream.start(sink);
      stream.pause();
      await delay(20);
      const before = length(sink.received);
      remote.write(pattern(1000));
      stream.end();
      remote.resume();
      await once(remote, 'end');
      remote.end();
      await until(() => sink.closedWith.length > 0);
      assert.equal(length(sink.received), before);
    });

    withPair('is destroyed at once and tells it once', async ({ stream, remote }, sink) => {
      stream.start(sink);
      stream.destroy();
      stream.destroy();
      await until(() => sink.closedWith.length > 0);
      remote.resume();
      await until(() => remote.destroyed || remote.readableEnded);
      assert.equal(sink.closedWith.length, 1);
    });

    withPair('takes writes after its end without a throw or a call', async ({ stream }, sink) => {
      stream.start(sink);
      stream.destroy();
      await until(() => sink.closedWith.length > 0);
      assert.equal(stream.write(Buffer.from('x')), true);
      assert.equal(stream.writeMany([Buffer.from('x')]), true);
      stream.pause();
      stream.resume();
      stream.end();
      await delay(20);
      assert.equal(sink.written, 0);
      assert.equal(sink.closedWith.length, 1);
    });

    withPair('tells of a peer that vanished while a write waited', async ({ stream, remote }, sink) => {
      stream.start(sink);
      assert.equal(stream.writeMany(megabytes(pattern(24 * 1024 * 1024))), false);
      remote.destroy();
      await until(() => sink.closedWith.length > 0);
      await delay(20);
      assert.equal(sink.closedWith.length, 1);
      assert.equal(sink.written, 0);
    });
  });
}
