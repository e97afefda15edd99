/**
 * What can still be read of damaged files: of a table every whole block, of a log every whole frame up to the first place
 * where none follows. Works on all copies of a file at once: they are alike byte for byte, so what is damaged in one may be
 * whole in another at the same offset.
 *
 * Reads the formats of table.ts and log-segment.ts without trusting what stands around a block or frame.
 */
import { crc32 } from 'node:zlib';
import type { Entry } from './entry.js';
import type { FileLayer, OpenFile } from './files.js';
import { FRAME_HEAD_BYTES, SEGMENT_HEAD_BYTES, segmentHead } from './log-segment.js';

// ---- tables ----

const TABLE_HEAD_BYTES = 16;
const TABLE_FOOTER_BYTES = TABLE_HEAD_BYTES + 36;
const BLOCK_HEAD_BYTES = 8;
/** Where nothing tells where the next block begins, larger ones are not looked for. */
const SEARCHED_BLOCK_BYTES_MAX = 67_108_864;

/** A block that is whole in at least one copy. */
export interface Block {
  /** Index of that copy. */
  readonly copy: number;
  readonly offset: number;
  readonly end: number;
  readonly entries: number;
  readonly firstKey: string;
  readonly lastKey: string;
}

/** A part of a table in which nothing can be read in any copy; of no length where a table that is cut off ends. */
export interface Gap {
  readonly offset: number;
  readonly end: number;
  /** The last key that can be read before it, and the first one after it; undefined at the ends of the table. */
  readonly after: string | undefined;
  readonly before: string | undefined;
}

export interface TableSurvey {
  readonly blocks: readonly Block[];
  readonly gaps: readonly Gap[];
  /** Entries that stood in the gaps; undefined when the footer, which counts them all, is gone too. */
  readonly entriesLost: number | undefined;
}

/** Looks at all copies of a table. */
export function surveyTable(copies: readonly OpenFile[]): TableSurvey {
  const footer = copies.map(readFooter).find((each) => each !== undefined);
  const marks = footer === undefined ? undefined : indexOffsets(copies, footer.indexOffset);
  const size = Math.max(0, ...copies.map((file) => file.size));
  const blocksEnd = footer?.indexOffset ?? size;
  const blocks: Block[] = [];
  const gaps: { offset: number; end: number; after: string | undefined; next: number }[] = [];
  let at = TABLE_HEAD_BYTES;
  let endSeen = footer !== undefined;
  while (at < blocksEnd) {
    const found = blockAt(copies, at, blocksEnd, blocks.at(-1)?.lastKey);
    if (found === 'index') {
      endSeen = true;
      break;
    }
    if (found !== undefined) {
      blocks.push(found);
      at = found.end;
      continue;
    }
    const next = marks?.find((mark) => mark > at) ?? search(copies, at + 1, blocksEnd, blocks.at(-1)?.lastKey);
    gaps.push({ offset: at, end: next, after: blocks.at(-1)?.lastKey, next: blocks.length });
    at = next;
  }
  // Cut off, perhaps just where a block ends.
  if (!endSeen)
    gaps.push({ offset: Math.min(at, size), end: size, after: blocks.at(-1)?.lastKey, next: blocks.length });
  const joined: Gap[] = [];
  for (const { offset, end, after, next } of gaps) {
    const before = blocks[next]?.firstKey;
    const last = joined.at(-1);
    if (last?.end === offset) joined[joined.length - 1] = { ...last, end, before };
    else joined.push({ offset, end, after, before });
  }
  const read = blocks.reduce((sum, block) => sum + block.entries, 0);
  return { blocks, gaps: joined, entriesLost: footer && footer.entries - read };
}

/** The entries of the blocks of a survey, in order. */
export function* entriesOf(copies: readonly OpenFile[], survey: TableSurvey): Generator<Entry> {
  for (const { copy, offset } of survey.blocks) {
    const payload = payloadAt(copies[copy]!, offset);
    yield* (payload && decodeBlock(payload)) ?? [];
  }
}

function readFooter(file: OpenFile): { indexOffset: number; entries: number } | undefined {
  const offset = file.size - TABLE_FOOTER_BYTES;
  if (offset < TABLE_HEAD_BYTES) return undefined;
  const footer = Buffer.alloc(TABLE_FOOTER_BYTES);
  file.read(footer, 0, footer.length, offset);
  if (crc32(footer.subarray(0, -4), offset >>> 0) !== footer.readUInt32LE(TABLE_FOOTER_BYTES - 4)) return undefined;
  return {
    indexOffset: Number(footer.readBigUInt64LE(TABLE_HEAD_BYTES)),
    entries: Number(footer.readBigUInt64LE(TABLE_HEAD_BYTES + 16)),
  };
}

