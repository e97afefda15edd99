/** Priorities and durability by topic filter: what overtakes what, and what a restart keeps of it. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { durable, numbers, payloadsOf, publishMany, takeAll, takeMessages } from './durable-scene.js';

const kept = (clientId: string, receiveMaximum = 65535) => ({
  clientId,
  cleanStart: false,
  properties: { sessionExpiryInterval: 3600, receiveMaximum },
});

const priorities = [
  { filter: 'alarm/#', priority: 40 },
  { filter: 'bulk/+/low', priority: 3 },
];

const alarms = (from: number, to: number) => numbers(from, to).map((number) => `alarm ${number}`);

describe('priorities', () => {
  for (const way of ['no restart', 'restart', 'crash'] as const)
    durable(
      `alarms overtake what waits for a client that is away (${way})`,
      { config: { priorities } },
      async (durable, scene) => {
        const reader = await scene().connect(kept('reader'));
        await reader.subscribe('#', { qos: 1 });
        await scene().leave(reader);
        const publisher = await scene().connect();
        await publishMany(
          publisher,
          20,
          () => 'bulk/x/low',
          (index) => `low ${index}`,
        );
        await publishMany(publisher, 500, (index) => `bulk/${index}`, String);
        await publishMany(
          publisher,
          200,
          (index) => `alarm/${index % 7}`,
          (index) => `alarm ${index}`,
        );
        await publishMany(
          publisher,
          10,
          () => 'bulk/last',
          (index) => `${500 + index}`,
        );
        if (way !== 'no restart') await durable[way]();
        const back = await scene().connect(kept('reader', 20));
        const all = payloadsOf(await takeMessages(back, 730));
        assert.deepEqual(all, [
          ...alarms(0, 200),
          ...numbers(0, 510),
          ...numbers(0, 20).map((number) => `low ${number}`),
        ]);
        await back.quiet();
      },
    );

  durable(
    'alarms overtake what waits for a client that is slow',
    { config: { priorities } },
    async (durable, scene) => {
      const reader = await scene().connect(kept('reader', 5));
      await reader.subscribe('#', { qos: 1 });
      const publisher = await scene().connect();
      await publishMany(publisher, 400, () => 'bulk/x', String);
      await publishMany(
        publisher,
        150,
        () => 'alarm/x',
        (index) => `alarm ${index}`,
      );
      // Five are on their way; the alarms come next.
      assert.deepEqual(payloadsOf(await takeMessages(reader, 100)), [...numbers(0, 5), ...alarms(0, 95)]);
      // Some more are on their way now, sent after those that were acknowledged.
      await publishMany(
        publisher,
        10,
        () => 'alarm/x',
        (index) => `alarm ${150 + index}`,
      );
      await durable.crash();
      const back = await scene().connect(kept('reader', 5));
      assert.deepEqual(payloadsOf(await takeMessages(back, 460)), [...alarms(95, 160), ...numbers(5, 400)]);
      await back.quiet();
    },
  );

  durable(
    'what was in flight is sent again in the order in which it was sent',
    { config: { priorities } },
    async (durable, scene) => {
      const reader = await scene().connect(kept('reader', 2));
      await reader.subscribe('#', { qos: 1 });
      const publisher = await scene().connect();
      await publishMany(publisher, 4, () => 'bulk/x', String);
      await publishMany(
        publisher,
        1,
        () => 'alarm/x',
        () => 'alarm',
      );
      reader.puback((await reader.message()).packetId);
      reader.puback((await reader.message()).packetId);
      const sent = [await reader.message(), await reader.message()].map(({ payload }) => payload);
      assert.deepEqual(sent, ['alarm', '2']);
      await durable.crash();
      const back = await scene().connect(kept('reader', 2));
      assert.deepEqual(payloadsOf(await takeMessages(back, 3)), ['alarm', '2', '3']);
    },
  );

  durable(
    'what waits for a group keeps its priority over a restart',
    { config: { priorities } },
    async (durable, scene) => {
      const member = await scene().connect(kept('member'));
      await member.subscribe('$share/g/#', { qos: 1 });
      await scene().leave(member);
      const publisher = await scene().connect();
      await publishMany(publisher, 50, () => 'bulk/x', String);
      await publishMany(
        publisher,
        5,
        () => 'alarm/x',
        (index) => `alarm ${index}`,
      );
      await durable.crash();
      const back = await scene().connect(kept('member', 1));
      const all = payloadsOf(await takeMessages(back, 55));
      // A group hands on in order; whoever has no room for all of it lets alarms pass what waits.
      assert.deepEqual(
        all.filter((payload) => payload.startsWith('alarm')),
        alarms(0, 5),
      );
      assert.equal(all[1], 'alarm 0');
    },
  );
});

describe('a queue that is full', () => {
  durable(
    'does not drop an alarm for what is less urgent',
    { config: { priorities, limits: { queueMessagesMax: 5 } } },
    async (_durable, scene) => {
      const reader = await scene().connect(kept('reader'));
      await reader.subscribe('#', { qos: 1 });
      await scene().leave(reader);
      const publisher = await scene().connect();
      await publishMany(
        publisher,
        5,
        () => 'alarm/x',
        (index) => `alarm ${index}`,
      );
      await publishMany(publisher, 20, () => 'bulk/x', String);
      const back = await scene().connect(kept('reader'));
      assert.deepEqual(payloadsOf(await takeAll(back)), alarms(0, 5));
    },
  );

  durable(
    'drops the least urgent for an alarm',
    { config: { priorities, limits: { queueMessagesMax: 10 } } },
    async (durable, scene) => {
      const reader = await scene().connect(kept('reader'));
      await reader.subscribe('#', { qos: 1 });
      await scene().leave(reader);
      const publisher = await scene().connect();
      await publishMany(publisher, 10, () => 'bulk/x', String);
      await durable.restart();
      await publishMany(
        await scene().connect(),
        7,
        () => 'alarm/x',
        (index) => `alarm ${index}`,
      );
      const back = await scene().connect(kept('reader'));
      assert.deepEqual(payloadsOf(await takeAll(back)), [...alarms(0, 7), '7', '8', '9']);
    },
  );
});

describe('durability by topic', () => {
  const durability = [
    { filter: 'bulk/#', mode: 'memory' as const },
    { filter: 'alarm/#', mode: 'sync' as const },
  ];

  durable('mode memory: delivered, but not stored', { config: { durability } }, async (durable, scene) => {
    const online = await scene().connect(kept('online'));
    await online.subscribe('#', { qos: 2 });
    const away = await scene().connect(kept('away'));
    await away.subscribe('#', { qos: 1 });
    await scene().leave(away);
    const publisher = await scene().connect();
    const before = durable.bytes;
    await publishMany(publisher, 100, () => 'bulk/x', String);
    await publisher.deliver('bulk/kept', 'retained', { qos: 1, retain: true });
    assert.ok(durable.bytes - before < 100, `${durable.bytes - before} bytes written`);
    assert.deepEqual(payloadsOf(await takeAll(online)), [...numbers(0, 100), 'retained']);
    const back = await scene().connect(kept('away'));
    assert.deepEqual(payloadsOf(await takeMessages(back, 101)), [...numbers(0, 100), 'retained']);
    await scene().leave(back);
    await publishMany(publisher, 10, () => 'bulk/x', String);
    await publishMany(
      publisher,
      10,
      () => 'alarm/x',
      (index) => `alarm ${index}`,
    );
    await publishMany(
      publisher,
      10,
      () => 'other',
      (index) => `other ${index}`,
    );
    await durable.restart();
    assert.equal(scene().broker.status().messagesRetained, 0);
    const after = await scene().connect(kept('away'));
    assert.deepEqual(payloadsOf(await takeMessages(after, 20)), [
      ...alarms(0, 10),
      ...numbers(0, 10).map((number) => `other ${number}`),
    ]);
    await after.quiet();
  });

  durable(
    'mode memory: what was in flight is sent again while the broker runs',
    { config: { durability } },
    async (_durable, scene) => {
      const reader = await scene().connect(kept('reader', 2));
      await reader.subscribe('#', { qos: 2 });
      const publisher = await scene().connect();
      for (let index = 0; index < 4; index++) await publisher.deliver('bulk/x', `${index}`, { qos: 1 });
      const sent = [await reader.message(), await reader.message()];
      await scene().drop(reader);
      const back = await scene().connect(kept('reader', 2));
      for (const { packetId, payload } of sent) {
        const again = await back.message();
        assert.deepEqual([again.packetId, again.payload, again.dup], [packetId, payload, true]);
        back.puback(packetId);
      }
      assert.deepEqual(payloadsOf(await takeMessages(back, 2)), ['2', '3']);
      await back.quiet();
    },
  );

  durable('a topic that is not stored any more leaves no stored message behind', {}, async (durable, scene) => {
    const publisher = await scene().connect();
    await publisher.deliver('bulk/x', 'old', { qos: 1, retain: true });
    await durable.restart({ config: { durability } });
    const again = await scene().connect();
    await again.deliver('bulk/x', 'new', { qos: 1, retain: true });
    const reader = await scene().connect();
    await reader.subscribe('bulk/#');
    assert.deepEqual(payloadsOf(await takeAll(reader)), ['new']);
    await again.deliver('bulk/x', '', { qos: 1, retain: true });
    await durable.restart();
    assert.equal(scene().broker.status().messagesRetained, 0);
  });
});
