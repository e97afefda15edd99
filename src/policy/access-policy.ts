/**
 * The policy of the configuration: a chain of authentication, a chain of authorization, and the users, roles and groups that both
 * use and that may be changed while the broker runs.
 *
 * Without any source of authentication the `users` are the chain; without any source of authorization everything is allowed to whoever
 * is in. Publishing below `$SYS` is for the broker alone, but for the topic where a bridge says that it is connected.
 */
import { Fault, type Logger, quoted } from '../base/index.js';
import { type PubackReasonCode, type QoS, ReasonCode, type SubackReasonCode } from '../protocol/index.js';
import type { FindStanding } from './authentication/built-in-sources.js';
import { AuthenticationChain, type ExplainedLogin } from './authentication/chain.js';
import { makeAuthentication } from './authentication/make.js';
import type { AuthenticationSource } from './authentication/source.js';
import { UserStore, UsersSource } from './authentication/users.js';
import { AuthorizationChain, type Decision, type ExplainedStep } from './authorization/authorization-chain.js';
import { RulesSource } from './authorization/local-sources.js';
import { makeAuthorization } from './authorization/make.js';
import { RoleBook } from './authorization/role-book.js';
import type { RuleInput } from './authorization/rule.js';
import type { AuthorizationSource } from './authorization/source.js';
import type { Standing } from './authorization/who.js';
import { DynamicSecurity } from './dynamic-security/dynamic-security.js';
import type { AccessOptions } from './options.js';
import { PasswordChecker } from './passwords/password-checker.js';
import type { Admission, AuthenticationExchange, Client, ConnectRequest, Identity, Policy } from './policy.js';
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

/** What can be replaced while the broker runs. `rules` by the name of their source. */
export type ReplacedAccess = Partial<Pick<AccessOptions, 'users' | 'roles' | 'groups'>> & {
  readonly rules?: Readonly<Record<string, readonly RuleInput[]>>;
};

/** The name of the `users` of the configuration as a source. */
const USERS = 'users';

export class AccessPolicy implements Policy {
  readonly users: UserStore;
  /** Undefined where no file is configured. */
  readonly dynamicSecurity: DynamicSecurity | undefined;
  private readonly loginsByListener: ReadonlyMap<string, readonly AuthenticationSource[]>;
  private readonly rightsByListener: ReadonlyMap<string, readonly AuthorizationSource[]>;
  readonly roles = new RoleBook();
  readonly denyAction: 'ignore' | 'disconnect';
  /** Present while some rule may forbid a delivery. */
  authorizeReceive: ((client: Client, topicName: string) => boolean) | undefined;
  readonly authorizeUnsubscribe: ((client: Client, topicFilter: string) => boolean) | undefined;
  private readonly authentication: AuthenticationChain;
  private readonly authorization: AuthorizationChain;
  private readonly allowsAll: boolean;
  private readonly usersSources: readonly UsersSource[];
  private readonly stores = new Map<string, UserStore>();
  private readonly listeners = new Set<() => void>();
  /** Several changes are made that count as one. */
  private replacing = false;

