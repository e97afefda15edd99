// What a run is asked to do, and the bounds of it: every count and every time has a limit, checked here and nowhere else.

import { isIP } from 'node:net';
import { type ProtocolLevel, type Qos, STAMP } from './wire.js';

/** What each of them means stands in layout.ts. */
export const LAYOUTS = ['shared', 'pair', 'fanin', 'wildcard', 'distinct', 'idle', 'template'] as const;
export type Layout = (typeof LAYOUTS)[number];

/** Contents of PEM files; a key in hexadecimal. */
export interface LoadTls {
  ca?: string;
  cert?: string;
  key?: string;
  /** Checks neither name nor authority of the broker. */
  insecure: boolean;
  version?: 'TLSv1.2' | 'TLSv1.3';
  ciphers?: string;
  psk?: { identity: string; key: string };
}

export interface LoadPlan {
  host: string;
  port: number;
  /** Targets beyond loopback are refused without it. */
  allowRemote: boolean;
  level: ProtocolLevel;
  username?: string | undefined;
  password?: string | undefined;
  keepAlive: number;
  clientIdPrefix: string;
  /** Every connection uses TLS. */
  tls?: LoadTls | undefined;

  /** Of subscribers: `keep` leaves the session behind, `resume` takes it up again without subscribing. */
  session: 'clean' | 'keep' | 'resume';
  layout: Layout;
  publishers: number;
  subscribers: number;
  /** Wildcard layout: filters of each subscriber. */
  filters: number;
  /** Shared subscription group, without `$share/`; empty for none. */
  shareName: string;
  topicPrefix: string;
  /** Template layout only. */
  topicName: string;
  topicFilter: string;

  qos: Qos;
  retain: boolean;
  /** Room for the stamp (20) at least; 0 deletes retained messages. */
  payloadBytes: number;
  /** Open loop: messages per second of all publishers together; 0 is closed loop, as fast as the broker takes it. */
  rate: number;
  /** Open loop: `timer` sends in steps of a millisecond, `spin` on the microsecond and keeps its core busy. */
  pace: 'timer' | 'spin';
  /** QoS 1 and 2: unacknowledged messages of one publisher. */
  inflight: number;
  /** Closed loop: messages of one publisher that the subscribers may be behind. */
  lag: number;
  /** Messages of all publishers together after which the run ends; 0 for none. */
  messages: number;
  /** Without publishers: deliveries after which the run ends; 0 for none. */
  awaited: number;

  /** Handshakes under way at once. */
  burst: number;
  /** Connections opened per second, at most; 0 for as fast as the burst allows. */
  connectRate: number;
  workers: number;
  setupSeconds: number;
  warmUpSeconds: number;
  seconds: number;
  drainSeconds: number;
  /** Processes whose CPU and memory are read before and after (the broker's). */
  watchPids: number[];
}

export const PLAN_DEFAULTS: LoadPlan = {
  host: '127.0.0.1',
  port: 1883,
  allowRemote: false,
  level: 4,
  keepAlive: 600,
  clientIdPrefix: 'load',
  session: 'clean',
  layout: 'pair',
  publishers: 1,
  subscribers: 1,
  filters: 100,
  shareName: '',
  topicPrefix: 'load',
  topicName: '',
  topicFilter: '',
  qos: 0,
  retain: false,
  payloadBytes: 64,
  rate: 0,
  pace: 'timer',
  inflight: 20,
  lag: 1000,
  messages: 0,
  awaited: 0,
  burst: 64,
  connectRate: 0,
  workers: 1,
  setupSeconds: 60,
  warmUpSeconds: 1,
  seconds: 5,
  drainSeconds: 5,
  watchPids: [],
};

const CONNECTIONS_MAX = 200_000;
const DISTINCT_MAX = 10_000_000;

interface Range {
  key: keyof LoadPlan;
  what: string;
  min: number;
  max: number;
  whole: boolean;
}

const range = (key: keyof LoadPlan, what: string, min: number, max: number, whole = true): Range => ({
  key,
  what,
  min,
  max,
  whole,
});

