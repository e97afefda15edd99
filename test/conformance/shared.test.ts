/** Shared subscriptions: v5 §4.8.2; 3.x clients have them too, by the same names. */
import assert from 'node:assert/strict';
import { PacketType, ReasonCode } from '../../src/protocol/index.js';
import { all, conformance, v5 } from '../support/conformance.js';
import { field, frame, properties } from '../support/wire-bytes.js';

conformance(
  '[MQTT-4.8.2-1] [MQTT-4.8.2-2] $share needs a name without wildcards and a filter behind it',
  all,
  async ({ version, connect }) => {
    const none = version === 5 ? properties() : [];
    for (const filter of ['$share/', '$share//', '$share//t', '$share/g', '$share/g/', '$share/g+/t', '$share/#/t'])
      for (const packet of [frame(0x82, '0001', none, field(filter), '00'), frame(0xa2, '0001', none, field(filter))]) {
        const client = await connect();
        client.send(packet);
        await client.refused(ReasonCode.TopicFilterInvalid);
      }
    const client = await connect();
    const filters = ['$share/g/t', '$share/g//', '$share/g/#', '$share/$/+/x', '$shared', '$share', '$SHARE/x'];
    assert.deepEqual(
      await client.subscribe(filters),
      filters.map(() => 0),
    );
    await (await connect()).deliver('t', 'x');
    for (let count = 0; count < 2; count++) assert.equal((await client.message()).topicName, 't');
    await client.quiet();
  },
);

conformance('each message goes to one member of each group, and to who does not share', all, async ({ connect }) => {
  const members = [await connect(), await connect(), await connect()];
  for (const [index, member] of members.entries()) await member.subscribe(`$share/${index < 2 ? 'g' : 'h'}/t`);
  const alone = await connect();
  await alone.subscribe('t');
  const publisher = await connect();
  for (let count = 0; count < 10; count++) await publisher.deliver('t', `${count}`);
  const taken = await Promise.all(
    members.map(async (member) => {
      member.send('c000');
      const payloads: string[] = [];
      for (;;) {
        const { packet } = await member.next();
        if (packet.type !== PacketType.Publish) return payloads;
        payloads.push(Buffer.from(packet.payload).toString());
      }
    }),
  );
  const whole = Array.from({ length: 10 }, (_, index) => `${index}`);
  assert.deepEqual([...taken[0]!, ...taken[1]!].sort(), whole);
  assert.ok(taken[0]!.length > 0 && taken[1]!.length > 0);
  assert.deepEqual(taken[2], whole);
  for (const payload of whole) assert.equal((await alone.message()).payload, payload);
});

conformance('[MQTT-4.8.2-3] the QoS granted to the member counts', v5, async ({ connect }) => {
  const publisher = await connect();
  for (const granted of [0, 1, 2] as const) {
    const member = await connect();
    await member.subscribe(`$share/g/t/${granted}`, { qos: granted });
    for (const qos of [0, 1, 2] as const) {
      await publisher.deliver(`t/${granted}`, 'x', { qos });
      assert.equal((await member.message()).qos, Math.min(granted, qos));
    }
  }
});

conformance(
  '[MQTT-4.8.2-4] [MQTT-4.4.0-1] a QoS 2 message that was sent to a member is completed with it when it is back',
  v5,
  async ({ connect, kept, drop }) => {
    const publisher = await connect();
    const first = await connect(kept('member'));
    await first.subscribe('$share/g/t', { qos: 2 });
    await publisher.deliver('t', 'sent', { qos: 2 });
    await publisher.deliver('t', 'released', { qos: 2 });
    const sent = await first.message();
    const released = await first.message();
    first.pubrec(released.packetId);
    await first.packet(PacketType.Pubrel);
    const other = await connect();
    await other.subscribe('$share/g/t', { qos: 2 });
    await drop(first);
    await other.quiet();
    const back = await connect(kept('member'));
    const again = await back.message();
    assert.deepEqual([again.payload, again.packetId, again.dup], ['sent', sent.packetId, true]);
    assert.equal((await back.packet(PacketType.Pubrel)).packetId, released.packetId);
    back.pubcomp(released.packetId);
    back.pubrec(again.packetId);
    assert.equal((await back.packet(PacketType.Pubrel)).packetId, again.packetId);
    back.pubcomp(again.packetId);
    await back.quiet();
    await other.quiet();
  },
);

