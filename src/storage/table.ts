/**
 * Sorted, immutable table files: written once from ascending entries, then read by key and by range.
 *
 *   head │ block │ block │ … │ index │ filter │ footer
 *
 *   head     "dunlin table", version u32
 *   frame    crc32 u32 │ length u32 │ payload (length bytes)                    blocks, index and filter are frames
 *   block    entry │ entry │ …                                                  keys ascend; see below
 *   index    as a block: for each block, a key above all keys before it and not above its first → its offset u64;
 *            then the last key of the table → the offset where the blocks end
 *   filter   the Bloom filter of all keys (bloom-filter.ts)
 *   footer   the head again │ index offset u64 │ filter offset u64 │ entries u64 │ tombstones u64 │ crc32 u32
 *
 *   entry    shared │ rest │ value length + 1, 0 for a tombstone │ key bytes (rest) │ value          varints of 7 bits
 *            the key is the first `shared` bytes of the key before it in the block, then the `rest` bytes that follow
 *
 * Numbers are little-endian. A crc32 covers all of its frame or footer but itself, and begins from the offset in the file
 * (low 32 bits), so that a frame in the wrong place is damage too. A block is closed when it has 16 KiB beside its longest
 * key; an entry with a value of that size or more stands in a block of its own, which reading its neighbours never touches.
 */
import { crc32 } from 'node:zlib';
import { copyBytes, Fault, quoted } from '../base/index.js';
import { BloomFilter, BloomFilterBuilder, keyHash } from './bloom-filter.js';
import type { Entry } from './entry.js';
import type { FileLayer, OpenFile } from './files.js';

const VERSION = 1;
const HEAD = Buffer.from('dunlin table\0\0\0\0', 'latin1');
HEAD.writeUInt32LE(VERSION, 12);
const FOOTER_BYTES = HEAD.length + 4 * 8 + 4;
const FRAME_BYTES = 8;
const BLOCK_BYTES = 16 * 1024;
/** Of key and value together: what one read takes at a time, with room to spare. */
const ENTRY_BYTES_MAX = 2 ** 30;

export interface TableFigures {
  readonly entries: number;
  /** Those of the entries that have no value. */
  readonly tombstones: number;
  /** Of the file. */
  readonly bytes: number;
}

/** A table file that is not as it was written. */
export class TableDamage extends Fault {
  constructor(
    readonly path: string,
    /** Where in the file the damaged part begins (a block, the index, the filter, the footer or the head). */
    readonly offset: number,
    what: string,
  ) {
    super('STORAGE_DAMAGED', `${path} is damaged: ${what} (at offset ${offset})`);
  }
}

/**
 * Writes `entries` to a new file at `path`, syncs and closes it. Holds one block in memory, and for each key four bytes.
 *
 * Shape   keys ascend strictly and have code units of 0 to 255.
 * Errors  RangeError for entries of another shape or of more than 1 GiB; those of `files` and of the iterable.
 *         Then there is no file at `path`, as far as removing it succeeds.
 */
export function writeTable(files: FileLayer, path: string, entries: Iterable<Entry>): TableFigures {
  const file = files.create(path);
  try {
    const writer = new TableWriter(file);
    for (const { key, value } of entries) writer.add(key, value);
    const figures = writer.finish();
    file.syncNow();
    file.close();
    return figures;
  } catch (error) {
    discard(files, file, path);
    throw error;
  }
}

/** What is left of a failed write; a failure here would only hide the reason. */
function discard(files: FileLayer, file: OpenFile, path: string): void {
  try {
    file.close();
  } catch {}
  try {
    files.remove(path);
  } catch {}
}

class TableWriter {
  private readonly block = new BlockBuilder(2 * BLOCK_BYTES);
  private readonly index = new BlockBuilder(4096);
  private readonly filter = new BloomFilterBuilder();
  private readonly place = Buffer.alloc(8);
  private offset = HEAD.length;
  private entries = 0;
  private tombstones = 0;
  private previous = '';

  constructor(private readonly file: OpenFile) {
    file.append(HEAD);
  }

