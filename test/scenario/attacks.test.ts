/**
 * Clients that mean harm, against a broker in a process of its own, while two others talk to each other at QoS 1: these lose nothing, and the
 * memory of the broker stays below a bound. How long their messages took is told, not judged.
 *
 * Attacks are of a size that suits `npm test`; `DUNLIN_ATTACK=10` makes them ten times as large (100,000 wrong passwords).
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { ConfigInput } from '../../src/index.js';
import { encodePacket, PacketType } from '../../src/protocol/index.js';
import { endProcess, root } from '../interop/support.js';
import { connectPacket, WireClient } from '../support/wire-client.js';

const SCALE = Number(process.env.DUNLIN_ATTACK ?? 1);
const MIB = 1_048_576;
const MEMORY_BOUND = 250 * MIB;
/** Far longer than the broker waits for a CONNECT. */
const GHOST_MS = 10_000;

const config: ConfigInput = {
  listeners: [
    { name: 'open', protocol: 'mqtt', host: '127.0.0.1', port: 0, allowAnonymous: true },
    { name: 'users', protocol: 'mqtt', host: '127.0.0.1', port: 0, allowAnonymous: false, connectionsMax: 5000 },
  ],
  users: [{ username: 'root', password: 'a password nobody guesses' }],
  limits: {
    connectTimeoutSeconds: 2,
    connectionsMax: 4000,
    retainedMessagesMax: 20_000,
    retainedBytesMax: 16 * MIB,
    outboundBytesMax: MIB,
    memoryOutboundBytesMax: 64 * MIB,
    queueBytesMax: MIB,
    topicCacheEntriesMax: 16_384,
  },
  protection: {
    flapping: { connectsMax: 50 },
    logins: { failuresMax: 10, delaySecondsMax: 1 },
    overload: { eventLoopDelayMsMax: 0 },
  },
  log: { level: 'information', format: 'json' },
};

class Broker {
  private constructor(
    private readonly child: ChildProcess,
    private readonly folder: string,
    readonly ports: ReadonlyMap<string, number>,
    /** The lines that it has logged. */
    readonly lines: () => string[],
  ) {}

  static async start(): Promise<Broker> {
    const folder = mkdtempSync(join(tmpdir(), 'dunlin-attack-'));
    const file = join(folder, 'dunlin.yaml');
    writeFileSync(file, JSON.stringify(config));
    const child = spawn(process.execPath, [join(root, 'bin', 'dunlin'), '-c', file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
    });
    // What comes after the last end of line is half a line.
    const lines = () => output.split('\n').slice(0, -1);
    const ports = new Map<string, number>();
    while (ports.size < 2) {
      await once(child.stdout!, 'data');
      for (const line of lines().filter((each) => each.includes('listener.started'))) {
        const { listener, message } = JSON.parse(line) as { listener: string; message: string };
        ports.set(listener, Number(/:(\d+)$/.exec(message)![1]));
      }
    }
    return new Broker(child, folder, ports, lines);
  }

