// `npm run bench -- bridge`: messages a second over a bridge and what each costs both brokers, Dunlin to Dunlin against Mosquitto to
// Mosquitto in the same minutes; and a million messages that wait for a remote that is away.

import { parseArgs } from 'node:util';
import { processCpuSeconds, processRssBytes } from '../../apps/cli/load/index.js';
import { KINDS, type Kind, Pair } from './pair.js';
import { Counter, Publisher } from './traffic.js';

const HELP = `Usage: npm run bench -- bridge [options]

  --runs N          runs of each kind and QoS, in turn; the median counts (3)
  --seconds S       measured part of a run (3)
  --version V       MQTT version of the bridge: 3.1.1 or 5.0 (3.1.1)
  --away N          instead: N messages stored while the remote is away, then fetched
  --storage MODE    of Dunlin (memory; with --away buffered)
  --kinds A,B       mosquitto, dunlin (both)
`;
/** Messages on their way from publisher to subscriber at most. */
const WINDOW = 2000;
const AHEAD = 200;
const WARM_UP_SECONDS = 1;
const REACH_SECONDS_MAX = 30;

interface Figures {
  readonly perSecond: number;
  /** microseconds of both brokers a message */
  readonly near: number;
  readonly far: number;
}

const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1]!;

/** Returns the exit code. */
export async function bridge(args: string[], root: string): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      help: { type: 'boolean' },
      runs: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '3' },
      version: { type: 'string', default: '3.1.1' },
      away: { type: 'string' },
      storage: { type: 'string' },
      kinds: { type: 'string', default: KINDS.join(',') },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const kinds = values.kinds.split(',').filter((kind): kind is Kind => (KINDS as readonly string[]).includes(kind));
  const common = { root, node: process.execPath, version: values.version };
  if (values.away !== undefined) {
    for (const kind of kinds)
      await away({ ...common, kind, qos: 1, storage: values.storage ?? 'buffered' }, Number(values.away));
    return 0;
  }
  for (const qos of [0, 1]) {
    const all = new Map<Kind, Figures[]>(kinds.map((kind) => [kind, []]));
    for (let run = 0; run < Number(values.runs); run++)
      for (const kind of kinds)
        all
          .get(kind)!
          .push(await steady({ ...common, kind, qos, storage: values.storage ?? 'memory' }, Number(values.seconds)));
    const of = (kind: Kind) => {
      const runs = all.get(kind) ?? [];
      const [perSecond, near, far] = (['perSecond', 'near', 'far'] as const).map((key) =>
        median(runs.map((run) => run[key])),
      );
      return { perSecond: perSecond!, near: near!, far: far! };
    };
    for (const kind of kinds) {
      const { perSecond, near, far } = of(kind);
      process.stdout.write(
        `QoS ${qos}  ${kind.padEnd(10)} ${Math.round(perSecond).toString().padStart(8)}/s   bridge ${near.toFixed(2)} µs/msg   remote ${far.toFixed(2)} µs/msg\n`,
      );
    }
    if (kinds.length < 2) continue;
    const [theirs, ours] = [of('mosquitto'), of('dunlin')];
    process.stdout.write(
      `QoS ${qos}  ${(ours.perSecond / theirs.perSecond).toFixed(1)}x the throughput, ${(theirs.near / ours.near).toFixed(1)}x less CPU in the broker that bridges\n`,
    );
  }
  return 0;
}

async function steady(options: ConstructorParameters<typeof Pair>[0], seconds: number): Promise<Figures> {
  const pair = new Pair(options);
  await pair.start();
  try {
    const counter = await Counter.at(pair.far!.port, options.qos);
    const publisher = await Publisher.at(pair.near.port, options.qos);
    await reach(publisher, counter);
    const lost = publisher.sent - counter.received;
    const flood = async (until: number) => {
      while (Date.now() < until) {
        while (publisher.sent - counter.received - lost > WINDOW && Date.now() < until) await counter.more();
        await publisher.batch(AHEAD);
      }
    };
    await flood(Date.now() + WARM_UP_SECONDS * 1000);
    const [near, far] = [pair.near.pids[0]!, pair.far!.pids[0]!];
    const before = {
      received: counter.received,
      near: processCpuSeconds(near)!,
      far: processCpuSeconds(far)!,
      at: performance.now(),
    };
    await flood(Date.now() + seconds * 1000);
    const received = counter.received - before.received;
    const figures = {
      perSecond: (received / (performance.now() - before.at)) * 1000,
      near: ((processCpuSeconds(near)! - before.near) / received) * 1e6,
      far: ((processCpuSeconds(far)! - before.far) / received) * 1e6,
    };
    counter.close();
    publisher.close();
    return figures;
  } finally {
    await pair.stop();
  }
}

/** Publishes until something has come over: the bridge is there. */
async function reach(publisher: Publisher, counter: Counter): Promise<void> {
  const deadline = Date.now() + REACH_SECONDS_MAX * 1000;
  while (counter.received === 0) {
    if (Date.now() > deadline) throw new Error('nothing came over the bridge');
    await publisher.batch(AHEAD);
    await counter.more();
  }
  for (let before = -1; before !== counter.received; ) {
    before = counter.received;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

/** So many messages are stored while the remote is away, then fetched by it; memory at each step. */
async function away(options: ConstructorParameters<typeof Pair>[0], messages: number): Promise<void> {
  const pair = new Pair(options);
  await pair.start(false);
  const near = pair.near.pids[0]!;
  const memory = () => `${Math.round(processRssBytes(near)! / 1_048_576)} MiB`;
  const say = (text: string) => process.stdout.write(`${options.kind.padEnd(10)} ${text}\n`);
  try {
    say(`${memory()} at the start`);
    const publisher = await Publisher.at(pair.near.port, 1);
    const filledAt = performance.now();
    while (publisher.sent < messages) {
      await publisher.batch(AHEAD);
      if (publisher.sent % (messages / 4) < 50) say(`${memory()} with ${publisher.sent} messages`);
    }
    while (publisher.acknowledged < publisher.sent) await new Promise((resolve) => setTimeout(resolve, 10));
    say(
      `${memory()} with ${publisher.sent} acknowledged, ${Math.round(messages / ((performance.now() - filledAt) / 1000))}/s`,
    );
    await pair.startFar();
    const counter = await Counter.at(pair.far!.port, 1);
    let least = performance.now();
    for (let before = 0; counter.received < messages; ) {
      await counter.more();
      if (before === 0 && counter.received > 0) least = performance.now();
      if (Math.floor((counter.received * 4) / messages) > Math.floor((before * 4) / messages))
        say(`${memory()} with ${counter.received} fetched`);
      before = counter.received;
      if (performance.now() - least > 300_000) throw new Error(`only ${counter.received} of ${messages} came`);
    }
    say(`${memory()} at the end, ${Math.round(messages / ((performance.now() - least) / 1000))}/s`);
    counter.close();
    publisher.close();
  } finally {
    await pair.stop();
  }
}
