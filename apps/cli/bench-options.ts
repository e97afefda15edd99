// The command line of `dunlin bench`: one table of options, from which parsing, help and messages come. Which kinds of run
// an option belongs to is part of the table; elsewhere it is refused, never ignored.

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { findPlanProblem, type LoadPlan, type LoadTls, PLAN_DEFAULTS } from './load/index.js';

export const KINDS = {
  pub: 'clients that publish, to measure what the broker accepts',
  sub: 'clients that subscribe and count what others publish',
  pair: 'as many publishers as subscribers, each to its own',
  'fan-out': 'one publisher (or --publishers) to many subscribers of one topic',
  'fan-in': 'many publishers, a topic each, to one subscriber (or --subscribers)',
  share: 'publishers to one shared subscription with many members',
  wildcard: 'subscribers with many wildcard filters each; every message matches one of them',
  conn: 'clients that connect and stay: handshakes per second, memory per connection',
  retained: 'a retained message on each of many topics, then new subscribers to all of them',
  offline: 'sessions that go away, messages queued for them, sessions that come back',
} as const;
export type Kind = keyof typeof KINDS;

/** A mistake on the command line: exit code 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

interface Option {
  name: string;
  short?: string;
  /** What stands for the value in the help; without it the option is a switch. */
  value?: string;
  help: string;
  /** All kinds when left out. */
  kinds?: Kind[];
}

const PUBLISHING: Kind[] = ['pub', 'pair', 'fan-out', 'fan-in', 'share', 'wildcard'];
const STORED: Kind[] = ['retained', 'offline'];

export const OPTIONS: Option[] = [
  { name: 'host', short: 'h', value: 'HOST', help: 'broker to connect to (127.0.0.1)' },
  { name: 'port', short: 'p', value: 'PORT', help: 'its port (1883)' },
  { name: 'allow-remote', help: 'permit a broker that is not on this machine' },
  { name: 'mqtt-version', short: 'V', value: 'VERSION', help: '3.1.1 or 5 (3.1.1)' },
  { name: 'username', short: 'u', value: 'NAME', help: 'user name' },
  { name: 'pw', short: 'P', value: 'PASSWORD', help: 'password' },
  { name: 'keepalive', short: 'k', value: 'SECONDS', help: 'keep alive (600); pings are sent twice as often' },
  {
    name: 'tls',
    help: 'TLS, the broker checked by the authorities that Node knows; --cafile and --psk switch it on too',
  },
  { name: 'cafile', value: 'FILE', help: 'certificates of authorities to trust (PEM)' },
  { name: 'cert', value: 'FILE', help: "the clients' certificate (PEM)" },
  { name: 'key', value: 'FILE', help: 'its private key (PEM)' },
  { name: 'insecure', help: "does not check the broker's certificate" },
  { name: 'tls-version', value: 'VERSION', help: 'tlsv1.2 or tlsv1.3 (what both sides know best)' },
  { name: 'ciphers', value: 'LIST', help: 'TLS ciphers as OpenSSL writes them' },
  { name: 'psk', value: 'HEX', help: 'pre-shared key for TLS-PSK' },
  { name: 'psk-identity', value: 'NAME', help: 'its identity' },
  { name: 'id-prefix', value: 'TEXT', help: 'beginning of the client identifiers (bench)' },
  { name: 'clients', short: 'c', value: 'N', help: 'clients: publishers, subscribers, pairs or members (see above)' },
  {
    name: 'publishers',
    value: 'N',
    help: 'publishers (1; share and wildcard 10)',
    kinds: ['fan-out', 'share', 'wildcard', ...STORED],
  },
  { name: 'subscribers', value: 'N', help: 'subscribers (1)', kinds: ['fan-in'] },
  { name: 'filters', value: 'N', help: 'filters per subscriber (100)', kinds: ['wildcard'] },
  { name: 'share-name', value: 'NAME', help: 'name of the shared subscription (bench)', kinds: ['share'] },
  {
    name: 'topic',
    short: 't',
    value: 'TOPIC',
    help: 'pub: topic name (bench/%i); sub: topic filter (bench/#); %i is the number of the client',
    kinds: ['pub', 'sub'],
  },
  { name: 'qos', short: 'q', value: 'QOS', help: '0, 1 or 2 (0; retained and offline 1)' },
  {
    name: 'size',
    short: 's',
    value: 'BYTES',
    help: 'payload size, at least 20 (64)',
    kinds: [...PUBLISHING, ...STORED],
  },
  { name: 'retain', help: 'publish with the retain flag', kinds: ['pub'] },
  { name: 'rate', short: 'r', value: 'N', help: 'messages per second in all (as fast as it goes)', kinds: PUBLISHING },
  {
    name: 'interval',
    short: 'i',
    value: 'MS',
    help: 'instead: milliseconds between two of a client',
    kinds: PUBLISHING,
  },
  { name: 'spin', help: 'with a rate: keep time to the microsecond and a core busy', kinds: PUBLISHING },
  {
    name: 'inflight',
    value: 'N',
    help: 'QoS 1 and 2: unacknowledged messages per publisher (20)',
    kinds: [...PUBLISHING, ...STORED],
  },
  {
    name: 'lag',
    value: 'N',
    help: 'messages that subscribers may be behind a publisher (1000)',
    kinds: ['pair', 'fan-out', 'fan-in', 'share', 'wildcard'],
  },
  {
    name: 'messages',
    short: 'n',
    value: 'N',
    help: 'end after so many in all (retained and offline: 10000)',
    kinds: ['sub', ...PUBLISHING, ...STORED],
  },
  { name: 'duration', short: 'd', value: 'SECONDS', help: 'length of the measured part (10)' },
  { name: 'warm-up', value: 'SECONDS', help: 'before it (1)', kinds: ['sub', ...PUBLISHING] },
  { name: 'burst', value: 'N', help: 'handshakes under way at once, per thread (64)' },
  { name: 'connect-rate', value: 'N', help: 'connections per second at most' },
  { name: 'threads', value: 'N', help: 'worker threads (1)' },
  { name: 'watch', value: 'PID', help: "the broker's process, to report its CPU and memory (several: PID,PID)" },
  { name: 'json', help: 'the result as one line of JSON' },
  { name: 'help', help: 'this text' },
];