const RANGES: Range[] = [
  range('port', 'port', 1, 65535),
  range('keepAlive', 'keep alive (seconds)', 0, 65535),
  range('publishers', 'publishers', 0, CONNECTIONS_MAX),
  range('subscribers', 'subscribers', 0, CONNECTIONS_MAX),
  range('filters', 'filters per subscriber', 1, 9999),
  range('qos', 'QoS', 0, 2),
  range('payloadBytes', 'payload size (bytes)', 0, 1_048_576),
  range('rate', 'rate (messages per second)', 0, 10_000_000, false),
  range('inflight', 'in-flight window', 1, 65535),
  range('lag', 'lag window', 1, 10_000_000),
  range('messages', 'message count', 0, 1e10),
  range('awaited', 'awaited messages', 0, 1e10),
  range('burst', 'handshakes at once', 1, 10_000),
  range('connectRate', 'connections per second', 0, 1_000_000, false),
  range('workers', 'worker threads', 1, 64),
  range('setupSeconds', 'setup time (seconds)', 1, 600, false),
  range('warmUpSeconds', 'warm-up (seconds)', 0, 600, false),
  range('seconds', 'duration (seconds)', 0.1, 86_400, false),
  range('drainSeconds', 'drain time (seconds)', 0, 600, false),
];

/** True for the names and addresses of this machine's loopback interface. */
export function isLoopback(host: string): boolean {
  if (host === 'localhost' || host === '::1') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}

/** The first thing wrong with a plan, in words, or undefined. */
export function findPlanProblem(plan: LoadPlan): string | undefined {
  for (const { key, what, min, max, whole } of RANGES) {
    const value = plan[key] as number;
    if (!(value >= min && value <= max) || (whole && !Number.isInteger(value)))
      return `${what} is ${value}, but must be ${whole ? 'a whole number ' : ''}from ${min} to ${max}`;
  }
  if (plan.host === '') return 'the host is empty';
  if (!plan.allowRemote && !isLoopback(plan.host))
    return `${plan.host} is not on this machine; --allow-remote says that you may put load on it`;
  if (plan.level !== 4 && plan.level !== 5) return `protocol version ${String(plan.level)} is not 4 (3.1.1) or 5`;
  if (plan.publishers + plan.subscribers === 0) return 'no publishers and no subscribers: nothing to do';
  if (plan.publishers + plan.subscribers > CONNECTIONS_MAX)
    return `${plan.publishers + plan.subscribers} connections are more than ${CONNECTIONS_MAX}`;
  if (!LAYOUTS.includes(plan.layout)) return `layout ${plan.layout} is none of ${LAYOUTS.join(', ')}`;
  if (plan.payloadBytes < STAMP.size && !(plan.payloadBytes === 0 && plan.retain))
    return `payload size is ${plan.payloadBytes} bytes, but each message carries a stamp of ${STAMP.size}`;
  if (plan.layout === 'distinct' && plan.publishers > 0 && !(plan.messages >= 1 && plan.messages <= DISTINCT_MAX))
    return `the number of messages is ${plan.messages}, but must be from 1 to ${DISTINCT_MAX} when each has its topic`;
  if (plan.layout === 'pair' && plan.publishers > 0 && plan.subscribers % plan.publishers !== 0)
    return `${plan.subscribers} subscribers cannot be shared out evenly among ${plan.publishers} publishers`;
  if (plan.layout === 'wildcard' && plan.subscribers === 0) return 'the wildcard layout needs a subscriber';
  if (/[#+]/.test(plan.topicPrefix) || plan.topicPrefix === '') return 'the topic prefix is empty or has a wildcard';
  return findTemplateProblem(plan);
}

function findTemplateProblem(plan: LoadPlan): string | undefined {
  if (plan.layout !== 'template') return undefined;
  if (plan.publishers > 0 && plan.topicName === '') return 'publishers need a topic name';
  if (/[#+]/.test(plan.topicName)) return `topic name ${plan.topicName} has a wildcard`;
  if (plan.subscribers > 0 && plan.topicFilter === '') return 'subscribers need a topic filter';
  return undefined;
}
