// `npm run bench`: every chosen scenario on every chosen broker, several times, the brokers taking turns (rounds.ts).
// `npm run bench -- durable`, `-- bridge` and `-- logins` are benches of their own, in the folders of those names.

import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bridge } from './bridge/main.js';
import { durable } from './durable/main.js';
import { logins } from './logins/main.js';
import { describeMachine } from './machine.js';
import { compileMqload } from './mqload.js';
import { type BenchOptions, parseOptions } from './options.js';
import { choosePeers, type Peer } from './peers/index.js';
import { canPin, LOAD_CORE, log, type Run, runScenario, writeResult } from './rounds.js';
import { formatTable, type Outcome } from './table.js';

/** Returns the exit code: 0 done, 1 a broker without figures, 2 a mistake in the command. */
export async function main(args: string[], root: string): Promise<number> {
  if (args[0] === 'durable') return durable(args.slice(1), root);
  if (args[0] === 'bridge') return bridge(args.slice(1), root);
  if (args[0] === 'logins') return logins(args.slice(1), root);
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
  const pin = canPin(options.pin);
  let mqload: ReturnType<typeof compileMqload> | undefined;
  try {
    if (options.mqloadSource !== undefined && options.load === 'mqload') mqload = compileMqload(options.mqloadSource);
    const measuring = { core: pin ? LOAD_CORE : undefined, mqload: mqload?.path, ...timesOf(options) };
    const versions = Object.fromEntries(peers.map((peer) => [peer.name, peer.describe()]));
    log(Object.values(versions).join(', '));
    const runs: Run[] = [];
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
    if (options.results !== undefined) writeResult(options.results, '', machine.commit, result);
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

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
  process.exitCode = await main(process.argv.slice(2), root);
}
