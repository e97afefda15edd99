/**
 * The format of a log segment: what happened since the tables, frame by frame, one frame for each turn of the event loop.
 *
 *   "DUNLOG01" | first sequence u48 | frame | frame | …
 *   frame:  length u32 | crc32 u32 | sequence u48 | synced u48 | operations (length bytes)    crc over all after it
 *   operation:  kind u8 | key length varint | key | value length varint | value    a removal ends after its key
 *
 * A frame counts as a whole or not at all. `sequence` is that of its last operation, and rises from frame to frame; `synced`
 * is what was known to be on the disk when it was written: where a frame is missing that a later one knows to have been
 * synced, the disk has lost it; other gaps are what a power cut leaves.
 */
import { crc32 } from 'node:zlib';
import type { OpenFile } from './files.js';

const SEGMENT_MAGIC = Buffer.from('DUNLOG01', 'latin1');
export const SEGMENT_HEAD_BYTES = 14;
export const FRAME_HEAD_BYTES = 20;

export const OperationKind = { Put: 1, PutFresh: 2, Remove: 3 } as const;
export type OperationKind = (typeof OperationKind)[keyof typeof OperationKind];

/** What a reader is told of each operation, in order. `value[start..end)` is empty for a removal. */
export type OperationSink = (kind: OperationKind, key: string, value: Buffer, start: number, end: number) => void;

export interface SegmentReading {
  /** Sequence that its first operation follows; -1 when the head is not whole. */
  readonly firstSequence: number;
  /** The highest sequence that its whole frames know to have been synced. */
  readonly synced: number;
  /** Bytes of the segment that are whole frames; what follows is torn or damaged. */
  readonly validBytes: number;
  readonly bytes: number;
  /** Sequence of the last whole frame; -1 when there is none. */
  readonly lastSequence: number;
  /** Where whole frames begin again after a damaged place, and what they hold; undefined when nothing follows. */
  readonly beyond: FramesBeyond | undefined;
}

export interface FramesBeyond {
  readonly offset: number;
  readonly frames: number;
  /** The highest sequence that one of them knows to have been synced. */
  readonly synced: number;
}

/** The head of a segment whose first operation follows `sequence`. */
export function segmentHead(sequence: number): Buffer {
  const head = Buffer.alloc(SEGMENT_HEAD_BYTES);
  SEGMENT_MAGIC.copy(head);
  head.writeUIntLE(sequence, 8, 6);
  return head;
}

/** Fills in the head of the frame whose operations stand at `start + FRAME_HEAD_BYTES` to `end`. */
export function sealFrame(chunk: Buffer, start: number, end: number, sequence: number, synced: number): void {
  chunk.writeUInt32LE(end - start - FRAME_HEAD_BYTES, start);
  chunk.writeUIntLE(sequence, start + 8, 6);
  chunk.writeUIntLE(synced, start + 14, 6);
  chunk.writeUInt32LE(crc32(chunk.subarray(start + 8, end)), start + 4);
}

/**
 * Reads a segment and hands its operations to `sink`, frame by frame, only of whole frames. The buffers handed out are not
 * reused: they may be kept. With `headOnly` only `firstSequence` is looked at.
 */
export function readSegment(file: OpenFile, sink: OperationSink, headOnly = false): SegmentReading {
  const bytes = file.size;
  const head = Buffer.alloc(SEGMENT_HEAD_BYTES);
  const headBytes = file.read(head, 0, head.length, 0);
  if (headBytes < head.length || !head.subarray(0, SEGMENT_MAGIC.length).equals(SEGMENT_MAGIC))
    return { firstSequence: -1, synced: 0, validBytes: 0, bytes, lastSequence: -1, beyond: findFrame(file, 0, -1) };
  const firstSequence = head.readUIntLE(8, 6);
  let at = SEGMENT_HEAD_BYTES;
  let lastSequence = firstSequence;
  let synced = 0;
  if (headOnly) return { firstSequence, synced, validBytes: at, bytes, lastSequence, beyond: undefined };
  const window = new Window(file);
  for (;;) {
    const frame = window.frameAt(at, lastSequence);
    if (frame === undefined) break;
    readOperations(frame.bytes, frame.start + FRAME_HEAD_BYTES, frame.end, sink);
    lastSequence = frame.sequence;
    synced = Math.max(synced, frame.synced);
    at += frame.end - frame.start;
  }
  const beyond = at === bytes ? undefined : findFrame(file, at + 1, lastSequence);
  return { firstSequence, synced, validBytes: at, bytes, lastSequence, beyond };
}

