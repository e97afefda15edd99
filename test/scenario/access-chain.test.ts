/** Who gets in: chains of sources by listener, files that change, users that are told apart by nothing. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { type Broker, createBroker } from '../../src/index.js';
import { hashPassword } from '../../src/policy/index.js';
import { ReasonCode } from '../../src/protocol/index.js';
import { badLogin, login, loginCode, notAuthorized, ok, sourceOf, withBroker } from '../access/login.js';
import { Scene } from '../support/scene.js';

const folder = mkdtempSync(join(tmpdir(), 'dunlin-access-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const eventually = async (what: string, holds: () => Promise<boolean>): Promise<void> => {
  const deadline = Date.now() + 30_000;
  while (!(await holds())) {
    if (Date.now() > deadline) assert.fail(`waited 30 s for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};

describe('a chain of authentication', () => {
  it('goes on until one allows or denies', async () => {
    writeFileSync(
      join(folder, 'file'),
      `bob:${await hashPassword('two', 'sha512')}\nada:${await hashPassword('file', 'sha512')}\n`,
    );
    const config = {
      users: [
        { username: 'ada', passwordHash: await hashPassword('one') },
        { username: 'off', password: 'x', enabled: false },
        { username: 'elsewhere', password: 'x', listeners: ['other'] },
      ],
      listeners: [
        { name: 'test', port: 0, allowAnonymous: false },
        { name: 'other', port: 0, allowAnonymous: true, authentication: ['users'] },
      ],
      authentication: [
        { type: 'clientId', deny: ['/bad.*/'], admit: ['trusted'] },
        { type: 'ip', require: ['127.0.0.0/8'] },
        { type: 'users' },
        { type: 'passwordFile', path: join(folder, 'file') },
      ],
    } as const;
    await withBroker(config, async (scene) => {
      for (const [username, password, clientId, expected] of [
        ['ada', 'one', 'c', ok],
        ['ada', 'two', 'c', badLogin],
        ['bob', 'two', 'c', ok],
        ['bob', 'one', 'c', badLogin],
        ['ada', 'file', 'c', badLogin],
        ['off', 'x', 'c', badLogin],
        ['elsewhere', 'x', 'c', badLogin],
        ['nobody', 'x', 'c', badLogin],
        ['ada', 'one', 'badger', notAuthorized],
        ['ada', 'one', 'bad\nger', notAuthorized],
        [undefined, undefined, 'trusted', ok],
        [undefined, undefined, 'c', notAuthorized],
      ] as const)
        assert.equal(
          await loginCode(scene, username, password, { clientId }),
          expected,
          `${username} ${password} ${clientId}`,
        );
      const { logins } = scene.broker.status().access;
      assert.deepEqual(logins, { allowed: 3, denied: 9, unavailable: 0 });
    });
    const other = new Scene(5, { config: { ...config, listeners: [config.listeners[1], config.listeners[0]] } });
    await other.start();
    try {
      assert.equal(await loginCode(other, 'elsewhere', 'x'), ok);
      assert.equal(await loginCode(other, 'bob', 'two'), badLogin, 'the file does not count here');
      assert.equal(await loginCode(other, undefined), ok, 'the listener allows anonymous clients');
    } finally {
      await other.stop();
    }
  });

  it('lets only some networks in, and anonymous clients where a source says so', async () => {
    await withBroker(
      { authentication: [{ type: 'ip', require: ['10.0.0.0/8'] }, { type: 'anonymous' }] },
      async (scene) => {
        assert.equal(await loginCode(scene, undefined), notAuthorized);
      },
    );
    await withBroker(
      { authentication: [{ type: 'ip', require: ['127.0.0.1'] }, { type: 'anonymous' }] },
      async (scene) => {
        assert.equal(await loginCode(scene, undefined), ok);
        assert.equal(await loginCode(scene, 'ada', 'x'), badLogin);
      },
    );
  });

  it('knows the users of a file, and of the file as it is changed', async () => {
    const path = join(folder, 'users.csv');
    writeFileSync(path, 'username,password,is_superuser\nada,"one, two",true\nbob,three,false\n');
    const authorization = { sources: [{ type: 'rules', rules: [] }] } as const;
    await withBroker(
      { authentication: [{ type: 'passwordFile', path, format: 'csv' }], authorization },
      async (scene) => {
        const { client } = await login(scene, 'ada', 'one, two');
        assert.equal(await client.deliver('any', 'm', { qos: 1 }), 0x10, 'a superuser');
        assert.equal(await loginCode(scene, 'bob', 'three'), ok);
        const before = await login(scene, 'bob', 'three');
        const late = await login(scene, 'ada', 'one, two');
        assert.deepEqual(await late.client.subscribe('other'), [0]);
        writeFileSync(path, 'username,password\nada,"one, two"\nbob,three\n');
        await eventually(
          'the end of a right',
          async () => (await client.deliver('any', 'm', { qos: 1 })) === notAuthorized,
        );
        assert.deepEqual(
          await late.client.subscribe('any'),
          [notAuthorized],
          'no superuser any more, but a user still',
        );
        writeFileSync(path, 'username,password\nbob,four\n');
        for (const gone of [client, late.client, before.client]) await gone.refused(ReasonCode.AdministrativeAction);
        await eventually('the change', async () => (await loginCode(scene, 'bob', 'four')) === ok);
        assert.equal(await loginCode(scene, 'bob', 'three'), badLogin);
        assert.equal(await loginCode(scene, 'ada', 'one, two'), badLogin);
        writeFileSync(path, 'username\nbob\n');
        await eventually('the mistake', async () => sourceOf(scene.broker, 'passwordFile').state === 'failing');
        assert.match(sourceOf(scene.broker, 'passwordFile').lastError!, /line 2: either password or passwordHash/);
        assert.equal(await loginCode(scene, 'bob', 'four'), ok, 'what was read before stays in force');
        writeFileSync(path, 'username,password\nbob,five\n');
        await eventually('the end of the mistake', async () => (await loginCode(scene, 'bob', 'five')) === ok);
        renameSync(path, `${path}.away`);
        await eventually('the loss', async () => sourceOf(scene.broker, 'passwordFile').state === 'failing');
        renameSync(`${path}.away`, path);
        await eventually('its end', async () => sourceOf(scene.broker, 'passwordFile').state === 'ready');
      },
    );
  });

  it('takes a table of salted digests, as EMQX imports it', async () => {
    const path = join(folder, 'emqx.csv');
    const hash = createHash('sha256').update('onesalty').digest('hex');
    writeFileSync(path, `user_id,password_hash,salt,is_superuser\nada,${hash},salty,false\n`);
    const source = { type: 'passwordFile', path, format: 'csv', passwordAlgorithm: 'sha256' } as const;
    await withBroker({ authentication: [{ ...source, saltPosition: 'suffix' }] }, async (scene) => {
      assert.equal(await loginCode(scene, 'ada', 'one'), ok);
      assert.equal(await loginCode(scene, 'ada', 'onesalty'), badLogin);
    });
    await withBroker({ authentication: [{ ...source, saltPosition: 'prefix' }] }, async (scene) => {
      assert.equal(await loginCode(scene, 'ada', 'one'), badLogin);
    });
  });

  it('does not begin without its files', async () => {
    const start = (path: string): Promise<void> => {
      const broker: Broker = createBroker({
        config: { listeners: [{ name: 'test', port: 0 }], authentication: [{ type: 'passwordFile', path }] },
      });
      return broker.start();
    };
    const plain = join(folder, 'plain');
    writeFileSync(plain, 'ada:one\n');
    await assert.rejects(start(join(folder, 'none')), /none: there is no such file/);
    await assert.rejects(start(plain), /plain: line 1: the password is not hashed; `dunlin passwd -U`/);
    await assert.rejects(start(folder), /it is a folder/);
  });

  it('takes as long for an unknown user as for a wrong password', async () => {
    const { AccessPolicy, openAccess } = await import('../../src/policy/index.js');
    const { silentLogger } = await import('../../src/base/index.js');
    const users = [{ username: 'ada', passwordHash: await hashPassword('one') }];
    const policy = new AccessPolicy({ ...openAccess, users }, { log: silentLogger });
    const took = async (username: string): Promise<number> => {
      const begun = process.hrtime.bigint();
      const admission = await policy.authenticate({
        clientId: 'c',
        username,
        password: Buffer.from('wrong'),
        protocolVersion: 5,
        listener: 'l',
        address: '127.0.0.1',
        allowAnonymous: false,
      });
      assert.equal(admission.reasonCode, badLogin);
      return Number(process.hrtime.bigint() - begun) / 1e6;
    };
    const fastest = { ada: Number.POSITIVE_INFINITY, eve: Number.POSITIVE_INFINITY };
    for (let round = 0; round < 5; round++)
      for (const name of ['ada', 'eve'] as const) fastest[name] = Math.min(fastest[name], await took(name));
    // A digest takes a hundredth of a millisecond, a hash tens of them.
    assert.ok(fastest.eve > fastest.ada / 3, JSON.stringify(fastest));
    assert.ok(fastest.ada > fastest.eve / 3, JSON.stringify(fastest));
  });
});
