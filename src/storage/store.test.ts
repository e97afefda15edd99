/**
 * The store through its own eyes: views, frames, rotation, watermarks. What every mode promises over power cuts and failures is
 * tested in `test/durability`.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SimulatedFiles } from '../../test/support/simulated-files.js';
import { assertHolds, contentsOf, recordingLogger } from '../../test/support/store-run.js';
import { Random } from '../base/random.fuzz.js';
import type { DurabilityMode } from './mode.js';
import { Store, type StoreOptions } from './store.js';

function optionsOf(files: SimulatedFiles, mode: DurabilityMode, more: Partial<StoreOptions> = {}): StoreOptions {
  return { mode, folder: 'data', files, log: recordingLogger(), inline: true, ...more };
}

const open = (files: SimulatedFiles, mode: DurabilityMode = 'buffered', more: Partial<StoreOptions> = {}) =>
  Store.open(optionsOf(files, mode, more));

const text = (value: Buffer | undefined) => value?.toString('latin1');

async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; !condition(); turn++) {
    assert.ok(turn < 10_000, 'it does not come to that');
    await new Promise(setImmediate);
  }
}

describe('values', () => {
  it('stay as they were read, whatever is written afterwards', async () => {
    for (const mode of ['memory', 'buffered'] as const) {
      const store = await open(new SimulatedFiles(), mode);
      const random = new Random(4);
      const held: { view: Buffer; copy: Buffer }[] = [];
      for (let turn = 0; turn < 300; turn++) {
        const value = random.bytes(random.pick([0, 10, 3000, 300_000]));
        store.put(`r${turn % 7}`, value);
        const view = store.get(`r${turn % 7}`)!;
        assert.deepEqual(view, value);
        held.push({ view, copy: Buffer.from(value) });
        if (random.oneIn(3)) store.commit();
      }
      for (const { view, copy } of held) assert.ok(view.equals(copy));
      await store.close();
    }
  });

  it('hold nothing of what came and went beside them where nothing is written', async () => {
    const store = await open(new SimulatedFiles(), 'memory');
    for (let turn = 0; turn < 50; turn++) {
      store.put(`d${turn}`, Buffer.alloc(10), 'buffered', true);
      for (let number = 0; number < 100; number++) store.put(`e${number}`, Buffer.alloc(3000), 'buffered', true);
      for (let number = 0; number < 100; number++) store.remove(`e${number}`);
      store.commit();
    }
    const buffers = new Set([...store.scan('d', 'e')].map(({ value }) => value.buffer));
    const bytes = [...buffers].reduce((sum, { byteLength }) => sum + byteLength, 0);
    assert.ok(buffers.size > 0 && bytes < 10_000, `${bytes} bytes for 50 values of 10`);
    await store.close();
  });

  it('are filled in where `reserve` says', async () => {
    const store = await open(new SimulatedFiles());
    const at = store.reserve('k', 5, false, true);
    store.chunk.write('hello', at);
    assert.equal(text(store.get('k')), 'hello');
    const empty = store.reserve('empty', 0, false, false);
    assert.ok(empty <= store.chunk.length);
    assert.equal(text(store.get('empty')), '');
    await store.close();
  });

  it('of a fresh key that comes and goes leave nothing in a table', async () => {
    const files = new SimulatedFiles();
    const store = await open(files, 'buffered', { segmentBytes: 2000 });
    for (let count = 0; count < 500; count++) {
      store.put(`Qaaaa${count}`, Buffer.alloc(100), undefined, true);
      store.commit();
      store.remove(`Qaaaa${count}`);
      store.commit();
      await new Promise(setImmediate);
    }
    await store.close();
    const again = await open(files);
    assert.equal(contentsOf(again).size, 0);
    assert.ok(again.tableBytes < 2000, `${again.tableBytes} bytes of tables`);
    await again.close();
  });
});

describe('what is left at the end of a segment', () => {
  const few = async (files: SimulatedFiles, mode: DurabilityMode): Promise<Store> => {
    const store = await open(files, mode, { segmentBytes: 20_000 });
    for (const key of ['a', 'b']) store.put(key, Buffer.from(`kept ${key}`));
    store.put('gone', Buffer.from('x'));
    store.remove('gone');
    for (let count = 0; count < 1000; count++) {
      store.put(`Qaaaa${count}`, Buffer.alloc(100), undefined, true);
      store.commit();
      store.remove(`Qaaaa${count}`);
      store.commit();
      await new Promise(setImmediate);
    }
    return store;
  };

  it('is carried over when it is little: no table, no growth', async () => {
    for (const mode of ['buffered', 'faultTolerant'] as const) {
      const files = new SimulatedFiles();
      const store = await few(files, mode);
      assert.equal(store.tableCount, 0);
      assert.ok(files.list('data').filter((name) => name.startsWith('log')).length <= 3);
      assert.ok(store.logBytes < 60_000, `${store.logBytes} bytes`);
      const again = await open(files.kill(), mode);
      assert.deepEqual(
        contentsOf(again),
        new Map([
          ['a', 'kept a'],
          ['b', 'kept b'],
        ]),
      );
      await again.close();
    }
  });

  it('is missed when it was damaged, though no later frame proves that it was there', async () => {
    const files = new SimulatedFiles();
    await few(files, 'buffered');
    const after = files.kill();
    const [first] = after
      .list('data')
      .filter((name) => name.startsWith('log'))
      .sort();
    after.truncate(`data/${first}`, 60);
    for (const name of after.list('data').filter((each) => each.startsWith('log') && each !== first))
      after.removeFile(`data/${name}`);
    await assert.rejects(open(after), { code: 'STORAGE_DAMAGED', message: /carried over/ });
  });
});

describe('what was removed of tables', () => {
  const VALUES = 40;

  /** A store whose tables hold a few large values. */
  async function large(files: SimulatedFiles): Promise<Store> {
    const store = await open(files, 'buffered', { segmentBytes: 20_000 });
    for (let count = 0; count < VALUES; count++) {
      store.put(`large ${count}`, Buffer.alloc(10_000));
      store.commit();
    }
    await eventually(() => {
      store.reclaim();
      return store.tableBytes > (VALUES - 3) * 10_000;
    });
    return store;
  }

  const eventually = async (condition: () => boolean) => {
    while (!condition()) await new Promise(setImmediate);
  };

  it('gives its space back though little is removed and nothing follows', async () => {
    const store = await large(new SimulatedFiles());
    for (let count = 0; count < VALUES; count++) store.remove(`large ${count}`);
    store.commit();
    store.reclaim();
    await eventually(() => store.tableBytes === 0);
    store.reclaim();
    assert.equal(contentsOf(store).size, 0);
    await store.close();
  });

  it('gives its space back though the removals would be carried over', async () => {
    const store = await large(new SimulatedFiles());
    for (let count = 0; count < VALUES; count++) store.remove(`large ${count}`);
    for (let count = 0; count < 1000; count++) {
      store.put(`Qaaaa${count}`, Buffer.alloc(100), undefined, true);
      store.commit();
      store.remove(`Qaaaa${count}`);
      store.commit();
      await new Promise(setImmediate);
    }
    assert.equal(store.tableBytes, 0);
    await store.close();
  });

  it('stays where it is little', async () => {
    const store = await large(new SimulatedFiles());
    const { tableBytes, tableCount } = store;
    for (let count = 0; count < VALUES / 8; count++) store.remove(`large ${count}`);
    store.commit();
    store.reclaim();
    for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
    assert.deepEqual([store.tableBytes, store.tableCount], [tableBytes, tableCount]);
    await store.close();
  });
});

