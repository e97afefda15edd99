/** Topic Names and Topic Filters: v5 §4.7, 3.1.1 §4.7. */
import assert from 'node:assert/strict';
import { PacketType, ReasonCode } from '../../src/protocol/index.js';
import { all, conformance } from '../support/conformance.js';
import { type Field, field, frame, properties } from '../support/wire-bytes.js';

const none = (version: number): Field => (version === 5 ? properties() : []);

function filterTest(title: string, wrong: readonly string[], right: readonly string[]): void {
  conformance(title, all, async ({ version, connect }) => {
    for (const filter of wrong)
      for (const packet of [
        frame(0x82, '0001', none(version), field(filter), '00'),
        frame(0xa2, '0001', none(version), field(filter)),
      ]) {
        const client = await connect();
        client.send(packet);
        await client.refused(ReasonCode.TopicFilterInvalid);
      }
    const client = await connect();
    for (const filter of right) assert.deepEqual(await client.subscribe(filter), [0]);
  });
}

filterTest(
  '[MQTT-4.7.1-1] [MQTT3-4.7.1-2] # stands alone or after a separator, and last',
  ['a#', 'a/b#', '#/a', 'a/#/b', '##', '#a', 'a/##', '+#', '#/'],
  ['#', 'a/#', '+/#', '/#', 'a//#'],
);

filterTest(
  '[MQTT-4.7.1-2] [MQTT3-4.7.1-3] + fills a whole level, any level',
  ['a+', '+a', 'a/+b', 'a/b+/c', '++', 'a/++'],
  ['+', '+/+', 'a/+', '+/b', '/+', '+/', 'a/+/c', '/+/', '+/#'],
);

conformance('[MQTT-4.7.1-1] [MQTT3-4.7.1-2] # matches its parent and every level below', all, async ({ connect }) => {
  const subscriber = await connect();
  await subscriber.subscribe('a/b/#');
  const publisher = await connect();
  for (const topicName of ['a/b', 'a/b/', 'a/b/c', 'a/b/c/d/e', 'a', 'a/bc', 'a/c/b', 'A/b'])
    await publisher.deliver(topicName, 'x');
  for (const topicName of ['a/b', 'a/b/', 'a/b/c', 'a/b/c/d/e'])
    assert.equal((await subscriber.message()).topicName, topicName);
  await subscriber.quiet();
});

conformance('[MQTT-4.7.1-2] [MQTT3-4.7.1-3] + matches one level, an empty one too', all, async ({ connect }) => {
  const subscriber = await connect();
  await subscriber.subscribe('a/+/c');
  const publisher = await connect();
  for (const topicName of ['a/b/c', 'a//c', 'a/c', 'a/b/d/c', 'a/b/c/', 'a/b', 'a/$/c'])
    await publisher.deliver(topicName, 'x');
  for (const topicName of ['a/b/c', 'a//c', 'a/$/c']) assert.equal((await subscriber.message()).topicName, topicName);
  await subscriber.quiet();
});

conformance(
  '[MQTT-4.7.2-1] [MQTT3-4.7.2-1] a filter that begins with a wildcard matches no topic that begins with $',
  all,
  async ({ connect }) => {
    const publisher = await connect();
    await publisher.deliver('$own/a', 'stored', { retain: true });
    await publisher.deliver('own/$a', 'stored', { retain: true });
    const wild = await connect();
    await wild.subscribe(['#', '+/#', '+/a', '+/+', '/#']);
    const stored = new Set<string>();
    for (let count = 0; count < 3; count++) stored.add((await wild.message()).topicName);
    assert.deepEqual([...stored], ['own/$a']);
    const named = await connect();
    await named.subscribe('$own/#');
    assert.equal((await named.message()).topicName, '$own/a');
    for (const qos of [0, 1] as const) {
      await publisher.deliver('$own/a', 'live', { qos });
      assert.equal((await named.message()).topicName, '$own/a');
    }
    await publisher.deliver('own/$a', 'live');
    assert.equal((await wild.message()).topicName, 'own/$a');
    await wild.quiet();
  },
);

