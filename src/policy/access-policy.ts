/**
 * The policy of the configuration: a chain of authentication, a chain of authorization, and the users, roles and groups that both
 * use. All of it may be changed while the broker runs.
 *
 * Without any source of authentication the `users` are the chain; without any source of authorization everything is allowed to whoever
 * is in. Publishing below `$SYS` is for the broker alone, but for the topic where a bridge says that it is connected.
 */
import { Fault, type Logger } from '../base/index.js';
import { type PubackReasonCode, type QoS, ReasonCode, type SubackReasonCode } from '../protocol/index.js';
import type { FindStanding } from './authentication/built-in-sources.js';
import { AuthenticationChain, type ExplainedLogin } from './authentication/chain.js';
import { makeAuthentication } from './authentication/make.js';
import type { AuthenticationSource } from './authentication/source.js';
import { UserStore, UsersSource } from './authentication/users.js';
import { AuthorizationChain, type Decision, type ExplainedStep } from './authorization/authorization-chain.js';
import { makeAuthorization } from './authorization/make.js';
import { RoleBook } from './authorization/role-book.js';
import type { AuthorizationSource } from './authorization/source.js';
import type { Standing } from './authorization/who.js';
import { DynamicSecurity } from './dynamic-security/dynamic-security.js';
import type { AccessOptions, AuthenticationOptions, AuthorizationSourceOptions } from './options.js';
import { PasswordChecker } from './passwords/password-checker.js';
import type { Admission, AuthenticationExchange, Client, ConnectRequest, Identity, Policy } from './policy.js';
import { type PlannedSources, SourceSet } from './source-set.js';
import type { Question } from './sources/facts.js';
import type { SourceStatus } from './sources/guard.js';

export interface AccessDependencies {
  readonly log: Logger;
  /** What the certificate authority knows of certificates. */
  readonly findStanding?: FindStanding;
  /** How often files are looked at, milliseconds. */
  readonly lookMs?: number;
}

export interface AccessStatus {
  readonly authentication: readonly SourceStatus[];
  readonly authorization: readonly SourceStatus[];
  readonly logins: { readonly allowed: number; readonly denied: number; readonly unavailable: number };
  /** Publishes and subscriptions refused, and those that got no answer and were refused for it. */
  readonly refused: { readonly denied: number; readonly unavailable: number };
}

/** What can be replaced while the broker runs: the chains as a whole; users, roles and groups that are left out stay. */
export type ReplacedAccess = Pick<AccessOptions, 'authentication' | 'authorization' | 'listeners'> &
  Partial<Pick<AccessOptions, 'users' | 'roles' | 'groups'>>;

type Chains = Pick<AccessOptions, 'authentication' | 'authorization' | 'listeners'>;

/** Both chains, ready to be put in force. */
interface Arranged extends Chains {
  readonly logins: PlannedSources<AuthenticationOptions, AuthenticationSource>;
  readonly rights: PlannedSources<AuthorizationSourceOptions, AuthorizationSource>;
  /** Dynamic security first. */
  readonly authenticating: readonly AuthenticationSource[];
  readonly authorizing: readonly AuthorizationSource[];
  readonly loginsByListener: ReadonlyMap<string, readonly AuthenticationSource[]>;
  readonly rightsByListener: ReadonlyMap<string, readonly AuthorizationSource[]>;
}

/** The name of the `users` of the configuration as a source. */
const USERS = 'users';
const impliedUsers: AuthenticationOptions = { type: 'users', name: USERS };

