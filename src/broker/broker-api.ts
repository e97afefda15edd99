/** What an embedding program and the command see of a broker. */
import type { Server as HttpServer } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Limits, Logger } from '../base/index.js';
import type { BridgeStatus } from '../bridge/index.js';
import type { BridgeInput, Config, ConfigInput, ListenerConfig } from '../config/index.js';
import type { Ban, BanKind, NewBan } from '../connection/index.js';
import type { BrokerMetrics } from '../metrics/index.js';
import type { AccessStatus, Policy } from '../policy/index.js';
import type { Properties, QoS } from '../protocol/index.js';
import type { DurabilityMode } from '../storage/index.js';
import type { BrokerEventName, BrokerEvents, ClientInfo } from './events.js';
import type { MessageHandler } from './local-subscriber.js';

export interface BrokerOptions {
  /** Settings as in the configuration file; what is left out has its default. */
  readonly config?: Config | ConfigInput;
  /** Writes nothing by default; `createLogger` writes as the command does. */
  readonly logger?: Logger;
  /**
   * Decisions that the program takes itself; each one left out is taken as the configuration says. A function whose name is like that of a decision,
   * and is not, is refused (OPTIONS_INVALID), in an object of a class warned of.
   */
  readonly policy?: Partial<Policy>;
}

export interface PublishOptions {
  readonly qos?: QoS;
  readonly retain?: boolean;
  readonly properties?: Properties;
}

export interface AttachOptions {
  /** Default `/mqtt`; `*` is every path. */
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
export type LiveSettings = Pick<ConfigInput, 'rates' | 'bans' | 'protection'> & {
  /** All but `connectTimeoutSeconds` and `topicCacheEntriesMax`; what is left out stays as it is. */
  readonly limits?: Partial<Limits>;
  /**
   * How many connections these listeners may have, and what they ask of clients that connect from now on. Without `allowAnonymous` those who came in
   * by it are disconnected.
   */
  readonly listeners?: readonly (Pick<ListenerConfig, 'name'> &
    Partial<Pick<ListenerConfig, 'connectionsMax' | TermOfListener>>)[];
  /** What is asked of clients that connect from now on. */
  readonly protocol?: Partial<Pick<Config['protocol'], 'clientIdPrefixes' | 'refuseLongKeepAlive'>>;
};

/** Who may connect, and what they may do. What is left out stays; a list takes the place of the former. */
export type AccessSettings = Pick<ConfigInput, 'users' | 'authentication' | 'authorization' | 'roles' | 'groups'> & {
  /** The sources that count at these listeners, by their names; empty: all. */
  readonly listeners?: readonly (Pick<ListenerConfig, 'name'> &
    Partial<Pick<ListenerConfig, 'authentication' | 'authorization'>>)[];
};

export interface Broker {
  readonly listeners: readonly BoundListener[];
  readonly metrics: Readonly<BrokerMetrics>;
  /**
   * Binds every listener, when a stop that is under way has ended. With storage a broker starts once: for another start make a new one, also where
   * the first one failed once its storage was open.
   * Errors  `Fault` with a LISTEN_… code and one clear line; nothing is left bound. BROKER_RUNNING; BROKER_STOPPED when it was stopped meanwhile.
   */
  start(): Promise<void>;
  /**
   * Tells 5.0 clients that the server shuts down, closes everything, resolves when all of it is closed; so does every further call.
   * Errors  `Fault` STORAGE_NOT_SAVED once it is: storage could not be written, and changes that were not acknowledged are lost.
   */
  stop(): Promise<void>;
  /**
   * Publishes for the program.
   * Returns the reason code a publisher would get. Errors: `Fault` TOPIC_NAME_INVALID, PAYLOAD_INVALID, OPTIONS_INVALID; nothing is published.
   */
  publish(topicName: string, payload: Uint8Array | string, options?: PublishOptions): number;
  /**
   * Subscribes for the program; stored messages that match come first. Returns what ends the subscription: nothing comes after it.
   * Errors: `Fault` TOPIC_FILTER_INVALID (a shared subscription is one: they are for clients), HANDLER_INVALID, OPTIONS_INVALID.
   */
  subscribe(topicFilter: string, handler: MessageHandler, options?: { readonly qos?: QoS }): () => void;
  /** Listens to events; returns what stops listening. Errors: `Fault` EVENT_UNKNOWN, HANDLER_INVALID. */
  on<Name extends BrokerEventName>(name: Name, listener: (event: BrokerEvents[Name]) => void): () => void;
  /** Serves MQTT over a stream of bytes that the program accepted itself. Errors: `Fault` STREAM_INVALID, OPTIONS_INVALID. */
  handle(stream: Duplex, options?: { readonly allowAnonymous?: boolean }): void;
  /**
   * Serves MQTT over WebSocket on the program's own HTTP server; upgrades to other paths are left to its other `upgrade` handlers, or get 404 where there
   * are none. Returns what lets go of the server; `stop` does so too, and the broker has to be attached again when it starts again.
   * Errors: `Fault` SERVER_INVALID, OPTIONS_INVALID, PATH_TAKEN when the server serves MQTT at this path already.
   */
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
   * These limits on rates, connections, queues and the rest from now on, for clients that are connected too; what is left out stays, a
   * list takes the place of the former. What clients are told in CONNACK counts for connections from now on.
   * Errors: `ConfigError` naming every key that is wrong or unknown, or needs a restart and is asked to be other than it is; then nothing changes.
   */
  protect(settings: LiveSettings): void;
  /**
   * Other users, sources, rules, roles and groups from now on, all of them at the same moment, once the sources that are new have begun; one whose settings
   * stay goes on as it is. Clients are disconnected whose source of authentication is gone from their listener, or whose user is gone,
   * disabled or has another password; the others stay, and what they may do is asked for again.
   * Errors: `ConfigError` as `protect`, `Fault` ACCESS_FILE when the file of a source cannot be used, BROKER_STOPPED; then nothing changes.
   */
  replaceAccess(settings: AccessSettings): Promise<void>;
  /** Reads password files, access lists and public keys of tokens now; the first two are read within two seconds of a change without it, too. */
  reloadAccessFiles(): void;
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