export interface BenchRequest {
  kind: Kind;
  plan: LoadPlan;
  json: boolean;
}

/** Undefined means that help was asked for. */
export function parseBenchArguments(args: string[]): BenchRequest | undefined {
  const [first, ...rest] = args;
  if (first === undefined || first === '--help' || first === 'help') return undefined;
  if (!Object.hasOwn(KINDS, first))
    throw new UsageError(`${JSON.stringify(first)} is not a kind of bench; there are ${Object.keys(KINDS).join(', ')}`);
  const kind = first as Kind;
  const values = parseValues(kind, rest);
  if (values.has('help')) return undefined;
  const plan = makePlan(kind, new Values(values));
  const problem = findPlanProblem(plan);
  if (problem !== undefined) throw new UsageError(problem);
  return { kind, plan, json: values.has('json') };
}

function parseValues(kind: Kind, args: string[]): Map<string, string | true> {
  const options = Object.fromEntries(
    OPTIONS.map(({ name, short, value }) => [
      name,
      { type: value === undefined ? ('boolean' as const) : ('string' as const), ...(short ? { short } : {}) },
    ]),
  );
  let parsed: Record<string, string | boolean | (string | boolean)[] | undefined>;
  try {
    parsed = parseArgs({ args, options, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw new UsageError((error as Error).message.split('. ')[0] ?? 'the options cannot be read');
  }
  const values = new Map<string, string | true>();
  for (const [name, value] of Object.entries(parsed)) {
    const option = OPTIONS.find((known) => known.name === name);
    if (option?.kinds !== undefined && !option.kinds.includes(kind))
      throw new UsageError(`--${name} does not go with ${kind}, only with ${option.kinds.join(', ')}`);
    values.set(name, value === true ? true : String(value));
  }
  return values;
}

class Values {
  constructor(private readonly values: Map<string, string | true>) {}

  has(name: string): boolean {
    return this.values.has(name);
  }

  text(name: string): string | undefined {
    const value = this.values.get(name);
    return typeof value === 'string' ? value : undefined;
  }

  number(name: string, fallback: number): number {
    const text = this.text(name);
    if (text === undefined) return fallback;
    if (!/^\d+(\.\d+)?$/.test(text)) throw new UsageError(`--${name} is ${JSON.stringify(text)}, but must be a number`);
    return Number(text);
  }
}

function makePlan(kind: Kind, values: Values): LoadPlan {
  const tls = tlsOf(values);
  const plan: LoadPlan = {
    ...PLAN_DEFAULTS,
    ...layoutOf(kind, values),
    host: values.text('host') ?? PLAN_DEFAULTS.host,
    port: values.number('port', tls === undefined ? PLAN_DEFAULTS.port : 8883),
    tls,
    allowRemote: values.has('allow-remote'),
    level: levelOf(values.text('mqtt-version') ?? '3.1.1'),
    username: values.text('username'),
    password: values.text('pw'),
    keepAlive: values.number('keepalive', PLAN_DEFAULTS.keepAlive),
    clientIdPrefix: values.text('id-prefix') ?? 'bench',
    topicPrefix: 'bench',
    qos: values.number('qos', STORED.includes(kind) ? 1 : 0) as LoadPlan['qos'],
    retain: values.has('retain'),
    payloadBytes: values.number('size', PLAN_DEFAULTS.payloadBytes),
    pace: values.has('spin') ? 'spin' : 'timer',
    inflight: values.number('inflight', PLAN_DEFAULTS.inflight),
    lag: values.number('lag', PLAN_DEFAULTS.lag),
    messages: values.number('messages', STORED.includes(kind) ? 10_000 : 0),
    seconds: values.number('duration', STORED.includes(kind) ? 60 : 10),
    warmUpSeconds: kind === 'conn' ? 0 : values.number('warm-up', PLAN_DEFAULTS.warmUpSeconds),
    burst: values.number('burst', PLAN_DEFAULTS.burst),
    connectRate: values.number('connect-rate', 0),
    workers: values.number('threads', 1),
    watchPids: pidsOf(values.text('watch')),
  };
  plan.rate = rateOf(values, plan.publishers);
  if (kind === 'sub' && plan.messages > 0) {
    // Others decide when the messages come: silence alone does not end it.
    plan.awaited = plan.messages;
    plan.messages = 0;
    plan.drainSeconds = Math.min(plan.seconds, 600);
  }
  return plan;
}

/** Undefined where no option asks for TLS. */
function tlsOf(values: Values): LoadTls | undefined {
  const wanted = values.has('tls') || values.has('cafile') || values.has('psk');
  if (!wanted) {
    const without = ['cert', 'key', 'insecure', 'tls-version', 'ciphers', 'psk-identity'].find((name) =>
      values.has(name),
    );
    if (without !== undefined) throw new UsageError(`--${without} needs TLS: give --tls, --cafile or --psk`);
    return undefined;
  }
  if (values.has('cert') !== values.has('key')) throw new UsageError('--cert and --key go together');
  const version = values.text('tls-version');
  if (version !== undefined && !/^tlsv1\.[23]$/.test(version))
    throw new UsageError(`--tls-version is ${JSON.stringify(version)}, but must be tlsv1.2 or tlsv1.3`);
  const tls: LoadTls = { insecure: values.has('insecure') };
  for (const [option, field] of [
    ['cafile', 'ca'],
    ['cert', 'cert'],
    ['key', 'key'],
  ] as const) {
    const file = values.text(option);
    if (file !== undefined) tls[field] = readText(option, file);
  }
  const ciphers = values.text('ciphers');
  if (ciphers !== undefined) tls.ciphers = ciphers;
  if (version !== undefined) tls.version = version === 'tlsv1.3' ? 'TLSv1.3' : 'TLSv1.2';
  const key = values.text('psk');
  const identity = values.text('psk-identity');
  if ((key === undefined) !== (identity === undefined)) throw new UsageError('--psk and --psk-identity go together');
  if (key !== undefined && identity !== undefined) {
    if (!/^([0-9a-fA-F]{2})+$/.test(key)) throw new UsageError('--psk must be an even number of hexadecimal digits');
    tls.psk = { identity, key };
  }
  return tls;
}

function readText(option: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(`--${option}: ${file} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}

function layoutOf(kind: Kind, values: Values): Partial<LoadPlan> {
  const clients = (fallback: number) => values.number('clients', fallback);
  const publishers = (fallback: number) => values.number('publishers', fallback);
  switch (kind) {
    case 'pub':
      return {
        layout: 'template',
        publishers: clients(10),
        subscribers: 0,
        topicName: values.text('topic') ?? 'bench/%i',
      };
    case 'sub':
      return {
        layout: 'template',
        publishers: 0,
        subscribers: clients(10),
        topicFilter: values.text('topic') ?? 'bench/#',
      };
    case 'pair':
      return { layout: 'pair', publishers: clients(10), subscribers: clients(10) };
    case 'fan-out':
      return { layout: 'shared', publishers: publishers(1), subscribers: clients(100) };
    case 'fan-in':
      return { layout: 'fanin', publishers: clients(100), subscribers: values.number('subscribers', 1) };
    case 'share':
      return {
        layout: 'fanin',
        publishers: publishers(10),
        subscribers: clients(10),
        shareName: values.text('share-name') ?? 'bench',
      };
    case 'wildcard':
      return {
        layout: 'wildcard',
        publishers: publishers(10),
        subscribers: clients(100),
        filters: values.number('filters', PLAN_DEFAULTS.filters),
      };
    case 'conn':
      return { layout: 'idle', publishers: 0, subscribers: clients(1000) };
    case 'retained':
      return { layout: 'distinct', publishers: publishers(1), subscribers: clients(1) };
    case 'offline':
      return { layout: 'shared', publishers: publishers(1), subscribers: clients(10) };
  }
}

function rateOf(values: Values, publishers: number): number {
  const rate = values.number('rate', 0);
  if (!values.has('interval')) return rate;
  if (values.has('rate')) throw new UsageError('--rate and --interval say the same thing: give one of them');
  const interval = values.number('interval', 0);
  if (interval <= 0) throw new UsageError('--interval must be above 0');
  return (publishers * 1000) / interval;
}

function levelOf(text: string): LoadPlan['level'] {
  if (['3.1.1', '311', 'mqttv311', '4'].includes(text)) return 4;
  if (['5', '5.0', 'mqttv5'].includes(text)) return 5;
  throw new UsageError(`--mqtt-version is ${JSON.stringify(text)}, but must be 3.1.1 or 5`);
}

function pidsOf(text: string | undefined): number[] {
  if (text === undefined) return [];
  return text.split(',').map((part) => {
    if (!/^[1-9]\d*$/.test(part))
      throw new UsageError(`--watch is ${JSON.stringify(text)}, but must be a process number`);
    return Number(part);
  });
}

export function benchHelp(): string {
  const lines = [
    'Usage: dunlin bench KIND [options]',
    '',
    'Puts load on a broker and says how it took it.',
    '',
    'Kinds:',
  ];
  for (const [kind, help] of Object.entries(KINDS)) lines.push(`  ${kind.padEnd(9)} ${help}`);
  lines.push('', 'Options:');
  for (const { name, short, value, help, kinds } of OPTIONS) {
    const flags = `${short === undefined ? '    ' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`;
    const only = kinds === undefined || kinds.length > 5 ? '' : `  [${kinds.join(', ')}]`;
    lines.push(`  ${flags.padEnd(28)} ${help}${only}`);
  }
  lines.push(
    '',
    'Exit code: 0 done, 1 the broker could not be reached or gave up, 2 a mistake in the command, 130 stopped.',
  );
  return lines.join('\n');
}