export class AccessPolicy implements Policy {
  readonly users: UserStore;
  /** Undefined where no file is configured. */
  readonly dynamicSecurity: DynamicSecurity | undefined;
  readonly roles = new RoleBook();
  /** Present while some rule may forbid a delivery. */
  authorizeReceive: ((client: Client, topicName: string) => boolean) | undefined;
  /** Present while some source has to do with it. */
  authorizeUnsubscribe: ((client: Client, topicFilter: string) => boolean) | undefined;
  /** Told of a client for whom a database has other rules than before; perhaps in the middle of a question about it. */
  onClientChange: (client: Client) => void = () => {};
  private arranged!: Arranged;
  private readonly authentication: AuthenticationChain;
  private readonly authorization: AuthorizationChain;
  private readonly logins: SourceSet<AuthenticationOptions, AuthenticationSource>;
  private readonly rights: SourceSet<AuthorizationSourceOptions, AuthorizationSource>;
  /** Lists of users by the source that admitted by them. */
  private readonly stores = new Map<string, UserStore>();
  /** Names of sources that were in force once and are not any more. */
  private readonly gone = new Set<string>();
  private readonly listeners = new Set<() => void>();
  private readonly log: Logger;
  /** Sources are open. */
  private opened = false;
  private preparing: AbortSignal | undefined;
  /** Several changes are made that count as one. */
  private replacing = false;

  /** Errors  Error in words where an option cannot be used. */
  constructor(options: AccessOptions, dependencies: AccessDependencies) {
    const { log } = dependencies;
    this.log = log;
    this.users = new UserStore(usersNameOf(options.authentication));
    this.users.setAll(options.users);
    this.users.onChange(() => this.changed());
    this.roles.replace(options.roles, options.groups);
    this.roles.onChange(() => this.changed());
    const checker = new PasswordChecker();
    const { file, ...more } = options.dynamicSecurity ?? {};
    this.dynamicSecurity =
      file === undefined
        ? undefined
        : new DynamicSecurity(
            { file, ...more },
            {
              log,
              checker,
              changed: (rights) => (rights ? this.changed() : this.authorization.changed()),
              isLast: () => this.arranged.rights.sources.length === 0,
            },
          );
    const shared = { ...dependencies, users: this.users, checker };
    this.logins = new SourceSet((source) => makeAuthentication(source, shared));
    const ruled = {
      ...dependencies,
      roles: this.roles,
      changed: () => this.changed(),
      changedFor: (client: Client) => this.onClientChange(client),
    };
    this.rights = new SourceSet((source) => makeAuthorization(source, ruled));
    this.authentication = new AuthenticationChain(() => this.knowsNobody, log);
    const { noMatch, cacheTopicsMax } = options.authorization;
    this.authorization = new AuthorizationChain([], {
      noMatch,
      cacheTopicsMax,
      standingOf: (client) => this.standingOf(client),
      isStillSuperuser: ({ identity }) => {
        const store = this.storeOf(identity);
        return store === undefined || store.get(identity!.username)?.options.superuser === true;
      },
    });
    this.enforce(this.arrange(options));
    this.changed();
  }

  get denyAction(): 'ignore' | 'disconnect' {
    return this.arranged.authorization.denyAction;
  }

  /** Errors  Fault when a source cannot begin, such as a file that is not there. */
  async open(): Promise<void> {
    await this.authentication.open();
    await this.authorization.open();
    this.opened = true;
  }

  /**
   * Other chains of sources from now on, and other users, roles and groups, all of them at the same moment. A source with the same settings as
   * before goes on as it is. Clients whose source is gone, or whose user is gone, disabled or has another password, are not admitted any
   * more; rights count at once. Not to be called again before it has ended.
   * Errors  Fault when a source cannot begin, or where the policy was closed meanwhile; Error in words where an option cannot be used. Then
   * nothing has changed.
   */
  async replace(asked: ReplacedAccess): Promise<void> {
    const { users, roles, groups } = asked;
    const next = this.arrange(asked);
    const fresh = [...next.logins.fresh, ...next.rights.fresh];
    if (this.opened)
      try {
        for (const source of fresh) await source.open?.();
        if (!this.opened) throw new Fault('BROKER_STOPPED', 'the broker was stopped meanwhile');
      } catch (error) {
        await this.closeAll(fresh);
        throw error;
      }
    this.replacing = true;
    try {
      if (users !== undefined) this.users.setAll(users);
      if (roles !== undefined || groups !== undefined)
        this.roles.replace(roles ?? [...this.roles.roles.values()], groups ?? [...this.roles.groups.values()]);
      this.enforce(next);
    } finally {
      this.replacing = false;
      this.changed();
    }
    await this.closeAll([...next.logins.gone, ...next.rights.gone]);
    if (this.preparing !== undefined) await this.prepareUsers(next.logins.fresh, this.preparing);
  }

