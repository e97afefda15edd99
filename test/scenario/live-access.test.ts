/** Users, roles, groups and rules that change while clients are connected. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ConfigInput } from '../../src/index.js';
import { ReasonCode } from '../../src/protocol/index.js';
import { login, notAuthorized, withBroker } from '../access/login.js';

const user = (username: string, more: object = {}) => ({ username, password: 'x', ...more });
const rule = (...filters: string[]) => ({ permit: 'allow', filters }) as const;
const accepted = ReasonCode.NoMatchingSubscribers;

describe('while the broker runs', () => {
  it('users come, go and get other passwords', () =>
    withBroker({ users: [user('ada'), user('bob'), user('eve'), user('kim')] }, async (scene) => {
      const names = ['ada', 'bob', 'eve', 'kim'];
      const [ada, bob, eve, kim] = await Promise.all(names.map((name) => login(scene, name, 'x')));
      await ada!.client.subscribe('t');
      scene.broker.protect({
        users: [user('ada'), user('eve', { password: 'y' }), user('kim', { enabled: false }), user('new')],
      });
      for (const { client } of [bob!, eve!, kim!]) {
        await client.refused(ReasonCode.AdministrativeAction);
      }
      assert.equal((await login(scene, 'bob', 'x')).reasonCode, ReasonCode.BadUserNameOrPassword);
      assert.equal((await login(scene, 'eve', 'x')).reasonCode, ReasonCode.BadUserNameOrPassword);
      assert.equal((await login(scene, 'eve', 'y')).reasonCode, 0);
      const { client } = await login(scene, 'new', 'x');
      await client.deliver('t', 'still here', { qos: 1 });
      assert.equal((await ada!.client.message()).payload, 'still here');
    }));

  it('rules and roles are taken together: a right that moves from one to the other is never missing', () => {
    const config: ConfigInput = {
      users: [user('ada', { roles: ['reader'] })],
      authorization: { sources: [{ type: 'rules', rules: [rule('a/#', 'b/#')] }, { type: 'roles' }] },
      roles: [{ name: 'reader', entries: [] }],
    };
    return withBroker(config, async (scene) => {
      const { client } = await login(scene, 'ada', 'x');
      assert.deepEqual(await client.subscribe(['a/#', 'b/#']), [0, 0]);
      const entries = [{ type: 'subscribePattern', filter: 'a/#', permit: 'allow' } as const];
      const byRole = { roles: [{ name: 'reader', entries }], authorization: { rules: { rules: [rule('c')] } } };
      const byRule = { roles: [{ name: 'reader' }], authorization: { rules: { rules: [rule('a/#')] } } };
      for (const settings of [byRole, byRule, byRole]) scene.broker.protect(settings);
      assert.deepEqual(await client.subscribe(['a/x', 'b/x']), [0, notAuthorized]);
      assert.equal(await client.deliver('a/x', '', { qos: 1 }), notAuthorized);
      assert.equal(await client.deliver('c', '', { qos: 1 }), accepted);
      for (const topicName of ['b/1', 'a/1']) scene.broker.publish(topicName, topicName);
      assert.equal((await client.message()).payload, 'a/1', 'the subscription to b/# has ended, that to a/# has not');
      scene.broker.protect({ groups: [{ name: 'staff', roles: ['reader'] }] });
      scene.broker.protect({ users: [user('ada', { groups: ['staff'] })] });
      assert.deepEqual(await client.subscribe(['a/y', 'b/y']), [0, notAuthorized]);
      scene.broker.protect({ roles: [{ name: 'reader' }] });
      assert.deepEqual(await client.subscribe(['a/y', 'c']), [notAuthorized, 0]);
    });
  });

  it('what cannot be used changes nothing', () => {
    const config: ConfigInput = {
      users: [user('ada')],
      authorization: { sources: [{ type: 'rules', name: 'own', rules: [rule('a')] }, { type: 'roles' }] },
    };
    return withBroker(config, async (scene) => {
      const { client } = await login(scene, 'ada', 'x');
      const users = [user('bob')];
      for (const [settings, expected] of [
        [
          { users, authorization: { rules: { other: [rule('b')] } } },
          /no source of authorization with rules is called "other"/,
        ],
        [{ users, authorization: { rules: { roles: [rule('b')] } } }, /no source .* "roles"/],
        [{ users, authorization: { rules: { own: [rule('b/#/c')] } } }, /sources\[0\]\.rules\[0\]\.filters\[0\]/],
        [{ users: [...users, ...users] }, /users\[1\]\.username: is already the name of users\[0\]/],
        [{ users, groups: [{ name: 'g', roles: ['none'] }] }, /groups\[0\]\.roles\[0\]: none is the name of no role/],
        [
          { users: [user('bob', { listeners: ['none'] })] },
          /users\[0\]\.listeners\[0\]: none is the name of no listener/,
        ],
      ] as const)
        assert.throws(() => scene.broker.protect(settings), expected);
      assert.equal(await client.deliver('a', '', { qos: 1 }), accepted);
      assert.equal(await client.deliver('b', '', { qos: 1 }), notAuthorized);
      assert.equal((await login(scene, 'bob', 'x')).reasonCode, ReasonCode.BadUserNameOrPassword);
      assert.equal((await login(scene, 'ada', 'x')).reasonCode, 0);
    });
  });
});
