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
  systemClock,
  TimerWheel,
  Turn,
  WheelTimer,
} from '../base/index.js';
import { type BridgeStatus, Bridges } from '../bridge/index.js';
import {
  type AcceptanceOptions,
  CertificateAuthority,
  ListenerTls,
  listenerHooks,
  withAuthority,
} from '../certificates/index.js';
import {
  type BridgeConfig,
  type BridgeInput,
  type Config,
  type ConfigInput,
  isSecure,
  isWebSocket,
  type ListenerConfig,
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
  type NewBan,
  OutboundTotals,
  Protection,
  type ProtectionOptions,
  recheckSubscriptions,
} from '../connection/index.js';
import { BrokerMetrics, SysTopics } from '../metrics/index.js';
import { AccessPolicy, type AccessStatus, type Policy } from '../policy/index.js';
import {
  type Handling,
  IN_MEMORY,
  isValidTopicFilter,
  Message,
  type NewMessage,
  type Properties,
  type ProtocolVersion,
  PublishRun,
  PublishView,
  type QoS,
  ReasonCode,
  topicMatches,
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
import { type DurabilityMode, realFiles, Store } from '../storage/index.js';
import {
  acceptProxied,
  attachWebSocket,
  type ByteStream,
  CompressibleStream,
  type HttpDocument,
  type Listener,
  listenTcp,
  listenTls,
  listenWebSocket,
  NodeStream,
  securityOfSocket,
} from '../transport/index.js';
import { controlTopics } from './control-topics.js';
import { type BrokerEventName, type BrokerEvents, type ClientInfo, EventHub } from './events.js';
import { fileAt } from './http-folder.js';
import { listenOnceMore, placesOf } from './listener-hosts.js';
import { LocalSubscriber, type MessageHandler } from './local-subscriber.js';
import { Overload } from './overload.js';
import { dumpTree } from './tree-dump.js';

export interface BrokerOptions {
  /** Settings as in the configuration file; what is left out has its default. */
  readonly config?: Config | ConfigInput;
  /** Writes nothing by default; `createLogger` writes as the command does. */
  readonly logger?: Logger;
  /** Decisions that the program takes itself; each one left out is taken as the configuration says. */
  readonly policy?: Partial<Policy>;
}

export interface PublishOptions {
  readonly qos?: QoS;
  readonly retain?: boolean;
  readonly properties?: Properties;
}

export interface AttachOptions {
  /** Default `/mqtt` */
  readonly path?: string;
  /** Allowed values of Origin; empty (the default) allows every one. */
  readonly origins?: readonly string[];
  /** Default true: the HTTP server around it decides who reaches it. */
  readonly allowAnonymous?: boolean;
}

/** A message that is to be published later. */
export interface DelayedInfo {
  /** For `cancelDelayed`. */
  readonly id: string;
  /** milliseconds since the Unix epoch */
  readonly dueAtMs: number;
  readonly topicName: string;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly payload: Buffer;
}

/** Megabytes are 1,000,000 bytes, and 0 in storage mode `memory`. */
export interface BrokerStatus {
  readonly running: boolean;
  readonly clientsConnected: number;
  /** With and without a connection. */
  readonly sessions: number;
  readonly subscriptions: number;
  /** PUBLISH packets since the start. */
  readonly messagesReceived: number;
  readonly messagesSent: number;
  readonly messagesRetained: number;
  readonly retainedMegabytes: number;
  /** Of messages that wait for clients or are on their way to them. */
  readonly queuedMegabytes: number;
  readonly sessionMegabytes: number;
  readonly storage: {
    readonly mode: DurabilityMode;
    /** Why nothing can be written at present. */
    readonly failed: string | undefined;
    /** On the disk, of one copy. */
    readonly megabytes: number;
  };
  /** Where users and rights come from, and whether those sources answer. */
  readonly access: AccessStatus;
}

/** Where a listener is bound; `port` is the real one where 0 was asked for. */
export interface BoundListener {
  readonly name: string;
  readonly protocol: ListenerConfig['protocol'];
  readonly address: string | undefined;
  readonly port: number | undefined;
  readonly path: string | undefined;
}

/** What a listener looks at when a client connects. */
export type TermOfListener =
  | 'allowAnonymous'
  | 'protocolVersions'
  | 'emptyClientIds'
  | 'clientIdPrefix'
  | 'usernameAsClientId';

/** Settings that can be changed while the broker runs. */
export type LiveSettings = Partial<Pick<Config, 'rates' | 'bans' | 'protection'>> & {
  /** `connectTimeoutSeconds` and `topicCacheEntriesMax` stay as they were at the start. */
  readonly limits?: Limits;
  /** How many connections these listeners may have, and what they ask of clients that connect from now on. */
  readonly listeners?: readonly (Pick<ListenerConfig, 'name' | 'connectionsMax'> &
    Partial<Pick<ListenerConfig, TermOfListener>>)[];
  /** What is asked of clients that connect from now on. */
  readonly protocol?: Pick<Config['protocol'], 'clientIdPrefixes' | 'refuseLongKeepAlive'>;
};

export interface Broker {
  readonly listeners: readonly BoundListener[];
  readonly metrics: Readonly<BrokerMetrics>;
  /**
   * Binds every listener.
   * Errors  `Fault` with a LISTEN_… code and one clear line; nothing is left bound.
   */
  start(): Promise<void>;
  /** Tells 5.0 clients that the server shuts down, closes everything, resolves when all of it is closed. */
  stop(): Promise<void>;
  /**
   * Publishes for the program.
   * Returns the reason code a publisher would get. Errors: `Fault` TOPIC_NAME_INVALID.
   */
  publish(topicName: string, payload: Uint8Array | string, options?: PublishOptions): number;
  /**
   * Subscribes for the program; stored messages that match come first. Returns what ends the subscription.
   * Errors: `Fault` TOPIC_FILTER_INVALID.
   */
  subscribe(topicFilter: string, handler: MessageHandler, options?: { readonly qos?: QoS }): () => void;
  /** Listens to events; returns what stops listening. */
  on<Name extends BrokerEventName>(name: Name, listener: (event: BrokerEvents[Name]) => void): () => void;
  /** Serves MQTT over a stream that the program accepted itself. */
  handle(stream: Duplex, options?: { readonly allowAnonymous?: boolean }): void;
  /** Serves MQTT over WebSocket on the program's own HTTP server. Returns what lets go of the server. */
  attachWebSocket(server: HttpServer, options?: AttachOptions): () => void;
  /** The clients connected now. */
  clients(): ClientInfo[];
  /** What `$delayed/<seconds>/<topic name>` is to publish, soonest first. */
  delayedMessages(): DelayedInfo[];
  /** Forgets a delayed message; returns whether it was there. Errors: `Fault` DELAYED_ID_INVALID. */
  cancelDelayed(id: string): boolean;
  /** The figures of a status page. `sessionMegabytes` reads all that is stored of sessions: not for every second. */
  status(): BrokerStatus;
  /** Ends a client's connection (it may reconnect). Returns whether it was connected. */
  disconnect(clientId: string): boolean;
  /** Who may not connect, those of the configuration included. */
  bans(): Ban[];
  /**
   * Keeps clients out, and ends their connections. Replaces the ban of the same kind and value. With storage it outlives the broker.
   * Errors: `Fault` BAN_INVALID naming what is wrong with the value.
   */
  ban(ban: NewBan): Ban;
  /** Lifts a ban; returns whether there was one. */
  unban(kind: BanKind, value: string): boolean;
  /** The bridges to other brokers and how they are. */
  bridges(): BridgeStatus[];
  /** Adds a bridge. Errors: `ConfigError`, or `Fault` BRIDGE_EXISTS. */
  addBridge(settings: BridgeInput): void;
  /** Replaces all settings of a bridge; what waits for its remote stays. Errors: `ConfigError`, or `Fault` BRIDGE_UNKNOWN. */
  changeBridge(name: string, settings: BridgeInput): void;
  /** Ends a bridge and forgets what waits for its remote. Errors: `Fault` BRIDGE_UNKNOWN. */
  removeBridge(name: string): void;
  /** These bridges and no others; touches only those that differ. Returns their names by what happened to them. */
  replaceBridges(bridges: Config['bridges']): { added: string[]; changed: string[]; removed: string[] };
  /**
   * These limits on rates, connections, queues and the rest from now on, for clients that are connected too; what is left out stays. What
   * clients are told in CONNACK counts for connections from now on.
   */
  protect(settings: LiveSettings): void;
  /**
   * Reads certificates, keys, authorities, revocation lists and pre-shared keys of all listeners again. Connections stay,
   * but those whose certificate is revoked now. Errors: `Fault` TLS_MATERIAL_INVALID naming the first
   * thing that is wrong; a listener with such files keeps what it had, the others have what is new.
   */
  reloadCertificates(): void;
  /** Resolves when everything that is kept so far is on the disk; at once where nothing is kept. Errors: what the disk says. */
  save(): Promise<void>;
  /** Hands a line for each subscription and each retained message to `write`, as they are at this time. */
  dumpTree(write: (kind: 'subscription' | 'retained', line: string) => void): Promise<void>;
}

/** How often storage is rid of what has expired, and how soon again when there was much. */
const SWEEP_MS = 1000;
const SWEEP_AGAIN_MS = 10;
/** While the broker is overloaded nothing is read for so long in each second. */
const RELIEF_MS = 500;
/** How long `stop` waits for connections to take their last bytes, milliseconds. */
const STOP_GRACE_MS = 1000;
type ListenerChange = NonNullable<LiveSettings['listeners']>[number];
const versions: Readonly<Record<string, ProtocolVersion>> = { '3.1': 3, '3.1.1': 4, '5.0': 5 };
const versionsOf = (names: readonly string[]) => names.map((version) => versions[version]!);
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
  private readonly bound: {
    listener: Listener;
    config: ListenerConfig;
    tls: ListenerTls | undefined;
    options: ListenerOptions;
  }[] = [];
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
  private authority: CertificateAuthority | undefined;
  private protecting: Pick<Config, 'rates' | 'bans' | 'protection'>;
  private storeOpened = false;
  private sweepTimer: NodeJS.Timeout | undefined;
  private sys: SysTopics | undefined;
  private sysTimer: WheelTimer | undefined;
  private readonly access: AccessPolicy;
  private preparing = new AbortController();
  private localSubscribers = 0;
  private running = false;

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
    this.wheel = new TimerWheel(clock);
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
      findStanding: ({ der, trusted }) => this.authority?.standing(der, trusted) ?? 'unlisted',
    });
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
      router,
      sessions,
      pressure,
      outboundTotals: new OutboundTotals(limits.memoryOutboundBytesMax, this.metrics),
      observer: this,
      control: controlTopics(this.access),
      storage: persistent ? this.store : undefined,
    };
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
    return this.bound.map(({ listener, config }) => ({
      name: config.name,
      protocol: config.protocol,
      address: 'address' in listener.bound ? listener.bound.address : undefined,
      port: 'port' in listener.bound ? listener.bound.port : undefined,
      path: 'path' in listener.bound ? listener.bound.path : undefined,
    }));
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
      this.protection.bans.onAdded = () => setImmediate(() => this.enforceBan());
      this.overload.start();
      this.wheel.start();
      this.bridging.start(this.config.bridges);
      for (const config of this.config.listeners) {
        const tls = isSecure(config.protocol) ? await this.prepareTls(config) : undefined;
        const options = optionsOf(config);
        try {
          for (const place of placesOf(config)) {
            const listener = await listenOnceMore(place, (where) => this.listen(where, options, tls));
            this.bound.push({ listener, config, tls, options });
          }
        } catch (error) {
          tls?.stop();
          throw error;
        }
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
    const listeners = this.bound.splice(0).map(({ listener, tls }) => {
      tls?.stop();
      return listener.close();
    });
    for (const connection of [...this.connections]) {
      connection.disconnect(ReasonCode.ServerShuttingDown, 'the broker shuts down');
    }
    this.bridging.stop();
    this.authority?.stop();
    this.authority = undefined;
    this.delayed.stop();
    this.overload.stop();
    clearTimeout(this.sweepTimer);
    const deadline = Date.now() + STOP_GRACE_MS;
    while (this.connections.size + this.bridging.open > 0 && Date.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 10));
    for (const connection of [...this.connections]) connection.destroy();
    this.bridging.destroy();
    await Promise.all(listeners);
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

  /** The built-in authority, once a listener needs it. */
  private async openAuthority(): Promise<CertificateAuthority> {
    const { folder, ...settings } = this.config.certificateAuthority;
    const authority = await CertificateAuthority.open(folder, settings, { log: this.log, mode: 'create' });
    authority.onChange(() => {
      try {
        this.reloadCertificates();
      } catch (error) {
        this.log.error('listener.tls-rejected', `What was read before stays in use: ${(error as Error).message}`);
      }
    });
    authority.start();
    return authority;
  }

  /** Reads what the listener needs for TLS, and again whenever a file changes. Errors: `Fault`. */
  private async prepareTls(config: ListenerConfig): Promise<ListenerTls> {
    const { name, tls: own } = config;
    const options = { name, where: `listener ${name}: tls`, log: this.log };
    let tls: ListenerTls;
    if (own.authority) {
      this.authority ??= await this.openAuthority();
      const acceptance = acceptanceOf(config);
      const settings = withAuthority(own, this.authority, acceptance);
      tls = new ListenerTls({ ...options, settings, ...listenerHooks(this.authority, acceptance) });
    } else tls = new ListenerTls({ ...options, settings: own });
    for (const warning of tls.warnings) this.log.warning('listener.tls', warning, { listener: name });
    if (own.reloadOnChange) tls.startWatching(() => this.dropRevoked(config, tls));
    return tls;
  }

  reloadCertificates(): void {
    let fault: unknown;
    try {
      this.authority?.readAgain();
    } catch (error) {
      fault = error;
    }
    for (const { config, tls } of this.bound) {
      try {
        tls?.reload();
      } catch (error) {
        fault ??= error;
        continue;
      }
      for (const warning of tls?.warnings ?? []) this.log.warning('listener.tls', warning, { listener: config.name });
      if (tls !== undefined) this.dropRevoked(config, tls);
    }
    if (fault !== undefined) throw fault;
  }

  /** What the HTTP servers of WebSocket listeners hand out of the authority: nothing secret. */
  private documentAt(path: string): HttpDocument | undefined {
    const { authority } = this;
    if (authority === undefined) return undefined;
    if (path === '/ca.crl') {
      const body = authority.revocationList('der'); // RFC 5280 §4.2.1.13: DER over HTTP
      return body === undefined ? undefined : { type: 'application/pkix-crl', body };
    }
    if (path !== '/ca.pem') return undefined;
    return { type: 'application/x-pem-file', body: Buffer.from(authority.authority().map(String).join('')) };
  }

  /** A list that was read just now ends the connections of those who would not be let in by it. */
  private dropRevoked(config: ListenerConfig, tls: ListenerTls): void {
    const judge = config.tls.authority ? this.authority?.judge(acceptanceOf(config)) : undefined;
    for (const connection of this.connections) {
      const { client } = connection;
      if (client?.certificate === undefined || client.listener !== config.name) continue;
      const { der, trusted } = client.certificate;
      const reason = tls.revokedNow(der) ? 'its certificate is revoked' : judge?.(der, trusted);
      if (reason === undefined) continue;
      this.log.warning('connection.revoked', `This client may not stay: ${reason}.`, connection.description);
      connection.disconnect(ReasonCode.NotAuthorized, reason);
    }
  }

  private listen(config: ListenerConfig, options: ListenerOptions, tls: ListenerTls | undefined): Promise<Listener> {
    const { name, backlog, connectionsMax, proxyProtocol, proxyTls, httpFolder } = config;
    const where =
      config.unixPath === undefined
        ? { host: config.host, port: config.port, ipv6Only: config.ipv6Only }
        : { unixPath: config.unixPath };
    const count = { connections: 0 };
    const onStream = (stream: ByteStream): void => this.accept(stream, options, count);
    const handshakeTimeoutMs = this.limits.connectTimeoutSeconds * 1000;
    const onHandshakeFailed = () => {
      this.metrics.tlsHandshakesFailed++;
    };
    if (isWebSocket(config.protocol))
      return listenWebSocket({
        name,
        ...where,
        backlog,
        path: config.path,
        origins: config.origins,
        trustedProxies: config.trustedProxies,
        packetBytesMax: () => this.limits.packetBytesMax,
        proxyProtocol,
        proxyTls,
        connectionsMax,
        handshakeTimeoutMs,
        log: this.log,
        onStream,
        documentAt: (path) =>
          this.documentAt(path) ?? (httpFolder === undefined ? undefined : fileAt(httpFolder, path)),
        ...(tls === undefined ? {} : { tls, onHandshakeFailed }),
      });
    if (tls !== undefined)
      return listenTls({
        name,
        ...where,
        backlog,
        connectionsMax,
        proxyProtocol,
        proxyTls,
        handshakeTimeoutMs,
        tls,
        log: this.log,
        onHandshakeFailed,
        onStream,
      });
    return listenTcp({
      name,
      ...where,
      backlog,
      onStream:
        proxyProtocol === 'off'
          ? onStream
          : (stream) =>
              acceptProxied(
                stream,
                { name, accept: proxyProtocol, requireTls: proxyTls, timeoutMs: handshakeTimeoutMs, log: this.log },
                onStream,
              ),
    });
  }

  private accept(stream: ByteStream, listener: ListenerOptions, count: { connections: number }): void {
    const full = count.connections >= listener.connectionsMax || this.connections.size >= this.limits.connectionsMax;
    const reason = full ? 'as many connections are open as may be' : this.whyNot(stream);
    if (reason !== undefined || !this.running) {
      this.metrics.connectionsRefused++;
      if (reason !== undefined) this.log.warning('connection.refused', reason, { listener: listener.name });
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

  protect({ limits, listeners = [], protocol, ...changed }: LiveSettings): void {
    const { protection } = this;
    const settings = { ...this.protecting, ...changed };
    for (const { kind, value } of this.protecting.bans)
      if (!settings.bans.some((ban) => ban.kind === kind && ban.value === value)) protection.bans.remove(kind, value);
    this.protecting = settings;
    protection.replace(protectionOf(settings));
    for (const ban of settings.bans) protection.bans.add(ban, 'configuration');
    this.overload.replace(settings.protection.overload);
    for (const connection of this.connections)
      if (connection.connected) connection.rates = protection.rates.of(connection.client!);
    for (const listener of listeners) this.limitListener(listener);
    if (protocol !== undefined) {
      const { clientIdPrefixes, refuseLongKeepAlive } = protocol;
      Object.assign(this.context.protocol, { clientIdPrefixes, refuseLongKeepAlive });
    }
    if (limits !== undefined) this.limit(limits);
  }

  private limit(limits: Limits): void {
    const { connectTimeoutSeconds, topicCacheEntriesMax } = this.limits;
    Object.assign(this.limits, limits, { connectTimeoutSeconds, topicCacheEntriesMax });
    const { context } = this;
    context.granted = { ...this.limits };
    context.outboundTotals.bytesMax = limits.memoryOutboundBytesMax;
    context.pressure.holdMs = limits.slowReaderHoldMs;
  }

  private limitListener(change: ListenerChange): void {
    const { name, connectionsMax, protocolVersions } = change;
    for (const { config, options, listener } of this.bound) {
      if (config.name !== name) continue;
      options.connectionsMax = connectionsMax;
      listener.limit?.(connectionsMax);
      for (const term of ['allowAnonymous', 'emptyClientIds', 'clientIdPrefix', 'usernameAsClientId'] as const)
        if (change[term] !== undefined) Object.assign(options, { [term]: change[term] });
      if (protocolVersions !== undefined) Object.assign(options, { protocolVersions: versionsOf(protocolVersions) });
    }
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

  /** Ends the connections that a new ban concerns. */
  private enforceBan(): void {
    for (const connection of [...this.connections])
      if (connection.client !== undefined && this.protection.bans.find(connection.client) !== undefined)
        connection.disconnect(ReasonCode.AdministrativeAction, 'the client is banned');
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

/** How messages of a topic are kept, by the rules of the configuration. `$SYS` is what the broker says of this run. */
function handlingRules({ storage, durability, priorities }: Config): (topicName: string) => Handling {
  const known = new Map<string, Handling>();
  return (topicName) => {
    const rule = durability.find(({ filter }) => topicMatches(filter, topicName));
    const priority = priorities.find(({ filter }) => topicMatches(filter, topicName))?.priority ?? IN_MEMORY.priority;
    const mode = topicName.startsWith('$SYS/') ? 'memory' : (rule?.mode ?? storage.mode);
    const key = `${mode} ${priority}`;
    let handling = known.get(key);
    if (handling === undefined) {
      handling = { priority, durability: mode === 'faultTolerant' ? 'sync' : mode };
      known.set(key, handling);
    }
    return handling;
  };
}

/** A setting that a listener may have of its own, where it has. */
function own<Key extends 'maximumQoS' | 'topicAliasMaximum' | 'topicAliasMaximumToClients'>(
  config: ListenerConfig,
  key: Key,
): Partial<Record<Key, number>> {
  const value = config[key];
  return value === undefined ? {} : ({ [key]: value } as Record<Key, number>);
}

function optionsOf(config: ListenerConfig): ListenerOptions {
  return {
    name: config.name,
    allowAnonymous: config.allowAnonymous,
    connectionsMax: config.connectionsMax,
    mountPoint: config.mountPoint,
    protocolVersions: versionsOf(config.protocolVersions),
    pskIdentityAsUsername: config.tls.psk.identityAsUsername,
    ...own(config, 'maximumQoS'),
    ...own(config, 'topicAliasMaximum'),
    ...own(config, 'topicAliasMaximumToClients'),
    emptyClientIds: config.emptyClientIds,
    clientIdPrefix: config.clientIdPrefix,
    usernameAsClientId: config.usernameAsClientId,
  };
}

function redirectOf(config: Config): ConnectionContext['protocol']['redirect'] {
  const { redirect, serverReference } = config.protocol;
  if (redirect === 'none') return undefined;
  return {
    reasonCode: redirect === 'serverMoved' ? ReasonCode.ServerMoved : ReasonCode.UseAnotherServer,
    serverReference,
  };
}

/** The program's answers where it gives them, the configuration's elsewhere. */
function joinPolicies(given: Partial<Policy>, access: AccessPolicy): Policy {
  const receives = given.authorizeReceive?.bind(given);
  const { onChange } = given;
  return {
    authenticate: (given.authenticate ?? access.authenticate).bind(given.authenticate ? given : access),
    beginExchange: (given.beginExchange ?? access.beginExchange).bind(given.beginExchange ? given : access),
    authorizePublish: (given.authorizePublish ?? access.authorizePublish).bind(given.authorizePublish ? given : access),
    authorizeSubscribe: (given.authorizeSubscribe ?? access.authorizeSubscribe).bind(
      given.authorizeSubscribe ? given : access,
    ),
    // It comes and goes with the rules.
    get authorizeReceive() {
      return receives ?? access.authorizeReceive;
    },
    authorizeUnsubscribe: given.authorizeUnsubscribe?.bind(given) ?? access.authorizeUnsubscribe,
    denyAction: given.denyAction ?? access.denyAction,
    onChange(listener) {
      const stops = [access.onChange(listener)];
      if (onChange !== undefined) stops.push(onChange.call(given, listener));
      return () => {
        for (const stop of stops) stop();
      };
    },
  };
}

function protectionOf({ rates, protection }: Pick<Config, 'rates' | 'protection'>): ProtectionOptions {
  return { rates, ...protection };
}

function acceptanceOf({ tls: { clientCertificate, onlyListed, trustListed } }: ListenerConfig): AcceptanceOptions {
  return { requireClientCertificate: clientCertificate === 'require', onlyListed, trustListed };
}
