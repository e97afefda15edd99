/**
 * What sources outside the process share: a guard, and a cache of answers under a keyed digest of everything that was asked with,
 * the password among it. So a changed password is noticed when the cached answer has gone, and no password lies in memory.
 */
import { createHmac, randomBytes } from 'node:crypto';
import type { Logger } from '../../base/index.js';
import type { ExternalOptions } from '../options.js';
import type { ConnectRequest } from '../policy.js';
import { AnswerCache } from '../sources/answer-cache.js';
import { goodbye } from '../sources/goodbye.js';
import { Guard, type SourceStatus } from '../sources/guard.js';
import { type AuthenticationSource, type Decision, next } from './source.js';

export abstract class ExternalSource<Asked> implements AuthenticationSource {
  readonly name: string;
  protected readonly guard: Guard;
  private readonly cache: AnswerCache<Decision>;
  private readonly underWay = new Map<string, Promise<Decision>>();
  private readonly key = randomBytes(32);

  constructor(
    private readonly external: ExternalOptions,
    readonly type: string,
    log: Logger,
  ) {
    const { name, timeoutMs, requestsMax, cacheEntriesMax } = external;
    this.name = name;
    this.guard = new Guard({ name, type, timeoutMs, runningMax: requestsMax, log });
    this.cache = new AnswerCache(cacheEntriesMax);
  }

  authenticate(request: ConnectRequest): Decision | Promise<Decision> {
    const asked = this.prepareRequest(request);
    if (asked === undefined) return next;
    const { clientId, username = null, password } = request;
    const login = JSON.stringify([clientId, username, asked.key]);
    const key = createHmac('sha256', this.key)
      .update(`${password === undefined ? '-' : password.length} ${login.length} ${login}`)
      .update(password ?? '')
      .digest('base64');
    const known = this.cache.get(key, Date.now()) ?? this.underWay.get(key);
    if (known !== undefined) return known;
    const answer = this.ask(asked.request, request).then((decision) => {
      this.keep(key, decision);
      return decision;
    });
    this.underWay.set(key, answer);
    const done = (): void => {
      this.underWay.delete(key);
    };
    answer.then(done, done);
    return answer;
  }

  status(): SourceStatus {
    return this.guard.status(this.cache);
  }

  async open(): Promise<void> {
    this.guard.open();
  }

  close(): Promise<void> {
    this.guard.close();
    return goodbye(this.disconnect());
  }

  /** Ends the connections that are kept. */
  protected abstract disconnect(): Promise<unknown>;

  /** What is asked, and what tells it from other questions; undefined when the client lacks what would be asked with. */
  protected abstract prepareRequest(request: ConnectRequest): { request: Asked; key: unknown } | undefined;

  /** Rejects with SourceUnavailable when there is no answer. */
  protected abstract ask(asked: Asked, request: ConnectRequest): Promise<Decision>;

  private keep(key: string, decision: Decision): void {
    const { cacheSeconds, refusedCacheSeconds } = this.external;
    const allows = decision.outcome === 'allow';
    const seconds = allows ? cacheSeconds : refusedCacheSeconds;
    if (seconds === 0) return;
    const expiresAtMs = allows ? decision.identity.expiresAtMs : undefined;
    this.cache.set(key, decision, Math.min(Date.now() + seconds * 1000, expiresAtMs ?? Number.POSITIVE_INFINITY));
  }
}
