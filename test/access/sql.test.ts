/** Users, certificates and rules in real PostgreSQL and MariaDB: the same tables, the same questions. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { createConnection } from 'mysql2/promise';
import pg from 'pg';
import { silentLogger } from '../../src/base/index.js';
import type { ConfigInput } from '../../src/index.js';
import { AccessPolicy, hashPassword, openAccess } from '../../src/policy/index.js';
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
import { startMariadb, startPostgres } from './servers.js';

const tables = [
  'CREATE TABLE mqtt_user (username VARCHAR(100) PRIMARY KEY, password_hash VARCHAR(200), salt VARCHAR(40), is_superuser BOOLEAN DEFAULT FALSE, enabled BOOLEAN DEFAULT TRUE, roles VARCHAR(100))',
  'CREATE TABLE mqtt_acl (id INT, username VARCHAR(100), permission VARCHAR(5), action VARCHAR(9), topic VARCHAR(200), qos SMALLINT, retain SMALLINT)',
  'CREATE TABLE device (serial VARCHAR(80), issuer VARCHAR(200), username VARCHAR(100), enabled BOOLEAN)',
  "INSERT INTO mqtt_acl VALUES (1, 'ada', 'deny', 'publish', 'up/ada/secret', NULL, NULL), (2, 'ada', 'allow', 'publish', 'up/%u/#', NULL, 0), (3, 'ada', 'allow', 'subscribe', 'down/%c/#', 1, NULL)",
  "INSERT INTO device VALUES ('0A1B', 'CN=CA', 'pump', TRUE), ('0A1C', 'CN=CA', 'valve', FALSE)",
];

const salted = (password: string, salt: string) => createHash('sha256').update(salt).update(password).digest('hex');

async function rows(): Promise<(string | boolean | null)[][]> {
  return [
    ['ada', await hashPassword('one'), null, false, true, 'a, b'],
    ['ol d', await hashPassword('one', 'sha512-pbkdf2', 101), null, false, true, null],
    ['root', await hashPassword('two', 'argon2id'), null, true, true, null],
    ['off', await hashPassword('one', 'sha512'), null, false, false, null],
    ["o'neil", await hashPassword('three', 'sha512'), null, false, true, null],
    ['salty', salted('four', 'sea'), 'sea', false, true, null],
  ];
}

interface Database {
  readonly type: 'postgresql' | 'mysql';
  readonly server: Server | undefined;
  readonly url: string;
  readonly fill: () => Promise<void>;
}

const postgres = await startPostgres('s3cret');
const mariadb = await startMariadb();
const databases: Database[] = [
  {
    type: 'postgresql',
    server: postgres,
    url: `postgresql://dunlin:s3cret@127.0.0.1:${postgres?.port}/postgres`,
    async fill() {
      const client = new pg.Client({ connectionString: this.url });
      await client.connect();
      for (const table of tables) await client.query(table);
      for (const row of await rows()) await client.query('INSERT INTO mqtt_user VALUES ($1,$2,$3,$4,$5,$6)', row);
      await client.end();
    },
  },
  {
    type: 'mysql',
    server: mariadb,
    url: `mysql://dunlin:s3cret@127.0.0.1:${mariadb?.port}/mqtt`,
    async fill() {
      const client = await createConnection({ host: '127.0.0.1', port: mariadb!.port, user: 'root' });
      await client.query('CREATE DATABASE mqtt');
      await client.query("CREATE USER dunlin@'127.0.0.1' IDENTIFIED BY 's3cret'");
      await client.query("GRANT ALL ON mqtt.* TO dunlin@'127.0.0.1'");
      await client.query('USE mqtt');
      for (const table of tables) await client.query(table);
      for (const row of await rows()) await client.execute('INSERT INTO mqtt_user VALUES (?,?,?,?,?,?)', row);
      await client.end();
    },
  },
];

for (const { type, server, url, fill } of databases)
  describe(type, { skip: server === undefined }, () => {
    const name = type;
    const source = {
      type,
      url,
      query: 'SELECT password_hash, salt, is_superuser, enabled, roles FROM mqtt_user WHERE username = ${username}',
    };
    before(() => fill.call({ url }));
    after(() => server?.stop());

    it('tells users from others', async () => {
      await withBroker({ authentication: [source] }, async (scene) => {
        await tryLogins(scene, [
          ['ada', 'one', ok],
          ['ada', 'two', badLogin],
          ['ol d', 'one', ok],
          ['root', 'two', ok],
          ['off', 'one', badLogin],
          ["o'neil", 'three', ok],
          ["x' OR '1'='1", 'one', badLogin],
          ["ada' -- ", 'one', badLogin],
          ['nobody', 'one', badLogin],
        ]);
        assert.equal(await loginCode(scene, undefined), notAuthorized);
        assert.equal(sourceOf(scene.broker, name).state, 'connected');
      });
    });

    it('reads digests with a salt column', async () => {
      const withSalt = { ...source, passwordAlgorithm: 'sha256', saltPosition: 'prefix' } as const;
      await withBroker({ authentication: [withSalt] }, async (scene) => {
        assert.equal(await loginCode(scene, 'salty', 'four'), ok);
        assert.equal(await loginCode(scene, 'salty', 'five'), badLogin);
        assert.equal(await loginCode(scene, 'ada', 'one'), serverUnavailable, 'what is there is no SHA-256');
        assert.equal(await loginCode(scene, 'salty', 'four'), ok, 'which concerns that user alone');
      });
    });

    // MariaDB takes any text for a number.
    if (type === 'postgresql')
      it('is not away because of a name that it cannot take', async () => {
        const numbered = {
          ...source,
          query: 'SELECT password_hash FROM mqtt_user WHERE length(username) = ${username}::int',
        };
        await withBroker({ authentication: [numbered] }, async (scene) => {
          assert.equal(await loginCode(scene, 'abc', 'three'), serverUnavailable);
          assert.equal(await loginCode(scene, '6', 'three'), ok);
          assert.equal(sourceOf(scene.broker, name).failures, 0);
        });
      });

    it('has rules by user', async () => {
      const config: ConfigInput = {
        authentication: [source],
        authorization: {
          sources: [
            {
              type,
              url,
              query:
                'SELECT permission, action, topic, qos, retain FROM mqtt_acl WHERE username = ${username} ORDER BY id',
            },
          ],
        },
      };
      await withBroker(config, async (scene) => {
        const { client } = await login(scene, 'ada', 'one', { clientId: 'dev1' });
        assert.equal(await client.deliver('up/ada/x', 'm', { qos: 1 }), 0x10);
        assert.equal(await client.deliver('up/ada/secret', 'm', { qos: 1 }), notAuthorized);
        assert.equal(await client.deliver('up/ada/x', 'm', { qos: 1, retain: true }), notAuthorized);
        assert.deepEqual(await client.subscribe(['down/dev1/#', 'down/dev2/#'], { qos: 1 }), [1, 0x87]);
        assert.deepEqual(await client.subscribe('down/dev1/#', { qos: 2 }), [0x87]);
        const neil = await login(scene, "o'neil", 'three');
        assert.equal(await neil.client.deliver('up/ada/x', 'm', { qos: 1 }), notAuthorized);
      });
    });

    it('knows certificates by serial number and issuer', async () => {
      const config = {
        ...openAccess,
        authentication: (await import('../../src/config/index.js')).resolveConfig({
          authentication: [
            {
              type,
              url,
              check: 'exists',
              query: 'SELECT username, enabled FROM device WHERE serial = ${cert_serial} AND issuer = ${cert_issuer}',
            },
          ],
        }).authentication,
      };
      const policy = new AccessPolicy(config, { log: silentLogger });
      const connect = async (serialNumber: string | undefined, issuer = 'CN=CA') => {
        const certificate = { serialNumber, issuer, commonName: 'x', subject: 'CN=x', thumbprint: '00', trusted: true };
        return policy.authenticate({
          clientId: 'c',
          username: undefined,
          password: undefined,
          protocolVersion: 5,
          listener: 'tls',
          address: '127.0.0.1',
          allowAnonymous: false,
          ...(serialNumber === undefined ? {} : { certificate: certificate as never }),
        });
      };
      try {
        const pump = await connect('0A1B');
        assert.deepEqual([pump.reasonCode, pump.identity?.username], [ok, 'pump']);
        assert.equal((await connect('0A1C')).reasonCode, badLogin, 'disabled');
        assert.equal((await connect('0A1D')).reasonCode, notAuthorized);
        assert.equal((await connect('0A1B', 'CN=Other')).reasonCode, notAuthorized);
        assert.equal((await connect(undefined)).reasonCode, notAuthorized);
      } finally {
        await policy.close();
      }
    });

    testLine(
      () => server!.port,
      (port) => ({ ...source, url: url.replace(/:\d+\//, `:${port}/`) }),
      ['ada', 'one'],
    );

    it('refuses everybody while it is away or the query is wrong, and tells no secret', async () => {
      await withBroker(
        { authentication: [{ ...source, query: 'SELECT nothing FROM nowhere WHERE u = ${username}' }] },
        async (scene) => {
          assert.equal(await loginCode(scene, 'ada', 'one'), serverUnavailable);
          assert.match(sourceOf(scene.broker, name).lastError!, /nowhere/);
        },
      );
      await withBroker({ authentication: [{ ...source, cacheSeconds: 0, timeoutMs: 3000 }] }, async (scene) => {
        assert.equal(await loginCode(scene, 'ada', 'one'), ok);
        await server!.kill();
        assert.equal(await loginCode(scene, 'ada', 'one'), serverUnavailable);
        const status = sourceOf(scene.broker, name);
        assert.equal(status.state, 'failing');
        assert.ok(!JSON.stringify(status).includes('s3cret'));
        await server!.start();
        const deadline = Date.now() + 60_000;
        while ((await loginCode(scene, 'ada', 'one')) !== ok && Date.now() < deadline)
          await new Promise((resolve) => setTimeout(resolve, 100));
        assert.equal(sourceOf(scene.broker, name).state, 'connected');
      });
    });
  });
