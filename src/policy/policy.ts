/**
 * The seam that decides what a client may do: one verdict per question, nothing else.
 *
 * `connection` asks; the built-in policy, or the one an embedding program hands in, answers. Every verdict may take its time: the packets
 * of that client wait for it, nobody else does. One on a publish stands on the publish path, so whoever answers keeps what it can answer
 * at once.
 */
import type { ConnackReasonCode, ProtocolVersion, PubackReasonCode, QoS, SubackReasonCode } from '../protocol/index.js';

/** What is known of a client when it asks for something. */
export interface Client {
  readonly clientId: string;
  readonly username: string | undefined;
  readonly protocolVersion: ProtocolVersion;
  /** Name of the listener it came by. */
  readonly listener: string;
  /** Address of the peer; empty for a Unix socket. */
  readonly address: string;
  /** What the client showed in the TLS handshake, verified. */
  readonly certificate?: ClientCertificate;
  /** The identity of its pre-shared key. */
  readonly pskIdentity?: string;
  /** Cookies of the WebSocket upgrade, by name. */
  readonly cookies?: Readonly<Record<string, string>>;
  /** What authentication found out. */
  readonly identity?: Identity;
}

/** The certificate of a client, in the forms in which rules and data sources name certificates. */
export interface ClientCertificate {
  /** Distinguished names as RFC 4514 writes them. */
  readonly subject: string;
  readonly issuer: string;
  readonly commonName: string | undefined;
  /** hexadecimal, upper case, without leading zeros */
  readonly serialNumber: string;
  /** SHA-256 of the certificate, hexadecimal, lower case, without separators */
  readonly thumbprint: string;
  /** milliseconds since the Unix epoch */
  readonly notAfterMs: number;
  /** Whether its chain leads to a trusted authority; a listener may accept one that does not. */
  readonly trusted: boolean;
  readonly der: Buffer;
}

export interface Identity {
  /** The user from now on: a certificate or a token may name another than CONNECT. */
  readonly username: string | undefined;
  readonly roles: readonly string[];
  readonly groups: readonly string[];
  /** Ends the connection then, milliseconds since the Unix epoch. */
  readonly expiresAtMs?: number;
  /** Of the source that admitted the client, for rules that name them: `%{name}`. */
  readonly attributes: Readonly<Record<string, string>>;
  /** Rules of the source that admitted the client, such as the claims of its token. */
  readonly rules?: readonly unknown[];
  /** The source that admitted the client, by its name in the configuration. */
  readonly source?: string;
  /** Allowed everything that is not the broker's own. */
  readonly superuser?: boolean;
  /** What it may do in the administration of the broker; absent: nothing. */
  readonly administration?: 'viewer' | 'operator' | 'admin';
}

export interface ConnectRequest extends Client {
  readonly password: Uint8Array | undefined;
  /** Whether its listener lets clients in that give no user name. */
  readonly allowAnonymous: boolean;
}

export interface Admission {
  readonly reasonCode: ConnackReasonCode;
  /** What a 5.0 client is told beside the code; nothing an attacker could use. */
  readonly reasonString?: string;
  readonly identity?: Identity;
}

/** One step of enhanced authentication (v5 §4.12). */
export type ExchangeStep =
  | { readonly outcome: 'continue'; readonly data: Buffer }
  | {
      readonly outcome: 'success';
      readonly data: Buffer | undefined;
      readonly username: string;
      readonly identity?: Identity;
    }
  /** With the user name that was tried, where the exchange came so far. */
  | { readonly outcome: 'refused'; readonly reasonCode: ConnackReasonCode; readonly username?: string };

/** One run of an authentication method, from CONNECT or a re-authentication to its end. */
export interface AuthenticationExchange {
  step(data: Buffer | undefined): Promise<ExchangeStep>;
}

export interface Policy {
  authenticate(request: ConnectRequest): Admission | Promise<Admission>;
  /** Begins an exchange by `method`; undefined when the method is not offered [MQTT-4.12.0-1]. */
  beginExchange(method: string, client: Client): AuthenticationExchange | undefined;
  /**
   * With `authorization.checkRetainedSource` asked about whoever published what is retained as well: a client that may be gone, without
   * address and with what the configuration's users say of its name.
   */
  authorizePublish(
    client: Client,
    topicName: string,
    qos: QoS,
    retain: boolean,
  ): PubackReasonCode | Promise<PubackReasonCode>;
  /** The granted QoS (perhaps lower than asked), or a refusal. `topicFilter` is without a share prefix. */
  authorizeSubscribe(client: Client, topicFilter: string, qos: QoS): SubackReasonCode | Promise<SubackReasonCode>;
  /** Whether the client may be sent messages of this topic; absent where every subscriber may. */
  readonly authorizeReceive?: ((client: Client, topicName: string) => boolean) | undefined;
  /** Whether the client may end a subscription; absent where every client may. */
  readonly authorizeUnsubscribe?: ((client: Client, topicFilter: string) => boolean) | undefined;
  /** What a refused publish or subscription does beside being refused; absent: nothing. */
  readonly denyAction?: 'ignore' | 'disconnect';
  /** Calls `listener` when verdicts may have changed: what was allowed has to be asked for again. Returns what ends that. */
  onChange?(listener: () => void): () => void;
}