  /** Errors  Error in words where an option cannot be used. */
  constructor(options: AccessOptions, dependencies: AccessDependencies) {
    const { log } = dependencies;
    const configured = options.authentication.find(({ type }) => type === 'users');
    this.users = new UserStore(configured?.name ?? USERS);
    this.users.setAll(options.users);
    const checker = new PasswordChecker();
    const shared = { ...dependencies, users: this.users, checker };
    const implied = options.authentication.length === 0;
    const { sources: authorizing, noMatch, denyAction, cacheTopicsMax } = options.authorization;
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
              isLast: authorizing.length === 0,
            },
          );
    const configuredSources = implied
      ? [new UsersSource(USERS, 'users', this.users, checker, true)]
      : options.authentication.map((source) => makeAuthentication(source, shared));
    const sources =
      this.dynamicSecurity === undefined
        ? configuredSources
        : [this.dynamicSecurity.authentication, ...configuredSources];
    this.usersSources = sources.filter((source): source is UsersSource => source instanceof UsersSource);
    this.stores.set(this.users.source, this.users);
    for (const { store } of this.usersSources) this.stores.set(store.source, store);
    this.loginsByListener = chainsOf<AuthenticationSource>(options, 'authentication', sources);
    this.authentication = new AuthenticationChain(
      sources,
      this.loginsByListener,
      () => implied && this.users.size === 0 && this.dynamicSecurity === undefined,
      log,
    );

    this.roles.replace(options.roles, options.groups);
    this.denyAction = denyAction;
    this.allowsAll = authorizing.length === 0 && this.dynamicSecurity === undefined;
    const authorizingSources = authorizing.map((source) =>
      makeAuthorization(source, { ...dependencies, roles: this.roles, changed: () => this.changed() }),
    );
    const rights =
      this.dynamicSecurity === undefined
        ? authorizingSources
        : [this.dynamicSecurity.authorization, ...authorizingSources];
    this.rightsByListener = chainsOf<AuthorizationSource>(options, 'authorization', rights);
    this.authorization = new AuthorizationChain(rights, {
      noMatch,
      cacheTopicsMax,
      standingOf: (client) => this.standingOf(client),
      isStillSuperuser: ({ identity }) => {
        const store = this.storeOf(identity);
        return store === undefined || store.get(identity!.username)?.options.superuser === true;
      },
      byListener: this.rightsByListener,
    });
    this.authorizeUnsubscribe =
      this.dynamicSecurity !== undefined || authorizing.some(({ type }) => type === 'roles')
        ? (client, topicFilter) => this.authorization.unsubscribe(client, topicFilter)
        : undefined;
    this.roles.onChange(() => this.changed());
    for (const store of this.stores.values()) store.onChange(() => this.changed());
    this.changed();
  }

  /** Errors  Fault when a source cannot begin, such as a file that is not there. */
  async open(): Promise<void> {
    await this.authentication.open();
    await this.authorization.open();
  }

  /**
   * Other users, roles, groups and rules from now on, each in the place of all there were; what is left out stays. Clients whose user is
   * gone, disabled or has another password are not admitted any more; rights count at once, all of them together.
   * Errors  Fault ACCESS_SOURCE_UNKNOWN where rules are for no source that has any.
   */
  replace({ users, roles, groups, rules = {} }: ReplacedAccess): void {
    const sources = Object.entries(rules).map(([name, given]) => {
      const source = this.authorization.sources.find((one) => one.name === name);
      if (source instanceof RulesSource) return { source, given };
      throw new Fault('ACCESS_SOURCE_UNKNOWN', `no source of authorization with rules is called ${quoted(name)}`);
    });
    this.replacing = true;
    try {
      if (users !== undefined) this.users.setAll(users);
      if (roles !== undefined || groups !== undefined)
        this.roles.replace(roles ?? [...this.roles.roles.values()], groups ?? [...this.roles.groups.values()]);
      for (const { source, given } of sources) source.replace(given);
    } finally {
      this.replacing = false;
      this.changed();
    }
  }

  /** Dynamic security, for a client of a listener where it counts: others cannot administer what decides nothing about them. */
  dynamicSecurityFor({ listener }: Client): DynamicSecurity | undefined {
    const { dynamicSecurity } = this;
    const named = this.rightsByListener.get(listener);
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
    for (const source of this.usersSources) await source.prepare(signal);
  }

  async close(): Promise<void> {
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
    for (const source of this.loginsByListener.get(listener) ?? this.usersSources) {
      const user = source instanceof UsersSource ? source.store.get(username) : undefined;
      if (user !== undefined) return user.identity;
    }
    return undefined;
  }

  /** Whether a client that is in could still be: its user is there, enabled, and has the same password. */
  stillAdmits({ identity, listener }: Client): boolean {
    return this.storeOf(identity)?.admits(identity!, listener) ?? true;
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
  { listeners }: AccessOptions,
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
