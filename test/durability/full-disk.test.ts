/**
 * Goal: while the disk takes nothing, nothing is acknowledged, reads go on, and storage goes on by itself once the disk does.
 *
 * Method: faults of the simulated disk are switched on under a store at work and off again. Recovery takes the store's own
 * time, a second or so: the tests wait for `onHealth` and not for a time.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Random } from '../../src/base/random.fuzz.js';
import { type DurabilityMode, Store } from '../../src/storage/index.js';
import { SimulatedFiles } from '../support/simulated-files.js';
import { assertHolds, recordingLogger, StoreRun } from '../support/store-run.js';

const modes = ['buffered', 'sync', 'faultTolerant'] as const;
const PATIENCE_MS = 60_000;

interface Fault {
  readonly name: string;
  readonly code: string;
  readonly modes: readonly DurabilityMode[];
  readonly on: (files: SimulatedFiles) => void;
  readonly off: (files: SimulatedFiles) => void;
}

const faults: readonly Fault[] = [
  {
    name: 'a full disk',
    code: 'ENOSPC',
    modes,
    on: (files) => (files.spaceLeft = 700),
    off: (files) => (files.spaceLeft = Number.POSITIVE_INFINITY),
  },
  {
    name: 'a disk that became read-only',
    code: 'EROFS',
    modes,
    on: (files) => (files.readOnly = true),
    off: (files) => (files.readOnly = false),
  },
  {
    name: 'syncs that fail',
    code: 'EIO',
    modes: ['sync', 'faultTolerant'],
    on: (files) => (files.syncFailures = Number.POSITIVE_INFINITY),
    off: (files) => (files.syncFailures = 0),
  },
];

function options(files: SimulatedFiles, mode: DurabilityMode, segmentBytes = 3000) {
  return { folder: 'data', files, mode, log: recordingLogger(), segmentBytes, inline: true };
}

/** Resolves once the store says that it is well again. */
function recovered(store: Store): Promise<void> {
  return new Promise((resolve, reject) => {
    // Keeps the process alive: the store's own timer does not.
    const timer = setTimeout(() => reject(new Error('the store did not recover')), PATIENCE_MS);
    store.onHealth = (failed) => {
      if (failed !== undefined) return;
      clearTimeout(timer);
      resolve();
    };
  });
}

/** Turns until the store has noticed what is wrong. */
async function workUntilFailed(store: Store, run: StoreRun): Promise<void> {
  for (let turn = 0; store.failed === undefined; turn++) {
    assert.ok(turn < 1000, 'the store does not notice');
    run.turn();
    await nextTurn();
  }
}

/** Some turns, all settled. */
async function work(store: Store, run: StoreRun, turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) {
    run.turn();
    if (turn % 5 === 0) await store.settled();
  }
  await store.settled();
}

/** What a start after a power cut finds, or after the end of the process in mode `buffered`. */
async function reopened(files: SimulatedFiles, mode: DurabilityMode, seed: number): Promise<Store> {
  const after = mode === 'buffered' ? files.kill() : files.powerCut(new Random(seed));
  return Store.open(options(after, mode));
}

