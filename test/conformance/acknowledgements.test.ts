/** PUBACK, PUBREC, PUBREL and PUBCOMP: reason codes and properties (v5 §3.4 to §3.7). */
import assert from 'node:assert/strict';
import { PacketType, ReasonCode } from '../../src/protocol/index.js';
import { conformance, v3, v5 } from '../support/conformance.js';
import { field, frame, properties } from '../support/wire-bytes.js';
import type { WireClient } from '../support/wire-client.js';

const refusing = {
  policy: { authorizePublish: (_client: unknown, topicName: string) => (topicName === 'no' ? 0x87 : 0) as 0 | 0x87 },
};

conformance(
  '[MQTT-3.4.2-1] [MQTT-3.5.2-1] PUBACK and PUBREC say how it went: delivered, no subscriber, refused',
  v5,
  refusing,
  async ({ connect }) => {
    await (await connect()).subscribe('t');
    const client = await connect();
    for (const qos of [1, 2] as const) {
      assert.equal(await client.deliver('t', 'x', { qos }), ReasonCode.Success);
      assert.equal(await client.deliver('nobody', 'x', { qos }), ReasonCode.NoMatchingSubscribers);
      assert.equal(await client.deliver('no', 'x', { qos }), ReasonCode.NotAuthorized);
    }
    assert.equal(await client.deliver('no', 'x'), 0);
  },
);

conformance(
  '[MQTT-3.4.2-1] a full store of retained messages refuses with Quota Exceeded',
  v5,
  { config: { limits: { retainedMessagesMax: 1 } } },
  async ({ connect }) => {
    const client = await connect();
    await client.deliver('a', 'x', { qos: 1, retain: true });
    assert.equal(await client.deliver('b', 'x', { qos: 1, retain: true }), ReasonCode.QuotaExceeded);
    assert.equal(await client.deliver('b', 'x', { qos: 2, retain: true }), ReasonCode.QuotaExceeded);
    assert.ok((await client.deliver('a', 'y', { qos: 1, retain: true })) < 0x80);
  },
);

conformance(
  '[MQTT3-3.3.5-2] a PUBLISH that may not be is acknowledged and goes nowhere',
  [4],
  refusing,
  async ({ connect }) => {
    const subscriber = await connect();
    await subscriber.subscribe('#', { qos: 2 });
    const client = await connect();
    client.publish('no', 'x', { qos: 1, packetId: 1 });
    assert.equal(await client.bytes(), '40020001');
    client.publish('no', 'x', { qos: 2, packetId: 2 });
    assert.equal(await client.bytes(), '50020002');
    client.pubrel(2);
    assert.equal(await client.bytes(), '70020002');
    await client.deliver('no', 'x');
    await subscriber.quiet();
  },
);

/** Runs a QoS 2 delivery to `client` up to its PUBREL. */
async function received(client: WireClient): Promise<number> {
  const { packetId } = await client.message();
  client.pubrec(packetId);
  const pubrel = await client.packet(PacketType.Pubrel);
  assert.equal(pubrel.reasonCode, ReasonCode.Success);
  return packetId;
}

conformance(
  '[MQTT-3.6.2-1] PUBREL says Success for an exchange that is known and Packet Identifier Not Found for one that is not',
  v5,
  async ({ connect }) => {
    const client = await connect();
    await client.subscribe('t', { qos: 2 });
    await (await connect()).deliver('t', 'x', { qos: 2 });
    const packetId = await received(client);
    client.pubcomp(packetId);
    client.pubrec(packetId);
    assert.equal((await client.packet(PacketType.Pubrel)).reasonCode, ReasonCode.PacketIdentifierNotFound);
    client.pubrec(4711);
    const unknown = await client.packet(PacketType.Pubrel);
    assert.deepEqual([unknown.packetId, unknown.reasonCode], [4711, ReasonCode.PacketIdentifierNotFound]);
  },
);

conformance(
  '[MQTT-3.7.2-1] PUBCOMP says Success for an exchange that is known and Packet Identifier Not Found for one that is not',
  v5,
  async ({ connect }) => {
    const client = await connect();
    client.publish('t', 'x', { qos: 2, packetId: 1 });
    await client.packet(PacketType.Pubrec);
    for (const expected of [ReasonCode.Success, ReasonCode.PacketIdentifierNotFound]) {
      client.pubrel(1);
      assert.equal((await client.packet(PacketType.Pubcomp)).reasonCode, expected);
    }
  },
);

