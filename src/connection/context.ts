import type { Clock, Limits, Logger, TimerWheel, Turn } from '../base/index.js';
import type { BrokerMetrics } from '../metrics/index.js';
import type { Client, Policy } from '../policy/index.js';
import type { MessageSource, ProtocolVersion, PublishRun, PublishView, QoS } from '../protocol/index.js';
import type { MayDeliver, Router } from '../router/index.js';
import type { Pressure, SessionRegistry } from '../session/index.js';
import type { Store } from '../storage/index.js';
import type { Connection } from './connection.js';
import type { ControlHandler } from './control.js';
import type { OutboundTotals } from './outbound-totals.js';
import type { Protection } from './protection/protection.js';

/** What 5.0 clients are told that the broker offers; everything is on by default. */
export interface ProtocolOptions {
  readonly maximumQoS: QoS;
  readonly retain: boolean;
  readonly wildcardSubscriptions: boolean;
  readonly subscriptionIdentifiers: boolean;
  readonly sharedSubscriptions: boolean;
  /** What client identifiers have to begin with; empty: anything. */
  readonly clientIdPrefixes: readonly string[];
  /** Whether 3.x clients with a longer keep alive than may be are refused. */
  readonly refuseLongKeepAlive: boolean;
  /** Prefix of Response Information; empty for none */
  readonly responseInformation: string;
  /** Where clients are sent instead, and with which code; undefined to serve them here. */
  readonly redirect: { readonly reasonCode: 0x9c | 0x9d; readonly serverReference: string } | undefined;
}

/** What the listener that accepted a connection decides for it. */
export interface ListenerOptions {
  readonly name: string;
  readonly allowAnonymous: boolean;
  connectionsMax: number;
  /** What the topics of its clients begin with, unseen by them; `%u` and `%c` stand for user name and client identifier. */
  readonly mountPoint: string;
  readonly protocolVersions: readonly ProtocolVersion[];
  /** The identity of a pre-shared key stands for user name and password. */
  readonly pskIdentityAsUsername?: boolean;
  /** Where lower than that of the broker. */
  readonly maximumQoS?: number;
  /** Instead of the limits of the broker. */
  readonly topicAliasMaximum?: number;
  readonly topicAliasMaximumToClients?: number;
  /** Whether clients may leave their identifier to the broker; true when left out. */
  readonly emptyClientIds?: boolean;
  /** What identifiers chosen by the broker begin with; `auto-` when left out. */
  readonly clientIdPrefix?: string;
  readonly usernameAsClientId?: boolean;
}

/** Who published what is retained, and whether it may still go out. */
export interface RetainedSources {
  /** What is kept of the client that publishes a retained message; undefined where nothing is. */
  of(client: Client): MessageSource | undefined;
  readonly mayDeliver: MayDeliver;
}

/** Told of clients as they come and go; observers see facts after they happen and change nothing. */
export interface ConnectionObserver {
  connected(connection: Connection): void;
  disconnected(connection: Connection, reasonCode: number): void;
  subscribed(connection: Connection, topicFilter: string, qos: QoS): void;
  unsubscribed(connection: Connection, topicFilter: string): void;
}

/** Everything that connections of one broker share. */
export interface ConnectionContext {
  /** The run that is being received; one for all connections, since only one is parsed at a time. */
  readonly run: PublishRun;
  /** The PUBLISH that is being read, likewise. */
  readonly view: PublishView;
  readonly clock: Clock;
  /** `clock.nowMs`, bound. */
  readonly nowMs: () => number;
  readonly wheel: TimerWheel;
  readonly turn: Turn;
  /** In force now. */
  readonly limits: Limits;
  /** As `limits` when it last changed: what a connection tells its client has to hold for as long as it lasts. */
  granted: Limits;
  readonly protocol: ProtocolOptions;
  readonly metrics: BrokerMetrics;
  readonly log: Logger;
  readonly policy: Policy;
  readonly protection: Protection;
  readonly retainedSources: RetainedSources;
  readonly router: Router;
  readonly sessions: SessionRegistry;
  readonly pressure: Pressure;
  readonly outboundTotals: OutboundTotals;
  readonly observer: ConnectionObserver;
  /** What is asked below `$CONTROL/`; undefined where nothing is. */
  readonly control: ControlHandler | undefined;
  /** What holds acknowledgements back until they may leave; undefined where nothing is stored. */
  readonly storage: Store | undefined;
}
