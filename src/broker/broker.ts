/**
 * One broker node: makes the modules, joins them, listens, and takes it all down again.
 */
import type { Server as HttpServer } from 'node:http';
import type { Duplex } from 'node:stream';
import {
  Fault,
  type Limits,
  type Logger,
  silentLogger,
  steadyClock,
  systemClock,
  TimerWheel,
  Turn,
} from '../base/index.js';
import { type BridgeStatus, Bridges } from '../bridge/index.js';
import {
  type BridgeConfig,
  type BridgeInput,
  type Config,
  type ConfigInput,
  resolveBridge,
  resolveConfig,
} from '../config/index.js';
import {
  type Ban,
  type BanKind,
  type Connection,
  type ConnectionContext,
  type ConnectionObserver,
  type ListenerOptions,
  type NewBan,
  OutboundTotals,
  recheckSubscriptions,
} from '../connection/index.js';
import { BrokerMetrics } from '../metrics/index.js';
import { AccessPolicy, type Client, type Policy } from '../policy/index.js';
import { Message, type NewMessage, PublishRun, PublishView, type QoS, ReasonCode } from '../protocol/index.js';
import { DelayedMessages, Router } from '../router/index.js';
import { Pressure, SessionRegistry } from '../session/index.js';
import { attachWebSocket, NodeStream, securityOfSocket } from '../transport/index.js';
import { Admission } from './admission.js';
import type {
  AccessSettings,
  AttachOptions,
  BoundListener,
  Broker,
  BrokerOptions,
  BrokerStatus,
  DelayedInfo,
  LiveSettings,
  PublishOptions,
} from './broker-api.js';
import { BrokerStorage } from './broker-storage.js';
import {
  checkAttach,
  checkBanCall,
  checkBrokerOptions,
  checkHandle,
  checkPublish,
  checkSubscribe,
} from './check-calls.js';
import { checkedPolicy } from './checked-policy.js';
import { controlTopics } from './control-topics.js';
import { type BrokerEventName, type BrokerEvents, type ClientInfo, EventHub } from './events.js';
import { Guard } from './guard.js';
import { handlingRules } from './handling-rules.js';
import { joinPolicies } from './join-policies.js';
import { Listeners } from './listeners.js';
import { type Call, checkAsked, configAsked, replacedAccess } from './live-settings.js';
import { LocalSubscriber, type MessageHandler } from './local-subscriber.js';
import { checkPolicyNames } from './policy-names.js';
import { RetainedSources } from './retained-sources.js';
import { startSysUpdates } from './sys-updates.js';
import { dumpTree } from './tree-dump.js';

/** How long `stop` waits for connections to take their last bytes, milliseconds. */
const STOP_GRACE_MS = 1000;

/**
 * Makes a broker; `start` makes it listen.
 * Errors  `ConfigError` naming every wrong key, `Fault` OPTIONS_INVALID naming what else is wrong.
 */
export function createBroker(options: BrokerOptions = {}): Broker {
  checkBrokerOptions(options);
  const input = (options.config ?? {}) as ConfigInput;
  const config = resolveConfig(input, { authenticated: options.policy?.authenticate !== undefined });
  const logger = options.logger ?? silentLogger;
  if (options.policy !== undefined) checkPolicyNames(options.policy, logger);
  return new BrokerNode(config, logger, checkedPolicy(options.policy ?? {}, logger));
}

class BrokerNode implements Broker, ConnectionObserver {
  readonly metrics: BrokerMetrics;
  private readonly events: EventHub;
  private readonly context: ConnectionContext;
  private readonly wheel: TimerWheel;
  private readonly connections = new Set<Connection>();
  private readonly listening: Listeners;
  /** In force now: the same object is changed. */
  private readonly limits: { -readonly [Key in keyof Limits]: Limits[Key] };
  private readonly detachers = new Set<() => void>();
  private readonly storage: BrokerStorage;
  private readonly delayed: DelayedMessages;
  private readonly guard: Guard;
  private readonly admission: Admission;
  private readonly bridging: Bridges;
  private stopSys = (): void => {};
  private readonly access: AccessPolicy;
  /** The program decides who comes in. */
  private readonly ownLogins: boolean;
  private readonly retainedSources: RetainedSources;
  private preparing = new AbortController();
  private localSubscribers = 0;
  /** Retained wills that are due while storage cannot be written. */
  private readonly heldWills: NewMessage[] = [];
  /** Lets clients in. */
  private running = false;
  /** Of the start that nobody has stopped. */
  private wanted: object | undefined;
  private starting = Promise.resolve();
  private stopping = Promise.resolve();
  /** Of `replaceAccess`; never rejects. */
  private replacing: Promise<void> = Promise.resolve();

