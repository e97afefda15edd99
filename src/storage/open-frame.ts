/**
 * The frame that a turn's operations are written into, and the buffers that frames stand in. Values are read from there as long
 * as somebody holds them, so a buffer is never used twice: a frame begins where the one before ended, or in a new buffer.
 */
import { FRAME_HEAD_BYTES, OperationKind, sealFrame, varintBytes, writeVarint } from './log-segment.js';
import { FreshSlot } from './memtable.js';

const BUFFER_BYTES = 262_144;
/** A buffer with less left is not used for another frame. */
const REST_BYTES = 4096;
/** Kind and two lengths of an operation, at most. */
const OPERATION_HEAD_BYTES = 11;

export class OpenFrame {
  /** What the last operation was written into. */
  buffer: Buffer = Buffer.alloc(0);
  private start = 0;
  /** Where the next operation goes; 0 while there is none. */
  private used = 0;

  /**
   * @param onFirst is called before the first operation of a frame.
   * @param scattered nobody wants the frames: each operation stands in a buffer of its own, so that a value holds no other.
   */
  constructor(
    private readonly onFirst: () => void,
    private readonly scattered = false,
  ) {}

  get empty(): boolean {
    return this.used === 0;
  }

  /** Bytes so far, 0 while it is empty. */
  get length(): number {
    return this.empty ? 0 : this.used - this.start;
  }

  /** Returns where in `buffer` the value of `length` bytes is to be filled in. */
  put(key: string, length: number, fresh: boolean): number {
    let at = this.begin(OPERATION_HEAD_BYTES + key.length + varintBytes(length) + length);
    const { buffer } = this;
    buffer[at++] = fresh ? OperationKind.PutFresh : OperationKind.Put;
    at = writeVarint(buffer, at, key.length);
    at += buffer.write(key, at, 'latin1');
    at = writeVarint(buffer, at, length);
    this.used = at + length;
    return at;
  }

  /** The slot's key and value are to be filled in. */
  putFresh(keyLength: number, length: number): FreshSlot {
    let at = this.begin(OPERATION_HEAD_BYTES + keyLength + varintBytes(length) + length);
    const { buffer } = this;
    buffer[at++] = OperationKind.PutFresh;
    const keyStart = writeVarint(buffer, at, keyLength);
    at = writeVarint(buffer, keyStart + keyLength, length);
    this.used = at + length;
    return new FreshSlot(buffer, keyStart, keyStart + keyLength, at, at + length);
  }

  remove(key: string): void {
    let at = this.begin(OPERATION_HEAD_BYTES + key.length);
    const { buffer } = this;
    buffer[at++] = OperationKind.Remove;
    at = writeVarint(buffer, at, key.length);
    this.used = at + buffer.write(key, at, 'latin1');
  }

  /** Removes the key that stands in `source` from `from` to `to`. */
  removeBytes(source: Buffer, from: number, to: number): void {
    let at = this.begin(OPERATION_HEAD_BYTES + to - from);
    const { buffer } = this;
    buffer[at++] = OperationKind.Remove;
    at = writeVarint(buffer, at, to - from);
    for (let each = from; each < to; each++) buffer[at++] = source[each]!;
    this.used = at;
  }

  /** The sealed frame; the next operation begins another. */
  end(sequence: number, synced: number): Buffer {
    const { buffer, start, used } = this;
    sealFrame(buffer, start, used, sequence, synced);
    this.discard();
    return buffer.subarray(start, used);
  }

  /** As `end`, where nobody wants the frame. */
  discard(): void {
    this.start = this.used;
    this.used = 0;
  }

  /** Makes room for an operation of at most `bytes`. */
  private begin(bytes: number): number {
    if (this.used === 0) this.onFirst();
    if (this.scattered) {
      this.buffer = Buffer.allocUnsafeSlow(bytes);
      this.start = 0;
      return 0;
    }
    if (this.used === 0) {
      this.used = this.start + FRAME_HEAD_BYTES;
      if (this.used + bytes + REST_BYTES > this.buffer.length) {
        this.buffer = Buffer.allocUnsafeSlow(Math.max(BUFFER_BYTES, FRAME_HEAD_BYTES + bytes + REST_BYTES));
        this.start = 0;
        this.used = FRAME_HEAD_BYTES;
      }
    } else if (this.used + bytes > this.buffer.length) {
      const length = this.used - this.start;
      const larger = Buffer.allocUnsafeSlow(Math.max(BUFFER_BYTES, 2 * (length + bytes)));
      this.buffer.copy(larger, 0, this.start, this.used); // the former buffer stays with those who have its values
      this.buffer = larger;
      this.start = 0;
      this.used = length;
    }
    return this.used;
  }
}