conformance(
  '[MQTT-4.7.3-1] [MQTT3-4.7.3-1] a Topic Name or Topic Filter has at least one character',
  all,
  async ({ version, connect }) => {
    const named = await connect();
    named.send(frame(0x30, field(''), none(version), 'ff'));
    await named.refused(ReasonCode.ProtocolError);
    for (const packet of [
      frame(0x82, '0001', none(version), field(''), '00'),
      frame(0xa2, '0001', none(version), field('')),
    ]) {
      const client = await connect();
      client.send(packet);
      await client.refused(ReasonCode.TopicFilterInvalid);
    }
    const client = await connect();
    await client.subscribe([' ', '/', 'a']);
    for (const topicName of [' ', '/', 'a']) {
      client.publish(topicName, 'x');
      assert.equal((await client.message()).topicName, topicName);
    }
  },
);

conformance(
  '[MQTT-4.7.3-3] [MQTT3-4.7.3-3] a topic of 65,535 bytes is carried, the program cannot publish a longer one',
  all,
  { config: { limits: { topicBytesMax: 65_535 } } },
  async ({ connect, broker }) => {
    const longest = `${'é'.repeat(32_767)}x`;
    const client = await connect();
    await client.subscribe([longest, '+']);
    client.publish(longest, 'x');
    const message = await client.message();
    assert.equal(message.topicName, longest);
    assert.throws(() => broker.publish(`${longest}x`, 'x'), /topic/);
    broker.publish(longest, 'from the program');
    assert.equal((await client.message()).payload, 'from the program');
  },
);

conformance(
  'topics above the configured limit end the connection or are refused',
  all,
  {
    config: { limits: { topicBytesMax: 10, topicLevelsMax: 3 } },
  },
  async ({ version, connect }) => {
    for (const topicName of ['x'.repeat(11), 'a/b/c/d']) {
      const client = await connect();
      client.publish(topicName, 'x');
      await client.refused(ReasonCode.TopicNameInvalid);
      const subscriber = await connect();
      assert.deepEqual(await subscriber.subscribe(topicName), [{ 3: 0, 4: 0x80, 5: 0x8f }[version]]);
    }
    const client = await connect();
    await client.deliver('x'.repeat(10), 'x');
    await client.deliver('a/b/c', 'x');
  },
);

conformance(
  '[MQTT-4.7.3-4] [MQTT3-4.7.3-4] names and filters are compared as they are: no case folding, no normalisation, no trimming',
  all,
  async ({ connect }) => {
    const alike = [
      'Topic',
      'topic',
      'topic ',
      ' topic',
      'topic/',
      '/topic',
      'topic//',
      'caf\u00e9', // composed
      'cafe\u0301', // decomposed
      '\u212b', // Ångström sign
      '\u00c5', // the letter
      '\ufeffx',
      'x',
      'a\u00adb',
      'ab',
      'a%2fb',
      './x',
      '../x',
    ];
    const subscribers = [];
    for (const filter of alike) {
      const subscriber = await connect();
      await subscriber.subscribe(filter);
      subscribers.push(subscriber);
    }
    const publisher = await connect();
    for (const topicName of alike) {
      publisher.publish(topicName, topicName);
    }
    await publisher.quiet();
    for (const [index, subscriber] of subscribers.entries()) {
      const message = await subscriber.message();
      assert.deepEqual([message.topicName, message.payload], [alike[index], alike[index]]);
      await subscriber.quiet();
    }
  },
);

conformance('clients cannot publish below $SYS', all, async ({ version, connect }) => {
  const subscriber = await connect();
  await subscriber.subscribe('$SYS/#');
  const client = await connect();
  client.publish('$SYS/broker/uptime', 'x', { qos: 1, packetId: 1 });
  const { reasonCode } = await client.packet(PacketType.Puback);
  assert.equal(reasonCode, version === 5 ? ReasonCode.NotAuthorized : 0);
  await subscriber.quiet();
});
