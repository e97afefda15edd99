/** Goal: what is copied and what is referenced leaves in the order it came, whatever the stream takes and when. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LARGE_CHUNK_BYTES, SMALL_CHUNK_BYTES } from '../base/index.js';
import { Random } from '../base/random.fuzz.js';
import type { ByteStream } from '../transport/index.js';
import { Outbound } from './outbound.js';
import { OutboundTotals } from './outbound-totals.js';

/** A stream that takes a write at once or keeps it until `complete`, as `takes` says. */
class SlowStream implements ByteStream {
  readonly peer = { address: '', port: 0, localAddress: '', localPort: 0 };
  takes = true;
  readonly written: Buffer[] = [];
  writes = 0;
  /** The views it was handed, which must not change until they are complete, and what they held then. */
  private kept: { views: Uint8Array[]; before: Buffer } | undefined;

  write(chunk: Uint8Array): boolean {
    return this.writeMany([chunk]);
  }

  writeMany(chunks: Uint8Array[]): boolean {
    assert.equal(this.kept, undefined, 'a write while another is under way');
    this.writes++;
    const bytes = Buffer.concat(chunks);
    this.written.push(bytes);
    if (!this.takes) this.kept = { views: chunks, before: bytes };
    return this.takes;
  }

  complete(): boolean {
    if (this.kept === undefined) return false;
    assert.ok(Buffer.concat(this.kept.views).equals(this.kept.before), 'bytes changed while they were under way');
    this.kept = undefined;
    return true;
  }

  start(): void {}
  pause(): void {}
  resume(): void {}
  end(): void {}
  destroy(): void {}
}

const copy = (outbound: Outbound, bytes: Buffer) => {
  const at = outbound.reserve(bytes.length);
  bytes.copy(outbound.chunk!, at);
};

describe('outbound bytes', () => {
  it('leave in one write a turn, in order', () => {
    const outbound = new Outbound(new OutboundTotals(1e9, { bytesSent: 0 }));
    const stream = new SlowStream();
    copy(outbound, Buffer.from('a'));
    copy(outbound, Buffer.from('bc'));
    outbound.reference(Buffer.from('DEF'));
    copy(outbound, Buffer.from('g'));
    assert.equal(outbound.bytes, 7);
    assert.equal(outbound.flush(stream), true);
    assert.deepEqual([stream.writes, stream.written.join(''), outbound.bytes], [1, 'abcDEFg', 0]);
    assert.equal(outbound.flush(stream), true);
    assert.equal(stream.writes, 1, 'nothing is written for nothing');
  });

  it('gather behind a write that is under way', () => {
    const totals = new OutboundTotals(1e9, { bytesSent: 0 });
    const outbound = new Outbound(totals);
    const stream = new SlowStream();
    stream.takes = false;
    copy(outbound, Buffer.from('first'));
    assert.equal(outbound.flush(stream), false);
    copy(outbound, Buffer.from('second'));
    assert.equal(outbound.flush(stream), false);
    assert.deepEqual([stream.writes, outbound.busy, outbound.bytes, totals.bytes], [1, true, 11, 11]);
    stream.complete();
    outbound.completed();
    assert.deepEqual([outbound.busy, outbound.bytes, totals.bytes], [false, 6, 6]);
    stream.takes = true;
    assert.equal(outbound.flush(stream), true);
    assert.deepEqual([stream.written.join('|'), totals.bytes], ['first|second', 0]);
  });

  it('are the same in any mixture of sizes, connections and slow writes', () => {
    const random = new Random(4);
    const totals = new OutboundTotals(1e9, { bytesSent: 0 });
    // Several share the pool of chunks: one that gives a chunk back too early spoils another's bytes.
    const connections = Array.from({ length: 4 }, () => ({
      outbound: new Outbound(totals),
      stream: new SlowStream(),
      given: [] as Buffer[],
    }));
    const sizes = [1, 4, 60, 1000, SMALL_CHUNK_BYTES, SMALL_CHUNK_BYTES + 1, LARGE_CHUNK_BYTES, LARGE_CHUNK_BYTES + 1];
    for (let step = 0; step < 4000; step++) {
      const { outbound, stream, given } = random.pick(connections);
      const bytes = Buffer.alloc(random.oneIn(8) ? random.pick(sizes) : 1 + random.below(300), step & 0xff);
      given.push(bytes);
      if (random.oneIn(3)) outbound.reference(bytes);
      else copy(outbound, bytes);
      stream.takes = random.oneIn(2);
      if (random.oneIn(3)) outbound.flush(stream);
      if (random.oneIn(3) && stream.complete()) outbound.completed();
    }
    for (const { outbound, stream } of connections) {
      if (stream.complete()) outbound.completed();
      stream.takes = true;
      assert.equal(outbound.flush(stream), true);
      assert.deepEqual([outbound.bytes, outbound.chunk], [0, undefined], 'an idle connection holds no buffer');
    }
    for (const { stream, given } of connections) assert.ok(Buffer.concat(stream.written).equals(Buffer.concat(given)));
    assert.equal(totals.bytes, 0);
  });

  it('count for nothing once they are given up', () => {
    const totals = new OutboundTotals(1e9, { bytesSent: 0 });
    const outbound = new Outbound(totals);
    const stream = new SlowStream();
    stream.takes = false;
    copy(outbound, Buffer.from('under way'));
    outbound.flush(stream);
    outbound.reference(Buffer.from('waiting'));
    copy(outbound, Buffer.from('waiting'));
    outbound.discard();
    assert.deepEqual([totals.bytes, outbound.bytes, outbound.busy], [0, 0, false]);
    assert.ok(stream.complete());
  });
});
