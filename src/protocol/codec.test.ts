/**
 * Goal: bytes and packets mean each other. Method: a table of named wire cases run four ways (decode, encode, in pieces,
 * in one stream), the same packets through `mqtt-packet`, and random packets there and back.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import mqttPacket from 'mqtt-packet';
import {
  encodePacket,
  type Packet,
  PacketReader,
  PacketType,
  type Properties,
  type ProtocolVersion,
  type QoS,
  type Role,
} from './index.js';

interface WireCase {
  readonly name: string;
  readonly version: ProtocolVersion;
  readonly role: Role;
  /** hexadecimal, spaces for the eye */
  readonly bytes: string;
  readonly packet: Packet;
}

const text = (value: string) => Buffer.from(value);
const hex = (value: string) => Buffer.from(value.replaceAll(' ', ''), 'hex');

const wireCases: readonly WireCase[] = [
  {
    name: 'CONNECT 3.1 with user name and password',
    version: 3,
    role: 'server',
    bytes: '10 19 0006 4d5149736470 03 c2 003c 0003 616263 0001 75 0003 702fff',
    packet: {
      type: PacketType.Connect,
      protocolVersion: 3,
      bridge: false,
      cleanStart: true,
      keepAlive: 60,
      clientId: 'abc',
      username: 'u',
      password: hex('702fff'),
    },
  },
  {
    name: 'CONNECT 3.1.1 with an empty client id',
    version: 4,
    role: 'server',
    bytes: '10 0c 0004 4d515454 04 02 0000 0000',
    packet: {
      type: PacketType.Connect,
      protocolVersion: 4,
      bridge: false,
      cleanStart: true,
      keepAlive: 0,
      clientId: '',
    },
  },
  {
    name: 'CONNECT 3.1.1 of a bridge with a will',
    version: 4,
    role: 'server',
    bytes: '10 16 0004 4d515454 84 2c 000a 0002 6231 0003 732f78 0001 30',
    packet: {
      type: PacketType.Connect,
      protocolVersion: 4,
      bridge: true,
      cleanStart: false,
      keepAlive: 10,
      clientId: 'b1',
      will: { topicName: 's/x', payload: text('0'), qos: 1, retain: true },
    },
  },
  {
    name: 'CONNECT 5.0 with a password alone, a will and properties',
    version: 5,
    role: 'server',
    bytes:
      '10 33 0004 4d515454 05 56 001e 0d 11 0000003c 21 000a 27 00001000 0001 61' +
      '0f 01 01 18 00000005 26 0001 6b 0002 c3a9 0001 77 0000 0001 70',
    packet: {
      type: PacketType.Connect,
      protocolVersion: 5,
      bridge: false,
      cleanStart: true,
      keepAlive: 30,
      clientId: 'a',
      password: text('p'),
      will: {
        topicName: 'w',
        payload: Buffer.alloc(0),
        qos: 2,
        retain: false,
        properties: { payloadFormatIndicator: 1, willDelayInterval: 5, userProperties: [['k', 'é']] },
      },
      properties: { sessionExpiryInterval: 60, receiveMaximum: 10, maximumPacketSize: 4096 },
    },
  },
  {
    name: 'CONNACK 3.1.1 session present',
    version: 4,
    role: 'client',
    bytes: '20 02 01 00',
    packet: { type: PacketType.Connack, sessionPresent: true, reasonCode: 0 },
  },
  {
    name: 'CONNACK 3.1 not authorized',
    version: 3,
    role: 'client',
    bytes: '20 02 00 05',
    packet: { type: PacketType.Connack, sessionPresent: false, reasonCode: 5 },
  },
  {
    name: 'CONNACK 5.0 with properties',
    version: 5,
    role: 'client',
    bytes: '20 13 00 00 10 12 0003 413131 13 0019 22 000a 24 01 25 00',
    packet: {
      type: PacketType.Connack,
      sessionPresent: false,
      reasonCode: 0,
      properties: {
        assignedClientIdentifier: 'A11',
        serverKeepAlive: 25,
        topicAliasMaximum: 10,
        maximumQoS: 1,
        retainAvailable: 0,
      },
    },
  },
  {
    name: 'PUBLISH 3.1.1 QoS 0',
    version: 4,
    role: 'server',
    bytes: '30 07 0003 612f62 3231',
    packet: {
      type: PacketType.Publish,
      dup: false,
      qos: 0,
      retain: false,
      topicName: 'a/b',
      payload: text('21'),
    },
  },
  {
    name: 'PUBLISH 3.1.1 QoS 2 again, retained, without payload',
    version: 4,
    role: 'client',
    bytes: '3d 07 0003 612f62 000a',
    packet: {
      type: PacketType.Publish,
      dup: true,
      qos: 2,
      retain: true,
      topicName: 'a/b',
      packetId: 10,
      payload: Buffer.alloc(0),
    },
  },
  {
    name: 'PUBLISH 5.0 to a client with two subscription identifiers and a byte order mark in its topic',
    version: 5,
    role: 'client',
    bytes: '32 12 0004 efbbbf61 0007 07 0b 01 0b ffffff7f 68 69',
    packet: {
      type: PacketType.Publish,
      dup: false,
      qos: 1,
      retain: false,
      topicName: '\ufeffa',
      packetId: 7,
      payload: text('hi'),
      properties: { subscriptionIdentifiers: [1, 268_435_455] },
    },
  },
  {
    name: 'PUBLISH 5.0 by topic alias alone',
    version: 5,
    role: 'server',
    bytes: '30 07 0000 03 23 0001 78',
    packet: {
      type: PacketType.Publish,
      dup: false,
      qos: 0,
      retain: false,
      topicName: '',
      payload: text('x'),
      properties: { topicAlias: 1 },
    },
  },
  {
    name: 'PUBLISH 5.0 request',
    version: 5,
    role: 'server',
    bytes: '30 13 0001 74 0e 01 00 03 0001 63 08 0001 72 09 0001 ff 7b',
    packet: {
      type: PacketType.Publish,
      dup: false,
      qos: 0,
      retain: false,
      topicName: 't',
      payload: text('{'),
      properties: { payloadFormatIndicator: 0, contentType: 'c', responseTopic: 'r', correlationData: hex('ff') },
    },
  },
  {
    name: 'PUBACK 3.1.1',
    version: 4,
    role: 'server',
    bytes: '40 02 0005',
    packet: { type: PacketType.Puback, packetId: 5, reasonCode: 0 },
  },
  {
    name: 'PUBACK 5.0 short',
    version: 5,
    role: 'client',
    bytes: '40 02 0005',
    packet: { type: PacketType.Puback, packetId: 5, reasonCode: 0 },
  },
  {
    name: 'PUBREC 5.0 with a reason code and no property length',
    version: 5,
    role: 'client',
    bytes: '50 03 0005 10',
    packet: { type: PacketType.Pubrec, packetId: 5, reasonCode: 0x10 },
  },
  {
    name: 'PUBREL 5.0 with a user property',
    version: 5,
    role: 'server',
    bytes: '62 0b 0005 92 07 26 0001 61 0001 62',
    packet: {
      type: PacketType.Pubrel,
      packetId: 5,
      reasonCode: 0x92,
      properties: { userProperties: [['a', 'b']] },
    },
  },
  {
    name: 'PUBCOMP 5.0 with a reason string and success',
    version: 5,
    role: 'client',
    bytes: '70 09 0005 00 05 1f 0002 6f6b',
    packet: { type: PacketType.Pubcomp, packetId: 5, reasonCode: 0, properties: { reasonString: 'ok' } },
  },
  {
    name: 'SUBSCRIBE 3.1.1 with two filters',
    version: 4,
    role: 'server',
    bytes: '82 0c 0001 0001 23 00 0003 2b2f61 02',
    packet: {
      type: PacketType.Subscribe,
      packetId: 1,
      subscriptions: [
        { topicFilter: '#', qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 },
        { topicFilter: '+/a', qos: 2, noLocal: false, retainAsPublished: false, retainHandling: 0 },
      ],
    },
  },
  {
    name: 'SUBSCRIBE 5.0 with options and identifier',
    version: 5,
    role: 'server',
    bytes: '82 0a 0001 03 0b 8001 0001 61 2d',
    packet: {
      type: PacketType.Subscribe,
      packetId: 1,
      subscriptions: [{ topicFilter: 'a', qos: 1, noLocal: true, retainAsPublished: true, retainHandling: 2 }],
      properties: { subscriptionIdentifiers: [128] },
    },
  },
  {
    name: 'SUBACK 3.1.1',
    version: 4,
    role: 'client',
    bytes: '90 05 0001 00 02 80',
    packet: { type: PacketType.Suback, packetId: 1, reasonCodes: [0, 2, 0x80] },
  },
  {
    name: 'SUBACK 5.0',
    version: 5,
    role: 'client',
    bytes: '90 05 0001 00 01 8f',
    packet: { type: PacketType.Suback, packetId: 1, reasonCodes: [1, 0x8f] },
  },
  {
    name: 'UNSUBSCRIBE 3.1.1',
    version: 4,
    role: 'server',
    bytes: 'a2 05 0002 0001 61',
    packet: { type: PacketType.Unsubscribe, packetId: 2, topicFilters: ['a'] },
  },
  {
    name: 'UNSUBSCRIBE 5.0',
    version: 5,
    role: 'server',
    bytes: 'a2 09 0002 00 0001 61 0001 62',
    packet: { type: PacketType.Unsubscribe, packetId: 2, topicFilters: ['a', 'b'] },
  },
  {
    name: 'UNSUBACK 3.1.1',
    version: 4,
    role: 'client',
    bytes: 'b0 02 0002',
    packet: { type: PacketType.Unsuback, packetId: 2, reasonCodes: [] },
  },
  {
    name: 'UNSUBACK 5.0',
    version: 5,
    role: 'client',
    bytes: 'b0 05 0002 00 00 11',
    packet: { type: PacketType.Unsuback, packetId: 2, reasonCodes: [0, 0x11] },
  },
  { name: 'PINGREQ', version: 4, role: 'server', bytes: 'c0 00', packet: { type: PacketType.Pingreq } },
  { name: 'PINGRESP', version: 5, role: 'client', bytes: 'd0 00', packet: { type: PacketType.Pingresp } },
  {
    name: 'DISCONNECT 3.1.1',
    version: 4,
    role: 'server',
    bytes: 'e0 00',
    packet: { type: PacketType.Disconnect, reasonCode: 0 },
  },
  {
    name: 'DISCONNECT 5.0 with will',
    version: 5,
    role: 'server',
    bytes: 'e0 01 04',
    packet: { type: PacketType.Disconnect, reasonCode: 4 },
  },
  {
    name: 'DISCONNECT 5.0 of a server that moved',
    version: 5,
    role: 'client',
    bytes: 'e0 06 9d 04 1c 0001 68',
    packet: { type: PacketType.Disconnect, reasonCode: 0x9d, properties: { serverReference: 'h' } },
  },
  {
    name: 'AUTH 5.0 continue',
    version: 5,
    role: 'server',
    bytes: 'f0 0a 18 08 15 0001 53 16 0001 01',
    packet: {
      type: PacketType.Auth,
      reasonCode: 0x18,
      properties: { authenticationMethod: 'S', authenticationData: hex('01') },
    },
  },
  {
    name: 'AUTH 5.0 success in its short form',
    version: 5,
    role: 'client',
    bytes: 'f0 00',
    packet: { type: PacketType.Auth, reasonCode: 0 },
  },
];

