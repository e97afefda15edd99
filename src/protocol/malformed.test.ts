/**
 * Goal: whatever is wrong with a packet ends in the reason code and the statement of the standard. Method: one row per
 * defect; the Remaining Length is filled in unless the row is about it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  connectVersion,
  encodePacket,
  PacketReader,
  PacketType,
  ProtocolFailure,
  type ProtocolVersion,
  propertyAllowed,
  propertyTable,
  ReasonCode,
  type Role,
  variableByteIntegerLength,
  writeVariableByteInteger,
} from './index.js';

type Row = readonly [name: string, header: number, body: string, reasonCode: number, requirement: string];

const hex = (value: string) => Buffer.from(value.replaceAll(' ', ''), 'hex');

const { MalformedPacket, ProtocolError, UnsupportedProtocolVersion, ClientIdentifierNotValid } = ReasonCode;
const { TopicNameInvalid, TopicAliasInvalid, PacketTooLarge } = ReasonCode;

const mqtt = '0004 4d515454';

/** To a server, 5.0. */
const toServer5: readonly Row[] = [
  ['packet type 0', 0x00, '', MalformedPacket, 'v5 §2.1.2'],
  ['CONNACK to a server', 0x20, '0000', ProtocolError, 'v5 §2.1.2'],
  ['SUBACK to a server', 0x90, '0001 00 00', ProtocolError, 'v5 §2.1.2'],
  ['PINGRESP to a server', 0xd0, '', ProtocolError, 'v5 §2.1.2'],

  ['CONNECT header flags', 0x11, `${mqtt} 05 02 0000 00 0001 61`, MalformedPacket, 'MQTT-2.1.3-1'],
  ['CONNECT protocol name', 0x10, '0004 4d515455 05 02 0000 00 0001 61', UnsupportedProtocolVersion, 'MQTT-3.1.2-1'],
  ['CONNECT protocol version 6', 0x10, `${mqtt} 06 02 0000 00 0001 61`, UnsupportedProtocolVersion, 'MQTT-3.1.2-2'],
  ['CONNECT bridge bit on 5.0', 0x10, `${mqtt} 85 02 0000 00 0001 61`, UnsupportedProtocolVersion, 'MQTT-3.1.2-2'],
  [
    'CONNECT MQIsdp at level 4',
    0x10,
    '0006 4d5149736470 04 02 0000 0001 61',
    UnsupportedProtocolVersion,
    'MQTT-3.1.2-2',
  ],
  ['CONNECT reserved flag', 0x10, `${mqtt} 05 03 0000 00 0001 61`, MalformedPacket, 'MQTT-3.1.2-3'],
  ['CONNECT will QoS without will', 0x10, `${mqtt} 05 0a 0000 00 0001 61`, MalformedPacket, 'MQTT-3.1.2-11'],
  ['CONNECT will QoS 3', 0x10, `${mqtt} 05 1e 0000 00 0001 61 00 0001 77 0000`, MalformedPacket, 'MQTT-3.1.2-12'],
  ['CONNECT will retain without will', 0x10, `${mqtt} 05 22 0000 00 0001 61`, MalformedPacket, 'MQTT-3.1.2-13'],
  ['CONNECT will missing', 0x10, `${mqtt} 05 06 0000 00 0001 61`, MalformedPacket, 'v5 §1.2'],
  ['CONNECT user name missing', 0x10, `${mqtt} 05 82 0000 00 0001 61`, MalformedPacket, 'v5 §1.2'],
  ['CONNECT user name not announced', 0x10, `${mqtt} 05 02 0000 00 0001 61 0001 75`, MalformedPacket, 'MQTT-3.1.4-1'],
  ['CONNECT client id missing', 0x10, `${mqtt} 05 02 0000 00`, MalformedPacket, 'v5 §1.2'],
  ['CONNECT client id not UTF-8', 0x10, `${mqtt} 05 02 0000 00 0001 ff`, MalformedPacket, 'MQTT-3.1.3-4'],
  ['CONNECT user name not UTF-8', 0x10, `${mqtt} 05 82 0000 00 0001 61 0002 c080`, MalformedPacket, 'MQTT-3.1.3-12'],
  [
    'CONNECT will topic not UTF-8',
    0x10,
    `${mqtt} 05 06 0000 00 0001 61 00 0003 eda080 0000`,
    MalformedPacket,
    'MQTT-3.1.3-11',
  ],
  [
    'CONNECT will topic wildcard',
    0x10,
    `${mqtt} 05 06 0000 00 0001 61 00 0001 23 0000`,
    TopicNameInvalid,
    'MQTT-4.7.0-1',
  ],
  ['CONNECT will topic empty', 0x10, `${mqtt} 05 06 0000 00 0001 61 00 0000 0000`, TopicNameInvalid, 'MQTT-4.7.3-1'],
  ['CONNECT receive maximum 0', 0x10, `${mqtt} 05 02 0000 03 21 0000 0001 61`, ProtocolError, 'v5 §3.1.2.11.3'],
  ['CONNECT maximum packet size 0', 0x10, `${mqtt} 05 02 0000 05 27 00000000 0001 61`, ProtocolError, 'v5 §3.1.2.11.4'],
  ['CONNECT request problem information 2', 0x10, `${mqtt} 05 02 0000 02 17 02 0001 61`, ProtocolError, 'v5 §2.2.2.2'],
  [
    'CONNECT authentication data alone',
    0x10,
    `${mqtt} 05 02 0000 04 16 0001 61 0001 61`,
    ProtocolError,
    'v5 §3.1.2.11.10',
  ],
  [
    'CONNECT session expiry twice',
    0x10,
    `${mqtt} 05 02 0000 0a 11 00000001 11 00000001 0001 61`,
    ProtocolError,
    'v5 §2.2.2.2',
  ],
  ['CONNECT topic alias', 0x10, `${mqtt} 05 02 0000 03 23 0001 0001 61`, MalformedPacket, 'v5 §2.2.2.2'],
  ['CONNECT unknown property', 0x10, `${mqtt} 05 02 0000 02 7e 01 0001 61`, MalformedPacket, 'v5 §2.2.2.2'],
  ['CONNECT property length beyond the packet', 0x10, `${mqtt} 05 02 0000 20 0001 61`, MalformedPacket, 'v5 §2.2.2.1'],
  [
    'CONNECT property cut by its length',
    0x10,
    `${mqtt} 05 02 0000 03 11 0000 0000 0001 61`,
    MalformedPacket,
    'v5 §1.2',
  ],

  ['PUBLISH QoS 3', 0x36, '0001 74 0001 00', MalformedPacket, 'MQTT-3.3.1-4'],
  ['PUBLISH DUP at QoS 0', 0x38, '0001 74 00', MalformedPacket, 'MQTT-3.3.1-2'],
  ['PUBLISH packet id 0', 0x32, '0001 74 0000 00', ProtocolError, 'MQTT-2.2.1-3'],
  ['PUBLISH wildcard', 0x30, '0003 612f2b 00', TopicNameInvalid, 'MQTT-3.3.2-2'],
  ['PUBLISH topic empty without alias', 0x30, '0000 00', ProtocolError, 'MQTT-4.7.3-1'],
  ['PUBLISH topic NUL', 0x30, '0001 00 00', MalformedPacket, 'MQTT-3.3.2-1'],
  ['PUBLISH topic surrogate', 0x30, '0003 edbfbf 00', MalformedPacket, 'MQTT-3.3.2-1'],
  ['PUBLISH topic overlong', 0x30, '0003 e08080 00', MalformedPacket, 'MQTT-3.3.2-1'],
  ['PUBLISH topic cut', 0x30, '0005 74', MalformedPacket, 'v5 §1.2'],
  ['PUBLISH nothing', 0x30, '', MalformedPacket, 'v5 §1.2'],
  ['PUBLISH packet id missing', 0x32, '0001 74', MalformedPacket, 'v5 §1.2'],
  ['PUBLISH property length missing', 0x30, '0001 74', MalformedPacket, 'v5 §1.2'],
  ['PUBLISH topic alias 0', 0x30, '0001 74 03 23 0000', TopicAliasInvalid, 'MQTT-3.3.2-8'],
  ['PUBLISH topic alias twice', 0x30, '0001 74 06 23 0001 23 0001', ProtocolError, 'v5 §2.2.2.2'],
  ['PUBLISH response topic wildcard', 0x30, '0001 74 04 08 0001 23', ProtocolError, 'MQTT-3.3.2-14'],
  ['PUBLISH response topic empty', 0x30, '0001 74 03 08 0000', ProtocolError, 'MQTT-3.3.2-14'],
  ['PUBLISH payload format 2', 0x30, '0001 74 02 01 02', ProtocolError, 'v5 §2.2.2.2'],
  ['PUBLISH subscription identifier of a client', 0x30, '0001 74 02 0b 01', ProtocolError, 'MQTT-3.3.4-6'],
  ['PUBLISH user property not UTF-8', 0x30, '0001 74 07 26 0001 61 0001 ff', MalformedPacket, 'MQTT-1.5.7-1'],
  ['PUBLISH content type not UTF-8', 0x30, '0001 74 04 03 0001 ff', MalformedPacket, 'MQTT-1.5.4-1'],
  ['PUBLISH property length not minimal', 0x30, '0001 74 8000', MalformedPacket, 'MQTT-1.5.5-1'],

  ['PUBACK header flags', 0x42, '0001', MalformedPacket, 'MQTT-2.1.3-1'],
  ['PUBACK packet id 0', 0x40, '0000', ProtocolError, 'MQTT-2.2.1-3'],
  ['PUBACK cut', 0x40, '00', MalformedPacket, 'v5 §1.2'],
  ['PUBACK reason code', 0x40, '0001 92', ProtocolError, 'MQTT-3.4.2-1'],
  ['PUBACK trailing bytes', 0x40, '0001 00 00 00', MalformedPacket, 'v5 §3.4.2'],
  ['PUBREC reason code', 0x50, '0001 01', ProtocolError, 'MQTT-3.5.2-1'],
  ['PUBREL header flags', 0x60, '0001', MalformedPacket, 'MQTT-3.6.1-1'],
  ['PUBREL reason code', 0x62, '0001 10', ProtocolError, 'MQTT-3.6.2-1'],
  ['PUBCOMP reason code', 0x70, '0001 87', ProtocolError, 'MQTT-3.7.2-1'],
  ['PUBCOMP reason string twice', 0x70, '0001 00 08 1f 0001 61 1f 0001 61', ProtocolError, 'v5 §2.2.2.2'],

  ['SUBSCRIBE header flags', 0x80, '0001 00 0001 61 00', MalformedPacket, 'MQTT-3.8.1-1'],
  ['SUBSCRIBE packet id 0', 0x82, '0000 00 0001 61 00', ProtocolError, 'MQTT-2.2.1-3'],
  ['SUBSCRIBE without filter', 0x82, '0001 00', ProtocolError, 'MQTT-3.8.3-2'],
  ['SUBSCRIBE filter not UTF-8', 0x82, '0001 00 0001 80 00', MalformedPacket, 'MQTT-3.8.3-1'],
  ['SUBSCRIBE options missing', 0x82, '0001 00 0001 61', MalformedPacket, 'v5 §1.2'],
  ['SUBSCRIBE QoS 3', 0x82, '0001 00 0001 61 03', ProtocolError, 'v5 §3.8.3.1'],
  ['SUBSCRIBE retain handling 3', 0x82, '0001 00 0001 61 30', ProtocolError, 'v5 §3.8.3.1'],
  ['SUBSCRIBE reserved options', 0x82, '0001 00 0001 61 40', MalformedPacket, 'MQTT-3.8.3-5'],
  ['SUBSCRIBE no local on a share', 0x82, '0001 00 000a 24736861 72652f672f74 04', ProtocolError, 'MQTT-3.8.3-4'],
  ['SUBSCRIBE identifier 0', 0x82, '0001 02 0b 00 0001 61 00', ProtocolError, 'v5 §3.8.2.1.2'],
  ['SUBSCRIBE identifier twice', 0x82, '0001 04 0b 01 0b 02 0001 61 00', ProtocolError, 'v5 §3.8.2.1.2'],
  ['UNSUBSCRIBE header flags', 0xa0, '0001 00 0001 61', MalformedPacket, 'MQTT-3.10.1-1'],
  ['UNSUBSCRIBE packet id 0', 0xa2, '0000 00 0001 61', ProtocolError, 'MQTT-2.2.1-3'],
  ['UNSUBSCRIBE without filter', 0xa2, '0001 00', ProtocolError, 'MQTT-3.10.3-2'],
  ['UNSUBSCRIBE filter not UTF-8', 0xa2, '0001 00 0002 c1bf', MalformedPacket, 'MQTT-3.10.3-1'],

  ['PINGREQ with a body', 0xc0, '00', MalformedPacket, 'v5 §3.12'],
  ['PINGREQ header flags', 0xc1, '', MalformedPacket, 'MQTT-2.1.3-1'],
  ['DISCONNECT header flags', 0xe1, '', MalformedPacket, 'MQTT-3.14.1-1'],
  ['DISCONNECT reason code of a server', 0xe0, '8e', ProtocolError, 'MQTT-3.14.2-1'],
  ['DISCONNECT unknown reason code', 0xe0, '7f', ProtocolError, 'MQTT-3.14.2-1'],
  ['DISCONNECT trailing bytes', 0xe0, '00 00 00', MalformedPacket, 'v5 §3.14'],
  ['AUTH header flags', 0xf2, '18 04 15 0001 61', MalformedPacket, 'MQTT-3.15.1-1'],
  ['AUTH reason code of a server', 0xf0, '00 04 15 0001 61', ProtocolError, 'MQTT-3.15.2-1'],
  ['AUTH short form, which only a server may send', 0xf0, '', ProtocolError, 'MQTT-3.15.2-1'],
  ['AUTH without method', 0xf0, '18 00', ProtocolError, 'v5 §3.15.2.2.2'],
];

