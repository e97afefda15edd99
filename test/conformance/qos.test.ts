/** The delivery protocols of QoS 1 and 2, and sending again (v5 §4.3 and §4.4, 3.1.1 §4.3 and §4.4). */
import assert from 'node:assert/strict';
import { PacketType, ReasonCode } from '../../src/protocol/index.js';
import { all, conformance, v5 } from '../support/conformance.js';

conformance(
  '[MQTT-4.3.1-1] [MQTT3-4.3.1-1] a QoS 0 message goes out once, and is not sent again',
  all,
  async ({ connect, kept, drop }) => {
    const publisher = await connect();
    const first = await connect(kept('once'));
    await first.subscribe('t', { qos: 2 });
    await publisher.deliver('t', 'x');
    const message = await first.message();
    assert.deepEqual([message.qos, message.dup, message.packetId], [0, false, 0]);
    await drop(first);
    await (await connect(kept('once'))).quiet();
  },
);

conformance(
  '[MQTT-4.3.2-3] [MQTT3-4.3.2-1] a QoS 1 message is unacknowledged until its PUBACK, and not after',
  all,
  async ({ connect, kept, drop }) => {
    const publisher = await connect();
    const first = await connect(kept('unacknowledged'));
    await first.subscribe('t', { qos: 1 });
    await publisher.deliver('t', 'open', { qos: 1 });
    const open = await first.message();
    await publisher.deliver('t', 'done', { qos: 1 });
    first.puback((await first.message()).packetId);
    first.puback(open.packetId + 1000); // acknowledges nothing
    await first.quiet();
    await drop(first);
    for (let round = 0; round < 2; round++) {
      const again = await connect(kept('unacknowledged'));
      const message = await again.message();
      assert.deepEqual([message.payload, message.packetId, message.dup], ['open', open.packetId, true]);
      await again.quiet();
      if (round === 1) again.puback(message.packetId);
      await again.quiet();
      await drop(again);
    }
    await (await connect(kept('unacknowledged'))).quiet();
  },
);

conformance(
  '[MQTT-4.3.2-5] [MQTT3-4.3.2-2] after PUBACK a PUBLISH with the same Packet Identifier is a new message, whatever its DUP',
  all,
  async ({ connect }) => {
    const subscriber = await connect();
    await subscriber.subscribe('t', { qos: 1 });
    const publisher = await connect();
    for (const dup of [false, true, false, true]) {
      await publisher.deliver('t', `${dup}`, { qos: 1, packetId: 5, dup });
      assert.equal((await subscriber.message()).payload, `${dup}`);
    }
  },
);

conformance(
  '[MQTT-4.3.3-3] [MQTT-4.3.3-5] [MQTT-4.3.3-6] [MQTT3-4.3.3-1] a QoS 2 message is sent again until PUBREC, then its PUBREL until PUBCOMP, and the message not any more',
  all,
  async ({ connect, kept, drop }) => {
    const publisher = await connect();
    const first = await connect(kept('exactly-once'));
    await first.subscribe('t', { qos: 2 });
    await publisher.deliver('t', 'x', { qos: 2 });
    const { packetId } = await first.message();
    await drop(first);
    const second = await connect(kept('exactly-once'));
    const again = await second.message();
    assert.deepEqual([again.packetId, again.qos, again.dup, again.payload], [packetId, 2, true, 'x']);
    second.pubrec(packetId);
    assert.equal((await second.packet(PacketType.Pubrel)).packetId, packetId);
    await drop(second);
    for (let round = 0; round < 2; round++) {
      const later = await connect(kept('exactly-once'));
      assert.equal((await later.packet(PacketType.Pubrel)).packetId, packetId);
      await later.quiet();
      if (round === 1) later.pubcomp(packetId);
      await later.quiet();
      await drop(later);
    }
    await (await connect(kept('exactly-once'))).quiet();
  },
);

conformance(
  '[MQTT-4.3.3-4] [MQTT3-4.3.3-1] every PUBREC of a QoS 2 exchange is answered by PUBREL',
  all,
  async ({ connect }) => {
    const subscriber = await connect();
    await subscriber.subscribe('t', { qos: 2 });
    await (await connect()).deliver('t', 'x', { qos: 2 });
    const { packetId } = await subscriber.message();
    for (let count = 0; count < 2; count++) {
      subscriber.pubrec(packetId);
      const pubrel = await subscriber.packet(PacketType.Pubrel);
      assert.deepEqual([pubrel.packetId, pubrel.reasonCode], [packetId, 0]);
    }
  },
);

