/** Topic aliases both ways: v5 §3.3.2.3.4. */
import assert from 'node:assert/strict';
import { ReasonCode } from '../../src/protocol/index.js';
import { conformance, v5 } from '../support/conformance.js';
import type { WireClient } from '../support/wire-client.js';

const alias = (topicAlias: number) => ({ properties: { topicAlias } });

conformance(
  '[MQTT-3.3.2-12] every alias from 1 to the Topic Alias Maximum of CONNACK is taken',
  v5,
  { config: { limits: { topicAliasMaximum: 20 } } },
  async ({ open, connect }) => {
    const subscriber = await connect();
    await subscriber.subscribe('a/#');
    const client = await open();
    assert.equal((await client.connect()).properties?.topicAliasMaximum, 20);
    for (let value = 1; value <= 20; value++) client.publish(`a/${value}`, 'named', alias(value));
    for (let value = 20; value >= 1; value--) client.publish('', 'aliased', alias(value));
    for (let value = 1; value <= 20; value++) assert.equal((await subscriber.message()).topicName, `a/${value}`);
    for (let value = 20; value >= 1; value--) {
      const message = await subscriber.message();
      assert.deepEqual([message.topicName, message.payload], [`a/${value}`, 'aliased']);
      assert.equal(message.properties.topicAlias, undefined, 'an alias is not forwarded');
    }
    client.publish('a/new', 'again', alias(1));
    client.publish('', 'again', { ...alias(1), qos: 1 });
    for (let count = 0; count < 2; count++) assert.equal((await subscriber.message()).topicName, 'a/new');
  },
);

conformance('[MQTT-3.3.2-8] an alias of 0 ends the connection', v5, async ({ connect }) => {
  const client = await connect();
  client.publish('t', 'x', alias(0));
  await client.refused(ReasonCode.TopicAliasInvalid);
});

conformance(
  '[MQTT-3.3.2-9] [MQTT-3.2.2-17] an alias above the Topic Alias Maximum of CONNACK ends the connection',
  v5,
  { config: { limits: { topicAliasMaximum: 5 } } },
  async ({ connect }) => {
    for (const value of [6, 65_535]) {
      const client = await connect();
      await client.deliver('t', 'x', alias(5));
      client.publish('t', 'x', alias(value));
      await client.refused(ReasonCode.TopicAliasInvalid);
    }
  },
);

conformance(
  '[MQTT-3.2.2-18] with a Topic Alias Maximum of 0 every alias ends the connection',
  v5,
  { config: { limits: { topicAliasMaximum: 0 } } },
  async ({ open }) => {
    const client = await open();
    assert.equal((await client.connect()).properties?.topicAliasMaximum ?? 0, 0);
    client.publish('t', 'x', alias(1));
    await client.refused(ReasonCode.TopicAliasInvalid);
  },
);

conformance('[MQTT-3.3.2-7] aliases of one connection mean nothing on the next', v5, async (scene) => {
  const { connect, kept, drop } = scene;
  const first = await connect(kept('aliases'));
  await first.deliver('t', 'x', alias(1));
  await drop(first);
  const second = await connect(kept('aliases'));
  second.publish('', 'x', alias(1));
  await second.refused(ReasonCode.ProtocolError);
});

conformance('[MQTT-3.3.2-7] the broker sets its aliases anew on each connection', v5, async (scene) => {
  const { connect, kept, drop } = scene;
  const publisher = await connect();
  const options = kept('aliased', { properties: { topicAliasMaximum: 5 } });
  const first = await connect(options);
  await first.subscribe('t', { qos: 1 });
  await publisher.deliver('t', 'x');
  await publisher.deliver('t', 'y');
  assert.deepEqual([(await first.message()).topicName, (await first.message()).topicName], ['t', '']);
  await drop(first);
  const second = await connect(options);
  await publisher.deliver('t', 'z');
  const message = await second.message();
  assert.equal(message.topicName, 't');
});

/** Follows aliases as a client does; fails on one that was never set. */
async function resolved(client: WireClient, names: Map<number, string>): Promise<{ name: string; value: number }> {
  const { topicName, properties } = await client.message();
  const value = properties.topicAlias ?? 0;
  if (value > 0 && topicName !== '') names.set(value, topicName);
  const name = topicName === '' ? names.get(value) : topicName;
  assert.ok(name !== undefined, `alias ${value} was never set`);
  return { name, value };
}

conformance(
  '[MQTT-3.1.2-26] [MQTT-3.3.2-11] [MQTT-3.3.2-8] the broker sets aliases from 1 to the Topic Alias Maximum of CONNECT, none above',
  v5,
  async ({ connect }) => {
    const client = await connect({ properties: { topicAliasMaximum: 3 } });
    await client.subscribe('a/#', { qos: 1 });
    const names = new Map<number, string>();
    const used = new Set<number>();
    const publisher = await connect();
    for (let round = 0; round < 3; round++)
      for (let topic = 0; topic < 6; topic++) {
        await publisher.deliver(`a/${topic}`, 'x', { qos: round === 1 ? 1 : 0 });
        const { name, value } = await resolved(client, names);
        assert.equal(name, `a/${topic}`);
        used.add(value);
      }
    assert.ok(used.size > 1, 'aliases are used');
    assert.ok(Math.max(...used) <= 3);
  },
);

conformance('[MQTT-3.1.2-27] without a Topic Alias Maximum the broker sets no alias', v5, async ({ connect }) => {
  const publisher = await connect();
  for (const properties of [{}, { topicAliasMaximum: 0 }]) {
    const client = await connect({ properties });
    await client.subscribe('t', { qos: 1 });
    for (const qos of [0, 0, 1, 1] as const) {
      await publisher.deliver('t', 'x', { qos });
      const message = await client.message();
      assert.deepEqual([message.topicName, message.properties], ['t', {}]);
    }
  }
});

conformance('a QoS 1 message sent again on a new connection names its topic', v5, async (scene) => {
  const { connect, kept, drop } = scene;
  const options = kept('resent', { properties: { topicAliasMaximum: 5 } });
  const first = await connect(options);
  await first.subscribe('t', { qos: 1 });
  const publisher = await connect();
  await publisher.deliver('t', '1', { qos: 1 });
  await publisher.deliver('t', '2', { qos: 1 });
  await first.message();
  assert.equal((await first.message()).topicName, '');
  await drop(first);
  const second = await connect(options);
  const names = new Map<number, string>();
  assert.equal((await resolved(second, names)).name, 't');
  assert.equal((await resolved(second, names)).name, 't');
});

conformance('an alias that was never set ends the connection', v5, async ({ connect }) => {
  const client = await connect();
  client.publish('', 'x', alias(2));
  await client.refused(ReasonCode.ProtocolError);
});
