/**
 * The policy of the configuration: user name and password from `users`, SCRAM for the same users, anonymous clients where
 * the listener allows them, and everything allowed to whoever is in, but publishing below `$SYS`.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { type PubackReasonCode, type QoS, ReasonCode, type SubackReasonCode } from '../protocol/index.js';
import type { Admission, AuthenticationExchange, Client, ConnectRequest, Policy } from './policy.js';
import { isScramMethod, ScramExchange } from './scram.js';
import { ScramUsers } from './scram-users.js';

export interface User {
  readonly username: string;
  readonly password: string;
}

const admitted: Admission = { reasonCode: ReasonCode.Success };
/** One answer for an unknown user and a wrong password. */
const badLogin: Admission = { reasonCode: ReasonCode.BadUserNameOrPassword, reasonString: 'bad user name or password' };
const anonymousRefused: Admission = {
  reasonCode: ReasonCode.NotAuthorized,
  reasonString: 'this listener asks for a user name',
};

export class BuiltInPolicy implements Policy {
  private readonly key = randomBytes(32);
  private readonly digests = new Map<string, Buffer>();
  private readonly unknown = randomBytes(32);
  private readonly scram: ScramUsers | undefined;

  constructor(users: readonly User[]) {
    for (const { username, password } of users) this.digests.set(username, this.digest(Buffer.from(password)));
    this.scram = users.length > 0 ? new ScramUsers(users) : undefined;
  }

  /** Derives the SCRAM credentials of all users ahead, so that the first login of each takes no longer than others. */
  prepare(signal: AbortSignal): Promise<void> {
    return this.scram?.prepareAll(signal) ?? Promise.resolve();
  }

  authenticate(request: ConnectRequest): Admission {
    if (request.username === undefined) return request.allowAnonymous ? admitted : anonymousRefused;
    if (this.digests.size === 0) return request.allowAnonymous ? admitted : badLogin;
    // The same work for a known and an unknown user.
    const given = this.digest(request.password ?? Buffer.alloc(0));
    const expected = this.digests.get(request.username);
    const equal = timingSafeEqual(given, expected ?? this.unknown);
    return equal && expected !== undefined ? admitted : badLogin;
  }

  beginExchange(method: string): AuthenticationExchange | undefined {
    return this.scram !== undefined && isScramMethod(method) ? new ScramExchange(method, this.scram.find) : undefined;
  }

  authorizePublish(_client: Client, topicName: string): PubackReasonCode {
    // 0x24 is `$`: one look at the first unit settles nearly all
    return topicName.charCodeAt(0) === 0x24 && topicName.startsWith('$SYS/')
      ? ReasonCode.NotAuthorized
      : ReasonCode.Success;
  }

  authorizeSubscribe(_client: Client, _topicFilter: string, qos: QoS): SubackReasonCode {
    return qos;
  }

  private digest(password: Uint8Array): Buffer {
    return createHmac('sha256', this.key).update(password).digest();
  }
}
