/**
 * Goal: one mosquitto.conf, run by Debian's mosquitto and by this broker, looks the same to clients: what CONNACK says, who gets in, what is
 * delivered, what the log says, which `$SYS` topics there are.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { PacketType, type ProtocolVersion } from '../../src/protocol/index.js';
import { freePort } from '../support/mosquitto-scene.js';
import { retainedNow } from '../support/retained-now.js';
import { type ConnectOptions, WireClient } from '../support/wire-client.js';
import { endProcess, findProgram, Lines, root } from './support.js';

const programs = ['mosquitto', 'mosquitto_passwd'].map((name) =>
  findProgram(name, `test/interop/mosquitto-conf: ${name}`),
);

interface Scene {
  /** Gets to a broker, and says nothing. */
  client(version: ProtocolVersion, listener?: number): Promise<WireClient>;
  readonly log: Lines;
  signal(name: NodeJS.Signals): void;
}

type Probe = (scene: Scene) => Promise<unknown>;

const folder = mkdtempSync(join(tmpdir(), 'dunlin-both-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Runs `text` with one of the two brokers; `PORT1`, `PORT2` are filled in. */
async function runWith(command: readonly string[], text: string, probe: Probe): Promise<unknown> {
  const ports = [await freePort(), await freePort()];
  const file = join(folder, `${ports[0]}.conf`);
  writeFileSync(
    file,
    `user root\n${text.replace(/\bPORT([12])\b/g, (_, number: string) => String(ports[Number(number) - 1]))}\n`,
  );
  const [program = '', ...args] = command;
  const child = spawn(program, [...args, '-c', file], { stdio: ['ignore', 'ignore', 'pipe'] });
  const log = new Lines(child.stderr!);
  const clients: WireClient[] = [];
  try {
    await log.find(/listen socket on port/);
    const reach = async (port: number) => {
      for (let attempt = 0; ; attempt++) {
        const socket = connect(port, '127.0.0.1');
        try {
          await once(socket, 'connect');
          return socket;
        } catch (error) {
          if (attempt === 100) throw error;
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      }
    };
    return await probe({
      log,
      signal: (name) => child.kill(name),
      client: async (version, listener = 1) => {
        const client = new WireClient(await reach(ports[listener - 1]!), version);
        clients.push(client);
        return client;
      },
    });
  } finally {
    for (const { stream } of clients) stream.destroy();
    await endProcess(child, 'SIGTERM');
  }
}

async function both(text: string, probe: Probe): Promise<{ ours: unknown; theirs: unknown }> {
  return {
    theirs: await runWith([programs[0]!], text, probe),
    ours: await runWith([process.execPath, join(root, 'bin', 'dunlin')], text, probe),
  };
}

/** The code and properties of CONNACK; `closed` where none comes. */
async function login(scene: Scene, version: ProtocolVersion, options: ConnectOptions, listener = 1): Promise<unknown> {
  const client = await scene.client(version, listener);
  client.sendConnect(options);
  try {
    const { packet } = await client.next();
    if (packet.type !== PacketType.Connack) return packet.type;
    const { reasonString: _, assignedClientIdentifier, ...properties } = packet.properties ?? {};
    return {
      code: packet.reasonCode,
      properties,
      prefix: assignedClientIdentifier?.slice(0, 5),
    };
  } catch {
    return 'closed';
  } finally {
    client.stream.destroy();
  }
}

const open = 'allow_anonymous true\nmax_packet_size 2000000\nlistener PORT1 127.0.0.1';

/** Answers with `count` messages, and whatever else the client may have to say about them. */
async function take(client: WireClient, count: number): Promise<string[]> {
  const seen: string[] = [];
  for (let open = 0; seen.length < count || open > 0; ) {
    const { packet } = await client.next();
    if (packet.type === PacketType.Publish) {
      const { topicName, payload, qos, retain, packetId = 0 } = packet;
      seen.push(`${topicName} ${payload} ${qos} ${retain}`);
      if (qos === 1) client.puback(packetId);
      if (qos === 2) client.pubrec(packetId);
      if (qos === 2) open++;
    } else if (packet.type === PacketType.Pubrel) {
      client.pubcomp(packet.packetId);
      open--;
    }
  }
  await client.quiet();
  return seen;
}

async function leave(client: WireClient): Promise<void> {
  client.send({ type: PacketType.Disconnect, reasonCode: 0 });
  await client.ended();
}

describe('one mosquitto.conf, two brokers', { skip: programs.includes(undefined), timeout: 300_000 }, () => {
  const passwords = join(folder, 'passwd');
  const acl = join(folder, 'acl');

  // Where Mosquitto 2.1 answers otherwise than Debian's 2.0, only the version of MQTT in which both agree is compared.
  for (const [name, text, options, versions] of [
    ['nothing but a listener and a packet size', open, {}, [4, 5]],
    ['limits of the listener', `${open}\nmax_qos 1\nmax_topic_alias 3\nmax_connections 10`, {}, [4, 5]],
    ['max_keepalive', `${open}\nmax_keepalive 30`, { keepAlive: 90 }, [5]],
    ['max_inflight_messages', `max_inflight_messages 5\n${open}`, {}, [4, 5]],
    ['retain_available', `retain_available false\n${open}`, {}, [4, 5]],
    ['auto_id_prefix', `auto_id_prefix abcd-\n${open}`, { clientId: '' }, [4, 5]],
    ['allow_zero_length_clientid', `allow_zero_length_clientid false\n${open}`, { clientId: '' }, [4]],
    ['clientid_prefixes', `clientid_prefixes x-\n${open}`, {}, [4, 5]],
    ['use_username_as_clientid without a name', `${open}\nuse_username_as_clientid true`, {}, [4, 5]],
  ] as const)
    it(`CONNACK: ${name}`, async () => {
      for (const version of versions) {
        const { ours, theirs } = await both(text, (scene) => login(scene, version, { keepAlive: 60, ...options }));
        assert.deepEqual(ours, theirs, `version ${version}`);
      }
    });

  it('who gets in, by password_file and per_listener_settings', async () => {
    assert.equal(spawnSync(programs[1]!, ['-c', '-b', passwords, 'ada', 'one']).status, 0);
    const probe: Probe = async (scene) => {
      const codes: unknown[] = [];
      for (const listener of [1, 2])
        for (const [username, password] of [[], ['ada', 'one'], ['ada', 'two'], ['bob', 'x']])
          codes.push(
            await login(
              scene,
              4,
              { ...(username === undefined ? {} : { username }), ...(password === undefined ? {} : { password }) },
              listener,
            ),
          );
      return codes;
    };
    for (const text of [
      `password_file ${passwords}\nallow_anonymous true\nlistener PORT1 127.0.0.1\nlistener PORT2 127.0.0.1`,
      `password_file ${passwords}\nlistener PORT1 127.0.0.1\nlistener PORT2 127.0.0.1`,
      `per_listener_settings true\nlistener PORT1 127.0.0.1\npassword_file ${passwords}\nlistener PORT2 127.0.0.1\nallow_anonymous true`,
      'allow_anonymous true\nlistener PORT1 127.0.0.1\nlistener PORT2 127.0.0.1',
    ]) {
      const { ours, theirs } = await both(text, probe);
      // A 3.1.1 client that is not let in is told 5 there, and 4 here where its name or password was the reason.
      const plain = (codes: unknown) => JSON.parse(JSON.stringify(codes).replaceAll('"code":4', '"code":5'));
      assert.deepEqual(plain(ours), plain(theirs), text);
    }
  });

  it('what is delivered, by acl_file', async () => {
    writeFileSync(
      acl,
      'topic read open/#\ntopic write in/+\nuser ada\ntopic ada/#\ntopic deny ada/secret\npattern readwrite own/%c/#\npattern read name/%u\n',
    );
    const topics = ['open/a', 'in/a', 'in/a/b', 'ada/a', 'ada/secret', 'own/reader/x', 'own/other/x', 'name/ada'];
    const probe: Probe = async (scene) => {
      const seen: Record<string, string[]> = {};
      for (const username of [undefined, 'ada', 'bob']) {
        const who = username === undefined ? {} : { username, password: 'one' };
        const reader = await scene.client(4);
        await reader.connect({ clientId: 'reader', ...who });
        for (const topic of topics) await reader.subscribe(topic, { qos: 1 });
        for (const publishing of ['ada', undefined]) {
          const writer = await scene.client(4);
          await writer.connect({
            clientId: 'other',
            ...(publishing === undefined ? {} : { username: publishing, password: 'one' }),
          });
          for (const topic of topics) await writer.deliver(topic, `${publishing}`, { qos: 1 });
          await leave(writer);
        }
        const got: string[] = [];
        for (;;) {
          reader.send({ type: PacketType.Pingreq });
          const { packet } = await reader.next();
          if (packet.type === PacketType.Pingresp) break;
          if (packet.type === PacketType.Publish) got.push(`${packet.topicName} ${packet.payload}`);
          if (packet.type === PacketType.Publish && packet.packetId !== undefined) reader.puback(packet.packetId);
          const { packet: pong } = await reader.next();
          if (pong.type === PacketType.Publish) {
            got.push(`${pong.topicName} ${pong.payload}`);
            if (pong.packetId !== undefined) reader.puback(pong.packetId);
          }
        }
        seen[String(username)] = [...new Set(got)].sort();
        await leave(reader);
      }
      return seen;
    };
    const { ours, theirs } = await both(`acl_file ${acl}\nallow_anonymous true\nlistener PORT1 127.0.0.1`, probe);
    assert.deepEqual(ours, theirs);
  });

  it('queues: max_queued_messages, queue_qos0_messages', async () => {
    const probe: Probe = async (scene) => {
      const reader = await scene.client(4);
      await reader.connect({ clientId: 'reader', cleanStart: false });
      await reader.subscribe('t', { qos: 2 });
      await leave(reader);
      const writer = await scene.client(4);
      await writer.connect({ clientId: 'writer' });
      for (let i = 0; i < 6; i++) await writer.deliver('t', String(i), { qos: (i % 2) as 0 | 1 });
      const again = await scene.client(4);
      await again.connect({ clientId: 'reader', cleanStart: false });
      const seen: string[] = [];
      for (;;) {
        again.send({ type: PacketType.Pingreq });
        let { packet } = await again.next();
        if (packet.type === PacketType.Pingresp) return seen;
        for (; packet.type !== PacketType.Pingresp; { packet } = await again.next())
          if (packet.type === PacketType.Publish) {
            seen.push(`${packet.payload} ${packet.qos}`);
            if (packet.qos === 1) again.puback(packet.packetId!);
            else if (packet.qos === 2) again.pubrec(packet.packetId!);
          } else if (packet.type === PacketType.Pubrel) again.pubcomp(packet.packetId);
      }
    };
    for (const limits of ['max_inflight_messages 1\nmax_queued_messages 2', 'queue_qos0_messages true']) {
      const { ours, theirs } = await both(`${limits}\n${open}`, probe);
      assert.deepEqual(ours, theirs, limits);
    }
  });

  it('upgrade_outgoing_qos, mount_point and message_size_limit on the way', async () => {
    const probe: Probe = async (scene) => {
      const outer = await scene.client(4, 2);
      await outer.connect({ clientId: 'outer' });
      await outer.subscribe('#', { qos: 2 });
      const inner = await scene.client(4, 1);
      await inner.connect({ clientId: 'inner' });
      await inner.deliver('a/b', 'zero');
      await inner.deliver('a/b', 'one', { qos: 1 });
      await inner.deliver('a/b', 'much too large', { qos: 1 });
      await inner.deliver('a/b', 'kept', { retain: true });
      const first = await take(outer, 3);
      // Below the mount point Debian's version shows it in the names of stored messages.
      const late = await scene.client(4, 2);
      await late.connect({ clientId: 'late' });
      await late.subscribe('m/a/#', { qos: 1 });
      return [first, await take(late, 1)];
    };
    const { ours, theirs } = await both(
      'upgrade_outgoing_qos true\nmessage_size_limit 10\nallow_anonymous true\nlistener PORT1 127.0.0.1\nmount_point m/\nlistener PORT2 127.0.0.1',
      probe,
    );
    assert.deepEqual(ours, theirs);
  });

  it('check_retain_source', async () => {
    const acl = join(folder, 'retained.acl');
    const reads = 'user reader\ntopic read #\n';
    const all = `${reads}user ada\ntopic write t/#\nuser bob\ntopic write t/#\npattern write of/%c/#\n`;
    const withoutAda = `${reads}user bob\ntopic write t/#\npattern write of/of-bob/#\n`;
    const probe: Probe = async (scene) => {
      const client = async (clientId: string, username: string) => {
        const made = await scene.client(4);
        await made.connect({ clientId, username });
        return made;
      };
      for (const username of ['ada', 'bob']) {
        const publisher = await client(`of-${username}`, username);
        for (const name of [`t/${username}`, `of/of-${username}/y`])
          await publisher.deliver(name, name, { qos: 1, retain: true });
        await leave(publisher);
      }
      const found = async (clientId: string, topicFilter: string) =>
        retainedNow(await client(clientId, 'reader'), topicFilter);
      const before = await found('before', '#');
      writeFileSync(acl, withoutAda);
      scene.signal('SIGHUP');
      await scene.log.find(/Reloading config|a changed file was read/);
      return { before, after: await found('after', '#'), one: await found('one', 't/ada') };
    };
    const complete = ['of/of-ada/y', 'of/of-bob/y', 't/ada', 't/bob'];
    for (const [said, after] of [
      ['check_retain_source true\n', ['of/of-bob/y', 't/bob']],
      ['check_retain_source false\n', complete],
    ] as const) {
      writeFileSync(acl, all);
      const text = `${said}acl_file ${acl}\nlog_type all\n${open}`;
      const theirs = await runWith([programs[0]!], text, probe);
      writeFileSync(acl, all);
      const ours = await runWith([process.execPath, join(root, 'bin', 'dunlin')], text, probe);
      assert.deepEqual(ours, theirs, said);
      assert.deepEqual(ours, { before: complete, after, one: said.includes('false') ? ['t/ada'] : [] });
    }
  });

  it('the lines of the log about clients', async () => {
    const probe: Probe = async (scene) => {
      for (const [version, clientId, username] of [
        [3, 'three', undefined],
        [4, 'four', 'ada'],
        [5, 'five', undefined],
      ] as const) {
        const client = await scene.client(version);
        await client.connect({ clientId, keepAlive: 60, ...(username === undefined ? {} : { username }) });
        await client.subscribe('a/b', { qos: 1 });
        await client.unsubscribe('a/b');
        await leave(client);
        await scene.log.find(new RegExp(`Client ${clientId} disconnected\\.`));
      }
      const lost = await scene.client(4);
      await lost.connect({ clientId: 'lost', cleanStart: false });
      lost.stream.destroy();
      await scene.log.find(/Client lost closed its connection\./);
      const wanted =
        /New connection from|New client connected|disconnected\.|closed its connection|^\d+: (three|four|five) /;
      return scene.log.lines
        .filter((line) => wanted.test(line))
        .map((line) =>
          line
            .replace(/^\d+:/, 'time:')
            .replace(/127\.0\.0\.1:\d+/, 'peer')
            .replace(/port \d+/, 'port'),
        );
    };
    const { ours, theirs } = await both(`log_type all\nallow_anonymous true\nlistener PORT1 127.0.0.1`, probe);
    assert.deepEqual(ours, theirs);
  });

  it('$SYS has every topic of Mosquitto, in the same form', async () => {
    const probe: Probe = async (scene) => {
      const client = await scene.client(4);
      await client.connect({ clientId: 'sys', keepAlive: 60 });
      await client.subscribe('$SYS/#');
      const seen = new Map<string, string>();
      // What comes with the second interval is all there is: some topics are published when they first change.
      for (let uptimes = 0; uptimes < 4; ) {
        const { topicName, payload } = await client.message();
        if (topicName === '$SYS/broker/uptime') uptimes++;
        seen.set(topicName, payload.replace(/\d+/g, '9'));
      }
      return Object.fromEntries(seen);
    };
    const { ours, theirs } = (await both(`sys_interval 1\n${open}`, probe)) as Record<
      'ours' | 'theirs',
      Record<string, string>
    >;
    const own = new Set(['$SYS/broker/version']);
    for (const [topicName, form] of Object.entries(theirs)) {
      assert.ok(topicName in ours, `${topicName} is missing; there are ${Object.keys(ours).join(', ')}`);
      if (!own.has(topicName)) assert.equal(ours[topicName], form, topicName);
    }
  });
});
