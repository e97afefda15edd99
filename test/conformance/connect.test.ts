/** CONNECT: its header and flags, what its payload has to hold, and what a refusal looks like (v5 §3.1, 3.1.1 §3.1). */
import assert from 'node:assert/strict';
import { PacketType, ReasonCode } from '../../src/protocol/index.js';
import { all, conformance, v3, v4, v4v5, v5 } from '../support/conformance.js';
import { field, properties, rawConnect } from '../support/wire-bytes.js';
import { connectPacket } from '../support/wire-client.js';

const id = field('payload');

conformance('[MQTT-3.1.0-1] [MQTT3-3.1.0-1] the first packet has to be CONNECT', all, async ({ open, broker }) => {
  const early = ['300300017478', '40020001', '8206000100017400', 'a2050001000174', 'c000', 'e000', 'f000', '2000'];
  for (const packet of early) {
    const client = await open();
    client.send(packet);
    await client.closed();
  }
  assert.deepEqual(broker.clients(), []);
  await (await open()).connect();
});

conformance(
  '[MQTT-3.1.0-2] [MQTT3-3.1.0-2] [MQTT-3.2.0-2] a second CONNECT ends the connection, without a second CONNACK',
  all,
  async ({ version, connect, gone }) => {
    const client = await connect({ clientId: 'twice' });
    const noticed = gone(client);
    client.send(connectPacket(version, { clientId: 'twice' }));
    await client.refused(ReasonCode.ProtocolError);
    await noticed;
  },
);

conformance('[MQTT-3.1.2-1] [MQTT3-3.1.2-1] another protocol name is not served', all, async (scene) => {
  const { version, open, broker } = scene;
  for (const name of ['MQTX', 'mqtt', 'MQIsdq', '']) {
    const client = await open();
    client.send(rawConnect(version, { name }));
    const { packet } = await client.next();
    assert.ok(packet.type === PacketType.Connack && packet.reasonCode !== 0);
    await client.closed();
  }
  assert.deepEqual(broker.clients(), []);
});

conformance(
  '[MQTT-3.1.2-2] [MQTT3-3.1.2-2] an unknown protocol level is refused, then the connection closes',
  v4v5,
  async ({ version, open }) => {
    for (const level of [0, 2, 3, 6, 0x44]) {
      const client = await open();
      client.send(rawConnect(version, { level }));
      assert.equal(await client.bytes(), '20020001');
      await client.closed();
    }
    await (await open()).connect();
  },
);

conformance(
  '[MQTT-3.1.2-2] a version that the listener does not take is refused in its own form',
  [3, 5],
  { config: { listeners: [{ name: 'only', port: 0, protocolVersions: ['3.1.1'] }] } },
  async ({ open }) => {
    const client = await open();
    client.sendConnect();
    await client.refused(ReasonCode.UnsupportedProtocolVersion, 1);
    await (await open(4)).connect();
  },
);

conformance('[MQTT-3.1.2-3] [MQTT3-3.1.2-3] the reserved connect flag has to be 0', v4v5, async ({ version, open }) => {
  const client = await open();
  client.send(rawConnect(version, { flags: 0x03 }));
  await client.refused(ReasonCode.MalformedPacket);
  const other = await open();
  other.send(rawConnect(version, { flags: 0x02 }));
  assert.equal((await other.packet(PacketType.Connack)).reasonCode, 0);
});

conformance(
  '[MQTT-3.1.2-9] [MQTT3-3.1.2-9] with Will Flag 1 the will fields have to be there',
  all,
  async ({ version, open }) => {
    const none = version === 5 ? properties() : Buffer.alloc(0);
    for (const payload of [[id], [id, none, field('topic')], [id, none]]) {
      const client = await open();
      client.send(rawConnect(version, { flags: 0x06, payload }));
      await client.refused(ReasonCode.MalformedPacket);
    }
    const client = await open();
    client.send(rawConnect(version, { flags: 0x06, payload: [id, none, field('topic'), field('')] }));
    assert.equal((await client.packet(PacketType.Connack)).reasonCode, 0);
  },
);

conformance(
  '[MQTT-3.1.2-11] [MQTT3-3.1.2-11] [MQTT3-3.1.2-13] with Will Flag 0 the Will QoS is 0',
  v4v5,
  async (scene) => {
    for (const flags of [0x0a, 0x12, 0x1a]) {
      const client = await scene.open();
      client.send(rawConnect(scene.version, { flags }));
      await client.refused(ReasonCode.MalformedPacket);
    }
  },
);

conformance('[MQTT3-3.1.2-11] with Will Flag 0 the will fields are not there', v4v5, async ({ version, open }) => {
  const client = await open();
  client.send(rawConnect(version, { payload: [id, version === 5 ? properties() : [], field('topic'), field('')] }));
  await client.refused(ReasonCode.MalformedPacket);
});