  get residentBytes(): number {
    const status = readFileSync(`/proc/${this.child.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) * 1024;
  }

  async stop(): Promise<void> {
    await endProcess(this.child, 'SIGTERM');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Two clients that talk to each other for as long as an attack lasts. */
class Bystanders {
  readonly latencies: number[] = [];
  private running = true;
  private done: Promise<void> = Promise.resolve();

  static async meet(port: number): Promise<Bystanders> {
    const bystanders = new Bystanders();
    const reader = await dial(port);
    await reader.connect({ clientId: 'bystander-reader' });
    await reader.subscribe('bystander', { qos: 1 });
    const writer = await dial(port);
    await writer.connect({ clientId: 'bystander-writer' });
    bystanders.done = bystanders.talk(writer, reader);
    return bystanders;
  }

  /** They have heard all that was said. */
  async part(): Promise<string> {
    this.running = false;
    await this.done;
    const sorted = this.latencies.toSorted((a, b) => a - b);
    const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)]!.toFixed(1);
    return `${sorted.length} messages of others, median ${at(0.5)} ms, p99 ${at(0.99)} ms, slowest ${at(1)} ms`;
  }

  private async talk(writer: WireClient, reader: WireClient): Promise<void> {
    for (let count = 0; this.running || count < 20; count++) {
      const since = performance.now();
      await writer.deliver('bystander', `${count}`, { qos: 1 });
      const { payload, packetId } = await reader.message();
      assert.equal(payload, `${count}`);
      reader.puback(packetId);
      this.latencies.push(performance.now() - since);
      await delay(5);
    }
    writer.stream.destroy();
    reader.stream.destroy();
  }
}

async function dial(port: number): Promise<WireClient> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  return new WireClient(socket, 5);
}

/** A socket whose failures are expected. */
function attacker(port: number): Socket {
  const socket = connect({ port, host: '127.0.0.1' });
  socket.on('error', () => {});
  return socket;
}

/**
 * The broker has closed the connection, or never had it: where so many come at once, the kernel may take one for the client's side alone, which
 * nobody ever ends.
 */
async function closed(socket: Socket): Promise<void> {
  const waiting = new AbortController();
  if (!socket.closed)
    await Promise.race([
      new Promise((resolve) => socket.once('close', resolve)),
      delay(GHOST_MS, undefined, { signal: waiting.signal }).catch(() => {}),
    ]);
  waiting.abort();
  socket.destroy();
}

/** Runs `work` for each number, so many at a time. */
async function each(count: number, atATime: number, work: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: atATime }, async () => {
      while (next < count) await work(next++);
    }),
  );
}

describe('under attack', { skip: process.platform !== 'linux', timeout: 900_000 }, () => {
  let broker: Broker | undefined;
  before(async () => {
    broker = await Broker.start();
  });
  after(() => broker?.stop());

  const attack = (name: string, work: (port: number, users: number) => Promise<void>) =>
    it(name, async (t) => {
      assert.ok(broker);
      const { ports } = broker;
      const [port, users] = [ports.get('open')!, ports.get('users')!];
      const bystanders = await Bystanders.meet(port);
      let most = broker.residentBytes;
      const watch = setInterval(() => {
        most = Math.max(most, broker!.residentBytes);
      }, 50);
      try {
        await work(port, users);
      } finally {
        clearInterval(watch);
        t.diagnostic(`${await bystanders.part()}; at most ${Math.round(most / MIB)} MiB`);
      }
      assert.ok(most < MEMORY_BOUND, `${most} bytes of memory`);
    });

  attack('by a CONNECT that comes byte by byte', async (port) => {
    const bytes = encodePacket(connectPacket(5, { clientId: 'x'.repeat(200) }), 5);
    await each(200 * SCALE, 200, async () => {
      const socket = attacker(port);
      const drip = setInterval(() => socket.write(bytes.subarray(0, 1)), 100);
      await closed(socket);
      clearInterval(drip);
    });
  });

  attack('by connections that say nothing', async (port) => {
    await each(3000 * SCALE, 3000, () => closed(attacker(port)));
    const timeouts = broker!.lines().filter((line) => line.includes('connection.connect-timeout')).length;
    // The kernel keeps some of so many from the broker.
    assert.ok(timeouts > 500 * SCALE, `${timeouts} connections were closed for their silence`);
  });

  attack('by wrong passwords', async (_port, users) => {
    const bytes = encodePacket(connectPacket(5, { clientId: 'guess', username: 'root', password: 'guess' }), 5);
    await each(10_000 * SCALE, 100, async () => {
      const socket = attacker(users);
      await once(socket, 'connect').catch(() => {});
      socket.end(bytes);
      await delay(1);
      socket.destroy();
      await closed(socket);
    });
    // The right one still gets in.
    const owner = await dial(users);
    await owner.connect({ clientId: 'owner', username: 'root', password: 'a password nobody guesses' });
    owner.stream.destroy();
  });

  attack('by topics that are never the same', async (port) => {
    const client = await dial(port);
    await client.connect({ clientId: 'random-topics' });
    for (let batch = 0; batch < 100 * SCALE; batch++) {
      for (let index = 0; index < 1000; index++)
        client.publish(`${batch}/${Math.random()}/${'x'.repeat(100)}/${index}`, 'x');
      await client.quiet();
    }
    client.stream.destroy();
  });

  attack('by retained messages without end', async (port) => {
    const client = await dial(port);
    await client.connect({ clientId: 'retained' });
    for (let batch = 0; batch < 50 * SCALE; batch++) {
      for (let index = 0; index < 1000; index++)
        client.publish(`retained/${batch}/${index}`, 'x'.repeat(500), { retain: true });
      await client.quiet();
    }
    assert.equal(await client.deliver('retained/one/more', 'x', { qos: 1, retain: true }), 0x97);
    client.stream.destroy();
  });

  attack('by subscribers to everything that do not read', async (port) => {
    const sockets = Array.from({ length: 100 }, (_, index) => {
      const socket = attacker(port);
      socket.write(encodePacket(connectPacket(5, { clientId: `deaf-${index}` }), 5));
      socket.write(
        encodePacket(
          {
            type: PacketType.Subscribe,
            packetId: 1,
            subscriptions: [{ topicFilter: '#', qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 2 }],
          },
          5,
        ),
      );
      socket.pause();
      return socket;
    });
    const client = await dial(port);
    await client.connect({ clientId: 'loud' });
    for (let index = 0; index < 2000 * SCALE; index++) {
      client.publish('loud', 'x'.repeat(10_000));
      if (index % 100 === 0) await client.quiet();
    }
    await client.quiet();
    client.stream.destroy();
    for (const socket of sockets) socket.destroy();
  });

  attack('by clients that steal an identifier from each other', async (port) => {
    const connectBytes = encodePacket(connectPacket(5, { clientId: 'stolen' }), 5);
    await each(500 * SCALE, 10, async () => {
      const socket = attacker(port);
      socket.write(connectBytes);
      await Promise.race([once(socket, 'data').catch(() => {}), closed(socket)]);
      await delay(1);
      socket.destroy();
    });
    const late = await dial(port);
    late.sendConnect({ clientId: 'stolen' });
    await late.refused(0x8a);
  });

  attack('by control characters in names, which do not get into the log as they are', async (port) => {
    const evil = 'id\u0001\u001b[31m\r\n{"level":"error","message":"forged"}';
    const client = await dial(port);
    client.sendConnect({ clientId: evil, username: evil });
    await client.packet(PacketType.Connack);
    client.publish(`a/${evil}`, 'x');
    client.sendSubscribe(`b/${evil}`);
    client.stream.destroy();
    await delay(100);
    for (const line of broker!.lines()) {
      const entry = JSON.parse(line) as { message: string };
      assert.notEqual(entry.message, 'forged');
      // biome forbids control characters in patterns, and rightly
      assert.ok(
        [...line].every((character) => character >= ' '),
        line,
      );
    }
  });
});
