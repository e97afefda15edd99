/** Table files: what is written is read again, and a file that is not as it was written is never believed. */
import assert from 'node:assert/strict';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import type { Entry } from './entry.js';
import { type FileLayer, type OpenFile, realFiles } from './files.js';
import { BlockCache, Table, TableDamage, writeTable } from './table.js';

const folder = mkdtempSync(join(tmpdir(), 'dunlin-table-'));
after(() => rmSync(folder, { recursive: true }));
let files = 0;
const newPath = () => join(folder, `table-${files++}`);

function entry(key: string, value?: Buffer | string): Entry {
  return { key, value: typeof value === 'string' ? Buffer.from(value, 'latin1') : value };
}

function sorted(entries: readonly Entry[]): Entry[] {
  return entries.toSorted((a, b) => (a.key < b.key ? -1 : 1));
}

/** Writes, opens, hands over, closes and removes. */
function withTable(entries: Iterable<Entry>, use: (table: Table, path: string) => void, cache?: BlockCache): void {
  const path = newPath();
  const figures = writeTable(realFiles, path, entries);
  const table = Table.open(realFiles, path, cache);
  try {
    assert.deepEqual(table.figures, figures);
    use(table, path);
  } finally {
    table.close();
    rmSync(path, { force: true });
  }
}

function numbered(count: number, value: (index: number) => Buffer | undefined): Entry[] {
  return Array.from({ length: count }, (_, index) => entry(`key/${String(index).padStart(7, '0')}`, value(index)));
}

/** `realFiles` that notes which bytes are read. */
function watchedFiles(reads: { position: number; length: number }[]): FileLayer {
  return {
    ...realFiles,
    open(path) {
      const file = realFiles.open(path);
      const read: OpenFile['read'] = (into, offset, length, position) => {
        reads.push({ position, length });
        return file.read(into, offset, length, position);
      };
      return new Proxy(file, { get: (_, name) => (name === 'read' ? read : bound(file, name as keyof OpenFile)) });
    },
  };
}

function bound(file: OpenFile, name: keyof OpenFile): unknown {
  const member = file[name];
  return typeof member === 'function' ? member.bind(file) : member;
}

/** Few bytes and many alike, so that keys share beginnings, are beginnings of others, and touch both ends of the range. */
const anyKey = fc.oneof(
  fc.array(fc.constantFrom('\0', '\x01', 'a', 'b', '\xfe', '\xff'), { maxLength: 8 }).map((bytes) => bytes.join('')),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  fc.integer({ min: 100, max: 700 }).map((length) => 'a'.repeat(length)),
);
const anyValue = fc.oneof(
  { weight: 1, arbitrary: fc.constant(undefined) },
  { weight: 6, arbitrary: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)) },
  { weight: 1, arbitrary: fc.integer({ min: 4000, max: 20_000 }).map((length) => Buffer.alloc(length, length)) },
);
const anyEntries = fc
  .uniqueArray(
    fc.tuple(anyKey, anyValue).map(([key, value]) => entry(key, value)),
    { selector: ({ key }) => key, maxLength: 120 },
  )
  .map(sorted);