  /** Makes the sources that are new, and changes nothing yet. Errors  Error in words where an option cannot be used. */
  private arrange({ authentication, authorization, listeners }: Chains): Arranged {
    const logins = this.logins.plan(authentication.length === 0 ? [impliedUsers] : authentication);
    const rights = this.rights.plan(authorization.sources);
    const { dynamicSecurity } = this;
    const authenticating =
      dynamicSecurity === undefined ? logins.sources : [dynamicSecurity.authentication, ...logins.sources];
    const authorizing =
      dynamicSecurity === undefined ? rights.sources : [dynamicSecurity.authorization, ...rights.sources];
    return {
      authentication,
      authorization,
      listeners,
      logins,
      rights,
      authenticating,
      authorizing,
      loginsByListener: chainsOf(listeners, 'authentication', authenticating),
      rightsByListener: chainsOf(listeners, 'authorization', authorizing),
    };
  }

  private enforce(arranged: Arranged): void {
    const { logins, rights, authenticating, authorizing, authentication, authorization } = arranged;
    this.arranged = arranged;
    this.logins.take(logins);
    this.rights.take(rights);
    for (const { name } of logins.gone) this.gone.add(name);
    for (const { name } of logins.sources) this.gone.delete(name);
    this.users.rename(usersNameOf(authentication));
    this.stores.clear();
    this.stores.set(this.users.source, this.users);
    for (const source of logins.sources)
      if (source instanceof UsersSource) this.stores.set(source.store.source, source.store);
    for (const source of logins.fresh)
      if (source instanceof UsersSource && source.store !== this.users) source.store.onChange(() => this.changed());
    this.authentication.replace(authenticating, arranged.loginsByListener);
    const { noMatch, cacheTopicsMax, sources } = authorization;
    this.authorization.replace(authorizing, { noMatch, cacheTopicsMax, byListener: arranged.rightsByListener });
    this.authorizeUnsubscribe =
      this.dynamicSecurity !== undefined || sources.some(({ type }) => type === 'roles')
        ? (client, topicFilter) => this.authorization.unsubscribe(client, topicFilter)
        : undefined;
  }

  /** Dynamic security, for a client of a listener where it counts: others cannot administer what decides nothing about them. */
  dynamicSecurityFor({ listener }: Client): DynamicSecurity | undefined {
    const { dynamicSecurity } = this;
    const named = this.arranged.rightsByListener.get(listener);
    if (dynamicSecurity === undefined || named === undefined) return dynamicSecurity;
    return named.includes(dynamicSecurity.authorization) ? dynamicSecurity : undefined;
  }

  /** What is wrong with the files that sources read; no source is asked anything. The policy is closed afterwards. */
  async check(): Promise<string[]> {
    const problems: string[] = [];
    for (const source of [...this.authentication.sources, ...this.authorization.sources])
      try {
        await (source.check ?? source.open)?.call(source);
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        problems.push(error.message);
      }
    await this.close();
    return problems;
  }

  /** Work ahead of the first login, which may take a while. */
  async prepare(signal: AbortSignal): Promise<void> {
    this.preparing = signal;
    await this.prepareUsers(this.arranged.logins.sources, signal);
  }

  /** Reads again what has changed of the files of sources, before anything else happens. Does nothing while they are not open. */
  look(): void {
    if (this.opened)
      for (const source of [...this.authentication.sources, ...this.authorization.sources]) source.look?.();
  }

  async close(): Promise<void> {
    this.opened = false;
    await Promise.all([this.authentication.close(), this.authorization.close()]);
  }

  authenticate(request: ConnectRequest): Admission | Promise<Admission> {
    return this.authentication.authenticate(request);
  }

