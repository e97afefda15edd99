/**
 * Goal: one mosquitto.conf with many rows of topics, run by Debian's mosquitto and by this broker in front of the same kind of remote:
 * what is published on one side arrives on the other with the same names, QoS and retain flags.
 *
 *   near ── broker with the file ── gate ── mosquitto, the remote ── far
 *
 * The gate lets the bridge through only when both sides have stored retained messages.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { PacketType } from '../../src/protocol/index.js';
import { freePort } from '../support/mosquitto-scene.js';
import { Folder } from '../support/pki.js';
import { WireClient } from '../support/wire-client.js';
import { endProcess, findProgram, Lines, root } from './support.js';

const mosquitto = findProgram('mosquitto', 'test/interop/mosquitto-conf-bridges: mosquitto');
const dunlin = [process.execPath, join(root, 'bin', 'dunlin')];

const rows = [
  'topic sensor/# out 1 local/ remote/office1/',
  'topic command/+ in 2 here/ there/',
  'topic shared/# both 2',
  'topic "" out 1 exact/here exact/there',
  'topic "" in 1 single/here single/there',
  'topic "" both 2 pair/here pair/there',
  'topic plain',
  'topic low/# out 0 a/ b/',
  'topic pre/# both 1 l/ ""',
  'topic post/# both 1 "" r/',
  'topic end both 2 "" over/',
];
/** What the bridge asks the remote for. */
const askedFor = ['there/command/+', 'shared/#', 'single/there', 'pair/there', 'pre/#', 'r/post/#', 'over/end'];
/** Published on both sides: each row sees what it takes, what it would take the other way, and what lies beside it. */
const names = [
  ...['local/sensor/a', 'local/sensor', 'sensor/a', 'remote/office1/sensor/a', 'local/other'],
  ...['here/command/a', 'there/command/a', 'there/command/a/b', 'command/a'],
  ...['shared/a', 'shared', 'exact/here', 'exact/here/a', 'exact/there'],
  ...['single/here', 'single/there', 'pair/here', 'pair/there', 'plain', 'plain/a'],
  ...['a/low/a', 'b/low/a', 'l/pre/a', 'pre/a', 'post/a', 'r/post/a', 'other'],
];

const STORED = 'stored before the bridge was there';

/** Everything one side has seen, until both sides have published to `end`. */
class Side {
  private readonly seen: string[] = [];

  constructor(
    readonly client: WireClient,
    private readonly end: string,
  ) {}

  /** Publishes, and sees the exchange through; what arrives meanwhile is noted. */
  async publish(topicName: string, payload: string, qos: 0 | 1 | 2, retain: boolean): Promise<void> {
    const packetId = this.client.publish(topicName, payload, { qos, retain });
    if (qos === 0) return;
    await this.until(({ packet }) => {
      const type = qos === 1 ? PacketType.Puback : PacketType.Pubcomp;
      return packet.type === type && packet.packetId === packetId;
    });
  }

  /** Topic, payload, QoS and flag of each message, in the order of the alphabet. */
  async everything(): Promise<string[]> {
    const ended = (side: string) => this.seen.some((message) => message.startsWith(`${this.end} end of ${side}`));
    await this.until(() => ended('near') && ended('far'));
    return [...this.seen].sort();
  }

  private note(topicName: string, payload: string, qos: number, retain: boolean): void {
    // The state of the bridge comes with another QoS; how often a stored message comes depends on how often the gate was closed.
    const message = `${topicName} ${payload}${topicName.startsWith('$SYS/') ? '' : ` ${qos}`}${retain ? ' retained' : ''}`;
    if (payload !== STORED || !this.seen.includes(message)) this.seen.push(message);
  }

  private async until(enough: (received: Awaited<ReturnType<WireClient['next']>>) => boolean): Promise<void> {
    const { client } = this;
    for (;;) {
      const received = await client.next();
      const { packet } = received;
      if (packet.type === PacketType.Publish) {
        const { topicName, payload, qos, retain, packetId = 0 } = packet;
        this.note(topicName, Buffer.from(payload).toString(), qos, retain);
        if (qos === 1) client.puback(packetId);
        if (qos === 2) client.pubrec(packetId);
      } else if (packet.type === PacketType.Pubrel) client.pubcomp(packet.packetId);
      else if (packet.type === PacketType.Pubrec) client.pubrel(packet.packetId);
      if (enough(received)) return;
    }
  }
}

