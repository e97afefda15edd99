/** The simulated disk keeps what a real one would, and no more. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../../src/base/random.fuzz.js';
import type { OpenFile } from '../../src/storage/files.js';
import { PowerCut, SimulatedFiles } from './simulated-files.js';

const A = Buffer.from('aaaa');
const B = Buffer.from('bbbb');
const coded = (code: string) => (error: NodeJS.ErrnoException) => error.code === code;

function disk(): SimulatedFiles {
  const files = new SimulatedFiles();
  files.makeFolder('data');
  return files;
}

/** A file whose name and first bytes are durable. */
async function durableFile(files: SimulatedFiles, path = 'data/f', bytes = A): Promise<OpenFile> {
  const file = files.create(path);
  file.append(bytes);
  file.syncNow();
  await files.syncFolder('data');
  return file;
}

/** What `build` leaves behind after a power cut, over many seeds, as texts. */
async function outcomes(build: (files: SimulatedFiles) => unknown, path = 'data/f'): Promise<Set<string>> {
  const found = new Set<string>();
  for (let seed = 1; seed <= 200; seed++) {
    const files = disk();
    await build(files);
    const after = files.powerCut(new Random(seed));
    found.add(after.paths().includes(path) ? after.contents(path).toString('latin1') : 'no file');
  }
  return found;
}

function readAll(file: OpenFile): string {
  const bytes = Buffer.alloc(file.size);
  assert.equal(file.read(bytes, 0, bytes.length, 0), bytes.length);
  return bytes.toString('latin1');
}

describe('a simulated disk', () => {
  it('reads what was written, synced or not', async () => {
    const files = disk();
    const file = files.create('data/f');
    file.append(A);
    file.append(B);
    assert.equal(readAll(file), 'aaaabbbb');
    file.truncate(2);
    file.append(B);
    assert.equal(readAll(files.open('data/f')), 'aabbbb');
    assert.equal(file.read(Buffer.alloc(4), 0, 4, 5), 1);
    assert.equal(file.read(Buffer.alloc(4), 0, 4, 6), 0);
    files.create('data/e').close();
    files.makeFolder('data/copy');
    assert.deepEqual(files.list('data'), ['copy', 'e', 'f']);
    assert.deepEqual(files.list('nowhere'), []);
    assert.equal(files.openCount, 2);
  });

  it('fails as node:fs does', async () => {
    const files = disk();
    assert.throws(() => files.open('data/none'), coded('ENOENT'));
    assert.throws(() => files.create('nowhere/f'), coded('ENOENT'));
    assert.throws(() => files.rename('data/none', 'data/f'), coded('ENOENT'));
    await assert.rejects(files.syncFolder('nowhere'), coded('ENOENT'));
    files.remove('data/none');
    const file = files.create('data/f');
    file.close();
    assert.throws(() => file.append(A), coded('EBADF'));
    assert.throws(() => file.close(), coded('EBADF'));
  });

  it('keeps a file that is read after its name is gone', async () => {
    const files = disk();
    const file = await durableFile(files);
    files.remove('data/f');
    assert.equal(readAll(file), 'aaaa');
    assert.deepEqual(files.paths(), []);
  });
});

