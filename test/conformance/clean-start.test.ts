/** Clean Start, Clean Session and Session Present: v5 §3.1.2.4 and §3.2.2.1.1, 3.1.1 §3.1.2.4 and §3.2.2.2. */
import assert from 'node:assert/strict';
import { PacketType } from '../../src/protocol/index.js';
import { all, conformance, v3, v4, v4v5, v5 } from '../support/conformance.js';
import type { WireClient } from '../support/wire-client.js';

conformance(
  '[MQTT-3.1.2-4] [MQTT3-3.1.2-6] [MQTT-3.1.4-4] [MQTT3-3.1.4-3] a clean start discards subscriptions, queued messages, messages in flight and identifiers received',
  all,
  async ({ connect, kept, drop }) => {
    const publisher = await connect();
    const watcher = await connect();
    await watcher.subscribe('from/dirty', { qos: 2 });
    const first = await connect(kept('dirty'));
    await first.subscribe('t', { qos: 2 });
    await publisher.deliver('t', 'in flight', { qos: 1 });
    await first.message();
    first.publish('from/dirty', 'one', { qos: 2, packetId: 7 });
    await first.packet(PacketType.Pubrec);
    await watcher.message();
    await drop(first);
    await publisher.deliver('t', 'queued', { qos: 1 });
    const again = await connect({ ...kept('dirty'), cleanStart: true });
    await publisher.deliver('t', 'not subscribed', { qos: 1 });
    await again.quiet();
    again.publish('from/dirty', 'two', { qos: 2, packetId: 7 });
    await again.packet(PacketType.Pubrec);
    assert.equal((await watcher.message()).payload, 'two', 'the identifier was forgotten');
  },
);

conformance(
  '[MQTT-3.1.2-4] [MQTT3-3.1.2-6] a clean start discards the session of a connection that it takes over',
  all,
  async ({ connect, kept }) => {
    const publisher = await connect();
    const first = await connect(kept('taken'));
    await first.subscribe('t', { qos: 1 });
    const second = await connect({ ...kept('taken'), cleanStart: true });
    await publisher.deliver('t', 'x', { qos: 1 });
    await second.quiet();
  },
);

conformance(
  '[MQTT3-3.1.2-6] a session that began with Clean Session 1 ends with its connection',
  v3,
  async ({ connect, drop }) => {
    const publisher = await connect();
    const first = await connect({ clientId: 'brief', cleanStart: true });
    await first.subscribe('t', { qos: 1 });
    await drop(first);
    await publisher.deliver('t', 'x', { qos: 1 });
    const second = await connect({ clientId: 'brief', cleanStart: false });
    await publisher.deliver('t', 'y', { qos: 1 });
    await second.quiet();
  },
);

conformance(
  '[MQTT-3.1.2-5] [MQTT-3.1.2-23] [MQTT3-3.1.2-4] [MQTT3-3.1.2-5] [MQTT-4.5.0-1] [MQTT3-4.5.0-1] [MQTT-4.1.0-1] [MQTT3-4.1.0-1] a session without a connection keeps its subscriptions and what they match at QoS 1 and 2',
  all,
  async ({ connect, kept, drop }) => {
    const publisher = await connect();
    const first = await connect(kept('stays'));
    await first.subscribe('a/+', { qos: 2 });
    await drop(first);
    await publisher.deliver('a/1', 'one', { qos: 1 });
    await publisher.deliver('a/2', 'two', { qos: 2 });
    await publisher.deliver('b', 'no', { qos: 2 });
    const second = await connect(kept('stays'));
    const messages = [await second.message(), await second.message()];
    assert.deepEqual(
      messages.map(({ topicName, payload, qos, dup }) => [topicName, payload, qos, dup]),
      [
        ['a/1', 'one', 1, false],
        ['a/2', 'two', 2, false],
      ],
    );
    await publisher.deliver('a/3', 'three');
    assert.equal((await second.message()).payload, 'three', 'the subscription is there');
  },
);

conformance(
  '[MQTT-3.1.2-5] [MQTT3-3.1.2-4] a session is resumed from a connection that it takes over',
  all,
  async ({ connect, kept }) => {
    const publisher = await connect();
    const first = await connect(kept('moves'));
    await first.subscribe('t', { qos: 1 });
    const second = await connect(kept('moves'));
    await publisher.deliver('t', 'x', { qos: 1 });
    assert.equal((await second.message()).payload, 'x');
  },
);

conformance('[MQTT-3.1.2-6] [MQTT3-3.1.2-4] without a session a new one is created', all, async ({ connect, kept }) => {
  const client = await connect(kept('new'));
  await client.subscribe('t');
  await client.unsubscribe('t');
  await client.quiet();
});

const present = async (client: WireClient) => (await client.packet(PacketType.Connack)).sessionPresent;

conformance(
  '[MQTT-3.2.2-2] [MQTT3-3.2.2-1] Session Present is 0 after a clean start, though there was a session',
  v4v5,
  async ({ open, connect, kept, drop }) => {
    await drop(await connect(kept('there')));
    const client = await open();
    client.sendConnect({ ...kept('there'), cleanStart: true });
    const bytes = await client.bytes();
    assert.equal(bytes.slice(4, 8), '0000');
  },
);

