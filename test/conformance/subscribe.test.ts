/** SUBSCRIBE and SUBACK: v5 §3.8 and §3.9, 3.1.1 §3.8 and §3.9. */
import assert from 'node:assert/strict';
import { PacketType, ReasonCode } from '../../src/protocol/index.js';
import { all, conformance, v3, v4, v5 } from '../support/conformance.js';
import { type Field, field, frame, properties } from '../support/wire-bytes.js';

const none = (version: number): Field => (version === 5 ? properties() : []);

conformance(
  '[MQTT-3.8.3-2] [MQTT3-3.8.3-3] a SUBSCRIBE without a Topic Filter ends the connection',
  all,
  async ({ version, connect }) => {
    const client = await connect();
    client.send(frame(0x82, '0001', none(version)));
    await client.refused(ReasonCode.ProtocolError);
    const half = await connect();
    half.send(frame(0x82, '0001', none(version), field('t')));
    await half.refused(ReasonCode.MalformedPacket);
  },
);

conformance('[MQTT-3.8.3-3] No Local keeps a client’s own messages from it, and no others', v5, async ({ connect }) => {
  const client = await connect();
  const other = await connect();
  await client.subscribe('t', { qos: 2, noLocal: true });
  await other.subscribe('t', { qos: 2 });
  for (const qos of [0, 1, 2] as const) {
    await client.deliver('t', 'own', { qos });
    await client.quiet();
    assert.equal((await other.message()).payload, 'own');
    await other.quiet();
  }
  const publisher = await connect();
  await publisher.deliver('t', 'theirs');
  assert.equal((await client.message()).payload, 'theirs');
  await client.subscribe('t', { noLocal: false });
  client.publish('t', 'own');
  assert.equal((await client.message()).payload, 'own');
});

conformance('[MQTT-3.8.3-3] No Local goes by Client Identifier, also over a new connection', v5, async (scene) => {
  const { connect, kept, drop } = scene;
  const client = await connect(kept('local'));
  await client.subscribe('t', { qos: 1, noLocal: true });
  await drop(client);
  const back = await connect(kept('local'));
  await back.deliver('t', 'own', { qos: 1 });
  await back.quiet();
});

conformance('[MQTT-3.8.3-4] No Local on a shared subscription ends the connection', v5, async ({ connect }) => {
  const client = await connect();
  client.sendSubscribe('$share/group/t', { noLocal: true });
  await client.refused(ReasonCode.ProtocolError);
  assert.deepEqual(await (await connect()).subscribe('$share/group/t'), [0]);
});

conformance('[MQTT-3.8.3-5] reserved bits of the Subscription Options end the connection', v5, async ({ connect }) => {
  for (const options of [0x40, 0x80, 0xc1]) {
    const client = await connect();
    client.send(frame(0x82, '0001 00', field('t'), [options]));
    await client.refused(ReasonCode.MalformedPacket);
  }
  for (const options of [0x03, 0x30]) {
    const client = await connect();
    client.send(frame(0x82, '0001 00', field('t'), [options]));
    await client.refused(ReasonCode.ProtocolError);
  }
  const client = await connect();
  client.send(frame(0x82, '0001 00', field('t'), [0x2e]));
  assert.equal(await client.bytes(), '900400010002');
});

conformance('[MQTT3-3.8.3-4] reserved bits, or QoS 3, in SUBSCRIBE end the connection', v4, async ({ connect }) => {
  for (const options of [0x03, 0x04, 0x08, 0x10, 0x80]) {
    const client = await connect();
    client.send(frame(0x82, '0001', field('t'), [options]));
    await client.closed();
  }
});

conformance('3.1 looks at the QoS bits of SUBSCRIBE alone', [3], async ({ connect }) => {
  const client = await connect();
  client.send(frame(0x82, '0001', field('t'), [0xfd]));
  assert.equal(await client.bytes(), '9003000101');
});

conformance(
  '[MQTT-3.8.4-1] [MQTT3-3.8.4-1] [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT3-3.8.4-4] [MQTT3-3.8.4-5] [MQTT-3.9.3-1] [MQTT3-3.9.3-1] several filters are answered by one SUBACK with the QoS granted to each, in order, and all of them hold',
  all,
  async ({ version, connect }) => {
    const client = await connect();
    const filters = [
      ['a', 2],
      ['b', 0],
      ['c', 1],
      ['a', 1], // as a second SUBSCRIBE would replace the first
    ] as const;
    client.send(frame(0x82, '1234', none(version), ...filters.flatMap(([filter, qos]) => [field(filter), [qos]])));
    assert.equal(await client.bytes(), frame(0x90, '1234', none(version), [2, 0, 1, 1]).toString('hex'));
    await client.quiet();
    const publisher = await connect();
    for (const [topicName, qos] of [
      ['a', 1],
      ['b', 0],
      ['c', 1],
    ] as const) {
      await publisher.deliver(topicName, 'x', { qos: 2 });
      const message = await client.message();
      assert.deepEqual([message.topicName, message.qos], [topicName, qos]);
    }
    await client.quiet();
  },
);

