/** PUBLISH: flags, topic name, forwarded properties (v5 §3.3.1 and §3.3.2, 3.1.1 §3.3.1 and §3.3.2). */
import assert from 'node:assert/strict';
import { ReasonCode } from '../../src/protocol/index.js';
import { all, conformance, v3, v4v5, v5 } from '../support/conformance.js';
import { field, frame, properties } from '../support/wire-bytes.js';

conformance(
  '[MQTT-3.3.1-1] [MQTT3-3.3.1-1] [MQTT-4.4.0-1] [MQTT3-4.4.0-1] [MQTT3-2.3.1-3] [MQTT3-2.3.1-4] a PUBLISH that is sent again has DUP 1 and its first Packet Identifier',
  all,
  async ({ connect, kept, drop }) => {
    const publisher = await connect();
    const first = await connect(kept('again'));
    await first.subscribe('t', { qos: 2 });
    await publisher.deliver('t', 'one', { qos: 1 });
    await publisher.deliver('t', 'two', { qos: 2 });
    const before = [await first.message(), await first.message()];
    assert.deepEqual(
      before.map(({ dup }) => dup),
      [false, false],
    );
    await drop(first);
    const second = await connect(kept('again'));
    const after = [await second.message(), await second.message()];
    assert.deepEqual(
      after.map(({ payload, qos, dup, packetId }) => [payload, qos, dup, packetId]),
      before.map(({ payload, qos, packetId }) => [payload, qos, true, packetId]),
    );
  },
);

conformance('[MQTT-3.3.1-2] [MQTT3-3.3.1-2] DUP 1 at QoS 0 ends the connection', v4v5, async ({ version, connect }) => {
  const client = await connect();
  client.send(frame(0x38, field('t'), version === 5 ? properties() : [], 'ff'));
  await client.refused(ReasonCode.MalformedPacket);
});

conformance(
  '[MQTT-3.3.1-3] [MQTT3-3.3.1-3] DUP of a publisher does not go on to subscribers',
  all,
  async ({ connect }) => {
    const subscriber = await connect();
    await subscriber.subscribe('t', { qos: 2 });
    const publisher = await connect();
    for (const qos of [1, 2] as const) {
      await publisher.deliver('t', 'x', { qos, dup: true, packetId: 50 + qos });
      const message = await subscriber.message();
      assert.deepEqual([message.qos, message.dup], [qos, false]);
    }
  },
);

conformance('[MQTT-3.3.1-4] [MQTT3-3.3.1-4] QoS 3 ends the connection', all, async ({ version, connect }) => {
  for (const header of [0x36, 0x37, 0x3e]) {
    const client = await connect();
    client.send(frame(header, field('t'), '0001', version === 5 ? properties() : []));
    await client.refused(ReasonCode.MalformedPacket);
  }
});

conformance(
  '[MQTT-3.3.2-1] [MQTT3-3.3.2-1] the Topic Name has to be there, as the first field',
  all,
  async ({ version, connect }) => {
    for (const header of [0x30, 0x32]) {
      for (const body of ['', '00', '0002 61']) {
        const client = await connect();
        client.send(frame(header, body));
        await client.refused(ReasonCode.MalformedPacket);
      }
    }
    const client = await connect();
    await client.subscribe('first');
    client.send(frame(0x30, field('first'), version === 5 ? properties() : [], 'ff'));
    assert.equal((await client.message()).topicName, 'first');
  },
);

conformance(
  '[MQTT-3.3.2-2] [MQTT3-3.3.2-2] [MQTT-4.7.0-1] [MQTT3-4.7.1-1] a Topic Name with a wildcard ends the connection',
  all,
  async ({ version, connect }) => {
    const subscriber = await connect();
    await subscriber.subscribe(['#', 'a/+']);
    for (const topicName of ['#', '+', 'a/#', 'a/+/b', 'a#', 'a+b'])
      for (const header of [0x30, 0x32]) {
        const client = await connect();
        const packetId = header === 0x32 ? '0001' : [];
        client.send(frame(header, field(topicName), packetId, version === 5 ? properties() : []));
        await client.refused(ReasonCode.TopicNameInvalid);
      }
    await subscriber.quiet();
    const fine = await connect();
    await fine.deliver('a/*', 'x');
    assert.equal((await subscriber.message()).topicName, 'a/*');
  },
);

