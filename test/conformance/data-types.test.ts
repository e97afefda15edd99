/** Data representation and packet headers: v5 §1.5 and §2, 3.1.1 §1.5 and §2. */
import assert from 'node:assert/strict';
import { PacketType, type ProtocolVersion, ReasonCode } from '../../src/protocol/index.js';
import { all, conformance, v4v5, v5 } from '../support/conformance.js';
import { field, frame, properties, rawConnect, twoByteInteger } from '../support/wire-bytes.js';

/** Surrogate half, overlong form, cut short, above U+10FFFF, lone continuation byte. */
const illFormed = ['eda080', 'c080', 'e282', 'f4908080', '80'].map((text) => Buffer.from(text, 'hex'));
const wellFormed = Buffer.from('é€😀\ufffd\ud7ff\ue000');
const nul = Buffer.from('a\0b');

const none = (version: ProtocolVersion) => (version === 5 ? properties() : []);

/** Every place where a client's packet holds a string, after CONNECT. */
function packetsWith(version: ProtocolVersion, text: Buffer): [place: string, packet: Buffer, answered: boolean][] {
  return [
    ['Topic Name', frame(0x30, field(text), none(version), 'ff'), false],
    ['Topic Filter of SUBSCRIBE', frame(0x82, twoByteInteger(7), none(version), field(text), [0]), true],
    ['Topic Filter of UNSUBSCRIBE', frame(0xa2, twoByteInteger(8), none(version), field(text)), true],
  ];
}

function connectsWith(version: ProtocolVersion, text: Buffer): [place: string, packet: Buffer][] {
  const client = field('strings');
  return [
    ['Client Identifier', rawConnect(version, { payload: [field(text)] })],
    ['User Name', rawConnect(version, { flags: 0x82, payload: [client, field(text)] })],
    ['Will Topic', rawConnect(version, { flags: 0x06, payload: [client, none(version), field(text), field('gone')] })],
  ];
}

conformance(
  '[MQTT-1.5.4-1] [MQTT3-1.4.0-1] [MQTT-3.1.3-4] [MQTT3-3.1.3-4] [MQTT-3.1.3-11] [MQTT3-3.1.3-10] [MQTT-3.1.3-12] [MQTT3-3.1.3-11] ill-formed UTF-8 in CONNECT ends the connection',
  all,
  async ({ version, open }) => {
    for (const text of illFormed)
      for (const [, packet] of connectsWith(version, text)) {
        const client = await open();
        client.send(packet);
        await client.refused(ReasonCode.MalformedPacket);
      }
    for (const [place, packet] of connectsWith(version, wellFormed)) {
      const client = await open();
      client.send(packet);
      assert.equal((await client.packet(PacketType.Connack)).reasonCode, 0, place);
    }
  },
);

conformance(
  '[MQTT-1.5.4-1] [MQTT3-1.4.0-1] [MQTT-3.3.2-1] [MQTT3-3.3.2-1] [MQTT-3.8.3-1] [MQTT3-3.8.3-1] [MQTT-3.10.3-1] [MQTT3-3.10.3-1] ill-formed UTF-8 in a topic ends the connection',
  all,
  async ({ version, connect }) => {
    for (const text of illFormed)
      for (const [, packet] of packetsWith(version, text)) {
        const client = await connect();
        client.send(packet);
        await client.refused(ReasonCode.MalformedPacket);
      }
    const client = await connect();
    for (const [, packet, answered] of packetsWith(version, wellFormed)) {
      client.send(packet);
      if (answered) await client.next();
      await client.quiet();
    }
  },
);

conformance(
  '[MQTT-1.5.4-2] [MQTT3-1.4.0-2] [MQTT-4.7.3-2] [MQTT3-4.7.3-2] U+0000 in a string ends the connection',
  all,
  async ({ version, connect, open }) => {
    for (const [, packet] of packetsWith(version, nul)) {
      const client = await connect();
      client.send(packet);
      await client.refused(ReasonCode.MalformedPacket);
    }
    for (const [, packet] of connectsWith(version, nul)) {
      const client = await open();
      client.send(packet);
      await client.refused(ReasonCode.MalformedPacket);
    }
  },
);

