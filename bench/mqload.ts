// Drives an external load generator in C, `mqload`, whose source the caller names: the same scenarios from a second,
// independent generator. It prints one line of JSON; its fields are mapped here and nowhere else.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Figures } from './figures.js';
import type { Scenario } from './scenario/index.js';

export interface Mqload {
  path: string;
  remove(): void;
}

export function compileMqload(source: string): Mqload {
  const folder = mkdtempSync(join(tmpdir(), 'dunlin-mqload-'));
  const path = join(folder, 'mqload');
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    execFileSync('cc', ['-O2', '-o', path, source], { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' });
  } catch (error) {
    remove();
    throw new Error(`cannot compile ${source} with cc: ${(error as Error).message}`);
  }
  return { path, remove };
}

export interface MqloadRun {
  port: number;
  pids: number[];
  seconds: number;
  warmUpSeconds: number;
}

/** The whole command line; undefined when the scenario is beyond this generator. */
export function mqloadCommand(path: string, scenario: Scenario, run: MqloadRun): string[] | undefined {
  if (scenario.mqload === undefined) return undefined;
  const common = ['-p', String(run.port), ...(run.pids.length > 0 ? ['--pid', run.pids.join(',')] : [])];
  if (scenario.mqload[0] === 'conn') return [path, ...scenario.mqload, ...common];
  const size = scenario.mqload.includes('-b') ? [] : ['-b', '64'];
  const seconds = String(run.seconds * (scenario.length ?? 1));
  return [path, ...scenario.mqload, ...size, '-t', seconds, '-w', String(run.warmUpSeconds), ...common];
}

interface MqloadOutput {
  mode: 'load' | 'conn';
  seconds?: number;
  recv_per_s?: number;
  sent_per_s?: number;
  conn_per_s?: number;
  connect_s?: number;
  lost?: number;
  lost_pct?: number;
  out_of_order_or_dup?: number;
  stalls?: number;
  closed?: number;
  lat_us?: { p50: number; p99: number; p999: number };
  handshake_us?: { p50: number; p99: number; max: number };
  gen_cpu_s?: number;
  broker_us_per_msg?: number;
  broker_cpu_pct?: number;
  rss_after_kb?: number;
  rss_hold_kb?: number;
  rss_per_conn_b?: number;
  broker_us_per_conn?: number;
  other_cpu_s?: number;
  steal_s?: number;
}

export function figuresOfMqload(scenario: Scenario, line: string): Figures {
  const out = JSON.parse(line) as MqloadOutput;
  const connecting = out.mode === 'conn';
  const seconds = (connecting ? out.connect_s : out.seconds) ?? 0;
  const perSecond = (connecting ? out.conn_per_s : out.recv_per_s || out.sent_per_s) ?? 0;
  const cost = connecting
    ? scenario.cost === 'memory'
      ? out.rss_per_conn_b
      : out.broker_us_per_conn
    : out.broker_us_per_msg;
  const rss = out.rss_after_kb ?? out.rss_hold_kb;
  const times = out.lat_us ?? { p50: 0, p99: 0, p999: 0 };
  return {
    ...(cost === undefined ? {} : { cost }),
    ...(out.broker_cpu_pct === undefined ? {} : { brokerCpuPercent: out.broker_cpu_pct }),
    ...(rss === undefined ? {} : { brokerRssBytes: rss * 1024 }),
    perSecond,
    lost: Math.max(0, out.lost ?? 0),
    lostPercent: Math.max(0, out.lost_pct ?? 0),
    duplicates: 0,
    outOfOrder: out.out_of_order_or_dup ?? 0,
    closed: out.closed ?? 0,
    stalls: out.stalls ?? 0,
    p50: out.handshake_us?.p50 ?? times.p50,
    p99: out.handshake_us?.p99 ?? times.p99,
    p999: out.handshake_us?.max ?? times.p999,
    loadCost: perSecond > 0 && seconds > 0 ? ((out.gen_cpu_s ?? 0) * 1e6) / (perSecond * seconds) : 0,
    seconds,
    otherCpuSeconds: out.other_cpu_s ?? 0,
    stealSeconds: out.steal_s ?? 0,
  };
}
