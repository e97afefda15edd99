// `npm run bench -- logins`: what logins with passwords do to the messages of others. Passwords are hashed with scrypt, which
// takes tens of milliseconds of a core: none of them may be the event loop's.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { hashPassword } from '../../src/policy/index.js';
import { formatColumns } from '../durable/columns.js';
import type { Figures } from '../figures.js';
import { measure } from '../measure.js';
import { findFreePort, type RunningPeer, startProcess } from '../peers/index.js';
import { canPin, LOAD_CORE, log } from '../rounds.js';
import type { Scenario } from '../scenario/index.js';
import { type Attempts, type Credentials, logIn } from './attempts.js';

const HELP = `Usage: npm run bench -- logins [options]

  --rate N          logins a second (500)
  --messages N      messages a second of others meanwhile (20000)
  --seconds S       of each part (8)
  --users N         users of the store (100)
  --no-pin          leave it to the system which core runs what
`;

const MESSAGES: Scenario = {
  name: 'messages',
  group: 'connections',
  title: '20 pairs, QoS 0',
  kind: 'load',
  plan: { layout: 'pair', publishers: 20, subscribers: 20, qos: 0 },
  cost: 'message',
};
const WARM_UP_SECONDS = 1;

const passwordOf = (user: number) => `password of ${user}`;
const right = (user: number): Credentials => ({ username: `user-${user}`, password: passwordOf(user) });

interface Part {
  name: string;
  credentials?: (number: number) => Credentials | undefined;
}

/** Returns the exit code. */
export async function logins(args: string[], root: string): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      help: { type: 'boolean' },
      rate: { type: 'string', default: '500' },
      messages: { type: 'string', default: '20000' },
      seconds: { type: 'string', default: '8' },
      users: { type: 'string', default: '100' },
      'no-pin': { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const [rate, messages, seconds, users] = (['rate', 'messages', 'seconds', 'users'] as const).map((name) => {
    const value = Number(values[name]);
    if (!(value >= 1)) throw new Error(`--${name} is ${JSON.stringify(values[name])}, but must be a number from 1 on`);
    return value;
  }) as [number, number, number, number];
  const parts: Part[] = [
    { name: 'no logins' },
    { name: 'one password, proven before', credentials: () => right(0) },
    { name: 'each user once', credentials: (number) => (number + 1 < users ? right(number + 1) : undefined) },
    {
      name: 'each user once, wrong',
      credentials: (number) => (number < users ? { ...right(number), password: 'wrong' } : undefined),
    },
  ];
  const pin = canPin(!values['no-pin']);
  const hashes = await Promise.all(Array.from({ length: users }, (_, user) => hashPassword(passwordOf(user))));
  const rows = [
    [
      'others meanwhile',
      'msg/s',
      'p50 ms',
      'p99 ms',
      'lost',
      'logins',
      'in',
      'refused',
      'no answer',
      'p50 ms',
      'p99 ms',
      '',
    ],
  ];
  for (const part of parts) {
    log(part.name);
    // A fresh broker: nothing was proven to it.
    const broker = await start(root, hashes, pin);
    try {
      await logIn(broker.port, 1, 1, () => right(0));
      const load = { ...MESSAGES, plan: { ...MESSAGES.plan, rate: messages } };
      const core = pin ? LOAD_CORE : undefined;
      const measured = measure(load, broker, { seconds, warmUpSeconds: WARM_UP_SECONDS, core, mqload: undefined });
      const [figures, attempts] = await Promise.all([
        measured,
        part.credentials && logIn(broker.port, rate, seconds + WARM_UP_SECONDS, part.credentials),
      ]);
      rows.push(row(part.name, figures!, attempts));
    } finally {
      await broker.stop();
    }
  }
  process.stdout.write(`\n${formatColumns(rows)}`);
  return 0;
}

async function start(root: string, hashes: readonly string[], pin: boolean): Promise<RunningPeer> {
  const port = await findFreePort();
  return startProcess('dunlin', { core: pin ? 0 : undefined }, port, (folder) => {
    const file = join(folder, 'dunlin.yaml');
    const config = {
      listeners: [{ name: 'default', protocol: 'mqtt', host: '127.0.0.1', port, allowAnonymous: true }],
      users: hashes.map((passwordHash, user) => ({ username: right(user).username, passwordHash })),
      protection: { flapping: { connectsMax: 0 }, logins: { failuresMax: 0 } },
      log: { level: 'none' },
    };
    writeFileSync(file, JSON.stringify(config));
    return [process.execPath, join(root, 'bin', 'dunlin.mjs'), '-c', file];
  });
}

function row(name: string, { perSecond, p50, p99, lost }: Figures, attempts: Attempts | undefined): string[] {
  const ms = (value: number) => value.toFixed(2);
  const messages = [name, Math.round(perSecond).toLocaleString('en-US'), ms(p50 / 1000), ms(p99 / 1000), String(lost)];
  if (attempts === undefined) return messages;
  const { made, accepted, refused, unanswered } = attempts;
  return [...messages, ...[made, accepted, refused, unanswered].map(String), ms(attempts.p50), ms(attempts.p99)];
}