/** To a server, 3.1.1. */
const toServer4: readonly Row[] = [
  ['CONNECT reserved flag', 0x10, `${mqtt} 04 03 0000 0001 61`, MalformedPacket, 'MQTT-3.1.2-3'],
  ['CONNECT password without user name', 0x10, `${mqtt} 04 42 0000 0001 61 0001 70`, MalformedPacket, 'MQTT3-3.1.2-22'],
  ['CONNECT empty client id to keep', 0x10, `${mqtt} 04 00 0000 0000`, ClientIdentifierNotValid, 'MQTT3-3.1.3-8'],
  ['CONNECT user name missing', 0x10, `${mqtt} 04 82 0000 0001 61`, MalformedPacket, 'v5 §1.2'],
  ['CONNECT protocol level 3', 0x10, `${mqtt} 03 02 0000 0001 61`, UnsupportedProtocolVersion, 'MQTT-3.1.2-2'],
  ['PUBLISH empty topic', 0x30, '0000 61', ProtocolError, 'MQTT-4.7.3-1'],
  ['PUBLISH DUP at QoS 0', 0x38, '0001 61', MalformedPacket, 'MQTT-3.3.1-2'],
  ['PUBACK with a reason code', 0x40, '0001 00', MalformedPacket, 'v5 §3.4.2'],
  ['PUBREL header flags', 0x60, '0001', MalformedPacket, 'MQTT-3.6.1-1'],
  ['SUBSCRIBE QoS 3', 0x82, '0001 0001 61 03', MalformedPacket, 'MQTT3-3.8.3-4'],
  ['SUBSCRIBE with options of 5.0', 0x82, '0001 0001 61 04', MalformedPacket, 'MQTT3-3.8.3-4'],
  ['DISCONNECT with a reason code', 0xe0, '00', MalformedPacket, 'v5 §3.14'],
  ['AUTH', 0xf0, '', MalformedPacket, 'v5 §2.1.2'],
];

