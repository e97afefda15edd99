// How long a broker takes to come back with much in store: retained messages, and a queue for one session that is away.
// Filled once; ended with SIGTERM and started, ended with SIGKILL and started; then everything is fetched and counted.

import { randomInt } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type LoadPlan, type LoadReport, PLAN_DEFAULTS, runLoad } from '../../apps/cli/load/index.js';
import { log } from '../rounds.js';
import type { DurableBroker } from './brokers.js';
import { diskUse, formatColumns, mebibytes, megabytes } from './columns.js';
import { type Life, memoryOf, startLife } from './life.js';

export interface RestartOptions {
  retained: number;
  queued: number;
  core: number | undefined;
  /** After a restart, before memory is looked at again, milliseconds (5000). */
  restMs?: number;
}

export interface Comeback {
  after: 'SIGTERM' | 'SIGKILL';
  /** How long it took to end. */
  stopSeconds: number;
  secondsToFirstConnect: number;
  rssBytes: number;
  peakBytes: number;
  /** After a rest of five seconds. */
  rssBytesLater: number;
  diskBytes: number;
}

export interface RestartResult {
  broker: string;
  retained: number;
  queued: number;
  fillSeconds: number;
  comebacks: Comeback[];
  /** Of what had been acknowledged, fetched after the last restart. */
  lostRetained: number;
  lostQueued: number;
  fetchSeconds: number;
  rssBytesFetched: number;
}

const TARGET = { seconds: 3, rssBytes: 300 * 1_048_576 };
const FILL_SECONDS_MAX = 3600;
const REST_MS = 5000;
const PUBLISHERS = 10;
const WINDOW = 100;

export async function runRestart(broker: DurableBroker, options: RestartOptions): Promise<RestartResult> {
  const { retained, queued, core, restMs = REST_MS } = options;
  const folder = mkdtempSync(join(tmpdir(), 'dunlin-bench-'));
  const run = randomInt(65536);
  let life: Life | undefined;
  try {
    life = await startLife(broker, folder, core);
    const fillSeconds = await fill(life.port, run, options);
    log(`  ${broker.name} filled in ${fillSeconds.toFixed(1)} s, ${megabytes(diskUse(folder).bytes)} MB on disk`);
    const comebacks: Comeback[] = [];
    for (const after of ['SIGTERM', 'SIGKILL'] as const) {
      const stopSeconds = await life.end(after);
      const diskBytes = diskUse(folder).bytes;
      life = await startLife(broker, folder, core);
      const { secondsToFirstConnect } = life;
      const memory = memoryOf(life.pid);
      await sleep(restMs);
      const rssBytesLater = memoryOf(life.pid).rssBytes;
      comebacks.push({ after, stopSeconds, secondsToFirstConnect, ...memory, rssBytesLater, diskBytes });
      log(
        `  ${broker.name} back after ${after} in ${secondsToFirstConnect.toFixed(2)} s, ${mebibytes(memory.rssBytes)} MiB`,
      );
    }
    const from = performance.now();
    const lost = await fetchAll(life.port, run, options);
    const fetchSeconds = (performance.now() - from) / 1000;
    const rssBytesFetched = memoryOf(life.pid).rssBytes;
    return { broker: broker.name, retained, queued, fillSeconds, comebacks, ...lost, fetchSeconds, rssBytesFetched };
  } finally {
    await life?.end('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}

const planOf = (port: number, changes: Partial<LoadPlan>): LoadPlan => ({
  ...PLAN_DEFAULTS,
  port,
  qos: 1,
  inflight: WINDOW,
  warmUpSeconds: 0,
  seconds: FILL_SECONDS_MAX,
  drainSeconds: 20,
  ...changes,
});

async function fill(port: number, run: number, { retained, queued }: RestartOptions): Promise<number> {
  const from = performance.now();
  const sender = { publishers: PUBLISHERS, subscribers: 0 };
  if (retained > 0) {
    const plan = planOf(port, { ...sender, layout: 'distinct', topicPrefix: 'kept', retain: true, messages: retained });
    expectAcknowledged(await runLoad(plan, { run }), retained, 'retained');
  }
  if (queued > 0) {
    await runLoad(planOf(port, { ...session, session: 'keep', seconds: 0.2, drainSeconds: 0 }), { run });
    const plan = planOf(port, { ...sender, layout: 'shared', topicPrefix: 'queued', messages: queued });
    expectAcknowledged(await runLoad(plan, { run }), queued, 'queued');
  }
  return (performance.now() - from) / 1000;
}

/** The one session that is away. */
const session = { layout: 'shared', topicPrefix: 'queued', publishers: 0, subscribers: 1 } as const;

function expectAcknowledged({ acknowledged, closedReason }: LoadReport, expected: number, what: string): void {
  if (acknowledged < expected)
    throw new Error(
      `only ${acknowledged} of ${expected} ${what} messages were acknowledged; ${closedReason ?? 'it stalled'}`,
    );
}

async function fetchAll(port: number, run: number, { retained, queued }: RestartOptions) {
  const lost = { lostRetained: 0, lostQueued: 0 };
  if (queued > 0) {
    const report = await runLoad(planOf(port, { ...session, session: 'resume', awaited: queued }), { run });
    lost.lostQueued = report.lost ?? 0;
  }
  if (retained > 0) {
    const reader = {
      layout: 'distinct',
      topicPrefix: 'kept',
      publishers: 0,
      subscribers: 1,
      awaited: retained,
    } as const;
    lost.lostRetained = (await runLoad(planOf(port, reader), { run })).lost ?? 0;
  }
  return lost;
}

export function formatRestart(results: readonly (RestartResult | string)[]): string {
  const head = ['restart', 'after', 'to CONNACK s', 'RSS MiB', 'peak', '5 s later', 'disk MB', 'stop s', 'lost', ''];
  const rows = results.flatMap((result) => {
    if (typeof result === 'string') return [[result]];
    return result.comebacks.map((comeback, index) => {
      const last = index === result.comebacks.length - 1;
      return [
        index === 0 ? result.broker : '',
        comeback.after,
        comeback.secondsToFirstConnect.toFixed(2),
        mebibytes(comeback.rssBytes),
        mebibytes(comeback.peakBytes),
        mebibytes(comeback.rssBytesLater),
        megabytes(comeback.diskBytes),
        comeback.stopSeconds.toFixed(1),
        last ? String(result.lostQueued + result.lostRetained) : '',
        notesOn(result, comeback, last),
      ];
    });
  });
  return formatColumns([head, ...rows]);
}

function notesOn(result: RestartResult, comeback: Comeback, last: boolean): string {
  const notes: string[] = [];
  const say = (met: boolean, what: string) => notes.push(`${met ? 'met' : 'MISSED'}: ${what}`);
  if (result.broker.startsWith('dunlin-')) {
    say(comeback.secondsToFirstConnect < TARGET.seconds, `under ${TARGET.seconds} s`);
    say(comeback.rssBytes < TARGET.rssBytes, `under ${mebibytes(TARGET.rssBytes)} MiB`);
  }
  if (last)
    notes.push(
      `filled in ${result.fillSeconds.toFixed(0)} s, fetched in ${result.fetchSeconds.toFixed(0)} s with ${mebibytes(result.rssBytesFetched)} MiB`,
    );
  return notes.join('; ');
}
