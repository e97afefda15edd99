/**
 * Drives a store by chance, and remembers what it holds after every frame: the plain model that tests of durability compare
 * with. A model is a Map from key to value, the value as a `latin1` string.
 */
import assert from 'node:assert/strict';
import { type Logger, LogLevel } from '../../src/base/index.js';
import type { Random } from '../../src/base/random.fuzz.js';
import type { Store } from '../../src/storage/store.js';

export type Model = ReadonlyMap<string, string>;

/** What a store holds, by a scan of everything; keys must come in order, each once. */
export function contentsOf(store: Store): Map<string, string> {
  const found = new Map<string, string>();
  let last: string | undefined;
  for (const { key, value } of store.scan('', undefined)) {
    assert.ok(last === undefined || key > last, `key ${JSON.stringify(key)} comes after ${JSON.stringify(last)}`);
    assert.ok(value !== undefined, `a removed key ${JSON.stringify(key)} in a scan`);
    found.set(key, value.toString('latin1'));
    last = key;
  }
  return found;
}

/** The first difference between two models in a few words; undefined when they are the same. */
export function difference(found: Model, expected: Model): string | undefined {
  const short = (text: string | undefined) =>
    text === undefined ? 'nothing' : `${text.length} bytes ${JSON.stringify(text.slice(0, 24))}`;
  for (const key of [...new Set([...expected.keys(), ...found.keys()])].sort())
    if (found.get(key) !== expected.get(key))
      return `key ${JSON.stringify(key.slice(0, 40))}: found ${short(found.get(key))}, expected ${short(expected.get(key))}`;
  return undefined;
}

/** Asserts that scan and get of `store` both tell what `expected` says. */
export function assertHolds(store: Store, expected: Model, context = ''): void {
  const wrong = difference(contentsOf(store), expected);
  assert.equal(wrong, undefined, `${context} scan: ${wrong}`);
  for (const [key, value] of expected)
    assert.equal(store.get(key)?.toString('latin1'), value, `${context} get ${JSON.stringify(key.slice(0, 40))}`);
}

/** Keys as storage uses them: shared ones and those of an owner, short and long, with bytes 0 and 255. */
const keys: readonly string[] = [
  '',
  '\0',
  '\xff',
  '\xff\xff\0',
  ...Array.from({ length: 14 }, (_, index) => `r/site/${index}`),
  ...Array.from({ length: 14 }, (_, index) => `Q\0\0\x01${String.fromCharCode(index % 3)}\0\0${index}`),
  `r/${'x'.repeat(700)}`,
  `r/${'x'.repeat(700)}y`,
];

export interface Frame {
  readonly sequence: number;
  readonly model: Model;
}

export class StoreRun {
  /** What may be found, oldest first: the state at the start, then one for each commit. */
  readonly frames: Frame[];
  private readonly model: Map<string, string>;
  private changes = 0;

  constructor(
    readonly store: Store,
    private readonly random: Random,
    private readonly largeBytes: number,
    /** One change in so many asks for a sync by itself; 0: none does. */
    private readonly syncOneIn = 0,
    start: Model = contentsOf(store),
  ) {
    this.model = new Map(start);
    this.frames = [{ sequence: store.sequence, model: start }];
  }

  get last(): Frame {
    return this.frames.at(-1)!;
  }

  /** Some puts and removals, then the end of the turn. */
  turn(): void {
    for (let count = 1 + this.random.below(4); count > 0; count--) this.change();
    // Before the commit: one that does not return may have got its frame to the disk all the same.
    this.frames.push({ sequence: this.store.sequence, model: new Map(this.model) });
    this.store.commit();
  }

  private change(): void {
    const key = this.random.pick(keys);
    const level = this.syncOneIn > 0 && this.random.oneIn(this.syncOneIn) ? 'sync' : undefined;
    if (this.random.oneIn(4)) {
      this.store.remove(key, level);
      this.model.delete(key);
      return;
    }
    const length = this.random.oneIn(12) ? this.random.below(this.largeBytes) : this.random.below(120);
    const value = Buffer.alloc(length, `${++this.changes}.`, 'latin1');
    this.store.put(key, value, level);
    this.model.set(key, value.toString('latin1'));
  }

  /** Index of the newest frame that a store which is `synced` so far must still have. */
  floor(synced: number): number {
    return this.frames.findLastIndex((frame) => frame.sequence <= synced);
  }
}

export interface LogLine {
  readonly level: 'error' | 'warning' | 'information' | 'debug';
  readonly event: string;
  readonly text: string;
}

/** A logger that keeps what it is told; `text` is the sentence with its fields. */
export function recordingLogger(): Logger & { readonly lines: LogLine[] } {
  const lines: LogLine[] = [];
  const at =
    (level: LogLine['level']): Logger['error'] =>
    (event, sentence, fields) =>
      void lines.push({ level, event, text: `${sentence} ${JSON.stringify(fields ?? {})}` });
  return {
    level: LogLevel.debug,
    lines,
    error: at('error'),
    warning: at('warning'),
    information: at('information'),
    debug: at('debug'),
  };
}
