/** Maximum Packet Size of the client: v5 §3.1.2.11.4. */
import assert from 'node:assert/strict';
import { PacketType, ReasonCode } from '../../src/protocol/index.js';
import { conformance, v5 } from '../support/conformance.js';
import { connectPacket } from '../support/wire-client.js';

const limited = (maximumPacketSize: number) => ({ properties: { maximumPacketSize } });

conformance(
  '[MQTT-3.1.2-24] a PUBLISH of exactly the Maximum Packet Size is sent, one of a byte more is not',
  v5,
  async ({ connect }) => {
    const publisher = await connect();
    const subscriber = await connect(limited(100));
    await subscriber.subscribe('t', { qos: 2 });
    for (const [qos, payloadBytes] of [
      [0, 94], // 2 header, 3 topic, 1 properties
      [1, 92],
      [2, 92],
    ] as const) {
      await publisher.deliver('t', 'x'.repeat(payloadBytes + 1), { qos });
      await publisher.deliver('t', 'y'.repeat(payloadBytes), { qos });
      const message = await subscriber.message();
      assert.equal(message.bytes.length, 100);
      assert.equal(message.payload[0], 'y');
    }
    await subscriber.quiet();
  },
);

conformance('[MQTT-3.1.2-24] subscription identifiers and expiry count for the size too', v5, async ({ connect }) => {
  const publisher = await connect();
  const subscriber = await connect(limited(100));
  await subscriber.subscribe('t', { properties: { subscriptionIdentifiers: [200] } }); // 3 bytes
  for (const payloadBytes of [92, 91]) await publisher.deliver('t', 'x'.repeat(payloadBytes));
  assert.equal((await subscriber.message()).payload.length, 91);
  const properties = { messageExpiryInterval: 1000 }; // 5 bytes
  for (const payloadBytes of [87, 86]) await publisher.deliver('t', 'x'.repeat(payloadBytes), { properties });
  assert.equal((await subscriber.message()).payload.length, 86);
  await subscriber.quiet();
});

conformance(
  '[MQTT-3.1.2-25] what is too large counts as delivered: it uses no quota, does not wait and is not sent later',
  v5,
  async ({ connect, kept, drop }) => {
    const publisher = await connect();
    const options = kept('small', { properties: { receiveMaximum: 1, maximumPacketSize: 100 } });
    const subscriber = await connect(options);
    await subscriber.subscribe('t', { qos: 2 });
    for (const qos of [1, 2] as const) {
      for (let count = 0; count < 3; count++) await publisher.deliver('t', 'x'.repeat(200), { qos });
      await publisher.deliver('t', `small at ${qos}`, { qos });
      const message = await subscriber.message();
      assert.equal(message.payload, `small at ${qos}`);
      if (qos === 1) subscriber.puback(message.packetId);
      else {
        subscriber.pubrec(message.packetId);
        await subscriber.packet(PacketType.Pubrel);
        subscriber.pubcomp(message.packetId);
      }
    }
    await subscriber.quiet();
    await drop(subscriber);
    await (await connect(kept('small'))).quiet();
  },
);

conformance(
  '[MQTT-3.1.2-25] a queued, a stored or a re-sent message that is too large is left out, what follows comes',
  v5,
  async ({ connect, kept, drop }) => {
    const publisher = await connect();
    await publisher.deliver('r/1', 'x'.repeat(200), { retain: true });
    await publisher.deliver('r/2', 'stored', { retain: true });
    const first = await connect(kept('shrinks'));
    await first.subscribe('t', { qos: 1 });
    await publisher.deliver('t', 'y'.repeat(200), { qos: 1 });
    await first.message();
    await drop(first);
    await publisher.deliver('t', 'z'.repeat(200), { qos: 1 });
    await publisher.deliver('t', 'queued', { qos: 1 });
    const second = await connect(kept('shrinks', limited(100)));
    assert.equal((await second.message()).payload, 'queued');
    await second.subscribe('r/+');
    assert.equal((await second.message()).payload, 'stored');
    await second.quiet();
  },
);

conformance('[MQTT-3.1.2-24] other subscribers are not bound by the smallest', v5, async ({ connect }) => {
  const small = await connect(limited(50));
  const large = await connect();
  for (const subscriber of [small, large]) await subscriber.subscribe('t', { qos: 1 });
  const publisher = await connect();
  for (const qos of [0, 1] as const) {
    await publisher.deliver('t', 'x'.repeat(60), { qos });
    assert.equal((await large.message()).payload.length, 60);
  }
  await small.quiet();
});

conformance('[MQTT-3.2.0-1] [MQTT-3.1.2-24] a client that takes no CONNACK is closed', v5, async ({ open, broker }) => {
  const client = await open();
  client.send(connectPacket(5, { clientId: 'tiny', ...limited(5) }), { type: PacketType.Pingreq });
  const gone = new Promise((resolve) => client.stream.once('close', resolve));
  await gone;
  assert.deepEqual(broker.clients(), []);
});

conformance(
  '[MQTT-3.1.2-24] a client whose SUBACK or UNSUBACK would be larger than it takes is told so instead of left waiting',
  v5,
  async ({ connect, broker }) => {
    const topicFilters = Array.from({ length: 40 }, (_, index) => `t${index}`);
    for (const type of [PacketType.Subscribe, PacketType.Unsubscribe] as const) {
      const client = await connect(limited(44)); // 40 reason codes and 5 bytes
      assert.equal((await client.subscribe(topicFilters.slice(1))).length, 39);
      assert.equal((await client.unsubscribe(...topicFilters.slice(1))).length, 39);
      if (type === PacketType.Subscribe) client.sendSubscribe(topicFilters);
      else client.send({ type, packetId: 9, topicFilters });
      const { reasonCode } = await client.packet(PacketType.Disconnect);
      assert.equal(reasonCode, ReasonCode.PacketTooLarge);
      await client.closed();
    }
    assert.deepEqual(broker.clients(), []);
  },
);