conformance(
  '[MQTT-4.3.3-10] [MQTT3-4.3.3-2] until PUBREL a PUBLISH with the same Packet Identifier is answered by PUBREC and delivered to nobody',
  all,
  async ({ connect, kept, drop }) => {
    const subscriber = await connect();
    await subscriber.subscribe('t', { qos: 2 });
    const first = await connect(kept('publisher'));
    for (const dup of [false, true, false]) {
      first.publish('t', 'x', { qos: 2, packetId: 5, dup });
      assert.equal((await first.packet(PacketType.Pubrec)).packetId, 5);
    }
    assert.equal((await subscriber.message()).payload, 'x');
    await subscriber.quiet();
    await drop(first);
    const second = await connect(kept('publisher'));
    second.publish('t', 'x', { qos: 2, packetId: 5, dup: true });
    await second.packet(PacketType.Pubrec);
    await subscriber.quiet();
    second.pubrel(5);
    assert.equal((await second.packet(PacketType.Pubcomp)).packetId, 5);
    await subscriber.quiet();
  },
);

conformance(
  '[MQTT-4.3.3-12] [MQTT3-4.3.3-2] after PUBCOMP a PUBLISH with the same Packet Identifier is a new message',
  all,
  async ({ connect }) => {
    const subscriber = await connect();
    await subscriber.subscribe('t', { qos: 2 });
    const publisher = await connect();
    for (const dup of [false, true]) {
      await publisher.deliver('t', `${dup}`, { qos: 2, packetId: 5, dup });
      assert.equal((await subscriber.message()).payload, `${dup}`);
    }
  },
);

conformance(
  '[MQTT-4.3.3-11] [MQTT3-4.3.3-2] PUBREL is answered by PUBCOMP each time, also when nothing is known of it',
  all,
  async ({ version, connect }) => {
    const client = await connect();
    await (await connect()).subscribe('t');
    client.publish('t', 'x', { qos: 2, packetId: 5 });
    await client.packet(PacketType.Pubrec);
    client.pubrel(5);
    assert.equal(await client.bytes(), '70020005');
    client.pubrel(5);
    const { packetId, reasonCode } = await client.packet(PacketType.Pubcomp);
    const expected = version === 5 ? ReasonCode.PacketIdentifierNotFound : ReasonCode.Success;
    assert.deepEqual([packetId, reasonCode], [5, expected]);
  },
);

conformance(
  '[MQTT-4.3.3-9] after a PUBREC that refuses, a PUBLISH with the same Packet Identifier is a new message',
  v5,
  { policy: { authorizePublish: (_client, topicName) => (topicName === 'no' ? 0x87 : 0) } },
  async ({ connect }) => {
    const subscriber = await connect();
    await subscriber.subscribe('#', { qos: 2 });
    const publisher = await connect();
    assert.equal(await publisher.deliver('no', 'x', { qos: 2, packetId: 5 }), ReasonCode.NotAuthorized);
    assert.equal(await publisher.deliver('yes', 'y', { qos: 2, packetId: 5 }), ReasonCode.Success);
    assert.equal((await subscriber.message()).payload, 'y');
    await subscriber.quiet();
  },
);

conformance(
  '[MQTT-4.4.0-1] [MQTT3-4.4.0-1] nothing is sent again while the connection stands',
  all,
  async ({ connect }) => {
    const subscriber = await connect({ keepAlive: 60 });
    await subscriber.subscribe('t', { qos: 2 });
    const publisher = await connect();
    await publisher.deliver('t', '1', { qos: 1 });
    await publisher.deliver('t', '2', { qos: 2 });
    await subscriber.message();
    subscriber.pubrec((await subscriber.message()).packetId);
    await subscriber.packet(PacketType.Pubrel);
    // As long as a client waits for an acknowledgement with another broker before it tries again.
    const brief = await connect({ keepAlive: 1 });
    await brief.refused(ReasonCode.KeepAliveTimeout);
    await subscriber.quiet();
  },
);

conformance('[MQTT-4.4.0-1] a clean start sends nothing again', v5, async ({ connect, kept, drop }) => {
  const first = await connect(kept('clean'));
  await first.subscribe('t', { qos: 1 });
  await (await connect()).deliver('t', 'x', { qos: 1 });
  await first.message();
  await drop(first);
  await (await connect(kept('clean', { cleanStart: true }))).quiet();
});

conformance(
  '[MQTT-4.4.0-2] a PUBACK or PUBREC that refuses ends the exchange: nothing is sent again',
  v5,
  async ({ connect, kept, drop }) => {
    const publisher = await connect();
    const first = await connect(kept('refuses'));
    await first.subscribe('t', { qos: 2 });
    await publisher.deliver('t', '1', { qos: 1 });
    first.puback((await first.message()).packetId, ReasonCode.QuotaExceeded);
    await publisher.deliver('t', '2', { qos: 2 });
    first.pubrec((await first.message()).packetId, ReasonCode.ImplementationSpecificError);
    await first.quiet(); // no PUBREL either
    await drop(first);
    await (await connect(kept('refuses'))).quiet();
  },
);