/** To a server, 3.1. */
const toServer3: readonly Row[] = [
  ['CONNECT empty client id', 0x10, '0006 4d5149736470 03 02 0000 0000', ClientIdentifierNotValid, '3.1 §3.1'],
  [
    'CONNECT password without user name',
    0x10,
    '0006 4d5149736470 03 42 0000 0001 61 0001 70',
    MalformedPacket,
    'MQTT3-3.1.2-22',
  ],
  ['PUBLISH QoS 3', 0x36, '0001 74 0001', MalformedPacket, 'MQTT-3.3.1-4'],
];

/** To a client. */
const toClient5: readonly Row[] = [
  ['CONNECT', 0x10, `${mqtt} 05 02 0000 00 0001 61`, ProtocolError, 'v5 §2.1.2'],
  ['SUBSCRIBE', 0x82, '0001 00 0001 61 00', ProtocolError, 'v5 §2.1.2'],
  ['CONNACK reserved flags', 0x20, '02 00 00', MalformedPacket, 'MQTT-3.2.2-1'],
  ['CONNACK session present in a refusal', 0x20, '01 87 00', ProtocolError, 'MQTT-3.2.2-6'],
  ['CONNACK reason code', 0x20, '00 01 00', ProtocolError, 'MQTT-3.2.2-8'],
  ['CONNACK of an older server', 0x20, '00 01', UnsupportedProtocolVersion, 'MQTT-3.1.2-2'],
  ['CONNACK maximum QoS 2', 0x20, '00 00 02 24 02', ProtocolError, 'v5 §2.2.2.2'],
  ['SUBACK without codes', 0x90, '0001 00', ProtocolError, 'MQTT-3.8.4-6'],
  ['SUBACK reason code', 0x90, '0001 00 03', ProtocolError, 'MQTT-3.9.3-2'],
  ['UNSUBACK without codes', 0xb0, '0001 00', ProtocolError, 'MQTT-3.11.3-2'],
  ['UNSUBACK reason code', 0xb0, '0001 00 01', ProtocolError, 'MQTT-3.11.3-2'],
  ['DISCONNECT with session expiry', 0xe0, '00 05 11 00000001', ProtocolError, 'MQTT-3.14.2-2'],
  ['DISCONNECT with will', 0xe0, '04', ProtocolError, 'MQTT-3.14.2-1'],
  ['AUTH re-authenticate', 0xf0, '19 04 15 0001 61', ProtocolError, 'MQTT-3.15.2-1'],
];
const toClient4: readonly Row[] = [
  ['CONNACK return code 6', 0x20, '00 06', ProtocolError, '3.1.1 §3.2.2.3'],
  ['SUBACK return code 3', 0x90, '0001 03', ProtocolError, 'MQTT3-3.9.3-2'],
  ['UNSUBACK with codes', 0xb0, '0001 00', MalformedPacket, '3.1.1 §3.11'],
  ['DISCONNECT', 0xe0, '', ProtocolError, '3.1.1 §3.14'],
];

