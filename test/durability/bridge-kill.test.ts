/**
 * Two brokers joined by a bridge both ways, each on a data folder of its own, and one of them after the other is killed with SIGKILL at
 * any moment while clients publish at QoS 1 and 2. Afterwards nothing that was acknowledged is missing on the other side, and nothing of
 * QoS 2 has come twice. With mosquitto as the remote, which keeps its sessions in memory, our side alone is killed.
 *
 * `DUNLIN_BRIDGE_KILLS` says how often each side is killed (default 3); `DUNLIN_BRIDGE_VERSION` how the bridge speaks (default both).
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { MqttClient } from '../../src/client/index.js';
import type { ConfigInput } from '../../src/index.js';
import type { QoS } from '../../src/protocol/index.js';
import { findProgram } from '../interop/support.js';
import { freePort } from '../support/bridge-scene.js';

const command = fileURLToPath(new URL('../../../bin/dunlin.mjs', import.meta.url));
const kills = Number(process.env.DUNLIN_BRIDGE_KILLS ?? 3);
const versions = (process.env.DUNLIN_BRIDGE_VERSION?.split(',') ?? ['3.1.1', '5.0']) as ('3.1.1' | '5.0')[];
/** Unacknowledged messages of one publisher at a time. */
const AHEAD = 32;
/** So far may the publisher be ahead of what has come over. */
const LEAD = 1000;
/** Messages that have to come over each way before the next kill. */
const PROGRESS = 100;
const PATIENCE_MS = 60_000;
const limits = { queueMessagesMax: 1_000_000, queueBytesMax: 1_000_000_000, inflightMessagesMax: 50 };

const mosquitto = findProgram('mosquitto', 'test/durability/bridge-kill: mosquitto');

/** A broker that is killed and started again. */
class Side {
  private readonly folder = mkdtempSync(join(tmpdir(), 'dunlin-bridge-'));
  private child: ChildProcess | undefined;
  output = '';

  constructor(private readonly command: (folder: string) => string[]) {}

