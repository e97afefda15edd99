/** Users and groups in a real slapd. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import type { Scene } from '../support/scene.js';
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
import { selfSigned } from './self-signed.js';
import { startSlapd } from './servers.js';

const ldif = `dn: dc=example
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,dc=example
objectClass: organizationalUnit
ou: people

dn: uid=ada,ou=people,dc=example
objectClass: inetOrgPerson
uid: ada
cn: Ada
sn: L
userPassword: one

dn: uid=we\\2C ird,ou=people,dc=example
objectClass: inetOrgPerson
uid: we, ird
cn: Weird
sn: W
userPassword: two

dn: uid=twin,ou=people,dc=example
objectClass: inetOrgPerson
uid: twin
cn: Twin
sn: T
userPassword: one

dn: cn=Other Twin,ou=people,dc=example
objectClass: inetOrgPerson
uid: twin
cn: Other Twin
sn: T
userPassword: one

dn: cn=Third Twin,ou=people,dc=example
objectClass: inetOrgPerson
uid: twin
uid: nopassword
cn: Third Twin
sn: T

dn: ou=secret,dc=example
objectClass: organizationalUnit
ou: secret

dn: uid=Eve,ou=secret,dc=example
objectClass: inetOrgPerson
uid: Eve
cn: Eve
sn: E
userPassword: one

dn: ou=groups,dc=example
objectClass: organizationalUnit
ou: groups

dn: cn=operators,ou=groups,dc=example
objectClass: groupOfNames
cn: operators
member: uid=ada,ou=people,dc=example
`;

const tls = await selfSigned();
const server = await startSlapd('s3cret', ldif, tls);
const folder = mkdtempSync(join(tmpdir(), 'dunlin-ldap-'));
const caFile = join(folder, 'ca.pem');
writeFileSync(caFile, tls.certificate);

/** The name that a client has once it is in. */
async function nameOf(scene: Scene, username: string, password: string): Promise<string | undefined> {
  const { client } = await login(scene, username, password, { clientId: 'named' });
  const found = scene.broker.clients().find(({ clientId }) => clientId === 'named')?.username;
  client.stream.destroy();
  return found;
}