conformance(
  '[MQTT-3.1.2-13] [MQTT3-3.1.2-11] [MQTT3-3.1.2-15] with Will Flag 0 Will Retain is 0',
  v4v5,
  async (scene) => {
    const client = await scene.open();
    client.send(rawConnect(scene.version, { flags: 0x22 }));
    await client.refused(ReasonCode.MalformedPacket);
  },
);

conformance(
  '[MQTT-3.1.2-12] [MQTT3-3.1.2-14] a Will QoS of 3 is refused; 0, 1 and 2 are published as asked',
  all,
  async ({ version, open, connect, drop }) => {
    const payload = [field('will-qos'), version === 5 ? properties() : [], field('topic'), field('x')];
    const watcher = await connect();
    await watcher.subscribe('topic', { qos: 2 });
    for (const qos of [0, 1, 2]) {
      const client = await open();
      client.clientId = 'will-qos';
      client.send(rawConnect(version, { flags: 0x06 | (qos << 3), payload }));
      assert.equal((await client.packet(PacketType.Connack)).reasonCode, 0);
      await drop(client);
      const will = await watcher.message();
      assert.equal(will.qos, qos);
    }
    const client = await open();
    client.send(rawConnect(version, { flags: 0x1e, payload }));
    await client.refused(ReasonCode.MalformedPacket);
  },
);

const login = { config: { users: [{ username: 'ann', password: 'secret' }] } };

conformance('[MQTT-3.1.2-16] [MQTT3-3.1.2-18] a User Name that no flag announces is refused', all, async (scene) => {
  const client = await scene.open();
  client.send(rawConnect(scene.version, { payload: [id, field('ann')] }));
  await client.refused(ReasonCode.MalformedPacket);
});

conformance(
  '[MQTT-3.1.2-17] [MQTT3-3.1.2-19] an announced User Name has to be there',
  v4v5,
  login,
  async ({ version, open }) => {
    const client = await open();
    client.send(rawConnect(version, { flags: 0x82, payload: [id] }));
    await client.refused(ReasonCode.MalformedPacket);
    await (await open()).connect({ username: 'ann', password: 'secret' });
  },
);

conformance(
  '[MQTT-3.1.2-18] [MQTT3-3.1.2-20] a Password that no flag announces is refused',
  all,
  login,
  async (scene) => {
    const client = await scene.open();
    client.send(rawConnect(scene.version, { flags: 0x82, payload: [id, field('ann'), field('secret')] }));
    await client.refused(ReasonCode.MalformedPacket);
  },
);

conformance(
  '[MQTT-3.1.2-19] [MQTT3-3.1.2-21] an announced Password has to be there',
  v4v5,
  async ({ version, open }) => {
    const client = await open();
    client.send(rawConnect(version, { flags: 0xc2, payload: [id, field('ann')] }));
    await client.refused(ReasonCode.MalformedPacket);
  },
);

conformance('[MQTT3-3.1.2-22] a Password without a User Name is refused before 5.0', v3, async ({ version, open }) => {
  const client = await open();
  client.send(rawConnect(version, { flags: 0x42, payload: [id, field('secret')] }));
  await client.closed();
});

conformance('5.0 takes a Password without a User Name', v5, async ({ open }) => {
  const client = await open();
  client.send(rawConnect(5, { flags: 0x42, payload: [id, field('secret')] }));
  assert.equal((await client.packet(PacketType.Connack)).reasonCode, 0);
});

conformance('3.1 takes a missing User Name as not announced', [3], async ({ open }) => {
  const client = await open();
  client.send(rawConnect(3, { flags: 0xc2, payload: [id] }));
  assert.equal((await client.packet(PacketType.Connack)).reasonCode, 0);
});

conformance(
  '[MQTT-3.1.3-1] [MQTT3-3.1.3-1] the payload fields are read in their one order',
  all,
  login,
  async ({ version, open, connect, broker, drop }) => {
    const watcher = await connect({ username: 'ann', password: 'secret' });
    await watcher.subscribe('#');
    const client = await open();
    client.clientId = 'ordered';
    const willProperties = version === 5 ? properties([3], field('type/of-will')) : [];
    const payload = [field('ordered'), willProperties, field('topic/of-will'), field('text of will')];
    client.send(rawConnect(version, { flags: 0xc6, payload: [...payload, field('ann'), field('secret')] }));
    assert.equal((await client.packet(PacketType.Connack)).reasonCode, 0);
    const known = broker.clients().find(({ clientId }) => clientId === 'ordered');
    assert.equal(known?.username, 'ann');
    await drop(client);
    const will = await watcher.message();
    assert.deepEqual([will.topicName, will.payload], ['topic/of-will', 'text of will']);
    assert.deepEqual(will.properties, version === 5 ? { contentType: 'type/of-will' } : {});
  },
);