conformance(
  '[MQTT-1.5.4-3] [MQTT3-1.4.0-3] a byte order mark in a topic is kept and matched',
  all,
  async ({ connect }) => {
    const marked = await connect();
    const plain = await connect();
    await marked.subscribe('\ufeffa/\ufeffb');
    await plain.subscribe('a/b');
    const publisher = await connect();
    publisher.publish('\ufeffa/\ufeffb', 'x');
    await publisher.quiet();
    const { bytes } = await marked.message();
    assert.equal(bytes.subarray(2, 13).toString('hex'), '0009efbbbf612fefbbbf62');
    await plain.quiet();
  },
);

conformance(
  '[MQTT-1.5.5-1] a Variable Byte Integer with needless bytes is malformed',
  v5,
  async ({ connect, open }) => {
    const opening = await open();
    opening.send(rawConnect(5, { properties: Buffer.from('8000', 'hex') }));
    await opening.refused(ReasonCode.MalformedPacket);
    const long = await connect();
    long.send('c0 80 00');
    await long.refused(ReasonCode.MalformedPacket);
    const inside = await connect();
    inside.send(frame(0x30, field('t'), '8000', 'ff'));
    await inside.refused(ReasonCode.MalformedPacket);
    const fine = await connect();
    fine.send(frame(0x30, field('t'), '00', 'ff'));
    await fine.quiet();
  },
);

conformance(
  'a Remaining Length with needless bytes is taken from clients of 3.x, whose specifications do not forbid it',
  [3, 4],
  async ({ open, connect }) => {
    const client = await open();
    const whole = rawConnect(client.version, {});
    assert.ok(whole[1]! < 0x80);
    client.send(Buffer.concat([whole.subarray(0, 1), Buffer.of(whole[1]! | 0x80, 0x80, 0), whole.subarray(2)]));
    assert.equal((await client.packet(PacketType.Connack)).reasonCode, 0);
    const [old, current] = [await connect({ version: 4 }), await connect({ version: 5 })];
    for (const subscriber of [old, current]) await subscriber.subscribe('t');
    client.send('30 84 00 0001 74 31 30 84 80 00 0001 74 32 30 04 0001 74 33 32 86 00 0001 74 0009 34 c0 80 80 00');
    assert.equal(await client.bytes(), '40020009');
    assert.equal(await client.bytes(), 'd000');
    for (const subscriber of [old, current])
      for (const payload of ['1', '2', '3', '4']) assert.equal((await subscriber.message()).payload, payload);
  },
);

conformance('[MQTT-1.5.5-1] the broker writes lengths in the fewest bytes', v5, async ({ connect }) => {
  const client = await connect();
  await client.subscribe('t');
  for (const [payloadBytes, length] of [
    [123, '7f'],
    [124, '8001'],
    [16_379, 'ff7f'],
    [16_380, '808001'],
  ] as const) {
    client.publish('t', Buffer.alloc(payloadBytes));
    const { bytes } = await client.message();
    assert.equal(bytes.subarray(1, 1 + length.length / 2).toString('hex'), length);
    assert.equal(bytes.length, 1 + length.length / 2 + 4 + payloadBytes);
  }
});

conformance('[MQTT-1.5.7-1] both strings of a User Property have to be well-formed', v5, async ({ connect }) => {
  for (const [name, value] of [
    [illFormed[0]!, 'v'],
    ['n', illFormed[0]!],
    [nul, 'v'],
    ['n', nul],
  ] as const) {
    const client = await connect();
    client.send(frame(0x30, field('t'), properties([0x26], field(name), field(value))));
    await client.refused(ReasonCode.MalformedPacket);
    const other = await connect();
    other.send(frame(0x82, twoByteInteger(1), properties([0x26], field(name), field(value)), field('t'), [0]));
    await other.refused(ReasonCode.MalformedPacket);
  }
  const client = await connect();
  await client.subscribe('t');
  client.send(frame(0x30, field('t'), properties([0x26], field(wellFormed), field(wellFormed))));
  const expected = wellFormed.toString();
  assert.deepEqual((await client.message()).properties.userProperties, [[expected, expected]]);
});

