// Coordinates a run: starts the worker threads, brings up subscribers and then publishers, opens and closes the measured
// part, waits for stragglers, and adds everything up. Ends by itself: every wait has a limit from the plan.
//
//   setup --> traffic (warm-up) --> measured --> drain --> report
//
// With a message count or awaited deliveries there is no warm-up: the measured part begins at once and ends with them.

import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { Board, COUNTER, PHASE } from './board.js';
import { nowNs } from './clock.js';
import { Histogram } from './histogram.js';
import { fanOf, flowOf } from './layout.js';
import { findPlanProblem, type LoadPlan } from './plan.js';
import { takeSnapshot } from './proc.js';
import { type LoadReport, makeReport } from './report.js';
import type { TrafficOptions } from './traffic.js';
import type { Answer, Order, WorkerReport } from './worker.js';

export interface Progress {
  phase: 'connecting' | 'warming up' | 'measuring' | 'draining';
  /** Seconds since this phase began. */
  seconds: number;
  ready: number;
  sent: number;
  received: number;
}

export interface LoadOptions {
  onProgress?: (progress: Progress) => void;
  /** Ends the measured part early; the report covers what was done until then. */
  signal?: AbortSignal;
  /** Number of the run, 0 to 65535, for client identifiers and stamps; random unless several runs share sessions. */
  run?: number;
}

/** The plan makes no sense, or the broker would not have it: `message` is one sentence for the user. */
export class LoadError extends Error {
  override name = 'LoadError';
}

const QUIET_MS = 700;
const STEP_MS = 20;
/** While nothing but the clock can end the phase: a pinned core has better things to do than to look. */
const CALM_STEP_MS = 200;

export async function runLoad(plan: LoadPlan, options: LoadOptions = {}): Promise<LoadReport> {
  const problem = findPlanProblem(plan);
  if (problem !== undefined) throw new LoadError(problem);
  const run = new Run(plan, options);
  try {
    return await run.go();
  } finally {
    await run.end();
  }
}

class Run {
  private readonly board: Board;
  private readonly crew: Crew;
  private phaseName: Progress['phase'] = 'connecting';
  private phaseStartNs = nowNs();

  constructor(
    private readonly plan: LoadPlan,
    private readonly options: LoadOptions,
  ) {
    this.board = Board.create(plan.workers, plan.publishers);
    this.crew = new Crew(plan, options.run ?? randomInt(65536), this.board);
  }

  async go(): Promise<LoadReport> {
    const { plan } = this;
    // Starting a thread takes some 30 ms, which is not the broker's.
    await this.crew.all('hello');
    const before = this.snapshot();
    const counted = plan.messages > 0 || plan.awaited > 0;
    let countersStart = this.board.totals();
    if (plan.awaited > 0) this.setPhase(PHASE.measured, 'connecting');
    await this.bringUp('subscribers');
    await this.bringUp('publishers');
    const ready = this.snapshot();

    if (!counted) this.setPhase(PHASE.traffic, 'warming up');
    else this.setPhase(PHASE.measured, 'measuring');
    let measureStart = plan.awaited > 0 ? before : ready;
    await this.crew.all('start');
    if (!counted) {
      await this.wait(plan.warmUpSeconds, () => this.hopeless(), CALM_STEP_MS);
      measureStart = this.snapshot();
      countersStart = this.board.totals();
      this.setPhase(PHASE.measured, 'measuring');
    }
    const quiet = new QuietWatch(plan.drainSeconds * 1000);
    await this.wait(
      plan.seconds,
      () => this.hopeless() || (counted && (this.done() || quiet.since(this.activity()))),
      counted ? STEP_MS : CALM_STEP_MS,
    );
    const measureEnd = this.snapshot();
    // Ended by silence: what came before it is what is measured.
    if (quiet.isQuiet) measureEnd.atNs = Math.max(quiet.sinceNs, measureStart.atNs + 1e6);
    const countersEnd = this.board.totals();

    this.setPhase(PHASE.drain, 'draining');
    await this.crew.all('drain');
    const silence = new QuietWatch(QUIET_MS);
    await this.wait(plan.drainSeconds, () => this.allArrived() || silence.since(this.activity()));
    const answers = await this.crew.all('report');
    const reports = answers.flatMap(({ report }) => (report === undefined ? [] : [report]));
    return makeReport(
      plan,
      this.board,
      { before, ready, measureStart, measureEnd, countersStart, countersEnd },
      {
        latency: mergeAll(reports.map(({ latency }) => latency)),
        lateness: mergeAll(reports.map(({ lateness }) => lateness)),
        handshakes: mergeAll(reports.map(({ handshakes }) => handshakes)),
      },
      reports.find(({ lastFailure }) => lastFailure !== undefined)?.lastFailure,
      fanOf(plan),
      flowOf(plan) !== 'unknown' && plan.publishers > 0,
    );
  }

  async end(): Promise<void> {
    await this.crew.dismiss();
  }

