/** CONNACK: order, flags, reason codes and properties (v5 §3.2, 3.1.1 §3.2). */
import assert from 'node:assert/strict';
import { encodePacket, PacketType, ReasonCode } from '../../src/protocol/index.js';
import { all, conformance, v4v5, v5 } from '../support/conformance.js';
import { properties, rawConnect } from '../support/wire-bytes.js';
import { type ConnectOptions, connectPacket } from '../support/wire-client.js';

const login = { config: { users: [{ username: 'ann', password: 'secret' }] } };

conformance(
  '[MQTT-3.2.0-1] [MQTT3-3.2.0-1] CONNACK comes before everything else, whatever waits or was asked for',
  all,
  async ({ version, open, connect, kept, drop }) => {
    const publisher = await connect();
    const first = await connect(kept('waits'));
    await first.subscribe('t', { qos: 2 });
    await publisher.deliver('t', 'in flight', { qos: 2 });
    await first.message();
    await drop(first);
    await publisher.deliver('t', 'queued', { qos: 1 });
    const client = await open();
    client.send(connectPacket(version, kept('waits')), { type: PacketType.Pingreq });
    const types = [];
    for (let count = 0; count < 4; count++) types.push((await client.next()).packet.type);
    const { Connack, Publish, Pingresp } = PacketType;
    assert.deepEqual(types, [Connack, Publish, Publish, Pingresp]);
  },
);

conformance('[MQTT-3.2.0-2] one CONNECT gets one CONNACK', v5, async ({ version, open }) => {
  const client = await open();
  client.send(connectPacket(version), { type: PacketType.Pingreq }, { type: PacketType.Pingreq });
  const types = [];
  for (let count = 0; count < 3; count++) types.push((await client.next()).packet.type);
  assert.deepEqual(types, [PacketType.Connack, PacketType.Pingresp, PacketType.Pingresp]);
});

conformance(
  '[MQTT-3.2.2-1] the reserved bits of the Connect Acknowledge Flags are 0',
  v5,
  login,
  async ({ open, kept, drop }) => {
    const flags: string[] = [];
    const ann = { username: 'ann', password: 'secret' };
    for (const options of [kept('flags', ann), kept('flags', ann), { username: 'ann' }]) {
      const client = await open();
      client.sendConnect(options);
      const bytes = await client.bytes();
      flags.push(bytes.slice(-2 * Number.parseInt(bytes.slice(2, 4), 16)).slice(0, 2));
      if (options.clientId !== undefined) await drop(client);
    }
    assert.deepEqual(flags, ['00', '01', '00']);
  },
);

conformance(
  '[MQTT-3.2.2-7] [MQTT3-3.2.2-5] [MQTT-4.13.2-1] a CONNACK that refuses is followed by the end of the connection',
  v4v5,
  login,
  async ({ open }) => {
    const refused = await open();
    refused.sendConnect({ username: 'ann' });
    await refused.refused(ReasonCode.BadUserNameOrPassword, 4);
    await (await open()).connect({ username: 'ann', password: 'secret' });
  },
);

const willOf = (qos: 0 | 1 | 2, retain: boolean) => ({ topicName: 'w', payload: Buffer.from('x'), qos, retain });

const encoded = (options: ConnectOptions) => encodePacket(connectPacket(5, options), 5);

conformance(
  '[MQTT-3.2.2-8] refusals carry the reason code of the standard for their cause',
  v5,
  { config: { ...login.config, limits: { packetBytesMax: 200, clientIdBytesMax: 23 } } },
  async ({ open }) => {
    const refusals: [reasonCode: number, connect: Uint8Array][] = [
      [ReasonCode.MalformedPacket, rawConnect(5, { flags: 3 })],
      [ReasonCode.ProtocolError, rawConnect(5, { properties: properties('21 0000') })],
      [ReasonCode.ClientIdentifierNotValid, encoded({ clientId: 'x'.repeat(24) })],
      [ReasonCode.BadUserNameOrPassword, encoded({ username: 'ann' })],
      [ReasonCode.BadAuthenticationMethod, encoded({ properties: { authenticationMethod: 'none such' } })],
      [ReasonCode.TopicNameInvalid, encoded({ will: { ...willOf(0, false), topicName: 'a/#' } })],
      [ReasonCode.PacketTooLarge, encoded({ will: { ...willOf(0, false), payload: Buffer.alloc(200) } })],
    ];
    for (const [reasonCode, connect] of refusals) {
      const client = await open();
      client.send(connect);
      await client.refused(reasonCode);
    }
  },
);

conformance(
  'more connections than may be are closed',
  v5,
  {
    config: { limits: { connectionsMax: 2 } },
  },
  async ({ connect, open, drop }) => {
    const first = await connect();
    const second = await connect();
    const third = await open();
    await third.closed();
    await drop(second);
    await connect();
    await first.quiet();
  },
);

conformance(
  'clients are sent elsewhere with a code and a Server Reference',
  all,
  { config: { protocol: { redirect: 'useAnotherServer', serverReference: 'other.example:1883' } } },
  async ({ open }) => {
    const client = await open();
    client.sendConnect();
    const told = await client.refused(ReasonCode.UseAnotherServer, 3);
    if (client.version === 5) assert.equal(told.serverReference, 'other.example:1883');
  },
);