for (const fault of faults)
  describe(fault.name, { concurrency: true }, () => {
    for (const mode of fault.modes) {
      it(`stops acknowledgements, not reads, and heals in mode ${mode}`, async () => {
        const files = new SimulatedFiles();
        const { log, ...rest } = options(files, mode);
        const store = await Store.open({ ...rest, log });
        const run = new StoreRun(store, new Random(7), 2000);
        await work(store, run, 30);
        const { sequence } = run.last;
        fault.on(files);
        await workUntilFailed(store, run);
        assert.equal((store.failed as NodeJS.ErrnoException).code, fault.code);
        assert.ok(log.lines.some((line) => line.level === 'error' && line.text.includes(fault.code)));
        await assert.rejects(store.settled(), { code: fault.code });
        await new Promise<void>((resolve) => store.whenSynced(store.sequence, (error) => resolve(assert.ok(error))));
        const { written, synced } = store;
        for (let turn = 0; turn < 10; turn++) run.turn();
        await nextTurn();
        assert.ok(store.written === written && store.synced === synced, 'watermarks stand still');
        assert.ok((mode === 'buffered' ? written : synced) >= sequence);
        assertHolds(store, run.last.model, 'while it has failed:');

        const healthy = recovered(store);
        fault.off(files);
        await healthy;
        assert.equal(store.failed, undefined);
        await store.settled();
        const afterFault = run.frames.length - 1;
        assertHolds(store, run.last.model, 'after recovery:');
        const next = await reopened(files, mode, 1);
        assertHolds(next, run.frames[afterFault]!.model, 'started again after recovery:');
        await next.close();
        await store.close().catch(() => {});
      });

      it(`loses nothing that was settled when the machine stops before it heals, in mode ${mode}`, async () => {
        const files = new SimulatedFiles();
        const store = await Store.open(options(files, mode));
        const run = new StoreRun(store, new Random(8), 2000);
        await work(store, run, 30);
        const settled = run.frames.length - 1;
        fault.on(files);
        await workUntilFailed(store, run);
        for (let turn = 0; turn < 5; turn++) run.turn();
        fault.off(files);
        const next = await reopened(files, mode, 2);
        const found = new Map([...next.scan('', undefined)].map(({ key, value }) => [key, value.toString('latin1')]));
        const frame = run.frames.findLastIndex(({ model }) => sameModel(model, found));
        assert.ok(frame >= settled, `frame ${frame} of ${run.frames.length} is found, ${settled} was settled`);
        await next.close();
        await store.close().catch(() => {});
      });
    }
  });

function sameModel(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
}