conformance(
  '[MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1] a reason code that is none of its packet ends the connection',
  v5,
  async ({ connect }) => {
    for (const [header, code] of [
      [0x40, 0x92],
      [0x40, 0x01],
      [0x50, 0x92],
      [0x62, 0x10],
      [0x62, 0x80],
      [0x70, 0x87],
    ] as const) {
      const client = await connect();
      client.send(frame(header, '0001', [code]));
      await client.refused(ReasonCode.ProtocolError);
    }
    const client = await connect();
    for (const code of [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]) client.send(frame(0x40, '0001', [code]));
    client.send(frame(0x70, '0001', [0x92]), frame(0x70, '0001', '00', properties('1f 0001 61 26 0001 61 0001 62')));
    await client.quiet();
  },
);

conformance('acknowledgements of 3.x have two bytes and no more', v3, async ({ connect }) => {
  for (const header of [0x40, 0x50, 0x62, 0x70]) {
    const client = await connect();
    client.send(frame(header, '0001 00'));
    await client.closed();
  }
});

/** What a client sends to be answered with a failure, and the type of the answer. */
const failing = [
  ['[MQTT-3.4.2-2] [MQTT-3.4.2-3] PUBACK', PacketType.Puback, frame(0x32, field('no'), '0007 00')],
  ['[MQTT-3.5.2-2] [MQTT-3.5.2-3] PUBREC', PacketType.Pubrec, frame(0x34, field('no'), '0007 00')],
  ['[MQTT-3.6.2-2] [MQTT-3.6.2-3] PUBREL', PacketType.Pubrel, frame(0x50, '0007')],
  ['[MQTT-3.7.2-2] [MQTT-3.7.2-3] PUBCOMP', PacketType.Pubcomp, frame(0x62, '0007')],
] as const;

for (const [name, type, request] of failing)
  conformance(
    `${name} leaves out the Reason String or User Property that would make it larger than the client takes`,
    v5,
    refusing,
    async ({ connect }) => {
      const roomy = await connect();
      roomy.send(request);
      const whole = await roomy.next();
      assert.ok(whole.packet.type === type && whole.packet.properties?.reasonString !== undefined);
      for (const maximumPacketSize of [whole.bytes.length, whole.bytes.length - 1, 20]) {
        const client = await connect({ properties: { maximumPacketSize } });
        client.send(request);
        const { packet, bytes } = await client.next();
        assert.ok(packet.type === type && packet.reasonCode === whole.packet.reasonCode);
        assert.ok(bytes.length <= maximumPacketSize);
        assert.equal(packet.properties?.reasonString !== undefined, maximumPacketSize >= whole.bytes.length);
        assert.equal(packet.properties?.userProperties, undefined);
      }
    },
  );

conformance(
  '[MQTT-3.1.2-29] without Request Problem Information no Reason String and no User Property comes, but in CONNACK, PUBLISH and DISCONNECT',
  v5,
  {
    policy: {
      ...refusing.policy,
      authorizeSubscribe: (_client, topicFilter, qos) => (topicFilter === 'no' ? 0x87 : qos),
    },
  },
  async ({ connect }) => {
    const client = await connect({ properties: { requestProblemInformation: 0 } });
    client.publish('no', 'x', { qos: 1, packetId: 1 });
    assert.equal(await client.bytes(), '4003000187');
    client.publish('no', 'x', { qos: 2, packetId: 1 });
    assert.equal(await client.bytes(), '5003000187');
    client.pubrel(1);
    assert.equal(await client.bytes(), '7003000192');
    client.pubrec(1);
    assert.equal(await client.bytes(), '6203000192');
    client.sendSubscribe(['no', 'yes'], { packetId: 2 });
    assert.equal(await client.bytes(), '90050002008700');
    client.send({ type: PacketType.Unsubscribe, packetId: 3, topicFilters: ['no', 'yes'] });
    assert.equal(await client.bytes(), 'b0050003001100');
    const userProperties: [string, string][] = [['a', 'b']];
    await client.subscribe('t');
    await (await connect()).deliver('t', 'x', { properties: { userProperties } });
    assert.deepEqual((await client.message()).properties.userProperties, userProperties);
  },
);