describe('after a failure', () => {
  it('what is removed while all is written anew stays removed', async () => {
    const files = new SimulatedFiles();
    const store = await open(files);
    for (const key of ['Qaaaa1', 'Qaaaa2']) store.put(key, Buffer.from(key), undefined, true);
    store.commit();
    files.readOnly = true;
    store.put('Qaaaa3', Buffer.from('3'), undefined, true);
    store.commit();
    assert.ok(store.failed);
    files.delaySync = true;
    files.readOnly = false;
    while (files.syncsWaiting === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    for (const key of ['Qaaaa1', 'Qaaaa3']) store.remove(key);
    store.commit();
    store.put('Qaaaa4', Buffer.from('4'), undefined, true);
    store.commit();
    store.remove('Qaaaa4');
    store.put('Qaaaa5', Buffer.from('5'), undefined, true);
    store.commit();
    files.delaySync = false;
    files.releaseSyncs();
    await until(() => store.failed === undefined);
    await until(() => store.synced === store.sequence);
    const again = await open(files.kill());
    assert.deepEqual(
      contentsOf(again),
      new Map([
        ['Qaaaa2', 'Qaaaa2'],
        ['Qaaaa5', '5'],
      ]),
    );
    await again.close();
  });
});

describe('a scan', () => {
  it('sees memory, what is becoming a table, and tables as one', async () => {
    const files = new SimulatedFiles();
    const store = await open(files, 'buffered', { segmentBytes: 4000 });
    const random = new Random(9);
    const model = new Map<string, string>();
    for (let turn = 0; turn < 400; turn++) {
      const key = `${random.pick(['r', 'Qaaaa', 'x'])}${random.below(40)}`;
      if (random.oneIn(3)) {
        store.remove(key);
        model.delete(key);
      } else {
        store.put(key, Buffer.from(`${turn}`.padEnd(random.below(200))));
        model.set(key, text(store.get(key))!);
      }
      if (random.oneIn(2)) store.commit();
      if (random.oneIn(5)) await new Promise(setImmediate);
      if (turn % 20 === 0) assertHolds(store, model, `turn ${turn}`);
    }
    assert.ok(store.tableCount > 0);
    await store.close();
    const again = await open(files);
    assertHolds(again, model, 'again');
    await again.close();
    assert.equal(files.openCount, 0);
  });
});

describe('watermarks', () => {
  it('pass what is written at the commit, and what is synced when the disk says so', async () => {
    const files = new SimulatedFiles();
    const store = await open(files, 'sync');
    files.delaySync = true;
    store.put('a', Buffer.from('1'));
    assert.ok(store.written < store.sequence);
    const order: string[] = [];
    store.whenSynced(store.sequence, () => order.push('a'));
    store.commit();
    assert.equal(store.written, store.sequence);
    store.put('b', Buffer.from('2'));
    store.commit();
    store.whenSynced(store.sequence, () => order.push('b'));
    await new Promise(setImmediate);
    assert.equal(order.length, 0);
    files.releaseSyncs();
    await until(() => order.length === 1);
    assert.deepEqual(order, ['a']);
    assert.ok(store.synced === store.sequence - 1 && files.syncsWaiting === 1, 'one sync at a time');
    files.releaseSyncs();
    await until(() => order.length === 2);
    store.whenSynced(store.sequence, () => order.push('at once'));
    assert.equal(order.at(-1), 'at once');
    files.delaySync = false;
    await store.close();
  });

  it('ask for a sync only where an operation does', async () => {
    const files = new SimulatedFiles();
    const store = await open(files, 'buffered');
    let syncs = 0;
    files.beforeSync = () => syncs++;
    store.put('bulk', Buffer.from('x'));
    store.commit();
    assert.deepEqual([syncs, store.syncSequence < store.sequence], [0, true]);
    await store.settled();
    assert.equal(syncs, 0);
    store.put('alarm', Buffer.from('x'), 'sync');
    store.commit();
    assert.equal(store.syncSequence, store.sequence);
    await until(() => store.synced === store.sequence);
    assert.equal(syncs, 1);
    await store.close();
  });

  it('tell a program when there is something to commit, once a turn', async () => {
    const store = await open(new SimulatedFiles());
    let told = 0;
    store.onOperation = () => told++;
    store.put('a', Buffer.alloc(1));
    store.put('b', Buffer.alloc(1));
    assert.equal(told, 1);
    store.commit();
    store.remove('a');
    assert.equal(told, 2);
    await store.close();
  });
});

describe('opening and closing', () => {
  it('lets nobody else in between, and twice is once', async () => {
    const files = new SimulatedFiles();
    const store = await open(files);
    await assert.rejects(open(files), { code: 'STORAGE_IN_USE' });
    store.put('k', Buffer.from('v'));
    await store.close();
    await store.close();
    const again = await open(files);
    assert.equal(text(again.get('k')), 'v');
    assert.equal(again.identity, store.identity);
    await again.close();
  });

  it('asks what is summed up before the log becomes a table, and keeps it in that table', async () => {
    const files = new SimulatedFiles();
    const store = await open(files, 'buffered', { segmentBytes: 1000 });
    let sum = 0;
    store.beforeRotation = () => store.put('sum', Buffer.from(`${sum}`), 'buffered');
    for (let turn = 0; turn < 50; turn++) {
      store.put(`k${turn}`, Buffer.alloc(50));
      sum++;
      store.commit();
      await new Promise(setImmediate);
    }
    await until(() => store.tableCount > 0);
    const after = files.kill();
    const replayed: string[] = [];
    const again = await open(after, 'buffered', {
      onTables: (tables) => replayed.push(`from ${text(tables.get('sum'))}`),
      onReplay: (_store, key) => replayed.push(key),
    });
    const from = Number(replayed[0]!.slice(5));
    const counted = replayed.filter((key) => key.startsWith('k')).length;
    assert.equal(from + counted, 50, 'what the table sums up and what the log adds is all there is');
    await again.close();
  });

  it('reads a folder of one copy and of two, one after the other', async () => {
    const files = new SimulatedFiles();
    const model = new Map<string, string>();
    for (const mode of ['faultTolerant', 'buffered', 'faultTolerant', 'sync', 'faultTolerant'] as const) {
      const store = await open(files, mode, { segmentBytes: 500 });
      assertHolds(store, model, mode);
      for (let index = 0; index < 10; index++) {
        store.put(`${mode}${index}${model.size}`, Buffer.alloc(90, mode));
        model.set(`${mode}${index}${model.size}`, Buffer.alloc(90, mode).toString('latin1'));
        store.commit();
      }
      await store.settled();
      await store.close();
    }
    const last = await open(files, 'faultTolerant');
    assertHolds(last, model, 'at last');
    await last.close();
  });

  it('says what is wrong with a folder that cannot be used', async () => {
    const files = new SimulatedFiles();
    files.readOnly = true;
    await assert.rejects(open(files), {
      code: 'STORAGE_UNUSABLE',
      message: /the data folder data cannot be used: EROFS/,
    });
    files.readOnly = false;
    await (await open(files)).close();
  });

  it('refuses a folder of a format to come', async () => {
    const files = new SimulatedFiles();
    await (await open(files)).close();
    const { crc32 } = await import('node:zlib');
    const json = files.contents('data/manifest').toString().split('\n')[0]!.replace('"format":1', '"format":99');
    files.write('data/manifest', Buffer.from(`${json}\n${crc32(json).toString(16).padStart(8, '0')}\n`));
    await assert.rejects(open(files), { code: 'STORAGE_FORMAT', message: /format 99/ });
  });
});
