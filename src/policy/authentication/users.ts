/**
 * The built-in users: plain passwords are kept as keyed digests and can use SCRAM, hashed ones are checked off the main thread.
 *
 * An unknown user costs what a user of the store costs: which one is told by a keyed digest of the name, so that the next
 * try takes as long. A user who is disabled, or not allowed at this listener, is refused like one with a wrong password.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { ReasonCode } from '../../protocol/index.js';
import type { UserOptions } from '../options.js';
import type { PasswordChecker } from '../passwords/password-checker.js';
import { type PasswordHash, parsePasswordHash } from '../passwords/password-hash.js';
import type { AuthenticationExchange, Client, ConnectRequest, Identity } from '../policy.js';
import { isScramMethod, ScramExchange } from '../scram.js';
import { ScramUsers } from '../scram-users.js';
import { readyStatus, type SourceStatus } from '../sources/guard.js';
import { type AuthenticationSource, type Decision, identityOf, next, wrongPassword } from './source.js';

/** A user whose hash is in no text format has it read already. */
export type NewUser = UserOptions & { readonly hash?: PasswordHash };

export interface User {
  readonly options: UserOptions;
  /** Of a plain password. */
  readonly digest: Buffer | undefined;
  readonly hash: PasswordHash | undefined;
  readonly identity: Identity;
}

export class UserStore {
  private readonly users = new Map<string, User>();
  /** By what clients came in with. */
  private readonly byIdentity = new WeakMap<Identity, User>();
  private readonly listeners = new Set<() => void>();
  private readonly key = randomBytes(32);
  /** Names whose password is hashed, for `decoy`. */
  private hashed: string[] | undefined;

  constructor(private name: string) {}

  /** The source that identities of these users name. */
  get source(): string {
    return this.name;
  }

  rename(source: string): void {
    if (source === this.name) return;
    this.name = source;
    this.setAll(this.list());
  }

  get size(): number {
    return this.users.size;
  }

  get(username: string | undefined): User | undefined {
    return username === undefined ? undefined : this.users.get(username);
  }

  list(): UserOptions[] {
    return [...this.users.values()].map(({ options }) => options);
  }

  /**
   * Adds a user or puts another in its place.
   * Errors  Error when the hash is in no known format.
   */
  set(options: UserOptions): void {
    this.put(options);
    this.changed();
  }

  /** Puts these users in the place of all. */
  setAll(all: readonly NewUser[]): void {
    const before = new Map(this.users);
    this.users.clear();
    try {
      for (const options of all) this.put(options);
    } catch (error) {
      this.users.clear();
      for (const [username, user] of before) this.users.set(username, user);
      throw error;
    }
    this.changed();
  }

  remove(username: string): boolean {
    if (!this.users.delete(username)) return false;
    this.changed();
    return true;
  }

