import type { Identity } from '../policy/index.js';
import type { Connection } from './connection.js';

/** What authentication found out holds from now on. */
export function identify(connection: Connection, identity: Identity | undefined): void {
  if (identity === undefined) return;
  connection.client = { ...connection.client!, username: identity.username, identity };
  limitTime(connection);
}

/** The connection ends when what admitted its client is not valid any longer, and when it has lasted as long as it may. */
export function limitTime(connection: Connection): void {
  const { connectionSecondsMax } = connection.context.protection.options;
  const begun = connection.connectedAtMs;
  const lasts = connectionSecondsMax > 0 && begun > 0 ? begun + connectionSecondsMax * 1000 : Number.POSITIVE_INFINITY;
  const ends = Math.min(connection.client?.identity?.expiresAtMs ?? Number.POSITIVE_INFINITY, lasts);
  connection.endAt(ends === Number.POSITIVE_INFINITY ? undefined : ends);
}
