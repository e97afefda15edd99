/** Message ordering: v5 §4.6, 3.1.1 §4.6. */
import assert from 'node:assert/strict';
import { PacketType } from '../../src/protocol/index.js';
import { all, conformance } from '../support/conformance.js';
import type { WireClient } from '../support/wire-client.js';

conformance(
  '[MQTT-4.6.0-5] [MQTT-4.6.0-6] [MQTT3-4.6.0-5] [MQTT3-4.6.0-6] messages of one publisher, topic and QoS arrive in the order of sending, for every kind of subscriber',
  all,
  async ({ connect, kept, drop }) => {
    const exact = await connect();
    await exact.subscribe('a/b', { qos: 2 });
    const wild = await connect();
    await wild.subscribe('#', { qos: 2 });
    const slow = await connect(); // acknowledges nothing until the end, so that messages queue
    await slow.subscribe('a/+', { qos: 2 });
    const away = await connect(kept('away'));
    await away.subscribe('a/b', { qos: 2 });
    await drop(away);
    const publisher = await connect();
    const count = 150;
    for (const qos of [0, 1, 2] as const)
      for (let number = 0; number < count; number += 50) {
        for (let next = number; next < number + 50; next++) {
          publisher.publish('a/b', `${next}`, { qos, packetId: 1 + (next % 50) });
        }
        await acknowledged(publisher, qos, 50);
      }
    for (const subscriber of [exact, wild, slow]) await inOrder(subscriber, [count, count, count]);
    await inOrder(await connect(kept('away')), [0, count, count]);
  },
);

/** Sees the acknowledgements of `count` messages through, which come in the order of the messages. */
async function acknowledged(publisher: WireClient, qos: number, count: number): Promise<void> {
  if (qos === 0) return publisher.quiet();
  for (let packetId = 1; packetId <= count; packetId++)
    assert.equal((await publisher.packet(qos === 1 ? PacketType.Puback : PacketType.Pubrec)).packetId, packetId);
  if (qos === 1) return;
  for (let packetId = 1; packetId <= count; packetId++) publisher.pubrel(packetId);
  for (let packetId = 1; packetId <= count; packetId++)
    assert.equal((await publisher.packet(PacketType.Pubcomp)).packetId, packetId);
}

/** Takes that many messages of each QoS and sees each QoS count up. */
async function inOrder(subscriber: WireClient, counts: readonly [number, number, number]): Promise<void> {
  const next = [0, 0, 0];
  let left = counts[0] + counts[1] + counts[2];
  while (left > 0) {
    const { packet } = await subscriber.next();
    if (packet.type === PacketType.Pubrel) {
      subscriber.pubcomp(packet.packetId);
      continue;
    }
    assert.ok(packet.type === PacketType.Publish);
    assert.equal(Buffer.from(packet.payload).toString(), `${next[packet.qos]!++}`);
    if (packet.qos === 1) subscriber.puback(packet.packetId!);
    if (packet.qos === 2) subscriber.pubrec(packet.packetId!);
    left--;
  }
  assert.deepEqual(next, counts);
}

conformance(
  '[MQTT-4.6.0-1] [MQTT3-4.6.0-1] [MQTT3-4.6.0-6] messages are sent again in the order of their first sending, before new ones',
  all,
  async ({ connect, kept, drop }) => {
    const publisher = await connect();
    const first = await connect(kept('resends'));
    await first.subscribe('t', { qos: 1 });
    const publish = async (from: number, to: number) => {
      for (let number = from; number < to; number++)
        await publisher.deliver('t', `${number}`, { qos: number % 2 === 0 ? 1 : 2 });
    };
    // Identifiers go round, so that their order is not the order of sending.
    await publish(0, 180);
    for (let number = 0; number < 160; number++) {
      const message = await first.message();
      assert.equal(message.payload, `${number}`);
      first.puback(message.packetId);
    }
    await publish(180, 240);
    const open: number[] = [];
    for (let number = 160; number < 240; number++) open.push((await first.message()).packetId);
    assert.notDeepEqual(
      open,
      [...open].sort((a, b) => a - b),
    );
    await drop(first);
    await publish(240, 250);
    const second = await connect(kept('resends'));
    for (let number = 160; number < 250; number++) {
      const message = await second.message();
      assert.deepEqual([message.payload, message.dup], [`${number}`, number < 240]);
      if (number < 240) assert.equal(message.packetId, open[number - 160]);
      second.puback(message.packetId);
    }
    await second.quiet();
  },
);

conformance(
  '[MQTT-4.6.0-2] [MQTT-4.6.0-3] [MQTT3-4.6.0-2] [MQTT3-4.6.0-3] PUBACK and PUBREC leave in the order of the PUBLISH packets',
  all,
  async ({ connect }) => {
    const client = await connect();
    for (const qos of [1, 2] as const) {
      for (const packetId of [7, 3, 9, 1]) client.publish(`t/${packetId}`, 'x', { qos, packetId });
      for (const packetId of [7, 3, 9, 1])
        assert.equal((await client.packet(qos === 1 ? PacketType.Puback : PacketType.Pubrec)).packetId, packetId);
    }
  },
);

conformance(
  '[MQTT-4.6.0-4] [MQTT3-4.6.0-4] PUBREL leaves in the order of the PUBREC packets',
  all,
  async ({ connect }) => {
    const subscriber = await connect();
    await subscriber.subscribe('t', { qos: 2 });
    const publisher = await connect();
    const ids: number[] = [];
    for (let count = 0; count < 4; count++) {
      await publisher.deliver('t', 'x', { qos: 2 });
      ids.push((await subscriber.message()).packetId);
    }
    const order = [2, 0, 3, 1].map((index) => ids[index]!);
    for (const packetId of order) subscriber.pubrec(packetId);
    for (const packetId of order) assert.equal((await subscriber.packet(PacketType.Pubrel)).packetId, packetId);
  },
);
