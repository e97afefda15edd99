/**
 * What the broker keeps, by key: in memory, in a log, and in sorted table files.
 *
 *   put / remove ──▶ frame of this turn ──commit──▶ log segment ──sync──▶ on the disk
 *        └────────▶ memtable                  │ segment full
 *                                             ▼
 *            little left in the memtable: into the next segment with it, and the former are removed
 *            else: memtable frozen ──▶ table file; its segments are removed; tables of like size become one
 *
 * Invariants: what is in the memtables is in the segments from `manifest.logFrom` on, or not written yet; a key's newest
 * version is the first found in memtable, frozen memtable, tables from new to old. Sequences count operations; `written` and
 * `synced` are the watermarks up to which they are handed to the operating system and on the disk (of every copy).
 *
 * After a write or a sync has failed nothing moves the watermarks until all that is in memory stands in a new segment that was
 * read back: a failed sync may have thrown away pages that look written.
 */
import { Fault, type Logger } from '../base/index.js';
import { dumpFrames } from './dump-frames.js';
import type { Entry } from './entry.js';
import type { FileLayer, OpenFile } from './files.js';
import type { HeldPath } from './held-path.js';
import {
  FRAME_HEAD_BYTES,
  readOperations,
  readSegment,
  SEGMENT_HEAD_BYTES,
  sealFrame,
  segmentHead,
} from './log-segment.js';
import { type MaintenanceTask, runMaintenance } from './maintenance.js';
import { runInWorker } from './maintenance-worker.js';
import { COPY_FOLDER, logName, type Manifest, tableName, writeManifest } from './manifest.js';
import { type FreshSlot, MemTable } from './memtable.js';
import { mergeEntries } from './merge.js';
import type { DurabilityMode } from './mode.js';
import { OpenFrame } from './open-frame.js';
import { checkHeld, isGone, Place } from './place.js';
import { recover } from './recovery.js';
import { replayInto } from './replay.js';
import { BlockCache, Table, type TableFigures } from './table.js';
import { choose, isWorthMerging } from './tiers.js';

export interface StoreOptions {
  readonly mode: DurabilityMode;
  /** Not used in mode `memory`. */
  readonly folder: string;
  readonly files: FileLayer;
  readonly log: Logger;
  /** Keeps two copies of every file whatever the mode: some operations ask for it. */
  readonly twoCopies?: boolean;
  /** A segment ends when it is larger, bytes. */
  readonly segmentBytes?: number;
  /** At the end of a segment, what is left of it is carried over to the next when it is not more, bytes. */
  readonly carriedBytesMax?: number;
  /** Keys that begin with it sum up others: where everything is written anew, they come last. */
  readonly summaryPrefix?: string;
  /** Does maintenance in this thread: for simulated disks. */
  readonly inline?: boolean;
  /** Called when the tables are open and nothing has been replayed yet. */
  readonly onTables?: (store: Store) => void;
  /** Told of each operation that is replayed from the log when the store opens, before it takes effect. */
  readonly onReplay?: (store: Store, key: string, value: Buffer | undefined) => void;
}

const SEGMENT_BYTES = 16_777_216;
/** Not more entries are carried over to the next segment: it is done within a turn. */
const CARRIED_ENTRIES_MAX = 8192;
/** By default, of the bytes of a segment. */
const CARRIED_PART = 1 / 16;
const RETRY_MS = 1000;
/** How often what is only handed to the operating system is synced nevertheless. */
const BACKGROUND_SYNC_MS = 1000;

interface Segment {
  readonly number: number;
  /** One for each copy. */
  readonly files: readonly OpenFile[];
  /** Their paths, where they may lead elsewhere one day. */
  readonly held: ReadonlyMap<string, HeldPath>;
}

interface Waiter {
  readonly sequence: number;
  readonly done: (error?: Error) => void;
}

export class Store {
  /** Sequence of the last operation. */
  sequence = 0;
  /** Of the last one that asks for a sync. */
  syncSequence = 0;
  written = 0;
  synced = 0;
  failed: Error | undefined;
  /** Called before the operations so far become a table: what the caller sums up is put by it now. */
  beforeRotation: () => void = () => {};
  /** Called with the first operation after a commit. */
  onOperation: () => void = () => {};
  /** Called when the store fails, and when it has recovered. */
  onHealth: (failed: Error | undefined) => void = () => {};

