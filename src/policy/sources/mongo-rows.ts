/** MongoDB: documents of one collection. Variables stand inside of strings of the filter only, so they can never be operators. */
import type { MongoOptions } from '../options.js';
import type { Facts, Place } from './facts.js';
import { ROWS_MAX, type Row, type RowSource } from './rows.js';
import { Template } from './template.js';

type Shape = Template | readonly Shape[] | { readonly [key: string]: Shape } | number | boolean | null;

export class MongoRows implements RowSource {
  private readonly shape: Shape;
  private readonly templates: Template[] = [];
  private client: Promise<import('mongodb').MongoClient> | undefined;

  constructor(
    private readonly options: MongoOptions,
    place: Place,
  ) {
    this.shape = this.compile(JSON.parse(options.filter), place);
  }

  values(facts: Facts): string[] | undefined {
    const values: string[] = [];
    for (const template of this.templates) {
      const value = template.fill(facts);
      if (value === undefined) return undefined;
      values.push(value);
    }
    return values;
  }

  async find(values: readonly string[], signal: AbortSignal): Promise<Row[]> {
    this.client ??= this.open();
    const { database, collection, timeoutMs } = this.options;
    let at = 0;
    const fill = (shape: Shape): unknown => {
      if (shape instanceof Template) return values[at++];
      if (Array.isArray(shape)) return shape.map(fill);
      if (typeof shape !== 'object' || shape === null) return shape;
      return Object.fromEntries(Object.entries(shape).map(([key, inner]) => [key, fill(inner)]));
    };
    const filter = fill(this.shape) as Record<string, unknown>;
    let client: import('mongodb').MongoClient;
    try {
      client = await this.client;
    } catch (error) {
      this.client = undefined;
      throw error;
    }
    if (signal.aborted) throw new Error('given up');
    return client.db(database).collection(collection).find(filter, { maxTimeMS: timeoutMs }).limit(ROWS_MAX).toArray();
  }

  async close(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    try {
      await (await client)?.close();
    } catch {} // it never was there
  }

  /** In the order in which `fill` goes through it. */
  private compile(value: unknown, place: Place): Shape {
    if (typeof value === 'string') {
      const template = new Template(value, place);
      this.templates.push(template);
      return template;
    }
    if (Array.isArray(value)) return value.map((entry) => this.compile(entry, place));
    if (typeof value !== 'object' || value === null) return value as number | boolean | null;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, this.compile(inner, place)]));
  }

  private async open(): Promise<import('mongodb').MongoClient> {
    const { MongoClient } = await import('mongodb');
    const { url, requestsMax, timeoutMs, caFile } = this.options;
    const client = new MongoClient(url, {
      appName: 'dunlin',
      maxPoolSize: requestsMax,
      serverSelectionTimeoutMS: timeoutMs,
      connectTimeoutMS: timeoutMs,
      socketTimeoutMS: timeoutMs,
      ...(caFile === undefined ? {} : { tls: true, tlsCAFile: caFile }),
    });
    await client.connect();
    return client;
  }
}
