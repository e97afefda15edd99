/** Users, roles, groups and rules that change while clients are connected. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import type { ConfigInput } from '../../src/index.js';
import { hashPassword, ScramClient } from '../../src/policy/index.js';
import { PacketType, ReasonCode } from '../../src/protocol/index.js';
import { badLogin, login, notAuthorized, sourceOf, withBroker } from '../access/login.js';
import { Scene } from '../support/scene.js';

const user = (username: string, more: object = {}) => ({ username, password: 'x', ...more });
const rule = (...filters: string[]) => ({ permit: 'allow', filters }) as const;
const accepted = ReasonCode.NoMatchingSubscribers;
let hash = '';
before(async () => {
  hash = await hashPassword('secret');
});

/** A login service that allows everybody, or answers nobody. */
class Service {
  asked = 0;
  answers = true;
  private wake = (): void => {};
  readonly server = createServer((request, response) => {
    request.resume();
    this.asked++;
    if (this.answers) this.allow(response);
    this.wake();
  });

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/`;
  }

  /** Resolves once it was asked so many times. */
  async wasAsked(times: number): Promise<void> {
    while (this.asked < times)
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
  }

  private allow(response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"result":"allow"}');
  }
}

async function withService(work: (service: Service, folder: string) => Promise<void>): Promise<void> {
  const service = new Service();
  service.server.listen(0, '127.0.0.1');
  await once(service.server, 'listening');
  const folder = mkdtempSync(join(tmpdir(), 'dunlin-live-'));
  try {
    await work(service, folder);
  } finally {
    service.server.closeAllConnections();
    service.server.close();
    rmSync(folder, { recursive: true });
  }
}

describe('while the broker runs', () => {
  it('users come, go and get other passwords', () =>
    withBroker({ users: [user('ada'), user('bob'), user('eve'), user('kim')] }, async (scene) => {
      const names = ['ada', 'bob', 'eve', 'kim'];
      const [ada, bob, eve, kim] = await Promise.all(names.map((name) => login(scene, name, 'x')));
      await ada!.client.subscribe('t');
      await scene.broker.replaceAccess({
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
      const sources = (...filters: string[]) =>
        [{ type: 'rules', rules: [rule(...filters)] }, { type: 'roles' }] as const;
      const byRole = { roles: [{ name: 'reader', entries }], authorization: { sources: sources('c') } };
      const byRule = { roles: [{ name: 'reader' }], authorization: { sources: sources('a/#') } };
      for (const settings of [byRole, byRule, byRole]) await scene.broker.replaceAccess(settings);
      assert.deepEqual(await client.subscribe(['a/x', 'b/x']), [0, notAuthorized]);
      assert.equal(await client.deliver('a/x', '', { qos: 1 }), notAuthorized);
      assert.equal(await client.deliver('c', '', { qos: 1 }), accepted);
      for (const topicName of ['b/1', 'a/1']) scene.broker.publish(topicName, topicName);
      assert.equal((await client.message()).payload, 'a/1', 'the subscription to b/# has ended, that to a/# has not');
      await scene.broker.replaceAccess({ groups: [{ name: 'staff', roles: ['reader'] }] });
      await scene.broker.replaceAccess({ users: [user('ada', { groups: ['staff'] })] });
      assert.deepEqual(await client.subscribe(['a/y', 'b/y']), [0, notAuthorized]);
      await scene.broker.replaceAccess({ roles: [{ name: 'reader' }] });
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
      const wrong: [unknown, RegExp][] = [
        [
          { users, authorization: { sources: [{ type: 'rules', rules: [rule('b/#/c')] }] } },
          /sources\[0\]\.rules\[0\]\.filters\[0\]/,
        ],
        [{ users: [...users, ...users] }, /users\[1\]\.username: is already the name of users\[0\]/],
        [{ users, groups: [{ name: 'g', roles: ['none'] }] }, /groups\[0\]\.roles\[0\]: none is the name of no role/],
        [
          { users: [user('bob', { listeners: ['none'] })] },
          /users\[0\]\.listeners\[0\]: none is the name of no listener/,
        ],
        [{ users, authentication: [{ type: 'passwordFile', path: '/nowhere/file' }] }, /^users: count for nothing/],
        [{ authentication: [{ type: 'passwordFile', path: '/nowhere/file' }] }, /^\/nowhere\/file: /],
        [
          { users, authorization: { sources: [{ type: 'mosquittoAclFile', path: '/nowhere/acl' }] } },
          /^\/nowhere\/acl: .*(there|exist)/,
        ],
        [
          { users, listeners: [{ name: 'test', authorization: ['other'] }] },
          /^listeners\[0\]\.authorization\[0\]: other is the name of no source in authorization/,
        ],
        [{ users, listeners: [{ name: 'none' }] }, /^listeners\[0\]\.name: no listener is called "none"/],
        [{ users, listeners: [{ name: 'test', port: 1 }] }, /^listeners\.test\.port: needs a restart/],
        [
          { users, listeners: [{ name: 'test', connectionsMax: 1 }] },
          /^listeners\.test\.connectionsMax: is not for replaceAccess, but for protect/,
        ],
        [{ users, listeners: 5 }, /^listeners: found number 5/],
        [{ users, authorization: 5 }, /^authorization: found number 5/],
        [{ users, authorization: { nomatch: 'allow' } }, /^authorization\.nomatch: .*did you mean noMatch/],
        [{ users, limits: { queueQos0: true } }, /^limits\.queueQos0: is not for replaceAccess, but for protect/],
        [{ users, user: [] }, /^user: unknown setting; did you mean users\?/],
        [null, /^replaceAccess takes a group of settings$/],
      ];
      for (const [settings, message] of wrong)
        await assert.rejects(scene.broker.replaceAccess(settings as never), { message });
      assert.equal(await client.deliver('a', '', { qos: 1 }), accepted);
      assert.equal(await client.deliver('b', '', { qos: 1 }), notAuthorized);
      assert.equal((await login(scene, 'bob', 'x')).reasonCode, ReasonCode.BadUserNameOrPassword);
      assert.equal((await login(scene, 'ada', 'x')).reasonCode, 0);
    });
  });

  it('sources come and go with the clients they let in; one that stays keeps what it knows', () =>
    withService(async (service, folder) => {
      const http = { type: 'http', url: service.url } as const;
      await withBroker({ users: [user('ada')], authentication: [{ type: 'users' }, http] }, async (scene) => {
        const { broker } = scene;
        const { client: ada } = await login(scene, 'ada', 'x');
        const { client: far } = await login(scene, 'far', 'any');
        const path = join(folder, 'passwords');
        writeFileSync(path, `own:${hash}\n`);
        const file = { type: 'passwordFile', path } as const;
        await broker.replaceAccess({ authentication: [file, { type: 'users' }, http] });
        const { client: own } = await login(scene, 'own', 'secret');
        assert.equal((await login(scene, 'far', 'any')).reasonCode, 0);
        assert.equal(sourceOf(broker, 'http').requests, 2, 'the service goes on as it was');
        await broker.replaceAccess({ authentication: [file, { type: 'users', name: 'staff' }] });
        for (const client of [far, ada]) await client.refused(ReasonCode.AdministrativeAction);
        assert.equal((await login(scene, 'far', 'any')).reasonCode, badLogin);
        assert.equal((await login(scene, 'ada', 'x')).reasonCode, 0);
        // Another file of the same source: who stands in it too stays.
        const other = join(folder, 'other');
        writeFileSync(other, `own:${hash}\n`);
        await broker.replaceAccess({ authentication: [{ ...file, path: other }] });
        await own.quiet();
        assert.equal((await login(scene, 'ada', 'x')).reasonCode, badLogin);
        writeFileSync(other, `new:${hash}\n`);
        broker.reloadAccessFiles();
        await own.refused(ReasonCode.AdministrativeAction);
        await broker.replaceAccess({ authentication: [] });
        assert.equal((await login(scene, 'ada', 'x')).reasonCode, 0, 'without sources the users count by themselves');
        assert.deepEqual(
          broker.status().access.authentication.map(({ name }) => name),
          ['users'],
        );
      });
    }));

  it('a login, a question and an exchange under way are answered by the sources of now', () =>
    withService(async (service) => {
      const http = { type: 'http', url: service.url } as const;
      service.answers = false;
      await withBroker({ authentication: [http] }, async (scene) => {
        const { broker } = scene;
        const waiting = [login(scene, 'ada', 'x'), login(scene, 'far', 'any')];
        await service.wasAsked(2);
        await broker.replaceAccess({ users: [user('ada')], authentication: [{ type: 'users' }] });
        const [ada, far] = await Promise.all(waiting);
        assert.deepEqual([ada!.reasonCode, far!.reasonCode], [0, badLogin]);

        await broker.replaceAccess({ authorization: { sources: [{ ...http, name: 'rights' }] } });
        const granted = ada!.client.subscribe(['a/#']);
        await service.wasAsked(3);
        await broker.replaceAccess({ authorization: { sources: [{ type: 'rules', rules: [rule('b/#')] }] } });
        assert.deepEqual(await granted, [notAuthorized]);

        const exchange = await scene.open(5);
        const scram = new ScramClient('SCRAM-SHA-256', 'ada', 'x');
        exchange.sendConnect({
          clientId: 'scram',
          properties: { authenticationMethod: 'SCRAM-SHA-256', authenticationData: scram.first() },
        });
        const { properties = {} } = await exchange.packet(PacketType.Auth);
        await broker.replaceAccess({ authentication: [{ type: 'ip', deny: ['10.0.0.0/8'] }, { type: 'users' }] });
        const authenticationData = await scram.final(Buffer.from(properties.authenticationData!));
        exchange.send({
          type: PacketType.Auth,
          reasonCode: ReasonCode.ContinueAuthentication,
          properties: { authenticationMethod: 'SCRAM-SHA-256', authenticationData },
        });
        assert.equal((await exchange.packet(PacketType.Connack)).reasonCode, ReasonCode.ServerBusy);
      });
    }));

  it('rights begin, change and end with their sources', () =>
    withBroker({ users: [user('ada')] }, async (scene) => {
      const { broker } = scene;
      const { client } = await login(scene, 'ada', 'x');
      assert.deepEqual(await client.subscribe(['a', 'b']), [0, 0]);
      await broker.replaceAccess({ authorization: { sources: [{ type: 'rules', rules: [rule('a')] }] } });
      for (const topicName of ['b', 'a']) broker.publish(topicName, topicName);
      assert.equal((await client.message()).payload, 'a', 'the subscription to b has ended');
      assert.equal(await client.deliver('b', '', { qos: 1 }), notAuthorized);
      await broker.replaceAccess({ authorization: { noMatch: 'allow' } });
      assert.equal(await client.deliver('b', '', { qos: 1 }), accepted);
      const denied = { permit: 'deny', action: 'receive', filters: ['a'] } as const;
      await broker.replaceAccess({ authorization: { sources: [{ type: 'rules', rules: [denied] }] } });
      assert.deepEqual(await client.subscribe(['b']), [0]);
      for (const topicName of ['a', 'b']) broker.publish(topicName, topicName);
      assert.equal((await client.message()).payload, 'b', 'what may not be received is not delivered');
      const entry = { type: 'unsubscribeLiteral', filter: 'b', permit: 'deny' } as const;
      await broker.replaceAccess({
        authorization: { sources: [{ type: 'roles', subscribe: 'allow', publishClientReceive: 'allow' }] },
        roles: [{ name: 'stay', entries: [entry] }],
        users: [user('ada', { roles: ['stay'] })],
      });
      assert.deepEqual(await client.unsubscribe('b'), [notAuthorized]);
      await broker.replaceAccess({ authorization: { denyAction: 'disconnect', noMatch: 'deny' } });
      client.publish('x', '', { qos: 0 });
      await client.refused(notAuthorized);
      await broker.replaceAccess({ authorization: { sources: [] } });
      const { client: free } = await login(scene, 'ada', 'x');
      assert.deepEqual(await free.subscribe(['#']), [0]);
      free.publish('x', 'free');
      assert.equal((await free.message()).payload, 'free');
    }));

  it('listeners take other sources, and clients of those they left are sent away', () => {
    const listeners = ['one', 'two'].map((name) => ({ name, port: 0, allowAnonymous: false }));
    const authentication = [{ type: 'users' }, { type: 'clientId', name: 'devices', admit: ['dev1'] }] as const;
    return withBroker({ listeners, users: [user('ada')], authentication }, async (scene) => {
      const { client: device } = await login(scene, undefined, undefined, { clientId: 'dev1' });
      const { client: ada } = await login(scene, 'ada', 'x');
      await scene.broker.replaceAccess({ listeners: [{ name: 'one', authentication: ['users'] }] });
      await device.refused(ReasonCode.AdministrativeAction);
      assert.equal((await login(scene, undefined, undefined, { clientId: 'dev1' })).reasonCode, notAuthorized);
      await ada.quiet();
      // Both changes are made, though neither knows of the other.
      await Promise.all([
        scene.broker.replaceAccess({ listeners: [{ name: 'one', authentication: [] }] }),
        scene.broker.replaceAccess({ authorization: { sources: [{ type: 'rules', rules: [rule('a')] }] } }),
      ]);
      const { client } = await login(scene, undefined, undefined, { clientId: 'dev1' });
      assert.deepEqual(await client.subscribe(['a', 'b']), [0, notAuthorized]);
    });
  });

  it('a listener that lets in nobody unknown any more sends those away who came so', async () => {
    const listeners = [{ name: 'test', port: 0, allowAnonymous: true }];
    await withBroker({ listeners }, async ({ broker, connect }) => {
      const [nobody, named] = [await connect(), await connect({ username: 'bob', password: 'x' })];
      await broker.replaceAccess({ users: [user('ada')] });
      await named.refused(ReasonCode.AdministrativeAction);
      const ada = await connect({ username: 'ada', password: 'x' });
      await nobody.quiet();
      broker.protect({ listeners: [{ name: 'test', allowAnonymous: false }] });
      await nobody.refused(ReasonCode.AdministrativeAction);
      await ada.quiet();
    });
    // Whom the program has let in is not for the listener to judge.
    const scene = new Scene(5, { config: { listeners }, policy: { authenticate: () => ({ reasonCode: 0 }) } });
    await scene.start();
    try {
      const client = await scene.connect();
      scene.broker.protect({ listeners: [{ name: 'test', allowAnonymous: false }] });
      await new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)));
      await client.quiet();
    } finally {
      await scene.stop();
    }
  });

  it('before the start and after the stop it is taken as well, and a broker that stops meanwhile says so', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'dunlin-live-'));
    const path = join(folder, 'passwords');
    writeFileSync(path, `own:${hash}\n`);
    const scene = new Scene(5, {
      config: { listeners: [{ name: 'test', port: 0, allowAnonymous: false }], users: [user('ada')] },
    });
    try {
      await scene.broker.replaceAccess({ authentication: [{ type: 'passwordFile', path }] });
      await scene.start();
      assert.equal((await login(scene, 'own', 'secret')).reasonCode, 0);
      const slow = join(folder, 'slow');
      execFileSync('mkfifo', [slow]);
      const replaced = scene.broker.replaceAccess({ authentication: [{ type: 'passwordFile', path: slow }] });
      const expected = assert.rejects(replaced, { code: 'BROKER_STOPPED' });
      await scene.stop();
      await writeFile(slow, ''); // a writer waits until there is a reader
      await expected;
      await scene.broker.replaceAccess({ authentication: [{ type: 'users' }] });
      await scene.start();
      assert.equal((await login(scene, 'own', 'secret')).reasonCode, badLogin);
      assert.equal((await login(scene, 'ada', 'x')).reasonCode, 0);
    } finally {
      await scene.stop();
      rmSync(folder, { recursive: true });
    }
  });
});