describe('recovery from a fault', { concurrency: true }, () => {
  for (const mode of ['sync', 'faultTolerant'] as const)
    it(`that is cut off anywhere loses nothing, in mode ${mode}`, async () => {
      // Each try of the store fails at a later sync than the one before, until one comes through: after each the power is
      // cut on a copy of the disk as it stands.
      const files = new SimulatedFiles();
      const store = await Store.open(options(files, mode));
      const run = new StoreRun(store, new Random(9), 2000);
      await work(store, run, 60);
      const settled = run.frames.length - 1;
      files.syncFailures = 1;
      await workUntilFailed(store, run);
      const snapshots: SimulatedFiles[] = [];
      const healthy = recovered(store);
      let syncs = 0;
      let allowed = 0;
      /** Once the store has cleaned up after a failure; its next try comes much later. */
      const snapshotSoon = async () => {
        for (let turn = 0; turn < 10; turn++) await nextTurn();
        snapshots.push(files.snapshot());
      };
      files.beforeSync = () => {
        if (syncs++ < allowed) return;
        syncs = 0;
        allowed++;
        files.syncFailures = 1;
        void snapshotSoon();
      };
      await healthy;
      files.beforeSync = () => {};
      assert.ok(snapshots.length > 2, `${snapshots.length} tries`);
      for (const [index, snapshot] of snapshots.entries())
        for (let seed = 1; seed <= 20; seed++) {
          const context = `try ${index + 1}, seed ${seed}`;
          const next = await Store.open(options(snapshot.snapshot().powerCut(new Random(seed)), mode)).catch(
            (error: Error) => assert.fail(`${context}: ${error.message}`),
          );
          const found = new Map([...next.scan('', undefined)].map(({ key, value }) => [key, value.toString('latin1')]));
          const frame = run.frames.findLastIndex(({ model }) => sameModel(model, found));
          assert.ok(frame >= settled, `${context}: frame ${frame} is found, ${settled} was settled`);
          await next.close();
        }
      await store.settled();
      await store.close();
    });

  it('takes along what is put while it runs, half a turn as well', async () => {
    const files = new SimulatedFiles();
    const store = await Store.open(options(files, 'sync'));
    store.put('before', Buffer.from('1'));
    await store.settled();
    files.syncFailures = 1;
    store.put('failed', Buffer.from('2'));
    await assert.rejects(store.settled(), { code: 'EIO' });
    const healthy = recovered(store);
    files.delaySync = true;
    while (files.syncsWaiting === 0) await nextTurn();
    store.put('committed', Buffer.from('3'));
    store.commit();
    store.put('open', Buffer.from('4')); // its turn has not ended when the store recovers
    files.delaySync = false;
    files.releaseSyncs();
    await healthy;
    store.commit();
    store.put('after', Buffer.from('5'));
    await store.settled();
    const next = await reopened(files, 'sync', 3);
    assert.deepEqual(
      [...next.scan('', undefined)].map(({ key, value }) => [key, value.toString()]),
      [
        ['after', '5'],
        ['before', '1'],
        ['committed', '3'],
        ['failed', '2'],
        ['open', '4'],
      ],
    );
    await next.close();
    await store.close().catch(() => {});
  });

  it('takes along more than one frame holds', async () => {
    const files = new SimulatedFiles();
    const store = await Store.open(options(files, 'sync', 1 << 30));
    const expected = new Map<string, string>();
    for (let index = 0; index < 100; index++) {
      expected.set(`key ${String(index).padStart(3, '0')}`, String(index).repeat(10_000));
      store.put(`key ${String(index).padStart(3, '0')}`, Buffer.from(String(index).repeat(10_000)));
    }
    files.syncFailures = 1;
    await assert.rejects(store.settled(), { code: 'EIO' });
    await recovered(store);
    const next = await reopened(files, 'sync', 4);
    assertHolds(next, expected);
    await next.close();
    await store.close().catch(() => {});
  });

  it('is given up by close, which says what was not stored and leaves nothing open', async () => {
    const files = new SimulatedFiles();
    const store = await Store.open(options(files, 'sync'));
    store.put('key', Buffer.from('1'));
    await store.settled();
    files.readOnly = true;
    store.put('key', Buffer.from('2'));
    await assert.rejects(store.settled(), { code: 'EROFS' });
    await assert.rejects(store.close(), { code: 'EROFS' });
    assert.equal(files.openCount, 0);
    files.readOnly = false;
    const next = await Store.open(options(files, 'sync'));
    assert.equal(next.get('key')?.toString(), '1');
    await next.close();
  });

  it('that is under way when the store is closed touches nothing after it', async () => {
    const files = new SimulatedFiles();
    const store = await Store.open(options(files, 'sync'));
    files.syncFailures = 1;
    store.put('key', Buffer.from('1'));
    await assert.rejects(store.settled(), { code: 'EIO' });
    files.delaySync = true;
    while (files.syncsWaiting === 0) await nextTurn();
    files.delaySync = false;
    const closed = store.close().catch(() => {});
    files.releaseSyncs();
    await closed;
    const { operations } = files;
    for (let turn = 0; turn < 50; turn++) await nextTurn();
    assert.equal(files.operations, operations);
    assert.equal(files.openCount, 0);
  });

  it('is not needed when only a merge or a table fails for a while: nothing is lost', async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const random = new Random(seed);
      const files = new SimulatedFiles();
      const store = await Store.open(options(files, 'sync', 1000));
      const run = new StoreRun(store, random, 2000);
      await work(store, run, 10 + random.below(20));
      let settled = run.frames.length - 1;
      for (let turn = 0; turn < 10 && store.failed === undefined; turn++) {
        if (random.oneIn(3)) files.syncFailures = 1;
        run.turn();
        const frame = run.frames.length - 1;
        await store.settled().then(
          () => (settled = frame),
          () => {},
        );
      }
      files.syncFailures = 0;
      const next = await reopened(files, 'sync', seed);
      const found = new Map([...next.scan('', undefined)].map(({ key, value }) => [key, value.toString('latin1')]));
      const frame = run.frames.findLastIndex(({ model }) => sameModel(model, found));
      assert.ok(frame >= settled, `seed ${seed}: frame ${frame} is found, ${settled} was settled`);
      await next.close();
      await store.close().catch(() => {});
    }
  });
});
