/**
 * What every kind of store does: one suite for all modes, with one copy and with two, on the disk of this machine. Those
 * that outlive the process are closed and opened again as well.
 *
 * A random run that fails can be run alone: DUNLIN_SEED=n.
 */
import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../../src/base/random.fuzz.js';
import { realFiles, Store, type StoreOptions } from '../../src/storage/index.js';
import { newManifest, writeManifest } from '../../src/storage/manifest.js';
import { assertHolds, recordingLogger, StoreRun } from '../support/store-run.js';

const seeds = process.env.DUNLIN_SEED === undefined ? [1, 2, 3, 4] : [Number(process.env.DUNLIN_SEED)];
const root = mkdtempSync(join(tmpdir(), 'dunlin-store-'));
after(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;
const PATIENCE_MS = 60_000;

type Kind = Pick<StoreOptions, 'mode' | 'twoCopies' | 'inline'>;

const kinds: Readonly<Record<string, Kind>> = {
  memory: { mode: 'memory' },
  buffered: { mode: 'buffered', inline: true },
  'buffered, with maintenance in a worker': { mode: 'buffered' },
  'buffered, with two copies': { mode: 'buffered', twoCopies: true, inline: true },
  sync: { mode: 'sync', inline: true },
  faultTolerant: { mode: 'faultTolerant', inline: true },
};

type Options = StoreOptions & { log: ReturnType<typeof recordingLogger> };

/** Options for a store in a folder of its own. */
function optionsOf(kind: Kind, segmentBytes = 20_000): Options {
  return { ...kind, folder: join(root, String(++folders)), files: realFiles, log: recordingLogger(), segmentBytes };
}

const text = (value: Buffer | undefined) => value?.toString('latin1');
const keysOf = (store: Store, from = '', to?: string) => [...store.scan(from, to)].map(({ key }) => key);

function put(store: Store, key: string, value = key): void {
  store.put(key, Buffer.from(value, 'latin1'));
}

/** Puts and commits until tables have been written. */
async function fillTables(store: Store, from: number, to: number): Promise<void> {
  for (let index = from; index < to; index++) {
    put(store, `fill/${String(index).padStart(6, '0')}`, 'x'.repeat(100));
    store.commit();
    if (index % 50 === 0) await store.settled();
    if (index % 10 === 0) await nextTurn();
  }
}

/** Asks until the answer is yes; `what` was hoped for. */
async function eventually(what: string, holds: () => boolean): Promise<void> {
  for (const end = Date.now() + PATIENCE_MS; !holds(); await sleep(1)) assert.ok(Date.now() < end, what);
}

/** Bytes of a file that may be gone by now. */
function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}