  constructor(
    private config: Config,
    private readonly log: Logger,
    policy: Partial<Policy>,
  ) {
    const clock = systemClock;
    const limits = { ...config.limits };
    this.limits = limits;
    this.events = new EventHub(log);
    this.metrics = new BrokerMetrics(clock.nowMs());
    this.wheel = new TimerWheel(steadyClock, (error) => this.storage.tell(error));
    const pressure = new Pressure(this.wheel, limits.slowReaderHoldMs);
    const handlingOf = handlingRules(config);
    this.storage = new BrokerStorage(config, limits, handlingOf, log);
    const { store, persistent } = this.storage;
    const router = new Router({
      ...(persistent ? { storedRetained: this.storage.retained!, groupStore: this.storage.groups! } : {}),
      storeFailed: () => store.failed !== undefined,
      handlingOf,
      strategy: config.sharedSubscriptions.strategy,
      topicCacheEntriesMax: limits.topicCacheEntriesMax,
      get sharedQueueMessagesMax() {
        return limits.sharedQueueMessagesMax;
      },
      get retainedMessagesMax() {
        return limits.retainedMessagesMax;
      },
      get retainedBytesMax() {
        return limits.retainedBytesMax;
      },
      clock,
      wheel: this.wheel,
      onDropped: () => this.metrics.publishDropped++,
    });
    this.delayed = new DelayedMessages(
      store,
      this.wheel,
      () => clock.nowMs(),
      limits,
      (message) => void router.publish(message),
    );
    router.delayed = this.delayed;
    this.ownLogins = policy.authenticate !== undefined;
    this.access = new AccessPolicy(config, {
      log,
      findStanding: ({ der, trusted }) => this.listening.authority?.standing(der, trusted) ?? 'unlisted',
    });
    this.retainedSources = new RetainedSources({
      on: config.authorization.checkRetainedSource,
      authorize: policy.authorizePublish?.bind(policy) ?? this.access.authorizeSource.bind(this.access),
      identityOf: (username, listener) => this.access.identityOf(username, listener),
      mountPointOf: (name) => config.listeners.find((listener) => listener.name === name)?.mountPoint ?? '',
      log,
    });
    this.access.onChange(() => this.retainedSources.forget());
    const { connections, metrics } = this;
    this.guard = new Guard(config, { connections, metrics, clock, log, store: persistent ? store : undefined });
    const sessions = new SessionRegistry(
      {
        router,
        wheel: this.wheel,
        clock,
        limits,
        metrics,
        pressure,
        store: this.storage.sessions,
        slowConsumerSeconds: () => this.guard.slowConsumerSeconds,
        onSlowConsumer: (session) => this.guard.slowConsumer(session),
        onDamage: ({ clientId }, error) => this.storage.tell(error, { clientId }),
        upgradeQoS: config.protocol.upgradeQoS,
        mayDeliverRetained: this.retainedSources.mayDeliver,
      },
      (values) => this.publishWill(values),
    );
    this.context = {
      clock,
      nowMs: () => clock.nowMs(),
      wheel: this.wheel,
      turn: new Turn(),
      run: new PublishRun(),
      view: new PublishView(),
      limits,
      granted: { ...limits },
      protocol: { ...config.protocol, maximumQoS: config.protocol.maximumQoS as QoS, redirect: redirectOf(config) },
      metrics,
      log,
      policy: joinPolicies(policy, this.access),
      protection: this.guard.protection,
      retainedSources: this.retainedSources,
      router,
      sessions,
      pressure,
      outboundTotals: new OutboundTotals(limits.memoryOutboundBytesMax, metrics),
      observer: this,
      control: controlTopics(this.access),
      storage: persistent ? store : undefined,
    };
    this.admission = new Admission({
      config,
      context: this.context,
      connections,
      limits,
      guard: this.guard,
      metrics,
      log,
      running: () => this.running,
    });
    this.listening = new Listeners({
      config,
      limits,
      log,
      metrics,
      connections,
      door: (listener) => this.admission.door(listener),
    });
    this.bridging = new Bridges(this.context, log, (bridge) => {
      if (this.events.has('bridgeChanged')) this.events.emit('bridgeChanged', { bridge: bridge() });
    });
    const { turn } = this.context;
    turn.beforeFlush = () => store.commit();
    store.onOperation = () => turn.schedule();
    this.access.onChange(() => setImmediate(() => this.dropGone()));
    this.context.policy.onChange?.(() => {
      for (const connection of [...this.connections]) if (connection.connected) recheckSubscriptions(connection);
    });
    // Later, since it may be told in the middle of a delivery.
    this.access.onClientChange = (client) => setImmediate(() => this.recheck(client));
    this.joinDynamicSecurity();
    store.onHealth = (failed) => {
      if (failed !== undefined) return;
      this.releasePublishers();
      for (const values of this.heldWills.splice(0)) this.publishWill(values);
    };
  }

