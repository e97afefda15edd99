// What a run found. Rates and CPU are of the measured part, counts of the whole run unless said otherwise.

import type { Board } from './board.js';
import { COUNTER } from './board.js';
import type { Histogram, LatencySummary } from './histogram.js';
import type { LoadPlan } from './plan.js';
import type { Snapshot } from './proc.js';

export interface LoadReport {
  layout: string;
  version: '3.1.1' | '5.0';
  qos: number;
  publishers: number;
  subscribers: number;
  payloadBytes: number;
  /** Length of the measured part. */
  seconds: number;
  sentPerSecond: number;
  receivedPerSecond: number;

  sent: number;
  received: number;
  /** Undefined when the layout cannot tell how many deliveries a message brings. */
  expected?: number;
  lost?: number;
  duplicates?: number;
  outOfOrder?: number;
  foreign: number;
  acknowledged: number;
  refused: number;
  skipped: number;
  stalls: number;
  closed: number;
  closedReason?: string;

  /** Microseconds from just before the write to just after the read. */
  latency: LatencySummary;
  /** Open loop: microseconds that messages were sent later than due. */
  lateness?: LatencySummary;
  messagesPerRead: number;

  setup: {
    connections: number;
    seconds: number;
    perSecond: number;
    /** Microseconds from dialling to ready (CONNACK, and SUBACK of subscribers). */
    handshake: LatencySummary;
  };

  /** CPU of the load generator itself in the measured part. */
  ownCpuSeconds: number;
  ownCpuMicrosPerMessage: number;
  /** CPU of everything else on the machine, and time that the hypervisor took away. */
  otherCpuSeconds: number;
  stealSeconds: number;
  /** Only with watched processes. */
  watched?: {
    cpuSeconds: number;
    cpuPercent: number;
    cpuMicrosPerMessage: number;
    setupCpuMicrosPerConnection: number;
    rssBytesBefore: number;
    rssBytesReady: number;
    rssBytesAfter: number;
    rssBytesPerConnection: number;
  };
}

export interface Marks {
  /** Before the first connection. */
  before: Snapshot;
  /** All connections up. */
  ready: Snapshot;
  measureStart: Snapshot;
  measureEnd: Snapshot;
  countersStart: Float64Array;
  countersEnd: Float64Array;
}

export interface Histograms {
  latency: Histogram;
  lateness: Histogram;
  handshakes: Histogram;
}

const round = (value: number, places: number) => Math.round(value * 10 ** places) / 10 ** places;

export function makeReport(
  plan: LoadPlan,
  board: Board,
  marks: Marks,
  histograms: Histograms,
  closedReason: string | undefined,
  expectedFan: number,
  countsDuplicates: boolean,
): LoadReport {
  const { measureStart: from, measureEnd: to } = marks;
  const totals = board.totals();
  const count = (column: number) => totals[column]!;
  const measured = (column: number) => marks.countersEnd[column]! - marks.countersStart[column]!;
  const seconds = (to.atNs - from.atNs) / 1e9;
  const connections = histograms.handshakes.count;
  const setupSeconds = (marks.ready.atNs - marks.before.atNs) / 1e9;
  const messages = measured(COUNTER.received) > 0 ? measured(COUNTER.received) : measured(COUNTER.sent);
  const perMessage = (cpu: number) => (messages > 0 ? round((cpu * 1e6) / messages, 4) : 0);
  const ownCpu = to.ownCpuSeconds - from.ownCpuSeconds;
  const watchedCpu = to.watchedCpuSeconds - from.watchedCpuSeconds;
  const expected = plan.awaited > 0 ? plan.awaited : count(COUNTER.expected);
  const arrived = count(COUNTER.received) - count(COUNTER.duplicates);
  return {
    layout: plan.layout,
    version: plan.level === 5 ? '5.0' : '3.1.1',
    qos: plan.qos,
    publishers: plan.publishers,
    subscribers: plan.subscribers,
    payloadBytes: plan.payloadBytes,
    seconds: round(seconds, 3),
    sentPerSecond: Math.round(measured(COUNTER.sent) / seconds),
    receivedPerSecond: Math.round(measured(COUNTER.received) / seconds),
    sent: count(COUNTER.sent),
    received: count(COUNTER.received),
    ...(expectedFan > 0 || plan.awaited > 0 ? { expected, lost: Math.max(0, expected - arrived) } : {}),
    ...(countsDuplicates ? { duplicates: count(COUNTER.duplicates), outOfOrder: count(COUNTER.outOfOrder) } : {}),
    foreign: count(COUNTER.foreign),
    acknowledged: count(COUNTER.acknowledged),
    refused: count(COUNTER.refused),
    skipped: count(COUNTER.skipped),
    stalls: count(COUNTER.stalls),
    closed: count(COUNTER.closed),
    ...(closedReason === undefined ? {} : { closedReason }),
    latency: histograms.latency.summary(),
    ...(plan.rate > 0 ? { lateness: histograms.lateness.summary() } : {}),
    messagesPerRead: round(measured(COUNTER.received) / Math.max(1, measured(COUNTER.reads)), 2),
    setup: {
      connections,
      seconds: round(setupSeconds, 3),
      perSecond: Math.round(connections / Math.max(setupSeconds, 1e-6)),
      handshake: histograms.handshakes.summary(),
    },
    ownCpuSeconds: round(ownCpu, 3),
    ownCpuMicrosPerMessage: perMessage(ownCpu),
    otherCpuSeconds: round(to.busySeconds - from.busySeconds - ownCpu - watchedCpu, 2),
    stealSeconds: round(to.stealSeconds - from.stealSeconds, 2),
    ...(plan.watchPids.length === 0
      ? {}
      : {
          watched: {
            cpuSeconds: round(watchedCpu, 3),
            cpuPercent: round((100 * watchedCpu) / seconds, 1),
            cpuMicrosPerMessage: perMessage(watchedCpu),
            setupCpuMicrosPerConnection: round(
              ((marks.ready.watchedCpuSeconds - marks.before.watchedCpuSeconds) * 1e6) / Math.max(1, connections),
              1,
            ),
            rssBytesBefore: marks.before.watchedRssBytes,
            rssBytesReady: marks.ready.watchedRssBytes,
            rssBytesAfter: to.watchedRssBytes,
            rssBytesPerConnection: Math.round(
              (to.watchedRssBytes - marks.before.watchedRssBytes) / Math.max(1, connections),
            ),
          },
        }),
  };
}
