/** `$delayed/<seconds>/<topic>`: published later, in order, over restarts; listed, cancelled, refused. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { durable as durableTest, eventually, numbers, payloadsOf, publishMany, takeMessages } from './durable-scene.js';

const kept = (clientId: string) => ({ clientId, cleanStart: false, properties: { sessionExpiryInterval: 3600 } });

describe('delayed messages', { concurrency: true }, () => {
  for (const mode of ['memory', 'buffered', 'sync'] as const) {
    const durable: typeof durableTest = (title, options, body) =>
      durableTest(`${title} (${mode})`, { mode, ...options }, body);

    durable('come in the order of their times, with all they carry', {}, async (_durable, scene) => {
      const reader = await scene().connect({ clientId: 'reader' });
      await reader.subscribe('later/#', { qos: 2, retainAsPublished: true });
      await reader.subscribe('$delayed/#', { qos: 2 });
      const publisher = await scene().connect();
      const since = Date.now();
      const properties = { contentType: 'text/plain', userProperties: [['k', 'v']] as [string, string][] };
      assert.equal(await publisher.deliver('$delayed/2/later/second', '2', { qos: 1 }), 0);
      assert.equal(await publisher.deliver('$delayed/1/later/first', '1', { qos: 2, retain: true, properties }), 0);
      await publisher.deliver('$delayed/2/later/third', '3', { qos: 0 });
      assert.deepEqual(
        scene()
          .broker.delayedMessages()
          .map(({ topicName, qos, retain }) => [topicName, qos, retain]),
        [
          ['later/first', 2, true],
          ['later/second', 1, false],
          ['later/third', 0, false],
        ],
      );
      await reader.quiet();
      const first = await reader.message();
      assert.ok(Date.now() - since >= 1000);
      assert.deepEqual(
        [first.topicName, first.payload, first.qos, first.retain, first.properties],
        ['later/first', '1', 2, true, properties],
      );
      const rest = [await reader.message(), await reader.message()];
      assert.ok(Date.now() - since >= 2000);
      assert.deepEqual(
        rest.map(({ topicName, qos }) => [topicName, qos]),
        [
          ['later/second', 1],
          ['later/third', 0],
        ],
      );
      assert.deepEqual(scene().broker.delayedMessages(), []);
      const late = await scene().connect();
      await late.subscribe('#', { qos: 2 });
      const stored = await late.message();
      assert.deepEqual([stored.topicName, stored.retain, stored.payload], ['later/first', true, '1']);
      await late.quiet();
    });

    durable('are cancelled by their ids', {}, async (_durable, scene) => {
      const { broker } = scene();
      const publisher = await scene().connect();
      for (let index = 0; index < 3; index++) await publisher.deliver('$delayed/1000/x', `${index}`, { qos: 1 });
      const [one, two, three] = broker.delayedMessages();
      assert.equal(broker.cancelDelayed(two!.id), true);
      assert.equal(broker.cancelDelayed(two!.id), false);
      assert.throws(() => broker.cancelDelayed('no id'), { code: 'DELAYED_ID_INVALID', message: /"no id"/ });
      assert.deepEqual(broker.delayedMessages(), [one, three]);
      assert.equal(one!.payload.toString(), '0');
      assert.ok(Math.abs(one!.dueAtMs - Date.now() - 1_000_000) < 60_000);
    });

    durable(
      'are refused where the topic is none',
      { config: { limits: { delayedMessagesMax: 2 } } },
      async (_durable, scene) => {
        const publisher = await scene().connect();
        for (const topicName of [
          '$delayed/',
          '$delayed/5',
          '$delayed/5/',
          '$delayed//x',
          '$delayed/x/y',
          '$delayed/-1/x',
          '$delayed/1.5/x',
          '$delayed/4294968/x',
          '$delayed/99999999/x',
          '$delayed/5/$delayed/5/x',
        ])
          for (const qos of [1, 2] as const)
            assert.equal(await publisher.deliver(topicName, 'x', { qos }), 0x90, topicName);
        await publisher.deliver('$delayed/nonsense', 'x', { qos: 0 });
        assert.deepEqual(scene().broker.delayedMessages(), []);
        for (let index = 0; index < 2; index++)
          assert.equal(await publisher.deliver('$delayed/4294967/x', 'x', { qos: 1 }), 0);
        assert.equal(await publisher.deliver('$delayed/1000/x', 'x', { qos: 1 }), 0x97);
        scene().broker.cancelDelayed(scene().broker.delayedMessages()[0]!.id);
        assert.equal(await publisher.deliver('$delayed/1000/x', 'x', { qos: 1 }), 0);
        const old = await scene().connect({ version: 4 });
        assert.equal(await old.deliver('$delayed/x', 'x', { qos: 1 }), 0);
        assert.equal(scene().broker.delayedMessages().length, 2);
      },
    );

    durable(
      'that expire before their time are not published, and the interval counts from the first publish',
      {},
      async (_durable, scene) => {
        const reader = await scene().connect();
        await reader.subscribe('x/#', { qos: 1 });
        const publisher = await scene().connect();
        await publisher.deliver('$delayed/2/x/short', 'x', { qos: 1, properties: { messageExpiryInterval: 1 } });
        await publisher.deliver('$delayed/2/x/long', 'x', { qos: 1, properties: { messageExpiryInterval: 100 } });
        const { topicName, properties } = await reader.message();
        assert.equal(topicName, 'x/long');
        assert.ok(properties.messageExpiryInterval! <= 98, `${properties.messageExpiryInterval}`);
        await reader.quiet();
        assert.deepEqual(scene().broker.delayedMessages(), []);
      },
    );
  }
});

describe('the right to publish later', () => {
  const asked: string[] = [];
  durableTest(
    'is asked for the topic that is published to',
    {
      policy: {
        authorizePublish: (_client, topicName) => {
          asked.push(topicName);
          return topicName === 'secret' ? 0x87 : 0;
        },
      },
    },
    async (_durable, scene) => {
      const publisher = await scene().connect();
      assert.equal(await publisher.deliver('$delayed/1000/secret', 'x', { qos: 1 }), 0x87);
      assert.equal(await publisher.deliver('$delayed/1000/open', 'x', { qos: 1 }), 0);
      await publisher.deliver('$delayed/1000/secret', 'x', { qos: 0 });
      assert.deepEqual(asked, ['secret', 'open', 'secret']);
      assert.equal(scene().broker.delayedMessages().length, 1);
    },
  );
});

describe('delayed messages over restarts', { concurrency: true }, () => {
  for (const way of ['restart', 'crash'] as const)
    durableTest(
      `wait on over a ${way}; those whose time has passed are published at once`,
      {},
      async (durable, scene) => {
        const reader = await scene().connect(kept('reader'));
        await reader.subscribe('x', { qos: 1 });
        const publisher = await scene().connect();
        for (let index = 0; index < 5; index++) await publisher.deliver('$delayed/1/x', `${index}`, { qos: 1 });
        const since = Date.now();
        await publisher.deliver('$delayed/3/x', '5', { qos: 1 });
        await publisher.deliver('$delayed/4000/x', 'far', { qos: 1 });
        await scene().leave(reader);
        if (way === 'restart') {
          await scene().stop();
          await eventually('the time to pass', () => Date.now() > since + 1100);
          await durable.start();
        } else await durable.crash();
        const back = await scene().connect(kept('reader'));
        assert.deepEqual(payloadsOf(await takeMessages(back, 6)), ['0', '1', '2', '3', '4', '5']);
        assert.ok(Date.now() - since >= 2900);
        await back.quiet();
        await durable[way]();
        assert.deepEqual(
          scene()
            .broker.delayedMessages()
            .map(({ payload }) => payload.toString()),
          ['far'],
        );
        await (await scene().connect(kept('reader'))).quiet();
        const [far] = scene().broker.delayedMessages();
        assert.equal(scene().broker.cancelDelayed(far!.id), true);
        await (await scene().connect()).quiet(); // the turn is over, so it is stored
        await durable[way]();
        assert.deepEqual(scene().broker.delayedMessages(), []);
      },
    );

  durableTest('many at the same second come in order', {}, async (durable, scene) => {
    const reader = await scene().connect(kept('reader'));
    await reader.subscribe('x', { qos: 1 });
    await publishMany(await scene().connect(), 900, () => '$delayed/1/x', String);
    await durable.crash();
    const back = await scene().connect(kept('reader'));
    const messages = await takeMessages(back, 900);
    // Those of one second were accepted in several, perhaps: their order is that of their times all the same.
    assert.deepEqual(payloadsOf(messages), numbers(0, 900));
    await back.quiet();
  });
});