  start(): void {
    const [program, ...args] = this.command(this.folder);
    const child = spawn(program!, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.child = child;
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.output = (this.output + text).slice(-20_000);
      });
    child.once('exit', (code) => {
      if (code !== null) this.output += `\nended by itself with ${code}`;
    });
  }

  async kill(): Promise<void> {
    const { child } = this;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function dunlinSide(port: number, config: ConfigInput): Side {
  return new Side((folder) => {
    const whole: ConfigInput = {
      listeners: [{ name: 'tcp', port }],
      storage: { mode: 'buffered', path: join(folder, 'data') },
      sys: { intervalSeconds: 0 },
      protection: { overload: { eventLoopDelayMsMax: 0 } },
      limits,
      log: { level: 'warning', format: 'json' },
      ...config,
    };
    const file = join(folder, 'dunlin.yaml');
    writeFileSync(file, JSON.stringify(whole)); // JSON is YAML
    return [process.execPath, command, '-c', file];
  });
}

function mosquittoSide(port: number): Side {
  return new Side((folder) => {
    const file = join(folder, 'mosquitto.conf');
    const lines = ['allow_anonymous true', 'max_queued_messages 1000000', `listener ${port} 127.0.0.1`];
    writeFileSync(file, `${lines.join('\n')}\n`);
    return [mosquitto!, '-c', file];
  });
}

/** One way: who publishes, and who sees it on the other side. */
class Flow {
  readonly acknowledged = new Set<string>();
  readonly seen = new Map<string, number>();
  private sent = 0;
  private underWay = 0;
  private running = true;

  constructor(
    private readonly publisher: MqttClient,
    readonly topicName: string,
    readonly qos: QoS,
    private readonly wake: () => void,
  ) {}

  start(): void {
    while (this.running && this.underWay < AHEAD && this.acknowledged.size - this.seen.size < LEAD) {
      const payload = String(this.sent++);
      this.underWay++;
      this.publisher.publish(this.topicName, Buffer.from(payload), { qos: this.qos }).then(
        ({ reasonCode }) => {
          this.underWay--;
          if (reasonCode < 0x80) this.acknowledged.add(payload);
          this.wake();
          setImmediate(() => this.start());
        },
        () => {
          this.underWay--;
        },
      );
    }
  }

  stop(): void {
    this.running = false;
  }

  take(payload: string): void {
    this.seen.set(payload, (this.seen.get(payload) ?? 0) + 1);
    this.wake();
    if (this.underWay === 0) this.start();
  }

  get missing(): string[] {
    return [...this.acknowledged].filter((payload) => !this.seen.has(payload));
  }

  get settled(): boolean {
    return this.underWay === 0 && this.missing.length === 0;
  }
}

async function client(port: number, clientId: string, onMessage: (topic: string, payload: string) => void) {
  const made = new MqttClient(
    {
      target: { transport: 'tcp', host: '127.0.0.1', port },
      protocolVersion: 5,
      clientId,
      cleanStart: false,
      keepAlive: 0,
      properties: { sessionExpiryInterval: 100_000 },
      reconnect: { delayMsMin: 20, delayMsMax: 200, initial: true },
    },
    { onMessage: ({ topicName, payload }) => onMessage(topicName, Buffer.from(payload).toString()) },
  );
  await made.connect();
  return made;
}

for (const { protocolVersion, remote } of versions.flatMap((version) => [
  { protocolVersion: version, remote: 'dunlin' },
  { protocolVersion: version, remote: 'mosquitto' },
]))
  describe(`a bridge of MQTT ${protocolVersion} to ${remote} and kill -9`, {
    timeout: 120_000 + kills * 20_000,
    skip: remote === 'mosquitto' && mosquitto === undefined,
  }, () => {
    it(`nothing is lost in ${kills} kills of a side, and QoS 2 comes once`, async () => {
      const [portA, portB] = [await freePort(), await freePort()];
      const b = remote === 'dunlin' ? dunlinSide(portB, {}) : mosquittoSide(portB);
      const a = dunlinSide(portA, {
        bridges: [
          {
            name: 'b',
            remotes: [{ host: '127.0.0.1', port: portB }],
            protocolVersion,
            reconnect: { minimumSeconds: 1, maximumSeconds: 1 },
            queue: { messagesMax: 1_000_000, bytesMax: 1_000_000_000 },
            topics: [
              { topic: 'a2b/#', direction: 'out', qos: 2 },
              { topic: 'b2a/#', direction: 'in', qos: 2 },
            ],
          },
        ],
      });
      const clients: MqttClient[] = [];
      let wake = () => {};
      try {
        a.start();
        b.start();
        const flows: Flow[] = [];
        const take = (topicName: string, payload: string) =>
          flows.find((flow) => flow.topicName === topicName)?.take(payload);
        const [pubA, pubB] = [await client(portA, 'pub', () => {}), await client(portB, 'pub', () => {})];
        const [subA, subB] = [await client(portA, 'sub', take), await client(portB, 'sub', take)];
        clients.push(pubA, pubB, subA, subB);
        const subscription = { qos: 2 as const, noLocal: false, retainAsPublished: false, retainHandling: 0 as const };
        await subA.subscribe([{ topicFilter: 'b2a/#', ...subscription }]);
        await subB.subscribe([{ topicFilter: 'a2b/#', ...subscription }]);
        for (const [publisher, way] of [
          [pubA, 'a2b'],
          [pubB, 'b2a'],
        ] as const)
          for (const qos of [1, 2] as const) flows.push(new Flow(publisher, `${way}/${qos}`, qos, () => wake()));
        const until = async (condition: () => boolean, what: string) => {
          const deadline = Date.now() + PATIENCE_MS;
          while (!condition()) {
            const left = deadline - Date.now();
            if (left <= 0) assert.fail(`waited for ${what}: ${report()}`);
            const timer = new AbortController();
            await Promise.race([
              new Promise<void>((resolve) => {
                wake = resolve;
              }),
              delay(left, undefined, { signal: timer.signal }).catch(() => {}),
            ]);
            timer.abort();
          }
        };
        const report = () =>
          [
            ...flows.map(
              (flow) => `${flow.topicName}: ${flow.acknowledged.size} acknowledged, ${flow.missing.length} missing`,
            ),
            `A: ${a.output}`,
            `B: ${b.output}`,
          ].join('\n');
        // The rows that come in are there once something has come.
        while (flows[2]!.seen.size === 0) {
          pubB.publish('b2a/1', Buffer.from('first'), { qos: 0 }).catch(() => {});
          await delay(50);
        }
        for (const flow of flows) flow.start();
        for (let round = 0; round < kills * (remote === 'dunlin' ? 2 : 1); round++) {
          const before = flows.map(({ seen }) => seen.size);
          await until(() => flows.every(({ seen }, index) => seen.size > before[index]! + PROGRESS), 'progress');
          await delay(Math.random() * 100);
          const victim = round % 2 === 0 || remote === 'mosquitto' ? a : b;
          await victim.kill();
          victim.start();
        }
        for (const flow of flows) flow.stop();
        await until(() => flows.every(({ settled }) => settled), 'all that was acknowledged');
        for (const { topicName, qos, seen, acknowledged } of flows) {
          assert.ok(acknowledged.size > kills * PROGRESS, topicName);
          const twice = [...seen].filter(([payload, count]) => count > 1 && payload !== 'first');
          if (qos === 2) assert.deepEqual(twice, [], `${topicName} came twice`);
        }
        if (process.env.DUNLIN_BRIDGE_KILLS !== undefined)
          process.stdout.write(
            `${protocolVersion} ${remote}: ${flows.map(({ topicName, seen }) => `${topicName} ${seen.size}`).join(', ')}\n`,
          );
      } finally {
        for (const each of clients) each.destroy();
        await Promise.all([a.kill(), b.kill()]);
        a.remove();
        b.remove();
      }
    });
  });
