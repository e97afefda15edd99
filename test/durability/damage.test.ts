/**
 * Goal: damage in one of two copies is repaired and told; damage that cannot be repaired is told, and nothing is cut silently.
 *
 * Method: data folders are made once on a simulated disk, with tables and several log segments; each seed takes a clone of
 * one, damages a random file of it, and opens it. A seed that fails can be run alone: DUNLIN_SEED=n; more of them:
 * DUNLIN_DAMAGES=n.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Random } from '../../src/base/random.fuzz.js';
import { type DurabilityMode, Store } from '../../src/storage/index.js';
import { SimulatedFiles } from '../support/simulated-files.js';
import { contentsOf, difference, type Model, recordingLogger, StoreRun } from '../support/store-run.js';

const COUNT = Number(process.env.DUNLIN_DAMAGES ?? 1000);
const seeds =
  process.env.DUNLIN_SEED === undefined
    ? Array.from({ length: COUNT }, (_, index) => index + 1)
    : [Number(process.env.DUNLIN_SEED)];
const FOLDERS = 12;
const FAILURES_SHOWN = 5;

interface Folder {
  readonly files: SimulatedFiles;
  readonly model: Model;
}

function options(files: SimulatedFiles, mode: DurabilityMode, log = recordingLogger()) {
  return { folder: 'data', files, mode, log, segmentBytes: 3000, inline: true };
}

/** A folder after some work, one that was closed once or twice; the last log segments hold frames. */
async function makeFolder(seed: number, mode: DurabilityMode): Promise<Folder> {
  const random = new Random(seed);
  const files = new SimulatedFiles();
  let model: Model = new Map();
  for (let opening = 0; opening < 2; opening++) {
    const carriedBytesMax = seed % 2 === 0 ? 0 : 2500;
    const store = await Store.open({ ...options(files, mode), carriedBytesMax });
    const run = new StoreRun(store, random, 5000);
    for (let turn = 0; turn < 20 + 20 * (seed % 3); turn++) {
      run.turn();
      if (random.oneIn(2)) await nextTurn();
    }
    for (let turn = 0; turn < 4; turn++) {
      run.turn();
      await store.settled();
    }
    model = run.last.model;
    await store.close();
  }
  return { files: files.clone(), model };
}

/** Damages one file; returns what was done, for the message of a failure. */
function damage(files: SimulatedFiles, path: string, random: Random): string {
  const bytes = files.contents(path).length;
  if (random.oneIn(4)) {
    files.removeFile(path);
    return `removed ${path}`;
  }
  if (random.oneIn(3)) {
    const size = random.below(bytes);
    files.truncate(path, size);
    return `cut ${path} of ${bytes} bytes at ${size}`;
  }
  const offsets = Array.from({ length: 1 + random.below(3) }, () => random.below(bytes));
  for (const offset of new Set(offsets)) files.flip(path, offset, 1 + random.below(255));
  return `flipped bytes of ${path} (${bytes} bytes) at ${offsets.join(', ')}`;
}

const filesOf = (files: SimulatedFiles, folder: string) =>
  files.paths().filter((path) => path.startsWith(`${folder}/`) && !path.slice(folder.length + 1).includes('/'));

function assertCopiesAlike(files: SimulatedFiles): void {
  const names = (folder: string) => filesOf(files, folder).map((path) => path.slice(folder.length + 1));
  assert.deepEqual(names('data'), names('data/copy'), 'the copies have other files');
  for (const name of names('data'))
    assert.ok(
      files.contents(`data/${name}`).equals(files.contents(`data/copy/${name}`)),
      `the copies of ${name} differ`,
    );
}

async function eachSeed(work: (seed: number) => Promise<void>): Promise<void> {
  const failures: string[] = [];
  for (const seed of seeds)
    await work(seed).catch((error: Error) => {
      failures.push(`seed ${seed}: ${process.env.DUNLIN_SEED === undefined ? error.message : error.stack}`);
    });
  assert.equal(
    failures.length,
    0,
    `${failures.length} of ${seeds.length} seeds, the first of them:\n${failures.slice(0, FAILURES_SHOWN).join('\n')}`,
  );
}

