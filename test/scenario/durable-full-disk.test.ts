/**
 * A disk that is full, under a live broker: nothing is acknowledged that is not stored, QoS 0 goes on, and when there is room
 * again everything goes on without a restart. The disk is a small file system in memory; where none may be mounted this is
 * left out.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PacketType } from '../../src/protocol/index.js';
import { noteLeftOut } from '../interop/support.js';
import { WireClient } from '../support/wire-client.js';
import { DurableScene, eventually, numbers, payloadsOf, publishMany, takeMessages } from './durable-scene.js';

const command = fileURLToPath(new URL('../../../bin/dunlin', import.meta.url));
const disk = mkdtempSync(join(tmpdir(), 'dunlin-full-disk-'));
const ballast = join(disk, 'ballast');

function mount(): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'dunlin-test', disk], { stdio: 'ignore' });
    return true;
  } catch {
    rmdirSync(disk);
    noteLeftOut('full disk: a tmpfs may not be mounted here');
    return false;
  }
}

/** Takes all room but some. */
function fillDisk(left: number): void {
  const { bavail, bsize } = statfsSync(disk);
  writeFileSync(ballast, Buffer.alloc(Math.max(0, bavail * bsize - left)));
}

const freeDisk = () => rmSync(ballast, { force: true });
const mounted = mount();

/** Publishes until the broker says that it cannot store. Returns how many were acknowledged. */
async function publishUntilRefused(client: WireClient, from: number): Promise<number> {
  for (let index = from; ; index++) {
    client.publish('q', `${index}`.padEnd(1000), { qos: 1 });
    const { packet } = await client.next();
    if (packet.type === PacketType.Disconnect) {
      assert.equal(packet.reasonCode, 0x89);
      return index;
    }
    assert.ok(packet.type === PacketType.Puback, `type ${packet.type}`);
    if (packet.reasonCode === 0x97) return index;
    assert.equal(packet.reasonCode, 0);
  }
}

