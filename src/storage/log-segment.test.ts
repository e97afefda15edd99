/** Every frame comes back as it was written; a damaged one and all after it do not, and what follows is told. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SimulatedFiles } from '../../test/support/simulated-files.js';
import {
  FRAME_HEAD_BYTES,
  OperationKind,
  readSegment,
  SEGMENT_HEAD_BYTES,
  sealFrame,
  segmentHead,
  varintBytes,
  writeVarint,
} from './log-segment.js';

type Operation = readonly [kind: number, key: string, value: string];

function frame(operations: readonly Operation[], sequence: number, synced = 0): Buffer {
  const parts: Buffer[] = [Buffer.alloc(FRAME_HEAD_BYTES)];
  const varint = (value: number) => {
    const bytes = Buffer.alloc(varintBytes(value));
    assert.equal(writeVarint(bytes, 0, value), bytes.length);
    return bytes;
  };
  for (const [kind, key, value] of operations) {
    parts.push(Buffer.from([kind]), varint(key.length), Buffer.from(key, 'latin1'));
    if (kind !== OperationKind.Remove) parts.push(varint(value.length), Buffer.from(value, 'latin1'));
  }
  const whole = Buffer.concat(parts);
  sealFrame(whole, 0, whole.length, sequence, synced);
  return whole;
}

function segmentOf(...parts: readonly Buffer[]) {
  const files = new SimulatedFiles();
  files.write('log', Buffer.concat(parts));
  const read: Operation[] = [];
  const reading = readSegment(files.open('log'), (kind, key, value, start, end) =>
    read.push([kind, key, value.toString('latin1', start, end)]),
  );
  return { reading, read };
}

const one: Operation = [OperationKind.Put, 'k', 'v'];
const two: Operation = [OperationKind.PutFresh, '\0\xff', ''];
const three: Operation = [OperationKind.Remove, 'k', ''];
const large: Operation = [OperationKind.Put, 'x'.repeat(300), 'y'.repeat(3_000_000)];

describe('a log segment', () => {
  it('gives back what was written, of any size', () => {
    const parts = [segmentHead(41), frame([one, two], 43), frame([], 43, 43), frame([large, three], 45, 43)];
    const { reading, read } = segmentOf(...parts);
    const bytes = Buffer.concat(parts).length;
    assert.deepEqual(read, [one, two, large, three]);
    assert.deepEqual(reading, {
      firstSequence: 41,
      synced: 43,
      validBytes: bytes,
      bytes,
      lastSequence: 45,
      beyond: undefined,
    });
  });

  it('ends before a frame of which any byte is wrong or missing', () => {
    const first = frame([one], 1);
    const second = frame([two, three], 3, 1);
    const start = SEGMENT_HEAD_BYTES + first.length;
    for (let at = 0; at < second.length; at++) {
      const spoilt = Buffer.from(second);
      spoilt[at]! ^= 0x40;
      const { reading, read } = segmentOf(segmentHead(0), first, spoilt);
      assert.deepEqual(
        [read, reading.validBytes, reading.lastSequence, reading.beyond],
        [[one], start, 1, undefined],
        `byte ${at}`,
      );
      const torn = segmentOf(segmentHead(0), first, second.subarray(0, at));
      assert.deepEqual([torn.read, torn.reading.validBytes], [[one], start]);
    }
  });

  it('tells of whole frames behind a damaged place, and what they knew to be on the disk', () => {
    const spoilt = frame([two], 2);
    spoilt[FRAME_HEAD_BYTES]! ^= 1;
    const { reading, read } = segmentOf(
      segmentHead(0),
      frame([one], 1),
      spoilt,
      frame([three], 3, 2),
      frame([one], 4, 3),
    );
    const offset = SEGMENT_HEAD_BYTES + frame([one], 1).length + spoilt.length;
    assert.deepEqual(read, [one]);
    assert.deepEqual(reading.beyond, { offset, frames: 2, synced: 3 });
  });

  it('takes no frame that is older than the one before it', () => {
    const { reading, read } = segmentOf(segmentHead(10), frame([one], 11), frame([two], 9));
    assert.deepEqual([read, reading.lastSequence, reading.beyond], [[one], 11, undefined]);
  });

  it('says when its head is not whole', () => {
    for (const parts of [[], [segmentHead(0).subarray(0, 9)], [Buffer.from('DUNLOG99'), Buffer.alloc(6)]]) {
      const { reading, read } = segmentOf(...parts);
      assert.deepEqual([reading.firstSequence, reading.validBytes, reading.lastSequence, read], [-1, 0, -1, []]);
    }
    const behind = segmentOf(Buffer.alloc(SEGMENT_HEAD_BYTES), frame([one], 5, 4)).reading.beyond;
    assert.deepEqual(behind, { offset: SEGMENT_HEAD_BYTES, frames: 1, synced: 4 });
  });

  it('has varints as long as they say', () => {
    for (const value of [0, 127, 128, 16_383, 16_384, 2 ** 31, 2 ** 40]) {
      const bytes = Buffer.alloc(10);
      assert.equal(writeVarint(bytes, 0, value), varintBytes(value));
    }
  });
});
