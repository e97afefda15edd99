/** AUTH and enhanced authentication: v5 §3.15 and §4.12, with SCRAM as the method. */
import assert from 'node:assert/strict';
import { ScramClient } from '../../src/policy/index.js';
import { PacketType, type Properties, ReasonCode } from '../../src/protocol/index.js';
import { conformance, v3, v5 } from '../support/conformance.js';
import { frame, properties } from '../support/wire-bytes.js';
import type { WireClient } from '../support/wire-client.js';

const method = 'SCRAM-SHA-256';
const users = { config: { users: [{ username: 'ann', password: 'secret' }] } };

const named = (data?: Uint8Array): Properties => ({
  authenticationMethod: method,
  ...(data === undefined ? {} : { authenticationData: Buffer.from(data) }),
});

/** Sends CONNECT with the first message and returns the exchange at the server's challenge. */
async function begin(client: WireClient, password = 'secret', more: Properties = {}): Promise<[ScramClient, Buffer]> {
  const scram = new ScramClient(method, 'ann', password);
  client.sendConnect({ clientId: 'scram', properties: { ...named(scram.first()), ...more } });
  return [scram, await challenge(client)];
}

async function challenge(client: WireClient): Promise<Buffer> {
  const auth = await client.packet(PacketType.Auth);
  assert.equal(auth.reasonCode, ReasonCode.ContinueAuthentication);
  assert.equal(auth.properties?.authenticationMethod, method);
  return Buffer.from(auth.properties!.authenticationData!);
}

function answer(client: WireClient, data: Uint8Array, reasonCode: number = ReasonCode.ContinueAuthentication): void {
  client.send({ type: PacketType.Auth, reasonCode, properties: named(data) });
}

async function connected(client: WireClient): Promise<void> {
  const [scram, data] = await begin(client);
  answer(client, await scram.final(data));
  const connack = await client.packet(PacketType.Connack);
  assert.equal(connack.reasonCode, 0);
  assert.equal(connack.properties?.authenticationMethod, method);
  assert.ok(scram.verify(Buffer.from(connack.properties!.authenticationData!)));
  client.connected = true;
}

conformance(
  '[MQTT-4.12.0-2] [MQTT-4.12.0-5] [MQTT-3.15.2-1] the exchange runs over AUTH with 0x18 and the method of CONNECT, up to a CONNACK with that method',
  v5,
  users,
  async ({ open, broker }) => {
    const client = await open();
    await connected(client);
    assert.deepEqual(
      broker.clients().map(({ clientId, username }) => [clientId, username]),
      [['scram', 'ann']],
    );
    await client.quiet();
  },
);

conformance('[MQTT-4.12.0-1] a method that is not offered is refused by 0x8C', v5, users, async ({ open }) => {
  for (const authenticationMethod of ['NONE', 'SCRAM-SHA-1', 'scram-sha-256', '']) {
    const client = await open();
    client.sendConnect({ properties: { authenticationMethod } });
    await client.refused(ReasonCode.BadAuthenticationMethod);
  }
});

conformance(
  '[MQTT-4.12.0-4] [MQTT-3.1.4-2] a proof that is wrong ends in a CONNACK that refuses, and the connection closes',
  v5,
  users,
  async ({ open, broker }) => {
    const client = await open();
    const [scram, data] = await begin(client, 'wrong');
    answer(client, await scram.final(data));
    const { packet } = await client.next();
    assert.ok(packet.type === PacketType.Connack);
    assert.ok([ReasonCode.NotAuthorized, ReasonCode.BadUserNameOrPassword].includes(packet.reasonCode as 0x87));
    await client.closed();
    assert.deepEqual(broker.clients(), []);
  },
);

conformance('[MQTT-4.12.0-3] an AUTH in the exchange has to say 0x18', v5, users, async ({ open }) => {
  for (const reasonCode of [ReasonCode.Success, ReasonCode.ReAuthenticate]) {
    const client = await open();
    const [scram, data] = await begin(client);
    answer(client, await scram.final(data), reasonCode);
    await client.refused(ReasonCode.ProtocolError);
  }
});

conformance(
  '[MQTT-4.12.0-5] an AUTH with another method than CONNECT ends the connection',
  v5,
  users,
  async ({ open }) => {
    const client = await open();
    const [scram, data] = await begin(client);
    client.send({
      type: PacketType.Auth,
      reasonCode: ReasonCode.ContinueAuthentication,
      properties: { authenticationMethod: 'SCRAM-SHA-512', authenticationData: await scram.final(data) },
    });
    await client.refused(ReasonCode.ProtocolError);
  },
);

conformance(
  '[MQTT-3.1.2-30] during the exchange only AUTH and DISCONNECT may come',
  v5,
  users,
  async ({ open, connect }) => {
    const watcher = await connect();
    await watcher.subscribe('t');
    for (const packet of ['c000', '3004 0001 74 00', '8207 0001 00 0001 74 00']) {
      const client = await open();
      await begin(client);
      client.send(packet);
      await client.refused(ReasonCode.ProtocolError);
    }
    const leaving = await open();
    await begin(leaving);
    leaving.send('e000');
    await leaving.closed();
    await watcher.quiet();
  },
);

conformance(
  '[MQTT-4.12.0-6] [MQTT-3.15.2-1] without a method in CONNECT there is no AUTH and no method in CONNACK',
  v5,
  users,
  async ({ open }) => {
    const client = await open();
    const { properties: told } = await client.connect({ username: 'ann', password: 'secret' });
    assert.equal(told?.authenticationMethod, undefined);
    assert.equal(told?.authenticationData, undefined);
    await client.quiet();
    const refused = await open();
    refused.sendConnect({ username: 'ann', password: 'wrong' });
    assert.equal((await refused.refused(ReasonCode.BadUserNameOrPassword)).authenticationMethod, undefined);
  },
);