  beginExchange(method: string, client: Client): AuthenticationExchange | undefined {
    return this.authentication.beginExchange(method, client);
  }

  authorizePublish(
    client: Client,
    topicName: string,
    qos: QoS = 0,
    retain = false,
  ): PubackReasonCode | Promise<PubackReasonCode> {
    return this.mayPublish(client, topicName, qos, retain, true);
  }

  /** Whether a client that may be gone by now might publish what is retained of it; a refusal is not counted. */
  authorizeSource(
    client: Client,
    topicName: string,
    qos: QoS,
    retain: boolean,
  ): PubackReasonCode | Promise<PubackReasonCode> {
    return this.mayPublish(client, topicName, qos, retain, false);
  }

  /** What the users of a listener say of one of this name now; undefined where they say nothing. */
  identityOf(username: string, listener: string): Identity | undefined {
    const { loginsByListener, logins } = this.arranged;
    for (const source of loginsByListener.get(listener) ?? logins.sources) {
      const user = source instanceof UsersSource ? source.store.get(username) : undefined;
      if (user !== undefined) return user.identity;
    }
    return undefined;
  }

  /**
   * Why a client that is in could not be any more: its source counts no longer, its user is gone, disabled or has another password, or nobody
   * comes in unknown. Not for clients whom a key or the program has let in. `allowAnonymous`: of its listener
   */
  whyNotAdmitted({ identity, username, listener }: Client, allowAnonymous: boolean): string | undefined {
    if (identity === undefined) {
      if (!allowAnonymous) return 'anonymous clients are not let in any more';
      return username === undefined || this.knowsNobody ? undefined : 'users are asked for a password now';
    }
    if (identity.source === undefined) return undefined;
    const isOf = ({ name }: AuthenticationSource) => name === identity.source;
    const chain = this.arranged.loginsByListener.get(listener);
    const outside = chain !== undefined && !chain.some(isOf) && this.arranged.authenticating.some(isOf);
    if (outside || this.gone.has(identity.source)) return 'the source that let the client in counts no more';
    const admitted = this.storeOf(identity)?.admits(identity, listener) ?? true;
    return admitted ? undefined : 'the user was changed, disabled or deleted';
  }

  private mayPublish(
    client: Client,
    topicName: string,
    qos: QoS,
    retain: boolean,
    counts: boolean,
  ): PubackReasonCode | Promise<PubackReasonCode> {
    if (isOfBroker(topicName)) return isStateOf(client, topicName) ? ReasonCode.Success : ReasonCode.NotAuthorized;
    if (this.allowsAll) return ReasonCode.Success;
    const decision = this.authorization.publish(client, topicName, qos, retain, counts);
    return typeof decision === 'string' ? publishAnswers[decision] : decision.then((known) => publishAnswers[known]);
  }