  get listeners(): BoundListener[] {
    return this.listening.list();
  }

  start(): Promise<void> {
    if (this.wanted !== undefined) return Promise.reject(new Fault('BROKER_RUNNING', 'the broker is running already'));
    this.wanted = {};
    const { stopping, replacing } = this;
    this.starting = this.open(
      this.wanted,
      stopping.then(() => replacing),
    );
    return this.starting;
  }

  /** Later starts and stops wait for this one. `wanted` is of this start: another one, or none, once it was stopped. */
  private async open(wanted: object, stopped: Promise<void>): Promise<void> {
    const goOn = (): void => {
      if (this.wanted !== wanted) throw new Fault('BROKER_STOPPED', 'the broker was stopped while it started');
    };
    await stopped.catch(() => {});
    try {
      goOn();
      if (this.storage.spent) throw new Fault('BROKER_STOPPED', 'a broker with storage starts once; make a new one');
      this.context.sessions.stopping = false;
      await this.storage.open(this.context.sessions);
      this.delayed.start();
      await this.access.open();
      this.guard.start();
      this.wheel.start();
      goOn();
      this.bridging.start(this.config.bridges);
      this.running = true;
      for (const config of this.config.listeners) {
        await this.listening.open(config);
        goOn();
      }
    } catch (error) {
      await this.closeAll().catch(() => {}); // why it did not start is what counts
      if (this.wanted === wanted) this.wanted = undefined;
      throw error;
    }
    this.preparing = new AbortController();
    this.access.prepare(this.preparing.signal).catch((error: unknown) => {
      this.log.error('authentication.prepare-failed', String(error));
    });
    const { intervalSeconds } = this.config.sys;
    if (intervalSeconds > 0) this.stopSys = startSysUpdates(this.context, intervalSeconds, () => this.bridging.show());
  }

  stop(): Promise<void> {
    if (this.wanted !== undefined) {
      this.wanted = undefined;
      this.stopping = this.starting.then(
        () => this.closeAll(),
        () => {}, // whoever started it is told, and nothing is left
      );
    }
    return this.stopping;
  }