describe('damage in mode faultTolerant', () => {
  it(`of one copy is repaired from the other, and logged (${seeds.length} seeds)`, async () => {
    const folders = await Promise.all(
      Array.from({ length: FOLDERS }, (_, index) => makeFolder(index + 1, 'faultTolerant')),
    );
    await eachSeed(async (seed) => {
      const random = new Random(seed);
      const { files: whole, model } = random.pick(folders);
      const files = whole.clone();
      const folder = random.pick(['data', 'data/copy']);
      const path = random.pick(filesOf(files, folder));
      const done = damage(files, path, random);
      const log = recordingLogger();
      const store = await Store.open(options(files, 'faultTolerant', log)).catch((error: Error) => {
        throw new Error(`${done}: ${error.message}`);
      });
      const wrong = difference(contentsOf(store), model);
      const told = log.lines.some((line) => line.event === 'storage.repaired' && line.text.includes(path.slice(5)));
      await store.close();
      assert.equal(wrong, undefined, `${done}: ${wrong}`);
      assert.ok(
        told || log.lines.some(({ event, text }) => event === 'storage.repaired' && text.includes('manifest')),
        `${done}: nothing is logged about it: ${JSON.stringify(log.lines)}`,
      );
      assertCopiesAlike(files);
      const quiet = recordingLogger();
      await (await Store.open(options(files, 'faultTolerant', quiet))).close();
      assert.deepEqual(quiet.lines, [], `${done}: the next start finds damage still`);
    });
  });

  it('of many files in one copy, or the loss of a whole copy, is repaired', async () => {
    const { files: whole, model } = await makeFolder(2, 'faultTolerant');
    for (const folder of ['data', 'data/copy']) {
      const files = whole.clone();
      for (const path of filesOf(files, folder)) files.removeFile(path);
      const store = await Store.open(options(files, 'faultTolerant'));
      assert.equal(difference(contentsOf(store), model), undefined, folder);
      await store.close();
      assertCopiesAlike(files);
    }
  });

  it('of different files, one in each copy, is repaired', async () => {
    const { files, model } = await makeFolder(3, 'faultTolerant');
    filesOf(files, 'data').forEach((path, index) => {
      const wrong = index % 2 === 0 ? path : path.replace('data/', 'data/copy/');
      files.flip(wrong, files.contents(wrong).length >> 1);
    });
    const store = await Store.open(options(files, 'faultTolerant'));
    assert.equal(difference(contentsOf(store), model), undefined);
    await store.close();
    assertCopiesAlike(files);
  });

  it('of one file in both copies is refused', async () => {
    const { files } = await makeFolder(3, 'faultTolerant');
    const table = filesOf(files, 'data').find((path) => path.includes('table'))!;
    for (const path of [table, table.replace('data/', 'data/copy/')]) files.flip(path, 40);
    await assert.rejects(
      Store.open(options(files, 'faultTolerant')),
      ({ code, message }: NodeJS.ErrnoException) =>
        code === 'STORAGE_DAMAGED' && message.includes(table.slice(5)) && message.includes('both copies'),
    );
  });
});

for (const mode of ['buffered', 'sync'] as const)
  describe(`damage in mode ${mode}`, () => {
    it('in the middle of the log is refused with file, offset and what to do', async () => {
      const { files: whole } = await makeFolder(3, mode);
      const log = filesOf(whole, 'data').filter((path) => path.includes('log-'))[0]!;
      const size = whole.contents(log).length;
      for (const offset of [0, 20, size >> 2, size >> 1]) {
        const files = whole.clone();
        files.flip(log, offset);
        const before = files.contents(log);
        await assert.rejects(Store.open(options(files, mode)), ({ code, message }: NodeJS.ErrnoException) => {
          assert.equal(code, 'STORAGE_DAMAGED', message);
          assert.match(message, new RegExp(log.slice(5)));
          assert.match(message, /at byte \d+/);
          assert.match(message, /dunlin storage check --repair/);
          return true;
        });
        assert.ok(files.contents(log).equals(before), 'the damaged log is left as it is');
      }
    });

    it('by the loss of a log segment that others follow is refused, in a folder without tables too', async () => {
      const files = new SimulatedFiles();
      for (const value of ['first', 'second']) {
        const store = await Store.open(options(files, mode));
        store.put(value, Buffer.from(value));
        await store.settled();
        await store.close();
      }
      const [first] = filesOf(files, 'data').filter((path) => path.includes('log-'));
      files.removeFile(first!);
      await assert.rejects(Store.open(options(files, mode)), { code: 'STORAGE_DAMAGED' });
    });

    it('that is refused leaves no file open', async () => {
      const { files } = await makeFolder(3, mode);
      for (const path of filesOf(files, 'data').filter((each) => /log-|table-/.test(each))) {
        const damaged = files.clone();
        damaged.flip(path, 20);
        const store = await Store.open(options(damaged, mode)).catch(() => undefined);
        await store?.close();
        assert.equal(damaged.openCount, 0, `flipped a byte of ${path}`);
      }
    });

    it('is never passed over in silence: all data, or a line in the log, or refused', async () => {
      const folders = await Promise.all(Array.from({ length: FOLDERS }, (_, index) => makeFolder(index + 1, mode)));
      await eachSeed(async (seed) => {
        const random = new Random(seed);
        const { files: whole, model } = random.pick(folders);
        const files = whole.clone();
        const paths = filesOf(files, 'data');
        // That the newest segment is gone as a whole cannot be seen: none follows it.
        const newest = paths.findLast((path) => path.includes('log-'));
        let done: string;
        const path = random.pick(paths);
        if (path === newest) {
          const offset = random.below(files.contents(path).length);
          files.flip(path, offset);
          done = `flipped a byte of ${path} at ${offset}`;
        } else done = damage(files, path, random);
        const log = recordingLogger();
        let store: Store;
        try {
          store = await Store.open(options(files, mode, log));
        } catch (error) {
          const { code, message } = error as NodeJS.ErrnoException;
          assert.equal(code, 'STORAGE_DAMAGED', `${done}: ${message}`);
          return;
        }
        let wrong: string | undefined;
        try {
          wrong = difference(contentsOf(store), model);
        } catch (error) {
          // A block of a table is looked at when it is read, not at the start.
          assert.equal(
            (error as NodeJS.ErrnoException).code,
            'STORAGE_DAMAGED',
            `${done}: ${(error as Error).message}`,
          );
          assert.ok((error as Error).message.includes(path), `${done}: ${(error as Error).message}`);
        } finally {
          await store.close().catch(() => {});
        }
        if (wrong !== undefined)
          assert.ok(
            log.lines.some((line) => line.level === 'warning' && line.text.includes(path.slice(5))),
            `${done}: ${wrong}, and nothing is logged: ${JSON.stringify(log.lines)}`,
          );
      });
    });
  });
