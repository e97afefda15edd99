/** Listeners that take the user name for the client identifier. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { login, notAuthorized, ok, withBroker } from '../access/login.js';

describe('where the user name is the client identifier', () => {
  it('rights are those of that identifier from the will on', () =>
    withBroker(
      {
        listeners: [{ name: 'test', port: 0, allowAnonymous: false, usernameAsClientId: true }],
        users: ['ada', 'bob'].map((username) => ({ username, password: 'x' })),
        authorization: { sources: [{ type: 'rules', rules: [{ permit: 'allow', filters: ['own/%c/#'] }] }] },
      },
      async (scene) => {
        const will = (topicName: string) => ({
          topicName,
          payload: Buffer.from('bye'),
          qos: 0 as const,
          retain: false,
        });
        const ada = (await login(scene, 'ada', 'x')).client;
        assert.deepEqual(await ada.subscribe('own/ada/#'), [0]);
        const posing = await login(scene, 'bob', 'x', { clientId: 'ada', will: will('own/ada/x') });
        assert.equal(posing.reasonCode, notAuthorized);
        const bob = await login(scene, 'bob', 'x', { clientId: 'any', will: will('own/bob/x') });
        assert.equal(bob.reasonCode, ok);
        assert.deepEqual(
          scene.broker
            .clients()
            .map(({ clientId }) => clientId)
            .sort(),
          ['ada', 'bob'],
        );
        await ada.quiet();
      },
    ));
});
