/** Tokens: shared secrets, key files, a server of keys (JWKS) and of OpenID Connect discovery. */
import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { exportJWK, type JWTPayload, SignJWT } from 'jose';
import { createLogger } from '../../src/broker/index.js';
import type { Client } from '../../src/policy/index.js';
import { PacketType, ReasonCode } from '../../src/protocol/index.js';
import { freePort } from '../support/free-port.js';
import { Scene } from '../support/scene.js';
import type { WireClient } from '../support/wire-client.js';
import { badLogin, login, loginCode, notAuthorized, ok, serverUnavailable, sourceOf, withBroker } from './login.js';

const secret = 'a secret of sixteen bytes and more';
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const other = generateKeyPairSync('rsa', { modulusLength: 2048 });

const soon = () => Math.floor(Date.now() / 1000) + 3600;
/** A token that expires in an hour unless the claims say otherwise. */
function token(
  claims: JWTPayload,
  key: KeyObject | Uint8Array = Buffer.from(secret),
  alg = 'HS256',
  kid?: string,
): Promise<string> {
  return new SignJWT({ exp: soon(), ...claims })
    .setProtectedHeader({ alg, ...(kid === undefined ? {} : { kid }) })
    .sign(key);
}
const unsigned = (claims: object) =>
  `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.`;

