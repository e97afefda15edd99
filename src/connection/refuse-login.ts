/** A login that has failed: counted, and answered later and later the more of them there are. */
import type { ConnackReasonCode } from '../protocol/index.js';
import type { Connection } from './connection.js';
import { ConnectionState } from './connection-state.js';

export function refuseLogin(
  connection: Connection,
  reasonCode: ConnackReasonCode,
  reasonString: string | undefined,
): void {
  const { protection, metrics } = connection.context;
  metrics.loginsFailed++;
  const refuse = (): void => connection.refuse(reasonCode, reasonString);
  const wait = protection.loginFailed(connection.client!);
  if (wait === 0) return refuse();
  // A client that renews its login is connected until then.
  if (connection.state !== ConnectionState.Connected) connection.state = ConnectionState.Authenticating;
  const waited = new Promise<void>((resolve) => setTimeout(resolve, wait).unref());
  connection.await(
    waited.finally(() => protection.answered()),
    refuse,
    refuse,
  );
}