function decodeAll(bytes: Buffer, version: ProtocolVersion, role: Role, sizes: readonly number[] = []): Packet[] {
  const reader = new PacketReader(role, 1 << 20);
  reader.version = version;
  const packets: Packet[] = [];
  let at = 0;
  let turn = 0;
  while (at < bytes.length) {
    const size = sizes.length === 0 ? bytes.length : sizes[turn++ % sizes.length]!;
    reader.read(Buffer.from(bytes.subarray(at, at + size)), (packet) => packets.push(packet));
    at += size;
  }
  return packets;
}

/** Any Uint8Array as a Buffer, so that deepEqual compares contents alone. */
function plain(packet: Packet): unknown {
  return JSON.parse(
    JSON.stringify(packet, (_key, value) => (value instanceof Uint8Array ? Buffer.from(value) : value)),
  );
}

for (const { name, version, role, bytes, packet } of wireCases) {
  test(`${name}: decodes, encodes, and survives being cut anywhere`, () => {
    const wire = hex(bytes);
    assert.deepEqual(decodeAll(wire, version, role).map(plain), [plain(packet)]);
    assert.equal(encodePacket(packet, version).toString('hex'), wire.toString('hex'));
    for (let cut = 1; cut < wire.length; cut += 1) {
      assert.deepEqual(decodeAll(wire, version, role, [cut, wire.length]).map(plain), [plain(packet)], `cut at ${cut}`);
    }
    assert.deepEqual(decodeAll(wire, version, role, [1]).map(plain), [plain(packet)]);
  });
}