  /** Whether a client that came in as one of these users at this listener might still do so. */
  admits(identity: Identity, listener: string): boolean {
    const user = this.get(identity.username);
    if (user === undefined || !mayEnter(user.options, listener)) return false;
    const before = this.byIdentity.get(identity);
    return before === undefined || sameSecret(before, user);
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  digest(password: Uint8Array): Buffer {
    return createHmac('sha256', this.key).update(password).digest();
  }

  /** A hash that costs what a user of the store costs; undefined when this name is to be taken for one with a plain password. */
  decoy(username: string): PasswordHash | undefined {
    this.hashed ??= [...this.users].filter(([, user]) => user.hash !== undefined).map(([name]) => name);
    if (this.hashed.length === 0) return undefined;
    const pick = createHmac('sha256', this.key).update('decoy\0').update(username).digest().readUInt32BE(0);
    const index = pick % this.users.size;
    return index < this.hashed.length ? this.users.get(this.hashed[index]!)!.hash : undefined;
  }

  private put(options: NewUser): void {
    const { username, password, passwordHash, roles = [], groups = [], administration = 'none' } = options;
    let { hash } = options;
    if (passwordHash !== undefined) {
      hash = parsePasswordHash(passwordHash);
      if (hash === undefined) throw new Error(`the password hash of ${JSON.stringify(username)} is in no known format`);
    }
    const identity = identityOf(this.source, username, {
      roles,
      groups,
      ...(options.superuser ? { superuser: true } : {}),
      ...(administration === 'none' ? {} : { administration }),
    });
    const digest = password === undefined ? undefined : this.digest(Buffer.from(password));
    const user = { options, digest, hash, identity };
    this.users.set(username, user);
    this.byIdentity.set(identity, user);
  }

  private changed(): void {
    this.hashed = undefined;
    for (const listener of this.listeners) listener();
  }
}

/** Whether a user may come in at a listener at all. */
export function mayEnter({ enabled = true, listeners = [] }: UserOptions, listener: string): boolean {
  return enabled && (listeners.length === 0 || listeners.includes(listener));
}

function sameSecret(a: User, b: User): boolean {
  return a.options.password === b.options.password && isDeepStrictEqual(a.hash, b.hash);
}

const noPassword = Buffer.alloc(0);

export class UsersSource implements AuthenticationSource {
  private readonly nobody = randomBytes(32);
  private scram: ScramUsers | undefined;

  constructor(
    readonly name: string,
    readonly type: string,
    readonly store: UserStore,
    private readonly checker: PasswordChecker,
    private readonly withScram: boolean,
  ) {
    this.makeScram();
    store.onChange(() => this.makeScram());
  }

  authenticate(request: ConnectRequest): Decision | Promise<Decision> {
    const { username, password = noPassword } = request;
    if (username === undefined || this.store.size === 0) return next;
    const user = this.store.get(username);
    const hash = user === undefined ? this.store.decoy(username) : user.hash;
    if (hash === undefined) {
      // The same work for a known and an unknown user.
      const right = timingSafeEqual(this.store.digest(password), user?.digest ?? this.nobody);
      return this.decide(request, user, right);
    }
    const right = this.checker.check(username, password, hash);
    if (typeof right === 'boolean') return this.decide(request, user, right);
    return right.then((known) => {
      // Meanwhile the users may have changed.
      const now = this.store.get(username);
      return this.decide(request, user, known && now !== undefined && user !== undefined && sameSecret(now, user), now);
    });
  }

  beginExchange(method: string, { listener }: Client): AuthenticationExchange | undefined {
    const { scram } = this;
    if (scram === undefined || !isScramMethod(method)) return undefined;
    let asked: User | undefined;
    const exchange = new ScramExchange(method, (kind, username) => {
      asked = this.store.get(username);
      return asked !== undefined && mayEnter(asked.options, listener) ? scram.find(kind, username) : undefined;
    });
    return {
      step: async (data) => {
        const step = await exchange.step(data);
        if (step.outcome !== 'success') return step;
        // Meanwhile the users may have changed.
        const user = this.store.get(step.username);
        if (user === undefined || !sameSecret(user, asked!) || !mayEnter(user.options, listener))
          return { outcome: 'refused', reasonCode: ReasonCode.NotAuthorized };
        return { ...step, identity: user.identity };
      },
    };
  }

  /** Derives the SCRAM credentials of all users ahead, so that the first login of each takes no longer than others. */
  prepare(signal: AbortSignal): Promise<void> {
    return this.scram?.prepareAll(signal) ?? Promise.resolve();
  }

  status(): SourceStatus {
    return readyStatus(this.name, this.type);
  }

  private decide(request: ConnectRequest, user: User | undefined, right: boolean, now = user): Decision {
    if (user === undefined) return next;
    if (!right || now === undefined || !mayEnter(now.options, request.listener)) return wrongPassword;
    return { outcome: 'allow', identity: now.identity };
  }

  private makeScram(): void {
    const users = this.store
      .list()
      .flatMap(({ username, password }) => (password === undefined ? [] : [{ username, password }]));
    this.scram = this.withScram && users.length > 0 ? new ScramUsers(users) : undefined;
  }
}