function framed(header: number, body: Buffer): Buffer {
  const packet = Buffer.alloc(1 + variableByteIntegerLength(body.length) + body.length);
  packet[0] = header;
  body.copy(packet, writeVariableByteInteger(packet, 1, body.length));
  return packet;
}

function failureOf(bytes: Buffer, version: ProtocolVersion, role: Role): ProtocolFailure {
  const reader = new PacketReader(role, 1 << 20);
  reader.version = version;
  try {
    reader.read(bytes, () => {});
  } catch (error) {
    assert.ok(error instanceof ProtocolFailure, String(error));
    return error;
  }
  assert.fail(`${bytes.toString('hex')} was accepted`);
}

const groups: readonly [ProtocolVersion, Role, readonly Row[]][] = [
  [5, 'server', toServer5],
  [4, 'server', toServer4],
  [3, 'server', toServer3],
  [5, 'client', toClient5],
  [4, 'client', toClient4],
];
for (const [version, role, rows] of groups) {
  for (const [name, header, body, reasonCode, requirement] of rows) {
    test(`version ${version} to a ${role}: ${name}`, () => {
      const failure = failureOf(framed(header, hex(body)), version, role);
      assert.deepEqual([failure.reasonCode, failure.requirement], [reasonCode, requirement], failure.message);
      assert.notEqual(failure.field, '');
    });
  }
}

