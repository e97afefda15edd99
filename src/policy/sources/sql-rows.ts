/** PostgreSQL, MySQL and MariaDB: prepared statements, in which every variable is a parameter. */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import type { SqlOptions } from '../options.js';
import type { Facts, Place } from './facts.js';
import { QuestionRefused } from './guard.js';
import type { Row, RowSource } from './rows.js';
import { Template } from './template.js';

abstract class SqlRows<Pool extends { end(): Promise<void> }> implements RowSource {
  private pool: Promise<Pool> | undefined;
  private readonly template: Template;
  protected readonly statement: string;

  constructor(
    protected readonly options: SqlOptions,
    place: Place,
    placeholder: (index: number) => string,
  ) {
    this.template = new Template(options.query, place);
    this.statement = this.template.withPlaceholders(placeholder);
  }

  values(facts: Facts): string[] | undefined {
    const values = this.template.values(facts);
    // Text of these databases holds no NUL; nobody has such a name.
    return values?.some((value) => value.includes('\0')) ? undefined : values;
  }

  abstract find(values: readonly string[], signal: AbortSignal): Promise<Row[]>;
  protected abstract open(): Promise<Pool>;

  /** Made with the first request; where that fails, as for a file that is not there yet, the next one tries again. */
  protected connected(): Promise<Pool> {
    if (this.pool === undefined) {
      const opening = this.open();
      this.pool = opening;
      opening.catch(() => {
        if (this.pool === opening) this.pool = undefined;
      });
    }
    return this.pool;
  }

  async close(): Promise<void> {
    const pool = this.pool;
    this.pool = undefined;
    await (await pool)?.end();
  }
}

export class PostgresRows extends SqlRows<import('pg').Pool> {
  constructor(options: SqlOptions, place: Place) {
    super(options, place, (index) => `$${index + 1}`);
  }

  async find(values: readonly string[]): Promise<Row[]> {
    const pool = await this.connected();
    try {
      const { rows } = await pool.query<Record<string, unknown>>({ text: this.statement, values: [...values] });
      return rows;
    } catch (error) {
      // Class 22 is about the values: a name where a number is compared with.
      const { code } = error as { code?: unknown };
      if (typeof code === 'string' && /^22...$/.test(code))
        throw new QuestionRefused(`PostgreSQL cannot use the values of this client (${code})`);
      throw error;
    }
  }

  protected async open(): Promise<import('pg').Pool> {
    const { Pool } = (await import('pg')).default;
    const { url, requestsMax, timeoutMs, caFile } = this.options;
    const pool = new Pool({
      // What a URL says of TLS takes the place of all that is said elsewhere, so it has to say this too.
      connectionString:
        caFile === undefined ? url : `${url}${url.includes('?') ? '&' : '?'}sslrootcert=${encodeURIComponent(caFile)}`,
      max: requestsMax,
      connectionTimeoutMillis: timeoutMs,
      query_timeout: timeoutMs,
      statement_timeout: timeoutMs,
      idleTimeoutMillis: 60_000,
      application_name: 'dunlin',
    });
    // A connection that breaks while it idles leaves the pool; the next request opens another.
    pool.on('error', () => {});
    return pool;
  }
}

const isAddress = (url: string) => isIP(new URL(url).hostname.replace(/^\[|\]$/g, '')) !== 0;

export class MysqlRows extends SqlRows<import('mysql2/promise').Pool> {
  constructor(options: SqlOptions, place: Place) {
    super(options, place, () => '?');
  }

  async find(values: readonly string[], signal: AbortSignal): Promise<Row[]> {
    const pool = await this.connected();
    const connection = await pool.getConnection();
    // A connection that may have gone silent is of no use for another request; the pool would hand it out again.
    const drop = (): void => connection.destroy();
    if (signal.aborted) drop();
    signal.addEventListener('abort', drop);
    try {
      const [rows] = await connection.execute(this.statement, [...values]);
      if (!Array.isArray(rows)) throw new Error('the query gives no rows');
      return rows as Row[];
    } finally {
      signal.removeEventListener('abort', drop);
      if (!signal.aborted) connection.release();
    }
  }

  protected async open(): Promise<import('mysql2/promise').Pool> {
    const { createPool } = await import('mysql2/promise');
    const { url, requestsMax, timeoutMs, caFile } = this.options;
    return createPool({
      uri: url,
      connectionLimit: requestsMax,
      maxIdle: requestsMax,
      idleTimeout: 60_000,
      connectTimeout: timeoutMs,
      // The driver takes any server for the right one unless it is told, and cannot look for an address in a certificate.
      ...(caFile === undefined ? {} : { ssl: { ca: readFileSync(caFile), verifyIdentity: !isAddress(url) } }),
    });
  }
}
