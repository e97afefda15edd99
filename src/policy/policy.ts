/**
 * The seam that decides what a client may do: one verdict per question, nothing else.
 *
 * `connection` asks; the built-in policy, or the one an embedding program hands in, answers. A verdict on a publish or a
 * subscription comes at once, since it stands on the publish path; authentication may take its time.
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
}

/** One step of enhanced authentication (v5 §4.12). */
export type ExchangeStep =
  | { readonly outcome: 'continue'; readonly data: Buffer }
  | { readonly outcome: 'success'; readonly data: Buffer | undefined; readonly username: string }
  | { readonly outcome: 'refused'; readonly reasonCode: ConnackReasonCode };

/** One run of an authentication method, from CONNECT or a re-authentication to its end. */
export interface AuthenticationExchange {
  step(data: Buffer | undefined): Promise<ExchangeStep>;
}

export interface Policy {
  authenticate(request: ConnectRequest): Admission | Promise<Admission>;
  /** Begins an exchange by `method`; undefined when the method is not offered [MQTT-4.12.0-1]. */
  beginExchange(method: string, client: Client): AuthenticationExchange | undefined;
  authorizePublish(client: Client, topicName: string, qos: QoS, retain: boolean): PubackReasonCode;
  /** The granted QoS (perhaps lower than asked), or a refusal. `topicFilter` is without a share prefix. */
  authorizeSubscribe(client: Client, topicFilter: string, qos: QoS): SubackReasonCode;
}
