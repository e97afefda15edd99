/** How databases are known by their certificates: servers that say no more than it takes to begin TLS. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { TLSSocket } from 'node:tls';
import { MysqlRows, PostgresRows } from '../../src/policy/sources/sql-rows.js';
import { selfSigned } from './self-signed.js';

const folder = mkdtempSync(join(tmpdir(), 'dunlin-database-tls-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Protocol::HandshakeV10 of MySQL, with the capabilities PROTOCOL_41, SSL, SECURE_CONNECTION and PLUGIN_AUTH. */
const mysqlGreeting = Buffer.concat([
  Buffer.from([0x0a]),
  Buffer.from('8.0.0\0'),
  Buffer.from('01000000', 'hex'),
  Buffer.from('abcdefgh\0'),
  Buffer.from('008a', 'hex'),
  Buffer.from('210200', 'hex'),
  Buffer.from('0800', 'hex'),
  Buffer.from([21]),
  Buffer.alloc(10),
  Buffer.from('abcdefghijkl\0'),
  Buffer.from('mysql_native_password\0'),
]);

const types = {
  postgresql: { greeting: undefined, wishBytes: 8, goAhead: Buffer.from('S'), make: PostgresRows },
  mysql: {
    greeting: Buffer.concat([Buffer.from([mysqlGreeting.length, 0, 0, 0]), mysqlGreeting]),
    wishBytes: 36,
    goAhead: undefined,
    make: MysqlRows,
  },
} as const;

/** What becomes of a query over TLS to a server with a certificate for `certified`: the error, and whether the client went on. */
async function ask(type: keyof typeof types, parameters: string, certified: string): Promise<[string, boolean]> {
  const { greeting, wishBytes, goAhead, make: Rows } = types[type];
  const { certificate: cert, key } = await selfSigned(certified);
  const caFile = join(folder, `${certified}.pem`);
  writeFileSync(caFile, cert);
  let wentOn = false;
  const server = createServer((socket: Socket) => {
    socket.on('error', () => {});
    if (greeting !== undefined) socket.write(greeting);
    socket.once('data', (first: Buffer) => {
      socket.pause();
      // What follows the wish for TLS at once is its beginning.
      if (first.length > wishBytes) socket.unshift(first.subarray(wishBytes));
      if (goAhead !== undefined) socket.write(goAhead);
      const secure = new TLSSocket(socket, { isServer: true, cert, key });
      secure.on('error', () => {});
      secure.once('data', () => {
        wentOn = true;
        secure.destroy();
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const rows = new Rows(
    {
      name: 'db',
      timeoutMs: 20_000,
      requestsMax: 1,
      cacheEntriesMax: 0,
      cacheSeconds: 0,
      refusedCacheSeconds: 0,
      url: `${type}://user:x@localhost:${port}/db${parameters}`,
      caFile,
      query: 'SELECT 1',
    },
    'login',
  );
  try {
    const failure = await rows.find([], new AbortController().signal).then(
      () => 'none',
      (error: Error) => error.message,
    );
    return [failure, wentOn];
  } finally {
    await rows.close();
    server.close();
  }
}

describe('a database', () => {
  for (const type of ['postgresql', 'mysql'] as const)
    it(`of type ${type} is told passwords when caFile vouches for its name`, async () => {
      assert.equal((await ask(type, '', 'localhost'))[1], true);
      const [failure, wentOn] = await ask(type, '', 'other.example');
      assert.match(failure, /Hostname\/IP does not match/);
      assert.equal(wentOn, false);
    });

  it('of type postgresql is checked by caFile whatever the URL says of TLS', async () => {
    for (const parameters of ['?sslmode=verify-full', '?ssl=true', '?application_name=a'])
      assert.equal((await ask('postgresql', parameters, 'localhost'))[1], true, parameters);
  });
});
