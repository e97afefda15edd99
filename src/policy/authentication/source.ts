/** One link of the chain of authentication. */
import { type ConnackReasonCode, ReasonCode } from '../../protocol/index.js';
import type { AuthenticationExchange, Client, ConnectRequest, Identity } from '../policy.js';
import type { SourceStatus } from '../sources/guard.js';

export type Decision =
  | { readonly outcome: 'allow'; readonly identity: Identity }
  /**
   * `veiled`: a wrong password. The chain goes on as it does for an unknown user, so that neither answer nor time tells them
   * apart, and lets nobody in.
   */
  | {
      readonly outcome: 'deny';
      readonly reasonCode: ConnackReasonCode;
      readonly reasonString: string;
      readonly veiled?: true;
    }
  | { readonly outcome: 'next' };

export interface AuthenticationSource {
  readonly name: string;
  readonly type: string;
  authenticate(request: ConnectRequest): Decision | Promise<Decision>;
  beginExchange?(method: string, client: Client): AuthenticationExchange | undefined;
  open?(): Promise<void>;
  /** As `open`, without making anything; absent where `open` makes nothing. */
  check?(): Promise<void>;
  /** Reads again what has changed of its files. */
  look?(): void;
  close?(): Promise<void>;
  status(): SourceStatus;
}

export const next: Decision = { outcome: 'next' };

/** One answer for an unknown user and a wrong password. */
export const wrongPassword: Decision = {
  outcome: 'deny',
  reasonCode: ReasonCode.BadUserNameOrPassword,
  reasonString: 'bad user name or password',
  veiled: true,
};

export const denied = (reasonString: string): Decision => ({
  outcome: 'deny',
  reasonCode: ReasonCode.NotAuthorized,
  reasonString,
});

/** A source that gives no answer lets nobody in. */
export const unavailable = (busy: boolean): Decision => ({
  outcome: 'deny',
  reasonCode: busy ? ReasonCode.ServerBusy : ReasonCode.ServerUnavailable,
  reasonString: 'authentication is not available',
});

const none: readonly string[] = [];
const nothing: Readonly<Record<string, string>> = {};

/** An identity with what is known, and nothing else. */
export function identityOf(source: string, username: string | undefined, more: Partial<Identity> = {}): Identity {
  return { source, username, roles: none, groups: none, attributes: nothing, ...more };
}
