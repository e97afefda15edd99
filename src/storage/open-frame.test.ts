import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { dumpFrames } from './dump-frames.js';
import { FRAME_HEAD_BYTES, OperationKind, readOperations } from './log-segment.js';
import { MemTable } from './memtable.js';
import { OpenFrame } from './open-frame.js';

type Operation = [kind: number, key: string, value: string];

function operationsOf(frame: Buffer): Operation[] {
  const found: Operation[] = [];
  readOperations(frame, FRAME_HEAD_BYTES, frame.length, (kind, key, value, start, end) => {
    found.push([kind, key, value.toString('latin1', start, end)]);
  });
  return found;
}

function put(frame: OpenFrame, key: string, value: string, fresh = false): void {
  const at = frame.put(key, value.length, fresh);
  frame.buffer.write(value, at, 'latin1');
}

describe('an open frame', () => {
  it('holds what was done, in order', () => {
    const frame = new OpenFrame(() => {});
    put(frame, 'a', 'one');
    const slot = frame.putFresh(2, 3);
    slot.buffer!.write('ke', slot.keyStart, 'latin1');
    slot.buffer!.write('two', slot.start, 'latin1');
    frame.remove('a');
    frame.removeBytes(slot.buffer!, slot.keyStart, slot.keyEnd);
    assert.deepEqual(operationsOf(frame.end(4, 0)), [
      [OperationKind.Put, 'a', 'one'],
      [OperationKind.PutFresh, 'ke', 'two'],
      [OperationKind.Remove, 'a', ''],
      [OperationKind.Remove, 'ke', ''],
    ]);
  });

  it('grows with what it holds, and leaves former frames as they are', () => {
    let begun = 0;
    const frame = new OpenFrame(() => begun++);
    const frames: Buffer[] = [];
    const expected: Operation[][] = [];
    for (const lengths of [[10, 20], [300_000], [200_000, 200_000, 5], [0]]) {
      for (const length of lengths) put(frame, `key-${length}`, 'x'.repeat(length));
      frames.push(frame.end(1, 0));
      expected.push(lengths.map((length) => [OperationKind.Put, `key-${length}`, 'x'.repeat(length)]));
    }
    assert.deepEqual(frames.map(operationsOf), expected);
    assert.equal(begun, 4);
    assert.equal(frame.empty, true);
  });

  it('that is discarded leaves its values where they are', () => {
    const frame = new OpenFrame(() => {});
    put(frame, 'a', 'kept');
    const { buffer } = frame;
    const at = buffer.indexOf('kept');
    frame.discard();
    put(frame, 'b', 'other');
    assert.equal(buffer.toString('latin1', at, at + 4), 'kept');
    assert.deepEqual(operationsOf(frame.end(2, 0)), [[OperationKind.Put, 'b', 'other']]);
  });
});

describe('frames of a memtable', () => {
  function filled(): MemTable {
    const memtable = new MemTable();
    for (const key of ['a', 'm', 's1', 's2', 'z']) {
      const value = Buffer.alloc(40_000, key[0]);
      memtable.put(key, value, 0, value.length, key === 'm');
    }
    memtable.put('gone', Buffer.from('x'), 0, 1, false);
    memtable.remove('gone');
    return memtable;
  }
  const keys = (frames: Iterable<Buffer>) => [...frames].map((frame) => operationsOf(frame).map(([, key]) => key));

  it('hold its entries and removals, summaries last, in several frames', () => {
    assert.deepEqual(keys(dumpFrames(filled(), 9, false, 's')), [['a', 'gone', 'm'], ['z', 's1'], ['s2']]);
    assert.deepEqual(keys(dumpFrames(filled(), 9, false, undefined)), [['a', 'gone', 'm'], ['s1', 's2'], ['z']]);
  });

  it('leave removals out where nothing older is hidden by them', () => {
    const operations = [...dumpFrames(filled(), 9, true, undefined)].flatMap(operationsOf);
    assert.deepEqual(
      operations.map(([kind, key]) => [kind, key]),
      [
        [OperationKind.Put, 'a'],
        [OperationKind.PutFresh, 'm'],
        [OperationKind.Put, 's1'],
        [OperationKind.Put, 's2'],
        [OperationKind.Put, 'z'],
      ],
    );
    assert.ok(operations.every(([, key, value]) => value === key[0]!.repeat(40_000)));
  });
});
