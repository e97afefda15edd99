/** MongoDB: documents of one collection. */
import type { MongoOptions } from '../options.js';
import type { Facts, Place } from './facts.js';
import { MongoFilter } from './mongo-filter.js';
import { ROWS_MAX, type Row, type RowSource } from './rows.js';

export class MongoRows implements RowSource {
  private readonly filter: MongoFilter;
  private client: Promise<import('mongodb').MongoClient> | undefined;

  constructor(
    private readonly options: MongoOptions,
    place: Place,
  ) {
    this.filter = new MongoFilter(options.filter, place);
  }

  values(facts: Facts): string[] | undefined {
    return this.filter.values(facts);
  }

  async find(values: readonly string[], signal: AbortSignal): Promise<Row[]> {
    this.client ??= this.open();
    const { database, collection, timeoutMs } = this.options;
    const filter = this.filter.fill(values);
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
