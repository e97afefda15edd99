/** Everything that the broker promises to keep is there after a stop and after a crash, in each mode that stores; `memory` keeps nothing. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe } from 'node:test';
import { PacketType } from '../../src/protocol/index.js';
import {
  durable as durableTest,
  eventually,
  payloadsOf,
  publishMany,
  storedModes,
  takeMessages,
} from './durable-scene.js';

const kept = (clientId: string, receiveMaximum = 65535) => ({
  clientId,
  cleanStart: false,
  properties: { sessionExpiryInterval: 3600, receiveMaximum },
});

describe('after a restart or a crash', { concurrency: true }, () => {
  for (const mode of storedModes)
    for (const way of ['restart', 'crash'] as const) {
      const durable: typeof durableTest = (title, options, body) =>
        durableTest(`${title} (${way}, ${mode})`, { mode, ...options }, body);
      durable('subscriptions are there with all their options', {}, async (durable, scene) => {
        const { connect } = scene();
        const client = await connect(kept('reader'));
        await client.subscribe('own/#', { qos: 2, noLocal: true });
        await client.subscribe('rap/+', {
          qos: 1,
          retainAsPublished: true,
          properties: { subscriptionIdentifiers: [7] },
        });
        await client.subscribe(['two/a', 'two/+'], { qos: 1, properties: { subscriptionIdentifiers: [268_435_455] } });
        await client.subscribe('$share/g/shared/#', { qos: 1, properties: { subscriptionIdentifiers: [9] } });
        await client.subscribe(['gone', 'Ärger/日本/+'], { qos: 1 });
        await client.unsubscribe('gone');
        await durable[way]();

        assert.equal(scene().broker.status().subscriptions, 6);
        const back = await scene().open();
        assert.equal((await back.connect(kept('reader'))).sessionPresent, true);
        await back.deliver('own/x', 'mine', { qos: 1 });
        await back.quiet();
        const publisher = await scene().connect();
        for (const [topicName, retain] of [
          ['own/x', false],
          ['rap/x', true],
          ['two/a', true],
          ['shared/x', false],
          ['gone', false],
          ['Ärger/日本/1', false],
        ] as const)
          await publisher.deliver(topicName, 'p', { qos: 2, retain });
        const seen: unknown[] = [];
        for (let count = 0; count < 5; count++) {
          const { topicName, qos, retain, properties, packetId } = await back.message();
          seen.push([topicName, qos, retain, properties.subscriptionIdentifiers]);
          if (qos === 1) back.puback(packetId);
        }
        assert.deepEqual(seen, [
          ['own/x', 2, false, undefined],
          ['rap/x', 1, true, [7]],
          ['two/a', 1, false, [268_435_455, 268_435_455]],
          ['shared/x', 1, false, [9]],
          ['Ärger/日本/1', 1, false, undefined],
        ]);
        await back.quiet();
      });

      durable('what was in flight and what waited comes in order', {}, async (durable, scene) => {
        const client = await scene().connect(kept('reader', 4));
        await client.subscribe('q/#', { qos: 2 });
        const publisher = await scene().connect();
        for (let index = 0; index < 12; index++)
          await publisher.deliver(`q/${index}`, `${index}`, { qos: index % 2 ? 1 : 2 });
        const first = [await client.message(), await client.message(), await client.message(), await client.message()];
        // 0 is released on one side, 1 is done (and 4 comes), 2 and 3 are as they were
        client.pubrec(first[0]!.packetId);
        assert.equal((await client.packet(PacketType.Pubrel)).packetId, first[0]!.packetId);
        client.puback(first[1]!.packetId);
        const fourth = await client.message();
        assert.equal(fourth.payload, '4');
        await client.quiet();
        await durable[way]();

        for (let index = 12; index < 15; index++)
          await (await scene().connect({ clientId: 'again' })).deliver('q/late', `${index}`, { qos: 1 });
        const back = await scene().open();
        assert.equal((await back.connect(kept('reader', 4))).sessionPresent, true);
        assert.equal((await back.packet(PacketType.Pubrel)).packetId, first[0]!.packetId);
        for (const sent of [first[2]!, first[3]!, fourth]) {
          const { payload, packetId, qos, dup, topicName } = await back.message();
          assert.deepEqual(
            { payload, packetId, qos, dup, topicName },
            { payload: sent.payload, packetId: sent.packetId, qos: sent.qos, dup: true, topicName: sent.topicName },
          );
        }
        await back.quiet(); // four are open
        back.pubcomp(first[0]!.packetId);
        const rest: string[] = [];
        for (const sent of [first[2]!, first[3]!, fourth]) {
          if (sent.qos === 1) back.puback(sent.packetId);
          else back.pubrec(sent.packetId);
        }
        while (rest.length < 10) {
          const { packet } = await back.next();
          if (packet.type === PacketType.Pubrel) back.pubcomp(packet.packetId);
          else if (packet.type === PacketType.Publish) {
            assert.equal(packet.dup, false);
            rest.push(packet.payload.toString());
            if (packet.qos === 1) back.puback(packet.packetId!);
            else back.pubrec(packet.packetId!);
          } else assert.fail(`unexpected packet ${packet.type}`);
        }
        assert.deepEqual(rest, ['5', '6', '7', '8', '9', '10', '11', '12', '13', '14']);
      });

      durable('a repeated QoS 2 PUBLISH is not delivered twice', {}, async (durable, scene) => {
        const reader = await scene().connect(kept('reader'));
        await reader.subscribe('q', { qos: 1 });
        const publisher = await scene().connect(kept('publisher'));
        publisher.publish('q', 'once', { qos: 2, packetId: 11 });
        assert.equal((await publisher.packet(PacketType.Pubrec)).packetId, 11);
        publisher.publish('q', 'released', { qos: 2, packetId: 12 });
        await publisher.packet(PacketType.Pubrec);
        publisher.pubrel(12);
        await publisher.packet(PacketType.Pubcomp);
        await takeMessages(reader, 2);
        await reader.quiet();
        await durable[way]();

        const back = await scene().connect(kept('publisher'));
        back.publish('q', 'once', { qos: 2, packetId: 11, dup: true });
        assert.equal((await back.packet(PacketType.Pubrec)).reasonCode, 0);
        back.pubrel(11);
        assert.equal((await back.packet(PacketType.Pubcomp)).reasonCode, 0);
        back.pubrel(12);
        assert.equal((await back.packet(PacketType.Pubcomp)).reasonCode, 0x92);
        back.publish('q', 'another', { qos: 2, packetId: 11 });
        await back.packet(PacketType.Pubrec);
        const readerBack = await scene().connect(kept('reader'));
        assert.deepEqual(payloadsOf(await takeMessages(readerBack, 1)), ['another']);
        await readerBack.quiet();
      });

      durable('retained messages are there with their properties, and expire in time', {}, async (durable, scene) => {
        const publisher = await scene().connect();
        const properties = {
          payloadFormatIndicator: 1 as const,
          contentType: 'text/plain',
          responseTopic: 'answers',
          correlationData: Buffer.from([0, 255]),
          userProperties: [
            ['a', '1'],
            ['a', '2'],
          ] as [string, string][],
        };
        await publisher.deliver('r/all', 'value', { qos: 2, retain: true, properties });
        await publisher.deliver('r/expiry', 'old', {
          qos: 1,
          retain: true,
          properties: { messageExpiryInterval: 1000 },
        });
        await publisher.deliver('r/soon', 'gone', { qos: 1, retain: true, properties: { messageExpiryInterval: 1 } });
        await publisher.deliver('r/removed', 'x', { qos: 1, retain: true });
        await publisher.deliver('r/removed', '', { qos: 1, retain: true });
        await publisher.deliver('r/replaced', 'x', { qos: 1, retain: true });
        await publisher.deliver('r/replaced', 'y', { qos: 0, retain: true });
        const since = Date.now();
        await durable[way]();
        await eventually('the expiry interval to end', () => Date.now() > since + 1100);
        const reader = await scene().connect();
        await reader.subscribe('r/#', { qos: 2 });
        const found = [await reader.message(), await reader.message(), await reader.message()];
        await reader.quiet();
        const by = new Map(found.map((message) => [message.topicName, message]));
        assert.deepEqual([...by.keys()].sort(), ['r/all', 'r/expiry', 'r/replaced']);
        assert.deepEqual(by.get('r/all')!.properties, properties);
        assert.deepEqual([by.get('r/all')!.qos, by.get('r/all')!.retain, by.get('r/all')!.payload], [2, true, 'value']);
        assert.equal(by.get('r/replaced')!.payload, 'y');
        const left = by.get('r/expiry')!.properties.messageExpiryInterval!;
        assert.ok(left < 1000 && left >= 900, `${left} s left`);
        await eventually('the expired one to be removed', () => scene().broker.status().messagesRetained === 3);
      });

      durable('the broker is the same one', {}, async (durable) => {
        const identity = () =>
          (JSON.parse(readFileSync(`${durable.folder}/manifest`, 'utf8').split('\n')[0]!) as { identity: string })
            .identity;
        const before = identity();
        assert.match(before, /^[0-9a-f-]{36}$/);
        await durable[way]();
        assert.equal(identity(), before);
      });
    }
});

describe('time goes on while the broker is down', { concurrency: true }, () => {
  durableTest('a session that expired meanwhile is gone, one with time left is not', {}, async (durable, scene) => {
    for (const [clientId, sessionExpiryInterval] of [
      ['short', 1],
      ['long', 3600],
      ['for-ever', 0xffffffff],
    ] as const) {
      const client = await scene().connect({ clientId, properties: { sessionExpiryInterval } });
      await client.subscribe('q', { qos: 1 });
      await scene().leave(client);
    }
    await publishMany(await scene().connect(), 3, () => 'q', String);
    const since = Date.now();
    await scene().stop();
    await eventually('the expiry interval to end', () => Date.now() > since + 1200);
    await durable.start();
    await eventually('the session to end', () => scene().broker.status().sessions === 2);
    for (const [clientId, present] of [
      ['short', false],
      ['long', true],
      ['for-ever', true],
    ] as const) {
      const client = await scene().open();
      const connack = await client.connect({ clientId, cleanStart: false });
      assert.equal(connack.sessionPresent, present, clientId);
      if (present) assert.equal((await takeMessages(client, 3)).length, 3);
      await client.quiet();
    }
  });

  durableTest('messages that expired meanwhile are not delivered', {}, async (durable, scene) => {
    const reader = await scene().connect(kept('reader'));
    await reader.subscribe('q', { qos: 1 });
    await scene().leave(reader);
    const publisher = await scene().connect();
    for (let index = 0; index < 10; index++)
      await publisher.deliver('q', `${index}`, { qos: 1, properties: { messageExpiryInterval: index % 2 ? 1 : 1000 } });
    const since = Date.now();
    await scene().stop();
    await eventually('the expiry interval to end', () => Date.now() > since + 1100);
    await durable.start();
    const back = await scene().connect(kept('reader'));
    const messages = await takeMessages(back, 5);
    assert.deepEqual(payloadsOf(messages), ['0', '2', '4', '6', '8']);
    assert.ok(messages.every(({ properties }) => properties.messageExpiryInterval! < 1000));
    await back.quiet();
    await eventually('the queue to be empty', () => scene().broker.status().queuedMegabytes === 0);
  });
});

describe('wills over restarts', { concurrency: true }, () => {
  const will = (delay: number, more: object = {}) => ({
    will: {
      topicName: 'wills',
      payload: Buffer.from('gone'),
      qos: 1 as const,
      retain: false,
      properties: {
        willDelayInterval: delay,
        contentType: 'text/plain',
        userProperties: [['k', 'v']] as [string, string][],
      },
      ...more,
    },
  });

  for (const way of ['restart', 'crash'] as const) {
    durableTest(`the will of a client that was connected is published after a ${way}`, {}, async (durable, scene) => {
      const watcher = await scene().connect(kept('watcher'));
      await watcher.subscribe('wills', { qos: 1 });
      await scene().connect({ clientId: 'mourned', ...will(0) });
      await scene().connect({ ...kept('mourned too'), ...will(0) });
      const polite = await scene().connect({ clientId: 'polite', ...will(0) });
      await scene().leave(polite);
      await durable[way]();
      const back = await scene().connect(kept('watcher'));
      const messages = await takeMessages(back, 2);
      for (const { payload, properties } of messages) {
        assert.equal(payload, 'gone');
        assert.deepEqual(properties, { contentType: 'text/plain', userProperties: [['k', 'v']] });
      }
      await back.quiet();
      await durable.restart();
      const once = await scene().connect(kept('watcher'));
      await once.quiet();
    });

    durableTest(
      `a delayed will waits on over a ${way}, and a client that is back in time has none`,
      {},
      async (durable, scene) => {
        const watcher = await scene().connect(kept('watcher'));
        await watcher.subscribe('wills', { qos: 1 });
        const late = await scene().connect({ ...kept('late'), ...will(2, { payload: Buffer.from('late') }) });
        const back = await scene().connect({ ...kept('back'), ...will(3600, { payload: Buffer.from('back') }) });
        const since = Date.now();
        await scene().drop(late);
        await scene().drop(back);
        await durable[way]();
        await scene().connect(kept('back'));
        const returned = await scene().connect(kept('watcher'));
        const { payload } = await returned.message();
        assert.equal(payload, 'late');
        assert.ok(Date.now() - since >= 2000);
        await returned.quiet();
        assert.equal((await durable.entries()).w, undefined);
      },
    );
  }

  durableTest('a retained will is stored', {}, async (durable, scene) => {
    await scene().connect({ ...kept('mourned'), ...will(0, { retain: true }) });
    await durable.crash();
    const reader = await scene().connect();
    await reader.subscribe('wills');
    assert.equal((await reader.message()).retain, true);
  });
});

durableTest('mode memory keeps nothing and writes nothing', { mode: 'memory' }, async (durable, scene) => {
  const client = await scene().connect(kept('reader'));
  await client.subscribe('q', { qos: 1 });
  await scene().leave(client);
  await (await scene().connect()).deliver('q', 'x', { qos: 1, retain: true });
  assert.equal(scene().broker.status().sessions, 2);
  assert.throws(() => durable.bytes, { code: 'ENOENT' });
  await durable.restart();
  const status = scene().broker.status();
  assert.deepEqual([status.sessions, status.subscriptions, status.messagesRetained], [0, 0, 0]);
  const back = await scene().open();
  assert.equal((await back.connect(kept('reader'))).sessionPresent, false);
});
