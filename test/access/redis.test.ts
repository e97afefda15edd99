/** Users and rules in a real Redis. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createClient } from 'redis';
import { hashPassword } from '../../src/policy/index.js';
import type { Server } from '../support/real-server.js';
import { testLine } from './line.js';
import {
  badLogin,
  login,
  loginCode,
  notAuthorized,
  ok,
  serverUnavailable,
  sourceOf,
  tryLogins,
  withBroker,
} from './login.js';
import { startRedis } from './servers.js';

const server: Server | undefined = await startRedis('s3cret');

describe('Redis', { skip: server === undefined }, () => {
  const url = `redis://:s3cret@127.0.0.1:${server?.port}/0`;
  const fill = async (): Promise<void> => {
    const client = createClient({ url });
    await client.connect();
    await client.hSet('mqtt:user:ada', { password_hash: await hashPassword('one'), is_superuser: '0', roles: 'a,b' });
    await client.hSet('mqtt:user:root', { password_hash: await hashPassword('two', 'sha512'), is_superuser: '1' });
    await client.hSet('mqtt:user:off', { password_hash: await hashPassword('one', 'sha512'), enabled: '0' });
    await client.hSet('mqtt:user:broken', { password_hash: 'nonsense' });
    const password_hash = await hashPassword('one', 'sha512');
    await client.hSet('mqtt:user:dated', { password_hash, expires_at: '2020-01-31 12:00:00' });
    await client.hSet('mqtt:user:over', { password_hash, expires_at: '1580471999' });
    await client.hSet('mqtt:user:later', { password_hash, expires_at: '99999999999' });
    await client.hSet('mqtt:acl:ada', {
      'up/ada/#': 'publish',
      'down/%c/#': 'subscribe',
      x: '{"action":"publish","qos":[0]}',
    });
    await client.set('mqtt:user:ada:note', 'no hash');
    await client.sAdd('devices', 'dev1');
    await client.set('session:torn', '{"username":');
    await client.set('session:abc', '{"username":"web"}');
    client.destroy();
  };
  const source = {
    type: 'redis',
    url,
    command: 'HMGET mqtt:user:${username} password_hash salt is_superuser enabled roles expires_at',
    timeoutMs: 5000,
  } as const;
  before(fill);
  after(() => server?.stop());

  it('tells users from others', async () => {
    await withBroker({ authentication: [source] }, async (scene) => {
      await tryLogins(scene, [
        ['ada', 'one', ok],
        ['ada', 'two', badLogin],
        ['ada', '', badLogin],
        ['root', 'two', ok],
        ['off', 'one', badLogin],
        ['nobody', 'one', badLogin],
        ['a b c', 'one', badLogin],
        ['broken', 'x', serverUnavailable],
        ['dated', 'one', serverUnavailable],
        ['over', 'one', badLogin],
        ['later', 'one', ok],
        ['ada:note', 'x', serverUnavailable],
        ['root', 'two', ok],
      ]);
      assert.equal(await loginCode(scene, undefined), notAuthorized);
      const { client } = await login(scene, 'ada', 'one', { clientId: 'same' });
      client.stream.destroy();
      const { requests } = sourceOf(scene.broker, 'redis');
      assert.equal(await loginCode(scene, 'ada', 'one', { clientId: 'same' }), ok);
      const status = sourceOf(scene.broker, 'redis');
      assert.deepEqual([status.state, status.requests, status.cacheHits], ['connected', requests, 1]);
    });
  });

  it('lets nobody choose a name that it was not asked with', async () => {
    const found = { type: 'redis', url, check: 'exists' } as const;
    for (const [command, clientId, expected] of [
      ['SISMEMBER devices ${clientid}', 'dev1', undefined],
      ['EXISTS mqtt:user:${username}', 'dev1', 'ada'],
      ['GET session:${clientid}', 'abc', 'web'],
    ] as const)
      await withBroker({ authentication: [{ ...found, command }] }, async (scene) => {
        const { reasonCode } = await login(scene, 'ada', undefined, { clientId });
        assert.equal(reasonCode, ok);
        assert.equal(scene.broker.clients()[0]!.username, expected, command);
      });
  });

  it('goes on after what one client is kept as cannot be read', async () => {
    const found = { type: 'redis', url, check: 'exists', command: 'GET session:${clientid}' } as const;
    await withBroker({ authentication: [found] }, async (scene) => {
      assert.equal(await loginCode(scene, 'ada', undefined, { clientId: 'torn' }), serverUnavailable);
      assert.equal(await loginCode(scene, 'ada', undefined, { clientId: 'abc' }), ok);
    });
  });

  it('has rules by user', async () => {
    const authorization = {
      sources: [{ type: 'redis', url, command: 'HGETALL mqtt:acl:${username}' }],
    } as const;
    await withBroker({ authentication: [source], authorization }, async (scene) => {
      const { client } = await login(scene, 'ada', 'one', { clientId: 'dev1' });
      assert.equal(await client.deliver('up/ada/x', 'm', { qos: 1 }), 0x10);
      assert.equal(await client.deliver('up/bob/x', 'm', { qos: 1 }), notAuthorized);
      assert.equal(await client.deliver('x', 'm', { qos: 1 }), notAuthorized, 'the rule is for QoS 0');
      assert.deepEqual(await client.subscribe(['down/dev1/#', 'down/#', 'up/ada/#'], { qos: 1 }), [1, 0x87, 0x87]);
      const root = await login(scene, 'root', 'two');
      assert.equal(await root.client.deliver('any/thing', 'm', { qos: 1 }), 0x10, 'a superuser');
    });
  });

  it('ends subscriptions whose rule it does not have any more', async () => {
    const redis = createClient({ url });
    await redis.connect();
    await redis.hSet('mqtt:acl:passing', { 'a/#': 'subscribe', b: 'subscribe' });
    const authorization = {
      sources: [{ type: 'redis', url, command: 'HGETALL mqtt:acl:${clientId}', cacheSeconds: 0 }],
    } as const;
    try {
      await withBroker({ authentication: [source], authorization }, async (scene) => {
        const { client } = await login(scene, 'ada', 'one', { clientId: 'passing' });
        assert.deepEqual(await client.subscribe(['a/#', 'b']), [0, 0]);
        scene.broker.publish('a/1', 'allowed');
        assert.equal((await client.message()).payload, 'allowed');
        await redis.hDel('mqtt:acl:passing', 'a/#');
        const withdrawn = new Promise<string>((resolve) => {
          scene.broker.on('unsubscribed', ({ topicFilter }) => resolve(topicFilter));
        });
        // A delivery does not wait; it makes the rules be fetched, unless they were on their way already.
        for (let delivered = true; delivered; ) {
          for (const topicName of ['a/2', 'b']) scene.broker.publish(topicName, topicName);
          delivered = (await client.message()).payload === 'a/2';
          if (delivered) assert.equal((await client.message()).payload, 'b');
        }
        assert.equal(await withdrawn, 'a/#');
        scene.broker.publish('a/3', 'no more');
        scene.broker.publish('b', 'still');
        assert.equal((await client.message()).payload, 'still');
      });
    } finally {
      redis.destroy();
    }
  });

  it('lets clients in whose cookie it knows', async () => {
    const { createBroker } = await import('../../src/index.js');
    const { WebSocket } = await import('ws');
    const broker = createBroker({
      config: {
        listeners: [{ name: 'web', protocol: 'ws', port: 0, allowAnonymous: false }],
        authentication: [{ type: 'redis', url, command: 'GET session:${cookie.sid}', check: 'exists' }],
      },
    });
    await broker.start();
    try {
      const connack = async (cookie: string | undefined): Promise<number> => {
        const socket = new WebSocket(`ws://127.0.0.1:${broker.listeners[0]!.port}/mqtt`, 'mqtt', {
          headers: cookie === undefined ? {} : { cookie },
        });
        await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject));
        const answer = new Promise<Buffer>((resolve) => socket.on('message', (data: Buffer) => resolve(data)));
        // CONNECT of 3.1.1 with client identifier "c"
        socket.send(Buffer.from('100d00044d51545404020000000163', 'hex'));
        const code = (await answer)[3]!;
        if (code === 0) assert.equal(broker.clients()[0]!.username, 'web');
        socket.terminate();
        return code;
      };
      assert.equal(await connack('a=b; sid=abc'), 0);
      assert.equal(await connack('sid=abd'), 5);
      assert.equal(await connack(undefined), 5);
    } finally {
      await broker.stop();
    }
  });

  testLine(
    () => server!.port,
    (port) => ({ ...source, url: `redis://:s3cret@127.0.0.1:${port}/0` }),
    ['root', 'two'],
  );

  it('refuses everybody while it is away, says so, and lets them in again', async () => {
    await withBroker({ authentication: [{ ...source, cacheSeconds: 0, refusedCacheSeconds: 0 }] }, async (scene) => {
      assert.equal(await loginCode(scene, 'ada', 'one'), ok);
      await server!.kill();
      assert.equal(await loginCode(scene, 'ada', 'one'), serverUnavailable);
      assert.equal(await loginCode(scene, 'ada', 'one'), serverUnavailable);
      const status = sourceOf(scene.broker, 'redis');
      assert.equal(status.state, 'failing');
      assert.notEqual(status.lastError, undefined);
      assert.ok(!JSON.stringify(status).includes('s3cret'));
      await server!.start();
      await fill();
      const deadline = Date.now() + 30_000;
      while ((await loginCode(scene, 'ada', 'one')) !== ok && Date.now() < deadline)
        await new Promise((resolve) => setTimeout(resolve, 100));
      assert.equal(sourceOf(scene.broker, 'redis').state, 'connected');
    });
  });
});