conformance(
  '[MQTT-2.1.3-1] [MQTT3-2.2.2-1] [MQTT3-2.2.2-2] [MQTT-3.6.1-1] [MQTT3-3.6.1-1] [MQTT-3.8.1-1] [MQTT3-3.8.1-1] [MQTT-3.10.1-1] [MQTT3-3.10.1-1] [MQTT-3.14.1-1] [MQTT3-3.14.1-1] reserved header flags have their one value',
  v4v5,
  async ({ version, connect, open }) => {
    const id = twoByteInteger(1);
    const bodies: [header: number, body: Buffer][] = [
      [0x40, id],
      [0x50, id],
      [0x62, id],
      [0x70, id],
      [0x82, Buffer.concat([id, Buffer.from(none(version)), field('t'), Buffer.from([0])])],
      [0xa2, Buffer.concat([id, Buffer.from(none(version)), field('t')])],
      [0xc0, Buffer.alloc(0)],
      [0xe0, Buffer.alloc(0)],
    ];
    const ends = 0xe0;
    const kept = await connect();
    for (const [header, body] of bodies) {
      for (const flag of [1, 2, 4, 8]) {
        const client = await connect();
        client.send(frame(header ^ flag, body));
        await client.refused(ReasonCode.MalformedPacket);
      }
      if (header === ends) continue;
      kept.send(frame(header, body));
      if (header !== 0x40 && header !== 0x70) await kept.next(); // the two that have no answer
    }
    await kept.quiet();
    const opening = await open();
    opening.send(rawConnect(version, { header: 0x11 }));
    await opening.refused(ReasonCode.MalformedPacket);
  },
);

conformance(
  '[MQTT-2.2.1-2] [MQTT3-2.3.1-5] [MQTT-2.2.2-1] [MQTT-4.3.1-1] [MQTT3-4.3.1-1] [MQTT-3.3.1-2] [MQTT3-3.3.1-2] a QoS 0 PUBLISH has no Packet Identifier, DUP 0 and, in 5.0, an empty Property Length',
  all,
  async ({ version, connect }) => {
    const publisher = await connect();
    const client = await connect();
    await client.subscribe('t', { qos: 2 });
    for (const qos of [0, 1] as const) {
      await publisher.deliver('t', 'x', { qos, packetId: 9 });
      const expected = qos === 0 ? '0001 74' : '0001 74 0001' /* an identifier of the broker's own */;
      assert.equal(
        (await client.message()).bytes.toString('hex'),
        frame(qos === 0 ? 0x30 : 0x32, expected, none(version), '78').toString('hex'),
      );
    }
  },
);

conformance(
  '[MQTT-2.2.1-3] [MQTT3-2.3.1-1] a Packet Identifier of 0 from a client ends the connection',
  all,
  async ({ version, connect }) => {
    const packetsOf = (id: number) => [
      frame(0x32, field('t'), twoByteInteger(id), none(version)),
      frame(0x34, field('t'), twoByteInteger(id), none(version)),
      frame(0x82, twoByteInteger(id), none(version), field('t'), [0]),
      frame(0xa2, twoByteInteger(id), none(version), field('t')),
    ];
    for (const packet of packetsOf(0)) {
      const client = await connect();
      client.send(packet);
      await client.refused(ReasonCode.ProtocolError);
    }
    for (const packet of packetsOf(1)) {
      const client = await connect();
      client.send(packet);
      await client.next();
      await client.quiet();
    }
  },
);

