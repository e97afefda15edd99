/**
 * One broker node: makes the modules, joins them, listens, and takes it all down again.
 */
import { readFileSync } from 'node:fs';
import type { Server as HttpServer } from 'node:http';
import type { Duplex } from 'node:stream';
import {
  Fault,
  type Limits,
  type Logger,
  LogLevel,
  silentLogger,
  steadyClock,
  systemClock,
  TimerWheel,
  Turn,
  WheelTimer,
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
  Connection,
  type ConnectionContext,
  type ConnectionObserver,
  type ListenerOptions,
  limitTime,
  type NewBan,
  OutboundTotals,
  Protection,
  type ProtectionOptions,
  recheckSubscriptions,
} from '../connection/index.js';
import { BrokerMetrics, SysTopics } from '../metrics/index.js';
import { AccessPolicy, type Policy } from '../policy/index.js';
import {
  isValidTopicFilter,
  Message,
  type NewMessage,
  PublishRun,
  PublishView,
  type QoS,
  ReasonCode,
} from '../protocol/index.js';
import {
  DelayedMessages,
  GroupStore,
  PAUSE,
  Router,
  retainedLimits,
  StoredRetained,
  Subscription,
} from '../router/index.js';
import { Pressure, type Session, SessionRegistry, SessionStore } from '../session/index.js';
import { realFiles, Store } from '../storage/index.js';
import {
  attachWebSocket,
  type ByteStream,
  CompressibleStream,
  NodeStream,
  securityOfSocket,
} from '../transport/index.js';
import type {
  AttachOptions,
  BoundListener,
  Broker,
  BrokerOptions,
  BrokerStatus,
  DelayedInfo,
  LiveSettings,
  PublishOptions,
} from './broker-api.js';
import { controlTopics } from './control-topics.js';
import { type BrokerEventName, type BrokerEvents, type ClientInfo, EventHub } from './events.js';
import { handlingRules } from './handling-rules.js';
import { joinPolicies } from './join-policies.js';
import { Listeners } from './listeners.js';
import { LocalSubscriber, type MessageHandler } from './local-subscriber.js';
import { Overload } from './overload.js';
import { RetainedSources } from './retained-sources.js';
import { dumpTree } from './tree-dump.js';

/** How often storage is rid of what has expired, and how soon again when there was much. */
const SWEEP_MS = 1000;
const SWEEP_AGAIN_MS = 10;
/** While the broker is overloaded nothing is read for so long in each second. */
const RELIEF_MS = 500;
/** How long `stop` waits for connections to take their last bytes, milliseconds. */
const STOP_GRACE_MS = 1000;
const packageVersion = (): string =>
  (JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string }).version;

/**
 * Makes a broker; `start` makes it listen.
 * Errors  `ConfigError` naming every wrong key.
 */
