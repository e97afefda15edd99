/**
 * Redis: one command, taken apart at its blanks before variables are filled in, so that a value stays one argument.
 *
 *   HGETALL key              one row of its fields
 *   HMGET key a b            one row of the fields that are there
 *   GET key                  one row: the object in JSON, or `value`
 *   EXISTS, SISMEMBER        one empty row, when so
 *   SMEMBERS, LRANGE         a row with `value` for each
 */
import { readFileSync } from 'node:fs';
import type { RedisOptions } from '../options.js';
import type { Facts, Place } from './facts.js';
import { QuestionRefused } from './guard.js';
import type { Row, RowSource } from './rows.js';
import { Template } from './template.js';

interface Connection {
  readonly isReady: boolean;
  sendCommand(command: readonly string[]): Promise<unknown>;
  destroy(): void;
}

export class RedisRows implements RowSource {
  private readonly command: readonly Template[];
  private link: Link | undefined;

  constructor(
    private readonly options: RedisOptions,
    place: Place,
  ) {
    this.command = options.command
      .trim()
      .split(/\s+/)
      .map((part) => new Template(part, place));
  }

  values(facts: Facts): string[] | undefined {
    const values: string[] = [];
    for (const template of this.command) {
      const value = template.fill(facts);
      if (value === undefined) return undefined;
      values.push(value);
    }
    return values;
  }

  async find(values: readonly string[], signal: AbortSignal): Promise<Row[]> {
    // The server may have closed the last one for being idle, or have been restarted: that is no failure of this request.
    if (this.link === undefined || this.link.lost) this.link = new Link(this.options);
    const { link } = this;
    // A server that has gone silent may stay so for ever, also while it is connected to.
    const giveUp = (): void => link.drop();
    signal.addEventListener('abort', giveUp);
    try {
      const connection = await link.connected;
      return rowsOf(values, await connection.sendCommand(values));
    } catch (error) {
      // What lies under the key of this client is something else.
      if (error instanceof Error && error.message.startsWith('WRONGTYPE'))
        throw new QuestionRefused('what Redis has under the key of this client is of another type');
      throw error;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  async close(): Promise<void> {
    this.link?.drop();
    this.link = undefined;
  }
}

/** One connection to the server, which can be given up before it is there. */
class Link {
  readonly connected: Promise<Connection>;
  private gone = false;
  private client: Connection | undefined;
  private ready = false;

  constructor(options: RedisOptions) {
    this.connected = this.connect(options);
    this.connected.then(
      () => {
        this.ready = true;
      },
      () => this.drop(),
    );
  }

  /** Nothing can be sent over it any more. */
  get lost(): boolean {
    return this.gone || (this.ready && !this.client!.isReady);
  }

  drop(): void {
    this.gone = true;
    this.client?.destroy();
  }

  private async connect({ url, timeoutMs, caFile }: RedisOptions): Promise<Connection> {
    const { createClient } = await import('redis');
    const secure = caFile === undefined ? {} : { tls: true as const, ca: readFileSync(caFile) };
    const client = createClient({
      url,
      disableOfflineQueue: true,
      // The guard says when to try again.
      socket: { connectTimeout: timeoutMs, reconnectStrategy: false, ...secure },
    });
    client.on('error', () => {}); // whoever asks next finds it not ready
    this.client = client as unknown as Connection;
    if (this.gone) throw new Error('the connection was given up');
    await client.connect();
    return this.client;
  }
}

function rowsOf(command: readonly string[], reply: unknown): Row[] {
  if (reply === null || reply === undefined) return [];
  switch (command[0]!.toUpperCase()) {
    case 'HGETALL': {
      const fields = fieldsOf(reply);
      return Object.keys(fields).length === 0 ? [] : [fields];
    }
    case 'HMGET': {
      const found = (reply as unknown[]).map((value, index) => [command[index + 2]!, value] as const);
      const fields = found.filter(([, value]) => value !== null && value !== undefined);
      return fields.length === 0 ? [] : [Object.fromEntries(fields)];
    }
    case 'GET': {
      const text = String(reply);
      return [text.startsWith('{') ? objectIn(text) : { value: text }];
    }
    case 'EXISTS':
    case 'SISMEMBER':
      return Number(reply) > 0 ? [{}] : [];
    default:
      return [...(reply as Iterable<unknown>)].map((value) => ({ value: String(value) }));
  }
}

function objectIn(text: string): Row {
  try {
    return JSON.parse(text) as Row;
  } catch {
    throw new QuestionRefused('what Redis has under the key of this client is no JSON');
  }
}

/** Pairs in a row, or what the newer protocol makes of them. */
function fieldsOf(reply: unknown): Record<string, unknown> {
  if (!Array.isArray(reply)) return { ...(reply instanceof Map ? Object.fromEntries(reply) : (reply as object)) };
  const fields: Record<string, unknown> = {};
  for (let index = 0; index + 1 < reply.length; index += 2) fields[String(reply[index])] = reply[index + 1];
  return fields;
}
