/** Limits that change while clients are connected. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { it } from 'node:test';
import { type ConfigInput, resolveConfig } from '../../src/config/index.js';
import { PacketType } from '../../src/protocol/index.js';
import { closing } from '../support/closing.js';
import { Scene } from '../support/scene.js';

const QUOTA_EXCEEDED = 0x97;

async function withScene(config: ConfigInput, run: (scene: Scene) => Promise<void>): Promise<void> {
  const scene = new Scene(5, { config });
  await scene.start();
  try {
    await run(scene);
  } finally {
    await scene.stop();
  }
}

function change(scene: Scene, input: ConfigInput): void {
  const { limits, listeners } = resolveConfig(input);
  scene.broker.protect({ limits, ...(input.listeners === undefined ? {} : { listeners }) });
}

it('a shorter queue counts at once, for sessions that are there', () =>
  withScene({}, async (scene) => {
    const reader = await scene.connect(scene.kept('away'));
    await reader.subscribe('t', { qos: 1 });
    await scene.drop(reader);
    change(scene, { limits: { queueMessagesMax: 3, queueOverflow: 'refuse' } });
    const publisher = await scene.connect();
    const codes = [];
    for (let index = 0; index < 4; index++) codes.push(await publisher.deliver('t', `${index}`, { qos: 1 }));
    assert.deepEqual(codes, [0, 0, 0, QUOTA_EXCEEDED]);
    change(scene, { limits: { queueMessagesMax: 4, queueOverflow: 'refuse' } });
    assert.equal(await publisher.deliver('t', '4', { qos: 1 }), 0);
  }));

it('what a client was told holds for its connection; the next one is told the new limits', () =>
  withScene({ limits: { packetBytesMax: 5000, receiveMaximum: 9, topicAliasMaximum: 3 } }, async (scene) => {
    const old = await scene.connect();
    change(scene, { limits: { packetBytesMax: 200, receiveMaximum: 1, topicAliasMaximum: 0 } });
    assert.equal(await old.deliver('t', 'x'.repeat(3000), { qos: 1, properties: { topicAlias: 3 } }), 0x10);
    for (let index = 0; index < 3; index++) {
      old.publish('t', 'x', { qos: 2 });
      await old.packet(PacketType.Pubrec);
    }
    assert.equal(await old.deliver('t', 'x', { qos: 1 }), 0x10, 'three open exchanges are fewer than nine');
    const next = await scene.open();
    const { properties } = await next.connect({ clientId: 'next' });
    assert.equal(properties?.maximumPacketSize, 200);
    assert.equal(properties?.receiveMaximum, 1);
    assert.equal(properties?.topicAliasMaximum, 0);
    next.publish('t', 'x'.repeat(300));
    await next.refused(0x95);
  }));

it('retained messages and subscriptions are bounded by the limits of now', () =>
  withScene({}, async (scene) => {
    const client = await scene.connect();
    change(scene, { limits: { retainedMessagesMax: 1, subscriptionsPerClientMax: 1, topicLevelsMax: 2 } });
    assert.equal(await client.deliver('a', 'x', { qos: 1, retain: true }), 0x10);
    assert.equal(await client.deliver('b', 'x', { qos: 1, retain: true }), QUOTA_EXCEEDED);
    assert.deepEqual(await client.subscribe(['c', 'd'], { qos: 0 }), [0, QUOTA_EXCEEDED]);
    change(scene, { limits: { retainedMessagesMax: 2 } });
    assert.equal(await client.deliver('b/c/d', 'x', { qos: 1, retain: true }), 0x10);
  }));

it('names that were published to before are held to the limits of now', () =>
  withScene({}, async (scene) => {
    const client = await scene.connect();
    const other = await scene.connect();
    for (const each of [client, other]) assert.equal(await each.deliver('a/b/c', 'x', { qos: 1 }), 0x10);
    change(scene, { limits: { topicLevelsMax: 2 } });
    client.publish('a/b/c', 'x');
    await client.refused(0x90);
    change(scene, { limits: { topicBytesMax: 4 } });
    other.publish('a/b/c', 'x');
    await other.refused(0x90);
  }));

it('a publisher that waits for its rate goes on when the rate is lifted', () =>
  withScene({ rates: [{ bytesPerSecond: 1 }] }, async (scene) => {
    const client = await scene.connect();
    client.publish('t', 'x'.repeat(5000), { qos: 1 }); // more than an hour of its rate
    await client.packet(PacketType.Puback);
    scene.broker.protect({ rates: [] });
    assert.equal(await client.deliver('t', 'x', { qos: 1 }), 0x10);
  }));

it('what waits for the rate of its receiver is sent when the rate is lifted', () =>
  withScene({ rates: [{ direction: 'deliver', bytesPerSecond: 1 }] }, async (scene) => {
    const reader = await scene.connect();
    await reader.subscribe('t', { qos: 1 });
    const publisher = await scene.connect();
    for (const payload of ['x'.repeat(5000), 'second']) await publisher.deliver('t', payload, { qos: 1 });
    await reader.message();
    scene.broker.protect({ rates: [] });
    assert.equal((await reader.message()).payload, 'second');
  }));

for (const protocol of ['mqtt', 'ws'] as const)
  it(`the connections of a listener (${protocol}) are counted against the limit of now`, () => {
    const listener = { name: 'a', protocol, port: 0 };
    return withScene({ listeners: [{ ...listener, connectionsMax: 1 }] }, async (scene) => {
      const open = async () => {
        const socket = connect(scene.port, '127.0.0.1').on('error', () => {});
        await once(socket, 'connect');
        return socket;
      };
      const first = await open();
      await closing(await open());
      change(scene, { listeners: [{ ...listener, connectionsMax: 2 }] });
      const second = await open();
      await closing(await open());
      assert.equal(first.destroyed, false);
      assert.equal(second.destroyed, false);
      first.destroy();
      second.destroy();
    });
  });

it('what a program asks for wrongly is named and changes nothing, and what it leaves out stays', () =>
  withScene(
    { protocol: { clientIdPrefixes: ['c'] }, listeners: [{ name: 'one', port: 0, connectionsMax: 5 }] },
    async (scene) => {
      const { broker } = scene;
      const wrong: [unknown, RegExp][] = [
        [{ listeners: 5 }, /^listeners: found number 5/],
        [{ listeners: [{ name: 'one', connectionsMax: 'many' }] }, /^listeners\[0\]\.connectionsMax: found "many"/],
        [{ listeners: [{ name: 'one', allowAnonymous: 'no' }] }, /^listeners\[0\]\.allowAnonymous: found "no"/],
        [{ protocol: { clientIdPrefixes: 5 } }, /^protocol\.clientIdPrefixes: found number 5/],
        [{ protocol: 5 }, /^protocol: found number 5/],
        [{ limits: 'none' }, /^limits: found "none"/],
        [null, /^protect takes a group of settings$/],
        [[], /^protect takes a group of settings$/],
        [{ limits: { connectionMax: 5 } }, /^limits\.connectionMax: unknown setting; did you mean connectionsMax\?$/],
        [{ rate: [] }, /^rate: unknown setting; did you mean rates\?$/],
        [{ listeners: [{ name: 'one', allowAnonymus: false }] }, /^listeners\[0\]\.allowAnonymus: unknown setting/],
        [
          { listeners: [{ name: 'won', allowAnonymous: false }] },
          /^listeners\[0\]\.name: no listener is called "won"$/,
        ],
        [{ listeners: [null] }, /^listeners\[0\]: is no group of settings$/],
        [{ listeners: [{ name: 'one', port: 1 }] }, /^listeners\.one\.port: needs a restart$/],
        [{ listeners: [{ name: 'one' }, { name: 'one', connectionsMax: 'x' }] }, /^listeners\[0\]\.connectionsMax/],
        [
          { storage: { mode: 'sync' }, log: { level: 'debug' } },
          /^storage\.mode: needs a restart\nlog\.level: is not for/,
        ],
        [{ limits: { connectTimeoutSeconds: 99 } }, /^limits\.connectTimeoutSeconds: needs a restart$/],
        [{ protocol: { redirect: 'serverMoved', serverReference: 'b' } }, /^protocol\.redirect: needs a restart$/m],
        [{ authorization: { noMatch: 'allow' } }, /^authorization\.noMatch: is not for protect/],
        [{ users: [{ username: 'ada', password: 'x' }] }, /^users: is not for protect/],
        [{ bridges: [{ name: 'b', remotes: [{ host: 'b' }] }] }, /^bridges\.b: is not for protect/],
        [{ limits: { connectionsMax: 0 }, storge: {} }, /^limits.*\nstorge: unknown setting/],
      ];
      for (const [settings, message] of wrong)
        assert.throws(() => broker.protect(settings as never), { code: 'CONFIG_INVALID', message });
      const { connectTimeoutSeconds } = resolveConfig({}).limits;
      broker.protect({ limits: { connectTimeoutSeconds } } as never); // as it is
      broker.protect({ protocol: { refuseLongKeepAlive: true }, listeners: [{ name: 'one' }] });
      await scene.connect({ clientId: 'c1' });
      const other = await scene.open();
      other.sendConnect({ clientId: 'other' });
      await other.refused(0x87);
    },
  ));