/** Where blocks begin, and where the last one ends, as the index of one of the copies says. */
function indexOffsets(copies: readonly OpenFile[], indexOffset: number): number[] | undefined {
  for (const file of copies) {
    const payload = payloadAt(file, indexOffset);
    const entries = payload && decodeBlock(payload);
    if (entries !== undefined && isIndex(entries, indexOffset))
      return entries.map(({ value }) => Number(value!.readBigUInt64LE()));
  }
  return undefined;
}

/** An index leads from the first block to itself. */
function isIndex(entries: readonly Entry[], offset: number): boolean {
  return (
    entries.length > 0 &&
    entries.every(({ value }) => value?.length === 8) &&
    Number(entries[0]!.value!.readBigUInt64LE()) === TABLE_HEAD_BYTES &&
    Number(entries.at(-1)!.value!.readBigUInt64LE()) === offset
  );
}

function blockAt(
  copies: readonly OpenFile[],
  offset: number,
  blocksEnd: number,
  previous: string | undefined,
): Block | 'index' | undefined {
  for (const [copy, file] of copies.entries()) {
    const payload = payloadAt(file, offset);
    const entries = payload && decodeBlock(payload);
    if (entries === undefined || entries.length === 0) continue;
    if (isIndex(entries, offset)) return 'index';
    const end = offset + BLOCK_HEAD_BYTES + payload!.length;
    const firstKey = entries[0]!.key;
    if (end > blocksEnd || (previous !== undefined && firstKey <= previous)) continue;
    return { copy, offset, end, entries: entries.length, firstKey, lastKey: entries.at(-1)!.key };
  }
  return undefined;
}

/** The payload of a whole frame; undefined when there is none at `offset`. */
function payloadAt(file: OpenFile, offset: number, bytesMax = Number.POSITIVE_INFINITY): Buffer | undefined {
  const head = Buffer.alloc(BLOCK_HEAD_BYTES);
  if (offset + head.length > file.size || file.read(head, 0, head.length, offset) < head.length) return undefined;
  const length = head.readUInt32LE(4);
  if (length > file.size - offset - BLOCK_HEAD_BYTES || length > bytesMax) return undefined;
  const payload = Buffer.allocUnsafeSlow(length);
  if (file.read(payload, 0, length, offset + BLOCK_HEAD_BYTES) < length) return undefined;
  const checksum = crc32(payload, crc32(head.subarray(4), offset >>> 0));
  return checksum === head.readUInt32LE(0) ? payload : undefined;
}

/** The next offset at which a block is whole in some copy; `blocksEnd` when there is none. */
function search(copies: readonly OpenFile[], from: number, blocksEnd: number, previous: string | undefined): number {
  const window = Buffer.alloc(65_536);
  let best = blocksEnd;
  for (const file of copies) {
    for (let start = from; start < Math.min(best, file.size); start += window.length - 16) {
      const length = file.read(window, 0, window.length, start);
      for (let index = 0; index + 12 <= length && index < window.length - 16 && start + index < best; index++) {
        // The first entry of a block shares nothing with a key before it.
        if (window[index + BLOCK_HEAD_BYTES] !== 0) continue;
        const offset = start + index;
        const bytes = window.readUInt32LE(index + 4);
        if (bytes < 3 || bytes > SEARCHED_BLOCK_BYTES_MAX || bytes > file.size - offset) continue;
        if (payloadAt(file, offset, SEARCHED_BLOCK_BYTES_MAX) === undefined) continue;
        if (blockAt([file], offset, blocksEnd, previous) !== undefined) best = offset;
      }
      if (length < window.length) break;
    }
  }
  return best;
}

/** The entries of a block; undefined when it is not one. */
function decodeBlock(payload: Buffer): Entry[] | undefined {
  const entries: Entry[] = [];
  let at = 0;
  let key = '';
  const number = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = payload[at++];
      if (byte === undefined || scale > 2 ** 35) return Number.POSITIVE_INFINITY;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < payload.length) {
    const shared = number();
    const rest = number();
    const value = number();
    const keyEnd = at + rest;
    const end = keyEnd + Math.max(0, value - 1);
    if (shared > key.length || !(end <= payload.length)) return undefined;
    const next = key.slice(0, shared) + payload.toString('latin1', at, keyEnd);
    if (entries.length > 0 && next <= key) return undefined;
    key = next;
    entries.push({ key, value: value === 0 ? undefined : payload.subarray(keyEnd, end) });
    at = end;
  }
  return entries;
}

// ---- log segments ----

/** Whole frames one after the other, each from any copy that has it. */
export interface LogPart {
  readonly copy: number;
  readonly start: number;
  readonly end: number;
}

