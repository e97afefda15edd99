/** What a bridge can be told: its settings with every default filled in, as the configuration has them. */
import type { QueueOverflow } from '../base/index.js';
import type { QoS } from '../protocol/index.js';

export const directions = ['in', 'out', 'both'] as const;
export type Direction = (typeof directions)[number];

/** One row: what is forwarded, which way, and how topics are renamed. */
export interface TopicRule {
  /** Topic filter below the prefixes; empty where both prefixes are whole topic names. */
  readonly topic: string;
  readonly direction: Direction;
  readonly qos: number;
  readonly localPrefix: string;
  readonly remotePrefix: string;
}

export interface RemoteAddress {
  readonly host: string;
  readonly port: number;
}

export interface BridgeTls {
  readonly enabled: boolean;
  readonly ca: readonly string[];
  readonly trustSystemStore: boolean;
  readonly certificate?: string;
  readonly key?: string;
  readonly keyPassword?: string;
  readonly psk: { readonly identity?: string; readonly key?: string };
  readonly verifyHostname: boolean;
  readonly insecure: boolean;
  readonly serverName?: string;
  readonly alpn: readonly string[];
  readonly ciphers: string;
  readonly versionMin: 'TLSv1.2' | 'TLSv1.3';
}

export interface BridgeOptions {
  readonly name: string;
  readonly enabled: boolean;
  readonly remotes: readonly RemoteAddress[];
  readonly strategy: 'failover' | 'roundRobin';
  readonly failbackSeconds: number;
  readonly protocolVersion: '3.1' | '3.1.1' | '5.0';
  readonly clientId: string;
  readonly localClientId: string;
  readonly username?: string;
  readonly password?: string;
  readonly keepAliveSeconds: number;
  readonly cleanSession: boolean;
  readonly localCleanSession: boolean;
  readonly tryPrivate: boolean;
  readonly unsubscribe: boolean;
  readonly start: 'automatic' | 'lazy' | 'once';
  readonly lazy: { readonly idleSeconds: number; readonly threshold: number };
  readonly reconnect: { readonly minimumSeconds: number; readonly maximumSeconds: number };
  readonly connections: number;
  readonly notifications: { readonly enabled: boolean; readonly topic: string; readonly localOnly: boolean };
  readonly topics: readonly TopicRule[];
  readonly tls: BridgeTls;
  readonly queue: {
    readonly messagesMax: number;
    readonly bytesMax: number;
    readonly overflow: QueueOverflow;
    readonly qos0: boolean;
  };
  readonly durability: 'asBroker' | 'memory' | 'buffered' | 'sync' | 'faultTolerant';
  readonly packetBytesMax: number;
  /** 0 is as large as the remote takes. */
  readonly sentPacketBytesMax: number;
  readonly inflightMessagesMax: number;
  readonly receiveMaximum: number;
  readonly sessionExpirySeconds: number;
  readonly topicAliasMaximum: number;
  readonly outgoingRetain: boolean;
  readonly bindAddress?: string;
  readonly hopsMax: number;
  readonly compression: boolean;
}

export const protocolVersions = { '3.1': 3, '3.1.1': 4, '5.0': 5 } as const;

/** `host:port`, as messages name a remote. */
export function addressOf({ host, port }: RemoteAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

export const qosOf = ({ qos }: TopicRule): QoS => qos as QoS;