describe('a table', () => {
  it('gives back any entries, by key and by range', () => {
    fc.assert(
      fc.property(anyEntries, fc.array(anyKey, { maxLength: 10 }), (entries, others) => {
        withTable(entries, (table) => {
          assert.deepEqual([...table.scan('', undefined)], entries);
          assert.equal(table.firstKey, entries[0]?.key ?? '');
          assert.equal(table.lastKey, entries.at(-1)?.key ?? '');
          assert.equal(table.figures.entries, entries.length);
          assert.equal(table.figures.tombstones, entries.filter(({ value }) => value === undefined).length);
          for (const each of entries) assert.deepEqual(table.get(each.key), each);
          for (const key of others)
            assert.deepEqual(
              table.get(key),
              entries.find((each) => each.key === key),
            );
          const edges = [...others, ...entries.slice(0, 5).map(({ key }) => key), entries.at(-1)?.key ?? 'z'];
          for (const from of edges)
            for (const to of [...edges, undefined])
              assert.deepEqual(
                [...table.scan(from, to)],
                entries.filter(({ key }) => key >= from && (to === undefined || key < to)),
              );
          table.verify();
        });
      }),
      { numRuns: 150 },
    );
  });

  it('scans any range over many blocks', () => {
    const entries = numbered(2500, (index) => (index % 7 === 0 ? undefined : Buffer.alloc(index % 90, index)));
    withTable(entries, (table) => {
      for (let step = 0; step < 300; step++) {
        const from = (step * 7919) % 2600;
        const to = from + ((step * 31) % 700);
        // Every other bound lies between two keys.
        const name = (index: number) => `key/${String(index).padStart(7, '0')}${step % 2 ? '+' : ''}`;
        const found = Array.from(table.scan(name(from), name(to)), ({ key }) => key);
        const expected = entries.filter(({ key }) => key >= name(from) && key < name(to)).map(({ key }) => key);
        assert.deepEqual(found, expected);
      }
      for (const each of entries) {
        assert.deepEqual(table.get(each.key), each);
        assert.equal(table.get(`${each.key}+`), undefined);
      }
      table.verify();
    });
  });

  it('tells a tombstone and an empty value from a key it does not know', () => {
    withTable([entry('empty', ''), entry('gone'), entry('value', 'v')], (table) => {
      assert.deepEqual(table.get('empty'), { key: 'empty', value: Buffer.alloc(0) });
      assert.deepEqual(table.get('gone'), { key: 'gone', value: undefined });
      assert.equal(table.get('unknown'), undefined);
      assert.deepEqual([table.figures.entries, table.figures.tombstones], [3, 1]);
    });
  });

  it('holds the empty key and keys of 65,535 bytes that differ in their last byte', () => {
    const long = (last: string) => '\xff'.repeat(65_534) + last;
    const entries = [entry('', 'first'), ...['\0', 'a', 'b', '\xff'].map((last) => entry(long(last), last))];
    withTable(entries, (table) => {
      for (const each of entries) assert.deepEqual(table.get(each.key), each);
      assert.equal(table.get(long('c')), undefined);
      assert.deepEqual([...table.scan(long('a'), long('\xff'))], entries.slice(2, 4));
      assert.ok(table.figures.bytes < 3 * 65_535, 'keys share their beginnings');
      table.verify();
    });
  });

  it('with no entries is whole, and knows nothing', () => {
    withTable([], (table) => {
      assert.deepEqual([table.firstKey, table.lastKey, table.figures.entries], ['', '', 0]);
      assert.deepEqual([...table.scan('', undefined)], []);
      assert.equal(table.get(''), undefined);
      table.verify();
    });
  });

  it('holds large values, which reading their neighbours does not touch', () => {
    const large = Buffer.alloc(40 * 1024 * 1024, 'large');
    const path = newPath();
    writeTable(realFiles, path, [entry('a', 'small'), entry('b', large), entry('c', 'small')]);
    const reads: { position: number; length: number }[] = [];
    const table = Table.open(watchedFiles(reads), path, new BlockCache());
    for (const key of ['a', 'c']) assert.equal(table.get(key)?.value?.toString(), 'small');
    assert.ok(reads.every(({ length }) => length < 1000));
    assert.ok(table.get('b')?.value?.equals(large));
    assert.ok([...table.scan('b', 'c')][0]?.value?.equals(large));
    table.close();
    rmSync(path);
  });

  it('reaches beyond 4 GiB', () => {
    const value = Buffer.alloc(512 * 1024 * 1024); // never touched, so the system gives it no memory
    const layer = new ChunkedFiles();
    const entries = numbered(9, (index) => (index < 8 ? value : Buffer.from('beyond')));
    const figures = writeTable(layer, 'large', [...entries, entry('last')]);
    assert.ok(figures.bytes > 8 * value.length);
    const table = Table.open(layer, 'large');
    assert.deepEqual([...table.scan(entries[8]!.key, undefined)], [entries[8], entry('last')]);
    assert.equal(table.get(entries[8]!.key)?.value?.toString(), 'beyond');
  });

  it('keeps values as they were, whatever is read afterwards', () => {
    const entries = numbered(2000, (index) => Buffer.from(`value ${index}`));
    withTable(entries, (table) => {
      const kept = [...table.scan('', undefined)];
      const got = entries.map(({ key }) => table.get(key));
      assert.deepEqual(kept, entries);
      assert.deepEqual(got, entries);
    });
  });

  it('is not there: ENOENT', () => {
    assert.throws(() => Table.open(realFiles, newPath()), { code: 'ENOENT' });
  });

  it('that is closed lets scans end that have begun, and refuses to begin others', () => {
    const entries = numbered(2000, () => Buffer.alloc(100));
    const path = newPath();
    writeTable(realFiles, path, entries);
    const table = Table.open(realFiles, path);
    const [through, halfway, late] = [table.scan('', undefined), table.scan('', undefined), table.scan('', undefined)];
    const first = through.next();
    halfway.next();
    table.close();
    table.close();
    rmSync(path);
    halfway.return(undefined);
    assert.deepEqual([first.value, ...through], entries);
    for (const use of [() => late.next(), () => table.get('a'), () => table.verify()])
      assert.throws(use, new RegExp(`${path} is closed`));
  });
});

