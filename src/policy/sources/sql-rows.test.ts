import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { SqlOptions } from '../options.js';
import { MysqlRows, PostgresRows } from './sql-rows.js';

const makers = {
  postgresql: (options: SqlOptions) => new PostgresRows(options, 'login'),
  mysql: (options: SqlOptions) => new MysqlRows(options, 'login'),
};

describe('rows of a database', () => {
  for (const type of ['postgresql', 'mysql'] as const)
    it(`can be had from ${type} once the file of its authority is there`, async () => {
      const folder = mkdtempSync(join(tmpdir(), 'dunlin-sql-'));
      const caFile = join(folder, 'ca.pem');
      const rows = makers[type]({
        name: 'db',
        timeoutMs: 5000,
        requestsMax: 2,
        cacheEntriesMax: 0,
        cacheSeconds: 0,
        refusedCacheSeconds: 0,
        url: `${type}://user@127.0.0.1:1/db`, // nobody listens there
        caFile,
        query: 'SELECT 1',
      });
      const { signal } = new AbortController();
      await assert.rejects(rows.find([], signal), /ENOENT/);
      writeFileSync(caFile, '');
      await assert.rejects(rows.find([], signal), (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED');
      await rows.close();
      rmSync(folder, { recursive: true });
    });
});
