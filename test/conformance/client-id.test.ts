/** Client Identifiers: which are taken, which are given, what they identify (v5 §3.1.3.1, 3.1.1 §3.1.3.1). */
import assert from 'node:assert/strict';
import { ReasonCode } from '../../src/protocol/index.js';
import { all, conformance, v3, v4, v5 } from '../support/conformance.js';

conformance(
  '[MQTT-3.1.3-5] [MQTT3-3.1.3-5] identifiers of 1 to 23 letters and digits are allowed',
  all,
  async ({ connect, broker }) => {
    const letters = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';
    const ids = [...letters, letters.slice(0, 23), letters.slice(23, 46), letters.slice(39, 62)];
    for (const clientId of ids) await connect({ clientId });
    assert.deepEqual(
      broker.clients().map(({ clientId }) => clientId),
      ids,
    );
  },
);

conformance(
  '[MQTT-3.1.3-2] [MQTT3-3.1.3-2] state belongs to the exact Client Identifier',
  all,
  async ({ connect, kept, leave }) => {
    for (const clientId of ['Device', 'device', 'device ', 'devic\u0065\u0301']) {
      const client = await connect(kept(clientId));
      assert.deepEqual(await client.subscribe(`of/${clientId.length}/${clientId}`, { qos: 1 }), [1]);
      await leave(client);
    }
    const publisher = await connect();
    await publisher.deliver('of/6/device', 'x', { qos: 1 });
    for (const clientId of ['Device', 'device ', 'device\u0301']) await (await connect(kept(clientId))).quiet();
    assert.equal((await (await connect(kept('device'))).message()).topicName, 'of/6/device');
  },
);

conformance(
  '[MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16] an empty identifier is replaced by a new one, which CONNACK tells',
  v5,
  async ({ open, broker }) => {
    const given = new Set<string>();
    for (let count = 0; count < 5; count++) {
      const client = await open();
      const { properties } = await client.connect({ clientId: '' });
      given.add(properties?.assignedClientIdentifier ?? '');
    }
    assert.equal(given.size, 5);
    assert.ok(!given.has(''));
    assert.deepEqual(new Set(broker.clients().map(({ clientId }) => clientId)), given);
  },
);

conformance('[MQTT-3.1.3-7] the session of an assigned identifier can be resumed by it', v5, async (scene) => {
  const { open, connect, kept, gone } = scene;
  const client = await open();
  const { properties } = await client.connect(kept('', { cleanStart: true }));
  const clientId = properties!.assignedClientIdentifier!;
  client.clientId = clientId;
  await client.subscribe('t', { qos: 1 });
  const noticed = gone(client);
  client.stream.destroy();
  await noticed;
  await (await connect()).deliver('t', 'x', { qos: 1 });
  const again = await connect(kept(clientId));
  assert.equal((await again.message()).payload, 'x');
});

conformance('[MQTT-3.1.3-7] an identifier that the client gave is not told back', v5, async ({ open }) => {
  const client = await open();
  const { properties } = await client.connect({ clientId: 'own' });
  assert.equal(properties?.assignedClientIdentifier, undefined);
});

conformance('[MQTT3-3.1.3-6] an empty identifier with Clean Session 1 is replaced by a new one', v4, async (scene) => {
  for (let count = 0; count < 3; count++) await scene.connect({ clientId: '' });
  const ids = scene.broker.clients().map(({ clientId }) => clientId);
  assert.equal(new Set(ids).size, 3);
  assert.ok(!ids.includes(''));
});

conformance(
  '[MQTT3-3.1.3-7] [MQTT3-3.1.3-8] an empty identifier with Clean Session 0 is rejected',
  v4,
  async ({ open, broker }) => {
    const client = await open();
    client.sendConnect({ clientId: '', cleanStart: false });
    assert.equal(await client.bytes(), '20020002');
    await client.closed();
    assert.deepEqual(broker.clients(), []);
  },
);

conformance('3.1 rejects an empty identifier', [3], async ({ open }) => {
  for (const cleanStart of [true, false]) {
    const client = await open();
    client.sendConnect({ clientId: '', cleanStart });
    assert.equal(await client.bytes(), '20020002');
    await client.closed();
  }
});

conformance('3.1 identifiers longer than 23 bytes are allowed', [3], async ({ connect }) => {
  await connect({ clientId: 'x'.repeat(24) });
});

conformance(
  '[MQTT-3.1.3-8] [MQTT3-3.1.3-9] an identifier above the limit is rejected',
  all,
  { config: { limits: { clientIdBytesMax: 30 } } },
  async ({ open }) => {
    for (const clientId of ['x'.repeat(31), 'é'.repeat(16)]) {
      const client = await open();
      client.sendConnect({ clientId });
      await client.refused(ReasonCode.ClientIdentifierNotValid, 2);
    }
    await (await open()).connect({ clientId: 'x'.repeat(30) });
  },
);

conformance(
  '[MQTT-3.1.4-3] [MQTT3-3.1.4-2] a second connection with the same identifier ends the first',
  all,
  async ({ connect }) => {
    const other = await connect({ clientId: 'other' });
    const first = await connect({ clientId: 'same' });
    const second = await connect({ clientId: 'same' });
    await first.refused(ReasonCode.SessionTakenOver);
    await second.quiet();
    await other.quiet();
  },
);

conformance('a takeover crosses versions', v3, async ({ connect, version }) => {
  const newer = await connect({ clientId: 'same', version: 5 });
  const older = await connect({ clientId: 'same', version });
  await newer.refused(ReasonCode.SessionTakenOver);
  const newest = await connect({ clientId: 'same', version: 5 });
  await older.closed();
  await newest.quiet();
});
