/**
 * Goal: a backup is of one moment, whatever the store does meanwhile, and one that fails leaves nothing behind.
 *
 * Method: a store on a simulated disk, which writes on, merges and removes files while its folder is held open.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SimulatedFiles } from '../../test/support/simulated-files.js';
import { silentLogger } from '../base/index.js';
import { backupStorage, Store } from './index.js';
import { tableName } from './manifest.js';
import { holdFolder, withSnapshot } from './snapshot.js';

function open(files: SimulatedFiles, folder = 'data'): Promise<Store> {
  return Store.open({ folder, files, mode: 'sync', log: silentLogger, segmentBytes: 20_000, inline: true });
}

async function fill(store: Store, round: number): Promise<void> {
  for (let turn = 0; turn < 40; turn++) {
    for (let index = 0; index < 10; index++)
      store.put(
        `key ${String((turn * 10 + index) % 300).padStart(3, '0')}`,
        Buffer.from(`${round} ${'x'.repeat(200)}`),
      );
    await store.settled();
  }
}

function valuesOf(files: SimulatedFiles, folder: string): string[] {
  return withSnapshot(files, folder, (snapshot) => [...snapshot.entries()].map(({ value }) => value.toString()));
}

describe('a backup', () => {
  it('holds a moment while all files of it are replaced', async () => {
    const files = new SimulatedFiles();
    const store = await open(files);
    for (let round = 0; round < 4; round++) await fill(store, round);
    const held = holdFolder(files, 'data');
    const before = files.list('data');
    for (let round = 4; round < 20; round++) await fill(store, round);
    assert.ok(before.every((name) => ['manifest', 'lock'].includes(name) || !files.list('data').includes(name)));
    assert.ok(held.manifest.tables.length > 0);
    const view = held.files;
    assert.deepEqual(
      view.list('data').filter((name) => name.startsWith('table')),
      held.manifest.tables.map(tableName).sort(),
    );
    for (const name of view.list('data').filter((each) => each !== 'manifest')) {
      const file = view.open(`data/${name}`);
      assert.ok(file.size > 0);
      assert.equal(file.read(Buffer.alloc(8), 0, 8, 0), 8);
      assert.equal(file.read(Buffer.alloc(8), 0, 8, file.size - 4), 4);
      assert.throws(() => file.append(Buffer.alloc(1)), /for reading/);
    }
    held.close();
    await store.close();
    assert.equal(files.openCount, 0);
  });

  it('opens as a store with what was there', async () => {
    const files = new SimulatedFiles();
    const store = await open(files);
    for (let round = 0; round < 3; round++) await fill(store, round);
    const { tables, segments } = await backupStorage(files, 'data', 'backup');
    assert.ok(tables > 0 && segments > 0);
    assert.deepEqual(valuesOf(files, 'backup'), valuesOf(files, 'data'));
    await fill(store, 3);
    await store.close();
    const restored = await open(files, 'backup');
    const values = [...restored.scan('', undefined)].map(({ value }) => value.toString());
    assert.equal(values.length, 300);
    assert.ok(values.every((value) => !value.startsWith('3 ')));
    await restored.close();
  });

  it('leaves nothing behind when the disk fills up, and says so', async () => {
    const files = new SimulatedFiles();
    const store = await open(files);
    for (let round = 0; round < 3; round++) await fill(store, round);
    await store.close();
    for (const room of [0, 20, 1000, 30_000]) {
      files.spaceLeft = room;
      await assert.rejects(backupStorage(files, 'data', 'backup'), { code: 'ENOSPC' });
      assert.deepEqual(files.list('backup'), []);
    }
    files.spaceLeft = Number.POSITIVE_INFINITY;
    await backupStorage(files, 'data', 'backup');
    assert.equal(files.openCount, 0);
  });
});