conformance(
  '[MQTT-2.2.1-4] [MQTT3-2.3.1-1] [MQTT3-2.3.1-4] [MQTT-4.3.2-1] [MQTT-4.3.2-2] [MQTT3-4.3.2-1] [MQTT-4.3.3-1] [MQTT-4.3.3-2] each PUBLISH of the broker at QoS 1 and 2 gets an identifier that is not 0 and not in use, and DUP 0',
  all,
  async ({ connect }) => {
    const subscriber = await connect();
    const publisher = await connect();
    await subscriber.subscribe('t', { qos: 2 });
    const open = new Set<number>();
    for (let count = 0; count < 300; count++) {
      const qos = count % 2 === 0 ? 1 : 2;
      await publisher.deliver('t', `${count}`, { qos });
      const message = await subscriber.message();
      assert.equal(message.payload, `${count}`);
      assert.equal(message.qos, qos);
      assert.equal(message.dup, false);
      assert.ok(message.packetId > 0);
      assert.ok(!open.has(message.packetId), `${message.packetId} is in use`);
      if (count % 10 < 2) {
        open.add(message.packetId); // some stay open for good
        if (qos === 2 && count % 20 < 2) {
          subscriber.pubrec(message.packetId); // also in the second half of their exchange
          assert.equal((await subscriber.packet(PacketType.Pubrel)).packetId, message.packetId);
        }
      } else if (qos === 1) subscriber.puback(message.packetId);
      else {
        subscriber.pubrec(message.packetId);
        assert.equal((await subscriber.packet(PacketType.Pubrel)).packetId, message.packetId);
        subscriber.pubcomp(message.packetId);
      }
    }
    assert.ok(open.size >= 50);
  },
);

conformance(
  '[MQTT-2.2.1-5] [MQTT3-2.3.1-6] [MQTT-4.3.2-4] [MQTT3-4.3.2-2] [MQTT-4.3.3-8] [MQTT-4.3.3-11] [MQTT3-4.3.3-2] acknowledgements carry the Packet Identifier of the PUBLISH',
  all,
  async ({ connect }) => {
    const client = await connect();
    await (await connect()).subscribe('t');
    for (const packetId of [1, 0x0102, 0xabcd, 0xffff]) {
      const id = twoByteInteger(packetId).toString('hex');
      client.publish('t', '', { qos: 1, packetId });
      assert.equal(await client.bytes(), `4002${id}`);
      client.publish('t', '', { qos: 2, packetId });
      assert.equal(await client.bytes(), `5002${id}`);
      client.pubrel(packetId);
      assert.equal(await client.bytes(), `7002${id}`);
    }
  },
);

conformance(
  '[MQTT-2.2.1-5] [MQTT3-2.3.1-6] [MQTT-4.3.3-4] [MQTT3-4.3.3-1] PUBREL carries the Packet Identifier of the PUBLISH',
  all,
  async ({ connect }) => {
    const publisher = await connect();
    const client = await connect();
    await client.subscribe('t', { qos: 2 });
    for (let count = 1; count <= 3; count++) {
      await publisher.deliver('t', '', { qos: 1 });
      const first = await client.message(); // left open, so that identifiers differ
      await publisher.deliver('t', '', { qos: 2, packetId: 500 + count });
      const second = await client.message();
      assert.notEqual(second.packetId, first.packetId);
      client.pubrec(second.packetId);
      assert.equal(await client.bytes(), `6202${twoByteInteger(second.packetId).toString('hex')}`);
    }
  },
);

conformance(
  '[MQTT-2.2.1-6] [MQTT3-2.3.1-7] [MQTT-3.8.4-2] [MQTT3-3.8.4-2] SUBACK and UNSUBACK carry the Packet Identifier of what they answer',
  all,
  async ({ version, connect }) => {
    const client = await connect();
    for (const packetId of [1, 0x0203, 0xffff]) {
      const id = twoByteInteger(packetId);
      client.send(frame(0x82, id, none(version), field('t'), [1]));
      assert.equal(await client.bytes(), frame(0x90, id, none(version), [1]).toString('hex'));
      client.send(frame(0xa2, id, none(version), field('t')));
      assert.equal(await client.bytes(), frame(0xb0, id, version === 5 ? '00 00' : []).toString('hex'));
    }
  },
);
