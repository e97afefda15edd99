/**
 * Goal: a check finds every damage and calls no healthy folder damaged; after a repair the store opens, holds nothing that was
 * never stored, and has lost nothing but what stood in the damaged places.
 *
 * Method: folders are made on a simulated disk, with tables and log segments; each seed damages a clone of one. A seed that
 * fails can be run alone: DUNLIN_SEED=n. For longer runs: DUNLIN_CHECKS=count, with DUNLIN_SEED as the first of them.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SimulatedFiles } from '../../test/support/simulated-files.js';
import { silentLogger } from '../base/index.js';
import { Random } from '../base/random.fuzz.js';
import { checkStorage } from './check.js';
import { type DurabilityMode, Store } from './index.js';
import { repairStorage } from './repair.js';
import { withSnapshot } from './snapshot.js';

const FIRST = Number(process.env.DUNLIN_SEED ?? 1);
const COUNT = Number(process.env.DUNLIN_CHECKS ?? (process.env.DUNLIN_SEED === undefined ? 300 : 1));
const seeds = Array.from({ length: COUNT }, (_, index) => FIRST + index);

interface Made {
  readonly files: SimulatedFiles;
  /** All values that a key ever had. */
  readonly history: ReadonlyMap<string, ReadonlySet<string>>;
  readonly contents: ReadonlyMap<string, string>;
}

function open(files: SimulatedFiles, mode: DurabilityMode): Promise<Store> {
  return Store.open({ folder: 'data', files, mode, log: silentLogger, segmentBytes: 20_000, inline: true });
}

/**
 * `killed` leaves the folder as a process that ends without a word does. In every other folder few keys change again and again
 * at the end, so that segments begin with what is carried over from the one before.
 */
async function make(seed: number, mode: DurabilityMode, killed = false): Promise<Made> {
  const random = new Random(seed);
  const files = new SimulatedFiles();
  const history = new Map<string, Set<string>>();
  for (let opening = 0; opening < 2; opening++) {
    const store = await open(files, mode);
    const fewKeys = opening === 1 && seed % 2 === 0;
    for (let turn = 0; turn < (fewKeys ? 300 : 120); turn++) {
      for (let count = random.below(6); count >= 0; count--) {
        const key = `${random.pick(['a', 'b', 'c'])}${String(random.below(fewKeys ? 3 : 400)).padStart(4, '0')}`;
        if (random.oneIn(4)) store.remove(key);
        else {
          const valueBytesMax = fewKeys ? 60 : random.oneIn(40) ? 30_000 : 200;
          const value = `${key} ${turn} ${'x'.repeat(random.below(valueBytesMax))}`;
          let values = history.get(key);
          if (values === undefined) history.set(key, (values = new Set()));
          values.add(value);
          store.put(key, Buffer.from(value));
        }
      }
      if (random.oneIn(3)) await store.settled();
      else store.commit();
    }
    await store.settled();
    const contents = contentsOf(store);
    const copy = files.clone();
    await store.close();
    if (opening === 1) return { files: killed ? copy : files.clone(), history, contents };
  }
  throw new Error('unreachable');
}

function contentsOf(store: Store): Map<string, string> {
  return new Map([...store.scan('', undefined)].map(({ key, value }) => [key, value.toString()]));
}

const filesOf = (files: SimulatedFiles) => files.paths().filter((path) => !path.endsWith('/lock'));

function damage(files: SimulatedFiles, random: Random): string {
  const path = random.pick(filesOf(files));
  const bytes = files.contents(path).length;
  if (random.oneIn(6)) {
    files.removeFile(path);
    return `removed ${path}`;
  }
  if (random.oneIn(4)) {
    const size = random.below(bytes);
    files.truncate(path, size);
    return `cut ${path} of ${bytes} bytes at ${size}`;
  }
  const at = random.below(bytes);
  const length = random.oneIn(2) ? 1 : Math.min(bytes - at, 1 + random.below(2000));
  for (let offset = at; offset < at + length; offset++) files.flip(path, offset, 1 + random.below(255));
  return `changed ${length} of ${bytes} bytes of ${path} at ${at}`;
}

async function eachSeed(work: (random: Random) => Promise<void>): Promise<void> {
  const failures: string[] = [];
  for (const seed of seeds)
    await work(new Random(seed)).catch((error: Error) => {
      failures.push(`seed ${seed}: ${COUNT > 1 ? error.message : error.stack}`);
    });
  assert.ok(failures.length === 0, `${failures.length} of ${COUNT} seeds failed\n${failures.slice(0, 10).join('\n')}`);
}