  authorizeSubscribe(client: Client, topicFilter: string, qos: QoS): SubackReasonCode | Promise<SubackReasonCode> {
    if (this.allowsAll) return qos;
    const decision = this.authorization.subscribe(client, topicFilter, qos);
    const answer = (known: Decision): SubackReasonCode => (known === 'allow' ? qos : refusals[known]);
    return typeof decision === 'string' ? answer(decision) : decision.then(answer);
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  status(): AccessStatus {
    const { denied, unavailable } = this.authorization;
    return {
      authentication: this.authentication.status(),
      authorization: this.authorization.status(),
      logins: { ...this.authentication.counts },
      refused: { denied, unavailable },
    };
  }

  /** What each source says to a login. Sources are asked as for a login. */
  explainConnect(request: ConnectRequest): Promise<{ admission: Admission; steps: ExplainedLogin[] }> {
    return this.authentication.explain(request);
  }

  async explain(client: Client, question: Question): Promise<{ decision: Decision; steps: ExplainedStep[] }> {
    const answer = (decision: Decision, source: string, origin: string) => ({
      decision,
      steps: [{ source, type: source, answer: decision, origin }],
    });
    if (question.action === 'publish' && isOfBroker(question.topic))
      return isStateOf(client, question.topic)
        ? answer('allow', 'broker', 'a bridge says whether it is connected')
        : answer('deny', 'broker', 'topics below $SYS are published by the broker alone');
    if (this.allowsAll) return answer('allow', 'broker', 'no source of authorization is configured');
    if (this.authorization.isSuperuser(client)) return answer('allow', 'identity', 'a superuser');
    return this.authorization.explain(client, question);
  }

  /** No source knows users, so a user name counts for nothing where anonymous clients are allowed. */
  private get knowsNobody(): boolean {
    return this.arranged.authentication.length === 0 && this.users.size === 0 && this.dynamicSecurity === undefined;
  }

  /** Allows everything to whoever is in. */
  private get allowsAll(): boolean {
    return this.arranged.authorizing.length === 0;
  }

  private async prepareUsers(sources: readonly AuthenticationSource[], signal: AbortSignal): Promise<void> {
    for (const source of sources) if (source instanceof UsersSource) await source.prepare(signal);
  }

  /** Sources that do not count, or not any more. */
  private async closeAll(sources: readonly (AuthenticationSource | AuthorizationSource)[]): Promise<void> {
    for (const { status, reason } of (await Promise.allSettled(
      sources.map((source) => source.close?.()),
    )) as PromiseRejectedResult[])
      if (status === 'rejected') this.log.error('authentication.close-failed', String(reason));
  }

  /** Roles and groups of a client at this time: users of a store have those that the store says now. */
  private standingOf({ identity }: Client): Standing {
    const store = this.storeOf(identity);
    if (store === undefined) return identity ?? nobody;
    const user = store.get(identity!.username);
    return user === undefined ? nobody : { roles: user.options.roles ?? [], groups: user.options.groups ?? [] };
  }

  /** The list of users that a client came in by, where it did by one. */
  private storeOf(identity: Identity | undefined): UserStore | undefined {
    return identity?.source === undefined ? undefined : this.stores.get(identity.source);
  }

  private changed(): void {
    if (this.replacing) return;
    this.authorization.changed();
    const { authorization } = this;
    this.authorizeReceive =
      !this.allowsAll && authorization.governsReceive
        ? (client, topicName) => authorization.receive(client, topicName)
        : undefined;
    for (const listener of this.listeners) listener();
  }
}

const nobody: Standing = { roles: [], groups: [] };
const refusals = { deny: ReasonCode.NotAuthorized, unavailable: ReasonCode.UnspecifiedError } as const;
const publishAnswers = { allow: ReasonCode.Success, ...refusals } as const;

// 0x24 is `$`: one look at the first unit settles nearly all
const isOfBroker = (topicName: string) => topicName.charCodeAt(0) === 0x24 && topicName.startsWith('$SYS/');

/** Where a bridge that connects to this broker says whether it does, as Mosquitto's bridges and ours do by default. */
const isStateOf = ({ clientId }: Pick<Client, 'clientId'>, topicName: string) =>
  topicName === `$SYS/broker/connection/${clientId}/state`;

/** By listener, the sources it names, in the order in which it names them. */
function chainsOf<Source extends { readonly name: string }>(
  listeners: AccessOptions['listeners'],
  kind: 'authentication' | 'authorization',
  sources: readonly Source[],
): Map<string, readonly Source[]> {
  const chains = new Map<string, readonly Source[]>();
  for (const listener of listeners) {
    const names = listener[kind] ?? [];
    if (names.length === 0) continue;
    const named = names.map((wanted) => {
      const found = sources.find((source) => source.name === wanted);
      if (found === undefined)
        throw new Error(`listener ${listener.name} names ${JSON.stringify(wanted)}, which is no source`);
      return found;
    });
    chains.set(listener.name, named);
  }
  return chains;
}

const usersNameOf = (authentication: AccessOptions['authentication']) =>
  authentication.find(({ type }) => type === 'users')?.name ?? USERS;
