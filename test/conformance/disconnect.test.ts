/** DISCONNECT and the errors that lead to it: v5 §3.14 and §4.13, 3.1.1 §3.14 and §4.8. */
import assert from 'node:assert/strict';
import { PacketType, ReasonCode } from '../../src/protocol/index.js';
import type { Router } from '../../src/router/index.js';
import { all, conformance, v3, v4, v5 } from '../support/conformance.js';
import { field, frame, properties, rawConnect } from '../support/wire-bytes.js';

conformance('[MQTT-3.14.0-1] before a CONNACK that accepts there is no DISCONNECT', v5, async ({ open }) => {
  const early = await open();
  early.send('c000');
  await early.closed();
  const wrong = await open();
  wrong.send(rawConnect(5, { flags: 3 }));
  assert.equal((await wrong.packet(PacketType.Connack)).reasonCode, ReasonCode.MalformedPacket);
  await wrong.closed();
  const right = await open();
  right.send(rawConnect(5), 'f1 00');
  assert.equal((await right.packet(PacketType.Connack)).reasonCode, 0);
  assert.equal((await right.packet(PacketType.Disconnect)).reasonCode, ReasonCode.MalformedPacket);
  await right.closed();
});

conformance(
  '[MQTT-3.14.2-1] [MQTT-4.13.1-1] [MQTT-3.14.2-2] a DISCONNECT of the broker tells the reason code of the standard and no Session Expiry Interval',
  v5,
  { config: { limits: { packetBytesMax: 1000, receiveMaximum: 1 } } },
  async ({ connect, kept }) => {
    const failures: [packet: Buffer, reasonCode: number][] = [
      [frame(0x30, '0005 61'), ReasonCode.MalformedPacket],
      [frame(0x10, '00'), ReasonCode.MalformedPacket],
      [frame(0x00), ReasonCode.MalformedPacket],
      [frame(0x20, '00 00 00'), ReasonCode.ProtocolError],
      [frame(0x90, '0001 00 00'), ReasonCode.ProtocolError],
      [frame(0xd0), ReasonCode.ProtocolError],
      [frame(0x30, field('t'), properties('01 01 01 01')), ReasonCode.ProtocolError],
      [frame(0x30, field('t'), properties('7e 00')), ReasonCode.MalformedPacket],
      [frame(0x82, '0001 00', field('a/#/b'), '00'), ReasonCode.TopicFilterInvalid],
      [frame(0x30, field('a/#'), '00'), ReasonCode.TopicNameInvalid],
      [frame(0x30, field(''), '00'), ReasonCode.ProtocolError],
      [frame(0x30, field('t'), properties('23 0000')), ReasonCode.TopicAliasInvalid],
      [frame(0x30, field('t'), '00', Buffer.alloc(1000)), ReasonCode.PacketTooLarge],
      [
        Buffer.concat([frame(0x34, field('t'), '0001 00'), frame(0x34, field('t'), '0002 00')]),
        ReasonCode.ReceiveMaximumExceeded,
      ],
    ];
    for (const [packet, reasonCode] of failures) {
      const client = await connect(kept('fails', { cleanStart: true }));
      client.send(packet);
      if (reasonCode === ReasonCode.ReceiveMaximumExceeded) await client.packet(PacketType.Pubrec);
      const told = await client.refused(reasonCode);
      assert.equal(told.sessionExpiryInterval, undefined);
    }
  },
);

conformance('[MQTT-3.14.2-1] a reason code that a client may not give ends the connection', v5, async ({ connect }) => {
  for (const code of [0x01, 0x87, 0x8b, 0x8e, 0x9c, 0xff]) {
    const client = await connect();
    client.send(frame(0xe0, [code]));
    await client.refused(ReasonCode.ProtocolError);
  }
  for (const code of [0x00, 0x04, 0x80, 0x81, 0x98]) {
    const client = await connect();
    client.send(frame(0xe0, [code], '00'));
    await client.closed();
  }
});

conformance('a Session Expiry Interval cannot be given to a session that had none', v5, async ({ connect }) => {
  const client = await connect();
  client.send(frame(0xe0, '00', properties('11 00000001')));
  await client.refused(ReasonCode.ProtocolError);
});

