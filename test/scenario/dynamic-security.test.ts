/** Dynamic security through a whole broker: commands over MQTT, who may send them, and what a change does to who is connected. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { checkFiles, resolveConfig } from '../../src/config/index.js';
import type { ConfigInput } from '../../src/index.js';
import { createBroker } from '../../src/index.js';
import { makeAdministratorFile } from '../../src/policy/index.js';
import { PacketType, type ProtocolVersion, ReasonCode } from '../../src/protocol/index.js';
import { badLogin, login, loginCode, ok, sourceOf, withBroker } from '../access/login.js';
import type { Scene } from '../support/scene.js';
import type { WireClient } from '../support/wire-client.js';

const TOPIC = '$CONTROL/dynamic-security/v1';
const RESPONSE = `${TOPIC}/response`;

const folder = mkdtempSync(join(tmpdir(), 'dunlin-dynamic-'));
after(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;

interface Answer {
  readonly command: string;
  readonly error?: string;
  readonly data?: Record<string, unknown>;
}

/** Whoever administers: its commands and their answers. */
class Administrator {
  constructor(readonly client: WireClient) {}

  async ask(...commands: object[]): Promise<Answer[]> {
    return this.send(JSON.stringify({ commands }));
  }

  async send(payload: string | Uint8Array): Promise<Answer[]> {
    this.client.publish(TOPIC, payload);
    const message = await this.client.message();
    assert.equal(message.topicName, RESPONSE);
    assert.equal(message.qos, 0);
    assert.equal(message.retain, false);
    return (JSON.parse(message.payload) as { responses: Answer[] }).responses;
  }

  async done(...commands: object[]): Promise<void> {
    for (const { command, error } of await this.ask(...commands)) assert.equal(error, undefined, command);
  }
}

async function withAdministrator(
  work: (scene: Scene, admin: Administrator, file: string) => Promise<void>,
  more: Omit<ConfigInput, 'listeners'> = {},
): Promise<void> {
  const file = join(folder, `${++files}.json`);
  await makeAdministratorFile(file, 'admin', 'admin password');
  await withBroker({ dynamicSecurity: { file }, ...more }, async (scene) => {
    const { client } = await login(scene, 'admin', 'admin password');
    assert.deepEqual(await client.subscribe(RESPONSE, { qos: 1 }), [1]);
    await work(scene, new Administrator(client), file);
  });
}

const allow = (acltype: string, topic: string) => ({ acltype, topic, allow: true });
const userWith = (username: string, ...acls: object[]) => [
  { command: 'createRole', rolename: `role of ${username}`, acls },
  { command: 'createClient', username, password: 'p', roles: [{ rolename: `role of ${username}` }] },
];

