/** Receive Maximum both ways: v5 §3.3.4 and §4.9. */
import assert from 'node:assert/strict';
import { PacketType, ReasonCode } from '../../src/protocol/index.js';
import { all, conformance, v5 } from '../support/conformance.js';

conformance(
  '[MQTT-3.3.4-1] [MQTT3-3.3.4-1] a PUBLISH is answered as its QoS demands: not, by PUBACK, by PUBREC',
  all,
  async ({ connect }) => {
    const client = await connect();
    await (await connect()).subscribe('t');
    client.publish('t', 'x');
    await client.quiet();
    client.publish('t', 'x', { qos: 1, packetId: 3 });
    assert.equal(await client.bytes(), '40020003');
    client.publish('t', 'x', { qos: 2, packetId: 3 });
    assert.equal(await client.bytes(), '50020003');
    await client.quiet();
  },
);

conformance(
  '[MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2] [MQTT-3.3.4-10] [MQTT-4.9.0-3] no more than Receive Maximum messages at QoS 1 and 2 are unacknowledged; everything else goes on',
  v5,
  async ({ connect }) => {
    const publisher = await connect();
    const subscriber = await connect({ properties: { receiveMaximum: 2 } });
    await subscriber.subscribe(['t', 'u'], { qos: 2 });
    for (const [index, qos] of [1, 2, 1, 2, 1].entries()) await publisher.deliver('t', `${index}`, { qos: qos as 1 });
    const [first, second] = [await subscriber.message(), await subscriber.message()];
    assert.deepEqual([first.payload, second.payload], ['0', '1']);
    await subscriber.quiet(); // PINGRESP comes, the third message does not
    assert.deepEqual(await subscriber.subscribe('v', { qos: 1 }), [1]);
    assert.deepEqual(await subscriber.unsubscribe('v'), [0]);
    await publisher.deliver('u', 'QoS 0');
    assert.equal((await subscriber.message()).payload, 'QoS 0');
    assert.equal(await subscriber.deliver('w', 'x', { qos: 2 }), ReasonCode.NoMatchingSubscribers);
    subscriber.pubrec(second.packetId);
    await subscriber.packet(PacketType.Pubrel);
    await subscriber.quiet(); // PUBREC alone frees nothing
    subscriber.pubcomp(second.packetId);
    assert.equal((await subscriber.message()).payload, '2');
    await subscriber.quiet();
    subscriber.puback(first.packetId);
    const fourth = await subscriber.message();
    assert.equal(fourth.payload, '3');
    await subscriber.quiet();
    subscriber.pubrec(fourth.packetId, ReasonCode.UnspecifiedError); // a refusal frees at once
    assert.equal((await subscriber.message()).payload, '4');
  },
);

conformance('[MQTT-3.3.4-9] Receive Maximum bounds what is sent again and what was stored, too', v5, async (scene) => {
  const { connect, kept, drop } = scene;
  const publisher = await connect();
  const first = await connect(kept('narrow'));
  await first.subscribe('t', { qos: 1 });
  for (let count = 0; count < 4; count++) await publisher.deliver('t', `${count}`, { qos: 1 });
  for (let count = 0; count < 4; count++) await first.message();
  await drop(first);
  const second = await connect(kept('narrow', { properties: { receiveMaximum: 1 } }));
  for (let count = 0; count < 4; count++) {
    const message = await second.message();
    assert.deepEqual([message.payload, message.dup], [`${count}`, true]);
    await second.quiet();
    second.puback(message.packetId);
  }
  for (const topicName of ['r/1', 'r/2', 'r/3']) await publisher.deliver(topicName, 'x', { qos: 1, retain: true });
  await second.subscribe('r/#', { qos: 1 });
  for (let count = 0; count < 3; count++) {
    const message = await second.message();
    await second.quiet();
    second.puback(message.packetId);
  }
});

conformance(
  '[MQTT-4.9.0-1] the quota begins at the Receive Maximum of the connection, not lower',
  v5,
  async (scene) => {
    const { connect, kept, drop } = scene;
    const publisher = await connect();
    const options = kept('quota', { properties: { receiveMaximum: 3 } });
    for (let round = 0; round < 2; round++) {
      const client = await connect(options);
      await client.subscribe('t', { qos: 1 });
      for (let count = 0; count < 3; count++) await publisher.deliver('t', 'x', { qos: 1 });
      for (let count = 0; count < 3; count++) client.puback((await client.message()).packetId);
      await client.quiet();
      await drop(client);
    }
  },
);

const narrow = { config: { limits: { receiveMaximum: 3 } } };

