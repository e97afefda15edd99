/** Retained messages and what a subscription says about them (v5 §3.3.1.3 and §3.8.3.1, 3.1.1 §3.3.1.3). */
import assert from 'node:assert/strict';
import { all, conformance, v3, v4, v4v5, v5 } from '../support/conformance.js';
import type { Scene } from '../support/scene.js';

/** What a new subscriber gets for `filter`: topic names, payloads, QoS. */
async function stored(scene: Scene, filter = 't'): Promise<[string, string, number][]> {
  const subscriber = await scene.connect();
  await subscriber.subscribe([filter, 'end'], { qos: 2 });
  const publisher = await scene.connect();
  await publisher.deliver('end', '');
  const messages: [string, string, number][] = [];
  for (;;) {
    const { topicName, payload, qos } = await subscriber.message();
    if (topicName === 'end') return messages;
    messages.push([topicName, payload, qos]);
  }
}

conformance(
  '[MQTT-3.3.1-5] [MQTT3-3.3.1-5] [MQTT3-3.3.1-6] a message with RETAIN 1 is stored with its QoS, in the place of the one before, and sent to new subscriptions',
  all,
  async (scene) => {
    const publisher = await scene.connect();
    await publisher.deliver('t', 'first', { retain: true });
    assert.deepEqual(await stored(scene), [['t', 'first', 0]]);
    for (const qos of [2, 1, 0] as const) {
      await publisher.deliver('t', `at ${qos}`, { retain: true, qos });
      assert.deepEqual(await stored(scene), [['t', `at ${qos}`, qos]]);
    }
    await publisher.deliver('u', 'other', { retain: true });
    assert.deepEqual((await stored(scene, '+')).sort(), [
      ['t', 'at 0', 0],
      ['u', 'other', 0],
    ]);
  },
);

conformance('[MQTT3-3.3.1-7] a QoS 0 message with RETAIN 1 discards the stored message', v4, async (scene) => {
  const publisher = await scene.connect();
  await publisher.deliver('t', 'old', { retain: true, qos: 2 });
  await publisher.deliver('t', 'new', { retain: true, qos: 0 });
  assert.deepEqual(await stored(scene), [['t', 'new', 0]]);
});

conformance(
  '[MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT3-3.3.1-10] [MQTT3-3.3.1-11] an empty message with RETAIN 1 goes to subscribers and removes the stored one',
  all,
  async (scene) => {
    const publisher = await scene.connect();
    const subscriber = await scene.connect();
    await subscriber.subscribe('t', { qos: 1 });
    await publisher.deliver('u', 'stays', { retain: true });
    for (const qos of [0, 1] as const) {
      await publisher.deliver('t', 'stored', { retain: true });
      assert.equal((await subscriber.message()).payload, 'stored');
      await publisher.deliver('t', '', { retain: true, qos });
      const empty = await subscriber.message();
      assert.deepEqual([empty.topicName, empty.payload, empty.retain], ['t', '', false]);
      assert.deepEqual(await stored(scene, '+'), [['u', 'stays', 0]]);
    }
  },
);

conformance(
  '[MQTT-3.3.1-8] [MQTT3-3.3.1-12] a message with RETAIN 0 is not stored and leaves the stored one alone',
  all,
  async (scene) => {
    const publisher = await scene.connect();
    await publisher.deliver('t', 'passing', { qos: 1 });
    assert.deepEqual(await stored(scene), []);
    await publisher.deliver('t', 'stored', { retain: true });
    await publisher.deliver('t', 'passing', { qos: 1 });
    await publisher.deliver('t', '', { qos: 1 });
    await publisher.deliver('t', '');
    assert.deepEqual(await stored(scene), [['t', 'stored', 0]]);
  },
);

conformance(
  '[MQTT3-3.3.1-8] [MQTT3-3.3.1-9] RETAIN is 1 for a new subscription and 0 for an established one',
  v3,
  async ({ connect }) => {
    const publisher = await connect();
    await publisher.deliver('t', 'stored', { retain: true });
    const subscriber = await connect();
    await subscriber.subscribe('t');
    assert.equal((await subscriber.message()).retain, true);
    for (const retain of [true, false]) {
      await publisher.deliver('t', 'live', { retain });
      assert.equal((await subscriber.message()).retain, false);
    }
  },
);

conformance('[MQTT-3.3.1-9] with Retain Handling 0 every subscription gets the stored messages', v5, async (scene) => {
  const publisher = await scene.connect();
  await publisher.deliver('a/1', '1', { retain: true });
  await publisher.deliver('a/2', '2', { retain: true });
  await publisher.deliver('b', 'no', { retain: true });
  const subscriber = await scene.connect();
  for (let count = 0; count < 2; count++) {
    await subscriber.subscribe('a/#', { retainHandling: 0 });
    const messages = [await subscriber.message(), await subscriber.message()];
    assert.deepEqual(messages.map(({ payload, retain }) => [payload, retain]).sort(), [
      ['1', true],
      ['2', true],
    ]);
    await subscriber.quiet();
  }
});