describe('a full disk', { skip: !mounted }, () => {
  let run = 0;
  before(() => freeDisk());
  after(() => {
    execFileSync('umount', [disk]);
    rmdirSync(disk);
  });

  for (const mode of ['buffered', 'sync', 'faultTolerant'] as const)
    test(`under a live broker in mode ${mode}`, { timeout: 120_000 }, async () => {
      const folder = join(disk, `data-${++run}`);
      const durable = new DurableScene({ mode, config: { limits: { queueMessagesMax: 100_000 } } }, folder);
      await durable.start();
      try {
        const { broker, connect, kept, drop } = durable.scene;
        const reader = await connect(kept('reader'));
        await reader.subscribe('q', { qos: 1 });
        await drop(reader);
        const listener = await connect();
        await listener.subscribe('live', { qos: 0 });
        const old = await connect({ version: 4, clientId: 'old' });
        await publishMany(
          await connect(),
          100,
          () => 'q',
          (index) => `${index}`.padEnd(1000),
        );

        fillDisk(100_000);
        const acknowledged = await publishUntilRefused(await connect(), 100);
        assert.ok(acknowledged > 100 && acknowledged < 250, `${acknowledged}`);
        assert.match(broker.status().storage.failed!, /ENOSPC/);

        // Refused, or kept waiting; QoS 0 goes on.
        const told = await connect();
        assert.equal(await told.deliver('q', 'refused', { qos: 1 }), 0x97);
        assert.equal(await told.deliver('q', 'refused', { qos: 2 }), 0x97);
        assert.deepEqual(await told.subscribe('live', { qos: 1 }), [1]);
        old.publish('q', `${acknowledged}`, { qos: 1, packetId: 7 });
        old.publish('live', 'behind it', { qos: 0 });
        for (let index = 0; index < 20; index++) told.publish('live', `${index}`);
        assert.deepEqual(payloadsOf(await takeMessages(listener, 20)), numbers(0, 20));
        await listener.quiet();
        const refused = await durable.scene.open();
        refused.sendConnect(kept('someone'));
        const connack = await refused.packet(PacketType.Connack);
        assert.equal(connack.reasonCode, 0x88);

        freeDisk();
        assert.equal((await old.packet(PacketType.Puback)).packetId, 7);
        assert.equal((await listener.message()).payload, 'behind it');
        assert.equal(broker.status().storage.failed, undefined);
        await publishMany(
          await connect(),
          50,
          () => 'q',
          (index) => `${acknowledged + 1 + index}`,
        );

        await durable.crash();
        const back = await durable.scene.connect(kept('reader'));
        const payloads: string[] = [];
        while (payloads.at(-1) !== `${acknowledged + 50}`) {
          const [message] = await takeMessages(back, 1);
          payloads.push(message!.payload.trimEnd());
        }
        // What was on its way when the disk filled up was not acknowledged: it may be there or not.
        const certain = new Set([...numbers(0, acknowledged), ...numbers(acknowledged, acknowledged + 51)]);
        for (const payload of certain) assert.ok(payloads.includes(payload), `${payload} is lost`);
        assert.ok(payloads.every((payload) => certain.has(payload)));
        await back.quiet();
      } finally {
        freeDisk();
        await eventually('storage to recover', () => durable.scene.broker.status().storage.failed === undefined);
        await durable.close();
        rmSync(folder, { recursive: true, force: true });
      }
    });

  test('is said to clients whose stored session can be neither kept nor discarded', { timeout: 120_000 }, async () => {
    const folder = join(disk, `data-${++run}`);
    const durable = new DurableScene({}, folder);
    await durable.start();
    try {
      const { connect, drop, kept, open } = durable.scene;
      await drop(await connect(kept('stored')));
      await drop(await connect({ version: 4, clientId: 'old', cleanStart: false }));
      fillDisk(0);
      const filler = await connect();
      await filler.subscribe('q', { qos: 1 });
      filler.publish('r', Buffer.alloc(100_000), { qos: 1, retain: true });
      await eventually('storage to fail', () => durable.scene.broker.status().storage.failed !== undefined);

      for (const cleanStart of [true, false]) {
        const refused = await open();
        refused.sendConnect({ clientId: 'stored', cleanStart });
        assert.equal((await refused.packet(PacketType.Connack)).reasonCode, 0x88);
      }
      const old = await open(4);
      old.sendConnect({ clientId: 'old', cleanStart: true });
      assert.equal((await old.packet(PacketType.Connack)).reasonCode, 3);
      await connect({ clientId: 'other' });
      freeDisk();
      await eventually('storage to recover', () => durable.scene.broker.status().storage.failed === undefined);
      const back = await open();
      back.sendConnect(kept('stored'));
      assert.equal((await back.packet(PacketType.Connack)).sessionPresent, true);
    } finally {
      freeDisk();
      await durable.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test('does not keep the broker from being stopped: it says what was not stored', { timeout: 120_000 }, async () => {
    const folder = join(disk, `data-${++run}`);
    const config = join(disk, 'dunlin.yaml');
    writeFileSync(
      config,
      `listeners: [{ port: 0, host: 127.0.0.1, allowAnonymous: true }]\nstorage: { mode: buffered, path: ${folder} }\n`,
    );
    const child = spawn(process.execPath, [command, '-c', config], { stdio: ['ignore', 'pipe', 'pipe'] });
    try {
      let log = '';
      child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
        log += chunk;
      });
      let errors = '';
      child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
        errors += chunk;
      });
      await eventually('the listener', () => log.includes('listener.started'));
      const port = Number(/"port":(\d+)/.exec(log)![1]);
      const socket = connectSocket({ port, host: '127.0.0.1' });
      await once(socket, 'connect');
      const client = new WireClient(socket, 5);
      await client.connect({ clientId: 'kept', properties: { sessionExpiryInterval: 3600 } });
      await client.subscribe('q', { qos: 1 });
      fillDisk(0);
      client.publish('q', Buffer.alloc(100_000), { qos: 1 });
      await eventually('storage to fail', () => log.includes('storage.failed'));

      const ended = once(child, 'close');
      child.kill('SIGTERM');
      assert.deepEqual(await ended, [1, null]);
      assert.equal(errors, '');
      assert.match(log, /"event":"storage\.not-saved".*ENOSPC.*\n.*"event":"broker\.stopped"/);
    } finally {
      child.kill('SIGKILL');
      freeDisk();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
