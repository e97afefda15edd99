/** From settings to a source of rows. */
import type { MongoOptions, RedisOptions, SqlOptions } from '../options.js';
import type { Place } from './facts.js';
import { MongoRows } from './mongo-rows.js';
import { RedisRows } from './redis-rows.js';
import type { RowSource } from './rows.js';
import { MysqlRows, PostgresRows } from './sql-rows.js';

export type RowOptions =
  | (SqlOptions & { readonly type: 'postgresql' | 'mysql' })
  | (MongoOptions & { readonly type: 'mongodb' })
  | (RedisOptions & { readonly type: 'redis' });

export function makeRows(options: RowOptions, place: Place): RowSource {
  switch (options.type) {
    case 'postgresql':
      return new PostgresRows(options, place);
    case 'mysql':
      return new MysqlRows(options, place);
    case 'mongodb':
      return new MongoRows(options, place);
    case 'redis':
      return new RedisRows(options, place);
  }
}