  private async closeAll(): Promise<void> {
    this.running = false;
    this.preparing.abort();
    this.stopSys();
    for (const detach of this.detachers) detach();
    this.detachers.clear();
    this.context.sessions.stopping = true;
    const listeners = this.listening.close();
    for (const connection of [...this.connections]) {
      connection.disconnect(ReasonCode.ServerShuttingDown, 'the broker shuts down');
    }
    this.bridging.stop();
    this.delayed.stop();
    this.guard.stop();
    this.storage.stopSweeping();
    const deadline = Date.now() + STOP_GRACE_MS;
    while (this.connections.size + this.bridging.open > 0 && Date.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 10));
    for (const connection of [...this.connections]) connection.destroy();
    this.bridging.destroy();
    await listeners;
    await this.access.close();
    this.wheel.stop();
    await this.storage.close();
  }

  /** Publishers that had to wait for storage go on. */
  private releasePublishers(): void {
    for (const connection of this.connections) {
      if (!connection.awaitsStorage) continue;
      connection.awaitsStorage = false;
      connection.proceed();
    }
    this.bridging.releasePublishers();
  }

  delayedMessages(): DelayedInfo[] {
    return [...this.delayed.list()].map(({ id, dueAtMs, message: { topicName, qos, retain, payload } }) => ({
      id,
      dueAtMs,
      topicName,
      qos,
      retain,
      payload: Buffer.from(payload),
    }));
  }

  cancelDelayed(id: string): boolean {
    return this.delayed.cancel(id);
  }

  save(): Promise<void> {
    return this.storage.save();
  }

  dumpTree(write: (kind: 'subscription' | 'retained', line: string) => void): Promise<void> {
    return dumpTree(this.context.router, this.context.sessions, write);
  }

  status(): BrokerStatus {
    const { router, sessions } = this.context;
    return {
      running: this.running,
      clientsConnected: this.metrics.clientsConnected,
      sessions: sessions.size,
      subscriptions: router.subscriptionCount,
      messagesReceived: this.metrics.publishReceived,
      messagesSent: this.metrics.publishSent,
      messagesRetained: router.retained.size,
      ...this.storage.status(),
      access: this.access.status(),
    };
  }

  publish(topicName: string, payload: Uint8Array | string, options: PublishOptions = {}): number {
    checkPublish(topicName, payload, options);
    const { qos = 0, retain = false, properties } = options;
    return this.context.router.publishLocal({ topicName, payload, qos, retain, properties });
  }

  subscribe(topicFilter: string, handler: MessageHandler, options: { readonly qos?: QoS } = {}): () => void {
    checkSubscribe(topicFilter, handler, options);
    const subscriber = new LocalSubscriber(`$local-${++this.localSubscribers}`, handler, this.log);
    return subscriber.subscribe(this.context.router, topicFilter, options.qos ?? 2);
  }

  on<Name extends BrokerEventName>(name: Name, listener: (event: BrokerEvents[Name]) => void): () => void {
    return this.events.on(name, listener);
  }

  handle(stream: Duplex, options: { readonly allowAnonymous?: boolean } = {}): void {
    checkHandle(stream, options);
    const door = this.admission.door(this.ownListener('handle', options.allowAnonymous ?? true));
    door.accept(new NodeStream(stream, undefined, securityOfSocket(stream)), undefined);
  }

  attachWebSocket(server: HttpServer, options: AttachOptions = {}): () => void {
    checkAttach(server, options);
    const listener = this.ownListener('attached', options.allowAnonymous ?? true);
    const door = this.admission.door(listener);
    const detach = attachWebSocket(server, {
      name: listener.name,
      path: options.path ?? '/mqtt',
      origins: options.origins ?? [],
      packetBytesMax: () => this.limits.packetBytesMax,
      log: this.log,
      onRefused: () => {
        this.metrics.connectionsRefused++;
      },
      onStream: (stream) => door.accept(stream, undefined),
    });
    this.detachers.add(detach);
    return () => {
      this.detachers.delete(detach);
      detach();
    };
  }

  clients(): ClientInfo[] {
    const clients: ClientInfo[] = [];
    for (const { connected, client } of this.connections) if (connected) clients.push(client!);
    return clients;
  }

  disconnect(clientId: string): boolean {
    const connection = this.context.sessions.get(clientId)?.connection as Connection | undefined;
    if (connection === undefined) return false;
    connection.disconnect(ReasonCode.AdministrativeAction, 'disconnected by the administrator');
    return true;
  }

  reloadCertificates(): void {
    this.listening.reloadCertificates();
  }

  bans(): Ban[] {
    return [...this.guard.protection.bans.list()];
  }

  ban(ban: NewBan): Ban {
    checkBanCall(ban);
    return this.guard.protection.bans.add(ban, 'administrator');
  }

  unban(kind: BanKind, value: string): boolean {
    return this.guard.protection.bans.remove(kind, value);
  }

  bridges(): BridgeStatus[] {
    return this.bridging.list();
  }

  addBridge(settings: BridgeInput): void {
    this.bridging.add(this.resolvedBridge(settings));
  }

  changeBridge(name: string, settings: BridgeInput): void {
    this.bridging.change(name, this.resolvedBridge({ name, ...settings }));
  }

  removeBridge(name: string): void {
    this.bridging.remove(name);
  }

  replaceBridges(bridges: Config['bridges']): { added: string[]; changed: string[]; removed: string[] } {
    return this.bridging.replace(bridges);
  }

  protect(asked: LiveSettings): void {
    const settings = this.checked(asked, 'protect');
    const { limits, listeners = [], protocol } = asked;
    this.guard.replace(settings);
    for (const listener of listeners) this.listening.change(listener);
    if (listeners.some(({ allowAnonymous }) => allowAnonymous === false)) setImmediate(() => this.dropGone());
    if (protocol !== undefined) {
      const { clientIdPrefixes, refuseLongKeepAlive } = settings.protocol;
      Object.assign(this.context.protocol, { clientIdPrefixes, refuseLongKeepAlive });
    }
    if (limits !== undefined) this.limit(settings.limits);
  }

  /** One after the other, and not in the middle of a start. */
  replaceAccess(asked: AccessSettings): Promise<void> {
    const { starting } = this;
    const replaced = this.replacing.then(() => starting.catch(() => {})).then(() => this.replaceAccessNow(asked));
    this.replacing = replaced.catch(() => {});
    return replaced;
  }

  private async replaceAccessNow(asked: AccessSettings): Promise<void> {
    const settings = this.checked(asked, 'replaceAccess');
    await this.access.replace(replacedAccess(asked, settings));
    const { authentication, authorization, listeners } = settings;
    this.config = { ...this.config, authentication, authorization, listeners };
    this.retainedSources.on = authorization.checkRetainedSource;
  }

  reloadAccessFiles(): void {
    this.access.look();
  }

  // ---- ConnectionObserver ----

  connected(connection: Connection): void {
    if (this.events.has('clientConnected')) this.events.emit('clientConnected', { client: connection.client! });
  }

  disconnected(connection: Connection, reasonCode: number): void {
    this.log.information('client.disconnected', connection.endedBecause, {
      ...connection.description,
      reasonCode: reasonCode >= 0 ? reasonCode : undefined,
    });
    if (!this.events.has('clientDisconnected')) return;
    const known = reasonCode >= 0;
    this.events.emit('clientDisconnected', {
      client: connection.client!,
      reasonCode: known ? reasonCode : undefined,
      reason: connection.endedBecause,
    });
  }

  subscribed(connection: Connection, topicFilter: string, qos: QoS): void {
    if (/^(begun|all)$/.test(this.config.log.subscriptions))
      this.log.information('client.subscribed', 'subscribed', { ...connection.description, topicFilter, qos });
    if (this.events.has('subscribed')) this.events.emit('subscribed', { client: connection.client!, topicFilter, qos });
  }

  unsubscribed(connection: Connection, topicFilter: string): void {
    if (/^(ended|all)$/.test(this.config.log.subscriptions))
      this.log.information('client.unsubscribed', 'unsubscribed', { ...connection.description, topicFilter });
    if (this.events.has('unsubscribed')) this.events.emit('unsubscribed', { client: connection.client!, topicFilter });
  }

  // ---- inside ----

  /** The configuration as it would be. Errors: `ConfigError`. */
  private checked(asked: LiveSettings & AccessSettings, call: Call): Config {
    const { roles, groups } = this.access.roles;
    const now = {
      guard: this.guard.settings,
      limits: this.limits,
      protocol: this.context.protocol,
      roles: [...roles.values()],
      groups: [...groups.values()],
    };
    const settings = resolveConfig(configAsked(this.config, now, asked, call), { authenticated: true });
    checkAsked(this.config, now, asked, settings, call);
    return settings;
  }

  private resolvedBridge(settings: BridgeInput): BridgeConfig {
    return resolveBridge(settings, this.config.storage.mode);
  }

  private limit(limits: Limits): void {
    const { connectTimeoutSeconds, topicCacheEntriesMax, topicBytesMax, topicLevelsMax } = this.limits;
    Object.assign(this.limits, limits, { connectTimeoutSeconds, topicCacheEntriesMax });
    const { context } = this;
    if (limits.topicBytesMax < topicBytesMax || limits.topicLevelsMax < topicLevelsMax) context.router.forgetNames();
    context.granted = { ...this.limits };
    context.outboundTotals.bytesMax = limits.memoryOutboundBytesMax;
    context.pressure.holdMs = limits.slowReaderHoldMs;
  }

  private joinDynamicSecurity(): void {
    const { dynamicSecurity } = this.access;
    if (dynamicSecurity === undefined) return;
    // Later, so that the answer and the acknowledgement of whoever asked for it are on their way.
    dynamicSecurity.onRevoked = (usernames) => setImmediate(() => this.dropUsers(usernames));
    dynamicSecurity.addressesByUser = () => {
      const addresses = new Map<string, string[]>();
      for (const { client, connected } of this.connections)
        if (connected && client?.username !== undefined)
          addresses.set(client.username, [...(addresses.get(client.username) ?? []), client.address]);
      return addresses;
    };
  }

  private dropUsers(usernames: ReadonlySet<string>): void {
    for (const connection of [...this.connections]) {
      const username = connection.client?.username;
      if (isLoggedIn(connection) && username !== undefined && usernames.has(username))
        sendAway(connection, 'the user was changed, disabled or deleted');
    }
  }

  /** Asks again for the subscriptions of a client. */
  private recheck(client: Client): void {
    const connection = this.context.sessions.get(client.clientId)?.connection as Connection | undefined;
    if (connection?.connected && connection.client === client) recheckSubscriptions(connection);
  }

  /** Ends the connections of clients who could not log in any more as they did. */
  private dropGone(): void {
    for (const connection of [...this.connections]) {
      const reason = isLoggedIn(connection) ? this.whyNotAdmitted(connection) : undefined;
      if (reason !== undefined) sendAway(connection, reason);
    }
  }

  private whyNotAdmitted({ client, listener, facts, authentication }: Connection): string | undefined {
    const byOthers =
      this.ownLogins ||
      authentication !== undefined ||
      (listener.pskIdentityAsUsername === true && facts.pskIdentity !== undefined);
    if (byOthers && client!.identity === undefined) return undefined;
    return this.access.whyNotAdmitted(client!, listener.allowAnonymous);
  }

  /** What `handle` and `attachWebSocket` accept for: the program's own doors. */
  private ownListener(name: string, allowAnonymous: boolean): ListenerOptions {
    return {
      name,
      allowAnonymous,
      connectionsMax: Number.POSITIVE_INFINITY, // the limit over all listeners counts
      mountPoint: '',
      protocolVersions: [3, 4, 5],
    };
  }

  /** A will is a publish of its client like any other, only later. */
  private publishWill(values: NewMessage): void {
    if (values.retain === true && (values.qos ?? 0) > 0 && this.storage.store.failed !== undefined) {
      this.heldWills.push(values); // as its client, were it there to be refused, would publish it again
      return;
    }
    const message = Message.create(values, this.context.nowMs());
    const reasonCode = this.context.router.publish(message);
    if (reasonCode >= 0x80) this.metrics.publishRefused++;
  }
}

/** Also one that has not had its CONNACK yet, since its will is still asked about. */
function isLoggedIn({ connected, client }: Connection): boolean {
  return client !== undefined && (connected || client.identity !== undefined);
}

function sendAway(connection: Connection, reason: string): void {
  if (connection.connected) connection.disconnect(ReasonCode.AdministrativeAction, reason);
  else connection.refuse(ReasonCode.NotAuthorized, reason);
}

function redirectOf(config: Config): ConnectionContext['protocol']['redirect'] {
  const { redirect, serverReference } = config.protocol;
  if (redirect === 'none') return undefined;
  return {
    reasonCode: redirect === 'serverMoved' ? ReasonCode.ServerMoved : ReasonCode.UseAnotherServer,
    serverReference,
  };
}
