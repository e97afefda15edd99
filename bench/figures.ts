// One measurement of one broker, brought to the same shape whichever generator made it, and medians of several.

import type { LoadReport, Stage } from '../apps/cli/load/index.js';
import type { Scenario } from './scenario/index.js';

export interface Figures {
  /** In the scenario's unit: microseconds per message or connection, or bytes per connection; undefined without a pid. */
  cost?: number;
  /** Received (or, without subscribers, sent) messages per second; connections per second where nothing is sent. */
  perSecond: number;
  lost: number;
  lostPercent: number;
  duplicates: number;
  outOfOrder: number;
  closed: number;
  stalls: number;
  /** Microseconds. */
  p50: number;
  p99: number;
  p999: number;
  brokerCpuPercent?: number;
  brokerRssBytes?: number;
  /** CPU of the generator, microseconds per message. */
  loadCost: number;
  seconds: number;
  /** Seconds of CPU that neither broker nor generator used, and that the hypervisor took. */
  otherCpuSeconds: number;
  stealSeconds: number;
}

/** The part of a staged run that the figures are of: the one in which messages come back, else the last. */
export function figuresOfStages(scenario: Scenario, stages: Stage[]): Figures {
  const reports = stages.map(({ report }) => report);
  const main = reports.at(-1);
  if (main === undefined) throw new Error('the run had no stages');
  const figures = figuresOfReport(scenario, main);
  if (reports.length === 1) return figures;
  const messages = reports.reduce((sum, report) => sum + report.sent + report.received, 0);
  const cpuSeconds = reports.reduce((sum, report) => sum + (report.watched?.cpuSeconds ?? 0), 0);
  return { ...figures, ...(main.watched && messages > 0 ? { cost: (cpuSeconds * 1e6) / messages } : {}) };
}

function costOf(scenario: Scenario, watched: NonNullable<LoadReport['watched']>): number {
  if (scenario.cost === 'memory') return watched.rssBytesPerConnection;
  return scenario.cost === 'connection' ? watched.setupCpuMicrosPerConnection : watched.cpuMicrosPerMessage;
}

function figuresOfReport(scenario: Scenario, report: LoadReport): Figures {
  const { watched, latency, setup } = report;
  const connecting = scenario.cost !== 'message';
  const expected = report.expected ?? 0;
  const nothingArrived = report.subscribers > 0 && report.received === 0;
  const times = connecting ? setup.handshake : latency;
  return {
    ...(watched === undefined || (scenario.cost === 'message' && nothingArrived)
      ? {}
      : {
          cost: costOf(scenario, watched),
          brokerCpuPercent: watched.cpuPercent,
          brokerRssBytes: watched.rssBytesAfter,
        }),
    perSecond: connecting ? setup.perSecond : report.subscribers > 0 ? report.receivedPerSecond : report.sentPerSecond,
    lost: report.lost ?? 0,
    lostPercent: expected > 0 ? (100 * (report.lost ?? 0)) / expected : 0,
    duplicates: report.duplicates ?? 0,
    outOfOrder: report.outOfOrder ?? 0,
    closed: report.closed,
    stalls: report.stalls,
    p50: times.p50,
    p99: times.p99,
    p999: times.p999,
    loadCost: report.ownCpuMicrosPerMessage,
    seconds: report.seconds,
    otherCpuSeconds: report.otherCpuSeconds,
    stealSeconds: report.stealSeconds,
  };
}

/** The kernel counts in ticks of 10 ms, and each of the figures subtracted may be off by some. */
const TICKS_SECONDS = 0.1;

/** Another load on the machine, or a hypervisor that gave the cores to somebody else: the run says little. */
export function isNoisy(figures: Figures): boolean {
  const { seconds, stealSeconds, otherCpuSeconds } = figures;
  return (
    stealSeconds > Math.max(TICKS_SECONDS, seconds * 0.03) || otherCpuSeconds > Math.max(TICKS_SECONDS, seconds * 0.1)
  );
}

export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

export interface Summary extends Figures {
  runs: number;
  noisyRuns: number;
}

/** Medians over the quiet runs, or over all when none was quiet; what went wrong in any run is added up. */
export function summarize(all: Figures[]): Summary {
  const quiet = all.filter((figures) => !isNoisy(figures));
  const counted = quiet.length > 0 ? quiet : all;
  const middle = (pick: (figures: Figures) => number) => median(counted.map(pick));
  const total = (pick: (figures: Figures) => number) => all.reduce((sum, figures) => sum + pick(figures), 0);
  const known = counted.every(({ cost }) => cost !== undefined);
  return {
    ...(known
      ? {
          cost: middle(({ cost }) => cost ?? 0),
          brokerCpuPercent: middle(({ brokerCpuPercent }) => brokerCpuPercent ?? 0),
          brokerRssBytes: middle(({ brokerRssBytes }) => brokerRssBytes ?? 0),
        }
      : {}),
    perSecond: middle(({ perSecond }) => perSecond),
    lost: total(({ lost }) => lost),
    lostPercent: middle(({ lostPercent }) => lostPercent),
    duplicates: total(({ duplicates }) => duplicates),
    outOfOrder: total(({ outOfOrder }) => outOfOrder),
    closed: total(({ closed }) => closed),
    stalls: total(({ stalls }) => stalls),
    p50: middle(({ p50 }) => p50),
    p99: middle(({ p99 }) => p99),
    p999: middle(({ p999 }) => p999),
    loadCost: middle(({ loadCost }) => loadCost),
    seconds: middle(({ seconds }) => seconds),
    otherCpuSeconds: total(({ otherCpuSeconds }) => otherCpuSeconds),
    stealSeconds: total(({ stealSeconds }) => stealSeconds),
    runs: all.length,
    noisyRuns: all.length - quiet.length,
  };
}
