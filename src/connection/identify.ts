import type { Identity } from '../policy/index.js';
import type { Connection } from './connection.js';

/** What authentication found out holds from now on. */
export function identify(connection: Connection, identity: Identity | undefined): void {
  if (identity === undefined) return;
  connection.client = { ...connection.client!, username: identity.username, identity };
  connection.endAt(identity.expiresAtMs);
}
