/** Retained messages in storage: what a filter finds, over restarts, within limits, while others publish. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { Random } from '../../src/base/random.fuzz.js';
import { topicMatches } from '../../src/protocol/index.js';
import { durable, eventually, payloadsOf, publishMany, takeAll, takeMessages } from './durable-scene.js';

const levels = ['', 'a', 'b', 'Ä', '日本', '😀', '$x', 'a b', '\u0001', 'x'.repeat(1500), '\u00ff', '\uffee'];

function topicOf(random: Random): string {
  const name = Array.from({ length: 1 + random.below(4) }, () => random.pick(levels)).join('/');
  return name === '' ? '/' : name;
}

function filterOf(random: Random): string {
  const parts = Array.from({ length: 1 + random.below(4) }, () => (random.oneIn(3) ? '+' : random.pick(levels)));
  if (random.oneIn(2)) parts.push('#');
  const filter = parts.join('/');
  return filter === '' ? '#' : filter;
}

describe('retained messages', () => {
  durable(
    'are what a plain model says, for random topics and filters, over restarts',
    { config: { limits: { topicBytesMax: 65_535 } } },
    async (durable, scene) => {
      const random = new Random(5);
      const model = new Map<string, string>();
      for (let round = 0; round < 4; round++) {
        const publisher = await scene().connect();
        for (let count = 0; count < 150; count++) {
          const topicName = topicOf(random);
          if (random.oneIn(4)) {
            model.delete(topicName);
            await publisher.deliver(topicName, '', { qos: 1, retain: true });
          } else {
            model.set(topicName, `${round}.${count}`);
            await publisher.deliver(topicName, `${round}.${count}`, { qos: random.oneIn(2) ? 1 : 0, retain: true });
          }
        }
        if (round % 2) await durable.crash();
        else await durable.restart();
        assert.equal(scene().broker.status().messagesRetained, model.size);
        const reader = await scene().connect();
        for (const filter of [
          '#',
          '+',
          '+/+',
          '/#',
          '/+',
          '$x/#',
          '$x',
          'a/#',
          'a',
          '+/#',
          ...Array.from({ length: 60 }, () => filterOf(random)),
        ]) {
          await reader.subscribe(filter);
          const found = (await takeAll(reader)).map(({ topicName, payload }) => `${topicName}=${payload}`).sort();
          const expected = [...model]
            .filter(([name]) => topicMatches(filter, name))
            .map(([name, value]) => `${name}=${value}`);
          assert.deepEqual(found, expected.sort(), `filter ${JSON.stringify(filter).slice(0, 60)}`);
          await reader.unsubscribe(filter);
        }
      }
      for (const topicName of model.keys())
        await (await scene().connect()).deliver(topicName, '', { qos: 1, retain: true });
      const status = scene().broker.status();
      assert.deepEqual([status.messagesRetained, status.retainedMegabytes], [0, 0]);
      const { r = 0, x = 0 } = await durable.entries();
      assert.deepEqual({ r, x }, { r: 0, x: 0 });
    },
  );

  durable('are bounded in number', { config: { limits: { retainedMessagesMax: 3 } } }, async (durable, scene) => {
    for (const way of ['restart', 'crash'] as const) {
      const publisher = await scene().connect();
      for (let index = 0; index < 3; index++)
        assert.equal(await publisher.deliver(`r/${index}`, way, { qos: 1, retain: true }), 0x10);
      assert.equal(await publisher.deliver('r/more', 'x', { qos: 1, retain: true }), 0x97);
      assert.equal(await publisher.deliver('r/2', '', { qos: 1, retain: true }), 0x10);
      assert.equal(await publisher.deliver('r/2', 'again', { qos: 1, retain: true }), 0x10);
      await durable[way]();
      assert.equal(scene().broker.status().messagesRetained, 3);
      assert.equal(await (await scene().connect()).deliver('r/more', 'x', { qos: 1, retain: true }), 0x97);
    }
  });

  durable('are bounded in bytes', { config: { limits: { retainedBytesMax: 3000 } } }, async (durable, scene) => {
    const set = async (topicName: string, bytes: number) =>
      (await scene().connect({ clientId: 'p' })).deliver(topicName, 'x'.repeat(bytes), { qos: 1, retain: true });
    assert.equal(await set('a', 1999), 0x10);
    assert.equal(await set('b', 1000), 0x97);
    assert.equal(await set('b', 999), 0x10);
    await durable.crash();
    assert.equal(await set('c', 1), 0x97);
    assert.equal(await set('a', 2000), 0x97);
    assert.equal(await set('a', 500), 0x10);
    assert.equal(await set('c', 1), 0x10);
    await durable.restart();
    assert.equal(scene().broker.status().retainedMegabytes, (501 + 1000 + 2) / 1e6);
  });

  durable(
    'come no faster than they may',
    { config: { limits: { retainedPerSecondMax: 100 } } },
    async (_durable, scene) => {
      const publisher = await scene().connect();
      await publishMany(publisher, 150, (index) => `r/${index}`, String, { retain: true });
      const since = Date.now();
      const reader = await scene().connect();
      await reader.subscribe('r/#');
      await publisher.deliver('live', 'x');
      const messages = await takeMessages(reader, 150);
      assert.equal(new Set(payloadsOf(messages)).size, 150);
      // A second's worth at once, then a hundred in each.
      assert.ok(Date.now() - since >= 450, `${Date.now() - since} ms`);
      await reader.quiet();
    },
  );

  durable(
    'many come to a new subscriber while others publish and it gets what is new as well',
    { config: { limits: { queueMessagesMax: 100_000 } } },
    async (durable, scene) => {
      const count = 20_000;
      const { broker } = scene();
      for (let index = 0; index < count; index++) {
        broker.publish(`r/${index % 100}/${index}`, `${index}`, { retain: true, qos: 1 });
        if (index % 1000 === 0) await new Promise(setImmediate);
      }
      await durable.crash();
      assert.equal(scene().broker.status().messagesRetained, count);
      const reader = await scene().connect({ properties: { receiveMaximum: 50 } });
      const publisher = await scene().connect();
      reader.sendSubscribe('#', { qos: 1 });
      assert.equal((await reader.next()).packet.type, 9);
      let published = 0;
      const publishing = (async () => {
        for (; published < 1000; published++) await publisher.deliver(`live/${published}`, `${published}`, { qos: 1 });
      })();
      const retained = new Set<string>();
      const live: number[] = [];
      while (retained.size < count || live.length < 1000) {
        const { retain, payload, packetId } = await reader.message();
        if (retain) {
          assert.ok(!retained.has(payload), `retained ${payload} twice`);
          retained.add(payload);
        } else live.push(Number(payload));
        reader.puback(packetId);
      }
      await publishing;
      assert.deepEqual(
        live,
        Array.from({ length: 1000 }, (_, index) => index),
      );
      await reader.quiet();
    },
  );

  durable('that expired are not found, and their space comes back', {}, async (durable, scene) => {
    const publisher = await scene().connect();
    for (let index = 0; index < 100; index++)
      await publisher.deliver(`r/${index}`, 'x', {
        qos: 1,
        retain: true,
        ...(index % 2 ? {} : { properties: { messageExpiryInterval: 1 } }),
      });
    // One that is replaced does not expire with the former.
    await publisher.deliver('r/0', 'stays', { qos: 1, retain: true });
    const since = Date.now();
    await durable.crash();
    await eventually('the expiry interval to end', () => Date.now() > since + 1100);
    const reader = await scene().connect();
    await reader.subscribe('r/#');
    assert.equal((await takeAll(reader)).length, 51);
    await reader.subscribe('r/2');
    await reader.quiet();
    await eventually('the expired to be removed', () => scene().broker.status().messagesRetained === 51);
    assert.deepEqual(await durable.entries(), { c: 1, r: 51 });
  });
});
