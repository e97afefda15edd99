/** Goal: every form of `topic` in a `connection` forwards what it says and nothing else. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PacketType, type QoS } from '../../src/protocol/index.js';
import type { FakeConnection } from '../support/bridge-scene.js';
import { type ConfBridgeScene, give, sent, withBridges } from '../support/conf-bridge-scene.js';

const bridge = (...lines: string[]) => ['connection office', 'address REMOTE', 'remote_clientid edge', ...lines];
const quiet = (...lines: string[]) => bridge('notifications false', ...lines);

/** What a client of the broker sees of these messages of the remote, each with its QoS. */
async function seenHere(
  scene: ConfBridgeScene,
  connection: FakeConnection,
  messages: readonly (readonly [string, QoS])[],
) {
  const near = await scene.client();
  await near.subscribe('#', { qos: 2 });
  for (const [topicName, qos] of messages) await give(connection, topicName, 'x', qos);
  // No row takes it: with its answer the others have been forwarded.
  await give(connection, 'of/no/row', 'x', 1);
  near.publish('end', '');
  const seen: string[] = [];
  for (;;) {
    const { packet } = await near.next();
    if (packet.type === PacketType.Pubrel) near.pubcomp(packet.packetId);
    if (packet.type !== PacketType.Publish) continue;
    const { topicName, qos, packetId = 0 } = packet;
    if (topicName === 'end') return seen;
    seen.push(`${topicName} ${qos}`);
    if (qos === 1) near.puback(packetId);
    if (qos === 2) near.pubrec(packetId);
  }
}

const subscribed = async (connection: FakeConnection) =>
  (await connection.grant()).subscriptions.map(({ topicFilter, qos }) => `${topicFilter} ${qos}`);

