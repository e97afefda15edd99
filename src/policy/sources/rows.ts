/** What databases are for authentication and authorization: rows that are found with the values of a client. */
import type { Facts } from './facts.js';

export type Row = Readonly<Record<string, unknown>>;

export interface RowSource {
  /** The values that are asked with; undefined when the client lacks one. */
  values(facts: Facts): string[] | undefined;
  /** Errors  Error when there is no answer. */
  find(values: readonly string[], signal: AbortSignal): Promise<Row[]>;
  close(): Promise<void>;
}

/** More are a query that forgot its condition. */
export const ROWS_MAX = 10_000;

/** A column as text; undefined when it is absent or null. */
export function textOf(row: Row, ...names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = row[name];
    if (value === undefined || value === null) continue;
    if (Buffer.isBuffer(value)) return value.toString('utf8');
    if (value instanceof Uint8Array) return Buffer.from(value).toString('utf8');
    return typeof value === 'object' ? JSON.stringify(value) : String(value);
  }
  return undefined;
}

/** A column as truth; `otherwise` when it is absent. A BIT column of MySQL is a byte. */
export function flagOf(row: Row, otherwise: boolean, ...names: readonly string[]): boolean {
  const text = textOf(row, ...names);
  if (text === undefined || text === '') return otherwise;
  return /^(?:true|t|1|yes|y|\u0001)$/i.test(text);
}

/** A column as a list: an array, JSON, or text with commas. */
export function listOf(row: Row, name: string): string[] {
  const value = row[name];
  if (Array.isArray(value)) return value.filter((entry) => typeof entry === 'string');
  const text = textOf(row, name);
  if (text === undefined) return [];
  if (text.startsWith('[')) {
    const parsed: unknown = JSON.parse(text);
    return Array.isArray(parsed) ? parsed.filter((entry) => typeof entry === 'string') : [];
  }
  return text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
}