conformance(
  '[MQTT-3.3.4-7] CONNACK tells the Receive Maximum, and a client that goes beyond is disconnected',
  v5,
  narrow,
  async ({ open, connect }) => {
    const client = await open();
    assert.equal((await client.connect()).properties?.receiveMaximum, 3);
    await (await connect()).subscribe('t');
    for (let packetId = 1; packetId <= 3; packetId++) {
      client.publish('t', 'x', { qos: 2, packetId });
      await client.packet(PacketType.Pubrec);
    }
    await client.quiet();
    client.publish('t', 'x', { qos: 2, packetId: 4 });
    await client.refused(ReasonCode.ReceiveMaximumExceeded);
  },
);

conformance(
  'a client of 5.0 that sends more at QoS 1 in one go than it was told has all of it acknowledged',
  v5,
  narrow,
  async ({ connect }) => {
    const [client, subscriber] = [await connect(), await connect()];
    await subscriber.subscribe('t', { qos: 1 });
    const packetIds = Array.from({ length: 20 }, (_, index) => index + 1);
    const [hexOf, payloadOf] = [(byte: number) => byte.toString(16).padStart(2, '0'), (id: number) => id + 0x40];
    client.send(packetIds.map((id) => `32 07 0001 74 00${hexOf(id)} 00 ${hexOf(payloadOf(id))}`).join('')); // one segment
    for (const packetId of packetIds) assert.equal((await client.packet(PacketType.Puback)).packetId, packetId);
    for (const packetId of packetIds)
      assert.equal((await subscriber.message()).payload, String.fromCharCode(payloadOf(packetId)));
    await client.quiet();
  },
);

conformance(
  '[MQTT-3.3.4-7] what was completed or refused does not count',
  v5,
  { ...narrow, policy: { authorizePublish: (_client, topicName) => (topicName === 'no' ? 0x87 : 0) } },
  async ({ connect }) => {
    const client = await connect();
    for (let count = 0; count < 10; count++) {
      await client.deliver('t', 'x', { qos: 2 });
      await client.deliver('t', 'x', { qos: 1 });
      assert.equal(await client.deliver('no', 'x', { qos: 2 }), ReasonCode.NotAuthorized);
    }
    client.publish('t', '1', { qos: 2, packetId: 1 });
    await client.packet(PacketType.Pubrec);
    for (let count = 0; count < 10; count++) {
      client.publish('t', '1', { qos: 2, packetId: 1, dup: true }); // the same one again
      await client.packet(PacketType.Pubrec);
    }
  },
);

conformance(
  '[MQTT-3.3.4-7] exchanges that an earlier connection left open do not count',
  v5,
  narrow,
  async ({ connect, kept, drop }) => {
    let client = await connect(kept('forgetful'));
    const open = async (packetId: number) => {
      client.publish('t', 'x', { qos: 2, packetId });
      assert.equal((await client.packet(PacketType.Pubrec)).packetId, packetId);
    };
    for (const packetId of [1, 2, 3]) await open(packetId);
    await drop(client);
    client = await connect(kept('forgetful'));
    for (const packetId of [11, 12, 13]) await open(packetId);
    for (const packetId of [1, 2, 3, 11, 12, 13]) {
      client.pubrel(packetId);
      assert.equal((await client.packet(PacketType.Pubcomp)).reasonCode, ReasonCode.Success);
    }
    for (const packetId of [21, 22, 23]) await open(packetId);
    client.publish('t', 'x', { qos: 2, packetId: 24 });
    await client.refused(ReasonCode.ReceiveMaximumExceeded);
  },
);

conformance(
  '[MQTT-3.3.4-8] while the quota is used up a client may send everything else',
  v5,
  narrow,
  async (scene) => {
    const client = await scene.connect();
    for (let packetId = 1; packetId <= 3; packetId++) {
      client.publish('t', 'x', { qos: 2, packetId });
      await client.packet(PacketType.Pubrec);
    }
    await client.deliver('t', 'QoS 0');
    assert.deepEqual(await client.subscribe('t', { qos: 1 }), [1]);
    client.pubrel(2);
    await client.packet(PacketType.Pubcomp);
    client.publish('u', 'x', { qos: 2, packetId: 9 });
    assert.equal((await client.packet(PacketType.Pubrec)).packetId, 9);
  },
);

conformance('3.x clients are not bound by a Receive Maximum that they were not told', [3, 4], narrow, async (scene) => {
  const client = await scene.connect();
  for (let packetId = 1; packetId <= 10; packetId++) {
    client.publish('t', 'x', { qos: 2, packetId });
    await client.packet(PacketType.Pubrec);
  }
});
