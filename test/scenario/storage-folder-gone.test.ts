/** Goal: a data folder that is taken from under a running broker is noticed soon, nothing is promised any more, and nothing is written over what took its place. */
import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { duplexPair } from 'node:stream';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { type Broker, createBroker, type Logger } from '../../src/index.js';
import { ReasonCode } from '../../src/protocol/index.js';
import { within } from '../support/bridge-scene.js';
import { WireClient } from '../support/wire-client.js';

const modes = ['buffered', 'sync', 'faultTolerant'] as const;

describe('a data folder that is taken away', () => {
  let folder: string;
  let path: string;
  let brokers: Broker[];
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'dunlin-gone-'));
    path = join(folder, 'data');
    brokers = [];
  });
  afterEach(async () => {
    for (const broker of brokers) await broker.stop().catch(() => {});
    rmSync(folder, { recursive: true });
  });

  async function start(mode: (typeof modes)[number]) {
    const events: string[] = [];
    let wake = () => {};
    const tell = (event: string, sentence: string) => {
      events.push(`${event}: ${sentence}`);
      wake();
    };
    const logger: Logger = { level: 4, error: tell, warning: tell, information: tell, debug: tell };
    const broker = createBroker({ config: { listeners: [], storage: { mode, path } }, logger });
    brokers.push(broker);
    await broker.start();
    const logged = async (pattern: RegExp) => {
      const come = async () => {
        while (!events.some((event) => pattern.test(event)))
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      };
      await within(come(), () => `${pattern} in ${events.join('\n')}`);
    };
    return { broker, logged };
  }

  async function connected(broker: Broker) {
    const [near, far] = duplexPair();
    broker.handle(far);
    const client = new WireClient(near, 5);
    await client.connect({ clientId: 'c' });
    return client;
  }

  it('is put back: a retained will that was due meanwhile is published and kept', async () => {
    const { broker, logged } = await start('buffered');
    const [near, far] = duplexPair();
    broker.handle(far);
    const client = new WireClient(near, 5);
    const will = { topicName: 't/will', payload: Buffer.from('gone'), qos: 1, retain: true, properties: {} } as const;
    await client.connect({ clientId: 'c', will });
    renameSync(path, `${path}-away`);
    await logged(/^storage\.failed/);
    far.destroy();
    await logged(/^client\.disconnected|^connection\.lost/);
    renameSync(`${path}-away`, path);
    await logged(/^storage\.recovered/);
    const seen = new Promise<string>((resolve) => {
      broker.subscribe('t/#', ({ topicName, payload }) => resolve(`${topicName}=${Buffer.from(payload)}`));
    });
    assert.equal(await within(seen, () => 'the will'), 't/will=gone');
  });

  async function retainedNow(): Promise<string[]> {
    const { broker } = await start('buffered');
    const seen: string[] = [];
    broker.subscribe('t/#', ({ topicName }) => seen.push(topicName));
    await broker.stop();
    return seen.sort();
  }

  const keep = (client: WireClient, name: string) => client.deliver(`t/${name}`, 'x', { qos: 1, retain: true });
  const fine = ReasonCode.NoMatchingSubscribers;

  for (const mode of modes)
    it(`refuses until it is back (${mode})`, async () => {
      const { broker, logged } = await start(mode);
      const client = await connected(broker);
      assert.equal(await keep(client, '1'), fine);
      renameSync(path, `${path}.away`);
      await logged(/^storage\.failed: .*data is not what the broker opened: it was removed, moved away or replaced/);
      assert.equal(await keep(client, '2'), ReasonCode.QuotaExceeded);
      assert.match(broker.status().storage.failed ?? '', /removed, moved away or replaced/);
      renameSync(`${path}.away`, path);
      await logged(/^storage\.recovered/);
      assert.equal(await keep(client, '3'), fine);
      assert.equal(broker.status().storage.failed, undefined);
      await broker.stop();
      const kept = await retainedNow();
      assert.ok(kept.includes('t/1') && kept.includes('t/3'), `${kept}`);
    });

  it('writes nothing into a folder that took its place, and leaves the lock of whoever has that', async () => {
    const { broker, logged } = await start('sync');
    const client = await connected(broker);
    assert.equal(await keep(client, '1'), fine);
    rmSync(path, { recursive: true });
    mkdirSync(path);
    writeFileSync(join(path, 'lock'), JSON.stringify({ pid: 1, started: '' }));
    await logged(/^storage\.failed/);
    await logged(/^storage\.still-failing: .*data is not what the broker opened/);
    assert.equal(await keep(client, '2'), ReasonCode.QuotaExceeded);
    await assert.rejects(broker.stop(), { code: 'STORAGE_NOT_SAVED', message: /lost, unless it is put back/ });
    assert.deepEqual(readdirSync(path), ['lock']);
  });

  for (const mode of modes)
    it(`writes anew what was removed from it, where it has all in memory (${mode})`, async () => {
      const { broker, logged } = await start(mode);
      const client = await connected(broker);
      assert.equal(await keep(client, '1'), fine);
      for (const name of readdirSync(path)) if (name !== 'copy') rmSync(join(path, name));
      await logged(/^storage\.failed/);
      await logged(/^storage\.recovered/);
      assert.equal(await keep(client, '2'), fine);
      assert.ok(existsSync(join(path, 'lock')));
      await broker.stop();
      assert.deepEqual(await retainedNow(), ['t/1', 't/2']);
    });

  it('leaves the folder to another process that took its lock', async () => {
    const { broker, logged } = await start('sync');
    const client = await connected(broker);
    assert.equal(await keep(client, '1'), fine);
    const other = JSON.stringify({ pid: 2 ** 30, started: '' });
    rmSync(join(path, 'lock'));
    writeFileSync(join(path, 'lock'), other);
    const names = readdirSync(path);
    await logged(/^storage\.still-failing: another process took .*lock/);
    await assert.rejects(broker.stop(), { code: 'STORAGE_NOT_SAVED' });
    assert.equal(readFileSync(join(path, 'lock'), 'utf8'), other);
    assert.deepEqual(readdirSync(path), names);
    rmSync(join(path, 'lock'));
    assert.deepEqual(await retainedNow(), ['t/1']);
  });

  it('notices a log file that was removed, and one that was put there from elsewhere', async () => {
    const { broker, logged } = await start('sync');
    const client = await connected(broker);
    assert.equal(await keep(client, '1'), fine);
    const log = readdirSync(path).find((name) => name.startsWith('log-'))!;
    cpSync(join(path, log), join(folder, log));
    rmSync(join(path, log));
    cpSync(join(folder, log), join(path, log));
    await logged(/^storage\.failed: .*log-\d+ is not what the broker opened/);
    await logged(/^storage\.recovered/);
    await broker.stop();
    assert.deepEqual(await retainedNow(), ['t/1']);
  });

  it('writes nothing over other data that was put into it', async () => {
    const other = await start('sync');
    assert.equal(await keep(await connected(other.broker), 'other'), fine);
    await other.broker.stop();
    renameSync(path, `${path}.other`);
    const { broker, logged } = await start('sync');
    assert.equal(await keep(await connected(broker), '1'), fine);
    for (const name of readdirSync(path)) rmSync(join(path, name));
    cpSync(`${path}.other`, path, { recursive: true });
    await logged(/^storage\.still-failing: other data was put into /);
    await assert.rejects(broker.stop(), { code: 'STORAGE_NOT_SAVED' });
    assert.deepEqual(await retainedNow(), ['t/other']);
  });

  it('is noticed by a broker that stops at once', async () => {
    const { broker } = await start('buffered');
    assert.equal(await keep(await connected(broker), '1'), fine);
    rmSync(path, { recursive: true });
    await assert.rejects(broker.stop(), { code: 'STORAGE_NOT_SAVED', message: /removed, moved away or replaced/ });
  });
});