conformance(
  '[MQTT-4.8.2-5] a QoS 2 message that was sent to a member whose session ends goes to nobody else',
  v5,
  async ({ connect, kept, drop }) => {
    const publisher = await connect();
    const other = await connect();
    const member = await connect();
    await member.subscribe('$share/g/t', { qos: 2 });
    await publisher.deliver('t', '1', { qos: 2 });
    await member.message();
    await other.subscribe('$share/g/t', { qos: 2 });
    await drop(member); // its session ends with it
    await other.quiet();
    const stays = await connect(kept('stays'));
    await other.unsubscribe('$share/g/t');
    await stays.subscribe('$share/g/t', { qos: 2 });
    await publisher.deliver('t', '2', { qos: 2 });
    await stays.message();
    await other.subscribe('$share/g/t', { qos: 2 });
    await drop(stays);
    await connect(kept('stays', { cleanStart: true }));
    await other.quiet();
  },
);

conformance('a QoS 1 message of a member that leaves goes to another member', all, async ({ connect, drop }) => {
  const publisher = await connect();
  const member = await connect();
  await member.subscribe('$share/g/t', { qos: 1 });
  await publisher.deliver('t', 'unacknowledged', { qos: 1 });
  await member.message();
  const other = await connect();
  await other.subscribe('$share/g/t', { qos: 1 });
  await drop(member);
  assert.equal((await other.message()).payload, 'unacknowledged');
});

conformance(
  '[MQTT-4.4.0-1] [MQTT-3.3.1-1] a QoS 1 message of the only member is sent again to it, with DUP and its identifier',
  v5,
  async ({ connect, kept, drop }) => {
    const publisher = await connect();
    const first = await connect(kept('only'));
    await first.subscribe('$share/g/t', { qos: 1 });
    for (const payload of ['1', '2', '3']) await publisher.deliver('t', payload, { qos: 1 });
    const sent = [await first.message(), await first.message(), await first.message()];
    first.puback(sent[0]!.packetId);
    await first.quiet();
    await drop(first);
    await publisher.deliver('t', '4', { qos: 1 });
    const back = await connect(kept('only'));
    for (const { payload, packetId } of sent.slice(1)) {
      const again = await back.message();
      assert.deepEqual([again.payload, again.packetId, again.dup], [payload, packetId, true]);
    }
    const fresh = await back.message();
    assert.deepEqual([fresh.payload, fresh.dup], ['4', false]);
    await back.quiet();
  },
);

conformance(
  '[MQTT-4.8.2-6] a member’s PUBACK or PUBREC that refuses discards the message for the whole group',
  v5,
  async ({ connect }) => {
    const publisher = await connect();
    const members = [await connect(), await connect()];
    for (const member of members) await member.subscribe('$share/g/t', { qos: 2 });
    for (const qos of [1, 2] as const) {
      await publisher.deliver('t', 'x', { qos });
      await publisher.deliver('t', 'x', { qos });
      for (const member of members) {
        const { packetId } = await member.message(); // in turn
        if (qos === 1) member.puback(packetId, ReasonCode.UnspecifiedError);
        else member.pubrec(packetId, ReasonCode.QuotaExceeded);
      }
      for (const member of [...members, ...members]) await member.quiet();
    }
  },
);

conformance('while no member is connected the group keeps messages of QoS 1 and 2', all, async (scene) => {
  const { connect, kept, drop } = scene;
  const publisher = await connect();
  const members = [await connect(kept('one')), await connect(kept('two'))];
  for (const member of members) await member.subscribe('$share/g/t', { qos: 2 });
  for (const member of members) await drop(member);
  await publisher.deliver('t', '0');
  await publisher.deliver('t', '1', { qos: 1 });
  await publisher.deliver('t', '2', { qos: 2 });
  const back = await connect(kept('two'));
  assert.equal((await back.message()).payload, '1');
  assert.equal((await back.message()).payload, '2');
  await (await connect(kept('one'))).quiet();
  await back.quiet();
});

conformance('stored messages are not sent to shared subscriptions', v5, async ({ connect }) => {
  await (await connect()).deliver('t', 'stored', { retain: true });
  const member = await connect();
  await member.subscribe('$share/g/t');
  await member.quiet();
});