test('MQTT 3.1 has no reserved bits, and a missing user name counts as not announced', () => {
  const reader = new PacketReader('server', 1 << 20);
  const types: number[] = [];
  const connect = framed(0x11, hex('0006 4d5149736470 03 c3 0000 0001 61'));
  reader.read(
    Buffer.concat([connect, framed(0x8a, hex('0001 0001 61 01')), framed(0x38, hex('0001 61'))]),
    (packet) => {
      types.push(packet.type);
      if (packet.type === PacketType.Connect) assert.equal(packet.username, undefined);
    },
  );
  assert.deepEqual(types, [PacketType.Connect, PacketType.Subscribe, PacketType.Publish]);
});

test('Remaining Length: too long, padded, and beyond the maximum packet size', () => {
  assert.equal(failureOf(hex('30 ffffffff7f'), 5, 'server').reasonCode, MalformedPacket);
  assert.equal(failureOf(hex('c0 8000'), 5, 'server').requirement, 'MQTT-1.5.5-1');
  const failure = failureOf(hex('30 ffffff7f'), 5, 'client');
  assert.deepEqual([failure.reasonCode, failure.requirement], [PacketTooLarge, 'MQTT-3.1.2-24']);
  assert.match(failure.message, /268435460 bytes exceeds the maximum of 1048576/);
});