  add(key: string, value: Buffer | undefined): void {
    const shared = sharedLength(this.previous, key);
    if (this.entries > 0 && !ascends(this.previous, key, shared))
      throw new RangeError(`keys of a table ascend: ${quoted(key)} follows ${quoted(this.previous)}`);
    if (key.length + (value?.length ?? 0) > ENTRY_BYTES_MAX)
      throw new RangeError(`the entry ${quoted(key)} of ${key.length} and ${value?.length ?? 0} bytes is over 1 GiB`);
    const large = value !== undefined && value.length >= BLOCK_BYTES;
    if (large && !this.block.empty) this.writeBlock();
    if (this.block.empty) this.indexTo(this.entries === 0 ? key : key.slice(0, shared + 1));
    this.block.add(key, this.block.empty ? 0 : shared, value);
    this.filter.add(keyHash(key));
    this.previous = key;
    this.entries++;
    if (value === undefined) this.tombstones++;
    if (large || this.block.fill >= BLOCK_BYTES) this.writeBlock();
  }

  finish(): TableFigures {
    if (!this.block.empty) this.writeBlock();
    this.indexTo(this.previous);
    const footer = Buffer.alloc(FOOTER_BYTES);
    HEAD.copy(footer);
    footer.writeBigUInt64LE(BigInt(this.offset), HEAD.length);
    this.offset = this.index.write(this.file, this.offset);
    footer.writeBigUInt64LE(BigInt(this.offset), HEAD.length + 8);
    const filter = this.filter.build();
    const frame = Buffer.alloc(FRAME_BYTES);
    sealFrame(frame, filter, this.offset);
    this.file.append(frame);
    if (filter.length > 0) this.file.append(filter);
    this.offset += FRAME_BYTES + filter.length;
    footer.writeBigUInt64LE(BigInt(this.entries), HEAD.length + 16);
    footer.writeBigUInt64LE(BigInt(this.tombstones), HEAD.length + 24);
    footer.writeUInt32LE(crc32(footer.subarray(0, FOOTER_BYTES - 4), this.offset >>> 0), FOOTER_BYTES - 4);
    this.file.append(footer);
    return { entries: this.entries, tombstones: this.tombstones, bytes: this.offset + FOOTER_BYTES };
  }

  private writeBlock(): void {
    this.offset = this.block.write(this.file, this.offset);
  }

  private indexTo(key: string): void {
    this.place.writeBigUInt64LE(BigInt(this.offset));
    this.index.add(key, this.index.empty ? 0 : sharedLength(this.index.lastKey, key), this.place);
  }
}

/** Bytes at the beginning that two keys have in common. */
function sharedLength(a: string, b: string): number {
  const most = Math.min(a.length, b.length);
  let shared = 0;
  while (shared < most && a.charCodeAt(shared) === b.charCodeAt(shared)) shared++;
  return shared;
}

function ascends(previous: string, key: string, shared: number): boolean {
  if (shared === key.length) return false;
  return shared === previous.length || key.charCodeAt(shared) > previous.charCodeAt(shared);
}

/** Fills in the frame head at the beginning of `bytes`, whose payload is the rest of it and then `tail`. */
function sealFrame(bytes: Buffer, tail: Buffer | undefined, offset: number): void {
  bytes.writeUInt32LE(bytes.length - FRAME_BYTES + (tail?.length ?? 0), 4);
  let checksum = crc32(bytes.subarray(4), offset >>> 0);
  if (tail !== undefined && tail.length > 0) checksum = crc32(tail, checksum);
  bytes.writeUInt32LE(checksum, 0);
}

