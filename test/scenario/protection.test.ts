/** What clients see of bans, rates, limits on connections, overload and mount points. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Overload } from '../../src/broker/overload.js';
import { type BrokerOptions, createBroker } from '../../src/index.js';
import { hashPassword } from '../../src/policy/index.js';
import type { ProtocolVersion } from '../../src/protocol/index.js';
import { type AcknowledgePacket, PacketType } from '../../src/protocol/index.js';
import { Scene } from '../support/scene.js';
import { type ConnectOptions, PATIENCE_MS, WireClient } from '../support/wire-client.js';

async function withScene(
  options: BrokerOptions,
  test: (scene: Scene) => Promise<void>,
  version: ProtocolVersion = 5,
): Promise<void> {
  const scene = new Scene(version, options);
  await scene.start();
  try {
    await test(scene);
  } finally {
    await scene.stop();
  }
}

const BANNED = 0x8a;
const QUOTA_EXCEEDED = 0x97;
const MESSAGE_RATE_TOO_HIGH = 0x96;

describe('bans', () => {
  it('of the configuration keep clients out, with the code for it', () =>
    withScene({ config: { bans: [{ kind: 'clientId', value: 'bad' }] } }, async (scene) => {
      const bad = await scene.open();
      bad.sendConnect({ clientId: 'bad' });
      await bad.refused(BANNED);
      const old = await scene.open(4);
      old.sendConnect({ clientId: 'bad' });
      await old.refused(BANNED, 5);
      await scene.connect({ clientId: 'good' });
    }));

  it('end the connections that they concern, and can be lifted', () =>
    withScene({}, async (scene) => {
      const one = await scene.connect({ clientId: 'dev-1' });
      const other = await scene.connect({ clientId: 'other' });
      scene.broker.ban({ kind: 'clientIdPattern', value: 'dev-.*', reason: 'test' });
      await one.refused(0x98);
      await other.quiet();
      const again = await scene.open();
      again.sendConnect({ clientId: 'dev-2' });
      await again.refused(BANNED);
      assert.deepEqual(
        scene.broker.bans().map(({ kind, value, by }) => ({ kind, value, by })),
        [{ kind: 'clientIdPattern', value: 'dev-.*', by: 'administrator' }],
      );
      assert.equal(scene.broker.unban('clientIdPattern', 'dev-.*'), true);
      await scene.connect({ clientId: 'dev-2' });
    }));

  it('of an address close the connection before a byte is read', () =>
    withScene({}, async (scene) => {
      scene.broker.ban({ kind: 'address', value: '127.0.0.0/8' });
      const client = await scene.open();
      await client.ended();
      assert.equal(scene.broker.metrics.connectionsBanned, 1);
    }));

  it('outlive the broker where there is storage', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'dunlin-bans-'));
    try {
      const config = { storage: { mode: 'buffered' as const, path: join(folder, 'data') } };
      await withScene({ config }, async (scene) => {
        scene.broker.ban({ kind: 'username', value: 'eve', untilMs: Date.now() + 3_600_000 });
        scene.broker.ban({ kind: 'clientId', value: 'over', untilMs: Date.now() - 1 });
      });
      await withScene({ config }, async (scene) => {
        assert.deepEqual(
          scene.broker.bans().map(({ value }) => value),
          ['eve'],
        );
        const eve = await scene.open();
        eve.sendConnect({ clientId: 'c', username: 'eve', password: 'x' });
        await eve.refused(BANNED);
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('that make no sense are named in the configuration', () => {
    assert.throws(
      () => createBroker({ config: { bans: [{ kind: 'address', value: '10.0.0.0/99' }] } }),
      /bans\[0\]\.value/,
    );
  });
});

describe('a client that connects too often', () => {
  it('is banned for a time', () =>
    withScene({ config: { protection: { flapping: { connectsMax: 3 } } } }, async (scene) => {
      for (let index = 0; index < 3; index++) await scene.leave(await scene.connect({ clientId: 'flap' }));
      for (let index = 0; index < 2; index++) {
        const client = await scene.open();
        client.sendConnect({ clientId: 'flap' });
        await client.refused(BANNED);
      }
      await scene.connect({ clientId: 'calm' });
    }));
});

describe('numbers of connections', () => {
  it('are bounded for a user, who can still take over a session of its own', () =>
    withScene(
      { config: { users: [{ username: 'u', password: 'p' }], protection: { connectionsPerUserMax: 2 } } },
      async (scene) => {
        const login = { username: 'u', password: 'p' };
        const first = await scene.connect({ clientId: 'a', ...login });
        await scene.connect({ clientId: 'b', ...login });
        const third = await scene.open();
        third.sendConnect({ clientId: 'c', ...login });
        await third.refused(QUOTA_EXCEEDED);
        const again = await scene.connect({ clientId: 'a', ...login });
        await first.refused(0x8e);
        await scene.leave(again);
        await scene.connect({ clientId: 'c', ...login });
      },
    ));

  it('are bounded for an address', () =>
    withScene({ config: { protection: { connectionsPerAddressMax: 2 } } }, async (scene) => {
      const first = await scene.connect();
      await scene.connect();
      await (await scene.open()).ended();
      await scene.drop(first);
      await scene.connect();
    }));

  it('are bounded in a second', () =>
    withScene({ config: { protection: { connectionsPerSecondMax: 3 } } }, async (scene) => {
      const { metrics } = scene.broker;
      await Promise.all(Array.from({ length: 40 }, () => scene.open()));
      // The kernel has taken them; the broker may come to it later.
      const deadline = Date.now() + PATIENCE_MS;
      while (metrics.connections + metrics.connectionsRefused < 40 && Date.now() < deadline)
        await new Promise((resolve) => setTimeout(resolve, 10));
      assert.ok(metrics.connections >= 3, `${metrics.connections} let in`);
      assert.ok(metrics.connectionsRefused >= 6, `${metrics.connectionsRefused} refused`);
    }));
});

describe('a failed login', () => {
  it('is answered later and later, while others get in', () =>
    withScene(
      {
        config: {
          users: [{ username: 'u', password: 'p' }],
          protection: { logins: { failuresMax: 2, delaySecondsMax: 1 } },
        },
      },
      async (scene) => {
        const since = Date.now();
        for (let index = 0; index < 5; index++) {
          const client = await scene.open();
          client.sendConnect({ clientId: 'x', username: 'u', password: 'wrong' });
          await client.refused(0x86);
        }
        assert.ok(Date.now() - since >= 690, `${Date.now() - since} ms for the waits of 100, 200 and 400 ms`);
        await scene.connect({ clientId: 'y', username: 'u', password: 'p' });
        assert.equal(scene.broker.metrics.loginsFailed, 5);
      },
    ));

  // The packet behind CONNECT is read when the answer has been given, however long both took.
  for (const login of ['password', 'AUTH'])
    it(`by ${login} is answered later whatever the client sends behind it`, async () => {
      const users = [{ username: 'u', passwordHash: await hashPassword('p', 'sha512-pbkdf2', 101) }];
      const config = {
        authentication: [{ type: 'users' }, { type: 'jwt', secret: 'a secret that is long enough for it' }],
        users,
        protection: { logins: { failuresMax: 1, delaySecondsMax: 1 } },
      } as const;
      await withScene({ config }, async (scene) => {
        const given =
          login === 'password'
            ? { username: 'u', password: 'wrong' }
            : { properties: { authenticationMethod: 'JWT', authenticationData: Buffer.from('none') } };
        const since = Date.now();
        for (let index = 0; index < 4; index++) {
          const client = await scene.open();
          client.sendConnect({ clientId: 'x', ...given });
          client.send('c000');
          await client.refused(login === 'password' ? 0x86 : 0x87);
        }
        assert.ok(Date.now() - since >= 690, `${Date.now() - since} ms for the waits of 100, 200 and 400 ms`);
        assert.equal(scene.broker.metrics.loginsFailed, 4);
      });
    });
});

describe('a rate of publishing', () => {
  const rate = (more: object) => ({ config: { rates: [{ messagesPerSecond: 5, ...more }] } });

  it('makes the publisher wait, and loses nothing', () =>
    withScene({ config: { rates: [{ messagesPerSecond: 50, listeners: ['test'] }] } }, async (scene) => {
      const reader = await scene.connect();
      await reader.subscribe('t', { qos: 1 });
      const publisher = await scene.connect();
      const since = Date.now();
      for (let index = 0; index < 100; index++) publisher.publish('t', `${index}`);
      for (let index = 0; index < 100; index++) assert.equal((await reader.message()).payload, `${index}`);
      assert.ok(Date.now() - since >= 900, `${Date.now() - since} ms`);
      assert.ok(scene.broker.metrics.publishDelayed > 0);
    }));

  it('drops what is above it', () =>
    withScene(rate({ outcome: 'drop' }), async (scene) => {
      const reader = await scene.connect();
      await reader.subscribe('t');
      const publisher = await scene.connect();
      for (let index = 0; index < 100; index++) publisher.publish('t', `${index}`);
      assert.equal(await publisher.deliver('t', 'one more', { qos: 1 }), 0);
      await publisher.quiet();
      const { publishAboveRate } = scene.broker.metrics;
      assert.ok(publishAboveRate >= 30, `${publishAboveRate}`);
    }));

  it('answers what is above it with Quota exceeded, and ends the connection of a 3.x client', () =>
    withScene(rate({ outcome: 'quotaExceeded' }), async (scene) => {
      const publisher = await scene.connect();
      const codes: number[] = [];
      // As many as it takes: five more may come in every second that this lasts.
      for (let index = 0; index < 1000 && !codes.includes(QUOTA_EXCEEDED); index++)
        codes.push(await publisher.deliver('t', 'x', { qos: index % 2 === 0 ? 1 : 2 }));
      assert.ok(
        codes.slice(0, 5).every((code) => code < 0x80),
        `${codes}`,
      );
      assert.ok(codes.includes(QUOTA_EXCEEDED), `${codes}`);
      let refusal: AcknowledgePacket | undefined;
      while (refusal?.reasonCode !== QUOTA_EXCEEDED) {
        publisher.publish('t', 'x', { qos: 1 });
        refusal = await publisher.packet(PacketType.Puback);
      }
      assert.equal(refusal.properties?.reasonString, 'the client publishes faster than it may');
      const old = await scene.connect({ version: 4 });
      for (let index = 0; index < 10; index++) old.publish('t', 'x', { qos: 1 });
      await old.ended();
    }));

  it('ends the connection', () =>
    withScene(rate({ outcome: 'disconnect' }), async (scene) => {
      const publisher = await scene.connect();
      for (let index = 0; index < 10; index++) publisher.publish('t', 'x');
      await publisher.refused(MESSAGE_RATE_TOO_HIGH);
    }));

  it('changes for clients that are connected', () =>
    withScene({}, async (scene) => {
      const publisher = await scene.connect();
      for (let index = 0; index < 50; index++) assert.equal(await publisher.deliver('t', 'x', { qos: 1 }), 0x10);
      scene.broker.protect({ rates: [{ messagesPerSecond: 1, outcome: 'quotaExceeded' }] });
      const codes = [await publisher.deliver('t', 'x', { qos: 1 })];
      while (codes.length < 50 && codes.at(-1) !== QUOTA_EXCEEDED)
        codes.push(await publisher.deliver('t', 'x', { qos: 1 }));
      assert.equal(codes[0], 0x10);
      assert.equal(codes.at(-1), QUOTA_EXCEEDED, `${codes}`);
    }));
});

describe('a rate of delivery', () => {
  it('counts each message once, for receivers with topic aliases too', () => {
    const rates = [{ direction: 'deliver' as const, usernames: ['reader'], messagesPerSecond: 10 }];
    const users = [{ username: 'reader', password: 'p' }];
    return withScene(
      { config: { rates, users, listeners: [{ name: 'test', port: 0, allowAnonymous: true }] } },
      async (scene) => {
        const login = { username: 'reader', password: 'p' };
        const reader = await scene.connect({ ...login, properties: { topicAliasMaximum: 5 } });
        await reader.subscribe('t');
        const publisher = await scene.connect();
        for (let index = 0; index < 10; index++) publisher.publish('t', `${index}`);
        for (let index = 0; index < 10; index++) assert.equal((await reader.message()).payload, `${index}`);
        assert.equal(scene.broker.metrics.publishDropped, 0);
      },
    );
  });

  it('leaves messages in the queue and loses none at QoS 1', () =>
    withScene({ config: { rates: [{ direction: 'deliver', messagesPerSecond: 50 }] } }, async (scene) => {
      const reader = await scene.connect({ clientId: 'reader' });
      await reader.subscribe('t', { qos: 1 });
      const publisher = await scene.connect();
      const since = Date.now();
      for (let index = 0; index < 120; index++) await publisher.deliver('t', `${index}`, { qos: 1 });
      for (let index = 0; index < 120; index++) {
        const { payload, packetId } = await reader.message();
        assert.equal(payload, `${index}`);
        reader.puback(packetId);
      }
      assert.ok(Date.now() - since >= 1200, `${Date.now() - since} ms`);
    }));
});

describe('a connection', () => {
  it('lasts no longer than it may', () =>
    withScene({ config: { protection: { connectionSecondsMax: 1 } } }, async (scene) => {
      const client = await scene.connect();
      await client.refused(0xa0);
    }));
});

describe('a client that takes too little', () => {
  it('is noticed, and disconnected where that is asked for', () =>
    withScene({ config: { protection: { slowConsumers: { seconds: 1, outcome: 'disconnect' } } } }, async (scene) => {
      const slow = await scene.connect({ clientId: 'slow', properties: { receiveMaximum: 1 } });
      await slow.subscribe('t', { qos: 1 });
      const publisher = await scene.connect();
      await publisher.deliver('t', 'first', { qos: 1 });
      assert.equal((await slow.packet(PacketType.Publish)).qos, 1); // and not acknowledged
      await publisher.deliver('t', 'waits', { qos: 1 });
      await new Promise((resolve) => setTimeout(resolve, 1100));
      await publisher.deliver('t', 'waits too', { qos: 1 });
      await slow.refused(QUOTA_EXCEEDED);
      assert.equal(scene.broker.metrics.slowConsumers, 1);
    }));
});

describe('overload', () => {
  it('begins when the loop lags twice in a row or memory is short, and is over after three good looks', () => {
    const told: string[] = [];
    let relieved = 0;
    const overload = new Overload(
      { eventLoopDelayMsMax: 100, memoryBytesMax: 1e9 },
      ({ reason }) => told.push(reason),
      () => relieved++,
    );
    for (const delayMs of [150, 50, 150, 160, 10, 180]) overload.look(delayMs, 5e8);
    for (let look = 0; look < 3; look++) overload.look(10, 5e8);
    overload.look(10, 2e9);
    assert.deepEqual(told, ['the event loop lags by 160 ms', '', 'the process has 2000 MB of memory']);
    assert.equal(relieved, 3);
  });
});

describe('a mount point', () => {
  const config = {
    listeners: [
      { name: 'test', port: 0, mountPoint: 'plant/' },
      { name: 'all', port: 0 },
      { name: 'own', port: 0, mountPoint: 'users/%u/%c/' },
    ],
  };
  for (const version of [4, 5] as const)
    it(`is unseen by its clients, both ways (version ${version})`, () =>
      withScene({ config }, async (scene) => {
        const inside = await connectTo(scene, 'test', version, { clientId: 'inside' });
        const outside = await connectTo(scene, 'all', version, { clientId: 'outside' });
        await inside.subscribe(['line/+', '$share/g/work'], { qos: 1 });
        await outside.subscribe('plant/#', { qos: 1 });
        inside.publish('line/1', 'up');
        assert.deepEqual(topicAndPayload(await inside.message()), ['line/1', 'up']);
        assert.deepEqual(topicAndPayload(await outside.message()), ['plant/line/1', 'up']);
        outside.publish('plant/line/2', 'down', { qos: 0, retain: true });
        outside.publish('plant/work', 'job');
        assert.deepEqual(topicAndPayload(await inside.message()), ['line/2', 'down']);
        assert.deepEqual(topicAndPayload(await inside.message()), ['work', 'job']);
        outside.publish('line/3', 'not for them');
        await outside.message();
        await outside.message();
        await outside.quiet();
        await inside.quiet();
        await inside.unsubscribe('line/+');
        await inside.subscribe('line/#');
        assert.deepEqual(topicAndPayload(await inside.message()), ['line/2', 'down']);
      }));

  // A share name, a delay or a topic of the broker in its place would lead out of the tree.
  for (const version of [4, 5] as const)
    it(`is not begun by a client with a dollar sign (version ${version})`, () =>
      withScene({ config: { listeners: [{ name: 'test', port: 0, mountPoint: '%c/' }] } }, async (scene) => {
        for (const clientId of ['$share', '$delayed', '$CONTROL', '$SYS', '$x']) {
          const refused = await openOn(scene, 'test', version);
          refused.sendConnect({ clientId });
          await refused.refused(0x87, 5);
        }
        await connectTo(scene, 'test', version, { clientId: 'x$SYS' });
      }));

  it('may name the user and the client, and refuses those whose names cannot be part of a topic', () =>
    withScene({ config }, async (scene) => {
      const all = await connectTo(scene, 'all', 5, { clientId: 'all' });
      await all.subscribe('users/#');
      const own = await connectTo(scene, 'own', 5, { clientId: 'dev', username: 'ann' });
      own.publish('state', 'on');
      assert.deepEqual(topicAndPayload(await all.message()), ['users/ann/dev/state', 'on']);
      for (const options of [
        { clientId: 'dev' },
        { clientId: 'a/b', username: 'ann' },
        { clientId: 'd', username: '#' },
      ]) {
        const refused = await openOn(scene, 'own', 5);
        refused.sendConnect(options);
        await refused.refused(0x87);
      }
    }));

  it('is not left by a name that means something to the broker at the beginning of a topic', () =>
    withScene({ config: { listeners: [{ name: 'test', port: 0, mountPoint: '%c/' }] } }, async (scene) => {
      for (const clientId of ['$SYS', '$share', '$delayed', '$CONTROL', '$']) {
        const refused = await scene.open();
        refused.sendConnect({ clientId });
        await refused.refused(0x87);
      }
      await scene.connect({ clientId: 'a$share' });
    }));

  it('does not count in the length of filters and names', () =>
    withScene(
      {
        config: {
          listeners: [{ name: 'test', port: 0, mountPoint: 'plant/line/' }],
          limits: { topicLevelsMax: 2, topicBytesMax: 3 },
        },
      },
      async (scene) => {
        const client = await scene.connect();
        assert.deepEqual(
          await client.subscribe(['a/b', '$share/g/a/b', 'a/b/', 'a/bc'], { qos: 1 }),
          [1, 1, 0x8f, 0x8f],
        );
        assert.equal(scene.broker.metrics.subscriptionsRefused, 2);
        assert.equal(await client.deliver('a/c', 'x', { qos: 1 }), 0x10);
      },
    ));

  it('goes before wills and delayed messages, and leaves $SYS where it is', () =>
    withScene({ config: { ...config, sys: { intervalSeconds: 1 } } }, async (scene) => {
      const all = await connectTo(scene, 'all', 5, { clientId: 'all' });
      await all.subscribe('plant/#');
      const inside = await connectTo(scene, 'test', 5, {
        clientId: 'inside',
        will: { topicName: 'gone', payload: Buffer.from('w'), qos: 0, retain: false },
      });
      await inside.subscribe('$SYS/broker/version');
      assert.equal((await inside.message()).topicName, '$SYS/broker/version');
      inside.publish('$delayed/1/later', 'd');
      assert.deepEqual(topicAndPayload(await all.message()), ['plant/later', 'd']);
      inside.stream.destroy();
      assert.deepEqual(topicAndPayload(await all.message()), ['plant/gone', 'w']);
    }));
});

const topicAndPayload = ({ topicName, payload }: { topicName: string; payload: string }) => [topicName, payload];

async function openOn(scene: Scene, listener: string, version: ProtocolVersion): Promise<WireClient> {
  const port = scene.broker.listeners.find(({ name }) => name === listener)!.port!;
  const socket = connectSocket({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  return new WireClient(socket, version);
}

async function connectTo(
  scene: Scene,
  listener: string,
  version: ProtocolVersion,
  options: ConnectOptions,
): Promise<WireClient> {
  const client = await openOn(scene, listener, version);
  await client.connect(options);
  return client;
}
