// `npm run bench -- durable`: what it costs to keep messages, how long a restart takes, whether the disk fills.

import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { describeMachine } from '../machine.js';
import { BROKER_CORE, canPin, LOAD_CORE, log, writeResult } from '../rounds.js';
import { chooseBrokers, type DurableBroker, durableBrokers } from './brokers.js';
import { formatPairs, runPairs } from './pairs.js';
import { formatRestart, type RestartResult, runRestart } from './restart.js';
import { formatSteady, runSteady, type SteadyResult } from './steady.js';

const PARTS = ['pairs', 'restart', 'steady'] as const;
type Part = (typeof PARTS)[number];

/** Which brokers each part runs on unless told. */
const BROKERS: Record<Part, string[]> = {
  pairs: ['mosquitto', 'mosquitto-autosave', 'dunlin-memory', 'dunlin-buffered', 'dunlin-sync', 'dunlin-faultTolerant'],
  restart: ['mosquitto', 'dunlin-buffered', 'dunlin-faultTolerant'],
  steady: ['dunlin-buffered'],
};

const HELP = `Usage: npm run bench -- durable [pairs] [restart] [steady] [options]

Compares what it costs to keep messages over a restart. Without a word: all three parts.

  pairs     QoS 1 to 200 persistent sessions, all brokers in turn
  restart   from the start of the process to the first accepted CONNECT, with much in store
  steady    disk use under steady traffic

  --brokers NAME,NAME    ${BROKERS.pairs.join(', ')}
  --runs N               pairs: runs of each broker, taken in turn; the median counts (3)
  --seconds S            pairs: measured part of a run (5)
  --warm-up S            pairs: before it (2)
  --retained N           restart: retained messages (1000000)
  --queued N             restart: messages queued for one session that is away (1000000)
  --messages N           steady: messages in all (2000000)
  --node PATH            the Node binary that runs Dunlin (the one that runs this)
  --no-pin               leave it to the system which core runs what
  --json                 the result as JSON on standard output instead of the tables
  --results FOLDER       where the result file goes (bench/results); --no-results writes none

Data folders are made in $TMPDIR (/tmp): what the disk there is, the figures are.
`;

export interface DurableOptions {
  parts: Part[];
  /** Undefined: those of each part. */
  brokers: string[] | undefined;
  runs: number;
  seconds: number;
  warmUpSeconds: number;
  retained: number;
  queued: number;
  messages: number;
  node: string;
  pin: boolean;
  json: boolean;
  results: string | undefined;
}

/** Returns the exit code: 0 done, 1 a broker without figures, 2 a mistake in the command. */
export async function durable(args: string[], root: string): Promise<number> {
  let options: DurableOptions | undefined;
  let all: DurableBroker[];
  try {
    options = parseDurableOptions(args, root);
    if (options === undefined) {
      process.stdout.write(HELP);
      return 0;
    }
    all = durableBrokers(root, options.node);
    if (options.brokers !== undefined) chooseBrokers(all, options.brokers);
  } catch (error) {
    process.stderr.write(`bench: ${(error as Error).message}\n`);
    return 2;
  }
  const { parts, seconds, warmUpSeconds, pin: wanted, ...rest } = options;
  const pin = canPin(wanted);
  const core = pin ? BROKER_CORE : undefined;
  const brokersOf = (part: Part) => chooseBrokers(all, rest.brokers ?? BROKERS[part]);
  const result: Record<string, unknown> = {};
  const tables: string[] = [];
  let failed = false;
  const versions = [...new Set(parts.flatMap(brokersOf))].map((broker) => [broker.name, broker.describe()] as const);
  log(versions.map(([, version]) => version).join('\n'));
  if (parts.includes('pairs')) {
    const measuring = { core: pin ? LOAD_CORE : undefined, mqload: undefined, seconds, warmUpSeconds };
    const { outcome, runs } = await runPairs(brokersOf('pairs'), { rounds: rest.runs, pin, measuring });
    result.pairs = { brokers: outcome.brokers, runs };
    tables.push(formatPairs(outcome));
    failed ||= outcome.brokers.some(({ summary }) => typeof summary === 'string');
  }
  if (parts.includes('restart')) {
    const { retained, queued } = rest;
    log(`restart: ${retained.toLocaleString('en-US')} retained and ${queued.toLocaleString('en-US')} queued messages`);
    const results = await each(brokersOf('restart'), (broker) => runRestart(broker, { retained, queued, core }));
    result.restart = results;
    tables.push(formatRestart(results as (RestartResult | string)[]));
    failed ||= results.some((one) => typeof one === 'string');
  }
  if (parts.includes('steady')) {
    log(`steady: ${rest.messages.toLocaleString('en-US')} messages`);
    const results = await each(brokersOf('steady'), (broker) => runSteady(broker, { messages: rest.messages, core }));
    result.steady = results;
    for (const one of results) tables.push(typeof one === 'string' ? `${one}\n` : formatSteady(one as SteadyResult));
    failed ||= results.some((one) => typeof one === 'string');
  }
  const machine = describeMachine(root);
  const startedWith = { ...rest, parts, seconds, warmUpSeconds, pinned: pin };
  const whole = { startedWith, machine, versions: Object.fromEntries(versions), ...result };
  if (options.results !== undefined) writeResult(options.results, 'durable-', machine.commit, whole);
  process.stdout.write(options.json ? `${JSON.stringify(whole)}\n` : `\n${tables.join('\n')}`);
  return failed ? 1 : 0;
}

