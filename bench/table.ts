// The result as one table: a block per scenario, a line per broker, each broker's cost as a multiple of Mosquitto's.

import type { Summary } from './figures.js';
import type { Scenario, Target } from './scenario/index.js';

export interface Outcome {
  scenario: Scenario;
  /** In the order the brokers were given; a text says why there are no figures. */
  brokers: { name: string; summary: Summary | string }[];
}

const HEAD = [
  'scenario',
  'broker',
  'cost',
  'times',
  'per s',
  'CPU',
  'lost',
  'p50 ms',
  'p99 ms',
  'p99.9 ms',
  'RSS MB',
  'load µs',
  '',
];
const REFERENCE = 'mosquitto';

export function formatTable(outcomes: Outcome[]): string {
  const rows = [HEAD];
  for (const { scenario, brokers } of outcomes) {
    const reference = referenceOf(brokers);
    brokers.forEach(({ name, summary }, index) => {
      const label = index === 0 ? scenario.name : '';
      if (typeof summary === 'string') rows.push([label, name, '-', ...Array<string>(9).fill(''), summary]);
      else rows.push([label, name, ...cells(scenario, name, summary, reference)]);
    });
  }
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) =>
        column < 2 || column === HEAD.length - 1 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
      )
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}

function referenceOf(brokers: Outcome['brokers']): Summary | undefined {
  const found = brokers.find(({ name }) => name === REFERENCE)?.summary;
  return typeof found === 'string' ? undefined : found;
}

/** How many times cheaper than the reference: its cost divided by this one's. */
export function timesOf(summary: Summary, reference: Summary | undefined): number | undefined {
  if (reference?.cost === undefined || summary.cost === undefined || summary.cost <= 0) return undefined;
  return reference.cost / summary.cost;
}

function cells(scenario: Scenario, name: string, summary: Summary, reference: Summary | undefined): string[] {
  const times = timesOf(summary, reference);
  const milli = (micros: number) => (micros / 1000).toFixed(2);
  const notes: string[] = [];
  if (name === 'dunlin' && scenario.target !== undefined) notes.push(...judge(scenario.target, summary, reference));
  if (summary.duplicates > 0) notes.push(`${summary.duplicates} duplicates`);
  if (summary.outOfOrder > 0) notes.push(`${summary.outOfOrder} out of order`);
  if (summary.closed > 0) notes.push(`${summary.closed} closed`);
  if (summary.stalls > 0) notes.push(`${summary.stalls} stalls`);
  if (summary.noisyRuns > 0) notes.push(`${summary.noisyRuns} of ${summary.runs} runs noisy`);
  return [
    formatCost(scenario, summary.cost),
    times === undefined ? '' : `${times.toFixed(times < 10 ? 2 : 1)}x`,
    Math.round(summary.perSecond).toLocaleString('en-US'),
    summary.brokerCpuPercent === undefined ? '' : `${summary.brokerCpuPercent.toFixed(0)} %`,
    summary.lost > 0 ? `${summary.lostPercent.toFixed(3)} %` : '0',
    milli(summary.p50),
    milli(summary.p99),
    milli(summary.p999),
    summary.brokerRssBytes === undefined ? '' : (summary.brokerRssBytes / 1024 / 1024).toFixed(0),
    summary.loadCost === 0 ? '' : summary.loadCost.toFixed(2),
    notes.join('; '),
  ];
}

function formatCost(scenario: Scenario, cost: number | undefined): string {
  if (cost === undefined) return '?';
  if (scenario.cost === 'memory') return `${(cost / 1024).toFixed(2)} KiB/conn`;
  return `${cost.toFixed(cost < 10 ? 3 : 1)} µs/${scenario.cost === 'connection' ? 'conn' : 'msg'}`;
}

/** Each target in words, met or missed. */
export function judge(target: Target, summary: Summary, reference: Summary | undefined): string[] {
  const verdicts: string[] = [];
  const say = (met: boolean, what: string) => verdicts.push(`${met ? 'met' : 'MISSED'}: ${what}`);
  const times = timesOf(summary, reference);
  if (target.timesMin !== undefined && times !== undefined)
    say(times >= target.timesMin, `at least ${target.timesMin}x`);
  if (target.latencyNoWorse === true && reference !== undefined) say(summary.p99 <= reference.p99, 'p99 no worse');
  if (target.bytesPerConnectionMax !== undefined && summary.cost !== undefined)
    say(summary.cost <= target.bytesPerConnectionMax, `at most ${target.bytesPerConnectionMax / 1024} KiB`);
  if (target.lossless === true) say(summary.lost === 0 && summary.duplicates === 0, 'nothing lost or doubled');
  return verdicts;
}