conformance(
  '[MQTT-3.2.2-3] [MQTT3-3.2.2-2] [MQTT3-3.2.2-3] Session Present says whether there was a session',
  v4v5,
  async ({ open, kept, drop }) => {
    const first = await open();
    first.sendConnect(kept('asked'));
    assert.equal(await present(first), false);
    await drop(first);
    const second = await open();
    second.sendConnect(kept('asked'));
    assert.equal(await present(second), true);
    const third = await open();
    third.sendConnect(kept('asked'));
    assert.equal(await present(third), true, 'a session taken over');
    const other = await open();
    other.sendConnect(kept('Asked'));
    assert.equal(await present(other), false);
  },
);

conformance('3.1 has no Session Present flag', [3], async ({ open, kept, connect, drop }) => {
  await drop(await connect(kept('asked')));
  const client = await open();
  client.sendConnect(kept('asked'));
  assert.equal(await client.bytes(), '20020000');
});

conformance(
  '[MQTT-3.2.2-6] [MQTT3-3.2.2-4] Session Present is 0 in a refusal, though there is a session',
  v4v5,
  { config: { users: [{ username: 'ann', password: 'secret' }] } },
  async ({ version, open, connect, kept, drop }) => {
    await drop(await connect({ ...kept('known'), username: 'ann', password: 'secret' }));
    const client = await open();
    client.sendConnect({ ...kept('known'), username: 'ann', password: 'wrong' });
    const bytes = await client.bytes();
    assert.equal(bytes.slice(4, 8), version === 5 ? '0086' : '0004');
    await client.closed();
  },
);

conformance(
  '[MQTT-3.1.2-23] a Session Expiry Interval of 0, or none, ends the session with its connection',
  v5,
  async ({ open, connect, drop }) => {
    for (const properties of [{}, { sessionExpiryInterval: 0 }]) {
      await drop(await connect({ clientId: 'brief', cleanStart: false, properties }));
      const client = await open();
      client.sendConnect({ clientId: 'brief', cleanStart: false, properties });
      assert.equal(await present(client), false);
      await drop(client);
    }
  },
);

conformance(
  '[MQTT-4.1.0-2] the session is discarded when its expiry interval has passed',
  v5,
  async ({ open, connect, drop, broker }) => {
    const short = { clientId: 'short', cleanStart: false, properties: { sessionExpiryInterval: 1 } };
    const long = { clientId: 'long', cleanStart: false, properties: { sessionExpiryInterval: 3600 } };
    for (const options of [short, long]) await drop(await connect(options));
    while (broker.metrics.sessionsExpired === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    const expired = await open();
    expired.sendConnect(short);
    assert.equal(await present(expired), false);
    const alive = await open();
    alive.sendConnect(long);
    assert.equal(await present(alive), true);
  },
);

conformance(
  '[MQTT-4.1.0-1] [MQTT3-4.1.0-2] a session lasts while its connection is open, whatever its expiry interval',
  v4v5,
  async ({ connect }) => {
    const publisher = await connect();
    const brief = await connect({ clientId: 'brief' });
    await brief.subscribe('t', { qos: 1 });
    const other = await connect({ version: 5, properties: { sessionExpiryInterval: 1 } });
    await other.subscribe('other');
    await new Promise((resolve) => setTimeout(resolve, 1500)); // longer than what would have expired
    await publisher.deliver('t', 'x', { qos: 1 });
    assert.equal((await brief.message()).payload, 'x');
    await publisher.deliver('other', 'y');
    assert.equal((await other.message()).payload, 'y');
  },
);

conformance('[MQTT3-3.1.2-7] retained messages outlive the session that published them', v3, async (scene) => {
  const { connect, drop } = scene;
  const publisher = await connect({ cleanStart: true });
  await publisher.deliver('t', 'kept', { retain: true });
  await drop(publisher);
  const subscriber = await connect();
  await subscriber.subscribe('t');
  assert.equal((await subscriber.message()).payload, 'kept');
});

conformance('DISCONNECT may shorten or lengthen the session’s life', v5, async ({ open, connect, leave }) => {
  const options = { clientId: 'changes', cleanStart: false, properties: { sessionExpiryInterval: 60 } };
  await leave(await connect(options), 'e007 00 05 1100000000');
  const ended = await open();
  ended.sendConnect(options);
  assert.equal(await present(ended), false);
  ended.connected = true;
  await leave(ended, 'e007 00 05 1100000e10');
  const kept = await open();
  kept.sendConnect(options);
  assert.equal(await present(kept), true);
});

conformance(
  '3.1.1 sessions with Clean Session 0 expire after the configured time',
  v4,
  {
    config: { limits: { sessionExpirySecondsMax: 1 } },
  },
  async ({ open, connect, drop, kept, broker }) => {
    await drop(await connect(kept('old')));
    while (broker.metrics.sessionsExpired === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    const client = await open();
    client.sendConnect(kept('old'));
    assert.equal(await present(client), false);
  },
);