/** The entries of one block as they are collected; the buffer is used for one block after the other. */
class BlockBuilder {
  private bytes: Buffer;
  private length = FRAME_BYTES;
  /** Of the key bytes that stand in the block. */
  private longestKeyPart = 0;
  /** A large value is not copied: it ends its block. */
  private tail: Buffer | undefined;
  lastKey = '';

  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafeSlow(capacity);
  }

  get empty(): boolean {
    return this.length === FRAME_BYTES;
  }

  /** Without the longest part of a key, so that a long key gathers others that share its beginning. */
  get fill(): number {
    return this.length - FRAME_BYTES - this.longestKeyPart;
  }

  add(key: string, shared: number, value: Buffer | undefined): void {
    const rest = key.length - shared;
    const large = value !== undefined && value.length >= BLOCK_BYTES;
    const needed = this.length + 15 + rest + (value === undefined || large ? 0 : value.length);
    if (needed > this.bytes.length) this.grow(needed);
    if (rest > this.longestKeyPart) this.longestKeyPart = rest;
    const bytes = this.bytes;
    let at = this.putNumber(shared, this.length);
    at = this.putNumber(rest, at);
    at = this.putNumber(value === undefined ? 0 : value.length + 1, at);
    let units = 0;
    for (let index = shared; index < key.length; index++) {
      const unit = key.charCodeAt(index);
      units |= unit;
      bytes[at++] = unit;
    }
    if (units > 255) throw new RangeError(`keys have code units of 0 to 255: ${quoted(key)}`);
    if (large) this.tail = value;
    else if (value !== undefined) {
      copyBytes(value, 0, value.length, bytes, at);
      at += value.length;
    }
    this.length = at;
    this.lastKey = key;
  }

  /** Appends the frame and begins a new one; returns the offset behind it. */
  write(file: OpenFile, offset: number): number {
    const bytes = this.bytes.subarray(0, this.length);
    sealFrame(bytes, this.tail, offset);
    file.append(bytes);
    if (this.tail !== undefined) file.append(this.tail);
    const end = offset + bytes.length + (this.tail?.length ?? 0);
    this.length = FRAME_BYTES;
    this.longestKeyPart = 0;
    this.tail = undefined;
    return end;
  }

  private putNumber(number: number, at: number): number {
    let left = number;
    let to = at;
    for (; left > 127; left >>>= 7) this.bytes[to++] = (left & 127) | 128;
    this.bytes[to++] = left;
    return to;
  }

  private grow(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.bytes.length));
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
  }
}

/**
 * Blocks that were read lately, of all tables, up to a number of bytes; the one not used for longest makes room first.
 */
export class BlockCache {
  private readonly blocks = new Map<number, Buffer>();
  private held = 0;
  private tables = 0;

  constructor(readonly bytesMax: number = 4 * 1024 * 1024) {}

  /** Of the blocks held. */
  get bytes(): number {
    return this.held;
  }

  /** A number for one table, for the calls below. */
  join(): number {
    return this.tables++;
  }

  get(table: number, block: number): Buffer | undefined {
    const number = blockNumber(table, block);
    const found = this.blocks.get(number);
    if (found === undefined) return undefined;
    this.blocks.delete(number);
    this.blocks.set(number, found);
    return found;
  }

  /** Keeps a block that is not here yet. One that would take more than an eighth of the room is not kept. */
  keep(table: number, block: number, bytes: Buffer): void {
    if (bytes.length > this.bytesMax / 8) return;
    this.blocks.set(blockNumber(table, block), bytes);
    this.held += bytes.length;
    for (const [number, oldest] of this.blocks) {
      if (this.held <= this.bytesMax) break;
      this.blocks.delete(number);
      this.held -= oldest.length;
    }
  }

  /** Lets go of the blocks of a table. */
  drop(table: number): void {
    for (const [number, block] of this.blocks) {
      if (Math.floor(number / TABLE_BLOCKS_MAX) !== table) continue;
      this.blocks.delete(number);
      this.held -= block.length;
    }
  }
}

/** A table of 16 TiB; leaves 2^23 tables in the life of a process. */
const TABLE_BLOCKS_MAX = 2 ** 30;

function blockNumber(table: number, block: number): number {
  return table * TABLE_BLOCKS_MAX + block;
}

/** What `Table.open` reads: all but the blocks. */
interface TableParts {
  readonly figures: TableFigures;
  /** For each block a key above all before it and not above its first; then the table's last key. */
  readonly keys: readonly string[];
  /** Of each block, then where they end. */
  readonly offsets: readonly number[];
  readonly filter: BloomFilter;
}

/**
 * A table file, open for reading.
 *
 * Values are views of the block that holds them. Nobody changes a block once it is read, so they may be kept; a kept value
 * keeps its block (16 KiB or the large value) in memory.
 */