describe('writeTable', () => {
  it('refuses keys that do not ascend, keys that are not bytes, and leaves no file', () => {
    for (const [keys, message] of [
      [['a', 'a'], 'keys of a table ascend: "a" follows "a"'],
      [['ab', 'a'], 'keys of a table ascend: "a" follows "ab"'],
      [['b', 'ab'], 'keys of a table ascend: "ab" follows "b"'],
      [['a', ''], 'keys of a table ascend: "" follows "a"'],
      [['a', 'ā'], 'keys have code units of 0 to 255: "ā"'],
    ] as const) {
      const path = newPath();
      assert.throws(
        () =>
          writeTable(
            realFiles,
            path,
            keys.map((key) => entry(key, 'v')),
          ),
        { name: 'RangeError', message },
      );
      assert.equal(existsSync(path), false);
    }
  });

  it('passes on a failure of the disk or of the entries, and leaves no file', () => {
    const path = newPath();
    function* failing(): Generator<Entry> {
      yield entry('a', 'v');
      throw new Error('no more entries');
    }
    assert.throws(() => writeTable(realFiles, path, failing()), /no more entries/);
    assert.equal(existsSync(path), false);
    for (const operation of ['append', 'syncNow'] as const) {
      const full: FileLayer = {
        ...realFiles,
        create(name) {
          const file = realFiles.create(name);
          file[operation] = () => {
            throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
          };
          return file;
        },
      };
      assert.throws(() => writeTable(full, path, [entry('a', 'v')]), { code: 'ENOSPC' });
      assert.equal(existsSync(path), false);
    }
  });
});

describe('damage', () => {
  /** Small blocks, a block of one large value, tombstones: all that a file has. */
  const path = newPath();
  const large = Buffer.alloc(16 * 1024, 'x');
  writeTable(realFiles, path, [
    ...numbered(20, (index) => (index % 5 ? Buffer.from('value') : undefined)),
    entry('l', large),
  ]);
  const intact = readFileSync(path);

  function check(): void {
    const table = Table.open(realFiles, path);
    try {
      table.verify();
    } finally {
      table.close();
    }
  }

  it('of any one byte is found by opening and verifying, and says file and offset', () => {
    check();
    const fd = openSync(path, 'r+');
    for (let offset = 0; offset < intact.length; offset++) {
      writeSync(fd, Buffer.of(intact[offset]! ^ (1 << (offset & 7))), 0, 1, offset);
      assert.throws(check, (error) => {
        assert.ok(error instanceof TableDamage, `${error}`);
        assert.equal(error.path, path);
        assert.ok(error.offset <= offset && error.message.startsWith(`${path} is damaged: `), error.message);
        return true;
      });
      writeSync(fd, intact, offset, 1, offset);
    }
    closeSync(fd);
    check();
  });

  it('by cutting the file off anywhere, or by anything after its end, is found', () => {
    const lengths = Array.from({ length: 200 }, (_, index) => Math.floor((index * intact.length) / 200));
    for (const length of [...lengths, intact.length - 1]) {
      writeFileSync(path, intact.subarray(0, length));
      assert.throws(check, TableDamage);
    }
    for (const more of [Buffer.alloc(1), Buffer.alloc(4096), intact]) {
      writeFileSync(path, Buffer.concat([intact, more]));
      assert.throws(check, TableDamage);
    }
    writeFileSync(path, intact);
  });

  it('of a block is met by those who read that block, and by no others', () => {
    const entries = numbered(1000, () => Buffer.alloc(100));
    withTable(entries, (table, file) => {
      const fd = openSync(file, 'r+');
      writeSync(fd, Buffer.of(7), 0, 1, 5000);
      closeSync(fd);
      assert.throws(() => table.get(entries[3]!.key), { code: 'STORAGE_DAMAGED', offset: 16 });
      assert.throws(() => [...table.scan('', undefined)], TableDamage);
      assert.throws(() => table.verify(), TableDamage);
      assert.deepEqual(table.get(entries[999]!.key), entries[999]);
      assert.equal([...table.scan(entries[500]!.key, undefined)].length, 500);
    });
  });

  it('by blocks in each other’s place is found, though each is whole', () => {
    const blocks = ['a', 'b'].map((key) => entry(key, Buffer.alloc(16 * 1024, key)));
    withTable(blocks, (table, file) => {
      const bytes = readFileSync(file);
      const length = 8 + 5 + 16 * 1024 + 1;
      const [first, second] = [bytes.subarray(16, 16 + length), bytes.subarray(16 + length, 16 + 2 * length)];
      assert.equal(second.readUInt32LE(4), length - 8);
      writeFileSync(file, Buffer.concat([bytes.subarray(0, 16), second, first, bytes.subarray(16 + 2 * length)]));
      assert.throws(() => table.get('a'), /a block has a wrong checksum/);
    });
  });

  it('is told from a format of another version', () => {
    const newer = Buffer.from(intact);
    newer.writeUInt32LE(2, 12);
    writeFileSync(path, newer);
    assert.throws(check, /it says format version 2, and this version of Dunlin reads 1 \(at offset 0\)/);
    writeFileSync(path, intact);
  });
});