/** What only one of two lists has, or has more often. */
function difference(ours: readonly string[], theirs: readonly string[]) {
  const without = (all: readonly string[], others: readonly string[]) => {
    const rest = [...others];
    return all.filter((entry) => {
      const at = rest.indexOf(entry);
      if (at >= 0) rest.splice(at, 1);
      return at < 0;
    });
  };
  return { oursOnly: without(ours, theirs), theirsOnly: without(theirs, ours) };
}
const nothing = { oursOnly: [], theirsOnly: [] };

describe('one mosquitto.conf with bridges, two brokers', { skip: mosquitto === undefined, timeout: 300_000 }, () => {
  const folder = new Folder();
  after(() => folder.remove());

  /** What both sides see with this command as the broker in the middle. */
  async function seenWith(command: readonly string[], lines: readonly string[]) {
    const children: ChildProcess[] = [];
    const clients: WireClient[] = [];
    const sockets: Socket[] = [];
    let gate: Server | undefined;
    const run = async ([program = '', ...args]: readonly string[], port: number, more: readonly string[]) => {
      const file = join(folder.path, `${port}.conf`);
      const own = ['user root', 'allow_anonymous true', 'log_type all', `listener ${port} 127.0.0.1`];
      writeFileSync(file, `${[...own, ...more].join('\n')}\n`);
      const child = spawn(program, [...args, '-c', file], { stdio: ['ignore', 'ignore', 'pipe'] });
      children.push(child);
      const log = new Lines(child.stderr!);
      await log.find(/version .* running/);
      return log;
    };
    const client = async (port: number) => {
      const socket = connect(port, '127.0.0.1');
      await once(socket, 'connect');
      const made = new WireClient(socket, 5);
      clients.push(made);
      await made.connect({ clientId: `watch-${clients.length}`, properties: { receiveMaximum: 65_535 } });
      return made;
    };
    try {
      const [here, there, door] = [await freePort(), await freePort(), await freePort()];
      const log = await run([mosquitto!], there, ['max_inflight_messages 0']);
      await run(command, here, ['connection office', `address 127.0.0.1:${door}`, ...lines]);
      const near = await client(here);
      const far = await client(there);
      await near.deliver('shared/before', STORED, { qos: 1, retain: true });
      await near.deliver('local/sensor/before', STORED, { qos: 2, retain: true });
      await near.deliver('exact/here', STORED, { qos: 0, retain: true });
      await near.deliver('local/sensor/waits', 'x', { qos: 1 });
      await near.deliver('local/sensor/is lost', 'x', { qos: 0 });
      await far.deliver('there/command/before', STORED, { qos: 2, retain: true });
      await far.deliver('pair/there', STORED, { qos: 1, retain: true });
      for (const side of [near, far])
        await side.subscribe(['#', '$SYS/broker/connection/#'], { qos: 2, retainAsPublished: true, retainHandling: 2 });
      gate = createServer((socket) => {
        const onward = connect(there, '127.0.0.1');
        sockets.push(socket, onward);
        for (const end of [socket, onward]) end.on('error', () => {});
        socket.pipe(onward).pipe(socket);
      }).listen(door, '127.0.0.1');
      // Mosquitto asks for each row in a packet of its own.
      for (const filter of askedFor) await log.find(new RegExp(`^\\d+: edge \\d ${filter.replace('+', '\\+')}$`));
      const [ours, theirs] = [new Side(near, 'end'), new Side(far, 'over/end')];
      for (const qos of [0, 1, 2] as const)
        for (const retain of [false, true])
          for (const name of names) {
            await Promise.all([
              ours.publish(name, `near ${qos} ${retain}`, qos, retain),
              theirs.publish(name, `far ${qos} ${retain}`, qos, retain),
            ]);
          }
      await ours.publish('end', 'end of near', 2, false);
      await theirs.publish('over/end', 'end of far', 2, false);
      return { near: await ours.everything(), far: await theirs.everything() };
    } finally {
      for (const { stream } of clients) stream.destroy();
      for (const socket of sockets) socket.destroy();
      gate?.close();
      for (const child of children) await endProcess(child, 'SIGKILL');
    }
  }

  for (const version of ['mqttv31', 'mqttv311', 'mqttv50'])
    it(`the same messages on both sides, ${version}`, async () => {
      const lines = ['remote_clientid edge', 'restart_timeout 1', `bridge_protocol_version ${version}`, ...rows];
      const [theirs, ours] = await Promise.all([seenWith([mosquitto!], lines), seenWith(dunlin, lines)]);
      assert.deepEqual(difference(ours.far, theirs.far), nothing);
      assert.deepEqual(difference(ours.near, theirs.near), nothing);
    });
});
