/**
 * What a client can be told, and the defaults. Quantities carry their unit in the name or in the line above.
 */
import type { ConnectionOptions } from 'node:tls';
import type {
  AuthPacket,
  ConnackPacket,
  DisconnectPacket,
  Packet,
  Properties,
  ProtocolVersion,
  Will,
} from '../protocol/index.js';
import type { ClientError } from './client-error.js';
import type { IncomingMessage } from './incoming-messages.js';

export interface SocksProxy {
  host: string;
  port: number;
  username?: string;
  password?: string;
}

interface TargetCommon {
  /** Given to `node:tls` as it is: ca, cert, key, servername, ALPNProtocols, ciphers, pskCallback, minVersion and so on. */
  tls?: ConnectionOptions;
}

/** Where the server is. `tls` present means TLS; for WebSocket it adds to a `wss:` URL. */
export type Target =
  | (TargetCommon & {
      transport: 'tcp';
      host: string;
      port: number;
      /** an address of this machine to connect from */
      localAddress?: string;
      noDelay?: boolean;
      proxy?: SocksProxy;
    })
  | (TargetCommon & { transport: 'unix'; path: string })
  | (TargetCommon & { transport: 'webSocket'; url: string; headers?: Record<string, string> });

/** One method of enhanced authentication (v5 §4.12). */
export interface Authenticator {
  readonly method: string;
  /** Begins an exchange; what it returns goes into CONNECT, or AUTH for a re-authentication. */
  begin(): Uint8Array | undefined | Promise<Uint8Array | undefined>;
  /**
   * Answers the server's data. `last` is true when the server has accepted and nothing is sent any more: a method that
   * authenticates the server too checks it here. A throw ends the connection.
   */
  respond(data: Uint8Array | undefined, last: boolean): Uint8Array | undefined | Promise<Uint8Array | undefined>;
}

export interface ReconnectOptions {
  /** first delay; it doubles with every attempt */
  delayMsMin: number;
  delayMsMax: number;
  /** true: also when the very first attempt fails */
  initial: boolean;
}

export interface ClientOptions {
  target: Target;
  protocolVersion: ProtocolVersion;
  clientId: string;
  cleanStart: boolean;
  /** seconds; 0 switches it off */
  keepAlive: number;
  username?: string;
  password?: Uint8Array;
  will?: Will;
  /** CONNECT properties, 5.0 only. Receive Maximum, Topic Alias Maximum and Maximum Packet Size are kept as given here. */
  properties?: Properties;
  /** the bridge bit of 3.x */
  bridge?: boolean;
  authenticator?: Authenticator;
  reconnect?: ReconnectOptions;
  /** milliseconds from the first byte out to CONNACK, dialling included */
  connectTimeoutMs?: number;
  /** milliseconds that the server may leave a PINGREQ unanswered */
  pingTimeoutMs?: number;
  /** QoS 1 and 2 messages sent and not acknowledged; the server's Receive Maximum lowers it */
  inflightMax?: number;
  /** QoS 1 and 2 messages held, in flight or waiting; one more is refused with CLIENT_QUEUE_FULL */
  queueMessagesMax?: number;
  /** Uses topic aliases by itself, as many as the server allows, for the first topics published to */
  automaticTopicAliases?: boolean;
  /** Subscribes again after a reconnect that found no session */
  resubscribe?: boolean;
  /** Properties for every acknowledgement that has none of its own, 5.0 only */
  acknowledgeProperties?: { puback?: Properties; pubrec?: Properties; pubrel?: Properties; pubcomp?: Properties };
  /** The handler calls `message.acknowledge()` itself */
  manualAcknowledge?: boolean;
}

/** How the client reports what nobody asked for. A handler may call any method of the client. */
export interface ClientHandlers {
  onMessage?(message: IncomingMessage): void;
  /** after every successful CONNECT */
  onConnect?(connack: ConnackPacket): void;
  /** A connection that had been up was lost; `disconnect` and `destroy` do not end up here. */
  onClose?(error: ClientError): void;
  /** An attempt to connect again failed; another follows. */
  onReconnectFailed?(error: ClientError): void;
  onServerDisconnect?(packet: DisconnectPacket): void;
  onAuth?(packet: AuthPacket): void;
  /** Sees every packet, for debugging output. */
  onPacket?(direction: 'sent' | 'received', packet: Packet): void;
}

export const clientDefaults = {
  connectTimeoutMs: 30_000,
  inflightMax: 65_535,
  queueMessagesMax: 1_000_000,
} as const;

/** Largest packet taken when CONNECT announces no Maximum Packet Size: what the encoding can carry. */
export const packetBytesMaxDefault = 268_435_460;
