// The order of measurements: every broker once, then all again, so that they see the same minutes of the machine. A fresh
// broker for each run; the broker on one core, the load on another.

import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Figures, isNoisy, summarize } from './figures.js';
import { type MeasureOptions, measure } from './measure.js';
import { benchCertificate, findProgram, type Peer } from './peers/index.js';
import type { Scenario } from './scenario/index.js';
import type { Outcome } from './table.js';

export const BROKER_CORE = 0;
export const LOAD_CORE = 1;
const REST_MS = 300;

export interface Run {
  scenario: string;
  broker: string;
  figures: Figures;
}

/** Whether processes can be pinned to cores; says so when it was wanted and cannot be. */
export function canPin(wanted: boolean): boolean {
  const pin = wanted && availableParallelism() >= 2 && findProgram('taskset') !== undefined;
  if (wanted && !pin) log('not pinned: that takes two cores and taskset');
  return pin;
}

/** Runs one scenario `rounds` times on every peer; each run is also appended to `runs`. */
export async function runScenario(
  scenario: Scenario,
  peers: Peer[],
  rounds: number,
  pin: boolean,
  measuring: MeasureOptions,
  runs: Run[],
): Promise<Outcome> {
  const taken = new Map<Peer, Figures[]>(peers.map((peer) => [peer, []]));
  const failures = new Map<Peer, string>();
  for (let round = 0; round < rounds; round++) {
    for (const peer of peers) {
      if (failures.has(peer)) continue;
      try {
        const figures = await runOnce(scenario, peer, pin, measuring);
        if (figures === undefined) failures.set(peer, 'this generator cannot make this load');
        else {
          taken.get(peer)?.push(figures);
          runs.push({ scenario: scenario.name, broker: peer.name, figures });
        }
      } catch (error) {
        failures.set(peer, (error as Error).message.split('\n', 1)[0]!);
        log(`  ${peer.name}: ${(error as Error).message}`);
      }
    }
  }
  const brokers = peers.map((peer) => {
    const figures = taken.get(peer) ?? [];
    const summary = figures.length > 0 ? summarize(figures) : (failures.get(peer) ?? 'no run');
    return { name: peer.name, summary };
  });
  return { scenario, brokers };
}

/** A noisy run is done again, once. */
async function runOnce(
  scenario: Scenario,
  peer: Peer,
  pin: boolean,
  measuring: MeasureOptions,
): Promise<Figures | undefined> {
  let figures: Figures | undefined;
  for (let attempt = 0; attempt < 2; attempt++) {
    const running = await peer.start({
      core: pin ? BROKER_CORE : undefined,
      tls: scenario.tls === undefined ? undefined : benchCertificate(),
    });
    try {
      await sleep(REST_MS);
      figures = await measure(scenario, running, measuring);
    } finally {
      await running.stop();
    }
    if (figures === undefined) return undefined;
    const cost = figures.cost === undefined ? '' : `${figures.cost.toFixed(2)} `;
    const noise = isNoisy(figures)
      ? `  (noisy: other ${figures.otherCpuSeconds} s, steal ${figures.stealSeconds} s)`
      : '';
    log(`  ${peer.name.padEnd(10)} ${cost}at ${Math.round(figures.perSecond).toLocaleString('en-US')}/s${noise}`);
    if (!isNoisy(figures)) break;
  }
  return figures;
}

/** @param prefix  of the file's name, before time and commit. */
export function writeResult(folder: string, prefix: string, commit: string | undefined, result: object): void {
  mkdirSync(folder, { recursive: true });
  const time = new Date().toISOString();
  const version = (commit ?? 'unversioned').replace('+', '-changed');
  const file = join(folder, `${prefix}${time.slice(0, 19).replaceAll(':', '')}-${version}.json`);
  writeFileSync(file, `${JSON.stringify({ time, ...result }, null, 1)}\n`);
  log(`written to ${file}`);
}

export function log(text: string): void {
  process.stderr.write(`${text}\n`);
}