conformance(
  '[MQTT-3.3.1-10] with Retain Handling 1 only a new subscription gets the stored messages',
  v5,
  async (scene) => {
    await (await scene.connect()).deliver('t', 'stored', { retain: true });
    const subscriber = await scene.connect();
    await subscriber.subscribe('t', { retainHandling: 1 });
    assert.equal((await subscriber.message()).payload, 'stored');
    await subscriber.subscribe('t', { retainHandling: 1, qos: 1 });
    await subscriber.quiet();
    await subscriber.subscribe('+', { retainHandling: 1 });
    assert.equal((await subscriber.message()).payload, 'stored', 'another filter is another subscription');
    await subscriber.unsubscribe('t');
    await subscriber.subscribe('t', { retainHandling: 1 });
    assert.equal((await subscriber.message()).payload, 'stored', 'it did not exist any more');
  },
);

conformance('[MQTT-3.3.1-10] a subscription of a resumed session exists already', v5, async (scene) => {
  const { connect, kept, drop } = scene;
  await (await connect()).deliver('t', 'stored', { retain: true });
  const first = await connect(kept('back'));
  await first.subscribe('t', { retainHandling: 1 });
  await first.message();
  await drop(first);
  const second = await connect(kept('back'));
  await second.subscribe('t', { retainHandling: 1 });
  await second.quiet();
});

conformance('[MQTT-3.3.1-11] with Retain Handling 2 no subscription gets the stored messages', v5, async (scene) => {
  const publisher = await scene.connect();
  await publisher.deliver('t', 'stored', { retain: true });
  const subscriber = await scene.connect();
  for (let count = 0; count < 2; count++) {
    await subscriber.subscribe('t', { retainHandling: 2 });
    await subscriber.quiet();
  }
  await publisher.deliver('t', 'live', { retain: true });
  assert.equal((await subscriber.message()).payload, 'live');
});

conformance('[MQTT-3.3.1-12] with Retain As Published 0 RETAIN is 0 on the way', v5, async ({ connect }) => {
  const publisher = await connect();
  const subscriber = await connect();
  await subscriber.subscribe('t', { retainAsPublished: false, qos: 1 });
  for (const qos of [0, 1] as const)
    for (const retain of [true, false]) {
      await publisher.deliver('t', 'x', { retain, qos });
      assert.equal((await subscriber.message()).retain, false);
    }
});

conformance('[MQTT-3.3.1-13] with Retain As Published 1 RETAIN is as it was published', v5, async ({ connect }) => {
  const publisher = await connect();
  const subscriber = await connect();
  await subscriber.subscribe('t', { retainAsPublished: true, qos: 1 });
  for (const qos of [0, 1] as const)
    for (const retain of [true, false]) {
      await publisher.deliver('t', 'x', { retain, qos });
      assert.equal((await subscriber.message()).retain, retain);
    }
});

conformance(
  '[MQTT-3.3.1-12] [MQTT-3.3.1-13] RETAIN of a queued message follows Retain As Published too',
  v5,
  async ({ connect, kept, drop }) => {
    const subscriber = await connect(kept('away'));
    await subscriber.subscribe('as-published', { retainAsPublished: true, qos: 1 });
    await subscriber.subscribe('plain', { qos: 1 });
    await drop(subscriber);
    const publisher = await connect();
    for (const topicName of ['as-published', 'plain'])
      await publisher.deliver(topicName, 'x', { retain: true, qos: 1 });
    const back = await connect(kept('away'));
    assert.equal((await back.message()).retain, true);
    assert.equal((await back.message()).retain, false);
  },
);

conformance(
  '[MQTT-3.8.4-3] [MQTT-3.8.4-4] [MQTT3-3.8.4-3] a subscription with the same filter replaces the one before: its QoS counts, stored messages come again, none is lost or doubled',
  all,
  async ({ connect }) => {
    const publisher = await connect();
    const subscriber = await connect();
    await publisher.deliver('t', 'stored', { retain: true, qos: 2 });
    for (const qos of [0, 2, 1] as const) {
      assert.deepEqual(await subscriber.subscribe('t', { qos }), [qos]);
      const again = await subscriber.message();
      assert.deepEqual([again.payload, again.retain, again.qos], ['stored', true, qos]);
      await publisher.deliver('t', 'live', { qos: 2 });
      const live = await subscriber.message();
      assert.deepEqual([live.payload, live.qos], ['live', qos]);
      await subscriber.quiet();
    }
  },
);

conformance(
  '[MQTT-3.8.4-4] [MQTT3-3.8.4-3] messages that wait are not lost when the subscription is replaced',
  v4v5,
  async (scene) => {
    const { connect, kept, drop } = scene;
    const publisher = await connect();
    const first = await connect(kept('replaces'));
    await first.subscribe('t', { qos: 1 });
    await drop(first);
    await publisher.deliver('t', 'waits', { qos: 1 });
    const second = await connect(kept('replaces'));
    const waiting = await second.message();
    assert.equal(waiting.payload, 'waits');
    await second.subscribe('t', { qos: 2 });
    second.puback(waiting.packetId);
    await second.quiet();
  },
);
