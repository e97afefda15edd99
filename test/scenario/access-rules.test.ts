/** What clients may do: rules of the configuration and of files, roles, and what happens when they change or are broken. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import type { ConfigInput } from '../../src/index.js';
import { ReasonCode } from '../../src/protocol/index.js';
import { login, notAuthorized, withBroker } from '../access/login.js';

const folder = mkdtempSync(join(tmpdir(), 'dunlin-rules-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const users = ['ada', 'bob', 'eve'].map((username) => ({
  username,
  password: 'x',
  roles: username === 'bob' ? ['reader'] : [],
}));
const accepted = ReasonCode.NoMatchingSubscribers;

describe('authorization', () => {
  it('by rules: who, where, how', async () => {
    const config: ConfigInput = {
      users,
      authorization: {
        sources: [
          {
            type: 'rules',
            rules: [
              { permit: 'deny', filters: ['secret/#'] },
              { permit: 'allow', action: 'publish', filters: ['up/%c/#'], qos: [1], retain: 'false' },
              { permit: 'allow', action: 'subscribe', filters: ['down/%u/+', 'eq #'], who: { usernames: ['ada'] } },
              { permit: 'allow', filters: ['read/#'], who: { roles: ['reader'] } },
            ],
          },
        ],
      },
    };
    await withBroker(config, async (scene) => {
      const { client } = await login(scene, 'ada', 'x', { clientId: 'dev1' });
      for (const [topic, options, expected] of [
        ['up/dev1/t', { qos: 1 }, accepted],
        ['up/dev2/t', { qos: 1 }, notAuthorized],
        ['up/dev1/t', { qos: 2 }, notAuthorized],
        ['up/dev1/t', { qos: 1, retain: true }, notAuthorized],
        ['secret/x', { qos: 1 }, notAuthorized],
        ['read/x', { qos: 1 }, notAuthorized],
        ['$SYS/x', { qos: 1 }, notAuthorized],
      ] as const)
        assert.equal(await client.deliver(topic, 'm', options), expected, topic);
      const asked = ['down/ada/+', 'down/ada/#', 'down/bob/x', '#', 'secret/x', '$share/g/down/ada/x', '$SYS/#'];
      assert.deepEqual(
        await client.subscribe(asked),
        [0, 0x87, 0x87, 0x87, 0x87, 0, 0x87],
        'a denied filter overlaps #',
      );
      const bob = await login(scene, 'bob', 'x');
      assert.equal(await bob.client.deliver('read/x', 'm', { qos: 1 }), accepted);
      assert.deepEqual(await bob.client.subscribe('read/#'), [0]);
    });
  });

  it('refuses a client whose will it may not publish', async () => {
    const authorization = { sources: [{ type: 'rules', rules: [{ permit: 'allow', filters: ['ok'] }] }] } as const;
    await withBroker({ users, authorization }, async (scene) => {
      const will = (topicName: string) => ({ topicName, payload: Buffer.from('w'), qos: 0 as const, retain: false });
      assert.equal((await login(scene, 'ada', 'x', { will: will('other') })).reasonCode, notAuthorized);
      assert.equal((await login(scene, 'ada', 'x', { will: will('ok') })).reasonCode, 0);
      assert.equal((await login(scene, 'ada', 'x', { will: will('$delayed/1/ok') })).reasonCode, 0);
    });
    const open = {
      noMatch: 'allow',
      sources: [{ type: 'rules', rules: [{ permit: 'deny', filters: ['no/#'] }] }],
    } as const;
    for (const settings of [{ authorization: open }, {}])
      await withBroker({ users, ...settings }, async (scene) => {
        const topicName = 'authorization' in settings ? '$delayed/1/no/x' : '$delayed/1/$SYS/x';
        const will = { topicName, payload: Buffer.from('w'), qos: 0 as const, retain: false };
        assert.equal((await login(scene, 'ada', 'x', { will })).reasonCode, notAuthorized, 'where it is to go counts');
      });
  });

  it('by an ACL file of Mosquitto: reading is a matter of each delivery', async () => {
    const path = join(folder, 'acl');
    writeFileSync(path, 'user ada\ntopic read a/#\ntopic deny a/secret\ntopic write b\nuser bob\ntopic readwrite #\n');
    await withBroker({ users, authorization: { sources: [{ type: 'mosquittoAclFile', path }] } }, async (scene) => {
      const bob = await login(scene, 'bob', 'x');
      const ada = await login(scene, 'ada', 'x');
      assert.deepEqual(await ada.client.subscribe(['#', 'b', 'a/secret']), [0, 0x87, 0x87]);
      for (const topic of ['a/1', 'a/secret', 'b', 'a/2']) bob.client.publish(topic, topic);
      assert.equal((await ada.client.message()).payload, 'a/1');
      assert.equal((await ada.client.message()).payload, 'a/2');
      assert.equal(await ada.client.deliver('b', 'm', { qos: 1 }), ReasonCode.Success);
      assert.equal(await ada.client.deliver('a/1', 'm', { qos: 1 }), notAuthorized);
      const eve = await login(scene, 'eve', 'x');
      assert.deepEqual(await eve.client.subscribe('#'), [0x87]);
    });
  });

  it('that is taken away ends subscriptions and deliveries', async () => {
    const path = join(folder, 'rules.yaml');
    writeFileSync(path, '- { permit: allow, filters: ["#"] }\n');
    await withBroker({ users, authorization: { sources: [{ type: 'rulesFile', path }] } }, async (scene) => {
      const ada = await login(scene, 'ada', 'x');
      const bob = await login(scene, 'bob', 'x');
      assert.deepEqual(await ada.client.subscribe(['a/#', 'b']), [0, 0]);
      assert.equal(await bob.client.deliver('a/1', 'before', { qos: 1 }), 0);
      assert.equal((await ada.client.message()).payload, 'before');
      writeFileSync(
        path,
        '- { permit: deny, filters: ["a/#"], who: { usernames: [ada] } }\n- { permit: allow, filters: ["#"] }\n',
      );
      const probe = await login(scene, 'ada', 'x');
      const deadline = Date.now() + 30_000;
      while ((await probe.client.subscribe('a/probe'))[0] !== notAuthorized) {
        assert.ok(Date.now() < deadline, 'the change is noticed');
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      assert.equal(await bob.client.deliver('a/1', 'after', { qos: 1 }), accepted, 'nobody subscribes to it any more');
      await bob.client.deliver('b', 'after', { qos: 1 });
      assert.equal((await ada.client.message()).topicName, 'b');
    });
  });

  it('may end the connection of whoever tries', async () => {
    const authorization = {
      denyAction: 'disconnect',
      sources: [{ type: 'rules', rules: [{ permit: 'allow', filters: ['ok'] }] }],
    } as const;
    await withBroker({ users, authorization }, async (scene) => {
      const first = await login(scene, 'ada', 'x');
      assert.equal(await first.client.deliver('ok', 'm', { qos: 1 }), accepted);
      first.client.publish('other', 'm');
      await first.client.ended();
      const second = await login(scene, 'ada', 'x');
      second.client.sendSubscribe('#');
      await second.client.ended();
    });
  });

  it('by roles and groups with priorities, for anonymous clients too', async () => {
    const entry = (
      type: 'publishClientSend' | 'publishClientReceive' | 'subscribePattern',
      filter: string,
      permit: 'allow' | 'deny',
    ) => ({ type, filter, permit });
    const config: ConfigInput = {
      listeners: [{ name: 'test', port: 0, allowAnonymous: true }],
      users: [
        { username: 'ada', password: 'x', groups: ['staff'] },
        { username: 'bob', password: 'x', roles: ['muted'], groups: ['staff'] },
      ],
      roles: [
        {
          name: 'all',
          entries: [
            entry('publishClientSend', '#', 'allow'),
            entry('subscribePattern', '#', 'allow'),
            entry('publishClientReceive', 'hidden', 'deny'),
          ],
        },
        { name: 'muted', priority: 5, entries: [entry('publishClientSend', '#', 'deny')] },
        { name: 'guest', entries: [entry('subscribePattern', 'public/#', 'allow')] },
      ],
      groups: [
        { name: 'staff', roles: ['all'] },
        { name: 'guests', roles: ['guest'] },
      ],
      authorization: { sources: [{ type: 'roles', anonymousGroup: 'guests' }] },
    };
    await withBroker(config, async (scene) => {
      const ada = await login(scene, 'ada', 'x');
      assert.deepEqual(await ada.client.subscribe('#'), [0]);
      const bob = await login(scene, 'bob', 'x');
      assert.equal(await bob.client.deliver('t', 'm', { qos: 1 }), notAuthorized);
      assert.deepEqual(await bob.client.subscribe('#'), [0]);
      for (const topic of ['hidden', 'seen']) assert.equal(await ada.client.publish(topic, topic, { qos: 0 }), 0);
      assert.equal((await bob.client.message()).topicName, 'seen');
      const guest = await login(scene, undefined);
      assert.deepEqual(await guest.client.subscribe(['public/x', 'x']), [0, 0x87]);
      assert.equal(await guest.client.deliver('public/x', 'm', { qos: 1 }), notAuthorized);
    });
  });
});
