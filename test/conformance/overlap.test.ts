/** Several subscriptions of one client that match one message, and Subscription Identifiers (v5 §3.3.4, 3.1.1 §3.3.5). */
import assert from 'node:assert/strict';
import { ReasonCode } from '../../src/protocol/index.js';
import { all, conformance, v5 } from '../support/conformance.js';
import { field, frame, properties } from '../support/wire-bytes.js';

const identifier = (value: number) => ({ properties: { subscriptionIdentifiers: [value] } });

conformance(
  '[MQTT-3.3.4-2] [MQTT3-3.3.5-1] overlapping subscriptions deliver with the highest QoS granted',
  all,
  async ({ connect }) => {
    const publisher = await connect();
    const subscriber = await connect();
    await subscriber.subscribe('a/#', { qos: 0 });
    await subscriber.subscribe('a/+', { qos: 1 });
    for (const [most, filter] of [
      [1, 'x'],
      [2, 'a/b'],
    ] as const) {
      await subscriber.subscribe(filter, { qos: 2 });
      for (const qos of [0, 1, 2] as const) {
        await publisher.deliver('a/b', 'x', { qos });
        const message = await subscriber.message();
        assert.equal(message.qos, Math.min(qos, most));
        await subscriber.quiet();
      }
    }
  },
);

conformance(
  '[MQTT-3.3.4-3] [MQTT-3.3.4-4] the one copy of a message carries the identifiers of all matching subscriptions',
  v5,
  async ({ connect, kept, drop }) => {
    const publisher = await connect();
    const subscriber = await connect(kept('overlap'));
    await subscriber.subscribe('a/#', { qos: 2, ...identifier(1) });
    await subscriber.subscribe('a/+', { qos: 1, ...identifier(268_435_455) });
    await subscriber.subscribe('a/b', { qos: 0 });
    await subscriber.subscribe('+/b', { qos: 0, ...identifier(128) });
    await subscriber.subscribe('c', { qos: 0, ...identifier(7) });
    const ids = (message: { properties: { subscriptionIdentifiers?: number[] } }) =>
      (message.properties.subscriptionIdentifiers ?? []).sort((a, b) => a - b);
    for (const qos of [0, 1, 2] as const) {
      await publisher.deliver('a/b', 'x', { qos });
      assert.deepEqual(ids(await subscriber.message()), [1, 128, 268_435_455]);
    }
    await publisher.deliver('c', 'x');
    assert.deepEqual(ids(await subscriber.message()), [7]);
    await subscriber.quiet();
    await drop(subscriber);
    const back = await connect(kept('overlap'));
    for (let count = 0; count < 2; count++) assert.deepEqual(ids(await back.message()), [1, 128, 268_435_455]);
    await publisher.deliver('a/c', 'x', { qos: 1 });
    assert.deepEqual(ids(await back.message()), [1, 268_435_455], 'they live as long as the session');
  },
);

conformance(
  '[MQTT-3.3.4-5] each copy for a stored message carries the identifier of its subscription',
  v5,
  async (scene) => {
    await (await scene.connect()).deliver('a/b', 'stored', { retain: true });
    const subscriber = await scene.connect();
    await subscriber.subscribe('a/+', identifier(1));
    assert.deepEqual((await subscriber.message()).properties.subscriptionIdentifiers, [1]);
    await subscriber.subscribe('+/b', identifier(2));
    assert.deepEqual((await subscriber.message()).properties.subscriptionIdentifiers, [2]);
    await subscriber.subscribe('#');
    assert.equal((await subscriber.message()).properties.subscriptionIdentifiers, undefined);
  },
);

conformance('[MQTT-3.3.4-5] a shared subscription’s copy carries its own identifier', v5, async ({ connect }) => {
  const subscriber = await connect();
  await subscriber.subscribe('t', identifier(1));
  await subscriber.subscribe('$share/group/t', identifier(2));
  await (await connect()).deliver('t', 'x');
  const copies = [await subscriber.message(), await subscriber.message()];
  assert.deepEqual(copies.map((copy) => copy.properties.subscriptionIdentifiers?.[0]).sort(), [1, 2]);
});

conformance('[MQTT-3.3.4-3] a replaced subscription has its new identifier, or none', v5, async ({ connect }) => {
  const publisher = await connect();
  const subscriber = await connect();
  for (const [options, expected] of [
    [identifier(1), [1]],
    [identifier(2), [2]],
    [{}, undefined],
  ] as const) {
    await subscriber.subscribe('t', options);
    await publisher.deliver('t', 'x');
    assert.deepEqual((await subscriber.message()).properties.subscriptionIdentifiers, expected);
  }
});

conformance('[MQTT-3.3.4-6] a Subscription Identifier in a client’s PUBLISH ends the connection', v5, async (scene) => {
  const subscriber = await scene.connect();
  await subscriber.subscribe('t');
  const client = await scene.connect();
  client.send(frame(0x30, field('t'), properties('0b 01'), 'ff'));
  await client.refused(ReasonCode.ProtocolError);
  await subscriber.quiet();
});

conformance('a Subscription Identifier of 0 or a second one ends the connection', v5, async ({ connect }) => {
  for (const wrong of ['0b 00', '0b 01 0b 02']) {
    const client = await connect();
    client.send(frame(0x82, '0001', properties(wrong), field('t'), [0]));
    await client.refused(ReasonCode.ProtocolError);
  }
});