  private readonly folders: readonly string[];
  private readonly segmentBytes: number;
  private readonly carriedBytesMax: number;
  private memtable = new MemTable();
  private frozen: MemTable | undefined;
  private tables: Table[] = [];
  private readonly cache = new BlockCache();
  private manifest!: Manifest;
  private nextNumber = 1;
  /** Of the last manifest that was begun: each attempt has its own. */
  private generation = 0;
  private segment: Segment | undefined;
  /** Former segments whose last frames may not be on the disk. */
  private unsynced: Segment[] = [];
  private folderDirty = true;
  /** Bytes of segments of the last run that are not in tables yet. */
  private replayedBytes = 0;
  private readonly frame: OpenFrame;
  private syncing: Promise<void> | undefined;
  private waiters: Waiter[] = [];
  private maintaining: Promise<void> | undefined;
  private merging: Promise<void> | undefined;
  private mending: Promise<void> | undefined;
  /** What came since `mend` began to write down what is in memory. */
  private meanwhile: { readonly frames: Buffer[]; sequence: number } | undefined;
  private manifestChange: Promise<void> = Promise.resolve();
  private retry: NodeJS.Timeout | undefined;
  private backgroundSync: NodeJS.Timeout | undefined;
  private place: Place | undefined;
  private closed = false;
  /** What kept something from the disk while it was closed. */
  private unsaved: Error | undefined;

  constructor(private readonly options: StoreOptions) {
    const { folder, mode, twoCopies } = options;
    this.frame = new OpenFrame(() => this.onOperation(), mode === 'memory');
    const two = mode === 'faultTolerant' || twoCopies === true;
    this.folders = mode === 'memory' ? [] : two ? [folder, `${folder}/${COPY_FOLDER}`] : [folder];
    this.segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
    this.carriedBytesMax = options.carriedBytesMax ?? this.segmentBytes * CARRIED_PART;
  }

  /** A new store, opened. */
  static async open(options: StoreOptions): Promise<Store> {
    const store = new Store(options);
    await store.open();
    return store;
  }

