/** UNSUBSCRIBE and UNSUBACK: v5 §3.10 and §3.11, 3.1.1 §3.10 and §3.11. */
import assert from 'node:assert/strict';
import { PacketType, ReasonCode } from '../../src/protocol/index.js';
import { all, conformance, v5 } from '../support/conformance.js';
import { field, frame, properties } from '../support/wire-bytes.js';

conformance(
  '[MQTT-3.10.3-2] [MQTT3-3.10.3-2] an UNSUBSCRIBE without a Topic Filter ends the connection',
  all,
  async ({ version, connect }) => {
    const client = await connect();
    client.send(frame(0xa2, '0001', version === 5 ? properties() : []));
    await client.refused(ReasonCode.ProtocolError);
  },
);

conformance(
  '[MQTT-3.10.4-1] [MQTT3-3.10.4-1] a filter is removed by exactly the same text, not by one that matches as much',
  all,
  async ({ connect }) => {
    const client = await connect();
    const publisher = await connect();
    await client.subscribe(['a/+', 'a/#', '$share/g/a/b']);
    await client.unsubscribe('a/b', '+/b', '#', 'A/+', 'a/+/', 'g/a/b', '$share/G/a/b');
    await publisher.deliver('a/b', '1');
    assert.deepEqual([(await client.message()).payload, (await client.message()).payload], ['1', '1']);
    await client.unsubscribe('a/+');
    await publisher.deliver('a/b', '2');
    assert.deepEqual([(await client.message()).payload, (await client.message()).payload], ['2', '2']);
    await client.unsubscribe('a/#');
    await publisher.deliver('a/b', '3');
    assert.equal((await client.message()).payload, '3');
    await client.unsubscribe('$share/g/a/b');
    await publisher.deliver('a/b', '4');
    await client.quiet();
  },
);

conformance(
  '[MQTT-3.10.4-2] [MQTT3-3.10.4-2] after UNSUBSCRIBE no new message comes; other subscriptions stay',
  all,
  async ({ connect, kept, drop }) => {
    const client = await connect(kept('leaves'));
    const other = await connect();
    const publisher = await connect();
    for (const each of [client, other]) await each.subscribe(['t', 'u'], { qos: 1 });
    await client.unsubscribe('t');
    for (const qos of [0, 1] as const) {
      await publisher.deliver('t', 'x', { qos });
      assert.equal((await other.message()).topicName, 't');
      await client.quiet();
    }
    await publisher.deliver('u', 'x');
    assert.equal((await client.message()).topicName, 'u');
    await drop(client);
    await publisher.deliver('t', 'x', { qos: 1 });
    await (await connect(kept('leaves'))).quiet();
  },
);

conformance(
  '[MQTT-3.10.4-3] [MQTT3-3.10.4-3] what was begun at QoS 1 and 2 is completed after UNSUBSCRIBE',
  all,
  async ({ connect, kept, drop }) => {
    const publisher = await connect();
    const first = await connect(kept('completes'));
    await first.subscribe('t', { qos: 2 });
    await publisher.deliver('t', '1', { qos: 1 });
    await publisher.deliver('t', '2', { qos: 2 });
    const begun = [await first.message(), await first.message()];
    await first.unsubscribe('t');
    await drop(first);
    const second = await connect(kept('completes'));
    const again = [await second.message(), await second.message()];
    assert.deepEqual(
      again.map(({ payload, packetId, dup }) => [payload, packetId, dup]),
      begun.map(({ payload, packetId }) => [payload, packetId, true]),
    );
    second.puback(again[0]!.packetId);
    second.pubrec(again[1]!.packetId);
    assert.equal((await second.packet(PacketType.Pubrel)).packetId, again[1]!.packetId);
    second.pubcomp(again[1]!.packetId);
    await second.quiet();
    await drop(second);
    await (await connect(kept('completes'))).quiet();
  },
);

conformance(
  '[MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT3-3.10.4-4] [MQTT3-3.10.4-5] every UNSUBSCRIBE is answered with its identifier, also when nothing was removed',
  all,
  async ({ version, connect }) => {
    const client = await connect();
    await client.subscribe('t');
    for (const [packetId, code] of [
      ['4321', '00'],
      ['4321', '11'],
      ['ffff', '11'],
    ] as const) {
      client.send(frame(0xa2, packetId, version === 5 ? properties() : [], field('t')));
      const { bytes } = await client.next();
      const expected = version === 5 ? frame(0xb0, packetId, '00', code) : frame(0xb0, packetId);
      assert.equal(bytes.toString('hex'), expected.toString('hex'));
    }
  },
);

conformance(
  '[MQTT-3.10.4-6] [MQTT3-3.10.4-6] several filters are all removed and answered by one UNSUBACK',
  all,
  async ({ connect }) => {
    const client = await connect();
    await client.subscribe(['a', 'b', 'c']);
    await client.unsubscribe('a', 'c', 'a');
    await client.quiet();
    const publisher = await connect();
    for (const topicName of ['a', 'c', 'b']) await publisher.deliver(topicName, 'x');
    assert.equal((await client.message()).topicName, 'b');
    await client.quiet();
  },
);

conformance(
  '[MQTT-3.11.3-1] [MQTT-3.11.3-2] UNSUBACK has a reason code for each filter, in order',
  v5,
  async ({ connect }) => {
    const client = await connect();
    await client.subscribe(['a', 'b']);
    const { Success, NoSubscriptionExisted } = ReasonCode;
    assert.deepEqual(await client.unsubscribe('x', 'b', 'b', 'a'), [
      NoSubscriptionExisted,
      Success,
      NoSubscriptionExisted,
      Success,
    ]);
  },
);

conformance(
  '[MQTT-3.11.2-1] [MQTT-3.11.2-2] UNSUBACK leaves out the Reason String or User Property that would make it larger than the client takes',
  v5,
  async ({ connect }) => {
    const client = await connect({ properties: { maximumPacketSize: 20 } });
    client.send({ type: PacketType.Unsubscribe, packetId: 1, topicFilters: ['x', 'y'] });
    assert.equal(await client.bytes(), 'b0050001001111');
  },
);
