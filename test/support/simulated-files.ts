/**
 * A disk in memory that knows what of it would survive a loss of power.
 *
 *   file      what a reader sees = what is durable + the changes since the last sync (appended bytes, truncations)
 *   folder    what a reader sees = what is durable + the changes since the last `syncFolder` (create, rename, remove)
 *
 * `powerCut` decides by chance what the disk had written of these changes: of a file any prefix, whose last sector may hold
 * rubbish, or all but one sector; of a folder any subset, each change as a whole. A sync that failed gives its changes up for good, as a kernel
 * does that marks the pages clean: readers still see them, the disk never will.
 *
 * Not simulated: bytes once durable that change by themselves (a test asks for that by `flip`, `truncate`, `removeFile`).
 */
import { posix } from 'node:path';
import { Fault } from '../../src/base/index.js';
import type { Random } from '../../src/base/random.fuzz.js';
import type { FileLayer, OpenFile } from '../../src/storage/files.js';

const SECTOR_BYTES = 512;

/** What every call throws from the operation on at which the power went. */
export class PowerCut extends Error {
  override readonly name = 'PowerCut';

  constructor() {
    super('the simulated power is cut');
  }
}

function failure(code: string, reason: string, syscall: string, path: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${reason}, ${syscall} '${path}'`), { code, syscall, path });
}

type Change = { readonly at: number; readonly bytes: Buffer } | { readonly size: number };

/** Bytes that grow, with room to spare. */
class Bytes {
  private room = Buffer.alloc(0);
  length = 0;

  get view(): Buffer {
    return this.room.subarray(0, this.length);
  }

  apply(change: Change): void {
    if ('size' in change) return this.resize(change.size);
    // Bytes before it that never came to be (a sync of them failed) read as zeros.
    this.resize(Math.max(this.length, change.at + change.bytes.length));
    change.bytes.copy(this.room, change.at);
  }

  private resize(size: number): void {
    if (size > this.room.length) {
      const larger = Buffer.alloc(Math.max(size, this.room.length * 2, 256));
      this.view.copy(larger);
      this.room = larger;
    } else this.room.fill(0, Math.min(size, this.length), Math.max(size, this.length));
    this.length = size;
  }
}

/** A file apart from its name. */
class Content {
  readonly seen = new Bytes();
  readonly durable = new Bytes();
  /** Changes since the last sync, oldest first. */
  dirty: Change[] = [];

  change(change: Change): void {
    this.seen.apply(change);
    this.dirty.push(change);
  }

  /** The first `count` changes are on the disk. */
  persist(count: number): void {
    for (const change of this.dirty.splice(0, count)) this.durable.apply(change);
  }

  copy(): Content {
    const copy = new Content();
    for (const [to, from] of [
      [copy.seen, this.seen],
      [copy.durable, this.durable],
    ] as const)
      to.apply({ at: 0, bytes: from.view });
    copy.dirty = [...this.dirty];
    return copy;
  }

  flip(offset: number, mask: number): void {
    for (const bytes of [this.seen.view, this.durable.view]) if (offset < bytes.length) bytes[offset]! ^= mask;
  }
}

function contentOf(bytes: Buffer): Content {
  const content = new Content();
  content.change({ at: 0, bytes });
  content.persist(1);
  return content;
}

/** A change of names, made as a whole or not at all: `to` stands for `content`, `gone` for nothing. */
interface NameChange {
  readonly folder: string;
  readonly gone?: string;
  readonly to?: string;
  readonly content?: Content;
}

function applyNames(names: Map<string, Content>, { gone, to, content }: NameChange): void {
  if (gone !== undefined) names.delete(gone);
  if (to !== undefined) names.set(to, content!);
}

export class SimulatedFiles implements FileLayer {
  /** Calls so far that change the disk or make a change durable. */
  operations = 0;
  /** The power goes in the middle of this operation; before it, nothing is wrong. */
  cutAt = Number.POSITIVE_INFINITY;
  /** Bytes that may still be appended before the disk is full. */
  spaceLeft = Number.POSITIVE_INFINITY;
  /** Nothing can be changed (`EROFS`). */
  readOnly = false;
  /** So many syncs fail with `EIO`, one after the other. */
  syncFailures = 0;
  /** Syncs wait for `releaseSyncs`. */
  delaySync = false;
  /** Called when a sync begins, so that a test can choose what befalls it. */
  beforeSync: () => void = () => {};
  /** Files that storage opened and has not closed. */
  openCount = 0;

  private readonly folders = new Set(['.', '/']);
  private readonly seen = new Map<string, Content>();
  private readonly durable = new Map<string, Content>();
  private dirty: NameChange[] = [];
  private waiting: (() => void)[] = [];
  private readonly locked = new Set<string>();

  get hasPower(): boolean {
    return this.operations < this.cutAt;
  }

  // The file layer.

  lock(folder: string): () => void {
    const here = posix.normalize(folder);
    if (this.locked.has(here))
      throw new Fault('STORAGE_IN_USE', `the data folder ${folder} is in use by process ${process.pid}`);
    this.locked.add(here);
    return () => void this.locked.delete(here);
  }

  list(folder: string): string[] {
    this.read();
    const here = posix.normalize(folder);
    return [...this.seen.keys(), ...this.folders]
      .filter((path) => path !== here && posix.dirname(path) === here)
      .map((path) => posix.basename(path))
      .sort();
  }

  /** Folders are durable at once. */
  makeFolder(folder: string): void {
    this.begin('mkdir', folder);
    for (let path = posix.normalize(folder); !this.folders.has(path); path = posix.dirname(path))
      this.folders.add(path);
  }

  create(path: string): OpenFile {
    const { folder, name } = this.place('open', path);
    this.begin('open', path);
    const former = this.seen.get(name);
    if (former !== undefined) {
      former.change({ size: 0 });
      return new SimulatedFile(this, former, name);
    }
    const content = new Content();
    this.changeNames({ folder, to: name, content });
    return new SimulatedFile(this, content, name);
  }

  open(path: string): OpenFile {
    this.read();
    const name = posix.normalize(path);
    if (this.readOnly) throw failure('EROFS', 'read-only file system', 'open', path);
    return new SimulatedFile(this, this.find('open', name), name);
  }

  rename(from: string, to: string): void {
    const { folder, name } = this.place('rename', to);
    const gone = posix.normalize(from);
    if (posix.dirname(gone) !== folder)
      throw new Error(`${from} is renamed into another folder, which is not simulated`);
    this.begin('rename', from);
    this.changeNames({ folder, gone, to: name, content: this.find('rename', gone) });
  }

  remove(path: string): void {
    this.begin('rm', path);
    const gone = posix.normalize(path);
    if (this.seen.has(gone)) this.changeNames({ folder: posix.dirname(gone), gone });
  }

  async syncFolder(folder: string): Promise<void> {
    const here = posix.normalize(folder);
    if (!this.folders.has(here)) throw failure('ENOENT', 'no such file or directory', 'open', folder);
    this.begin('fsync', folder);
    const before = new Set(this.dirty.filter((change) => change.folder === here));
    await this.syncing();
    this.read();
    this.failSync(folder);
    for (const change of this.dirty) if (before.has(change)) applyNames(this.durable, change);
    this.dirty = this.dirty.filter((change) => !before.has(change));
  }

  // What befalls the disk.

  /** The disk of a machine that starts again after its power went now; this one is dead from here on. */
  powerCut(random: Random): SimulatedFiles {
    this.cutAt = Math.min(this.cutAt, this.operations);
    const names = new Map(this.durable);
    for (const change of this.dirty) if (random.oneIn(2)) applyNames(names, change);
    const after = new SimulatedFiles();
    for (const folder of this.folders) after.folders.add(folder);
    for (const [path, content] of names) after.place('open', path, contentOf(survivor(content, random)));
    this.releaseSyncs();
    return after;
  }

  /** The same disk, as the next process finds it after this one was killed: nothing is lost, nothing more is durable. */
  kill(): SimulatedFiles {
    this.cutAt = Math.min(this.cutAt, this.operations);
    this.releaseSyncs();
    return this.snapshot();
  }

  /** Another disk in the same state, what is durable and what is not. */
  snapshot(): SimulatedFiles {
    const twin = new SimulatedFiles();
    for (const folder of this.folders) twin.folders.add(folder);
    const copies = new Map<Content, Content>();
    const copyOf = (content: Content): Content => {
      const copy = copies.get(content) ?? content.copy();
      copies.set(content, copy);
      return copy;
    };
    for (const [path, content] of this.seen) twin.seen.set(path, copyOf(content));
    for (const [path, content] of this.durable) twin.durable.set(path, copyOf(content));
    twin.dirty = this.dirty.map((change) =>
      change.content === undefined ? change : { ...change, content: copyOf(change.content) },
    );
    return twin;
  }

  /** Another disk with the same files, all of it durable. */
  clone(): SimulatedFiles {
    const twin = new SimulatedFiles();
    for (const folder of this.folders) twin.folders.add(folder);
    for (const [path, content] of this.seen) twin.place('open', path, contentOf(Buffer.from(content.seen.view)));
    return twin;
  }

  /** Lets the syncs that wait be done, in the order in which they began. */
  releaseSyncs(): void {
    for (const done of this.waiting.splice(0)) done();
  }

  get syncsWaiting(): number {
    return this.waiting.length;
  }

  /** All files, sorted. */
  paths(): string[] {
    return [...this.seen.keys()].sort();
  }

  contents(path: string): Buffer {
    return Buffer.from(this.find('read', posix.normalize(path)).seen.view);
  }

  /** Puts a file on the disk, durable. */
  write(path: string, bytes: Uint8Array): void {
    this.place('open', path, contentOf(Buffer.from(bytes)));
  }

  /** Inverts bits of one byte where it is durable and where it is read. */
  flip(path: string, offset: number, mask = 0xff): void {
    this.find('flip', posix.normalize(path)).flip(offset, mask);
  }

  truncate(path: string, size: number): void {
    const content = this.find('truncate', posix.normalize(path));
    content.change({ size });
    content.persist(content.dirty.length);
  }

  removeFile(path: string): void {
    this.find('rm', posix.normalize(path));
    for (const names of [this.seen, this.durable]) names.delete(posix.normalize(path));
  }

  // For the files of this disk.

  /** Counts an operation that changes something; throws what is wrong with the disk. */
  begin(syscall: string, path: string): void {
    this.read();
    this.operations++;
    this.read();
    if (syscall === 'fsync' || syscall === 'fdatasync') this.beforeSync();
    if (this.readOnly && syscall !== 'fsync' && syscall !== 'fdatasync')
      throw failure('EROFS', 'read-only file system', syscall, path);
  }

  read(): void {
    if (!this.hasPower) throw new PowerCut();
  }

  failSync(path: string): void {
    if (this.syncFailures === 0) return;
    this.syncFailures--;
    throw failure('EIO', 'i/o error', 'fdatasync', path);
  }

  /** Resolves when a sync that begins now may be done. */
  syncing(): Promise<void> {
    return new Promise((resolve) => {
      if (this.delaySync) this.waiting.push(resolve);
      else setImmediate(resolve);
    });
  }

  private find(syscall: string, name: string): Content {
    const content = this.seen.get(name);
    if (content === undefined) throw failure('ENOENT', 'no such file or directory', syscall, name);
    return content;
  }

  private place(syscall: string, path: string, content?: Content): { folder: string; name: string } {
    const name = posix.normalize(path);
    const folder = posix.dirname(name);
    if (!this.folders.has(folder)) throw failure('ENOENT', 'no such file or directory', syscall, path);
    if (content !== undefined) for (const names of [this.seen, this.durable]) names.set(name, content);
    return { folder, name };
  }

  private changeNames(change: NameChange): void {
    applyNames(this.seen, change);
    this.dirty.push(change);
  }
}

class SimulatedFile implements OpenFile {
  private closed = false;

  constructor(
    private readonly disk: SimulatedFiles,
    private readonly content: Content,
    private readonly path: string,
  ) {
    disk.openCount++;
  }

  get size(): number {
    return this.content.seen.length;
  }

  append(bytes: Uint8Array): void {
    this.needsOpen('write');
    this.disk.read();
    const room = Math.min(bytes.length, this.disk.spaceLeft);
    try {
      this.disk.begin('write', this.path);
    } catch (error) {
      // The write at which the power goes may have reached the disk in part: what is dirty is left to chance.
      if (error instanceof PowerCut) this.take(bytes, room);
      throw error;
    }
    this.disk.spaceLeft -= room;
    this.take(bytes, room);
    if (room < bytes.length) throw failure('ENOSPC', 'no space left on device', 'write', this.path);
  }

  private take(bytes: Uint8Array, count: number): void {
    if (count > 0) this.content.change({ at: this.size, bytes: Buffer.from(bytes.subarray(0, count)) });
  }

  read(into: Uint8Array, offset: number, length: number, position: number): number {
    this.needsOpen('read');
    this.disk.read();
    return this.content.seen.view.copy(into, offset, position, Math.min(position + length, this.size));
  }

  truncate(size: number): void {
    this.needsOpen('ftruncate');
    this.disk.begin('ftruncate', this.path);
    this.content.change({ size });
  }

  async sync(): Promise<void> {
    this.needsOpen('fdatasync');
    this.disk.begin('fdatasync', this.path);
    const last = this.content.dirty.at(-1);
    await this.disk.syncing();
    this.disk.read();
    this.finishSync(last === undefined ? 0 : this.content.dirty.indexOf(last) + 1);
  }

  syncNow(): void {
    this.needsOpen('fdatasync');
    this.disk.begin('fdatasync', this.path);
    this.finishSync(this.content.dirty.length);
  }

  private finishSync(count: number): void {
    try {
      this.disk.failSync(this.path);
    } catch (error) {
      this.content.dirty.splice(0, count);
      throw error;
    }
    this.content.persist(count);
  }

  close(): void {
    this.needsOpen('close');
    this.closed = true;
    this.disk.openCount--;
  }

  private needsOpen(syscall: string): void {
    if (this.closed) throw failure('EBADF', 'bad file descriptor', syscall, this.path);
  }
}

/** What the disk held of a file when the power went. */
function survivor(content: Content, random: Random): Buffer {
  const bytes = new Bytes();
  bytes.apply({ at: 0, bytes: Buffer.from(content.durable.view) });
  const total = content.dirty.reduce((sum, change) => sum + ('size' in change ? 1 : change.bytes.length), 0);
  let left = random.pick([0, total, random.below(total + 1), random.below(total + 1)]);
  const torn = random.oneIn(3);
  const holed = random.oneIn(6);
  for (const change of content.dirty) {
    if (left === 0) break;
    if ('size' in change) {
      bytes.apply(change);
      left--;
      continue;
    }
    const part = Buffer.from(change.bytes.subarray(0, left));
    left -= part.length;
    if (left === 0 && torn) spoil(part, random);
    else if (holed && random.oneIn(4)) part.fill(0, random.below(part.length), part.length);
    bytes.apply({ at: change.at, bytes: part });
  }
  return bytes.view;
}

/** Zeros or rubbish in the place of the last sector. */
function spoil(bytes: Buffer, random: Random): void {
  const from = Math.max(0, bytes.length - 1 - random.below(SECTOR_BYTES));
  if (random.oneIn(2)) bytes.fill(0, from);
  else random.bytes(bytes.length - from).copy(bytes, from);
}
