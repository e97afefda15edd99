/**
 * A login that failed: it is counted, and answered the later the more of them there were. The answer is a refusal, whichever way the client
 * tried to log in.
 */
import { shortName } from '../base/index.js';
import type { ConnackReasonCode } from '../protocol/index.js';
import type { Connection } from './connection.js';
import { ConnectionState } from './connection-state.js';

/** `username` is the name that was tried; undefined when there was none. */
export function refuseLogin(
  connection: Connection,
  username: string | undefined,
  reasonCode: ConnackReasonCode,
  reasonString: string | undefined,
): void {
  const { protection, metrics } = connection.context;
  metrics.loginsFailed++;
  const refuse = (): void => connection.refuse(reasonCode, reasonString);
  const wait = protection.loginFailed({ address: connection.peer.address, username });
  if (wait === 0) return refuse();
  // A client that renews its login is connected until then.
  if (connection.state !== ConnectionState.Connected) connection.state = ConnectionState.Authenticating;
  connection.allowTime(wait);
  const waited = new Promise<void>((resolve) => setTimeout(resolve, wait).unref());
  connection.await(
    waited.finally(() => protection.answered()),
    refuse,
    refuse,
  );
}

/** The user name as the log may have it: a signed token can be in its place, and that is a secret. */
export function nameForLog(username: string | undefined): { username?: string } {
  return username === undefined || /^ey[\w-]+\.[\w-]+\.[\w-]*$/.test(username) ? {} : { username: shortName(username) };
}