conformance(
  '[MQTT-3.14.2-3] [MQTT-3.14.2-4] [MQTT-3.1.2-24] DISCONNECT leaves out the Reason String or User Property that would make it larger than the client takes',
  v5,
  async ({ connect }) => {
    const wrong = frame(0x30, field('a/#'), '00');
    const roomy = await connect();
    roomy.send(wrong);
    const whole = await roomy.next();
    assert.ok(whole.packet.type === PacketType.Disconnect && whole.packet.properties?.reasonString !== undefined);
    for (const maximumPacketSize of [whole.bytes.length, whole.bytes.length - 1, 20]) {
      const client = await connect({ properties: { maximumPacketSize } });
      client.send(wrong);
      const { packet, bytes } = await client.next();
      assert.ok(packet.type === PacketType.Disconnect && packet.reasonCode === ReasonCode.TopicNameInvalid);
      assert.ok(bytes.length <= maximumPacketSize);
      assert.equal(packet.properties?.reasonString !== undefined, maximumPacketSize >= whole.bytes.length);
      assert.equal(packet.properties?.userProperties, undefined);
      await client.closed();
    }
  },
);

conformance(
  '[MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-4.13.2-1] after its DISCONNECT the broker sends nothing and closes',
  v5,
  async ({ connect }) => {
    const client = await connect();
    await client.subscribe('t');
    client.send(frame(0x30, field('a/#'), '00'), frame(0x30, field('t'), '00'), 'c000');
    await (await connect()).deliver('t', 'x');
    await client.refused(ReasonCode.TopicNameInvalid); // which sees that nothing follows
  },
);

conformance('what a client sends after its DISCONNECT is not processed', all, async ({ version, connect, gone }) => {
  const subscriber = await connect();
  await subscriber.subscribe('t');
  const client = await connect();
  const left = gone(client);
  client.send('e000', frame(0x30, field('t'), version === 5 ? properties() : [], 'ff'));
  await left;
  await client.closed();
  await subscriber.quiet();
});

conformance(
  '[MQTT3-3.14.4-1] [MQTT3-3.14.4-2] after a client’s DISCONNECT the broker closes, too',
  v4,
  async ({ connect, leave }) => {
    await leave(await connect());
  },
);

const broken: [string, Buffer][] = [
  ['a packet type that no client sends', frame(0x20, '0000')],
  ['a reserved packet type', frame(0xf0)],
  ['packet type 0', frame(0x00)],
  ['a PUBLISH cut short', frame(0x30, '0005 61')],
  ['a SUBSCRIBE with a filter that is none', frame(0x82, '0001', field('a/#/b'), '00')],
  ['an UNSUBSCRIBE with a filter that is none', frame(0xa2, '0001', field('a#'))],
  ['an empty Topic Name', frame(0x30, field(''))],
];

for (const [name, packet] of broken)
  conformance(`[MQTT3-4.8.0-1] ${name} ends the connection it came on, and no other`, v4, async ({ connect }) => {
    const other = await connect();
    const client = await connect();
    client.send(packet);
    await client.closed();
    await other.quiet();
  });

conformance('a packet that 3.1 does not know ends the connection', v3, async ({ connect }) => {
  const client = await connect();
  client.send(frame(0xf0, '18 00'));
  await client.closed();
});

conformance(
  '[MQTT3-4.8.0-2] [MQTT-4.13.2-1] a failure inside the broker ends the connection whose packet met it, and no other',
  [4, 5],
  {},
  async ({ connect, broker }) => {
    const other = await connect();
    await other.subscribe('#');
    const { router } = (broker as unknown as { context: { router: Router } }).context;
    for (const name of ['publish', 'publishRun'] as const) {
      const publish = router[name].bind(router) as (...given: unknown[]) => unknown;
      router[name] = ((...given: [{ readonly topicName: string }]) => {
        if (given[0].topicName === 'fails') throw new Error('a bug');
        return publish(...given);
      }) as never;
    }
    for (const qos of [0, 1, 2] as const) {
      const client = await connect();
      client.publish('fails', 'x', { qos });
      await client.refused(ReasonCode.UnspecifiedError);
    }
    await other.quiet();
    await (await connect()).deliver('works', 'x', { qos: 1 });
    assert.equal((await other.message()).topicName, 'works');
  },
);