  private async bringUp(order: 'subscribers' | 'publishers'): Promise<void> {
    const { plan } = this;
    const up = this.crew.all(order);
    let settled = false;
    const settle = () => {
      settled = true;
    };
    up.then(settle, settle);
    const end = nowNs() + plan.setupSeconds * 1e9;
    while (!settled && nowNs() < end && this.options.signal?.aborted !== true) {
      this.tell();
      await Promise.race([up, sleep(100)]);
    }
    if (!settled)
      throw new LoadError(
        `only ${this.total(COUNTER.ready)} of ${plan.publishers + plan.subscribers} clients were connected when ` +
          `${this.options.signal?.aborted === true ? 'the run was stopped' : `${plan.setupSeconds} s had passed`}`,
      );
    const failure = (await up).find((answer) => answer.failure !== undefined)?.failure;
    if (failure !== undefined) throw new LoadError(`cannot connect: ${failure}`);
  }

  private async wait(seconds: number, until: () => boolean, step = STEP_MS): Promise<void> {
    const end = nowNs() + seconds * 1e9;
    let lastTold = 0;
    for (let now = nowNs(); now < end && !until(); now = nowNs()) {
      if (this.options.signal?.aborted === true) return;
      if (now - lastTold > 1.9e8) {
        this.tell();
        lastTold = now;
      }
      await sleep(Math.max(1, Math.min(step, (end - now) / 1e6)));
      this.crew.check();
    }
  }

  private total(column: number): number {
    return this.board.totals()[column]!;
  }

  /** More than half of the connections are gone: the rest would measure something else. */
  private hopeless(): boolean {
    return this.total(COUNTER.closed) > (this.plan.publishers + this.plan.subscribers) / 2;
  }

  /** A number that changes whenever anything happens. */
  private activity(): number {
    const totals = this.board.totals();
    return totals[COUNTER.sent]! + totals[COUNTER.received]! + totals[COUNTER.acknowledged]!;
  }

  /** The message count is sent and acknowledged, or the awaited deliveries are here. */
  private done(): boolean {
    const totals = this.board.totals();
    if (this.plan.awaited > 0) return totals[COUNTER.received]! >= this.plan.awaited;
    return totals[COUNTER.sent]! >= this.plan.messages && this.allArrived();
  }

  private allArrived(): boolean {
    const totals = this.board.totals();
    if (this.plan.awaited > 0) return totals[COUNTER.received]! >= this.plan.awaited;
    const acknowledged = this.plan.qos === 0 || totals[COUNTER.acknowledged]! >= totals[COUNTER.sent]!;
    return acknowledged && totals[COUNTER.received]! - totals[COUNTER.duplicates]! >= totals[COUNTER.expected]!;
  }

  private setPhase(phase: number, name: Progress['phase']): void {
    Atomics.store(this.board.phase, 0, phase);
    this.phaseName = name;
    this.phaseStartNs = nowNs();
  }

  private tell(): void {
    const totals = this.board.totals();
    this.options.onProgress?.({
      phase: this.phaseName,
      seconds: (nowNs() - this.phaseStartNs) / 1e9,
      ready: totals[COUNTER.ready]!,
      sent: totals[COUNTER.sent]!,
      received: totals[COUNTER.received]!,
    });
  }

  private snapshot() {
    return takeSnapshot(nowNs(), this.plan.watchPids);
  }
}

/** True once a number has stayed the same for a time. */
class QuietWatch {
  isQuiet = false;
  sinceNs = 0;
  private value = Number.NaN;

  constructor(private readonly quietMs: number) {}

  since(value: number): boolean {
    const now = nowNs();
    if (value !== this.value) {
      this.value = value;
      this.sinceNs = now;
    }
    this.isQuiet = now - this.sinceNs > this.quietMs * 1e6;
    return this.isQuiet;
  }
}

function mergeAll(parts: WorkerReport['latency'][]): Histogram {
  const sum = new Histogram();
  for (const part of parts) sum.merge(part);
  return sum;
}

/** The worker threads: orders go to all, answers come back together. */
class Crew {
  private readonly workers: Worker[] = [];
  private broken: Error | undefined;
  private readonly pending = new Map<string, { resolve: (answer: Answer) => void; reject: (error: Error) => void }>();

  constructor(plan: LoadPlan, run: number, board: Board) {
    for (let number = 0; number < plan.workers; number++) {
      const workerData: TrafficOptions = { plan, run, worker: number, memory: board.memory };
      const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData });
      worker.on('message', (answer: Answer) => {
        const key = `${number} ${answer.order}`;
        this.pending.get(key)?.resolve(answer);
        this.pending.delete(key);
      });
      worker.on('error', (error) => {
        this.broken ??= error;
        for (const { reject } of this.pending.values()) reject(error);
        this.pending.clear();
      });
      this.workers.push(worker);
    }
  }

  all(order: Order): Promise<Answer[]> {
    this.check();
    return Promise.all(
      this.workers.map(
        (worker, number) =>
          new Promise<Answer>((resolve, reject) => {
            this.pending.set(`${number} ${order}`, { resolve, reject });
            worker.postMessage(order);
          }),
      ),
    );
  }

  /** Throws what a worker died of. */
  check(): void {
    if (this.broken !== undefined) throw this.broken;
  }

  async dismiss(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.terminate()));
  }
}