describe('BlockCache', () => {
  const entries = numbered(4000, () => Buffer.alloc(100, 1));

  it('spares get the disk, and takes nothing in from scans', () => {
    const path = newPath();
    writeTable(realFiles, path, entries);
    const reads: { position: number; length: number }[] = [];
    const cache = new BlockCache();
    const table = Table.open(watchedFiles(reads), path, cache);
    const readsOf = (use: () => void) => {
      reads.length = 0;
      use();
      return reads.length;
    };
    const blocks = readsOf(() => [...table.scan('', undefined)]);
    assert.ok(blocks > 20);
    assert.equal(
      readsOf(() => [...table.scan('', undefined)]),
      blocks,
    );
    assert.equal(
      readsOf(() => table.get(entries[0]!.key)),
      1,
    );
    assert.equal(
      readsOf(() => table.get(entries[0]!.key)),
      0,
    );
    assert.equal(
      readsOf(() => [...table.scan('', undefined)]),
      blocks - 1,
    );
    table.close();
    assert.equal(cache.bytes, 0);
  });

  it('keeps its bound, and what was used last', () => {
    const cache = new BlockCache(8000);
    const [first, second] = [cache.join(), cache.join()];
    for (let block = 0; block < 8; block++) cache.keep(first, block, Buffer.alloc(1000, block));
    assert.equal(cache.get(first, 0)?.[0], 0);
    cache.keep(second, 0, Buffer.alloc(1000, 99));
    assert.equal(cache.bytes, 8000);
    assert.equal(cache.get(first, 1), undefined);
    assert.equal(cache.get(first, 0)?.[0], 0);
    assert.equal(cache.get(second, 0)?.[0], 99);
    cache.keep(second, 1, Buffer.alloc(1001));
    assert.equal(cache.get(second, 1), undefined);
    cache.drop(first);
    assert.equal(cache.bytes, 1000);
    assert.equal(cache.get(second, 0)?.[0], 99);
  });
});

/** Files in memory that hold large appends by reference, so that a huge file of one buffer many times takes no room. */
class ChunkedFiles implements FileLayer {
  private readonly chunks: { position: number; bytes: Uint8Array }[] = [];
  private size = 0;
  lock = () => () => {};
  list = () => [];
  makeFolder(): void {}
  rename(): void {}
  remove(): void {}
  syncFolder = () => Promise.resolve();

  create(): OpenFile {
    return this.open();
  }

  open(): OpenFile {
    const { chunks } = this;
    return {
      size: this.size,
      append: (bytes) => {
        chunks.push({ position: this.size, bytes: bytes.length > 2 ** 20 ? bytes : Uint8Array.from(bytes) });
        this.size += bytes.length;
      },
      read: (into, offset, length, position) => {
        let done = 0;
        for (const { position: start, bytes } of chunks) {
          const from = Math.max(position, start);
          const to = Math.min(position + length, start + bytes.length);
          if (to <= from) continue;
          into.set(bytes.subarray(from - start, to - start), offset + from - position);
          done += to - from;
        }
        return done;
      },
      truncate() {},
      sync: () => Promise.resolve(),
      syncNow() {},
      close() {},
    };
  }
}