/** One broker after the other; of one that fails, what it said. */
async function each<T>(brokers: readonly DurableBroker[], measure: (broker: DurableBroker) => Promise<T>) {
  const results: (T | string)[] = [];
  for (const broker of brokers) {
    try {
      results.push(await measure(broker));
    } catch (error) {
      const text = `${broker.name}: ${(error as Error).message}`;
      log(`  ${text}`);
      results.push(text);
    }
  }
  return results;
}

/** Undefined means that help was asked for. Throws on a mistake. */
export function parseDurableOptions(args: string[], root: string): DurableOptions | undefined {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      help: { type: 'boolean' },
      brokers: { type: 'string' },
      runs: { type: 'string' },
      seconds: { type: 'string' },
      'warm-up': { type: 'string' },
      retained: { type: 'string' },
      queued: { type: 'string' },
      messages: { type: 'string' },
      node: { type: 'string' },
      'no-pin': { type: 'boolean' },
      json: { type: 'boolean' },
      results: { type: 'string' },
      'no-results': { type: 'boolean' },
    },
  });
  if (values.help === true) return undefined;
  const parts = positionals.map((word) => {
    const part = PARTS.find((one) => one === word);
    if (part === undefined)
      throw new Error(`${JSON.stringify(word)} is no part of durable; there are ${PARTS.join(', ')}`);
    return part;
  });
  const node = values.node ?? process.execPath;
  if (!existsSync(node)) throw new Error(`--node: no file ${node}`);
  return {
    parts: parts.length === 0 ? [...PARTS] : PARTS.filter((part) => parts.includes(part)),
    brokers: values.brokers?.split(',').filter((name) => name !== ''),
    runs: number('--runs', values.runs ?? '3', 1, 100, true),
    seconds: number('--seconds', values.seconds ?? '5', 0.2, 600, false),
    warmUpSeconds: number('--warm-up', values['warm-up'] ?? '2', 0, 60, false),
    retained: number('--retained', values.retained ?? '1000000', 0, 1_000_000, true),
    queued: number('--queued', values.queued ?? '1000000', 0, 5_000_000, true),
    messages: number('--messages', values.messages ?? '2000000', 1000, 4_000_000_000, true),
    node,
    pin: values['no-pin'] !== true,
    json: values.json === true,
    results: values['no-results'] === true ? undefined : (values.results ?? `${root}/bench/results`),
  };
}

function number(name: string, text: string, min: number, max: number, whole: boolean): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= min && value <= max) || (whole && !Number.isInteger(value)))
    throw new Error(
      `${name} is ${JSON.stringify(text)}, but must be a ${whole ? 'whole ' : ''}number from ${min} to ${max}`,
    );
  return value;
}
