// The command line of `npm run bench -- ...`.

import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Scenario, selectScenarios } from './scenario/index.js';

export interface BenchOptions {
  scenarios: Scenario[];
  peers: string[];
  targets: string[];
  runs: number;
  seconds: number;
  warmUpSeconds: number;
  /** `own`, or an external generator that is compiled from `mqloadSource`. */
  load: 'own' | 'mqload';
  mqloadSource: string | undefined;
  node: string;
  pin: boolean;
  json: boolean;
  /** Folder for result files; undefined writes none. */
  results: string | undefined;
}

export const HELP = `Usage: npm run bench -- [SCENARIO or GROUP ...] [options]

Runs the same load on several brokers in turn and compares what it cost them. Without a word: the standard scenarios.
\`npm run bench -- durable\` compares storage instead, \`npm run bench -- bridge\` bridges, \`npm run bench -- logins\` shows what
logins do to the messages of others; each has a \`--help\` of its own.

  --list                    the scenarios and their groups
  --scenario NAME,NAME      the same as naming them
  --peers NAME,NAME         brokers to start beside Dunlin: mosquitto, aedes (both)
  --target NAME=HOST:PORT[:PID]   a broker that runs already, on this machine; may be repeated
  --runs N                  runs of each scenario and broker, taken in turn; the median counts (3)
  --seconds S               measured part of a run (3)
  --warm-up S               before it (1.5)
  --node PATH               the Node binary that runs Dunlin (the one that runs this)
  --load mqload --mqload-source FILE   use an external generator in C instead of our own, compiled with cc
  --no-pin                  leave it to the system which core runs what
  --json                    the result as JSON on standard output instead of the table
  --results FOLDER          where the result file goes (bench/results); --no-results writes none
`;

/** Undefined means that help or the list was asked for; what to print stands in `say`. */
export function parseOptions(args: string[], root: string, say: (text: string) => void): BenchOptions | undefined {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      help: { type: 'boolean' },
      list: { type: 'boolean' },
      scenario: { type: 'string', multiple: true },
      peers: { type: 'string' },
      target: { type: 'string', multiple: true },
      runs: { type: 'string' },
      seconds: { type: 'string' },
      'warm-up': { type: 'string' },
      node: { type: 'string' },
      load: { type: 'string' },
      'mqload-source': { type: 'string' },
      'no-pin': { type: 'boolean' },
      json: { type: 'boolean' },
      results: { type: 'string' },
      'no-results': { type: 'boolean' },
    },
  });
  if (values.help === true) {
    say(HELP);
    return undefined;
  }
  if (values.list === true) {
    say(listScenarios());
    return undefined;
  }
  const words = [...positionals, ...(values.scenario ?? []).flatMap(split)];
  const targets = values.target ?? [];
  const load = values.load ?? 'own';
  if (load !== 'own' && load !== 'mqload')
    throw new Error(`--load is ${JSON.stringify(load)}, but must be own or mqload`);
  const mqloadSource = values['mqload-source'];
  if (load === 'mqload' && mqloadSource === undefined) throw new Error('--load mqload needs --mqload-source FILE');
  if (mqloadSource !== undefined && !existsSync(mqloadSource))
    throw new Error(`--mqload-source: no file ${mqloadSource}`);
  const node = values.node ?? process.execPath;
  if (!existsSync(node)) throw new Error(`--node: no file ${node}`);
  const results = values['no-results'] === true ? undefined : (values.results ?? `${root}/bench/results`);
  return {
    scenarios: selectScenarios(words),
    peers:
      values.peers === undefined
        ? targets.length > 0
          ? []
          : ['mosquitto', 'aedes', 'dunlin']
        : [...new Set([...split(values.peers), 'dunlin'])],
    targets,
    runs: wholeNumber('--runs', values.runs ?? '3', 1, 100),
    seconds: decimal('--seconds', values.seconds ?? '3', 0.2, 600),
    warmUpSeconds: decimal('--warm-up', values['warm-up'] ?? '1.5', 0, 60),
    load,
    mqloadSource,
    node,
    pin: values['no-pin'] !== true,
    json: values.json === true,
    results,
  };
}

const split = (text: string) => text.split(',').filter((part) => part !== '');

function decimal(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= min && value <= max))
    throw new Error(`${name} is ${JSON.stringify(text)}, but must be a number from ${min} to ${max}`);
  return value;
}

function wholeNumber(name: string, text: string, min: number, max: number): number {
  const value = decimal(name, text, min, max);
  if (!Number.isInteger(value)) throw new Error(`${name} is ${text}, but must be a whole number`);
  return value;
}

function listScenarios(): string {
  return `${selectScenarios(['all'])
    .map(({ name, group, title }) => `${name.padEnd(25)} ${group.padEnd(12)} ${title}`)
    .join('\n')}\n`;
}
