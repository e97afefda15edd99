/**
 * Goal: what the store called synced survives any loss of power, and nothing half done is ever seen.
 *
 * Method: for each seed a few lives of one data folder on a simulated disk. In each life random changes are committed until
 * the power goes at a random operation of the disk (in the middle of opening, rotating, merging, closing as well), the
 * process is killed, or a write or sync fails before that; then the folder is opened again. What it holds must be what the
 * model held after some commit, one no older than the last that was synced. Segments are tiny, so that rotations and merges
 * happen all the time.
 *
 * A seed that fails can be run alone: DUNLIN_SEED=n; more of them: DUNLIN_POWER_CUTS=n.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Random } from '../../src/base/random.fuzz.js';
import { type DurabilityMode, Store } from '../../src/storage/index.js';
import { PowerCut, SimulatedFiles } from '../support/simulated-files.js';
import { contentsOf, difference, type Frame, type Model, recordingLogger, StoreRun } from '../support/store-run.js';

const COUNT = Number(process.env.DUNLIN_POWER_CUTS ?? 1000);
const seeds =
  process.env.DUNLIN_SEED === undefined
    ? Array.from({ length: COUNT }, (_, index) => index + 1)
    : [Number(process.env.DUNLIN_SEED)];
const LIVES = 4;
const TURNS = 50;
const FAILURES_SHOWN = 5;

/** One folder and what it may hold. */
class Lives {
  private files = new SimulatedFiles();
  private readonly random: Random;
  private readonly segmentBytes: number;
  private readonly carriedBytesMax: number;
  /** The states that may be found: of `frames`, those from `floor` on. */
  private frames: readonly Frame[] = [{ sequence: 0, model: new Map() }];
  private floor = 0;
  /** As `floor`, while the power stays. */
  private floorIfPowered = 0;

  constructor(
    seed: number,
    private readonly modes: readonly DurabilityMode[],
  ) {
    this.random = new Random(seed);
    this.segmentBytes = this.random.pick([500, 1500, 5000]);
    this.carriedBytesMax = this.random.pick([0, this.segmentBytes / 2, this.segmentBytes]);
  }

  async run(): Promise<void> {
    for (let life = 0; life < LIVES; life++) {
      const { random } = this;
      if (!random.oneIn(6)) this.files.cutAt = this.files.operations + 1 + random.below(random.pick([20, 100, 300]));
      const store = await this.open();
      if (store !== undefined) await this.live(store);
      else this.cutPower();
    }
    this.files.cutAt = Number.POSITIVE_INFINITY;
    const store = await this.open();
    assert.ok(store !== undefined);
    await store.close();
    assert.equal(this.files.openCount, 0, 'files left open');
  }

  /** The store, after a look at what it holds; undefined when the power went first. */
  private async open(): Promise<Store | undefined> {
    const { files, segmentBytes, carriedBytesMax } = this;
    const mode = this.random.pick(this.modes);
    let store: Store | undefined;
    let found: Model;
    try {
      store = await Store.open({
        folder: 'data',
        files,
        mode,
        log: recordingLogger(),
        segmentBytes,
        carriedBytesMax,
        inline: true,
      });
      found = contentsOf(store);
    } catch (error) {
      if (!(error instanceof PowerCut)) throw error;
      await store?.close().catch(() => {});
      return undefined;
    }
    const candidates = this.frames.slice(this.floorIfPowered);
    if (!candidates.some(({ model }) => difference(found, model) === undefined))
      assert.fail(
        `what is found is no state since frame ${this.floorIfPowered} of ${this.frames.length}; ` +
          `against that frame: ${difference(found, candidates[0]!.model) ?? 'the same'}; ` +
          `against the last: ${difference(found, candidates.at(-1)!.model) ?? 'the same'}`,
      );
    this.frames = [{ sequence: store.sequence, model: found }];
    this.floor = 0;
    this.floorIfPowered = 0;
    return store;
  }

  private async live(store: Store): Promise<void> {
    const { random } = this;
    const buffered = store.mode === 'buffered';
    const run = new StoreRun(store, random, 3 * this.segmentBytes, buffered ? 5 : 0, this.frames[0]!.model);
    this.frames = run.frames;
    for (let turn = random.below(TURNS); turn > 0 && !store.failed; turn--) {
      run.turn();
      if (random.oneIn(3) && store.synced < store.syncSequence) await this.settle(store, run);
      else if (random.oneIn(2)) await nextTurn();
    }
    const faulty = random.oneIn(8);
    if (faulty && !store.failed) {
      if (random.oneIn(2)) this.files.spaceLeft = random.below(500);
      else this.files.syncFailures = 1;
      for (let turn = 0; turn < 5; turn++) {
        run.turn();
        if (random.oneIn(2)) await nextTurn();
      }
    }
    // Not after a fault: what a failed sync threw away, the next process still reads, and nothing tells it.
    let killed = !faulty && random.oneIn(4);
    if (!store.failed && random.oneIn(3)) {
      await store.close().then(
        () => this.keep(run.frames.length - 1),
        () => {},
      );
      killed &&= this.files.hasPower;
    }
    this.keep(run.floor(store.synced));
    if (killed) {
      this.floorIfPowered = Math.max(this.floor, run.floor(store.written));
      this.files = this.files.kill();
    } else this.cutPower();
    await store.close().catch(() => {});
  }

  private async settle(store: Store, run: StoreRun): Promise<void> {
    const sequence = store.syncSequence;
    const frame = run.floor(sequence);
    await new Promise<void>((resolve) =>
      store.whenSynced(sequence, (error) => {
        if (error === undefined) this.keep(frame);
        resolve();
      }),
    );
  }

  private cutPower(): void {
    this.floorIfPowered = this.floor;
    this.files = this.files.powerCut(this.random);
  }

  private keep(frame: number): void {
    this.floor = Math.max(this.floor, frame);
  }
}

const cases: Readonly<Record<string, readonly DurabilityMode[]>> = {
  'mode sync': ['sync'],
  'mode faultTolerant': ['faultTolerant'],
  'mode buffered, where some changes ask for a sync': ['buffered'],
  'a mode that changes from start to start': ['buffered', 'sync', 'faultTolerant'],
};

for (const [name, modes] of Object.entries(cases))
  describe(`power cuts in ${name}`, () => {
    it(`lose nothing that was synced (${seeds.length} seeds)`, async () => {
      const failures: string[] = [];
      for (const seed of seeds)
        await new Lives(seed, modes).run().catch((error: Error) => {
          failures.push(`seed ${seed}: ${process.env.DUNLIN_SEED === undefined ? error.message : error.stack}`);
        });
      assert.equal(
        failures.length,
        0,
        `${failures.length} of ${seeds.length} seeds, the first of them:\n${failures.slice(0, FAILURES_SHOWN).join('\n')}`,
      );
    });
  });