for (const version of [3, 4, 5] as const) {
  for (const role of ['server', 'client'] as const) {
    test(`all cases of version ${version} for a ${role} in one stream`, () => {
      const cases = wireCases.filter((each) => each.version === version && each.role === role);
      const stream = Buffer.concat(cases.map(({ bytes }) => hex(bytes)));
      for (const sizes of [[stream.length], [1], [7], [3, 50, 1, 11]]) {
        assert.deepEqual(
          decodeAll(stream, version, role, sizes).map(plain),
          cases.map(({ packet }) => plain(packet)),
        );
      }
    });
  }
}

/** What 5.0 allows and mqtt-packet does not. */
const beyondMqttPacket = new Set([
  'CONNECT 5.0 with a password alone, a will and properties', // it wants a user name with every password
  'AUTH 5.0 success in its short form', // it wants a reason code in every AUTH
]);

for (const { name, version, role, bytes } of wireCases.filter((each) => !beyondMqttPacket.has(each.name))) {
  test(`${name}: mqtt-packet reads it and writes bytes that mean the same`, () => {
    const theirs = mqttPacket.parser({ protocolVersion: version });
    let parsed: mqttPacket.Packet | undefined;
    theirs.on('packet', (packet: mqttPacket.Packet) => {
      parsed = packet;
    });
    theirs.on('error', (error: Error) => {
      throw error;
    });
    theirs.parse(hex(bytes));
    assert.ok(parsed !== undefined, 'mqtt-packet found no packet');
    const again = mqttPacket.generate(parsed, { protocolVersion: version });
    const ours = decodeAll(hex(bytes), version, role);
    assert.deepEqual(sortProperties(decodeAll(again, version, role)), sortProperties(ours));
  });
}

