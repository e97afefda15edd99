/** What waits for a shared group survives the broker, belongs to the group and not to a member, and is gone with the group. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { durable, numbers, payloadsOf, publishMany, takeAll, takeMessages } from './durable-scene.js';

const filter = '$share/workers/jobs/#';

describe('a shared group over restarts', () => {
  for (const way of ['restart', 'crash'] as const)
    durable(`what waits while no member is online waits on after a ${way}`, {}, async (durable, scene) => {
      const member = await scene().connect(scene().kept('member'));
      await member.subscribe(filter, { qos: 1 });
      await scene().leave(member);
      await publishMany(await scene().connect(), 100, (index) => `jobs/${index % 3}`, String);
      await durable[way]();
      await publishMany(
        await scene().connect(),
        50,
        () => 'jobs/new',
        (index) => `${100 + index}`,
      );
      await durable[way]();
      const back = await scene().connect(scene().kept('member'));
      assert.deepEqual(payloadsOf(await takeMessages(back, 150)), numbers(0, 150));
      await back.quiet();
    });

  durable(
    'what members have queued goes back to the group with a crash, what they were sent does not',
    {},
    async (durable, scene) => {
      const members = ['one', 'two'];
      for (const clientId of members) {
        const member = await scene().connect(scene().kept(clientId, { properties: { receiveMaximum: 2 } }));
        await member.subscribe(filter, { qos: 1 });
      }
      await publishMany(await scene().connect(), 40, () => 'jobs/x', String);
      await durable.crash();
      const third = await scene().connect();
      await third.subscribe(filter, { qos: 1 });
      const taken = payloadsOf(await takeMessages(third, 36));
      assert.deepEqual(taken.sort(byNumber), numbers(4, 40));
      await third.quiet();
      for (const clientId of members) {
        const back = await scene().connect(scene().kept(clientId));
        const own = await takeMessages(back, 2);
        assert.ok(own.every(({ dup }) => dup));
        await back.quiet();
      }
    },
  );

  durable('a clean stop loses nothing that members had', {}, async (durable, scene) => {
    for (const clientId of ['one', 'two']) {
      const member = await scene().connect(scene().kept(clientId, { properties: { receiveMaximum: 2 } }));
      await member.subscribe(filter, { qos: 1 });
    }
    await publishMany(await scene().connect(), 40, () => 'jobs/x', String);
    await durable.restart();
    const seen = new Set<string>();
    for (const clientId of ['one', 'two'])
      for (const { payload } of await takeAll(await scene().connect(scene().kept(clientId)))) seen.add(payload);
    assert.deepEqual([...seen].sort(byNumber), numbers(0, 40));
  });

  durable('order within a group is kept over a restart', {}, async (durable, scene) => {
    const member = await scene().connect(scene().kept('member', { properties: { receiveMaximum: 5 } }));
    await member.subscribe(filter, { qos: 1 });
    await publishMany(await scene().connect(), 60, () => 'jobs/x', String);
    await durable.crash();
    await publishMany(
      await scene().connect(),
      40,
      () => 'jobs/x',
      (index) => `${60 + index}`,
    );
    const back = await scene().connect(scene().kept('member', { properties: { receiveMaximum: 7 } }));
    assert.deepEqual(payloadsOf(await takeMessages(back, 100)), numbers(0, 100));
    await back.quiet();
  });

  durable(
    'a large message for sessions and a group outlives the sessions that had it first',
    {},
    async (durable, scene) => {
      const payload = 'x'.repeat(6000);
      for (const clientId of ['one', 'two']) {
        const reader = await scene().connect(scene().kept(clientId));
        await reader.subscribe('jobs/x', { qos: 1 });
        await scene().leave(reader);
      }
      const member = await scene().connect(scene().kept('member'));
      await member.subscribe(filter, { qos: 1 });
      await scene().leave(member);
      assert.equal(scene().broker.publish('jobs/x', payload, { qos: 1 }), 0);
      for (const clientId of ['one', 'two']) {
        const reader = await scene().connect(scene().kept(clientId));
        assert.equal((await takeMessages(reader, 1))[0]!.payload, payload);
        await reader.quiet();
      }
      const receiving = await scene().connect(scene().kept('member'));
      assert.equal((await receiving.message()).payload, payload);
      await durable.crash();
      const back = await scene().connect(scene().kept('member'));
      const [again] = await takeMessages(back, 1);
      assert.equal(again!.payload, payload);
      assert.ok(again!.dup);
    },
  );

  durable(
    'a group whose members were all sessions of one connection leaves nothing behind a crash',
    { config: { limits: { queueMessagesMax: 1 } } },
    async (durable, scene) => {
      const member = await scene().connect({ properties: { receiveMaximum: 1 } });
      await member.subscribe(filter, { qos: 1 });
      await publishMany(await scene().connect(), 10, () => 'jobs/x', String);
      await durable.crash();
      const other = await scene().connect();
      await other.subscribe(filter, { qos: 1 });
      await other.quiet();
      await scene().leave(other);
      assert.deepEqual(await durable.entries(), { c: 1 });
    },
  );

  durable('a group that ends takes what waited with it', {}, async (durable, scene) => {
    const member = await scene().connect(scene().kept('member'));
    await member.subscribe(filter, { qos: 1 });
    await scene().leave(member);
    await publishMany(await scene().connect(), 20, () => 'jobs/x', String);
    await durable.crash();
    await scene().connect({ clientId: 'member' }); // Clean Start ends the session, and with it the group
    const other = await scene().connect();
    await other.subscribe(filter, { qos: 1 });
    await other.quiet();
    const { g = 0, G = 0 } = await durable.entries();
    assert.deepEqual({ g, G }, { g: 0, G: 0 });
  });
});

const byNumber = (a: string, b: string): number => Number(a) - Number(b);