describe('topic of a mosquitto.conf', () => {
  // Each with what is published here, and what the remote gets of it.
  for (const [line, published, arrived] of [
    [
      'topic a/#',
      [
        ['a/b', 2],
        ['b', 0],
      ],
      ['a/b x 0'],
    ],
    ['topic a/# out', [['a/b', 1]], ['a/b x 0']],
    [
      'topic a/# out 1',
      [
        ['a/b', 0],
        ['a/b', 1],
        ['a/b', 2],
      ],
      ['a/b x 0', 'a/b x 1', 'a/b x 1'],
    ],
    [
      'topic a/# out 2',
      [
        ['a/b', 0],
        ['a/b', 1],
        ['a/b', 2],
      ],
      ['a/b x 0', 'a/b x 1', 'a/b x 2'],
    ],
    [
      'topic + out 1 here/',
      [
        ['here/b', 1],
        ['b', 1],
      ],
      ['b x 1'],
    ],
    [
      'topic + out 1 here/ there/',
      [
        ['here/b', 1],
        ['b', 1],
        ['here/b/c', 1],
      ],
      ['there/b x 1'],
    ],
    [
      'topic + out 1 here/ ""',
      [
        ['here/b', 1],
        ['b', 1],
      ],
      ['b x 1'],
    ],
    [
      'topic + out 1 "" there/',
      [
        ['here/b', 1],
        ['b', 1],
      ],
      ['there/b x 1'],
    ],
    [
      'topic + out 1 "" ""',
      [
        ['here/b', 1],
        ['b', 1],
      ],
      ['b x 1'],
    ],
    [
      'topic "" out 1 here/b there/c',
      [
        ['here/b', 1],
        ['here/b/c', 1],
      ],
      ['there/c x 1'],
    ],
    ['topic "two words/#" out 1 "h h/" "t t/"', [['h h/two words/a', 1]], ['t t/two words/a x 1']],
  ] as const)
    it(line, () =>
      withBridges(quiet(line, 'topic end/of/it out'), async (scene) => {
        const connection = await scene.accepted();
        await scene.reaches('office', 'connected');
        for (const [topicName, qos] of published) await scene.publish(topicName, 'x', qos);
        await scene.publish('end/of/it', '', 0);
        for (const message of arrived) assert.equal(await sent(connection), message);
        assert.equal(await sent(connection), 'end/of/it  0');
      }),
    );

  // Each with what is subscribed to at the remote, what comes from there, and what a client here gets of it.
  for (const [line, filter, given, arrived] of [
    [
      'topic a/# in',
      'a/# 0',
      [
        ['a/b', 0],
        ['b', 0],
      ],
      ['a/b 0'],
    ],
    [
      'topic a/# in 1',
      'a/# 1',
      [
        ['a/b', 0],
        ['a/b', 1],
      ],
      ['a/b 0', 'a/b 1'],
    ],
    [
      'topic a/# in 2',
      'a/# 2',
      [
        ['a/b', 1],
        ['a/b', 2],
      ],
      ['a/b 1', 'a/b 2'],
    ],
    ['topic + in 1 here/', '+ 1', [['b', 1]], ['here/b 1']],
    [
      'topic + in 1 here/ there/',
      'there/+ 1',
      [
        ['there/b', 1],
        ['b', 1],
      ],
      ['here/b 1'],
    ],
    ['topic + in 1 here/ ""', '+ 1', [['b', 1]], ['here/b 1']],
    ['topic + in 1 "" there/', 'there/+ 1', [['there/b', 1]], ['b 1']],
    ['topic + in 1 "" ""', '+ 1', [['b', 1]], ['b 1']],
    [
      'topic "" in 1 here/b there/c',
      'there/c 1',
      [
        ['there/c', 1],
        ['there/b', 1],
      ],
      ['here/b 1'],
    ],
    [
      'topic clients/total in 0 far/ $SYS/broker/',
      '$SYS/broker/clients/total 0',
      [['$SYS/broker/clients/total', 0]],
      ['far/clients/total 0'],
    ],
  ] as const)
    it(line, () =>
      withBridges(quiet(line), async (scene) => {
        const connection = await scene.accepted();
        assert.deepEqual(await subscribed(connection), [filter]);
        assert.deepEqual(await seenHere(scene, connection, given), arrived);
      }),
    );

  for (const [line, here, there] of [
    ['topic a/# both 1 l/ r/', 'l/a/b', 'r/a/b'],
    ['topic "" both 1 l/one r/one', 'l/one', 'r/one'],
  ] as const)
    it(`${line}, and nothing goes back where it came from`, () =>
      withBridges(quiet(line), async (scene) => {
        const connection = await scene.accepted();
        await connection.grant();
        assert.deepEqual(await seenHere(scene, connection, [[there, 1]]), [`${here} 1`]);
        await scene.publish(here, 'ours');
        assert.equal(await sent(connection), `${there} ours 1`);
      }));

  it('several of them that match: once for each name that they give', () =>
    withBridges(quiet('topic + out 1 a/ b/', 'topic x out 2 a/ c/', 'topic x out 0 a/ b/'), async (scene) => {
      const connection = await scene.accepted();
      await scene.reaches('office', 'connected');
      await scene.publish('a/x', 'x', 2);
      await scene.publish('a/y', 'x', 2);
      assert.deepEqual(
        [await sent(connection), await sent(connection), await sent(connection)],
        ['b/x x 1', 'c/x x 2', 'b/y x 1'],
      );
    }));

  it('several of them, each with its own direction', () =>
    withBridges(quiet('topic a/# out 1 "" to/', 'topic b/# in 1 from/', 'topic c/# both 2'), async (scene) => {
      const connection = await scene.accepted();
      assert.deepEqual(await subscribed(connection), ['b/# 1', 'c/# 2']);
      for (const topicName of ['a/1', 'b/1', 'c/1']) await scene.publish(topicName, 'x');
      assert.deepEqual([await sent(connection), await sent(connection)], ['to/a/1 x 1', 'c/1 x 1']);
      assert.deepEqual(
        await seenHere(scene, connection, [
          ['a/1', 1],
          ['b/1', 1],
          ['c/1', 2],
        ]),
        ['from/b/1 1', 'c/1 2'],
      );
    }));
});