conformance(
  '[MQTT-3.8.4-8] [MQTT3-3.8.4-6] a message is sent with the lower of its own QoS and the one granted',
  all,
  async ({ connect }) => {
    const publisher = await connect();
    for (const granted of [0, 1, 2] as const) {
      const subscriber = await connect();
      assert.deepEqual(await subscriber.subscribe('t', { qos: granted }), [granted]);
      for (const qos of [0, 1, 2] as const) {
        await publisher.deliver('t', 'x', { qos });
        assert.equal((await subscriber.message()).qos, Math.min(granted, qos));
      }
    }
  },
);

const capping = {
  policy: {
    authorizeSubscribe: (_client: unknown, topicFilter: string, qos: 0 | 1 | 2) => {
      if (topicFilter.startsWith('no')) return ReasonCode.NotAuthorized;
      return topicFilter.startsWith('low') ? 0 : qos;
    },
  },
};

conformance(
  '[MQTT-3.8.4-7] [MQTT3-3.8.4-5] [MQTT-3.9.3-2] [MQTT3-3.9.3-2] SUBACK tells which filters were refused and where less was granted',
  all,
  capping,
  async ({ version, connect }) => {
    const client = await connect();
    client.sendSubscribe(['yes', 'no', 'low', 'no/2'], { qos: 2, packetId: 1 });
    const suback = await client.packet(PacketType.Suback);
    const refused = { 3: 2, 4: 0x80, 5: 0x87 }[version]; // 3.1 §3.8: such a client cannot be told
    assert.deepEqual(suback.reasonCodes, [2, refused, 0, refused]);
    const publisher = await connect();
    await publisher.deliver('no', 'x', { qos: 1 });
    await publisher.deliver('low', 'x', { qos: 1 });
    const message = await client.message();
    assert.deepEqual([message.topicName, message.qos], ['low', 0]);
    await client.quiet();
  },
);

conformance(
  '[MQTT-3.9.3-2] every refusal has the Subscribe Reason Code of its cause',
  v5,
  { config: { limits: { topicLevelsMax: 3, subscriptionsPerClientMax: 1 } } },
  async ({ connect }) => {
    const client = await connect();
    assert.deepEqual(await client.subscribe(['a', 'a/b/c/d', 'b', 'a']), [
      ReasonCode.GrantedQoS0,
      ReasonCode.TopicFilterInvalid,
      ReasonCode.QuotaExceeded,
      ReasonCode.GrantedQoS0,
    ]);
  },
);

const switchedOff = [
  ['wildcardSubscriptions', 'wildcardSubscriptionAvailable', ReasonCode.WildcardSubscriptionsNotSupported, 'a/#'],
  ['sharedSubscriptions', 'sharedSubscriptionAvailable', ReasonCode.SharedSubscriptionsNotSupported, '$share/g/a'],
  ['subscriptionIdentifiers', 'subscriptionIdentifierAvailable', ReasonCode.SubscriptionIdentifiersNotSupported, 'a'],
] as const;

for (const [setting, property, reasonCode, filter] of switchedOff)
  conformance(
    `[MQTT-3.9.3-2] where ${setting} are off, CONNACK and SUBACK say so`,
    v5,
    { config: { protocol: { [setting]: false } } },
    async ({ open }) => {
      const client = await open();
      assert.equal((await client.connect()).properties?.[property], 0);
      const identifier = property === 'subscriptionIdentifierAvailable' ? { subscriptionIdentifiers: [1] } : {};
      assert.deepEqual(await client.subscribe(filter, { properties: identifier }), [reasonCode]);
      assert.deepEqual(await client.subscribe('a'), [0]);
    },
  );

conformance(
  '[MQTT3-3.8.3-2] [MQTT3-3.9.3-2] where wildcards are off, a filter with one is refused by 0x80',
  v4,
  { config: { protocol: { wildcardSubscriptions: false } } },
  async ({ connect }) => {
    const client = await connect();
    client.sendSubscribe(['a/#', 'a/b', '+'], { packetId: 5 });
    assert.equal(await client.bytes(), '90050005800080');
    await (await connect()).deliver('a/c', 'x');
    await client.quiet();
  },
);

conformance(
  '[MQTT-3.9.2-1] [MQTT-3.9.2-2] SUBACK leaves out the Reason String or User Property that would make it larger than the client takes',
  v5,
  capping,
  async ({ connect }) => {
    const roomy = await connect();
    roomy.sendSubscribe(['no', 'yes'], { packetId: 1 });
    const whole = await roomy.next();
    for (const maximumPacketSize of [whole.bytes.length, whole.bytes.length - 1, 20]) {
      const client = await connect({ properties: { maximumPacketSize } });
      client.sendSubscribe(['no', 'yes'], { packetId: 1 });
      const { packet, bytes } = await client.next();
      assert.ok(packet.type === PacketType.Suback);
      assert.ok(bytes.length <= maximumPacketSize || bytes.length === 7);
      assert.deepEqual(packet.reasonCodes, [0x87, 0]);
      if (maximumPacketSize < whole.bytes.length) assert.equal(packet.properties?.reasonString, undefined);
      assert.equal(packet.properties?.userProperties, undefined);
    }
  },
);

conformance('3.x clients may share subscriptions too', v3, async ({ connect }) => {
  const members = [await connect(), await connect()];
  for (const member of members) await member.subscribe('$share/group/t');
  const publisher = await connect();
  for (let count = 0; count < 2; count++) await publisher.deliver('t', `${count}`);
  for (const member of members) {
    await member.message();
    await member.quiet();
  }
});