describe('dynamic security', () => {
  it('is changed over MQTT, and the change outlives the broker', async () => {
    let file = '';
    await withAdministrator(async (scene, admin, path) => {
      file = path;
      await admin.done(...userWith('u', allow('publishClientSend', 'a/#')));
      const { client } = await login(scene, 'u', 'p');
      assert.equal(await client.deliver('a/b', 'm', { qos: 1 }), ReasonCode.NoMatchingSubscribers);
      assert.equal(await client.deliver('b', 'm', { qos: 1 }), ReasonCode.NotAuthorized);
      assert.equal(await loginCode(scene, 'u', 'wrong'), badLogin);
      const [answer] = await admin.ask({ command: 'getClient', username: 'u' });
      assert.deepEqual((answer!.data!.client as { connections: unknown }).connections, [{ address: '127.0.0.1' }]);
      assert.equal(sourceOf(scene.broker, 'dynamicSecurity').state, 'ready');
    });
    await withBroker({ dynamicSecurity: { file } }, async (scene) => {
      assert.equal(await loginCode(scene, 'u', 'p'), ok);
      assert.equal(await loginCode(scene, 'admin', 'admin password'), ok);
      assert.equal(await loginCode(scene, 'somebody', 'p'), badLogin);
    });
  });

  for (const version of [3, 4, 5] as ProtocolVersion[])
    it(`acknowledges commands of every QoS, version ${version}`, async () => {
      await withAdministrator(async (scene) => {
        const client = await scene.connect({ version, username: 'admin', password: 'admin password' });
        assert.deepEqual(await client.subscribe('$CONTROL/dynamic-security/#', { qos: 2 }), [2]);
        const commands = JSON.stringify({ commands: [{ command: 'getDetails' }] });
        for (const qos of [0, 1, 2] as const) {
          const packetId = client.publish(TOPIC, commands, { qos });
          const seen = new Set<string>();
          while (seen.size < (qos === 0 ? 1 : 2)) {
            const { packet } = await client.next();
            if (packet.type === PacketType.Publish) {
              assert.equal(packet.topicName, RESPONSE);
              seen.add('answer');
            } else {
              assert.equal(packet.type, qos === 1 ? PacketType.Puback : PacketType.Pubrec);
              assert.equal((packet as { reasonCode?: number }).reasonCode ?? 0, 0);
              seen.add('acknowledged');
            }
          }
          if (qos !== 2) continue;
          client.pubrel(packetId);
          await client.packet(PacketType.Pubcomp);
        }
      });
    });

  it('answers the one who asked, by its own subscription, and nobody else', async () => {
    await withAdministrator(async (scene, admin) => {
      await admin.done(
        { command: 'addRoleACL', rolename: 'admin', ...allow('subscribePattern', '$CONTROL/#') },
        { command: 'createClient', username: 'second', password: 'p', roles: [{ rolename: 'admin' }] },
      );
      const { client: second } = await login(scene, 'second', 'p');
      await second.subscribe('$CONTROL/#', { qos: 1, properties: { subscriptionIdentifiers: [7] } });
      await admin.ask({ command: 'listClients' });
      await second.quiet();
      second.publish(TOPIC, '{"commands": [{"command": "getDetails"}]}');
      const { topicName, properties } = await second.message();
      assert.equal(topicName, RESPONSE);
      assert.deepEqual(properties.subscriptionIdentifiers, [7]);
      await admin.client.quiet();
      await second.unsubscribe('$CONTROL/#');
      assert.equal(await second.deliver(TOPIC, '{"commands": [{"command": "getDetails"}]}', { qos: 1 }), 0);
      await second.quiet();
    });
  });

  it('takes commands from nobody without the right, and routes none', async () => {
    await withAdministrator(async (scene, admin, file) => {
      await admin.done(...userWith('u', allow('publishClientSend', '#'), allow('subscribePattern', '#')), {
        command: 'setDefaultACLAccess',
        acls: [{ acltype: 'publishClientSend', allow: true }],
      });
      const before = readFileSync(file, 'utf8');
      const { client } = await login(scene, 'u', 'p');
      await client.subscribe(['#', '$CONTROL/#']);
      const command = JSON.stringify({ commands: [{ command: 'createClient', username: 'evil', password: 'p' }] });
      for (const topic of [TOPIC, `${TOPIC}/`, '$CONTROL/broker/v1', '$delayed/0/$CONTROL/dynamic-security/v1'])
        assert.equal(await client.deliver(topic, command, { qos: 1 }), ReasonCode.NotAuthorized, topic);
      client.publish(TOPIC, command);
      await client.quiet();
      assert.equal(scene.broker.publish(TOPIC, command), ReasonCode.NotAuthorized, 'nor from the program around it');
      await admin.ask({ command: 'listClients' });
      await client.quiet();
      assert.equal(readFileSync(file, 'utf8'), before);
      const will = { topicName: TOPIC, payload: Buffer.from(command), qos: 0 as const, retain: false };
      const { reasonCode } = await login(scene, 'admin', 'admin password', { will });
      assert.equal(reasonCode, ReasonCode.TopicNameInvalid, 'a will is nobody to administer');
    });
  });

  it('acknowledges what nobody listens to below $CONTROL, and does nothing', async () => {
    await withAdministrator(async (scene, admin) => {
      await admin.done({ command: 'addRoleACL', rolename: 'admin', ...allow('publishClientSend', '$CONTROL/#') });
      const { client } = await login(scene, 'admin', 'admin password');
      await client.subscribe('$CONTROL/#');
      for (const topic of ['$CONTROL/', '$CONTROL/other/v1', RESPONSE])
        assert.equal(await client.deliver(topic, '{}', { qos: 1, retain: true }), ReasonCode.Success, topic);
      await client.quiet();
      assert.equal(scene.broker.status().messagesRetained, 0);
    });
  });

  it('stops deliveries and ends subscriptions at once when a right is taken away', async () => {
    await withAdministrator(async (scene, admin) => {
      await admin.done(
        ...userWith('reader', allow('subscribePattern', 'a/#')),
        ...userWith('writer', allow('publishClientSend', 'a/#')),
        { command: 'createGroup', groupname: 'g', roles: [{ rolename: 'role of reader' }] },
        { command: 'addGroupClient', groupname: 'g', username: 'reader' },
        { command: 'removeClientRole', username: 'reader', rolename: 'role of reader' },
      );
      const { client: reader } = await login(scene, 'reader', 'p');
      const { client: writer } = await login(scene, 'writer', 'p');
      assert.deepEqual(await reader.subscribe(['a/+', 'a/secret'], { qos: 1 }), [1, 1]);
      await writer.deliver('a/x', 'first', { qos: 1 });
      assert.equal((await reader.message()).payload, 'first');
      await admin.done({
        command: 'addRoleACL',
        rolename: 'role of reader',
        acltype: 'publishClientReceive',
        topic: 'a/secret',
        allow: false,
      });
      await writer.deliver('a/secret', 'not this', { qos: 0 });
      await writer.deliver('a/x', 'but this', { qos: 1 });
      assert.equal((await reader.message()).payload, 'but this');
      await admin.done({ command: 'removeGroupClient', groupname: 'g', username: 'reader' });
      assert.equal(await writer.deliver('a/x', 'gone', { qos: 1 }), ReasonCode.NoMatchingSubscribers);
      await reader.quiet();
      await admin.done({ command: 'deleteRole', rolename: 'role of writer' });
      assert.equal(await writer.deliver('a/x', 'm', { qos: 1 }), ReasonCode.NotAuthorized);
    });
  });

  it('disconnects whom it disables, deletes or gives another password, by every connection', async () => {
    for (const command of [
      { command: 'disableClient' },
      { command: 'deleteClient' },
      { command: 'setClientPassword', password: 'q' },
      { command: 'setClientId', clientid: 'another' },
      { command: 'modifyClient', password: 'q' },
    ])
      await withAdministrator(async (scene, admin) => {
        await admin.done(...userWith('u'), ...userWith('other'));
        const first = (await login(scene, 'u', 'p')).client;
        const second = (await login(scene, 'u', 'p')).client;
        const other = (await login(scene, 'other', 'p')).client;
        await admin.done({ username: 'u', ...command });
        for (const client of [first, second]) {
          const { reasonCode } = await client.packet(PacketType.Disconnect);
          assert.equal(reasonCode, ReasonCode.AdministrativeAction);
          await client.closed();
        }
        await other.quiet();
        assert.equal(await loginCode(scene, 'u', 'p'), badLogin);
      });
  });

  it('answers an administrator before it disconnects it', async () => {
    await withAdministrator(async (_scene, admin) => {
      await admin.done({ command: 'setClientPassword', username: 'admin', password: 'another' });
      assert.equal((await admin.client.packet(PacketType.Disconnect)).reasonCode, ReasonCode.AdministrativeAction);
    });
  });

  it('outlives what is sent to it in malice', async () => {
    await withAdministrator(async (_scene, admin) => {
      const attacks: (string | Uint8Array)[] = [
        'nonsense',
        Buffer.from([0xff, 0xfe]),
        `{"commands": ${'['.repeat(50_000)}`,
        `{"commands": [${'{"command": "listRoles"},'.repeat(5000)}{"command": "x"}]}`,
        JSON.stringify({ commands: [{ command: 'createClient', username: 'x'.repeat(200_000) }] }).slice(0, 100_000),
        JSON.stringify({ commands: [{ command: 'createRole', rolename: '__proto__', acls: [{ topic: {} }] }] }),
      ];
      for (const payload of attacks) assert.ok((await admin.send(payload)).length >= 1);
      const [answer] = await admin.ask({ command: 'listRoles' });
      assert.deepEqual(answer!.data, { totalCount: 2, roles: ['__proto__', 'admin'] });
    });
  });

  it('comes before other sources and leaves to them whom it does not know', async () => {
    const users = [{ username: 'configured', password: 'c' }];
    const rules = [{ permit: 'allow' as const, filters: ['#'], who: { usernames: ['configured'] } }];
    await withAdministrator(
      async (scene, admin) => {
        await admin.done(...userWith('u', allow('publishClientSend', 'a')));
        const { client: configured } = await login(scene, 'configured', 'c');
        assert.equal(await configured.deliver('b', 'm', { qos: 1 }), ReasonCode.NoMatchingSubscribers);
        assert.equal(await configured.deliver(TOPIC, '{}', { qos: 1 }), ReasonCode.NotAuthorized);
        const { client } = await login(scene, 'u', 'p');
        assert.equal(await client.deliver('a', 'm', { qos: 1 }), ReasonCode.NoMatchingSubscribers);
        assert.equal(await client.deliver('b', 'm', { qos: 1 }), ReasonCode.NotAuthorized);
      },
      { users, authorization: { sources: [{ type: 'rules', rules }] } },
    );
  });

  it('opens $CONTROL to nobody by noMatch', async () => {
    const users = [{ username: 'configured', password: 'c' }];
    await withAdministrator(
      async (scene) => {
        const { client } = await login(scene, 'configured', 'c');
        assert.equal(await client.deliver('b', 'm', { qos: 1 }), ReasonCode.NoMatchingSubscribers);
        assert.equal(await client.deliver(TOPIC, '{}', { qos: 1 }), ReasonCode.NotAuthorized);
      },
      { users, authorization: { noMatch: 'allow' } },
    );
  });

  it('is a source whose name is taken, and lets its users in where a listener names it', async () => {
    const file = join(folder, 'named.json');
    await makeAdministratorFile(file, 'admin', 'admin password');
    const listeners = [
      { name: 'a', port: 0, allowAnonymous: false, authentication: ['dynamicSecurity'] },
      { name: 'b', port: 0, allowAnonymous: false, authentication: ['other'] },
    ];
    const authentication = [{ type: 'users', name: 'other' }] as const;
    for (const [first, expected] of [
      [listeners[0]!, ok],
      [listeners[1]!, badLogin],
    ] as const)
      await withBroker(
        {
          dynamicSecurity: { file },
          listeners: [first, listeners.find((listener) => listener !== first)!],
          authentication,
        },
        async (scene) => assert.equal(await loginCode(scene, 'admin', 'admin password'), expected, first.name),
      );
    const refused = (config: ConfigInput) => () => createBroker({ config });
    assert.throws(refused({ listeners: [listeners[0]!] }), /dynamicSecurity is the name of no source/);
    assert.throws(
      refused({ dynamicSecurity: { file }, authentication: [{ type: 'users', name: 'dynamicSecurity' }] }),
      /dynamicSecurity is the name of dynamic security itself/,
    );
    assert.throws(refused({ dynamicSecurity: { passwordFile: 'x' } }), /passwordFile.* is given without file/);
  });

  it('does not begin with a file that is damaged', async () => {
    const file = join(folder, 'damaged.json');
    writeFileSync(file, '{"clients": [');
    const broker = createBroker({ config: { listeners: [{ name: 'test', port: 0 }], dynamicSecurity: { file } } });
    await assert.rejects(broker.start(), /damaged\.json: is not valid JSON/);
    const problemsOf = async (path: string) =>
      (await checkFiles(resolveConfig({ dynamicSecurity: { file: path } }), undefined)).problems;
    assert.match((await problemsOf(file))[0]!.sentence, /damaged\.json: is not valid JSON/);
    assert.deepEqual(await problemsOf(join(folder, 'still-to-be-made.json')), []);
    assert.equal(existsSync(join(folder, 'still-to-be-made.json')), false);
    assert.equal(readFileSync(file, 'utf8'), '{"clients": [');
  });
});