describe('a power cut', () => {
  it('leaves all that was synced', async () => {
    assert.deepEqual(await outcomes((files) => durableFile(files)), new Set(['aaaa']));
  });

  it('leaves any part of what was not synced, its end perhaps spoilt', async () => {
    const found = await outcomes(async (files) => (await durableFile(files)).append(B));
    for (const text of ['aaaa', 'aaaab', 'aaaabb', 'aaaabbb', 'aaaabbbb']) assert.ok(found.has(text), text);
    assert.ok([...found].some((text) => text.endsWith('\0')));
    assert.ok([...found].every((text) => text.startsWith('aaaa') && text.length <= 8));
    const gaps = await outcomes(async (files) => {
      const file = await durableFile(files);
      file.append(B);
      file.append(A);
    });
    assert.ok([...gaps].some((text) => text.endsWith('\0\0aaaa')));
  });

  it('leaves what was synced of a file whose name was not, or no file', async () => {
    const found = await outcomes((files) => {
      const file = files.create('data/f');
      file.append(A);
      file.syncNow();
    });
    assert.deepEqual(found, new Set(['aaaa', 'no file']));
  });

  it('makes a rename as a whole or not at all', async () => {
    const found = await outcomes(async (files) => {
      await durableFile(files);
      const file = files.create('data/g');
      file.append(B);
      file.syncNow();
      files.rename('data/g', 'data/f');
    });
    assert.deepEqual(found, new Set(['aaaa', 'bbbb']));
  });

  it('leaves an empty file where one was renamed before it was synced', async () => {
    const found = await outcomes(async (files) => {
      await durableFile(files);
      files.create('data/g').append(B);
      files.rename('data/g', 'data/f');
    });
    assert.ok(found.has(''));
  });

  it('does or undoes a removal that no syncFolder followed', async () => {
    const build = async (files: SimulatedFiles) => {
      await durableFile(files);
      files.remove('data/f');
    };
    assert.deepEqual(await outcomes(build), new Set(['aaaa', 'no file']));
    assert.deepEqual(
      await outcomes(async (files) => {
        await build(files);
        await files.syncFolder('data');
      }),
      new Set(['no file']),
    );
  });

  it('comes at the operation asked for and ends everything', async () => {
    const files = disk();
    const file = await durableFile(files);
    files.cutAt = files.operations + 2;
    file.append(B);
    assert.throws(() => file.append(B), PowerCut);
    assert.throws(() => file.append(B), PowerCut);
    assert.throws(() => files.open('data/f'), PowerCut);
    await assert.rejects(file.sync(), PowerCut);
    const found = new Set<number>();
    for (let seed = 1; seed <= 200; seed++) {
      const after = files.powerCut(new Random(seed));
      assert.ok(after.hasPower);
      found.add(after.contents('data/f').length);
    }
    assert.deepEqual(
      [...found].sort((a, b) => a - b),
      [4, 5, 6, 7, 8, 9, 10, 11, 12],
    );
  });

  it('is worse than the end of the process, which loses nothing and makes nothing durable', async () => {
    const files = disk();
    const file = await durableFile(files);
    file.append(B);
    const next = files.kill();
    assert.throws(() => file.append(B), PowerCut);
    assert.equal(next.contents('data/f').toString('latin1'), 'aaaabbbb');
    assert.equal(next.openCount, 0);
    const found = new Set<string>();
    for (let seed = 1; seed <= 100; seed++)
      found.add(next.kill().powerCut(new Random(seed)).contents('data/f').toString('latin1'));
    assert.ok(found.has('aaaa') && found.has('aaaabbbb'));
    const again = files.kill();
    again.open('data/f').syncNow();
    assert.equal(again.powerCut(new Random(1)).contents('data/f').toString('latin1'), 'aaaabbbb');
  });

  it('ends a sync that is under way', async () => {
    const files = disk();
    const file = await durableFile(files);
    file.append(B);
    files.delaySync = true;
    const synced = assert.rejects(file.sync(), PowerCut);
    files.powerCut(new Random(1));
    await synced;
  });
});

describe('a fault of the disk', () => {
  it('full: takes a part and says ENOSPC', async () => {
    const files = disk();
    const file = await durableFile(files);
    files.spaceLeft = 6;
    file.append(B);
    assert.throws(() => file.append(B), coded('ENOSPC'));
    assert.equal(readAll(file), 'aaaabbbbbb');
    files.spaceLeft = Number.POSITIVE_INFINITY;
    file.append(B);
    assert.equal(file.size, 14);
  });

  it('read-only: refuses every change', async () => {
    const files = disk();
    const file = await durableFile(files);
    files.readOnly = true;
    for (const change of [
      () => file.append(A),
      () => file.truncate(0),
      () => files.create('data/g'),
      () => files.open('data/f'),
      () => files.rename('data/f', 'data/g'),
      () => files.remove('data/f'),
      () => files.makeFolder('data/copy'),
    ])
      assert.throws(change, coded('EROFS'));
    assert.equal(readAll(file), 'aaaa');
  });

  it('a failed sync: what it was to write never reaches the disk, though readers see it', async () => {
    const files = disk();
    const file = await durableFile(files);
    files.syncFailures = 1;
    file.append(B);
    await assert.rejects(file.sync(), coded('EIO'));
    file.append(A);
    await file.sync();
    assert.equal(readAll(file), 'aaaabbbbaaaa');
    assert.equal(files.powerCut(new Random(1)).contents('data/f').toString('latin1'), 'aaaa\0\0\0\0aaaa');
  });

  it('a delayed sync: makes durable what was there when it began, once it is let go', async () => {
    const files = disk();
    const file = await durableFile(files);
    file.append(B);
    files.delaySync = true;
    const synced = file.sync();
    file.append(A);
    assert.equal(files.syncsWaiting, 1);
    files.releaseSyncs();
    await synced;
    files.delaySync = false;
    files.syncFailures = 1;
    await assert.rejects(file.sync());
    assert.equal(files.powerCut(new Random(1)).contents('data/f').toString('latin1'), 'aaaabbbb');
  });
});

describe('damage', () => {
  it('stays through a power cut, and leaves a clone alone', async () => {
    const files = disk();
    await durableFile(files, 'data/f');
    await durableFile(files, 'data/g');
    const twin = files.clone();
    files.flip('data/f', 1, 0x03);
    files.truncate('data/g', 2);
    const after = files.powerCut(new Random(1));
    assert.equal(after.contents('data/f').toString('latin1'), 'abaa');
    assert.equal(after.contents('data/g').toString('latin1'), 'aa');
    assert.equal(twin.contents('data/f').toString('latin1'), 'aaaa');
    after.removeFile('data/g');
    assert.deepEqual(after.paths(), ['data/f']);
    assert.throws(() => after.flip('data/g', 0), coded('ENOENT'));
  });
});