export class Table {
  readonly figures: TableFigures;
  /** '' when the table has no entries. */
  readonly firstKey: string;
  readonly lastKey: string;
  private readonly parts: TableParts;
  private readonly cacheNumber: number;
  private closed = false;
  /** Scans begun and not ended. */
  private scans = 0;

  private constructor(
    readonly path: string,
    private readonly file: OpenFile,
    private readonly cache: BlockCache | undefined,
  ) {
    this.parts = readParts(file, path);
    this.figures = this.parts.figures;
    this.firstKey = this.parts.keys[0]!;
    this.lastKey = this.parts.keys.at(-1)!;
    this.cacheNumber = cache?.join() ?? 0;
  }

  /**
   * Reads head, footer, index and filter, and checks them; blocks are checked when they are read.
   *
   * Errors  `TableDamage`; those of `files`, as `ENOENT`.
   */
  static open(files: FileLayer, path: string, cache?: BlockCache): Table {
    const file = files.open(path);
    try {
      return new Table(path, file, cache);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /**
   * Shape   `hash` is `keyHash(key)`, for one who asks several tables.
   * Returns an entry without value for a tombstone; undefined when the table knows nothing of the key.
   * Errors  `TableDamage` of the block that may hold it; failures of the disk.
   */
  get(key: string, hash: number = keyHash(key)): Entry | undefined {
    this.mustBeOpen();
    if (!this.parts.filter.mayHold(hash) || key < this.firstKey || key > this.lastKey) return undefined;
    const index = this.blockFor(key);
    const cursor = this.cursor(index, true);
    return cursor.seek(key) && cursor.exact ? { key, value: cursor.value() } : undefined;
  }

  /**
   * The entries from `from` on, up to but not including `to` (undefined: to the end), ascending. Reads block by block; takes
   * blocks from the cache but puts none into it. A scan that is given up half-way is to be ended (`return`).
   *
   * Errors  `TableDamage` when it comes to a damaged block; failures of the disk.
   */
  *scan(from: string, to: string | undefined): Generator<Entry> {
    this.mustBeOpen();
    this.scans++;
    try {
      const { keys } = this.parts;
      const blocks = keys.length - 1;
      const reader = new KeyReader();
      for (let index = this.blockFor(from); index < blocks; index++) {
        if (to !== undefined && index > 0 && keys[index]! >= to) return;
        // All keys of a block are below the next one's mark, and those of the last not above the table's last key.
        const limit = to !== undefined && keys[index + 1]! >= to ? to : undefined;
        const cursor = this.cursor(index, false);
        for (let more = reader.start(cursor, from); more; more = cursor.step()) {
          const key = reader.read(cursor);
          if (limit !== undefined && key >= limit) return;
          yield { key, value: cursor.value() };
        }
      }
    } finally {
      this.scans--;
      if (this.closed && this.scans === 0) this.file.close();
    }
  }

  /**
   * Reads the whole file from the disk and checks it: checksums, order of the keys, figures, filter.
   *
   * Errors  `TableDamage` for the first damage; failures of the disk.
   */
  verify(): void {
    this.mustBeOpen();
    const { keys, offsets, figures, filter } = readParts(this.file, this.path);
    const reader = new KeyReader();
    let entries = 0;
    let tombstones = 0;
    let previous = '';
    for (let index = 0; index < keys.length - 1; index++) {
      const offset = offsets[index]!;
      const cursor = new BlockCursor(this.readBlock(index), this.path, offset);
      while (cursor.step()) {
        const key = reader.read(cursor);
        if (entries > 0 && key <= previous) throw new TableDamage(this.path, offset, 'keys of a block do not ascend');
        if (!filter.mayHold(keyHash(key)))
          throw new TableDamage(this.path, offset, 'the filter lacks a key of a block');
        if (key < keys[index]!)
          throw new TableDamage(this.path, offset, 'a block has keys below its mark in the index');
        previous = key;
        entries++;
        if (cursor.isTombstone) tombstones++;
      }
    }
    if (entries !== figures.entries || tombstones !== figures.tombstones || previous !== keys.at(-1))
      throw new TableDamage(
        this.path,
        figures.bytes - FOOTER_BYTES,
        `${entries} entries with ${tombstones} tombstones, but the footer says ${figures.entries} with ${figures.tombstones}`,
      );
  }

  /** Scans that have begun go on, also when the file is removed; the file itself is closed when the last of them ends. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.cache?.drop(this.cacheNumber);
    if (this.scans === 0) this.file.close();
  }

  private mustBeOpen(): void {
    if (this.closed) throw new Error(`${this.path} is closed: nothing can be read from it`);
  }

  /** The block that holds `key` if any does; the first for keys before the table. */
  private blockFor(key: string): number {
    const { keys } = this.parts;
    let low = 0;
    let high = keys.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (keys[middle]! <= key) low = middle;
      else high = middle;
    }
    return low;
  }

  private cursor(index: number, keep: boolean): BlockCursor {
    let block = this.cache?.get(this.cacheNumber, index);
    if (block === undefined) {
      block = this.readBlock(index);
      if (keep) this.cache?.keep(this.cacheNumber, index, block);
    }
    return new BlockCursor(block, this.path, this.parts.offsets[index]!);
  }

  private readBlock(index: number): Buffer {
    const { offsets } = this.parts;
    return readFrame(this.file, this.path, offsets[index]!, offsets[index + 1]!, 'a block');
  }
}

function readParts(file: OpenFile, path: string): TableParts {
  const head = Buffer.alloc(HEAD.length);
  const headBytes = file.read(head, 0, head.length, 0);
  if (headBytes < head.length || !head.equals(HEAD)) {
    const known = headBytes === head.length && head.subarray(0, 12).equals(HEAD.subarray(0, 12));
    const version = known ? head.readUInt32LE(12) : VERSION;
    const what =
      version === VERSION
        ? 'it does not begin as a table file does'
        : `it says format version ${version}, and this version of Dunlin reads ${VERSION}`;
    throw new TableDamage(path, 0, what);
  }
  const bytes = file.size;
  const footerOffset = bytes - FOOTER_BYTES;
  const footer = Buffer.alloc(FOOTER_BYTES);
  const whole = footerOffset >= HEAD.length && file.read(footer, 0, FOOTER_BYTES, footerOffset) === FOOTER_BYTES;
  if (
    !whole ||
    !footer.subarray(0, HEAD.length).equals(HEAD) ||
    crc32(footer.subarray(0, FOOTER_BYTES - 4), footerOffset >>> 0) !== footer.readUInt32LE(FOOTER_BYTES - 4)
  )
    throw new TableDamage(path, Math.max(footerOffset, 0), 'its footer is missing or has a wrong checksum');
  const indexOffset = Number(footer.readBigUInt64LE(HEAD.length));
  const filterOffset = Number(footer.readBigUInt64LE(HEAD.length + 8));
  const entries = Number(footer.readBigUInt64LE(HEAD.length + 16));
  const tombstones = Number(footer.readBigUInt64LE(HEAD.length + 24));
  const keys: string[] = [];
  const offsets: number[] = [];
  const index = new BlockCursor(readFrame(file, path, indexOffset, filterOffset, 'the index'), path, indexOffset);
  const reader = new KeyReader();
  while (index.step()) {
    keys.push(reader.read(index));
    offsets.push(Number(index.value()?.readBigUInt64LE() ?? 0));
  }
  if (keys.length === 0 || offsets.at(-1) !== indexOffset)
    throw new TableDamage(path, indexOffset, 'its index does not lead from block to block');
  const filter = new BloomFilter(readFrame(file, path, filterOffset, footerOffset, 'the filter'));
  return { figures: { entries, tombstones, bytes }, keys, offsets, filter };
}

/** The payload of the frame that fills `[offset, end)`. */
function readFrame(file: OpenFile, path: string, offset: number, end: number, name: string): Buffer {
  const length = end - offset;
  if (!(length >= FRAME_BYTES)) throw new TableDamage(path, offset, `${name} has no room where it should be`);
  const bytes = Buffer.allocUnsafeSlow(length);
  if (file.read(bytes, 0, length, offset) < length)
    throw new TableDamage(path, offset, `${name} is cut off by the end of the file`);
  if (bytes.readUInt32LE(4) !== length - FRAME_BYTES) throw new TableDamage(path, offset, `${name} has a wrong length`);
  if (crc32(bytes.subarray(4), offset >>> 0) !== bytes.readUInt32LE(0))
    throw new TableDamage(path, offset, `${name} has a wrong checksum`);
  return bytes.subarray(FRAME_BYTES);
}

/** Walks the entries of a block without making strings or views of what is passed over. */
class BlockCursor {
  shared = 0;
  /** `bytes[keyStart..keyEnd)` is the key from `shared` on. */
  keyStart = 0;
  keyEnd = 0;
  isTombstone = false;
  /** After `seek`: whether it found the key itself. */
  exact = false;
  private end = 0;