export function createBroker(options: BrokerOptions = {}): Broker {
  const input = (options.config ?? {}) as ConfigInput;
  const config = resolveConfig(input, { authenticated: options.policy?.authenticate !== undefined });
  return new BrokerNode(config, options.logger ?? silentLogger, options.policy ?? {});
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
  private readonly store: Store;
  private readonly sessionStore: SessionStore | undefined;
  private readonly groupStore: GroupStore | undefined;
  private readonly storedRetained: StoredRetained | undefined;
  private readonly delayed: DelayedMessages;
  private readonly protection: Protection;
  private readonly overload: Overload;
  private readonly bridging: Bridges;
  private protecting: Pick<Config, 'rates' | 'bans' | 'protection'>;
  private storeOpened = false;
  private sweepTimer: NodeJS.Timeout | undefined;
  private sys: SysTopics | undefined;
  private sysTimer: WheelTimer | undefined;
  private readonly access: AccessPolicy;
  private readonly retainedSources: RetainedSources;
  private preparing = new AbortController();
  private localSubscribers = 0;
  private running = false;
  private enforcing: NodeJS.Immediate | undefined;

  constructor(
    private readonly config: Config,
    private readonly log: Logger,
    policy: Partial<Policy>,
  ) {
    const clock = systemClock;
    const limits = { ...config.limits };
    this.limits = limits;
    this.events = new EventHub(log);
    this.metrics = new BrokerMetrics(clock.nowMs());
    this.wheel = new TimerWheel(steadyClock);
    const pressure = new Pressure(this.wheel, limits.slowReaderHoldMs);
    const { mode, path } = config.storage;
    this.store = new Store({
      mode,
      folder: path,
      files: realFiles,
      log,
      twoCopies: config.durability.some((rule) => rule.mode === 'faultTolerant'),
      summaryPrefix: 'c',
      onTables: (store) => this.storedRetained?.begin(store),
      onReplay: (store, key, value) => {
        this.storedRetained!.replay(store, key, value);
        this.sessionStore!.replay(store, key, value);
      },
    });
    const persistent = mode !== 'memory';
    const handlingOf = handlingRules(config);
    if (persistent) {
      this.sessionStore = new SessionStore(this.store);
      this.groupStore = new GroupStore(this.store, handlingOf);
      this.storedRetained = new StoredRetained(this.store, retainedLimits(limits), () => clock.nowMs());
    }
    const router = new Router({
      ...(persistent ? { storedRetained: this.storedRetained!, groupStore: this.groupStore! } : {}),
      storeFailed: () => this.store.failed !== undefined,
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
      this.store,
      this.wheel,
      () => clock.nowMs(),
      limits,
      (message) => void router.publish(message),
    );
    router.delayed = this.delayed;
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
    this.protection = new Protection(protectionOf(config), clock, log, persistent ? this.store : undefined);
    this.overload = new Overload(
      config.protection.overload,
      (overload) => this.overloadChanged(overload),
      () => this.relieve(),
    );
    this.protecting = config;
    const sessions = new SessionRegistry(
      {
        router,
        wheel: this.wheel,
        clock,
        limits,
        metrics: this.metrics,
        pressure,
        store: this.sessionStore,
        slowConsumerSeconds: () => this.protecting.protection.slowConsumers.seconds,
        onSlowConsumer: (session) => this.slowConsumer(session),
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
      metrics: this.metrics,
      log,
      policy: joinPolicies(policy, this.access),
      protection: this.protection,
      retainedSources: this.retainedSources,
      router,
      sessions,
      pressure,
      outboundTotals: new OutboundTotals(limits.memoryOutboundBytesMax, this.metrics),
      observer: this,
      control: controlTopics(this.access),
      storage: persistent ? this.store : undefined,
    };
    this.listening = new Listeners({
      config,
      limits,
      log,
      metrics: this.metrics,
      connections: this.connections,
      accept: (stream, listener, count) => this.accept(stream, listener, count),
    });
    this.bridging = new Bridges(this.context, log, (bridge) => {
      if (this.events.has('bridgeChanged')) this.events.emit('bridgeChanged', { bridge: bridge() });
    });
    const { turn } = this.context;
    turn.beforeFlush = () => this.store.commit();
    this.store.onOperation = () => turn.schedule();
    this.store.beforeRotation = () => {
      this.storedRetained?.saveCounts();
      sessions.saveCounts();
    };
    this.context.policy.onChange?.(() => {
      for (const connection of [...this.connections]) if (connection.connected) recheckSubscriptions(connection);
    });
    this.joinDynamicSecurity();
    this.store.onHealth = (failed) => {
      if (failed === undefined) this.releasePublishers();
    };
  }

  get listeners(): BoundListener[] {
    return this.listening.list();
  }

  async start(): Promise<void> {
    if (this.running) throw new Fault('BROKER_RUNNING', 'the broker is running already');
    if (this.storeOpened && this.store.persistent)
      throw new Fault('BROKER_STOPPED', 'a broker with storage starts once; make a new one');
    this.running = true;
    this.context.sessions.stopping = false;
    try {
      await this.openStore();
      await this.access.open();
      this.protection.bans.load();
      for (const ban of this.protecting.bans) this.protection.bans.add(ban, 'configuration');
      // Later, since the broker may ban in the middle of what a client does.
      this.protection.bans.onAdded = () => this.enforceBansSoon();
      this.overload.start();
      this.wheel.start();
      this.bridging.start(this.config.bridges);
      for (const config of this.config.listeners) {
        await this.listening.open(config);
        if (!this.running) throw new Fault('BROKER_STOPPED', 'the broker was stopped while it started');
      }
    } catch (error) {
      await this.closeAll();
      throw error;
    }
    this.preparing = new AbortController();
    this.access.prepare(this.preparing.signal).catch((error: unknown) => {
      this.log.error('authentication.prepare-failed', String(error));
    });
    this.startSys();
  }

  async stop(): Promise<void> {
    if (this.running) await this.closeAll();
  }

  private async closeAll(): Promise<void> {
    this.running = false;
    this.preparing.abort();
    if (this.sysTimer) this.wheel.disarm(this.sysTimer);
    for (const detach of this.detachers) detach();
    this.detachers.clear();
    this.context.sessions.stopping = true;
    const listeners = this.listening.close();
    for (const connection of [...this.connections]) {
      connection.disconnect(ReasonCode.ServerShuttingDown, 'the broker shuts down');
    }
    this.bridging.stop();
    this.delayed.stop();
    this.overload.stop();
    clearTimeout(this.sweepTimer);
    const deadline = Date.now() + STOP_GRACE_MS;
    while (this.connections.size + this.bridging.open > 0 && Date.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 10));
    for (const connection of [...this.connections]) connection.destroy();
    this.bridging.destroy();
    await listeners;
    await this.access.close();
    this.wheel.stop();
    if (this.store.persistent && this.storeOpened) await this.store.close();
  }

  private async openStore(): Promise<void> {
    await this.store.open();
    this.storeOpened = true;
    this.groupStore?.load();
    this.context.sessions.restore();
    this.groupStore?.dropOrphans();
    this.delayed.start();
    if (!this.store.persistent) return;
    const sweep = (): void => {
      const retained = this.storedRetained!.sweep();
      const sessions = this.sessionStore!.sweep();
      this.sweepTimer = setTimeout(sweep, retained || sessions ? SWEEP_AGAIN_MS : SWEEP_MS).unref();
    };
    this.sweepTimer = setTimeout(sweep, SWEEP_MS).unref();
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
    if (!this.store.persistent) return Promise.resolve();
    this.store.commit();
    return new Promise((resolve, reject) =>
      this.store.whenSynced(this.store.sequence, (error) => (error === undefined ? resolve() : reject(error))),
    );
  }

  dumpTree(write: (kind: 'subscription' | 'retained', line: string) => void): Promise<void> {
    return dumpTree(this.context.router, this.context.sessions, write);
  }

  status(): BrokerStatus {
    const { router, sessions } = this.context;
    const persistent = this.store.persistent;
    const megabytes = (bytes: number) => (persistent ? bytes / 1e6 : 0);
    return {
      running: this.running,
      clientsConnected: this.metrics.clientsConnected,
      sessions: sessions.size,
      subscriptions: router.subscriptionCount,
      messagesReceived: this.metrics.publishReceived,
      messagesSent: this.metrics.publishSent,
      messagesRetained: router.retained.size,
      retainedMegabytes: megabytes(this.storedRetained?.bytes ?? 0),
      queuedMegabytes: megabytes(this.sessionStore?.queuedBytes ?? 0),
      sessionMegabytes: megabytes(this.sessionStore?.sessionBytes() ?? 0),
      storage: {
        mode: this.store.mode,
        failed: this.store.failed?.message,
        megabytes: megabytes(this.store.tableBytes + this.store.logBytes),
      },
      access: this.access.status(),
    };
  }

  publish(topicName: string, payload: Uint8Array | string, options: PublishOptions = {}): number {
    const { qos = 0, retain = false, properties } = options;
    return this.context.router.publishLocal({ topicName, payload, qos, retain, properties });
  }

  subscribe(topicFilter: string, handler: MessageHandler, options: { readonly qos?: QoS } = {}): () => void {
    if (!isValidTopicFilter(topicFilter))
      throw new Fault('TOPIC_FILTER_INVALID', `not a valid topic filter: ${JSON.stringify(topicFilter)}`);
    const subscriber = new LocalSubscriber(`$local-${++this.localSubscribers}`, handler, this.log);
    const { router } = this.context;
    const subscription = new Subscription(
      subscriber,
      topicFilter,
      undefined,
      options.qos ?? 2,
      false,
      false,
      0,
      undefined,
    );
    router.subscribe(subscription, undefined);
    let active = true;
    const stored = router.retained.match(topicFilter);
    const handSome = (): void => {
      for (let next = stored.next(); active && !next.done; next = stored.next()) {
        if (next.value === PAUSE) return void setImmediate(handSome);
        subscriber.hand(next.value, next.value.qos, true);
      }
    };
    handSome();
    return () => {
      if (active) router.unsubscribe(subscription);
      active = false;
    };
  }

  on<Name extends BrokerEventName>(name: Name, listener: (event: BrokerEvents[Name]) => void): () => void {
    return this.events.on(name, listener);
  }

  handle(stream: Duplex, options: { readonly allowAnonymous?: boolean } = {}): void {
    this.accept(
      new NodeStream(stream, undefined, securityOfSocket(stream)),
      this.ownListener('handle', options.allowAnonymous ?? true),
      { connections: 0 },
    );
  }

  attachWebSocket(server: HttpServer, options: AttachOptions = {}): () => void {
    const listener = this.ownListener('attached', options.allowAnonymous ?? true);
    const count = { connections: 0 };
    const detach = attachWebSocket(server, {
      name: listener.name,
      path: options.path ?? '/mqtt',
      origins: options.origins ?? [],
      packetBytesMax: () => this.limits.packetBytesMax,
      log: this.log,
      onRefused: () => {
        this.metrics.connectionsRefused++;
      },
      onStream: (stream) => this.accept(stream, listener, count),
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

  private accept(stream: ByteStream, listener: ListenerOptions, count: { connections: number }): void {
    const full = count.connections >= listener.connectionsMax || this.connections.size >= this.limits.connectionsMax;
    const reason = full ? 'as many connections are open as may be' : this.whyNot(stream);
    if (reason !== undefined || !this.running) {
      this.metrics.connectionsRefused++;
      if (reason !== undefined) {
        const { address, port } = stream.peer;
        const peer = address === '' ? 'local' : `${address}:${port}`;
        this.log.warning('connection.refused', reason, { peer, listener: listener.name });
      }
      stream.destroy();
      return;
    }
    count.connections++;
    const { address } = stream.peer;
    const offered = this.config.protocol.compression ? new CompressibleStream(stream) : stream;
    const connection = new Connection(this.context, listener, offered, (closed) => {
      count.connections--;
      if (address !== '') this.protection.perAddress.remove(address);
      this.connections.delete(closed);
      this.metrics.connections = this.connections.size;
    });
    this.connections.add(connection);
    this.metrics.connections = this.connections.size;
    this.metrics.connectionsTotal++;
    // Mosquitto tells of every connection; elsewhere a client is enough.
    const tells = this.config.log.format === 'mosquitto';
    if (tells || this.log.level >= LogLevel.debug)
      (tells ? this.log.information : this.log.debug)('connection.opened', 'connection opened', {
        ...connection.description,
        localPort: stream.peer.localPort,
      });
    connection.start();
  }

  /** Why a new connection may not be; undefined when it may, and then it is counted. */
  private whyNot(stream: ByteStream): string | undefined {
    const { protection } = this;
    const { address } = stream.peer;
    if (this.overload.reason !== '') return `the broker is overloaded: ${this.overload.reason}`;
    if (address !== '' && protection.bans.findAddress(address) !== undefined) {
      this.metrics.connectionsBanned++;
      return `the address ${address} is banned`;
    }
    if (!protection.mayConnect()) return 'more clients connect in a second than may';
    if (address !== '' && !protection.perAddress.add(address, protection.options.connectionsPerAddressMax))
      return `the address ${address} has as many connections as it may`;
    return undefined;
  }

  private slowConsumer(session: Session): void {
    this.metrics.slowConsumers++;
    const { seconds, outcome } = this.protecting.protection.slowConsumers;
    this.log.warning('client.slow', `Messages have waited ${seconds} seconds for this client.`, {
      clientId: session.clientId,
      queuedMessages: session.queuedMessages,
      queuedBytes: session.queuedBytes,
    });
    if (outcome !== 'disconnect') return;
    const connection = session.connection as Connection | undefined;
    // Not in the middle of a delivery to it.
    if (connection) setImmediate(() => connection.disconnect(ReasonCode.QuotaExceeded, 'the client takes too little'));
  }

  private overloadChanged({ reason }: Overload): void {
    if (reason === '') {
      this.log.warning('broker.overload-over', 'The broker is not overloaded any more.');
      return;
    }
    this.metrics.overloads++;
    this.log.error(
      'broker.overload',
      `The broker is overloaded: ${reason}. New clients are refused, the others slowed down.`,
    );
  }

  /** Reads nothing for a while, so that what is there can be worked off. */
  private relieve(): void {
    const held = [...this.connections];
    for (const connection of held) connection.hold();
    setTimeout(() => {
      for (const connection of held) connection.release();
    }, RELIEF_MS).unref();
  }

  bans(): Ban[] {
    return [...this.protection.bans.list()];
  }

  ban(ban: NewBan): Ban {
    return this.protection.bans.add(ban, 'administrator');
  }

  unban(kind: BanKind, value: string): boolean {
    return this.protection.bans.remove(kind, value);
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

  private resolvedBridge(settings: BridgeInput): BridgeConfig {
    return resolveBridge(settings, this.config.storage.mode);
  }

  protect({ limits, listeners = [], protocol, authorization, ...changed }: LiveSettings): void {
    const { protection } = this;
    const given = { ...this.config, ...this.protecting, ...changed, limits: { ...this.limits, ...limits } };
    const asked = { ...given, users: [] }; // not of interest here, and perhaps many
    const settings = resolveConfig(asked, { authenticated: true });
    for (const { kind, value } of this.protecting.bans)
      if (!settings.bans.some((ban) => ban.kind === kind && ban.value === value))
        protection.bans.remove(kind, value, 'configuration');
    this.protecting = { rates: settings.rates, bans: settings.bans, protection: settings.protection };
    const otherRates = protection.replace(protectionOf(settings));
    for (const ban of settings.bans) protection.bans.add(ban, 'configuration');
    this.overload.replace(settings.protection.overload);
    for (const connection of [...this.connections]) {
      if (!connection.connected) continue;
      limitTime(connection);
      if (otherRates) connection.replaceRates(protection.rates.of(connection.client!));
    }
    for (const listener of listeners) this.listening.change(listener);
    if (protocol !== undefined) {
      const { clientIdPrefixes, refuseLongKeepAlive } = protocol;
      Object.assign(this.context.protocol, { clientIdPrefixes, refuseLongKeepAlive });
    }
    if (authorization !== undefined) this.retainedSources.on = authorization.checkRetainedSource;
    if (limits !== undefined) this.limit(settings.limits);
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
      if (connection.connected && username !== undefined && usernames.has(username))
        connection.disconnect(ReasonCode.AdministrativeAction, 'the user was changed, disabled or deleted');
    }
  }

  /** One look at all connections, however many bans come at once. */
  private enforceBansSoon(): void {
    this.enforcing ??= setImmediate(() => {
      this.enforcing = undefined;
      this.enforceBans();
    });
  }

  /** Ends the connections that bans concern. */
  private enforceBans(): void {
    for (const connection of [...this.connections]) {
      const { client, connected } = connection;
      if (client === undefined || this.protection.bans.find(client) === undefined) continue;
      if (connected) connection.disconnect(ReasonCode.AdministrativeAction, 'the client is banned');
      else connection.refuse(ReasonCode.Banned, undefined); // a CONNACK knows no other code for it
    }
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
    const message = Message.create(values, this.context.nowMs());
    const reasonCode = this.context.router.publish(message);
    if (reasonCode >= 0x80) this.metrics.publishRefused++;
  }

  private startSys(): void {
    const { intervalSeconds } = this.config.sys;
    if (intervalSeconds === 0) return;
    const { router, sessions, clock } = this.context;
    const version = `dunlin version ${packageVersion()}`;
    this.sys = new SysTopics(
      this.metrics,
      () => {
        let storedMessages = router.retained.size;
        let storedBytes = router.retained.bytes;
        let inflightMessages = 0;
        let outgoingMessages = 0;
        let outgoingBytes = this.context.outboundTotals.bytes;
        for (const session of sessions.values()) {
          storedMessages += session.queuedMessages + session.inflightMessages;
          storedBytes += session.queuedBytes;
          inflightMessages += session.inflightMessages;
          if (!session.online) continue;
          outgoingMessages += session.queuedMessages;
          outgoingBytes += session.queuedBytes;
        }
        return {
          version,
          subscriptions: router.subscriptionCount,
          sharedSubscriptions: router.sharedGroupCount,
          retainedMessages: router.retained.size,
          storedMessages,
          storedBytes,
          heapBytes: process.memoryUsage().heapUsed,
          inflightMessages,
          outgoingMessages,
          outgoingBytes,
        };
      },
      (topicName, payload) => router.publishLocal({ topicName, payload, retain: true }),
    );
    const timer = new WheelTimer(() => {
      this.sys!.update(clock.nowMs());
      this.bridging.show();
      this.wheel.arm(timer, intervalSeconds * 1000);
    });
    this.sysTimer = timer;
    this.sys.update(clock.nowMs());
    this.bridging.show();
    this.wheel.arm(timer, intervalSeconds * 1000);
  }
}

function redirectOf(config: Config): ConnectionContext['protocol']['redirect'] {
  const { redirect, serverReference } = config.protocol;
  if (redirect === 'none') return undefined;
  return {
    reasonCode: redirect === 'serverMoved' ? ReasonCode.ServerMoved : ReasonCode.UseAnotherServer,
    serverReference,
  };
}

function protectionOf({ rates, protection }: Pick<Config, 'rates' | 'protection'>): ProtectionOptions {
  return { rates, ...protection };
}
