// One measurement: a broker that runs, a generator in its own process on the other core, figures.

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type LoadPlan, PLAN_DEFAULTS, type Stage } from '../apps/cli/load/index.js';
import { type Figures, figuresOfStages } from './figures.js';
import { figuresOfMqload, mqloadCommand } from './mqload.js';
import { pinned, type RunningPeer } from './peers/index.js';
import type { Scenario } from './scenario/index.js';

export interface MeasureOptions {
  seconds: number;
  warmUpSeconds: number;
  /** Core of the generator; undefined leaves it to the system. */
  core: number | undefined;
  /** Path of the external generator, when that is to be used. */
  mqload: string | undefined;
}

/** What a generator may take beyond its measured and its setup time. */
const SPARE_SECONDS = 60;
/** One thread for everything on the one core it has: helper threads of the engine would only get in its way. */
const NODE_FLAGS = ['--single-threaded', '--max-semi-space-size=64'];

/** Undefined when the generator cannot make this load. */
export async function measure(
  scenario: Scenario,
  peer: RunningPeer,
  options: MeasureOptions,
): Promise<Figures | undefined> {
  const { seconds, warmUpSeconds } = options;
  const limit = (seconds * (scenario.length ?? 1) + warmUpSeconds + SPARE_SECONDS) * 1000;
  if (options.mqload !== undefined) {
    const run = { port: peer.port, pids: peer.pids, seconds, warmUpSeconds };
    const command = mqloadCommand(options.mqload, scenario, run);
    if (command === undefined) return undefined;
    return figuresOfMqload(scenario, await outputOf(pinned(command, options.core), limit));
  }
  const plan = planOf(scenario, peer, options);
  const script = fileURLToPath(new URL('./load-process.js', import.meta.url));
  const flags = options.core === undefined ? [] : NODE_FLAGS;
  const command = [process.execPath, ...flags, script, scenario.kind, JSON.stringify(plan)];
  const stages = JSON.parse(await outputOf(pinned(command, options.core), limit)) as Stage[];
  return figuresOfStages(scenario, stages);
}

export function planOf(scenario: Scenario, peer: RunningPeer, options: MeasureOptions): LoadPlan {
  return {
    ...PLAN_DEFAULTS,
    ...scenario.plan,
    tls: scenario.tls === undefined ? undefined : { insecure: true },
    host: peer.host,
    port: peer.port,
    warmUpSeconds: scenario.cost === 'message' ? options.warmUpSeconds : 0,
    seconds: options.seconds * (scenario.length ?? 1),
    watchPids: peer.pids,
  };
}

/** The last line a program prints. Throws what it said when it failed, and ends it when it takes too long. */
function outputOf(command: string[], limitMs: number): Promise<string> {
  const [program = '', ...args] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let said = '';
    const timer = setTimeout(() => child.kill('SIGKILL'), limitMs);
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      const line = out.trim().split('\n').at(-1);
      if (code === 0 && line) resolve(line);
      else reject(new Error(said.trim() || `the load generator ended with ${signal ?? code}`));
    });
  });
}