conformance(
  '[MQTT-4.12.0-7] without a method in CONNECT an AUTH ends the connection',
  v5,
  users,
  async ({ connect }) => {
    for (const reasonCode of [ReasonCode.ContinueAuthentication, ReasonCode.ReAuthenticate]) {
      const client = await connect();
      answer(client, Buffer.from('x'), reasonCode);
      await client.refused(ReasonCode.ProtocolError);
    }
  },
);

/** Begins a re-authentication with 0x19; returns the exchange at the server's challenge. */
async function beginAgain(client: WireClient, password = 'secret'): Promise<[ScramClient, Buffer]> {
  const scram = new ScramClient(method, 'ann', password);
  answer(client, scram.first(), ReasonCode.ReAuthenticate);
  return [scram, await challenge(client)];
}

conformance(
  '[MQTT-4.12.1-1] [MQTT-4.12.0-2] [MQTT-4.12.0-5] a connected client may authenticate again; other packets go on meanwhile',
  v5,
  users,
  async ({ open }) => {
    const client = await open();
    await connected(client);
    for (let round = 0; round < 2; round++) {
      const [scram, data] = await beginAgain(client);
      await client.quiet();
      answer(client, await scram.final(data));
      const done = await client.packet(PacketType.Auth);
      assert.equal(done.reasonCode, ReasonCode.Success);
      assert.equal(done.properties?.authenticationMethod, method);
      assert.ok(scram.verify(Buffer.from(done.properties!.authenticationData!)));
    }
    await client.quiet();
  },
);

conformance('[MQTT-4.12.1-1] it has to keep to the method of CONNECT', v5, users, async ({ open }) => {
  const client = await open();
  await connected(client);
  const authenticationData = new ScramClient('SCRAM-SHA-512', 'ann', 'secret').first();
  client.send({
    type: PacketType.Auth,
    reasonCode: ReasonCode.ReAuthenticate,
    properties: { authenticationMethod: 'SCRAM-SHA-512', authenticationData },
  });
  await client.refused(ReasonCode.ProtocolError);
});

conformance(
  '[MQTT-4.12.1-2] a re-authentication that fails ends in DISCONNECT, and the connection closes',
  v5,
  users,
  async ({ open, gone }) => {
    const client = await open();
    await connected(client);
    const [scram, data] = await beginAgain(client, 'wrong');
    const left = gone(client);
    answer(client, await scram.final(data));
    const { reasonCode } = await client.packet(PacketType.Disconnect);
    assert.equal(reasonCode, ReasonCode.NotAuthorized);
    await client.closed();
    await left;
  },
);

conformance('an AUTH that continues nothing ends the connection', v5, users, async ({ open }) => {
  const client = await open();
  await connected(client);
  answer(client, Buffer.from('x'));
  await client.refused(ReasonCode.ProtocolError);
});

conformance('[MQTT-3.15.1-1] reserved header flags of AUTH end the connection', v5, users, async ({ open }) => {
  for (const header of [0xf1, 0xf2, 0xf8]) {
    const client = await open();
    const [scram, data] = await begin(client);
    const final = await scram.final(data);
    const { length } = final;
    client.send(frame(header, '18', properties([0x15], textField(method), [0x16, length >> 8, length & 0xff], final)));
    await client.refused(ReasonCode.MalformedPacket);
  }
});

function textField(text: string): Buffer {
  return Buffer.concat([Buffer.from([0, text.length]), Buffer.from(text)]);
}

conformance(
  '[MQTT-3.15.2-1] an AUTH with a reason code that is none of its own ends the connection',
  v5,
  users,
  async (scene) => {
    const client = await scene.open();
    await connected(client);
    client.send(frame(0xf0, '87', properties([0x15], textField(method))));
    await client.refused(ReasonCode.ProtocolError);
  },
);

conformance(
  '[MQTT-3.15.2-2] [MQTT-3.15.2-3] AUTH carries no Reason String or User Property, and is not sent where it does not fit',
  v5,
  users,
  async ({ open }) => {
    const roomy = await open();
    const scram = new ScramClient(method, 'ann', 'secret');
    roomy.sendConnect({ clientId: 'roomy', properties: named(scram.first()) });
    const whole = await roomy.next();
    assert.ok(whole.packet.type === PacketType.Auth);
    assert.equal(whole.packet.properties?.reasonString, undefined);
    assert.equal(whole.packet.properties?.userProperties, undefined);
    const client = await open();
    const [, data] = await begin(client, 'secret', { maximumPacketSize: whole.bytes.length });
    assert.ok(data.length > 0);
  },
);

conformance('3.x knows no AUTH', v3, users, async ({ connect }) => {
  const client = await connect();
  client.send('f000');
  await client.closed();
});

conformance(
  '[MQTT-3.1.2-24] a client that does not take the challenge is refused, and nobody else is harmed',
  v5,
  users,
  async ({ open, broker }) => {
    const client = await open();
    const scram = new ScramClient(method, 'ann', 'secret');
    client.sendConnect({ clientId: 'scram', properties: { ...named(scram.first()), maximumPacketSize: 20 } });
    assert.equal((await client.packet(PacketType.Connack)).reasonCode, ReasonCode.PacketTooLarge);
    await client.closed();
    await connected(await open());
    assert.equal(broker.clients().length, 1);
  },
);
