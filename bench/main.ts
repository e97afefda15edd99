// `npm run bench`: every chosen scenario on every chosen broker, several times, the brokers taking turns so that they see
// the same minutes of the machine. A fresh broker for each run; the broker on one core, the load on another.

import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Figures, isNoisy, summarize } from './figures.js';
import { describeMachine } from './machine.js';
import { type MeasureOptions, measure } from './measure.js';
import { compileMqload } from './mqload.js';
import { type BenchOptions, parseOptions } from './options.js';
import { choosePeers, findProgram, type Peer } from './peers/index.js';
import type { Scenario } from './scenario/index.js';
import { formatTable, type Outcome } from './table.js';

const BROKER_CORE = 0;
const LOAD_CORE = 1;
const REST_MS = 300;

/** Returns the exit code: 0 done, 1 a broker without figures, 2 a mistake in the command. */
export async function main(args: string[], root: string): Promise<number> {
  let options: BenchOptions | undefined;
  let peers: Peer[];
  try {
    options = parseOptions(args, root, (text) => process.stdout.write(text));
    if (options === undefined) return 0;
    peers = choosePeers({ names: options.peers, targets: options.targets, root, node: options.node });
  } catch (error) {
    process.stderr.write(`bench: ${(error as Error).message}\n`);
    return 2;
  }
  const pin = options.pin && availableParallelism() >= 2 && findProgram('taskset') !== undefined;
  if (options.pin && !pin) log('not pinned: that takes two cores and taskset');
  let mqload: ReturnType<typeof compileMqload> | undefined;
  try {
    if (options.mqloadSource !== undefined && options.load === 'mqload') mqload = compileMqload(options.mqloadSource);
    const measuring = { core: pin ? LOAD_CORE : undefined, mqload: mqload?.path, ...timesOf(options) };
    const versions = Object.fromEntries(peers.map((peer) => [peer.name, peer.describe()]));
    log(Object.values(versions).join(', '));
    const runs: { scenario: string; broker: string; figures: Figures }[] = [];
    const outcomes: Outcome[] = [];
    for (const scenario of options.scenarios) {
      log(`${scenario.name}: ${scenario.title}`);
      outcomes.push(await runScenario(scenario, peers, options.runs, pin, measuring, runs));
    }
    const machine = describeMachine(root);
    const { load, seconds, warmUpSeconds } = options;
    const result = {
      startedWith: { load, runs: options.runs, seconds, warmUpSeconds, pinned: pin },
      machine,
      versions,
      outcomes: outcomes.map(({ scenario, brokers }) => ({
        scenario: scenario.name,
        target: scenario.target,
        brokers,
      })),
      runs,
    };
    if (options.results !== undefined) writeResult(options.results, machine.commit, result);
    process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : `\n${formatTable(outcomes)}`);
    return peers.some(({ name }) => isWithoutFigures(outcomes, name)) ? 1 : 0;
  } catch (error) {
    process.stderr.write(`bench: ${(error as Error).message}\n`);
    return 1;
  } finally {
    mqload?.remove();
  }
}

/** A peer may lack what a scenario needs; not one figure, or one missing of Dunlin, is a failure. */
function isWithoutFigures(outcomes: Outcome[], name: string): boolean {
  const summaries = outcomes.flatMap(({ brokers }) => brokers.filter((broker) => broker.name === name));
  const missing = summaries.filter(({ summary }) => typeof summary === 'string').length;
  return name === 'dunlin' ? missing > 0 : missing === summaries.length;
}

const timesOf = ({ seconds, warmUpSeconds }: BenchOptions) => ({ seconds, warmUpSeconds });

async function runScenario(
  scenario: Scenario,
  peers: Peer[],
  rounds: number,
  pin: boolean,
  measuring: MeasureOptions,
  runs: { scenario: string; broker: string; figures: Figures }[],
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
    const running = await peer.start({ core: pin ? BROKER_CORE : undefined });
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

function writeResult(folder: string, commit: string | undefined, result: object): void {
  mkdirSync(folder, { recursive: true });
  const time = new Date().toISOString();
  const name = `${time.slice(0, 19).replaceAll(':', '')}-${(commit ?? 'unversioned').replace('+', '-changed')}.json`;
  const file = join(folder, name);
  writeFileSync(file, `${JSON.stringify({ time, ...result }, null, 1)}\n`);
  log(`written to ${file}`);
}

function log(text: string): void {
  process.stderr.write(`${text}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
  process.exitCode = await main(process.argv.slice(2), root);
}