  constructor(
    readonly bytes: Buffer,
    private readonly path: string,
    private readonly offset: number,
  ) {}

  /** To the next entry; false at the end of the block. */
  step(): boolean {
    const bytes = this.bytes;
    const at = this.end;
    if (at >= bytes.length) return false;
    const keyBytes = this.shared + this.keyEnd - this.keyStart;
    const shared = bytes[at]!;
    const rest = bytes[at + 1]!;
    const value = bytes[at + 2]!;
    if ((shared | rest | value) < 128) this.settle(shared, rest, value, at + 3);
    else this.stepLong(at);
    if (!(this.end <= bytes.length && this.shared <= keyBytes))
      throw new TableDamage(this.path, this.offset, 'an entry does not fit into its block');
    return true;
  }

  /**
   * From the beginning to the first entry that is not below `key`; false when all are. The first `shared` bytes of that
   * entry's key are those of `key`.
   */
  seek(key: string): boolean {
    // How much of `key` the entry before this one has, which is below `key`. An entry that shares more with the one before
    // is below `key` as well; one that shares less is above.
    let matched = 0;
    while (this.step()) {
      if (this.shared > matched) continue;
      this.exact = false;
      if (this.shared < matched) return true;
      const bytes = this.bytes;
      let at = this.keyStart;
      while (at < this.keyEnd && matched < key.length && bytes[at] === key.charCodeAt(matched)) {
        at++;
        matched++;
      }
      this.exact = at === this.keyEnd && matched === key.length;
      if (matched === key.length || (at < this.keyEnd && bytes[at]! > key.charCodeAt(matched))) return true;
    }
    return false;
  }