  /**
   * Opens the store, or makes it where the folder is empty. Once.
   * Errors  `Fault` STORAGE_IN_USE, STORAGE_DAMAGED (what is damaged, what to do), STORAGE_FORMAT, STORAGE_UNUSABLE (the
   *         folder cannot be read or written).
   */
  async open(): Promise<void> {
    if (!this.persistent) return;
    try {
      await this.recover();
    } catch (error) {
      this.place?.leave();
      if (error instanceof Fault || (error as NodeJS.ErrnoException).code === undefined) throw error;
      const { folder } = this.options;
      throw new Fault('STORAGE_UNUSABLE', `the data folder ${folder} cannot be used: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  /** Whether anything outlives the process. */
  get persistent(): boolean {
    return this.folders.length > 0;
  }

  get identity(): string {
    return this.manifest?.identity ?? '';
  }

  get mode(): DurabilityMode {
    return this.options.mode;
  }

  /** The buffer that `reserve` granted room in. */
  get chunk(): Buffer {
    return this.frame.buffer;
  }

  /** Bytes of the table files of one copy. */
  get tableBytes(): number {
    return this.tables.reduce((sum, table) => sum + table.figures.bytes, 0);
  }

  get tableCount(): number {
    return this.tables.length;
  }

  // ---- operations ----

  /**
   * Room for the value of `key` in `chunk`, at the position it returns: the caller fills it before it does anything else
   * with the store. `fresh` promises that the key was never used before. With `sync` the operation asks to be synced before it
   * is acknowledged.
   */
  reserve(key: string, length: number, sync: boolean, fresh: boolean): number {
    const at = this.frame.put(key, length, fresh);
    this.memtable.put(key, this.frame.buffer, at, at + length, fresh);
    this.count(sync);
    return at;
  }

  /**
   * Room for a key of `keyLength` bytes that was never used before and its value: the caller fills both in the slot's buffer before
   * it does anything else with the store. `kind` is the first byte of the key. For entries that are likely to be removed soon.
   */
  reserveFresh(kind: number, keyLength: number, length: number, sync: boolean): FreshSlot {
    const slot = this.frame.putFresh(keyLength, length);
    this.memtable.addFresh(slot, kind);
    this.count(sync);
    return slot;
  }

  removeFresh(slot: FreshSlot, level?: 'buffered' | 'sync'): void {
    const { buffer } = slot;
    if (buffer === undefined) return this.remove(slot.key, level);
    this.frame.removeBytes(buffer, slot.keyStart, slot.keyEnd);
    this.memtable.dropFresh(slot);
    this.count(this.asksSync(level));
  }

  put(key: string, value: Uint8Array, level?: 'buffered' | 'sync', fresh = false): void {
    const at = this.reserve(key, value.length, this.asksSync(level), fresh);
    this.chunk.set(value, at);
  }

  remove(key: string, level?: 'buffered' | 'sync'): void {
    this.frame.remove(key);
    this.memtable.remove(key);
    this.count(this.asksSync(level));
  }

  /** Whether operations of this level, or of the mode when none is given, are to be synced before they are acknowledged. */
  asksSync(level?: 'buffered' | 'sync'): boolean {
    const { mode } = this.options;
    return level === undefined ? mode === 'sync' || mode === 'faultTolerant' : level === 'sync';
  }

  /** The value of `key`: a view that must not be changed. */
  get(key: string): Buffer | undefined {
    const slot = this.memtable.find(key) ?? this.frozen?.find(key);
    if (slot !== undefined) return slot.buffer?.subarray(slot.start, slot.end);
    for (let index = this.tables.length - 1; index >= 0; index--) {
      const entry = this.tables[index]!.get(key);
      if (entry !== undefined) return entry.value;
    }
    return undefined;
  }

  /** Entries with `from <= key < to` in order. Good only during the turn in which it was begun. */
  *scan(from: string, to: string | undefined): Generator<Required<Entry> & { value: Buffer }> {
    const sources: Iterator<Entry>[] = [this.memtable.scan(from, to)];
    if (this.frozen) sources.push(this.frozen.scan(from, to));
    for (let index = this.tables.length - 1; index >= 0; index--) sources.push(this.tables[index]!.scan(from, to));
    for (const entry of mergeEntries(sources)) if (entry.value !== undefined) yield entry as Entry & { value: Buffer };
  }

  private count(sync: boolean): void {
    this.sequence++;
    if (sync) this.syncSequence = this.sequence;
  }

  // ---- watermarks ----

  /** The end of a turn: hands what came since the last one to the operating system, as one frame. */
  commit(): void {
    const { frame } = this;
    if (frame.empty) {
      if (this.syncSequence > this.synced) this.startSync();
      return;
    }
    if (this.segment === undefined) {
      // Memory, or failed: the values are in the memtable; a new segment may be on its way.
      if (this.meanwhile === undefined) frame.discard();
      else {
        this.meanwhile.frames.push(frame.end(this.sequence, 0));
        this.meanwhile.sequence = this.sequence;
      }
      if (!this.persistent) {
        this.written = this.sequence;
        this.synced = this.sequence;
      }
      return;
    }
    if (!this.appendFrame(this.segment)) return;
    if (this.syncSequence > this.synced) this.startSync();
    else this.syncLater();
    if (this.segment.files[0]!.size + this.replayedBytes > this.segmentBytes) this.rotate();
  }

  /** Returns whether the open frame could be handed over. */
  private appendFrame(segment: Segment): boolean {
    const frame = this.frame.end(this.sequence, this.synced);
    try {
      for (const file of segment.files) file.append(frame);
    } catch (error) {
      this.fail(error as Error);
      return false;
    }
    this.written = this.sequence;
    return true;
  }

  /** Calls `done` once everything up to `sequence` is synced, or with the error that keeps it from being. */
  whenSynced(sequence: number, done: (error?: Error) => void): void {
    if (this.failed) done(this.failed);
    else if (sequence <= this.synced) done();
    else this.waiters.push({ sequence, done });
  }

  /** Resolves when everything so far is as durable as the mode says. */
  settled(): Promise<void> {
    this.commit();
    return new Promise((resolve, reject) => {
      const done = (error?: Error) => (error === undefined ? resolve() : reject(error));
      if (this.options.mode === 'memory' || this.options.mode === 'buffered') done(this.failed);
      else this.whenSynced(this.sequence, done);
    });
  }

  private syncLater(): void {
    this.backgroundSync ??= setTimeout(() => {
      this.backgroundSync = undefined;
      if (this.synced < this.written && !this.failed && !this.closed) this.startSync();
    }, BACKGROUND_SYNC_MS).unref();
  }

  private startSync(): void {
    if (this.syncing !== undefined || this.segment === undefined) return;
    const upTo = this.written;
    const former = [...this.unsynced];
    const segments = [...former, this.segment];
    const { folderDirty } = this;
    this.folderDirty = false;
    const work = segments.flatMap(({ files }) => files.map((file) => file.sync()));
    if (folderDirty) for (const folder of this.folders) work.push(this.options.files.syncFolder(folder));
    this.syncing = Promise.all(work).then(
      () => {
        this.syncing = undefined;
        if (this.failed) return;
        this.unsynced = this.unsynced.filter((segment) => {
          if (!former.includes(segment)) return true; // it may have grown since
          close(segment);
          return false;
        });
        this.synced = upTo;
        this.wake();
        if (this.syncSequence > this.synced && this.written > this.synced) this.startSync();
      },
      (error: Error) => {
        this.syncing = undefined;
        if (this.closed) this.unsaved ??= error;
        this.fail(error);
      },
    );
  }

  private wake(): void {
    let count = 0;
    while (count < this.waiters.length && this.waiters[count]!.sequence <= this.synced) count++;
    if (count === 0) return;
    for (const { done } of this.waiters.splice(0, count)) done();
  }

  // ---- failure ----

  /** Fails where what is written goes to files that are not in the data folder any more. To be called now and then. */
  checkPlace(): void {
    if (this.segment === undefined || this.closed) return;
    try {
      this.place?.check();
      checkHeld(this.segment.held);
    } catch (error) {
      this.fail(error as Error);
    }
  }

  private fail(error: Error): void {
    if (this.failed !== undefined || this.closed) return;
    this.failed = error;
    this.options.log.error(
      'storage.failed',
      `Storage in ${this.options.folder} cannot be written (${error.message}); nothing that has to be stored is acknowledged until it can.`,
    );
    if (this.segment) this.unsynced.push(this.segment);
    this.segment = undefined;
    const waiters = this.waiters.splice(0);
    for (const { done } of waiters) done(error);
    this.onHealth(error);
    this.tryLater();
  }

  private tryLater(): void {
    if (this.closed) return;
    this.retry = setTimeout(() => {
      this.mending = this.mend().finally(() => {
        this.mending = undefined;
      });
    }, RETRY_MS);
    this.retry.unref();
  }

  /** Writes all that is in memory to a new segment, reads it back, and goes on from there. */
  private async mend(): Promise<void> {
    const { files, folder, log } = this.options;
    await this.maintaining;
    await this.syncing;
    if (this.closed) return;
    let segment: Segment | undefined;
    let named = false;
    try {
      if (isGone(this.failed)) this.place!.checkWhole(this.manifest, [this.manifest.generation, this.generation]);
      else this.place!.check();
      if (this.frozen !== undefined) this.thaw();
      this.beforeRotation();
      this.commit(); // whatever stands in the open frame is in the memtable too
      const upTo = this.sequence;
      segment = this.createSegment(this.nextNumber++, upTo);
      this.meanwhile = { frames: [], sequence: upTo };
      let expected = 0;
      for (const frame of this.dump(upTo)) {
        for (const file of segment.files) file.append(frame);
        readOperations(frame, FRAME_HEAD_BYTES, frame.length, () => expected++);
      }
      await Promise.all(segment.files.map((file) => file.sync()));
      for (const each of this.folders) await files.syncFolder(each);
      if (this.closed) throw new Error('the store is closed');
      for (const file of segment.files) {
        let found = 0;
        const reading = readSegment(file, () => found++);
        if (reading.validBytes !== file.size || found !== expected)
          throw new Error(`${logName(segment.number)} reads back otherwise than it was written`);
      }
      const former = this.manifest.logFrom;
      const { number } = segment;
      named = true;
      const baseBytes = segment.files[0]!.size;
      await this.replaceManifest(() => ({ logFrom: number, sequence: upTo, baseBytes }));
      for (const each of this.unsynced.splice(0)) close(each);
      this.segment = segment;
      this.written = upTo;
      this.synced = upTo;
      this.failed = undefined;
      this.removeSegments(former, segment.number);
      this.appendMeanwhile();
      log.warning('storage.recovered', `Storage in ${folder} can be written again; everything is stored.`);
      this.onHealth(undefined);
    } catch (error) {
      log.debug('storage.still-failing', (error as Error).message);
      if (isGone(error)) this.failed = error as Error; // it says what to do
      if (segment !== undefined) {
        close(segment);
        // A manifest that names it may be on the disk, however its writing ended.
        if (!named) for (const each of this.folders) remove(files, `${each}/${logName(segment.number)}`);
      }
      this.meanwhile = undefined;
      this.tryLater();
    }
  }

  /** Everything in the memtable that is needed beside the tables. */
  private dump(sequence: number): Iterable<Buffer> {
    const nothingOlder = this.tables.length === 0 && this.frozen === undefined;
    return dumpFrames(this.memtable, sequence, nothingOlder, this.options.summaryPrefix);
  }

  /** The segment holds all that was in memory when it began: what came since follows. */
  private appendMeanwhile(): void {
    const { frames, sequence } = this.meanwhile!;
    this.meanwhile = undefined;
    if (frames.length === 0) return;
    try {
      for (const frame of frames) for (const file of this.segment!.files) file.append(frame);
    } catch (error) {
      this.fail(error as Error);
      return;
    }
    this.written = sequence;
    this.startSync();
  }

  /** The frozen memtable and the one after it, in one. */
  private thaw(): void {
    const older = this.frozen!;
    for (const { key } of this.memtable.scan('', undefined)) {
      const slot = this.memtable.find(key)!;
      if (slot.buffer === undefined) older.remove(key);
      else older.put(key, slot.buffer, slot.start, slot.end, slot.fresh);
    }
    this.memtable = older;
    this.frozen = undefined;
  }

  // ---- segments and tables ----

  private createSegment(number: number, sequence: number): Segment {
    const head = segmentHead(sequence);
    const files: OpenFile[] = [];
    const held = new Map<string, HeldPath>();
    const segment = { number, files, held };
    try {
      for (const folder of this.folders) {
        const path = `${folder}/${logName(number)}`;
        const file = this.options.files.create(path);
        files.push(file);
        file.append(head);
        const way = this.options.files.hold?.(path);
        if (way !== undefined) held.set(path, way);
      }
    } catch (error) {
      close(segment);
      throw error;
    }
    this.folderDirty = true;
    return segment;
  }

  /**
   * Ends the segment where nothing else would: it grew too large while maintenance ran, or much of what tables hold was removed since and
   * is to give its space back. To be called now and then.
   */
  reclaim(): void {
    if (this.segment === undefined) return;
    const full = this.segment.files[0]!.size + this.replayedBytes > this.segmentBytes;
    if (full || (this.tableBytes >= this.segmentBytes && this.removesMuch())) this.rotate();
  }

  private removesMuch(): boolean {
    if (this.tables.length === 0 || this.merging !== undefined) return false;
    const { size } = this.memtable;
    let entries = size;
    let tombstones = 0;
    for (const { figures } of this.tables) {
      entries += figures.entries;
      tombstones += figures.tombstones;
    }
    if (!isWorthMerging(tombstones + size, entries)) return false; // not even if all were removals
    const removals = this.memtable.countRemovals();
    return removals > 0 && isWorthMerging(tombstones + removals, entries);
  }

  /** Ends the segment: what it and those before it hold becomes a table. */
  private rotate(): void {
    if (this.frozen !== undefined || this.maintaining !== undefined || this.closed) return; // it grows until that is done
    this.beforeRotation();
    if (!this.frame.empty && !this.appendFrame(this.segment!)) return;
    this.replayedBytes = 0;
    const former = this.segment!;
    let next: Segment;
    try {
      next = this.createSegment(this.nextNumber++, this.sequence);
    } catch (error) {
      return this.fail(error as Error);
    }
    this.unsynced.push(former);
    this.segment = next;
    const little = this.memtable.isWithin(CARRIED_ENTRIES_MAX, this.carriedBytesMax);
    if (little && !this.removesMuch()) return this.carryOver(next);
    this.startSync();
    this.memtable.settle();
    this.frozen = this.memtable;
    this.memtable = new MemTable();
    this.maintaining = this.flushFrozen(former.number, next.number, this.sequence).finally(() => {
      this.maintaining = undefined;
    });
  }

  /** Writes what is in the memtable to the segment that begins. */
  private carryOver(next: Segment): void {
    const carried = new MemTable();
    const put = replayInto(carried);
    try {
      for (const frame of this.dump(this.sequence)) {
        for (const file of next.files) file.append(frame);
        readOperations(frame, FRAME_HEAD_BYTES, frame.length, put);
      }
    } catch (error) {
      return this.fail(error as Error);
    }
    this.memtable = carried; // whose values stand together, and hold no chunk of the former segment
    this.maintaining = this.leaveBehind(next.number, this.sequence, next.files[0]!.size).finally(() => {
      this.maintaining = undefined;
    });
  }

  /** The segments before `segment` are not needed once what it begins with is on the disk. */
  private async leaveBehind(segment: number, upTo: number, baseBytes: number): Promise<void> {
    try {
      await this.syncing; // which may not have seen this segment
      this.startSync();
      await this.syncing;
      if (this.failed) return;
      const former = this.manifest.logFrom;
      await this.replaceManifest(() => ({ logFrom: segment, sequence: upTo, baseBytes }));
      this.removeSegments(former, segment);
    } catch (error) {
      this.fail(error as Error);
    }
  }

  private async flushFrozen(lastSegment: number, nextSegment: number, upTo: number): Promise<void> {
    const { files, folder } = this.options;
    try {
      let table: Table | undefined;
      let added: number[] = [];
      if (this.frozen!.size > 0) {
        const number = this.nextNumber++;
        const segments: string[] = [];
        for (let each = this.manifest.logFrom; each <= lastSegment; each++)
          if (files.list(folder).includes(logName(each))) segments.push(`${folder}/${logName(each)}`);
        const to = this.folders.map((each) => `${each}/${tableName(number)}`);
        await this.maintain({ kind: 'build', segments, dropTombstones: this.tables.length === 0, to });
        table = Table.open(files, to[0]!, this.cache);
        added = [number];
      }
      if (this.failed) {
        table?.close();
        return; // `mend` puts it together again
      }
      const former = this.manifest.logFrom;
      await this.replaceManifest(({ tables }) => ({
        tables: [...tables, ...added],
        logFrom: nextSegment,
        sequence: upTo,
        baseBytes: 0,
      }));
      if (table) this.tables.push(table);
      this.frozen = undefined;
      this.removeSegments(former, nextSegment);
      this.merging ??= this.mergeSome().finally(() => {
        this.merging = undefined;
      });
    } catch (error) {
      this.fail(error as Error);
    }
  }

  private async mergeSome(): Promise<void> {
    try {
      while (await this.mergeOnce());
    } catch (error) {
      // What was to be merged is whole and stays.
      this.options.log.error('storage.merge-failed', `Tables could not be merged: ${(error as Error).message}`);
    }
  }

  /** Returns whether there may be more to do. */
  private async mergeOnce(): Promise<boolean> {
    const figures = this.tables.map((table) => table.figures);
    const chosen = choose(figures);
    if (chosen === undefined || this.closed || this.failed) return false;
    const { files, folder } = this.options;
    const number = this.nextNumber++;
    const inputs = this.manifest.tables.slice(chosen.from, chosen.to);
    const to = this.folders.map((each) => `${each}/${tableName(number)}`);
    const result = await this.maintain({
      kind: 'merge',
      tables: inputs.map((input) => `${folder}/${tableName(input)}`).reverse(),
      dropTombstones: chosen.from === 0,
      to,
    });
    if (this.closed || this.failed) return false;
    const merged = result.entries > 0 ? [number] : [];
    const table = merged.length > 0 ? Table.open(files, to[0]!, this.cache) : undefined;
    await this.replaceManifest(({ tables }) => ({ tables: tables.toSpliced(chosen.from, inputs.length, ...merged) }));
    const gone = this.tables.splice(chosen.from, inputs.length, ...(table ? [table] : []));
    for (const each of gone) each.close();
    for (const each of this.folders) {
      for (const input of inputs) files.remove(`${each}/${tableName(input)}`);
      if (merged.length === 0) files.remove(`${each}/${tableName(number)}`);
    }
    return true;
  }

  private maintain(task: MaintenanceTask): Promise<TableFigures> {
    if (!this.options.inline) return runInWorker(task);
    return Promise.resolve().then(() => runMaintenance(this.options.files, task));
  }

  /** One change after the other: each is made of what the one before left. */
  private replaceManifest(change: (current: Manifest) => Partial<Manifest>): Promise<void> {
    const replaced = this.manifestChange.then(async () => {
      const next = { ...this.manifest, ...change(this.manifest), generation: ++this.generation };
      // The files that it names are there before it is.
      for (const folder of this.folders) await this.options.files.syncFolder(folder);
      await writeManifest(this.options.files, this.folders, next);
      this.manifest = next;
    });
    this.manifestChange = replaced.catch(() => {});
    return replaced;
  }

  private removeSegments(from: number, to: number): void {
    for (let number = from; number < to; number++)
      for (const folder of this.folders) remove(this.options.files, `${folder}/${logName(number)}`);
  }

  // ---- opening and closing ----

  private async recover(): Promise<void> {
    const { files, onReplay } = this.options;
    this.place = new Place(files, this.folders);
    const found = await recover(files, this.folders, this.options.log, this.cache, (memtable, tables) => {
      this.memtable = memtable;
      this.tables = tables;
      this.options.onTables?.(this);
      return onReplay === undefined ? undefined : (key, value) => onReplay(this, key, value);
    });
    this.manifest = found.manifest;
    this.generation = found.manifest.generation;
    this.nextNumber = found.nextNumber;
    this.sequence = found.lastSequence;
    this.written = this.sequence;
    this.synced = this.sequence;
    this.syncSequence = this.sequence;
    this.segment = this.createSegment(this.nextNumber++, this.sequence);
    await Promise.all(this.segment.files.map((file) => file.sync()));
    for (const each of this.folders) await files.syncFolder(each);
    this.folderDirty = false;
    this.replayedBytes = found.segmentBytes;
  }

  /** Writes and syncs everything and gives the folder back. Errors: what kept the last operations from being stored. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.checkPlace();
    if (this.persistent) this.beforeRotation();
    this.commit();
    const { failed } = this;
    this.closed = true;
    clearTimeout(this.retry);
    clearTimeout(this.backgroundSync);
    try {
      await this.maintaining;
      await this.merging;
      await this.mending;
      await this.syncing;
      const { segment } = this;
      // A later sync may succeed and leave out what the failed one was to write.
      if (this.unsaved !== undefined) throw this.unsaved;
      if (segment !== undefined) {
        await Promise.all([...this.unsynced, segment].flatMap(({ files }) => files.map((file) => file.sync())));
        // An empty frame last, which knows that all before it are on the disk.
        const last = Buffer.alloc(FRAME_HEAD_BYTES);
        sealFrame(last, 0, last.length, this.sequence, this.sequence);
        for (const file of segment.files) file.append(last);
        await Promise.all(segment.files.map((file) => file.sync()));
      }
      if (failed) throw failed;
    } finally {
      for (const each of this.unsynced) close(each);
      if (this.segment) close(this.segment);
      this.segment = undefined;
      for (const table of this.tables) table.close();
      this.place?.leave();
    }
  }

  /** Bytes of the log segments of one copy, roughly. */
  get logBytes(): number {
    return (
      this.replayedBytes +
      (this.segment?.files[0]?.size ?? SEGMENT_HEAD_BYTES) +
      this.unsynced.reduce((sum, { files }) => sum + files[0]!.size, 0)
    );
  }
}

function close({ files, held }: Segment): void {
  for (const each of [...files, ...held.values()]) each.close();
}

/** Removing what is not needed any more may fail: the next start tries again. */
function remove(files: FileLayer, path: string): void {
  try {
    files.remove(path);
  } catch {}
}