describe('a token', () => {
  let server: Server;
  let base: string;
  let keys: object[] = [];
  let fetched = 0;
  let issuer: string;
  let down = false;
  const folder = mkdtempSync(join(tmpdir(), 'dunlin-jwt-'));
  const keyFile = join(folder, 'public.pem');

  before(async () => {
    writeFileSync(keyFile, rsa.publicKey.export({ type: 'spki', format: 'pem' }));
    server = createServer((request, response) => {
      if (down) return void response.writeHead(500).end();
      if (request.url === '/.well-known/openid-configuration')
        return void response.end(JSON.stringify({ issuer, jwks_uri: `${base}/keys` }));
      fetched++;
      response.end(JSON.stringify({ keys }));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    issuer = base;
  });
  after(() => {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('signed with the secret lets its subject in', async () => {
    await withBroker({ authentication: [{ type: 'jwt', secret }] }, async (scene) => {
      const past = Math.floor(Date.now() / 1000) - 60;
      for (const [password, expected, what] of [
        [await token({ sub: 'ada' }), ok, 'right'],
        [await token({ sub: 'ada' }, Buffer.from('another secret of thirty-two bytes')), badLogin, 'another secret'],
        [await token({ sub: 'ada', exp: past }), badLogin, 'expired'],
        [await token({ sub: 'ada', nbf: soon() }), badLogin, 'not yet'],
        [await token({}), badLogin, 'nobody'],
        [await token({ sub: 'ada', acl: { pub: ['a/#/b'] } }), badLogin, 'rules that cannot be used'],
        [unsigned({ sub: 'ada', exp: soon() }), badLogin, 'unsigned'],
        [await token({ sub: 'ada' }, rsa.privateKey, 'RS256'), badLogin, 'another kind'],
        [(await token({ sub: 'ada' })).slice(0, -2), badLogin, 'cut'],
        ['no token', badLogin, 'no token'],
        ['', badLogin, 'empty'],
      ] as const)
        assert.equal(await loginCode(scene, 'someone', password), expected, what);
      const { client } = await login(scene, 'someone', await token({ sub: 'ada' }));
      assert.equal(scene.broker.clients()[0]!.username, 'ada', 'the token says who it is');
      client.stream.destroy();
    });
    const noExpiry = await new SignJWT({ sub: 'ada' }).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(secret));
    await withBroker({ authentication: [{ type: 'jwt', secret }] }, async (scene) => {
      assert.equal(await loginCode(scene, undefined, noExpiry), badLogin);
    });
    await withBroker({ authentication: [{ type: 'jwt', secret, requireExpiry: false }] }, async (scene) => {
      assert.equal(await loginCode(scene, undefined, noExpiry), ok);
    });
  });

  it('has the issuer, the audience and the claims that are asked for', async () => {
    const source = {
      type: 'jwt',
      secret,
      issuer: 'me',
      audience: ['mqtt', 'broker'],
      claims: { 'realm.name': 'plant', user: '%u', tags: 'x' },
      clientIdClaim: 'cid',
    } as const;
    const right = {
      iss: 'me',
      aud: 'mqtt',
      sub: 'ada',
      realm: { name: 'plant' },
      user: 'ada',
      tags: ['x', 'y'],
      cid: 'dev1',
    };
    await withBroker({ authentication: [source] }, async (scene) => {
      for (const [claims, expected] of [
        [{}, ok],
        [{ aud: ['other', 'broker'] }, ok],
        [{ iss: 'you' }, badLogin],
        [{ aud: 'other' }, badLogin],
        [{ realm: { name: 'office' } }, badLogin],
        [{ realm: undefined }, badLogin],
        [{ user: 'bob' }, badLogin],
        [{ tags: ['y'] }, badLogin],
        [{ cid: 'dev2' }, badLogin],
      ] as const)
        assert.equal(
          await loginCode(scene, 'ada', await token({ ...right, ...claims } as JWTPayload), { clientId: 'dev1' }),
          expected,
          JSON.stringify(claims),
        );
    });
  });

  it('signed with a private key is checked with the public key of a file, and never with that key as a secret', async () => {
    await withBroker({ authentication: [{ type: 'jwt', publicKeyFiles: [keyFile] }] }, async (scene) => {
      const pem = rsa.publicKey.export({ type: 'spki', format: 'pem' });
      assert.equal(await loginCode(scene, 'a', await token({ sub: 'ada' }, rsa.privateKey, 'RS256')), ok);
      assert.equal(await loginCode(scene, 'a', await token({ sub: 'ada' }, rsa.privateKey, 'PS512')), ok);
      assert.equal(await loginCode(scene, 'a', await token({ sub: 'ada' }, other.privateKey, 'RS256')), badLogin);
      assert.equal(await loginCode(scene, 'a', await token({ sub: 'ada' }, Buffer.from(pem), 'HS256')), badLogin);
    });
    const only = { type: 'jwt', publicKeyFiles: [keyFile], algorithms: ['RS256'] } as const;
    const missing = { type: 'jwt', publicKeyFiles: [join(folder, 'none.pem')] } as const;
    await assert.rejects(
      withBroker({ authentication: [missing] }, async () => {}),
      /none\.pem: no public key can be read/,
    );
    await withBroker({ authentication: [only] }, async (scene) => {
      assert.equal(await loginCode(scene, 'a', await token({ sub: 'ada' }, rsa.privateKey, 'PS512')), badLogin);
    });
  });

  it('is checked with the key that a file has now, once the files are read again', async () => {
    const file = join(folder, 'changing.pem');
    const write = ({ publicKey }: typeof rsa) => writeFileSync(file, publicKey.export({ type: 'spki', format: 'pem' }));
    write(rsa);
    await withBroker({ authentication: [{ type: 'jwt', publicKeyFiles: [file] }] }, async (scene) => {
      const [former, next] = [
        await token({ sub: 'a' }, rsa.privateKey, 'RS256'),
        await token({ sub: 'a' }, other.privateKey, 'RS256'),
      ];
      write(other);
      scene.broker.reloadAccessFiles();
      assert.deepEqual([await loginCode(scene, 'a', former), await loginCode(scene, 'a', next)], [badLogin, ok]);
      writeFileSync(file, 'no key');
      scene.broker.reloadAccessFiles();
      assert.equal(await loginCode(scene, 'a', next), ok, 'what was read before stays');
    });
  });

  it('is checked with keys that are fetched, and fetched again for a key that is new', async () => {
    const jwk = async (key: KeyObject, kid: string) => ({ ...(await exportJWK(key)), kid, use: 'sig' });
    keys = [await jwk(rsa.publicKey, 'first'), { kty: 'oct', k: 'YWJj', kid: 'secret' }];
    fetched = 0;
    const { JwtSource } = await import('../../src/policy/authentication/jwt.js');
    const { resolveConfig } = await import('../../src/config/index.js');
    const { silentLogger } = await import('../../src/base/index.js');
    const [options] = resolveConfig({ authentication: [{ type: 'jwt', jwksUrl: `${base}/keys` }] }).authentication;
    const clock = { nowMs: Date.now() };
    const source = new JwtSource(options as never, silentLogger, () => clock.nowMs);
    const ask = async (password: string) => {
      const decision = await source.authenticate({
        clientId: 'c',
        username: 'x',
        password: Buffer.from(password),
        protocolVersion: 5,
        listener: 'l',
        address: '127.0.0.1',
        allowAnonymous: false,
      });
      return decision.outcome === 'deny' ? decision.reasonCode : decision.outcome === 'allow' ? ok : -1;
    };
    try {
      const first = await token({ sub: 'ada' }, rsa.privateKey, 'RS256', 'first');
      const second = await token({ sub: 'ada' }, ec.privateKey, 'ES256', 'second');
      for (let round = 0; round < 3; round++) assert.equal(await ask(first), ok);
      assert.equal(fetched, 1);
      assert.equal(await ask(second), badLogin);
      assert.equal(await ask(await token({ sub: 'ada' }, Buffer.from('abc'), 'HS256', 'secret')), badLogin);
      assert.equal(fetched, 1, 'an unknown key is not looked for at once');
      keys = [await jwk(ec.publicKey, 'second')];
      clock.nowMs += 11_000;
      assert.equal(await ask(second), ok, 'the keys have been changed');
      assert.equal(fetched, 2);
      clock.nowMs += 11_000;
      assert.equal(await ask(first), badLogin);
      down = true;
      clock.nowMs += 301_000;
      assert.equal(await ask(second), ok, 'while no new keys can be had the old ones count for a while');
      clock.nowMs += 301_000;
      assert.equal(await ask(second), serverUnavailable, 'but not for ever');
      assert.equal(source.status().state, 'failing');
      down = false;
      clock.nowMs += 60_000;
      assert.equal(await ask(second), ok);
    } finally {
      down = false;
      await source.close();
    }
  });

  it('comes from an issuer that OpenID Connect discovery tells of', async () => {
    keys = [{ ...(await exportJWK(rsa.publicKey)), kid: 'k' }];
    await withBroker({ authentication: [{ type: 'jwt', oidcIssuer: base }] }, async (scene) => {
      assert.equal(
        await loginCode(scene, 'a', await token({ sub: 'ada', iss: base }, rsa.privateKey, 'RS256', 'k')),
        ok,
      );
      assert.equal(
        await loginCode(scene, 'a', await token({ sub: 'ada', iss: 'me' }, rsa.privateKey, 'RS256', 'k')),
        badLogin,
      );
    });
    issuer = 'https://other.example';
    await withBroker({ authentication: [{ type: 'jwt', oidcIssuer: base }] }, async (scene) => {
      assert.equal(
        await loginCode(scene, 'a', await token({ sub: 'ada', iss: base }, rsa.privateKey, 'RS256', 'k')),
        serverUnavailable,
      );
      assert.match(sourceOf(scene.broker, 'jwt').lastError!, /another issuer/);
    });
  });

  it('says what its client may do, by rules, roles and groups', async () => {
    const config = {
      authentication: [{ type: 'jwt', secret, superuserClaim: 'admin' }],
      authorization: { sources: [{ type: 'identity' }, { type: 'roles' }] },
      roles: [{ name: 'writer', entries: [{ type: 'publishClientSend', filter: 'role/#', permit: 'allow' }] }],
      groups: [{ name: 'staff', roles: ['writer'] }],
    } as const;
    await withBroker(config, async (scene) => {
      const connect = async (claims: JWTPayload) =>
        (await login(scene, undefined, await token({ sub: 'ada', ...claims }))).client;
      const acl = await connect({ acl: [{ permission: 'allow', action: 'publish', topic: 'own/${username}/#' }] });
      assert.equal(await acl.deliver('own/ada/x', 'm', { qos: 1 }), 0x10);
      assert.equal(await acl.deliver('own/bob/x', 'm', { qos: 1 }), notAuthorized);
      const grouped = await connect({ groups: ['staff'] });
      assert.equal(await grouped.deliver('role/x', 'm', { qos: 1 }), 0x10);
      assert.equal(await grouped.deliver('own/ada/x', 'm', { qos: 1 }), notAuthorized);
      const root = await connect({ admin: true });
      assert.equal(await root.deliver('anything', 'm', { qos: 1 }), 0x10);
    });
    const within = { type: 'jwt', secret, rolesClaim: 'realm.roles', usernameClaim: 'realm.name' } as const;
    await withBroker({ ...config, authentication: [within] }, async (scene) => {
      const { client } = await login(scene, undefined, await token({ realm: { name: 'eve', roles: ['writer'] } }));
      assert.equal(await client.deliver('role/x', 'm', { qos: 1 }), 0x10, 'a dot leads into an object');
      assert.equal(scene.broker.clients()[0]!.username, 'eve');
    });
  });

  it('ends the connection when it expires, and may be renewed by AUTH', async () => {
    const clockToleranceSeconds = 1;
    await withBroker({ authentication: [{ type: 'jwt', secret, clockToleranceSeconds }] }, async (scene) => {
      const inSeconds = (seconds: number) => token({ sub: 'ada', exp: Math.floor(Date.now() / 1000) + seconds });
      const begin = async (data: string) => {
        const client = await scene.open(5);
        client.sendConnect({
          clientId: data.slice(-20).replace(/\W/g, 'x'),
          properties: { authenticationMethod: 'JWT', authenticationData: Buffer.from(data) },
        });
        const { reasonCode } = await client.packet(PacketType.Connack);
        client.connected = reasonCode === ok;
        return client;
      };
      const connect = async (data: string) => {
        const client = await begin(data);
        assert.ok(client.connected);
        return client;
      };
      const renew = (client: WireClient, data: string) =>
        client.send({
          type: PacketType.Auth,
          reasonCode: ReasonCode.ReAuthenticate,
          properties: { authenticationMethod: 'JWT', authenticationData: Buffer.from(data) },
        });
      /** A machine may be so slow that a token has expired before it is shown: then with one that lives longer. */
      const inTime = async (attempt: (data: string) => Promise<WireClient | undefined>): Promise<WireClient> => {
        for (let seconds = 0; seconds < 60; seconds += 1 + seconds) {
          const client = await attempt(await inSeconds(seconds));
          if (client !== undefined) return client;
        }
        assert.fail('every token expired before it was shown');
      };

      const short = await inTime(async (data) => {
        const client = await begin(data);
        return client.connected ? client : undefined;
      });
      await short.refused(ReasonCode.MaximumConnectTime);

      const renewed = await inTime(async (data) => {
        const exp = soon();
        const client = await connect(await token({ sub: 'ada', exp }));
        const { username, identity } = scene.broker.clients().at(-1)! as Client;
        assert.equal(username, 'ada');
        assert.equal(identity!.expiresAtMs, (exp + clockToleranceSeconds) * 1000, 'as long as it is accepted');
        renew(client, await inSeconds(7200));
        assert.equal((await client.packet(PacketType.Auth)).reasonCode, ReasonCode.Success);
        await client.quiet();
        renew(client, data);
        const { packet } = await client.next();
        return packet.type === PacketType.Auth ? client : undefined;
      });
      await renewed.refused(ReasonCode.MaximumConnectTime);

      const other = await connect(await inSeconds(3600));
      renew(other, await token({ sub: 'bob' }));
      await other.refused(ReasonCode.NotAuthorized);
    });
  });

  it('that replaces another by AUTH takes the rights away that it does not have', async () => {
    const config = {
      authentication: [{ type: 'jwt', secret }],
      authorization: { sources: [{ type: 'identity' }] },
    } as const;
    await withBroker(config, async (scene) => {
      const data = async (acl: object) => ({
        authenticationMethod: 'JWT',
        authenticationData: Buffer.from(await token({ sub: 'ada', acl })),
      });
      const client = await scene.open(5);
      client.sendConnect({ clientId: 'c', properties: await data({ all: ['a', 'b'] }) });
      assert.equal((await client.packet(PacketType.Connack)).reasonCode, ok);
      client.connected = true;
      assert.deepEqual(await client.subscribe(['a', 'b']), [0, 0]);
      client.send({
        type: PacketType.Auth,
        reasonCode: ReasonCode.ReAuthenticate,
        properties: await data({ all: ['b'] }),
      });
      assert.equal((await client.packet(PacketType.Auth)).reasonCode, ReasonCode.Success);
      const other = await login(scene, undefined, await token({ sub: 'bob', acl: { all: ['#'] } }));
      assert.equal(await other.client.deliver('a', 'm', { qos: 1 }), ReasonCode.NoMatchingSubscribers);
      await other.client.deliver('b', 'm', { qos: 1 });
      assert.equal((await client.message()).topicName, 'b');
    });
  });

  it('in AUTH passes by no source that refuses its client', async () => {
    const connect = (refusing: object, expected: number) =>
      withBroker({ authentication: [refusing as never, { type: 'jwt', secret }] }, async (scene) => {
        const properties = {
          authenticationMethod: 'JWT',
          authenticationData: Buffer.from(await token({ sub: 'ada' })),
        };
        assert.equal(await loginCode(scene, 'eve', undefined, { clientId: 'c', properties }), expected);
        const { allowed, denied, unavailable } = scene.broker.status().access.logins;
        assert.equal([allowed, denied, unavailable][expected === ok ? 0 : expected === notAuthorized ? 1 : 2], 1);
      });
    await connect({ type: 'ip', deny: ['127.0.0.0/8'] }, notAuthorized);
    await connect({ type: 'ip', require: ['10.0.0.0/8'] }, notAuthorized);
    await connect({ type: 'clientId', deny: ['c'] }, notAuthorized);
    await connect({ type: 'clientId', admit: ['c'], require: ['d'] }, ok);
    await connect({ type: 'http', url: `http://127.0.0.1:${await freePort()}/` }, serverUnavailable);
  });

  it('is in no line of the log, wherever it was', async () => {
    const lines: string[] = [];
    const logger = createLogger({
      level: 'debug',
      format: 'json',
      stream: { write: (line: string) => lines.push(line) },
    });
    for (const from of ['password', 'username'] as const) {
      const authentication = [{ type: 'jwt', secret, from, audience: ['another'] } as const];
      const scene = new Scene(5, {
        config: { listeners: [{ port: 0, allowAnonymous: false }], authentication },
        logger,
      });
      await scene.start();
      const bearer = await token({ sub: 'ada' });
      assert.equal(await loginCode(scene, from === 'username' ? bearer : 'ada', bearer), badLogin);
      await scene.stop();
      assert.ok(lines.some((line) => line.includes('connection.refused')));
      assert.ok(!lines.join('').includes(bearer.split('.')[2]!), from);
    }
  });

  it('comes as OAUTHBEARER too, or as the user name', async () => {
    await withBroker({ authentication: [{ type: 'jwt', secret }] }, async (scene) => {
      const connect = async (data: string) => {
        const client = await scene.open(5);
        client.sendConnect({
          properties: { authenticationMethod: 'OAUTHBEARER', authenticationData: Buffer.from(data) },
        });
        return (await client.packet(PacketType.Connack)).reasonCode;
      };
      assert.equal(await connect(`n,,\u0001auth=Bearer ${await token({ sub: 'ada' })}\u0001\u0001`), ok);
      assert.equal(await connect(await token({ sub: 'ada' })), notAuthorized);
      assert.equal(await connect(''), notAuthorized);
    });
    await withBroker({ authentication: [{ type: 'jwt', secret, from: 'username' }] }, async (scene) => {
      assert.equal(await loginCode(scene, await token({ sub: 'ada' })), ok);
      assert.equal(await loginCode(scene, 'ada', await token({ sub: 'ada' })), badLogin);
    });
  });
});