describe('LDAP', { skip: server === undefined }, () => {
  const plain = `ldap://127.0.0.1:${server?.port}`;
  const searching = {
    type: 'ldap',
    url: plain,
    bindDn: 'cn=manager,dc=example',
    bindPassword: 's3cret',
    searchBase: 'ou=people,dc=example',
    groupBase: 'ou=groups,dc=example',
  } as const;
  after(async () => {
    rmSync(folder, { recursive: true, force: true });
    await server?.stop();
  });

  it('binds as the user whose name is made', async () => {
    const source = { type: 'ldap', url: plain, userDn: 'uid=${username},ou=people,dc=example' } as const;
    await withBroker({ authentication: [source] }, async (scene) => {
      await tryLogins(scene, [
        ['ada', 'one', ok],
        ['ada', 'two', badLogin],
        ['ada', '', badLogin],
        ['ada', undefined, badLogin],
        ['nobody', 'one', badLogin],
        ['we, ird', 'two', ok],
        ['ada,ou=people', 'one', badLogin],
        ['*', 'one', badLogin],
      ]);
      for (const username of ['ada', 'ADA', ' ada', 'Ada  '])
        assert.equal(await nameOf(scene, username, 'one'), 'ada', 'as the directory has it');
      assert.equal(await nameOf(scene, 'WE,  IRD', 'two'), 'we, ird');
      assert.equal(await loginCode(scene, undefined), notAuthorized);
    });
  });

  it('takes a name in one spelling only where the directory does not let the user read it, but the broker perhaps', async () => {
    const userDn = 'uid=${username},ou=secret,dc=example';
    await withBroker({ authentication: [{ type: 'ldap', url: plain, userDn }] }, async (scene) => {
      await tryLogins(scene, [
        ['eve', 'one', ok],
        ['EVE', 'one', notAuthorized],
        ['eve ', 'one', notAuthorized],
        ['EVE', 'two', badLogin],
      ]);
      assert.equal(await nameOf(scene, 'eve', 'one'), 'eve');
    });
    const { bindDn, bindPassword } = searching;
    await withBroker(
      { authentication: [{ type: 'ldap', url: plain, userDn, bindDn, bindPassword }] },
      async (scene) => {
        for (const username of ['eve', 'EVE']) assert.equal(await nameOf(scene, username, 'one'), 'Eve');
      },
    );
  });

  it('searches for the user, then binds, and takes the groups along', async () => {
    const authorization = {
      sources: [
        {
          type: 'rules',
          rules: [{ permit: 'allow', action: 'publish', filters: ['plant/#'], who: { groups: ['operators'] } }],
        },
      ],
    } as const;
    await withBroker({ authentication: [searching], authorization }, async (scene) => {
      await tryLogins(scene, [
        ['ada', 'one', ok],
        ['ada', 'two', badLogin],
        ['ada', 's3cret', badLogin],
        ['nobody', 'one', badLogin],
        ['we, ird', 'two', ok],
        ['a*', 'one', badLogin],
        ['ada)(uid=*', 'one', badLogin],
        ['twin', 'one', badLogin],
        ['nopassword', 'one', badLogin],
        ['ada', 'one', ok],
        ['ADA', 'one', ok],
        ['ada ', 'one', ok],
      ]);
      for (const username of ['ADA', 'ada '])
        assert.equal(await nameOf(scene, username, 'one'), 'ada', 'as the directory has it');
      const ada = await login(scene, 'ada', 'one');
      assert.equal(await ada.client.deliver('plant/1', 'm', { qos: 1 }), 0x10);
      const weird = await login(scene, 'we, ird', 'two');
      assert.equal(await weird.client.deliver('plant/1', 'm', { qos: 1 }), notAuthorized);
      assert.equal(sourceOf(scene.broker, 'ldap').state, 'connected');
    });
  });

  it('speaks TLS, from the beginning or after a while, with a server it can trust', async () => {
    const secure = `ldaps://127.0.0.1:${server!.securePort}`;
    for (const [settings, expected] of [
      [{ url: secure, caFile }, ok],
      [{ url: secure }, serverUnavailable],
      [{ url: plain, startTls: true, caFile }, ok],
      [{ url: plain, startTls: true }, serverUnavailable],
    ] as const)
      await withBroker({ authentication: [{ ...searching, ...settings }] }, async (scene) => {
        assert.equal(await loginCode(scene, 'ada', 'one'), expected, JSON.stringify(settings));
      });
  });

  it('serves many logins at once over few connections', async () => {
    await withBroker({ authentication: [{ ...searching, requestsMax: 4, cacheSeconds: 0 }] }, async (scene) => {
      const codes = await Promise.all(
        Array.from({ length: 60 }, (_, index) => loginCode(scene, 'ada', index % 2 === 0 ? 'one' : 'two')),
      );
      for (const [index, code] of codes.entries()) assert.equal(code, index % 2 === 0 ? ok : badLogin);
    });
  });

  it('refuses everybody while it is away or does not know the broker', async () => {
    await withBroker({ authentication: [{ ...searching, bindPassword: 'wrong' }] }, async (scene) => {
      assert.equal(await loginCode(scene, 'ada', 'one'), serverUnavailable);
      assert.match(sourceOf(scene.broker, 'ldap').lastError!, /bindDn and bindPassword/);
    });
    await withBroker({ authentication: [{ ...searching, cacheSeconds: 0 }] }, async (scene) => {
      assert.equal(await loginCode(scene, 'ada', 'one'), ok);
      await server!.kill();
      assert.equal(await loginCode(scene, 'ada', 'one'), serverUnavailable);
      assert.equal(sourceOf(scene.broker, 'ldap').state, 'failing');
      await server!.start();
      const deadline = Date.now() + 30_000;
      while ((await loginCode(scene, 'ada', 'one')) !== ok && Date.now() < deadline)
        await new Promise((resolve) => setTimeout(resolve, 100));
      assert.equal(sourceOf(scene.broker, 'ldap').state, 'connected');
    });
  });
});

describe('A directory that does not go over to TLS', () => {
  // LDAPMessage with the extended response: resultCode, no names
  const response = (messageId: number, resultCode: number) =>
    Buffer.from([0x30, 12, 2, 1, messageId, 0x78, 7, 10, 1, resultCode, 4, 0, 4, 0]);

  for (const [what, resultCode] of [
    ['refuses to', 2],
    ['falls silent over it', 0],
  ] as const)
    it(`and ${what} is left`, async () => {
      const open = new Set<Socket>();
      const directory = createServer((socket) => {
        open.add(socket);
        socket.once('data', (request) => socket.write(response(request[4]!, resultCode)));
        socket.on('error', () => {}).on('close', () => open.delete(socket));
      }).listen(0, '127.0.0.1');
      await once(directory, 'listening');
      const { port } = directory.address() as AddressInfo;
      const source = {
        type: 'ldap',
        url: `ldap://127.0.0.1:${port}`,
        startTls: true,
        searchBase: 'dc=example',
        timeoutMs: 1000,
      } as const;
      try {
        await withBroker({ authentication: [source] }, async (scene) => {
          const connected = once(directory, 'connection') as Promise<[Socket]>;
          assert.equal(await loginCode(scene, 'ada', 'one'), serverUnavailable);
          const [socket] = await connected;
          if (!socket.closed) await once(socket, 'close', { signal: AbortSignal.timeout(30_000) });
          assert.equal(open.size, 0);
        });
      } finally {
        for (const socket of open) socket.destroy();
        directory.close();
      }
    });
});
