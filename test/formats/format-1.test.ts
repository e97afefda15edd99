/**
 * Goal: what a Dunlin of format 1 stored is all there for the Dunlin of today.
 *
 * Method: `format-1` is a data folder as `make-format-1.ts` left it when the format was new. A broker of today opens a copy of
 * it, and clients come for what is theirs. Run from the root of the repository.
 */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { PacketType, ReasonCode } from '../../src/protocol/index.js';
import { checkStorage, readOnlyFiles } from '../../src/storage/index.js';
import { Scene } from '../support/scene.js';
import type { ReceivedMessage } from '../support/wire-client.js';
import { formatConfig, makeFolder } from './make-format-1.js';

const committed = join(process.cwd(), 'test/formats/format-1');
const folder = mkdtempSync(join(tmpdir(), 'dunlin-format-'));
after(() => rmSync(folder, { recursive: true }));

const shown = ({ topicName, payload, qos }: ReceivedMessage) => `${topicName} ${qos}: ${payload}`;

describe('the folder of format 1', () => {
  it('is whole, small, and has tables and logs', () => {
    const names = readdirSync(committed);
    assert.ok(names.some((name) => name.startsWith('table-')) && names.some((name) => name.startsWith('log-')));
    assert.ok(names.reduce((sum, name) => sum + statSync(join(committed, name)).size, 0) < 50_000);
    const { findings, manifest } = checkStorage(readOnlyFiles, committed);
    assert.deepEqual(findings, []);
    assert.equal(manifest?.format, 1);
  });

  // The one that is made now shows that a failure is one of the format and not of this test.
  for (const kind of ['the committed one', 'one made now'] as const)
    describe(`opened by this broker: ${kind}`, () => everythingIsThere(kind));
});

function everythingIsThere(kind: 'the committed one' | 'one made now'): void {
  const path = join(folder, kind.replaceAll(' ', '-'));
  let scene: Scene;
  before(async () => {
    if (kind === 'one made now') await makeFolder(path);
    else cpSync(committed, path, { recursive: true });
    scene = new Scene(5, { config: formatConfig(path) });
    await scene.start();
  });
  after(() => scene.stop());

  it('counts all of it', () => {
    const { sessions, subscriptions, messagesRetained, queuedMegabytes, sessionMegabytes } = scene.broker.status();
    assert.deepEqual(
      { sessions, subscriptions, messagesRetained },
      { sessions: 6, subscriptions: 6, messagesRetained: 6 },
    );
    assert.ok(queuedMegabytes > 0 && sessionMegabytes > 0);
  });

  it('has the retained messages, with properties and expiry', async () => {
    const client = await scene.connect();
    await client.subscribe(['plant/#'], { qos: 1 });
    const messages = [];
    for (let count = 0; count < 6; count++) messages.push(await client.message());
    await client.quiet();
    assert.deepEqual(messages.map(shown).sort(), [
      'plant 1: retained plant',
      'plant/a 1: retained a',
      'plant/b 1: retained b, newer',
      'plant/c 1: retained c',
      'plant/expires 1: retained for 136 years',
      'plant/ü 1: retained ü',
    ]);
    const { properties } = messages.find(({ topicName }) => topicName === 'plant/expires')!;
    assert.equal(properties.contentType, 'text/plain');
    assert.deepEqual(properties.userProperties, [['origin', 'format 1']]);
    assert.ok(properties.messageExpiryInterval! > 1e9);
  });

  it('has the sessions, their subscriptions and what waits for them, in order of priority', async () => {
    const sleeper = await scene.connect({ clientId: 'sleeper', cleanStart: false });
    const found = [];
    for (let count = 0; count < 5; count++) found.push(await sleeper.message());
    assert.deepEqual(found.map(shown), [
      'alarm/1 2: an alarm overtakes',
      'orders/1 1: order 1 at QoS 1',
      'orders/2 2: order 2 at QoS 2',
      'orders/3 2: order 3',
      'orders/4 2: order 4, received once',
    ]);
    for (const { properties } of found) assert.deepEqual(properties.subscriptionIdentifiers, [7]);
    assert.ok(found[3]!.properties.messageExpiryInterval! > 1e9);
    // Retain as published and No Local are those of the subscription.
    await (await scene.connect()).deliver('options/x', 'kept flag', { qos: 1, retain: true });
    const flagged = await sleeper.message();
    assert.equal(flagged.retain, true);
    sleeper.publish('options/y', 'own');
    await sleeper.quiet();

    const old = await scene.open(4);
    const { sessionPresent } = await old.connect({ clientId: 'sleeper-3', cleanStart: false });
    assert.equal(sessionPresent, true);
    for (const [index, qos] of [1, 1, 1, 1].entries()) {
      const message = await old.message();
      assert.equal(message.topicName, `orders/${index + 1}`);
      assert.equal(message.qos, qos);
    }
    await old.quiet();
  });

  it('has what waits for a shared subscription', async () => {
    const member = await scene.connect({ clientId: 'member', cleanStart: false });
    for (const job of [1, 2, 3]) assert.equal(shown(await member.message()), `jobs/${job} 1: job ${job}`);
    await member.quiet();
  });

  it('goes on with messages in flight, each with its identifier', async () => {
    const receiver = await scene.connect({ clientId: 'receiver', cleanStart: false });
    const released: number[] = [];
    const messages: ReceivedMessage[] = [];
    while (messages.length + released.length < 3) {
      const { packet, bytes } = await receiver.next();
      if (packet.type === PacketType.Pubrel) released.push(packet.packetId);
      else {
        assert.equal(packet.type, PacketType.Publish, bytes.toString('hex'));
        if (packet.type !== PacketType.Publish) continue;
        assert.equal(packet.dup, true);
        messages.push({ ...packet, payload: Buffer.from(packet.payload).toString() } as unknown as ReceivedMessage);
      }
    }
    assert.deepEqual(messages.map(shown), ['flights/1 1: flight 1', 'flights/2 2: flight 2']);
    assert.deepEqual([...messages.map(({ packetId }) => packetId), ...released], [1, 2, 3]);
  });

  it('knows which QoS 2 messages it has received', async () => {
    const watcher = await scene.connect();
    await watcher.subscribe('orders/4', { qos: 2 });
    const sender = await scene.connect({ clientId: 'sender', cleanStart: false });
    sender.publish('orders/4', 'order 4, received once', { qos: 2, packetId: 77, dup: true });
    assert.equal((await sender.packet(PacketType.Pubrec)).reasonCode, ReasonCode.Success);
    sender.pubrel(77);
    assert.equal((await sender.packet(PacketType.Pubcomp)).reasonCode, ReasonCode.Success);
    await watcher.quiet();
  });

  it('has the wills: they are published when their session ends', async () => {
    const watcher = await scene.connect();
    await watcher.subscribe('wills/#', { qos: 1 });
    await scene.connect({ clientId: 'mourned', cleanStart: true });
    assert.equal(shown(await watcher.message()), 'wills/mourned 1: the will of mourned');
  });

  it('has the delayed message', () => {
    const [delayed, ...others] = scene.broker.delayedMessages();
    assert.deepEqual(others, []);
    assert.equal(delayed!.topicName, 'later/x');
    assert.equal(delayed!.payload.toString(), 'delayed');
    assert.equal(delayed!.dueAtMs, Date.UTC(2199, 0) + 3_600_000);
    assert.ok(scene.broker.cancelDelayed(delayed!.id));
  });
}