conformance(
  '[MQTT-3.3.2-3] [MQTT3-3.3.2-3] what a subscriber gets has a Topic Name that its filter matches',
  all,
  async ({ connect }) => {
    const filters: [filter: string, matching: string, other: string][] = [
      ['a/b', 'a/b', 'a/c'],
      ['a/+', 'a/', 'a/b/c'],
      ['a/#', 'a', 'b'],
      ['+/+', '/', 'a'],
      ['+', 'A', '/a'],
      ['+/b/#', 'x/b/c/d', 'x/c'],
    ];
    const publisher = await connect();
    for (const [filter, matching, other] of filters) {
      const subscriber = await connect();
      await subscriber.subscribe(filter);
      await publisher.deliver(other, 'no');
      await publisher.deliver(matching, 'yes');
      const message = await subscriber.message();
      assert.deepEqual([message.topicName, message.payload], [matching, 'yes'], filter);
    }
  },
);

const forwarded = {
  payloadFormatIndicator: 1,
  contentType: 'type/ü',
  responseTopic: 'réponse/ici',
  correlationData: Buffer.from([0, 255, 128, 0]),
  userProperties: [
    ['z', 'last'],
    ['a', 'first'],
    ['z', 'again'],
    ['', ''],
    ['z', 'last'],
  ] as [string, string][],
};

const forwardedSingly = [
  ['[MQTT-3.3.2-4] the Payload Format Indicator', { payloadFormatIndicator: 1 }],
  ['[MQTT-3.3.2-4] a Payload Format Indicator of 0', { payloadFormatIndicator: 0 }],
  ['[MQTT-3.3.2-15] the Response Topic', { responseTopic: forwarded.responseTopic }],
  ['[MQTT-3.3.2-16] Correlation Data', { correlationData: forwarded.correlationData }],
  ['[MQTT-3.3.2-17] [MQTT-3.3.2-18] User Properties in their order', { userProperties: forwarded.userProperties }],
  ['[MQTT-3.3.2-20] the Content Type', { contentType: forwarded.contentType }],
  ['every property', forwarded],
] as const;

for (const [name, given] of forwardedSingly)
  conformance(`${name}: unaltered, live, queued and retained`, v5, async ({ connect, kept, drop }) => {
    const publisher = await connect();
    const live = await connect();
    await live.subscribe('t', { qos: 2 });
    const away = await connect(kept('away'));
    await away.subscribe('t', { qos: 2 });
    await drop(away);
    for (const qos of [0, 1, 2] as const) {
      await publisher.deliver('t', 'x', { qos, retain: true, properties: given as object });
      assert.deepEqual((await live.message()).properties, given);
    }
    const back = await connect(kept('away'));
    for (const qos of [1, 2]) {
      const message = await back.message();
      assert.equal(message.qos, qos);
      assert.deepEqual(message.properties, given);
    }
    await live.subscribe('t');
    assert.deepEqual((await live.message()).properties, given);
  });

conformance('properties of a 5.0 publisher do not reach 3.x subscribers', v3, async ({ connect }) => {
  const subscriber = await connect();
  await subscriber.subscribe('t');
  const publisher = await connect({ version: 5 });
  publisher.publish('t', 'x', { properties: forwarded });
  assert.equal(await subscriber.bytes(), '3004 0001 74 78'.replaceAll(' ', ''));
});

conformance('[MQTT-3.3.2-13] the Response Topic has to be well-formed UTF-8', v5, async ({ connect }) => {
  const client = await connect();
  client.send(frame(0x30, field('t'), properties([8], field(Buffer.from('eda080', 'hex')))));
  await client.refused(ReasonCode.MalformedPacket);
});

conformance('[MQTT-3.3.2-14] a Response Topic with a wildcard ends the connection', v5, async ({ connect }) => {
  for (const responseTopic of ['a/#', '+', 'a/+/b']) {
    const client = await connect();
    client.publish('t', 'x', { properties: { responseTopic } });
    await client.refused(ReasonCode.ProtocolError);
  }
  const client = await connect();
  client.publish('t', 'x', { properties: { responseTopic: 'a/b' } });
  await client.quiet();
});

conformance('[MQTT-3.3.2-19] the Content Type has to be well-formed UTF-8', v5, async ({ connect }) => {
  const client = await connect();
  client.send(frame(0x30, field('t'), properties([3], field(Buffer.from('c080', 'hex')))));
  await client.refused(ReasonCode.MalformedPacket);
});