export interface LogSurvey {
  /** -1 when the head is whole in no copy. */
  readonly firstSequence: number;
  /** Whether every copy has another head: what cannot be read was damaged, not torn by a crash. */
  readonly headWrong: boolean;
  readonly lastSequence: number;
  /** Up to here frames are whole in one copy or another. */
  readonly validBytes: number;
  /** Of the longest copy. */
  readonly bytes: number;
  readonly parts: readonly LogPart[];
}

/**
 * Looks at all copies of a log segment. `expected` is the sequence that its head must have, where that is known; otherwise that
 * head counts which most frames follow: heads have no checksum.
 */
export function surveyLog(copies: readonly OpenFile[], expected?: number): LogSurvey {
  const bytes = Math.max(0, ...copies.map((file) => file.size));
  const known = expected !== undefined && bytes >= SEGMENT_HEAD_BYTES;
  const found = copies.map(headSequence).filter((head) => head >= 0);
  const heads = known ? [expected] : found;
  const headWrong = expected === undefined ? found.length === 0 : !found.includes(expected);
  let best: LogSurvey = { firstSequence: -1, headWrong, lastSequence: -1, validBytes: 0, bytes, parts: [] };
  for (const head of new Set(heads)) {
    const survey = surveyFrames(copies, head, bytes);
    if (survey.validBytes > best.validBytes) best = { ...survey, headWrong };
  }
  return best;
}

function surveyFrames(copies: readonly OpenFile[], firstSequence: number, bytes: number): Omit<LogSurvey, 'headWrong'> {
  const parts: { copy: number; start: number; end: number }[] = [];
  let at = SEGMENT_HEAD_BYTES;
  let lastSequence = firstSequence;
  for (;;) {
    const current = parts.at(-1);
    const order = [...copies.keys()].sort((a, b) => Number(b === current?.copy) - Number(a === current?.copy));
    let frame: { end: number; sequence: number } | undefined;
    const copy = order.find((each) => {
      frame = frameAt(copies[each]!, at, lastSequence);
      return frame !== undefined;
    });
    if (copy === undefined || frame === undefined) break;
    if (current?.copy === copy) current.end = frame.end;
    else parts.push({ copy, start: at, end: frame.end });
    at = frame.end;
    lastSequence = frame.sequence;
  }
  return { firstSequence, lastSequence, validBytes: at, bytes, parts };
}

/** Whether something is missing of a first segment that was on the disk for certain, and not only the end that a crash tears. */
export function isBaseLost({ firstSequence, headWrong, validBytes, bytes }: LogSurvey, baseBytes: number): boolean {
  return firstSequence < 0 || (headWrong && validBytes !== bytes) || validBytes < baseBytes;
}

/** Writes what was found whole to a new segment at `path`, and syncs it. */
export function writeSurveyed(files: FileLayer, copies: readonly OpenFile[], survey: LogSurvey, path: string): void {
  const file = files.create(path);
  try {
    file.append(segmentHead(survey.firstSequence));
    const buffer = Buffer.allocUnsafe(1_048_576);
    for (const { copy, start, end } of survey.parts)
      for (let at = start; at < end; ) {
        const length = copies[copy]!.read(buffer, 0, Math.min(buffer.length, end - at), at);
        if (length === 0) throw new Error(`${path} cannot be written: a copy of it became shorter while it was read`);
        file.append(buffer.subarray(0, length));
        at += length;
      }
    file.syncNow();
  } finally {
    file.close();
  }
}

function headSequence(file: OpenFile): number {
  const head = Buffer.alloc(SEGMENT_HEAD_BYTES);
  if (file.read(head, 0, head.length, 0) < head.length) return -1;
  const sequence = head.readUIntLE(8, 6);
  return head.equals(segmentHead(sequence)) ? sequence : -1;
}

function frameAt(file: OpenFile, offset: number, lastSequence: number): { end: number; sequence: number } | undefined {
  const head = Buffer.alloc(FRAME_HEAD_BYTES);
  if (offset + head.length > file.size || file.read(head, 0, head.length, offset) < head.length) return undefined;
  const length = head.readUInt32LE(0);
  const sequence = head.readUIntLE(8, 6);
  const end = offset + FRAME_HEAD_BYTES + length;
  if (end > file.size || sequence < lastSequence) return undefined;
  const operations = Buffer.allocUnsafeSlow(length);
  if (file.read(operations, 0, length, offset + FRAME_HEAD_BYTES) < length) return undefined;
  if (crc32(operations, crc32(head.subarray(8))) !== head.readUInt32LE(4)) return undefined;
  return { end, sequence };
}
