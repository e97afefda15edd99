/** A login service and an authorization service over HTTP and HTTPS. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
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

interface Asked {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

const asked: Asked[] = [];
let answer: (asked: Asked) => { status: number; body?: unknown } | undefined;

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  let body = '';
  for await (const chunk of request) body += String(chunk);
  const question = { method: request.method!, url: request.url!, headers: request.headers, body };
  asked.push(question);
  const given = answer(question);
  if (given === undefined) return; // it never answers
  const text = given.body === undefined ? '' : JSON.stringify(given.body);
  response.writeHead(given.status, text === '' ? {} : { 'content-type': 'application/json' }).end(text);
}

const users: Record<string, { password: string; answer: object }> = {
  ada: { password: 'one', answer: { result: 'allow' } },
  root: { password: 'two', answer: { result: 'allow', is_superuser: true } },
  acl: {
    password: 'three',
    answer: {
      result: 'allow',
      username: 'renamed',
      client_attrs: { site: 'berlin' },
      acl: [
        { permission: 'deny', action: 'publish', topic: 'own/secret' },
        { permission: 'allow', action: 'all', topic: 'own/#' },
      ],
    },
  },
  odd: { password: 'four', answer: { result: 'allow', acl: 'nonsense' } },
  bad: { password: 'four', answer: { result: 'allow', acl: [{ permission: 'allow', topic: 'a/#/b' }] } },
  past: { password: 'four', answer: { result: 'allow', expire_at: 1000 } },
};
const loginService = ({ body }: Asked) => {
  const { username, password } = JSON.parse(body) as Record<string, string>;
  const user = users[username!];
  if (user === undefined) return { status: 200, body: { result: 'ignore' } };
  return { status: 200, body: user.password === password ? user.answer : { result: 'deny' } };
};

describe('a service over HTTP', () => {
  let server: Server;
  let url: string;
  const body = { username: '${username}', password: '${password}', client: '${clientid}', cn: '${cert_cn}' };
  before(async () => {
    server = createServer((request, response) => void serve(request, response)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });

  it('says who may come in, and keeps its answers for a while', async () => {
    answer = loginService;
    const headers = { authorization: 'Bearer broker', 'x-listener': '${listener}' };
    await withBroker({ authentication: [{ type: 'http', url: `${url}/login`, body, headers }] }, async (scene) => {
      await tryLogins(scene, [
        ['ada', 'one', ok],
        ['ada', 'two', badLogin],
        ['nobody', 'one', badLogin],
        ['"}', 'one', badLogin],
      ]);
      const { url: path, method, headers: got, body: sent } = asked[0]!;
      assert.deepEqual(
        [path, method, got.authorization, got['x-listener']],
        ['/login', 'POST', 'Bearer broker', 'test'],
      );
      assert.deepEqual(
        Object.keys(JSON.parse(sent) as object),
        ['username', 'password', 'client'],
        'what a client lacks is left out',
      );
      asked.length = 0;
      for (let round = 0; round < 3; round++) {
        assert.equal(await loginCode(scene, 'ada', 'one', { clientId: 'same' }), ok);
        assert.equal(await loginCode(scene, 'ada', 'two', { clientId: 'same' }), badLogin);
      }
      assert.equal(asked.length, 2, 'one question for each password');
      users.ada!.password = 'two';
      assert.equal(await loginCode(scene, 'ada', 'two', { clientId: 'other' }), ok);
      users.ada!.password = 'one';
    });
  });

  it('answers by status as well, in a GET or a form', async () => {
    const statuses: Record<string, number> = { yes: 204, empty: 200, no: 403, unknown: 404, broken: 500, moved: 302 };
    answer = ({ url: path }) => ({ status: statuses[path.split(/[/?]/)[2]!] ?? 401 });
    const source = { type: 'http', method: 'GET', url: `${url}/user/\${username}?p=\${password}` } as const;
    for (const [username, expected] of [
      ['yes', ok],
      ['empty', ok],
      ['no', badLogin],
      ['unknown', badLogin],
      ['broken', serverUnavailable],
      ['moved', serverUnavailable],
    ] as const)
      await withBroker({ authentication: [source] }, async (scene) => {
        assert.equal(await loginCode(scene, username, 'x'), expected, username);
      });
    asked.length = 0;
    await withBroker({ authentication: [source] }, async (scene) => {
      assert.equal(await loginCode(scene, 'a/b?c', 'd&e'), badLogin);
      assert.equal(asked[0]!.url, '/user/a%2Fb%3Fc?p=d%26e');
    });
    await withBroker({ authentication: [{ ...source, headers: { 'x-user': '${username}' } }] }, async (scene) => {
      for (const username of ['..', '.', 'é\u{1f600}', 'n'.repeat(60_000)])
        assert.equal(await loginCode(scene, username, 'x'), serverUnavailable);
      assert.equal(await loginCode(scene, 'yes', 'x'), ok, 'an odd name is nothing wrong with the service');
      assert.equal(sourceOf(scene.broker, 'http').failures, 0);
      assert.ok(asked.every(({ url: path }) => path.startsWith('/user/')));
    });
    answer = ({ body: form }) => ({ status: form === 'u=a%26b&p=x' ? 200 : 401 });
    const posting = { type: 'http', url, bodyFormat: 'form', body: { u: '${username}', p: '${password}' } } as const;
    await withBroker({ authentication: [posting] }, async (scene) => {
      assert.equal(await loginCode(scene, 'a&b', 'x'), ok);
    });
  });

  it('may say who the client is and what it may do', async () => {
    answer = loginService;
    const authorization = {
      sources: [
        { type: 'identity' },
        { type: 'rules', rules: [{ permit: 'allow', action: 'publish', filters: ['%{attribute.site}/#', 'user/%u'] }] },
      ],
    } as const;
    await withBroker({ authentication: [{ type: 'http', url, body }], authorization }, async (scene) => {
      const { client } = await login(scene, 'acl', 'three');
      assert.equal(scene.broker.clients()[0]!.username, 'renamed');
      assert.equal(await client.deliver('own/x', 'm', { qos: 1 }), 0x10);
      assert.equal(await client.deliver('own/secret', 'm', { qos: 1 }), notAuthorized);
      assert.equal(await client.deliver('berlin/x', 'm', { qos: 1 }), 0x10);
      assert.equal(await client.deliver('user/renamed', 'm', { qos: 1 }), 0x10);
      assert.equal(await client.deliver('user/acl', 'm', { qos: 1 }), notAuthorized);
      const root = await login(scene, 'root', 'two');
      assert.equal(await root.client.deliver('anything', 'm', { qos: 1 }), 0x10);
      assert.equal(await loginCode(scene, 'odd', 'four'), serverUnavailable, 'rules that cannot be read let nobody in');
      assert.equal(await loginCode(scene, 'bad', 'four'), serverUnavailable, 'nor do rules without a meaning');
      assert.equal(await loginCode(scene, 'past', 'four'), badLogin, 'nor what has expired');
      assert.equal(sourceOf(scene.broker, 'http').state, 'connected');
    });
  });

  it('is asked about topics, once for each while the answer is kept', async () => {
    answer = ({ body: text }) => {
      const { action, topic, username } = JSON.parse(text) as Record<string, string>;
      if (topic === 'pass') return { status: 200, body: { result: 'ignore' } };
      if (topic === 'broken') return { status: 500 };
      return { status: 200, body: { result: topic === `${action}/${username}` ? 'allow' : 'deny' } };
    };
    const question = {
      action: '${action}',
      topic: '${topic}',
      username: '${username}',
      qos: '${qos}',
      retain: '${retain}',
    };
    const config = {
      users: [{ username: 'ada', password: 'x' }],
      authorization: {
        sources: [
          { type: 'http', url: `${url}/acl`, body: question },
          { type: 'rules', rules: [{ permit: 'allow', filters: ['pass'] }] },
        ],
      },
    } as const;
    await withBroker(config, async (scene) => {
      const { client } = await login(scene, 'ada', 'x');
      asked.length = 0;
      for (let round = 0; round < 5; round++) {
        assert.equal(await client.deliver('publish/ada', 'm', { qos: 1 }), 0x10);
        assert.equal(await client.deliver('publish/bob', 'm', { qos: 1 }), notAuthorized);
      }
      assert.equal(asked.length, 2);
      assert.deepEqual(JSON.parse(asked[0]!.body), {
        action: 'publish',
        topic: 'publish/ada',
        username: 'ada',
        qos: '1',
        retain: 'false',
      });
      assert.equal(await client.deliver('pass', 'm', { qos: 1 }), 0x10);
      assert.deepEqual(await client.subscribe(['subscribe/ada', '#'], { qos: 1 }), [1, 0x87]);
      // Many publishes that wait for the same answers stay in order.
      const receiver = await login(scene, 'ada', 'x');
      await receiver.client.subscribe('pass', { qos: 0 });
      for (let index = 0; index < 20; index++) client.publish('pass', String(index), { qos: 0 });
      for (let index = 0; index < 20; index++) assert.equal((await receiver.client.message()).payload, String(index));
      assert.equal(await client.deliver('broken', 'm', { qos: 1 }), 0x80);
      assert.equal(sourceOf(scene.broker, 'http').state, 'failing');
    });
  });

  it('that does not answer in time refuses', async () => {
    answer = () => undefined;
    await withBroker({ authentication: [{ type: 'http', url, body, timeoutMs: 50 }] }, async (scene) => {
      assert.equal(await loginCode(scene, 'ada', 'one'), serverUnavailable);
      assert.equal(sourceOf(scene.broker, 'http').timeouts, 1);
    });
  });

  it('may have a certificate of an authority of its own', async () => {
    answer = loginService;
    const tls = await selfSigned();
    const folder = mkdtempSync(join(tmpdir(), 'dunlin-https-'));
    const caFile = join(folder, 'ca.pem');
    writeFileSync(caFile, tls.certificate);
    const options = { cert: tls.certificate, key: tls.key };
    const secure = createSecureServer(options, (request, response) => void serve(request, response)).listen(
      0,
      '127.0.0.1',
    );
    await once(secure, 'listening');
    const secureUrl = `https://127.0.0.1:${(secure.address() as AddressInfo).port}/`;
    try {
      for (const [more, expected] of [
        [{ caFile }, ok],
        [{}, serverUnavailable],
      ] as const)
        await withBroker({ authentication: [{ type: 'http', url: secureUrl, body, ...more }] }, async (scene) => {
          assert.equal(await loginCode(scene, 'ada', 'one'), expected);
        });
    } finally {
      secure.closeAllConnections();
      secure.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
