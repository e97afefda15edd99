// Steady traffic for a bounded number of messages, with a persistent subscriber that goes and comes back all the time: what
// is on the disk must not grow.

import { randomInt } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type LoadPlan, PLAN_DEFAULTS, runLoad } from '../../apps/cli/load/index.js';
import { log } from '../rounds.js';
import type { DurableBroker } from './brokers.js';
import { diskUse, formatColumns, mebibytes, megabytes } from './columns.js';
import { memoryOf, startLife } from './life.js';

export interface SteadyOptions {
  messages: number;
  core: number | undefined;
  /** After the traffic, before the last sample, milliseconds (5000). */
  restMs?: number;
}

export interface Sample {
  seconds: number;
  messages: number;
  diskBytes: number;
  files: number;
  rssBytes: number;
}

export interface SteadyResult {
  broker: string;
  samples: Sample[];
  perSecond: number;
  lost: number;
  /** Times that the subscriber came back, and what it got. */
  returns: number;
  fetched: number;
  /** Most on the disk in the last quarter of the time, divided by that in the second quarter. */
  growth: number;
}

const PAIRS = 50;
const AWAY_MS = 2000;
const HERE_SECONDS = 2;
const SAMPLE_MS = 1000;
const REST_MS = 5000;
const ROWS = 12;

export async function runSteady(broker: DurableBroker, options: SteadyOptions): Promise<SteadyResult> {
  const { messages, core, restMs = REST_MS } = options;
  const folder = mkdtempSync(join(tmpdir(), 'dunlin-bench-'));
  const life = await startLife(broker, folder, core);
  const samples: Sample[] = [];
  const from = performance.now();
  let done = 0;
  const sample = () => {
    const disk = diskUse(folder);
    const { rssBytes } = memoryOf(life.pid);
    const seconds = (performance.now() - from) / 1000;
    samples.push({ seconds, messages: done, diskBytes: disk.bytes, files: disk.files, rssBytes });
  };
  const sampler = setInterval(sample, SAMPLE_MS);
  try {
    const run = randomInt(65536);
    const ending = new AbortController();
    const cycle = comeAndGo(life.port, run, ending.signal);
    const plan: LoadPlan = {
      ...PLAN_DEFAULTS,
      port: life.port,
      layout: 'pair',
      publishers: PAIRS,
      subscribers: PAIRS,
      session: 'keep',
      qos: 1,
      inflight: 20,
      lag: 100,
      messages,
      warmUpSeconds: 0,
      seconds: 86_400,
      drainSeconds: 20,
    };
    const onProgress = ({ received }: { received: number }) => {
      done = received;
    };
    const load = runLoad(plan, { run, onProgress });
    const ended = load.then(
      () => ending.abort(),
      () => ending.abort(),
    );
    const { returns, fetched } = await cycle;
    await ended;
    const report = await load;
    clearInterval(sampler);
    const growth = growthOf(samples);
    done = report.received;
    await sleep(restMs);
    sample();
    const { receivedPerSecond: perSecond, lost = 0 } = report;
    log(`  ${broker.name} done at ${perSecond.toLocaleString('en-US')}/s`);
    return { broker: broker.name, samples, perSecond, lost, returns, fetched, growth };
  } finally {
    clearInterval(sampler);
    await life.end('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A persistent subscriber of the first pair's topic: here for a while, away for a while, in the end here once more. */
async function comeAndGo(port: number, run: number, ending: AbortSignal) {
  const plan: LoadPlan = {
    ...PLAN_DEFAULTS,
    port,
    layout: 'template',
    topicFilter: `${PLAN_DEFAULTS.topicPrefix}/pair/000000`,
    clientIdPrefix: 'cycle',
    publishers: 0,
    subscribers: 1,
    session: 'keep',
    qos: 1,
    warmUpSeconds: 0,
    seconds: HERE_SECONDS,
    drainSeconds: 0,
  };
  let returns = 0;
  let fetched = 0;
  for (let last = false; !last; returns++) {
    last = ending.aborted;
    fetched += (await runLoad(plan, { run })).received;
    if (!last) await sleep(AWAY_MS);
  }
  return { returns, fetched };
}

/** NaN with fewer than four samples. */
export function growthOf(samples: readonly Sample[]): number {
  const quarter = samples.length / 4;
  const most = (from: number, to: number) =>
    Math.max(...samples.slice(Math.floor(from * quarter), Math.floor(to * quarter)).map(({ diskBytes }) => diskBytes));
  return quarter < 1 ? Number.NaN : most(3, 4) / most(1, 2);
}

export function formatSteady({ broker, samples, perSecond, lost, returns, fetched, growth }: SteadyResult): string {
  const step = Math.max(1, Math.ceil(samples.length / ROWS));
  const rows = samples
    .filter((_, index) => index % step === 0 || index === samples.length - 1)
    .map(({ seconds, messages, diskBytes, files, rssBytes }, index) => [
      index === 0 ? broker : '',
      seconds.toFixed(0),
      messages.toLocaleString('en-US'),
      megabytes(diskBytes),
      String(files),
      mebibytes(rssBytes),
      '',
    ]);
  const table = formatColumns([['steady', 'seconds', 'messages', 'disk MB', 'files', 'RSS MiB', ''], ...rows]);
  const most = Math.max(...samples.map(({ diskBytes }) => diskBytes));
  return (
    `${table}${perSecond.toLocaleString('en-US')} messages/s, ${lost} lost; ${returns} returns fetched ` +
    `${fetched.toLocaleString('en-US')}; at most ${megabytes(most)} MB on disk, in the last quarter ${growth.toFixed(2)} times that in the second\n`
  );
}