/** mqtt-packet writes properties in its own order; ours keep the order of the wire. */
function sortProperties(packets: Packet[]): unknown[] {
  return packets.map((packet) =>
    JSON.parse(JSON.stringify(plain(packet)), (_key, value: unknown) =>
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
        : value,
    ),
  );
}

const topicName = fc
  .string({ minLength: 1, maxLength: 40, unit: 'grapheme' })
  .map((name) => name.replace(/[+#\0]/g, 'x'));
const string = fc.string({ maxLength: 200, unit: 'grapheme' }).map((value) => value.replaceAll('\0', ''));
const bytes = fc.uint8Array({ maxLength: 300 }).map((value) => Buffer.from(value));
const packetId = fc.integer({ min: 1, max: 0xffff });
const qos = fc.constantFrom<QoS>(0, 1, 2);
const seconds = fc.integer({ min: 0, max: 0xffff_ffff });
const userProperties = fc.array(fc.tuple(string, string), { minLength: 1, maxLength: 4 });

function some(model: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<Properties> {
  return fc.record(model, { requiredKeys: [], noNullPrototype: true }) as fc.Arbitrary<Properties>;
}

const publishProperties = some({
  payloadFormatIndicator: fc.constantFrom(0, 1),
  messageExpiryInterval: seconds,
  contentType: string,
  responseTopic: topicName,
  correlationData: bytes,
  userProperties,
  subscriptionIdentifiers: fc.array(fc.integer({ min: 1, max: 268_435_455 }), { minLength: 1, maxLength: 3 }),
  topicAlias: fc.integer({ min: 1, max: 0xffff }),
});
const answerProperties = some({ reasonString: string, userProperties });

const anyPacket: fc.Arbitrary<Packet> = fc.oneof(
  fc
    .record({
      qos,
      retain: fc.boolean(),
      dup: fc.boolean(),
      topicName,
      packetId,
      payload: bytes,
      properties: publishProperties,
    })
    .map(({ packetId: id, dup, ...rest }) => ({
      type: PacketType.Publish,
      dup: dup && rest.qos > 0,
      ...rest,
      ...(rest.qos > 0 ? { packetId: id } : {}),
    })),
  fc.record({
    type: fc.constantFrom(PacketType.Puback, PacketType.Pubrec),
    packetId,
    reasonCode: fc.constantFrom(0, 0x10, 0x80, 0x87, 0x97),
    properties: answerProperties,
  }),
  fc.record({
    type: fc.constantFrom(PacketType.Pubrel, PacketType.Pubcomp),
    packetId,
    reasonCode: fc.constantFrom(0, 0x92),
    properties: answerProperties,
  }),
  fc.record({
    type: fc.constant(PacketType.Suback),
    packetId,
    reasonCodes: fc.array(fc.constantFrom(0, 1, 2, 0x80, 0x8f), { minLength: 1, maxLength: 9 }),
    properties: answerProperties,
  }),
  fc.record({
    type: fc.constant(PacketType.Connack),
    sessionPresent: fc.boolean(),
    reasonCode: fc.constant(0),
    properties: some({
      sessionExpiryInterval: seconds,
      receiveMaximum: fc.integer({ min: 1, max: 0xffff }),
      responseInformation: string,
      serverReference: string,
      maximumPacketSize: fc.integer({ min: 1, max: 0xffff_ffff }),
      userProperties,
    }),
  }),
);

test('random packets to a 5.0 client come back as they were, cut anywhere', () => {
  fc.assert(
    fc.property(
      fc.array(anyPacket, { minLength: 1, maxLength: 5 }),
      fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1 }),
      (packets, sizes) => {
        const stream = Buffer.concat(packets.map((packet) => encodePacket(packet, 5)));
        assert.deepEqual(
          sortProperties(decodeAll(stream, 5, 'client', sizes)),
          sortProperties(packets.map(withoutEmpty)),
        );
      },
    ),
    { numRuns: 500 },
  );
});

test('random SUBSCRIBE, UNSUBSCRIBE and CONNECT to a 5.0 server come back as they were', () => {
  const subscription = fc.record({
    topicFilter: topicName,
    qos,
    noLocal: fc.boolean(),
    retainAsPublished: fc.boolean(),
    retainHandling: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
  });
  const properties = some({ userProperties });
  const packet: fc.Arbitrary<Packet> = fc.oneof(
    fc.record({
      type: fc.constant(PacketType.Subscribe),
      packetId,
      subscriptions: fc.array(subscription, { minLength: 1, maxLength: 5 }),
      properties,
    }),
    fc.record({
      type: fc.constant(PacketType.Unsubscribe),
      packetId,
      topicFilters: fc.array(topicName, { minLength: 1, maxLength: 5 }),
      properties,
    }),
    fc.record(
      {
        type: fc.constant(PacketType.Connect),
        protocolVersion: fc.constant(5 as const),
        bridge: fc.constant(false),
        cleanStart: fc.boolean(),
        keepAlive: fc.integer({ min: 0, max: 0xffff }),
        clientId: string,
        username: string,
        password: bytes,
        will: fc.record({ topicName, payload: bytes, qos, retain: fc.boolean() }),
        properties: some({ requestProblemInformation: fc.constantFrom(0, 1), userProperties }),
      },
      { requiredKeys: ['type', 'protocolVersion', 'bridge', 'cleanStart', 'keepAlive', 'clientId', 'properties'] },
    ),
  );
  fc.assert(
    fc.property(packet, (each) => {
      assert.deepEqual(
        sortProperties(decodeAll(encodePacket(each, 5), 5, 'server')),
        sortProperties([withoutEmpty(each)]),
      );
    }),
    { numRuns: 500 },
  );
});

/** An empty property object and none at all are the same bytes. */
function withoutEmpty(packet: Packet): Packet {
  if (!('properties' in packet) || packet.properties === undefined || Object.keys(packet.properties).length > 0)
    return packet;
  const { properties: _properties, ...rest } = packet;
  return rest as Packet;
}

test('encoding names the field that does not fit', () => {
  const publish = { type: PacketType.Publish, dup: false, qos: 0, retain: false, payload: Buffer.alloc(0) } as const;
  assert.throws(() => encodePacket({ ...publish, topicName: 'x'.repeat(65_536) }, 4), /Topic Name takes 65536 bytes/);
  assert.throws(
    () => encodePacket({ ...publish, topicName: 'x', properties: { topicAlias: 70_000 } }, 5),
    /Topic Alias must be a whole number from 0 to 65535, not 70000/,
  );
  assert.throws(
    () => encodePacket({ ...publish, topicName: 'x', properties: { receiveMaximum: 7 } }, 5),
    /PUBLISH may not have the property Receive Maximum/,
  );
  assert.throws(() => encodePacket({ ...publish, qos: 1, topicName: 'x' }, 4), /needs a Packet Identifier/);
  assert.throws(() => encodePacket({ type: PacketType.Auth, reasonCode: 0x18 }, 4), /MQTT 5.0 only/);
});

test('a version without a field for it leaves properties and reason codes out', () => {
  const properties = { reasonString: 'no' };
  assert.equal(
    encodePacket({ type: PacketType.Puback, packetId: 1, reasonCode: 0x87, properties }, 4).toString('hex'),
    '40020001',
  );
  assert.equal(
    encodePacket({ type: PacketType.Suback, packetId: 1, reasonCodes: [0x87, 1], properties }, 4).toString('hex'),
    '900400018001',
  );
  assert.equal(
    encodePacket({ type: PacketType.Unsuback, packetId: 1, reasonCodes: [0x11] }, 3).toString('hex'),
    'b0020001',
  );
  assert.equal(encodePacket({ type: PacketType.Disconnect, reasonCode: 4, properties }, 4).toString('hex'), 'e000');
});