describe('a check', () => {
  for (const mode of ['sync', 'faultTolerant'] as const) {
    it(`finds nothing wrong in a whole folder, closed or not (${mode})`, async () => {
      for (let seed = 1; seed <= 5; seed++) {
        const closed = await make(seed, mode);
        const report = checkStorage(closed.files, 'data');
        assert.deepEqual(report.findings, []);
        assert.ok(report.tables > 0 && report.segments > 0 && report.bytes > 0);
        assert.equal(report.copies, mode === 'sync' ? 1 : 2);
        assert.deepEqual(await repairStorage(closed.files, 'data'), []);
        const killed = await make(seed, mode, true);
        assert.deepEqual(
          checkStorage(killed.files, 'data').findings.filter(({ kind }) => kind === 'damage'),
          [],
        );
      }
    });

    it(`finds damage, and a repair makes the folder one that opens (${mode}, ${seeds.length} seeds)`, async () => {
      const made = await Promise.all([0, 1, 2, 3].map((index) => make(FIRST + index, mode)));
      await eachSeed(async (random) => {
        const { files: whole, history, contents } = random.pick(made);
        const files = whole.clone();
        const done = [damage(files, random)];
        if (random.oneIn(3) && filesOf(files).length > 0) done.push(damage(files, random));
        const { findings } = checkStorage(files, 'data');
        const found = findings.some(({ kind }) => kind === 'damage');
        const repaired = await repairStorage(files, 'data');
        const told = `${done.join(', ')}: ${JSON.stringify({ findings, repaired })}`;
        const after = checkStorage(files, 'data').findings.filter(({ kind }) => kind === 'damage');
        assert.deepEqual(after, [], told);
        const store = await open(files, mode).catch((error: Error) => {
          throw new Error(`${told}: ${error.message}`);
        });
        const left = contentsOf(store);
        await store.close();
        for (const [key, value] of left)
          assert.ok(history.get(key)?.has(value), `${told}: ${key} has a value that it never had`);
        const complete = left.size === contents.size && [...contents].every(([key, value]) => left.get(key) === value);
        // What is gone from the end of the log looks like what a crash leaves.
        const endGone =
          done.some((each) => /cut .*log/.test(each)) ||
          findings.some(({ what }) => what.includes('to its end at byte'));
        if (!complete && !endGone) assert.ok(found, `${told}: loss was not found`);
        if (!complete && !endGone)
          assert.ok(
            repaired.some(({ loss }) => loss),
            `${told}: loss was not told`,
          );
        // Damage of one file in one of two copies loses nothing.
        if (mode === 'faultTolerant' && done.length === 1) assert.ok(complete, `${told}: something is lost`);
      });
    });
  }

  it('puts two copies together that are damaged in different places of the same files', async () => {
    const { files: whole, contents } = await make(7, 'faultTolerant');
    for (const name of filesOf(whole).filter((path) => /^data\/(table|log)/.test(path))) {
      const files = whole.clone();
      const bytes = files.contents(name).length;
      if (bytes < 60_000 && name.includes('table')) continue; // it may be one block, damaged in both
      files.flip(name, 40, 255);
      files.flip(name.replace('data/', 'data/copy/'), Math.floor((bytes * 3) / 4), 255);
      const repaired = await repairStorage(files, 'data');
      assert.ok(
        repaired.every(({ loss }) => !loss),
        JSON.stringify(repaired),
      );
      const store = await open(files, 'faultTolerant');
      assert.deepEqual(contentsOf(store), contents, name);
      await store.close();
    }
  });

  it('names the file, the offset and the range of keys, and a repair keeps all other entries', async () => {
    const { files, contents } = await make(3, 'sync');
    const path = filesOf(files).find((each) => each.includes('/table-'))!;
    files.flip(path, 30, 1); // in the first block
    const damages = checkStorage(files, 'data').findings.filter(({ kind }) => kind === 'damage');
    assert.equal(damages.length, 1);
    assert.equal(damages[0]!.path, path);
    assert.equal(damages[0]!.offset, 16);
    const [gap] = damages[0]!.lost!;
    assert.equal(gap!.after, undefined);
    const repaired = await repairStorage(files, 'data');
    assert.ok(filesOf(files).includes(`${path}.damaged`));
    assert.match(repaired[0]!.what, /written again with the \d+ entries that can be read; \d+ are lost/);
    withSnapshot(files, 'data', (snapshot) => {
      const left = new Map([...snapshot.entries()].map(({ key, value }) => [key, value.toString()]));
      for (const [key, value] of contents)
        if (gap!.before !== undefined && key >= gap!.before) assert.equal(left.get(key), value);
    });
  });

  it('finds a wrong byte of the manifest by its checksum', async () => {
    const { files: whole, contents } = await make(5, 'sync');
    for (let at = 0; at < whole.contents('data/manifest').length; at++) {
      const files = whole.clone();
      files.flip('data/manifest', at, 5);
      assert.equal(checkStorage(files, 'data').findings[0]?.path, 'data/manifest');
      const repaired = await repairStorage(files, 'data');
      assert.ok(
        repaired.every(({ loss }) => !loss),
        `byte ${at}: ${JSON.stringify(repaired)}`,
      );
      if (at % 10 > 0) continue;
      const store = await open(files, 'sync');
      assert.deepEqual(contentsOf(store), contents);
      await store.close();
    }
  });

  it('leaves a folder of a newer format alone', async () => {
    const { files } = await make(1, 'sync');
    const { crc32 } = await import('node:zlib');
    const json = files.contents('data/manifest').toString().split('\n')[0]!.replace('"format":1', '"format":2');
    const file = files.create('data/manifest');
    file.append(Buffer.from(`${json}\n${crc32(json).toString(16).padStart(8, '0')}\n`));
    file.close();
    const report = checkStorage(files, 'data');
    assert.ok(report.newerFormat);
    assert.match(report.findings[0]!.what, /format 2, and this Dunlin reads up to 1/);
  });
});