  value(): Buffer | undefined {
    return this.isTombstone ? undefined : this.bytes.subarray(this.keyEnd, this.end);
  }

  private settle(shared: number, rest: number, value: number, keyStart: number): void {
    this.shared = shared;
    this.keyStart = keyStart;
    this.keyEnd = keyStart + rest;
    this.isTombstone = value === 0;
    this.end = value === 0 ? this.keyEnd : this.keyEnd + value - 1;
  }

  private stepLong(start: number): void {
    this.end = start;
    const shared = this.number();
    const rest = this.number();
    const value = this.number();
    this.settle(shared, rest, value, this.end);
  }

  private number(): number {
    let number = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.bytes[this.end++] ?? 0;
      number |= (byte & 127) << shift;
      if (byte < 128) break;
    }
    return number >>> 0;
  }
}

/** Puts keys together from what they share with the key before: one string for each, which refers to no other. */
class KeyReader {
  private bytes = Buffer.allocUnsafeSlow(256);

  /** To the first entry of the block that is not below `from`; false when there is none. */
  start(cursor: BlockCursor, from: string): boolean {
    if (from === '') return cursor.step();
    if (!cursor.seek(from)) return false;
    this.reserve(cursor.shared);
    this.bytes.write(from.slice(0, cursor.shared), 0, 'latin1');
    return true;
  }

  /** The key of the entry that the cursor stands on, when it has read all before it or began at it. */
  read(cursor: BlockCursor): string {
    const { shared, keyStart, keyEnd } = cursor;
    const length = shared + keyEnd - keyStart;
    this.reserve(length);
    copyBytes(cursor.bytes, keyStart, keyEnd, this.bytes, shared);
    return this.bytes.toString('latin1', 0, length);
  }

  private reserve(length: number): void {
    if (length <= this.bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(2 * length);
    this.bytes.copy(larger);
    this.bytes = larger;
  }
}
