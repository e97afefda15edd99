/**
 * Enhanced authentication (v5 §4.12): the exchange that CONNECT begins, and re-authentication of a connected client.
 *
 * One step runs at a time; while it runs, nothing else of the client is parsed. During re-authentication other packets
 * flow between the steps as before.
 */

import { quoted } from '../base/index.js';
import type { AuthenticationExchange, ExchangeStep, Identity } from '../policy/index.js';
import { type AuthPacket, PacketType, type Properties, ProtocolFailure, ReasonCode } from '../protocol/index.js';
import type { Connection } from './connection.js';
import { ConnectionState } from './connection-state.js';
import { identify } from './identify.js';
import { recheckSubscriptions } from './recheck.js';
import { nameForLog, refuseLogin } from './refuse-login.js';

type Refused = Extract<ExchangeStep, { readonly outcome: 'refused' }>;

export interface EnhancedAuthentication {
  /** Of CONNECT; every AUTH repeats it [MQTT-4.12.0-5]. */
  readonly method: string;
  /** Undefined between exchanges. */
  exchange: AuthenticationExchange | undefined;
  /** Goes on with CONNECT once the first exchange has succeeded. */
  readonly admitted: (username: string, data: Buffer | undefined, identity: Identity | undefined) => void;
}

export function onAuth(connection: Connection, packet: AuthPacket): void {
  const { authentication, client, context } = connection;
  // [MQTT-4.12.0-7]
  if (authentication === undefined) throw failure('MQTT-4.12.0-7', 'AUTH without an Authentication Method in CONNECT');
  const method = packet.properties?.authenticationMethod;
  if (method !== authentication.method)
    throw failure('MQTT-4.12.0-5', `AUTH Authentication Method ${quoted(method ?? '')} is not that of CONNECT`);
  if (packet.reasonCode === ReasonCode.ReAuthenticate) {
    if (connection.state !== ConnectionState.Connected || authentication.exchange !== undefined)
      throw failure('MQTT-4.12.1-1', 'AUTH begins a re-authentication while another exchange runs');
    authentication.exchange = context.policy.beginExchange(authentication.method, client!);
  } else if (packet.reasonCode !== ReasonCode.ContinueAuthentication)
    throw failure('MQTT-4.12.0-3', `AUTH Reason Code is 0x${packet.reasonCode.toString(16)}`);
  if (authentication.exchange === undefined)
    throw failure('MQTT-4.12.0-3', 'AUTH continues an exchange that was not begun');
  takeStep(connection, authentication, packet.properties?.authenticationData);
}

/** Hands the client's data to the exchange and acts on its answer. */
export function takeStep(
  connection: Connection,
  authentication: EnhancedAuthentication,
  data: Uint8Array | undefined,
): void {
  const exchange = authentication.exchange!;
  connection.await(
    exchange.step(data === undefined ? undefined : Buffer.from(data)),
    (step) => {
      if (step.outcome === 'refused') refuse(connection, authentication, step);
      else answer(connection, authentication, step);
    },
    (error) => connection.fail(error),
  );
}

/** [MQTT-4.12.0-4] [MQTT-4.12.1-2] */
function refuse(connection: Connection, authentication: EnhancedAuthentication, step: Refused): void {
  const username = step.username ?? connection.client!.username;
  authentication.exchange = undefined;
  connection.context.log.warning('authentication.refused', `enhanced authentication failed: ${authentication.method}`, {
    ...connection.description,
    ...nameForLog(username),
    reasonCode: step.reasonCode,
  });
  refuseLogin(connection, username, step.reasonCode, 'authentication failed');
}

function answer(
  connection: Connection,
  authentication: EnhancedAuthentication,
  step: Exclude<ExchangeStep, Refused>,
): void {
  const properties: Properties = { authenticationMethod: authentication.method };
  if (step.outcome === 'continue') {
    // [MQTT-4.12.0-2]
    send(connection, ReasonCode.ContinueAuthentication, { ...properties, authenticationData: step.data });
    return;
  }
  authentication.exchange = undefined;
  if (connection.state === ConnectionState.Authenticating) {
    authentication.admitted(step.username, step.data, step.identity);
    return;
  }
  if (step.username !== connection.client!.username) {
    // Rights were granted to the first user; another one has to connect anew.
    connection.refuse(ReasonCode.NotAuthorized, 're-authentication names another user');
    return;
  }
  identify(connection, step.identity);
  recheckSubscriptions(connection); // by the rights that come with it
  send(
    connection,
    ReasonCode.Success,
    step.data === undefined ? properties : { ...properties, authenticationData: step.data },
  );
}

function send(connection: Connection, reasonCode: number, properties: Properties): void {
  connection.send({ type: PacketType.Auth, reasonCode, properties });
}

function failure(requirement: string, field: string): ProtocolFailure {
  return new ProtocolFailure(ReasonCode.ProtocolError, requirement, field);
}