for (const maximumQoS of [0, 1] as const)
  conformance(
    `[MQTT-3.2.2-9] [MQTT-3.2.2-10] [MQTT-3.2.2-11] with Maximum QoS ${maximumQoS} CONNACK says so, SUBSCRIBE may ask for more, PUBLISH may not`,
    v5,
    { config: { protocol: { maximumQoS } } },
    async ({ open, connect }) => {
      const client = await open();
      const { properties } = await client.connect();
      assert.equal(properties?.maximumQoS, maximumQoS);
      const codes = [0, 1, 2] as const;
      for (const qos of codes) {
        const [granted] = await client.subscribe(`t/${qos}`, { qos });
        assert.ok(granted! <= 2, 'accepted');
      }
      await (await connect()).deliver('t/2', 'x', { qos: maximumQoS });
      const message = await client.message();
      assert.deepEqual([message.payload, message.qos], ['x', maximumQoS]);
      const above = await connect();
      above.publish('t', 'x', { qos: maximumQoS === 0 ? 1 : 2 });
      await above.refused(ReasonCode.QoSNotSupported);
    },
  );

conformance('a broker of QoS 2 tells no Maximum QoS', v5, async ({ open }) => {
  assert.equal((await (await open()).connect()).properties?.maximumQoS, undefined);
});

conformance(
  '[MQTT-3.2.2-12] a Will QoS above the Maximum QoS is refused',
  v5,
  { config: { protocol: { maximumQoS: 1 } } },
  async ({ open }) => {
    const client = await open();
    client.sendConnect({ will: willOf(2, false) });
    await client.refused(ReasonCode.QoSNotSupported);
    await (await open()).connect({ will: willOf(1, false) });
  },
);

const withoutRetain = { config: { protocol: { retain: false } } };

conformance(
  '[MQTT-3.2.2-13] a retained will is refused where retained messages are off',
  all,
  withoutRetain,
  async (scene) => {
    const client = await scene.open();
    client.sendConnect({ will: willOf(0, true) });
    await client.refused(ReasonCode.RetainNotSupported);
    await (await scene.open()).connect({ will: willOf(0, false) });
  },
);

conformance(
  '[MQTT-3.2.2-14] where retained messages are off CONNACK says so and RETAIN ends the connection',
  v5,
  withoutRetain,
  async ({ open }) => {
    const client = await open();
    assert.equal((await client.connect()).properties?.retainAvailable, 0);
    await client.deliver('t', 'x');
    client.publish('t', 'x', { retain: true });
    await client.refused(ReasonCode.RetainNotSupported);
  },
);

conformance(
  '[MQTT-3.2.2-15] CONNACK tells the Maximum Packet Size, and a larger packet ends the connection',
  v5,
  { config: { limits: { packetBytesMax: 128 } } },
  async ({ open }) => {
    const client = await open();
    assert.equal((await client.connect()).properties?.maximumPacketSize, 128);
    client.publish('t', Buffer.alloc(122)); // 2 header + 2 + 1 topic + 1 properties
    await client.quiet();
    client.publish('t', Buffer.alloc(123));
    await client.refused(ReasonCode.PacketTooLarge);
  },
);

conformance(
  '[MQTT-3.2.2-19] [MQTT-3.2.2-20] [MQTT-3.1.2-24] CONNACK leaves out what would make it larger than the client takes',
  v5,
  login,
  async ({ open }) => {
    const roomy = await open();
    roomy.sendConnect({ username: 'ann' });
    const full = await roomy.next();
    assert.ok(full.packet.type === PacketType.Connack && full.packet.properties?.reasonString !== undefined);
    for (const maximumPacketSize of [full.bytes.length, full.bytes.length - 1, 10]) {
      const client = await open();
      client.sendConnect({ username: 'ann', properties: { maximumPacketSize } });
      const { packet, bytes } = await client.next();
      assert.ok(packet.type === PacketType.Connack && packet.reasonCode === ReasonCode.BadUserNameOrPassword);
      assert.ok(bytes.length <= maximumPacketSize);
      assert.equal(packet.properties?.reasonString !== undefined, maximumPacketSize >= full.bytes.length);
      assert.equal(packet.properties?.userProperties, undefined);
      await client.closed();
    }
  },
);

conformance(
  '[MQTT-3.1.2-28] Response Information is given to who asks for it only',
  v5,
  { config: { protocol: { responseInformation: 'answers/' } } },
  async ({ open }) => {
    const given = [];
    for (const properties of [{}, { requestResponseInformation: 0 }, { requestResponseInformation: 1 }])
      given.push((await (await open()).connect({ properties })).properties?.responseInformation);
    assert.equal(given[0], undefined);
    assert.equal(given[1], undefined);
    assert.match(given[2] ?? '', /^answers\//);
  },
);

conformance('a stopping broker says so', all, async ({ connect, broker }) => {
  const client = await connect();
  const stopped = broker.stop();
  await client.refused(ReasonCode.ServerShuttingDown);
  await stopped;
});