test('every property in every place is taken or refused as the table says', () => {
  const empty: Record<string, string> = {
    byte: '01',
    twoByteInteger: '0001',
    fourByteInteger: '00000001',
    variableByteInteger: '01',
    string: '0001 61',
    binary: '0001 61',
    stringPair: '0001 61 0001 62',
  };
  const places: [number, Role, number, (properties: string) => string][] = [
    [PacketType.Connect, 'server', 0x10, (p) => `${mqtt} 05 02 0000 ${p} 0001 61`],
    [0, 'server', 0x10, (p) => `${mqtt} 05 06 0000 00 0001 61 ${p} 0001 77 0000`],
    [PacketType.Connack, 'client', 0x20, (p) => `00 00 ${p}`],
    [PacketType.Publish, 'client', 0x30, (p) => `0001 74 ${p}`],
    [PacketType.Puback, 'server', 0x40, (p) => `0001 00 ${p}`],
    [PacketType.Pubrec, 'server', 0x50, (p) => `0001 00 ${p}`],
    [PacketType.Pubrel, 'server', 0x62, (p) => `0001 00 ${p}`],
    [PacketType.Pubcomp, 'server', 0x70, (p) => `0001 00 ${p}`],
    [PacketType.Subscribe, 'server', 0x82, (p) => `0001 ${p} 0001 61 00`],
    [PacketType.Suback, 'client', 0x90, (p) => `0001 ${p} 00`],
    [PacketType.Unsubscribe, 'server', 0xa2, (p) => `0001 ${p} 0001 61`],
    [PacketType.Unsuback, 'client', 0xb0, (p) => `0001 ${p} 00`],
    [PacketType.Disconnect, 'server', 0xe0, (p) => `00 ${p}`],
    [PacketType.Auth, 'server', 0xf0, (p) => `18 ${p}`],
  ];
  assert.equal(propertyTable.length, 27);
  for (const definition of propertyTable) {
    for (const [place, role, header, body] of places) {
      const id = definition.id.toString(16).padStart(2, '0');
      const needsMethod =
        definition.name === 'authenticationData' || (place === PacketType.Auth && definition.id !== 0x15);
      const property = hex(`${id} ${empty[definition.type]} ${needsMethod ? '15 0001 6d' : ''}`);
      const length = property.length.toString(16).padStart(2, '0');
      const bytes = framed(header, hex(body(`${length} ${property.toString('hex')}`)));
      const what = `${definition.title} at ${place}`;
      if (propertyAllowed(definition, place as PacketType)) {
        const reader = new PacketReader(role, 1 << 20);
        reader.version = 5;
        let count = 0;
        reader.read(bytes, (packet) => {
          count += 1;
          const found = place === 0 && packet.type === PacketType.Connect ? packet.will?.properties : undefined;
          const properties = found ?? (packet as { properties?: object }).properties;
          assert.ok(properties !== undefined && definition.name in properties, what);
        });
        assert.equal(count, 1, what);
      } else {
        const failure = failureOf(bytes, 5, role);
        assert.deepEqual([failure.reasonCode, failure.requirement], [MalformedPacket, 'v5 §2.2.2.2'], what);
      }
    }
  }
});

test('the version of a CONNECT is known even when the rest is wrong', () => {
  const version = (body: string) => connectVersion(hex(body), 0, hex(body).length);
  assert.equal(version(`${mqtt} 05 ff`), 5);
  assert.equal(version(`${mqtt} 84`), 4);
  assert.equal(version('0006 4d5149736470 03'), 3);
  assert.equal(version(`${mqtt} 06`), undefined);
  assert.equal(version('00'), undefined);
});

test('a packet cut at any byte and finished by its length fails or means something, and nothing else', () => {
  const whole = encodePacket(
    {
      type: PacketType.Connect,
      protocolVersion: 5,
      bridge: false,
      cleanStart: true,
      keepAlive: 1,
      clientId: 'c',
      username: 'u',
      password: Buffer.from('p'),
      will: { topicName: 'w', payload: Buffer.from('x'), qos: 1, retain: true, properties: { contentType: 'é' } },
      properties: { userProperties: [['a', 'b']], authenticationMethod: 'm', authenticationData: Buffer.from('d') },
    },
    5,
  );
  for (let length = 2; length < whole.length; length += 1) {
    const failure = failureOf(framed(0x10, whole.subarray(2, length)), 5, 'server');
    assert.ok([MalformedPacket as number, ProtocolError].includes(failure.reasonCode), failure.message);
  }
});