interface Frame {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  readonly sequence: number;
  readonly synced: number;
}

/** Sequences do not jump further from one frame to the next. */
const SEQUENCE_STEP_MAX = 2 ** 32;
const WINDOW_BYTES = 1_048_576;

/** The part of a file that is being read. */
class Window {
  private bytes = Buffer.alloc(0);
  private from = 0;

  constructor(private readonly file: OpenFile) {}

  /** The whole frame at `offset`; undefined when there is none, or when it is not later than what came before. */
  frameAt(offset: number, lastSequence: number): Frame | undefined {
    if (!this.has(offset, FRAME_HEAD_BYTES)) return undefined;
    const length = this.bytes.readUInt32LE(offset - this.from);
    const sequence = this.bytes.readUIntLE(offset - this.from + 8, 6);
    if (sequence < lastSequence || (lastSequence >= 0 && sequence - lastSequence > SEQUENCE_STEP_MAX)) return undefined;
    if (!this.has(offset, FRAME_HEAD_BYTES + length)) return undefined;
    const start = offset - this.from;
    const end = start + FRAME_HEAD_BYTES + length;
    if (crc32(this.bytes.subarray(start + 8, end)) !== this.bytes.readUInt32LE(start + 4)) return undefined;
    return { bytes: this.bytes, start, end, sequence, synced: this.bytes.readUIntLE(start + 14, 6) };
  }

  private has(offset: number, length: number): boolean {
    if (offset >= this.from && offset + length <= this.from + this.bytes.length) return true;
    if (offset + length > this.file.size) return false;
    // A new buffer each time: values that were handed out point into the former.
    this.bytes = Buffer.allocUnsafeSlow(Math.min(Math.max(length, WINDOW_BYTES), this.file.size - offset));
    this.from = offset;
    return this.file.read(this.bytes, 0, this.bytes.length, offset) >= length;
  }
}

/** Hands the operations of a frame, which stand from `start` to `end`, to `sink`. */
export function readOperations(bytes: Buffer, start: number, end: number, sink: OperationSink): void {
  let at = start;
  const varint = (): number => {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = bytes[at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
  };
  while (at < end) {
    const kind = bytes[at++] as OperationKind;
    const keyEnd = varint() + at;
    const key = bytes.toString('latin1', at, keyEnd);
    at = keyEnd;
    const valueEnd = kind === OperationKind.Remove ? at : varint() + at;
    sink(kind, key, bytes, at, valueEnd);
    at = valueEnd;
  }
}

/** Looks for whole frames after a damaged place, and after those that may come behind it. */
function findFrame(file: OpenFile, from: number, lastSequence: number): FramesBeyond | undefined {
  const window = new Window(file);
  let first: number | undefined;
  let frames = 0;
  let synced = 0;
  let last = lastSequence;
  for (let at = from; at + FRAME_HEAD_BYTES <= file.size; ) {
    const frame = window.frameAt(at, last);
    if (frame === undefined) {
      at++;
      continue;
    }
    first ??= at;
    frames++;
    synced = Math.max(synced, frame.synced);
    last = frame.sequence;
    at += frame.end - frame.start;
  }
  return first === undefined ? undefined : { offset: first, frames, synced };
}

/** Bytes that `value` takes as a varint. */
export function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}

/** Writes a varint and returns the position after it. */
export function writeVarint(into: Buffer, at: number, value: number): number {
  let position = at;
  let rest = value;
  while (rest >= 128) {
    into[position++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  into[position++] = rest;
  return position;
}
