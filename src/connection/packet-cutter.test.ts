/** Goal: the same packets come out in whatever pieces they go in, also with pauses; and little is held for big promises. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../base/random.fuzz.js';
import { writeVariableByteInteger } from '../protocol/index.js';
import { PacketCutter, type PacketHandler } from './packet-cutter.js';

function packetOf(random: Random, bodyBytes: number): Buffer {
  const bytes = Buffer.alloc(5 + bodyBytes);
  bytes[0] = random.bits() & 0xff;
  const bodyStart = writeVariableByteInteger(bytes, 1, bodyBytes);
  random.bytes(bodyBytes).copy(bytes, bodyStart);
  return bytes.subarray(0, bodyStart + bodyBytes);
}

class Collector implements PacketHandler {
  done = false;
  readonly packets: string[] = [];
  tooLarge = 0;
  padding = false;
  afterEach = (): void => {};

  handle(bytes: Buffer, start: number, bodyStart: number, bodyEnd: number): number {
    assert.ok(bodyStart > start + 1 && bodyEnd >= bodyStart && bodyEnd <= bytes.length);
    this.packets.push(bytes.toString('hex', start, bodyEnd));
    this.afterEach();
    return bodyEnd;
  }

  handleTooLarge(): void {
    this.tooLarge++;
    throw new Error('too large');
  }

  allowsPadding(bytes: Buffer, bodyStart: number, bodyEnd: number): boolean {
    assert.ok(bodyStart >= 3 && bodyEnd >= bodyStart && bodyEnd <= bytes.length);
    return this.padding;
  }
}

describe('the packet cutter', () => {
  it('hands over every packet once and in order, in any pieces, with pauses', () => {
    const random = new Random(8);
    for (let round = 0; round < 400; round++) {
      const packets = Array.from({ length: 30 }, () =>
        packetOf(random, random.pick([0, 1, 5, 126, 127, 128, 129, 20_000])),
      );
      const stream = Buffer.concat(packets);
      const collector = new Collector();
      const cutter = new PacketCutter(collector, 1_000_000);
      collector.afterEach = () => {
        if (round % 2 === 1 && random.oneIn(4)) cutter.suspended = true;
      };
      const largest = random.pick([1, 3, 50, 30_000]);
      const chunk = Buffer.alloc(largest + 6);
      for (let at = 0; at < stream.length; ) {
        const end = Math.min(stream.length, at + 1 + random.below(largest));
        // One buffer of the transport serves every chunk.
        stream.copy(chunk, 3, at, end);
        cutter.push(chunk, 3, 3 + end - at);
        chunk.fill(0xff);
        while (cutter.suspended && random.oneIn(2)) cutter.resume();
        at = end;
      }
      while (cutter.suspended) cutter.resume();
      assert.deepEqual(
        collector.packets,
        packets.map((packet) => packet.toString('hex')),
        `round ${round}`,
      );
    }
  });

  it('hands over nothing more once its handler is done', () => {
    const random = new Random(1);
    const packets = Array.from({ length: 4 }, () => packetOf(random, 10));
    const stream = Buffer.concat(packets);
    for (const first of [stream.length, 5, 30]) {
      const collector = new Collector();
      const cutter = new PacketCutter(collector, 1000);
      collector.afterEach = () => {
        collector.done = collector.packets.length === 2;
      };
      cutter.push(stream, 0, first);
      cutter.push(stream, first, stream.length);
      assert.equal(collector.packets.length, 2);
    }
  });

  it('says that a packet is too large as soon as its header is there, wherever the pieces end', () => {
    for (const cut of [1, 2, 3, 4]) {
      const collector = new Collector();
      const cutter = new PacketCutter(collector, 1000);
      const header = Buffer.from([0x30, 0xe6, 0x07, 0x00]); // 998 and 3
      assert.throws(() => {
        cutter.push(header, 0, cut);
        cutter.push(header, cut, header.length);
      }, /too large/);
      assert.equal(collector.tooLarge, 1);
      new PacketCutter(new Collector(), 1001).push(header, 0, header.length);
    }
  });

  it('refuses a Remaining Length of five bytes, and one that is not the shortest', () => {
    for (const bytes of [
      [0x30, 0xff, 0xff, 0xff, 0xff],
      [0x30, 0x80, 0x00],
    ])
      for (let cut = 0; cut < bytes.length; cut++) {
        const cutter = new PacketCutter(new Collector(), 1e9);
        assert.throws(
          () => {
            cutter.push(Buffer.from(bytes), 0, cut);
            cutter.push(Buffer.from(bytes), cut, bytes.length);
          },
          { requirement: 'MQTT-1.5.5-1' },
        );
      }
  });

  it('hands over a packet whose Remaining Length is padded as if it were not, where that is allowed', () => {
    const stream = Buffer.from('c08000 3083808000616263 30026465 c0808000 c000'.replaceAll(' ', ''), 'hex');
    for (let cut = 0; cut < stream.length; cut++)
      for (const pauses of [false, true]) {
        const collector = new Collector();
        collector.padding = true;
        const cutter = new PacketCutter(collector, 1000);
        collector.afterEach = () => {
          cutter.suspended = pauses;
        };
        for (const [start, end] of [
          [0, cut],
          [cut, stream.length],
        ] as const) {
          cutter.push(stream, start, end);
          while (cutter.suspended) cutter.resume();
        }
        assert.deepEqual(collector.packets, ['c000', '3003616263', '30026465', 'c000', 'c000'], `cut at ${cut}`);
      }
  });

  it('holds what has come, not what is announced, and nothing between packets', () => {
    const collector = new Collector();
    const cutter = new PacketCutter(collector, 268_435_460);
    const held = () => (cutter as unknown as { held: Buffer | undefined }).held?.length ?? 0;
    cutter.push(Buffer.from([0x30, 0x80, 0x80, 0x80, 0x20]), 0, 5); // 64 MiB
    assert.ok(held() < 1000, String(held()));
    const piece = Buffer.alloc(50_000);
    for (let count = 0; count < 20; count++) cutter.push(piece, 0, piece.length);
    assert.ok(held() >= 1_000_000 && held() <= 2_100_000, String(held()));
    cutter.discard();
    const whole = packetOf(new Random(1), 100);
    for (const cut of [1, 2, 50, whole.length]) {
      cutter.push(whole, 0, cut);
      cutter.push(whole, cut, whole.length);
      assert.equal(held(), 0);
    }
    assert.equal(collector.packets.length, 4);
  });
});
