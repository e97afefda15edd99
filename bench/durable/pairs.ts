// QoS 1 to persistent sessions, all brokers in turn: what storage costs while everybody is connected.

import type { MeasureOptions } from '../measure.js';
import { log, type Run, runScenario } from '../rounds.js';
import type { Scenario } from '../scenario/index.js';
import type { Outcome } from '../table.js';
import { type DurableBroker, peerOf, REFERENCE } from './brokers.js';
import { formatColumns } from './columns.js';

export const PAIRS: Scenario = {
  name: 'durable-pairs',
  group: 'stored',
  title: '200 publishers, 200 persistent sessions, QoS 1, 20 in flight, 64 bytes',
  kind: 'load',
  plan: { layout: 'pair', publishers: 200, subscribers: 200, qos: 1, inflight: 20, lag: 100, session: 'keep' },
  cost: 'message',
};

/** Messages per second as a multiple of Mosquitto's with its default persistence. */
const TARGETS: Record<string, number> = { 'dunlin-buffered': 4, 'dunlin-sync': 1 };

export interface PairsOptions {
  rounds: number;
  pin: boolean;
  measuring: MeasureOptions;
}

export async function runPairs(
  brokers: readonly DurableBroker[],
  { rounds, pin, measuring }: PairsOptions,
): Promise<{ outcome: Outcome; runs: Run[] }> {
  log(`pairs: ${PAIRS.title}`);
  const runs: Run[] = [];
  const outcome = await runScenario(PAIRS, brokers.map(peerOf), rounds, pin, measuring, runs);
  return { outcome, runs };
}

export function formatPairs({ brokers }: Outcome): string {
  const found = brokers.find(({ name }) => name === REFERENCE)?.summary;
  const reference = typeof found === 'string' ? undefined : found;
  const times = (value: number | undefined) => (value === undefined ? '' : `${value.toFixed(2)}x`);
  const head = ['pairs', 'per s', 'times', 'µs/msg', 'times', 'CPU', 'p50 ms', 'p99 ms', 'RSS MB', 'lost', ''];
  const rows = brokers.map(({ name, summary }) => {
    if (typeof summary === 'string') return [name, '-', ...Array<string>(8).fill(''), summary];
    const { perSecond, cost, brokerCpuPercent, brokerRssBytes, p50, p99, lost, duplicates, noisyRuns, runs } = summary;
    const speed = reference === undefined ? undefined : perSecond / reference.perSecond;
    const thrift = reference?.cost === undefined || cost === undefined ? undefined : reference.cost / cost;
    const target = TARGETS[name];
    const notes = [
      ...(target === undefined || speed === undefined
        ? []
        : [`${speed >= target ? 'met' : 'MISSED'}: at least ${target}x messages per second`]),
      ...(duplicates > 0 ? [`${duplicates} duplicates`] : []),
      ...(noisyRuns > 0 ? [`${noisyRuns} of ${runs} runs noisy`] : []),
    ];
    return [
      name,
      Math.round(perSecond).toLocaleString('en-US'),
      times(speed),
      cost === undefined ? '?' : cost.toFixed(2),
      times(thrift),
      brokerCpuPercent === undefined ? '' : `${brokerCpuPercent.toFixed(0)} %`,
      (p50 / 1000).toFixed(2),
      (p99 / 1000).toFixed(2),
      brokerRssBytes === undefined ? '' : (brokerRssBytes / 1024 / 1024).toFixed(0),
      String(lost),
      notes.join('; '),
    ];
  });
  return formatColumns([head, ...rows]);
}
