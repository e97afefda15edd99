/** Users and rules in a MongoDB, which FerretDB stands for here: the real driver and a real server that knows query operators. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { MongoClient } from 'mongodb';
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
import { startFerretdb } from './servers.js';

const server: Server | undefined = await startFerretdb();

describe('MongoDB', { skip: server === undefined }, () => {
  const url = `mongodb://127.0.0.1:${server?.port}/?directConnection=true`;
  before(async () => {
    const client = await MongoClient.connect(url);
    const database = client.db('mqtt');
    await database.collection('user').insertMany([
      { username: 'ada', tenant: 7, password_hash: await hashPassword('one'), roles: ['a'] },
      { username: 'root', tenant: 7, password_hash: await hashPassword('two', 'sha512'), is_superuser: true },
      { username: 'off', tenant: 7, password_hash: await hashPassword('one', 'sha512'), enabled: false },
      { username: 'old', tenant: 8, password_hash: await hashPassword('one', 'sha512') },
    ]);
    await database.collection('acl').insertMany([
      { username: 'ada', permission: 'deny', action: 'publish', topics: ['up/secret', 'up/other'] },
      { username: 'ada', permission: 'allow', action: 'publish', topics: ['up/#'], qos: [0, 1], retain: false },
      { username: 'ada', action: 'subscribe', topic: 'down/${clientid}' },
    ]);
    await client.close();
  });
  after(() => server?.stop());
  const source = () =>
    ({
      type: 'mongodb',
      url,
      collection: 'user',
      filter: '{"username": "${username}", "tenant": 7}',
      timeoutMs: 5000,
    }) as const;

  it('tells users from others', async () => {
    await withBroker({ authentication: [source()] }, async (scene) => {
      await tryLogins(scene, [
        ['ada', 'one', ok],
        ['ada', 'two', badLogin],
        ['root', 'two', ok],
        ['off', 'one', badLogin],
        ['old', 'one', badLogin],
        ['nobody', 'one', badLogin],
        // a value stays a value
        ['{"$ne": ""}', 'one', badLogin],
        ['","username":{"$ne":""},"x":"', 'one', badLogin],
      ]);
    });
  });

  it('takes filters with operators', async () => {
    const operators = { ...source(), filter: '{"username": {"$in": ["${username}"]}, "tenant": {"$gt": 7}}' };
    await withBroker({ authentication: [operators] }, async (scene) => {
      assert.equal(await loginCode(scene, 'old', 'one'), ok);
      assert.equal(await loginCode(scene, 'ada', 'one'), badLogin);
    });
  });

  it('has rules by user', async () => {
    const acl = { ...source(), collection: 'acl', filter: '{"username": "${username}"}' };
    await withBroker({ authentication: [source()], authorization: { sources: [acl] } }, async (scene) => {
      const { client } = await login(scene, 'ada', 'one', { clientId: 'dev1' });
      assert.equal(await client.deliver('up/x', 'm', { qos: 1 }), 0x10);
      assert.equal(await client.deliver('up/secret', 'm', { qos: 1 }), notAuthorized);
      assert.equal(await client.deliver('up/x', 'm', { qos: 1, retain: true }), notAuthorized);
      assert.deepEqual(await client.subscribe(['down/dev1', 'down/+'], { qos: 1 }), [1, 0x87]);
    });
  });

  testLine(
    () => server!.port,
    (port) => ({ ...source(), url: `mongodb://127.0.0.1:${port}/?directConnection=true` }),
    ['root', 'two'],
  );

  it('refuses everybody while it is away', async () => {
    const lone = { ...source(), cacheSeconds: 0, timeoutMs: 3000 };
    await withBroker({ authentication: [lone] }, async (scene) => {
      assert.equal(await loginCode(scene, 'ada', 'one'), ok);
      await server!.kill();
      assert.equal(await loginCode(scene, 'ada', 'one'), serverUnavailable);
      assert.equal(sourceOf(scene.broker, 'mongodb').state, 'failing');
      await server!.start();
      const deadline = Date.now() + 60_000;
      while ((await loginCode(scene, 'ada', 'one')) !== ok && Date.now() < deadline)
        await new Promise((resolve) => setTimeout(resolve, 100));
      assert.equal(sourceOf(scene.broker, 'mongodb').state, 'connected');
    });
  });
});