conformance('[MQTT-3.1.3-3] [MQTT3-3.1.3-3] the Client Identifier has to be there', all, async ({ version, open }) => {
  const client = await open();
  client.send(rawConnect(version, { payload: [] }));
  await client.refused(ReasonCode.MalformedPacket);
});

conformance('[MQTT-3.1.4-1] a CONNECT that breaks its format gets its reason code', v5, async ({ open }) => {
  const wrong: [name: string, connect: Buffer, reasonCode: number][] = [
    ['bytes after the payload', rawConnect(5, { payload: [id, [0]] }), ReasonCode.MalformedPacket],
    ['Receive Maximum 0', rawConnect(5, { properties: properties('21 0000') }), ReasonCode.ProtocolError],
    ['Maximum Packet Size 0', rawConnect(5, { properties: properties('27 00000000') }), ReasonCode.ProtocolError],
    ['two of a property', rawConnect(5, { properties: properties('21 0001 21 0001') }), ReasonCode.ProtocolError],
    ['a property of another packet', rawConnect(5, { properties: properties('23 0001') }), ReasonCode.MalformedPacket],
    ['an unknown property', rawConnect(5, { properties: properties('7f 00') }), ReasonCode.MalformedPacket],
    ['a flag of 2', rawConnect(5, { properties: properties('17 02') }), ReasonCode.ProtocolError],
    ['properties cut short', rawConnect(5, { properties: properties('21 00') }), ReasonCode.MalformedPacket],
  ];
  for (const [, connect, reasonCode] of wrong) {
    const client = await open();
    client.send(connect);
    await client.refused(reasonCode);
  }
});

conformance(
  '[MQTT3-3.1.4-1] a CONNECT that breaks its format is closed without CONNACK',
  v3,
  async ({ version, open }) => {
    for (const payload of [[id, [0]], [], ['0005 61']]) {
      const client = await open();
      client.send(rawConnect(version, { payload }));
      await client.closed();
    }
  },
);

conformance(
  '[MQTT-3.1.4-2] [MQTT-4.13.2-1] [MQTT3-3.2.2-5] a client that fails authentication is refused and closed',
  all,
  login,
  async ({ open, broker }) => {
    for (const [username, password] of [
      ['ann', 'wrong'],
      ['bob', 'secret'],
      ['ann', undefined],
    ] as const) {
      const client = await open();
      client.sendConnect({ username, ...(password === undefined ? {} : { password }) });
      await client.refused(ReasonCode.BadUserNameOrPassword, 4);
    }
    assert.deepEqual(broker.clients(), []);
    await (await open()).connect({ username: 'ann', password: 'secret' });
  },
);

conformance(
  '[MQTT-3.1.4-2] a listener that wants a user name refuses anonymous clients',
  all,
  { config: { listeners: [{ name: 'named', port: 0, allowAnonymous: false }], ...login.config } },
  async ({ open }) => {
    const client = await open();
    client.sendConnect();
    await client.refused(ReasonCode.NotAuthorized, 5);
  },
);

conformance(
  '[MQTT-3.1.4-6] [MQTT3-3.1.4-5] nothing after a refused CONNECT is processed',
  all,
  login,
  async ({ version, open, connect }) => {
    const watcher = await connect({ username: 'ann', password: 'secret' });
    await watcher.subscribe('after');
    const publish = { type: PacketType.Publish, topicName: 'after', payload: Buffer.from('x') } as const;
    const after = { ...publish, qos: 0, retain: false, dup: false } as const;
    const refused = await open();
    refused.send(connectPacket(version, { username: 'ann' }), after);
    await refused.refused(ReasonCode.BadUserNameOrPassword, 4);
    await watcher.quiet();
    const accepted = await open();
    accepted.send(connectPacket(version, { username: 'ann', password: Buffer.from('secret') } as never), after);
    await accepted.packet(PacketType.Connack);
    assert.equal((await watcher.message()).topicName, 'after');
  },
);

conformance('[MQTT3-3.1.4-4] an accepted CONNECT is answered with code 0', v3, async ({ open }) => {
  const client = await open();
  client.sendConnect();
  assert.equal(await client.bytes(), '20020000');
});

conformance('[MQTT-3.1.4-5] an accepted CONNECT is answered with Success', v5, async ({ open }) => {
  const client = await open();
  client.sendConnect();
  const { packet, bytes } = await client.next();
  assert.equal(packet.type, PacketType.Connack);
  assert.equal(bytes[2], 0, 'Session Present');
  assert.equal(bytes[3], 0, 'Reason Code');
});

conformance(
  '[MQTT3-3.2.2-6] [MQTT3-3.1.2-3] where no return code applies there is no CONNACK',
  v4,
  async ({ open }) => {
    for (const flags of [0x03, 0x1a, 0x1e, 0x42]) {
      const client = await open();
      client.send(rawConnect(4, { flags, payload: [id, field('t'), field('m')] }));
      await client.closed();
    }
  },
);