for (const [name, kind] of Object.entries(kinds)) {
  const persistent = kind.mode !== 'memory';

  describe(`a store: ${name}`, () => {
    it('gives back what was put, and not what was removed', async () => {
      const store = await Store.open(optionsOf(kind));
      assert.equal(store.get('a'), undefined);
      put(store, 'a', 'one');
      assert.equal(text(store.get('a')), 'one', 'before the turn ends');
      store.commit();
      put(store, 'a', 'two');
      put(store, 'b', '');
      put(store, '', 'empty key');
      assert.equal(text(store.get('a')), 'two');
      assert.equal(text(store.get('b')), '');
      assert.equal(text(store.get('')), 'empty key');
      store.remove('a');
      store.remove('never there');
      assert.equal(store.get('a'), undefined);
      assert.deepEqual(keysOf(store), ['', 'b']);
      put(store, 'a', 'three');
      await store.settled();
      assert.equal(text(store.get('a')), 'three');
      await store.close();
    });

    it('keeps what it was given when the giver changes its buffer', async () => {
      const store = await Store.open(optionsOf(kind));
      const value = Buffer.from('before');
      store.put('key', value);
      value.fill('x');
      const at = store.reserve('room', 3, false, false);
      store.chunk.write('abc', at, 'latin1');
      await store.settled();
      assert.equal(text(store.get('key')), 'before');
      assert.equal(text(store.get('room')), 'abc');
      await store.close();
    });

    it('scans in the order of bytes, from the first key up to but not the second', async () => {
      const store = await Store.open(optionsOf(kind));
      const keys = [
        'a',
        'a\0',
        'a\xff',
        'b',
        'B',
        'Babcd',
        'Babce1',
        'Babce2',
        'Babcf',
        '\0',
        '\xff',
        '\xff\xff',
        'ab',
      ];
      for (const key of keys) put(store, key);
      store.remove('Babce1');
      const sorted = keys.filter((key) => key !== 'Babce1').sort();
      assert.deepEqual(keysOf(store), sorted);
      for (const from of keys)
        for (const to of [...keys, undefined])
          assert.deepEqual(
            keysOf(store, from, to),
            sorted.filter((key) => key >= from && (to === undefined || key < to)),
            `${JSON.stringify(from)} to ${JSON.stringify(to)}`,
          );
      await store.settled();
      await store.close();
    });

    it('takes large values and long keys', async () => {
      const options = optionsOf(kind);
      let store = await Store.open(options);
      const random = new Random(5);
      const expected = new Map<string, string>();
      for (const length of [20_000, 300_000, 3_000_000]) expected.set(`large ${length}`, text(random.bytes(length))!);
      for (const length of [255, 65_535, 300_000]) expected.set('k'.repeat(length), String(length));
      for (const [key, value] of expected) {
        put(store, key, value);
        if (random.oneIn(2)) store.commit();
      }
      await store.settled();
      assertHolds(store, expected);
      if (persistent) {
        await store.close();
        store = await Store.open(options);
        assertHolds(store, expected, 'opened again');
        await fillTables(store, 0, 400);
        for (const [key, value] of expected) assert.equal(text(store.get(key)), value);
      }
      await store.close();
    });

    it('counts operations, and moves its watermarks over those of ended turns', async () => {
      const store = await Store.open(optionsOf(kind));
      const { sequence } = store;
      put(store, 'a');
      store.remove('b');
      assert.equal(store.sequence, sequence + 2);
      assert.ok(store.written <= sequence);
      store.commit();
      assert.equal(store.written, sequence + 2);
      await store.settled();
      if (kind.mode !== 'buffered') assert.equal(store.synced, sequence + 2);
      store.put('c', Buffer.from('c'), 'sync');
      const asked = store.sequence;
      store.commit();
      await new Promise<void>((resolve, reject) =>
        store.whenSynced(asked, (error) => (error === undefined ? resolve() : reject(error))),
      );
      assert.ok(store.synced >= asked);
      await store.close();
    });

    for (const seed of seeds)
      it(`agrees with a map over random changes, rotations, merges${persistent ? ' and restarts' : ''} (seed ${seed})`, async () => {
        const options = optionsOf(kind, 8000);
        const random = new Random(seed);
        let store = await Store.open(options);
        for (let life = 0; life < 4; life++) {
          const run = new StoreRun(store, random, 12_000);
          for (let turn = 0; turn < 150; turn++) {
            run.turn();
            if (random.oneIn(4)) await nextTurn();
            if (random.oneIn(20)) await store.settled();
            if (random.oneIn(20)) assertHolds(store, run.last.model, `seed ${seed}, life ${life}, turn ${turn}:`);
          }
          await store.settled();
          assertHolds(store, run.last.model, `seed ${seed}, life ${life}:`);
          if (!persistent) continue;
          await store.close();
          store = await Store.open(options);
          assertHolds(store, run.last.model, `seed ${seed}, after life ${life}:`);
        }
        await store.close();
        assert.deepEqual(
          options.log.lines.filter(({ level }) => level === 'error' || level === 'warning'),
          [],
        );
      });

    if (persistent) describePersistent(kind);
  });
}

function describePersistent(kind: Kind): void {
  const copies = kind.mode === 'faultTolerant' || kind.twoCopies ? 2 : 1;

  it('remembers removals over restarts, tables and merges', async () => {
    const options = optionsOf(kind);
    let store = await Store.open(options);
    store.put('old', Buffer.from('1'));
    store.put('fresh', Buffer.from('1'), undefined, true);
    await fillTables(store, 0, 500);
    await store.close();
    store = await Store.open(options);
    assert.equal(text(store.get('old')), '1');
    assert.ok(store.tableCount > 0, 'there are tables');
    store.remove('old');
    store.remove('fresh');
    store.put('brief', Buffer.from('1'), undefined, true);
    store.remove('brief');
    await store.close();
    for (let round = 1; round < 4; round++) {
      store = await Store.open(options);
      for (const key of ['old', 'fresh', 'brief']) assert.equal(store.get(key), undefined, key);
      assert.deepEqual(keysOf(store, 'fresh', 'g'), []);
      assert.deepEqual(keysOf(store, 'o', 'p'), []);
      await fillTables(store, 500 * round, 500 * round + 500);
      await store.close();
    }
  });

  it('gives the space of what was overwritten or removed back', async () => {
    const options = optionsOf(kind);
    const store = await Store.open(options);
    for (let round = 0; round < 30; round++) {
      for (let index = 0; index < 100; index++) {
        put(store, `key ${index}`, `${round}`.repeat(100));
        put(store, `passing ${round} ${index}`, 'x'.repeat(50));
        if (round > 0) store.remove(`passing ${round - 1} ${index}`);
        store.commit();
        if (index % 10 === 0) await nextTurn();
      }
      await store.settled();
    }
    // One round holds some 30 kB; maintenance takes its time, and a rotation waits for it.
    const bytes = () =>
      readdirSync(options.folder).reduce((sum, each) => sum + (sizeOf(join(options.folder, each)) ?? 0), 0);
    await eventually(`less than 300 kB on the disk, not ${bytes()}`, () => {
      put(store, 'filler', 'x'.repeat(1000));
      store.commit();
      return bytes() < 300_000;
    });
    await store.close();
  });

  it('tells of every replayed operation before it takes effect', async () => {
    const options = optionsOf(kind);
    const store = await Store.open(options);
    put(store, 'a', '1');
    store.commit();
    put(store, 'a', '2');
    store.remove('a');
    await store.close();
    const told: string[] = [];
    const onReplay = (replaying: Store, key: string, value: Buffer | undefined) =>
      void told.push(`${key}: ${text(replaying.get(key))} -> ${text(value)}`);
    await (await Store.open({ ...options, onReplay })).close();
    assert.deepEqual(told, ['a: undefined -> 1', 'a: 1 -> 2', 'a: 2 -> undefined']);
  });

  it('stores what is put before a rotation with the rest', async () => {
    const options = optionsOf(kind);
    let store = await Store.open(options);
    let rotations = 0;
    store.beforeRotation = () => put(store, 'rotations', String(++rotations));
    await eventually('three rotations', () => {
      put(store, 'filler', 'x'.repeat(1000));
      store.commit();
      return rotations >= 3;
    });
    await store.settled();
    await store.close();
    store = await Store.open(options);
    assert.equal(text(store.get('rotations')), String(rotations));
    await store.close();
  });

  it('has an identity of its own that stays', async () => {
    const options = optionsOf(kind);
    const store = await Store.open(options);
    const { identity } = store;
    assert.match(identity, /^[0-9a-f-]{36}$/);
    await store.close();
    await store.close();
    const again = await Store.open(options);
    assert.equal(again.identity, identity);
    await again.close();
    const other = await Store.open(optionsOf(kind));
    assert.notEqual(other.identity, identity);
    await other.close();
  });

  it('refuses a folder that another has open, naming folder and process', async () => {
    const options = optionsOf(kind);
    const store = await Store.open(options);
    await assert.rejects(Store.open(options), ({ code, message }: NodeJS.ErrnoException) => {
      assert.equal(code, 'STORAGE_IN_USE');
      assert.ok(message.includes(options.folder) && message.includes(String(process.pid)), message);
      return true;
    });
    put(store, 'a');
    await store.close();
    const next = await Store.open(options);
    assert.equal(text(next.get('a')), 'a');
    await next.close();
  });

  it('cuts a torn tail off, and says so', async () => {
    for (const tear of [
      (path: string) => appendFileSync(path, Buffer.from('rubbish at the end')),
      (path: string) => appendFileSync(path, Buffer.alloc(100)),
      (path: string) => truncateSync(path, statSync(path).size - 3),
    ]) {
      const options = optionsOf(kind);
      const store = await Store.open(options);
      put(store, 'a');
      await store.settled();
      put(store, 'b');
      await store.close();
      for (const folder of copies === 2 ? [options.folder, join(options.folder, 'copy')] : [options.folder])
        for (const name of readdirSync(folder).filter((each) => each.startsWith('log-'))) tear(join(folder, name));
      const next = await Store.open(options);
      assert.equal(text(next.get('a')), 'a');
      assert.equal(text(next.get('b')), 'b');
      assert.ok(options.log.lines.some(({ event, text }) => event === 'storage.tail-cut' && /log-\d+/.test(text)));
      put(next, 'c');
      await next.close();
      const last = await Store.open({ ...options, log: recordingLogger() });
      assert.deepEqual(keysOf(last), ['a', 'b', 'c']);
      await last.close();
    }
  });

  it('refuses a folder of a later format, and one that cannot be used', async () => {
    const options = optionsOf(kind);
    await (await Store.open(options)).close();
    const later = { ...newManifest(), format: 99, generation: 1000 };
    await writeManifest(realFiles, [options.folder], later);
    await assert.rejects(Store.open(options), { code: 'STORAGE_FORMAT' });
    const file = join(root, `file-${++folders}`);
    writeFileSync(file, 'not a folder');
    await assert.rejects(Store.open({ ...options, folder: file }), ({ code, message }: NodeJS.ErrnoException) => {
      assert.equal(code, 'STORAGE_UNUSABLE');
      assert.ok(message.includes(file), message);
      return true;
    });
  });
}

describe('a data folder', () => {
  it('goes from mode to mode with all it holds', async () => {
    const options = optionsOf({ mode: 'buffered', inline: true });
    let filled = 0;
    for (const mode of ['buffered', 'faultTolerant', 'sync', 'faultTolerant', 'buffered'] as const) {
      const store = await Store.open({ ...options, mode });
      assert.equal(keysOf(store).length, filled, mode);
      await fillTables(store, filled, filled + 250);
      filled += 250;
      await store.close();
    }
  });
});
