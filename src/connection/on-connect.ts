/**
 * CONNECT: what the broker can serve, who the client is, then its session and CONNACK (v5 §3.1.4).
 */
import { randomBytes } from 'node:crypto';
import { quoted } from '../base/index.js';
import type { Admission, Client } from '../policy/index.js';
import {
  type ConnackPacket,
  type ConnectPacket,
  encodePacket,
  isValidTopicName,
  PacketType,
  type Properties,
  ProtocolFailure,
  type PubackReasonCode,
  ReasonCode,
  topicLevelCount,
  type Will,
} from '../protocol/index.js';
import { isControlTopic } from '../router/index.js';
import type { Session, SessionWill } from '../session/index.js';
import type { Connection } from './connection.js';
import { ConnectionState } from './connection-state.js';
import { identify, limitTime } from './identify.js';
import { mount, mountPointOf } from './mount-point.js';
import { takeStep } from './on-auth.js';
import { recheckSubscriptions } from './recheck.js';
import { nameForLog, refuseLogin } from './refuse-login.js';
import { AliasesToClient } from './topic-aliases.js';

/** User property by which two brokers agree that a connection is compressed. */
export const COMPRESSION = 'dunlin-compression';

const ADMITTED: Admission = { reasonCode: ReasonCode.Success };

export function onConnect(connection: Connection, packet: ConnectPacket): void {
  const { context, listener } = connection;
  const { limits, protocol, policy } = context;
  const properties = packet.properties ?? {};
  connection.version = packet.protocolVersion;
  connection.version5 = packet.protocolVersion === 5;
  connection.bridge = packet.bridge;
  connection.packetBytesMax = properties.maximumPacketSize ?? Number.POSITIVE_INFINITY;
  connection.problemInformation = properties.requestProblemInformation !== 0;

  if (!listener.protocolVersions.includes(packet.protocolVersion))
    return connection.refuse(
      ReasonCode.UnsupportedProtocolVersion,
      `listener ${listener.name} does not take this protocol version`,
    );
  if (protocol.redirect !== undefined) {
    const { reasonCode, serverReference } = protocol.redirect;
    return connection.refuse(reasonCode, undefined, { serverReference });
  }
  if (packet.clientId === '' && !connection.version5 && !packet.cleanStart)
    // [MQTT3-3.1.3-8]
    throw new ProtocolFailure(
      ReasonCode.ClientIdentifierNotValid,
      'MQTT3-3.1.3-8',
      'CONNECT Client Identifier is empty with Clean Session 0',
    );
  if (packet.clientId === '' && packet.protocolVersion === 3)
    throw new ProtocolFailure(
      ReasonCode.ClientIdentifierNotValid,
      'MQTT 3.1 §3.1',
      'CONNECT Client Identifier is empty',
    );
  if (packet.clientId === '' && listener.emptyClientIds === false)
    return connection.refuse(ReasonCode.ClientIdentifierNotValid, 'this listener takes no empty client identifier');
  if (Buffer.byteLength(packet.clientId) > limits.clientIdBytesMax)
    throw new ProtocolFailure(
      ReasonCode.ClientIdentifierNotValid,
      'MQTT-3.1.3-8',
      `CONNECT Client Identifier is longer than ${limits.clientIdBytesMax} bytes`,
    );
  if (context.sessions.reserved.has(packet.clientId))
    return connection.refuse(ReasonCode.ClientIdentifierNotValid, 'this client identifier is that of a bridge');
  const will = packet.will;
  if (will !== undefined && refuseWill(connection, will)) return;

  const clientId = packet.clientId === '' ? assignClientId(connection) : packet.clientId;
  const { clientIdPrefixes } = protocol;
  if (clientIdPrefixes.length > 0 && !clientIdPrefixes.some((prefix) => clientId.startsWith(prefix)))
    return connection.refuse(ReasonCode.NotAuthorized, 'client identifiers have to begin otherwise');
  const facts = connection.facts;
  const byKey = listener.pskIdentityAsUsername === true && facts.pskIdentity !== undefined;
  const client: Client = {
    clientId,
    username: byKey ? facts.pskIdentity : packet.username,
    protocolVersion: packet.protocolVersion,
    listener: listener.name,
    address: connection.peer.address,
    ...facts,
  };
  connection.client = client;
  if (refuseBanned(connection)) return;
  const assigned = packet.clientId === '';

  const method = properties.authenticationMethod;
  if (method !== undefined) {
    const exchange = policy.beginExchange(method, client);
    // [MQTT-4.12.0-1]
    if (exchange === undefined)
      return connection.refuse(
        ReasonCode.BadAuthenticationMethod,
        `authentication method ${quoted(method)} is not offered`,
      );
    connection.state = ConnectionState.Authenticating;
    connection.authentication = {
      method,
      exchange,
      admitted: (username, data, identity) => {
        connection.client = { ...client, username };
        identify(connection, identity);
        admit(connection, packet, assigned, data);
      },
    };
    takeStep(connection, connection.authentication, properties.authenticationData);
    return;
  }

  // The key has vouched for the user already.
  const verdict = byKey
    ? ADMITTED
    : policy.authenticate({ ...client, password: packet.password, allowAnonymous: listener.allowAnonymous });
  if (!(verdict instanceof Promise)) return decide(connection, packet, assigned, verdict);
  connection.state = ConnectionState.Authenticating;
  connection.await(
    verdict,
    (admission) => decide(connection, packet, assigned, admission),
    (error) => {
      // A source that fails lets nobody in.
      context.log.error('authentication.failed', String(error), connection.description);
      connection.refuse(ReasonCode.ServerUnavailable, 'authentication is not available');
    },
  );
}

function decide(connection: Connection, packet: ConnectPacket, assigned: boolean, admission: Admission): void {
  if (admission.reasonCode === ReasonCode.Success) {
    identify(connection, admission.identity);
    return admit(connection, packet, assigned, undefined);
  }
  connection.context.log.warning('connection.refused', 'authentication refused the client', {
    ...connection.description,
    reasonCode: admission.reasonCode,
    ...nameForLog(packet.username),
  });
  refuseLogin(connection, connection.client!.username, admission.reasonCode, admission.reasonString);
}

/** A banned client is told no more than that. Returns whether it was refused. */
function refuseBanned(connection: Connection): boolean {
  const { protection, log, metrics } = connection.context;
  const ban = protection.bans.find(connection.client!);
  if (ban === undefined) return false;
  metrics.connectionsBanned++;
  log.warning('connection.banned', `a banned client was refused: ${ban.kind} ${quoted(ban.value)}`, {
    ...connection.description,
    ...(ban.reason === undefined ? {} : { reason: ban.reason }),
  });
  connection.refuse(ReasonCode.Banned, undefined);
  return true;
}

/** Answers a will that cannot be kept; returns whether it did. */
function refuseWill(connection: Connection, will: Will): boolean {
  const { protocol, limits } = connection.context;
  if (!isValidTopicName(will.topicName))
    throw new ProtocolFailure(
      ReasonCode.TopicNameInvalid,
      'v5 §3.1.3.3',
      `CONNECT Will Topic ${quoted(will.topicName)} is not a topic name`,
    );
  if (Buffer.byteLength(will.topicName) > limits.topicBytesMax) {
    connection.refuse(ReasonCode.TopicNameInvalid, `the will topic is longer than ${limits.topicBytesMax} bytes`);
    return true;
  }
  if (topicLevelCount(will.topicName) > limits.topicLevelsMax) {
    connection.refuse(ReasonCode.TopicNameInvalid, `the will topic has more than ${limits.topicLevelsMax} levels`);
    return true;
  }
  if (isControlTopic(will.topicName)) {
    connection.refuse(ReasonCode.TopicNameInvalid, 'a will cannot administer the broker');
    return true;
  }
  if (limits.payloadBytesMax > 0 && will.payload.length > limits.payloadBytesMax) {
    connection.refuse(ReasonCode.PacketTooLarge, `the will is larger than ${limits.payloadBytesMax} bytes`);
    return true;
  }
  if (will.qos > connection.maximumQoS) {
    connection.refuse(ReasonCode.QoSNotSupported, 'the will asks for a QoS that is switched off'); // [MQTT-3.2.2-12]
    return true;
  }
  if (will.retain && !protocol.retain) {
    connection.refuse(ReasonCode.RetainNotSupported, 'the will is retained, and retained messages are switched off'); // [MQTT-3.2.2-13]
    return true;
  }
  return false;
}

/** [MQTT-3.1.3-6] [MQTT-3.2.2-16] an identifier that no session has */
function assignClientId(connection: Connection): string {
  for (;;) {
    const clientId = `${connection.listener.clientIdPrefix ?? 'auto-'}${randomBytes(12).toString('base64url')}`;
    if (connection.context.sessions.get(clientId) === undefined) return clientId;
  }
}

/** The client is who it says: settles the terms, opens its session, answers. */
function admit(
  connection: Connection,
  packet: ConnectPacket,
  assigned: boolean,
  authenticationData: Buffer | undefined,
): void {
  // Its rights, to its will first of all, are those of the name that it goes by.
  if (connection.listener.usernameAsClientId === true && (!renameAfterUser(connection) || refuseBanned(connection)))
    return;
  const { will } = packet;
  if (will === undefined) return open(connection, packet, assigned, authenticationData);
  const { policy, log, router } = connection.context;
  // Of a delayed will, the topic that it goes to.
  const { delayed } = router.resolve(will.topicName);
  const topicName = typeof delayed === 'object' ? delayed.topicName : will.topicName;
  const verdict = policy.authorizePublish(connection.client!, topicName, will.qos, will.retain);
  const decideWill = (reasonCode: PubackReasonCode): void => {
    if (reasonCode < 0x80) return open(connection, packet, assigned, authenticationData);
    // Refused now, rather than its will when it is due.
    log.warning('connection.refused', 'the client may not publish its will', {
      ...connection.description,
      topicName: will.topicName,
    });
    connection.refuse(ReasonCode.NotAuthorized, 'the client may not publish its will');
  };
  if (typeof verdict === 'number') return decideWill(verdict);
  connection.state = ConnectionState.Authenticating;
  connection.await(verdict, decideWill, (error) => {
    log.error('authentication.failed', `no verdict on a will: ${String(error)}`, connection.description);
    connection.refuse(ReasonCode.ServerUnavailable, 'authorization is not available');
  });
}

function open(
  connection: Connection,
  packet: ConnectPacket,
  assigned: boolean,
  authenticationData: Buffer | undefined,
): void {
  const { context } = connection;
  const { limits, metrics, protection } = context;
  const properties = packet.properties ?? {};
  const client = connection.client!;
  const { clientId, username } = client;
  const { will } = packet;
  if (username !== packet.username && refuseBanned(connection)) return; // under the name that it turned out to have
  if (username !== undefined) {
    const { connectionsPerUserMax } = protection.options;
    // One more is let in to take over a session of its own.
    const owner = context.sessions.get(clientId)?.connection as Connection | undefined;
    const max = owner?.countedUser === username ? 0 : connectionsPerUserMax;
    if (!protection.perUser.add(username, max)) {
      context.log.warning('connection.refused', 'the user has as many connections as it may', connection.description);
      return connection.refuse(ReasonCode.QuotaExceeded, 'the user has as many connections as it may');
    }
    connection.countedUser = username;
  }
  const mountPoint = mountPointOf(connection.listener.mountPoint, client);
  if (mountPoint === undefined) {
    context.log.warning('connection.refused', 'the name of the client cannot be part of its topics', {
      ...connection.description,
      ...nameForLog(username),
    });
    return connection.refuse(ReasonCode.NotAuthorized, 'the name of the client cannot be part of its topics');
  }
  connection.mountPoint = mountPoint;
  connection.mountBytes = Buffer.byteLength(mountPoint);
  if (protection.connected(client)) {
    metrics.connectionsBanned++;
    return connection.refuse(ReasonCode.Banned, undefined);
  }
  connection.rates = protection.rates.of(client);
  connection.connectedAtMs = context.nowMs();
  limitTime(connection);
  const asked = connection.version5
    ? (properties.sessionExpiryInterval ?? 0)
    : packet.cleanStart
      ? 0
      : limits.sessionExpirySecondsMax;
  const expiryInterval = Math.min(asked, limits.sessionExpirySecondsMax);

  const { keepAliveSecondsMax } = limits;
  const keepAliveTooLong =
    packet.keepAlive > keepAliveSecondsMax || (packet.keepAlive === 0 && keepAliveSecondsMax < 65535);
  // [MQTT-3.2.2-22]: 3.x clients cannot be told, so theirs stands
  connection.keepAlive = connection.version5 && keepAliveTooLong ? keepAliveSecondsMax : packet.keepAlive;
  if (keepAliveTooLong && !connection.version5 && context.protocol.refuseLongKeepAlive)
    return connection.refuse(ReasonCode.ClientIdentifierNotValid, undefined);
  const { sessionsMax } = limits;
  if (sessionsMax > 0 && context.sessions.size >= sessionsMax && context.sessions.get(clientId) === undefined) {
    context.log.warning('connection.refused', 'as many sessions are there as may be', connection.description);
    return connection.refuse(ReasonCode.QuotaExceeded, 'as many sessions are there as may be');
  }

  const aliasMaximum = Math.min(
    properties.topicAliasMaximum ?? 0,
    connection.listener.topicAliasMaximumToClients ?? limits.topicAliasMaximumToClients,
  );
  if (connection.version5 && aliasMaximum > 0) connection.aliases = new AliasesToClient(aliasMaximum); // [MQTT-3.1.2-27]

  const connack: ConnackPacket = { type: PacketType.Connack, sessionPresent: false, reasonCode: ReasonCode.Success };
  if (connection.version5) {
    connack.properties = connackProperties(connection, packet, asked, expiryInterval, assigned, authenticationData);
    const bytes = encodePacket(connack, 5).length;
    if (bytes > connection.packetBytesMax)
      // [MQTT-3.1.2-24] without a CONNACK nothing else could follow [MQTT-3.2.0-1]
      return connection.refuse(ReasonCode.PacketTooLarge, `CONNACK takes ${bytes} bytes, more than the client allows`);
  }

  // A session that is stored cannot be discarded either.
  if (context.storage?.failed !== undefined && (expiryInterval > 0 || isStored(context.sessions.get(clientId))))
    return connection.refuse(ReasonCode.ServerUnavailable, 'storage cannot be written, so no session can be kept');

  const { session, sessionPresent } = context.sessions.open(
    clientId,
    packet.cleanStart,
    expiryInterval,
    willOf(will, clientId, connection),
    connection,
    properties.receiveMaximum ?? 65535,
  );
  connection.session = session;
  connection.state = ConnectionState.Connected; // not before: where the session cannot be opened, CONNACK says so
  connection.receivedBefore = session.receivedCount;
  metrics.clientsConnected++;
  if (metrics.clientsConnected > metrics.clientsConnectedMax) metrics.clientsConnectedMax = metrics.clientsConnected;
  connection.startKeepAlive();
  // [MQTT-3.2.0-1] before anything else; 3.1 has no session present flag
  connack.sessionPresent = sessionPresent && connection.version !== 3;
  if (compresses(connection, packet)) connection.compressAfter(connack);
  connection.send(connack);
  context.log.information('client.connected', 'client connected', {
    ...connection.description,
    version: connection.version,
    sessionPresent,
    cleanStart: packet.cleanStart,
    keepAlive: packet.keepAlive,
    username: client.username,
  });
  context.observer.connected(connection);
  if (session.owner !== '') connection.gate();
  if (sessionPresent) recheckSubscriptions(connection);
  session.resume();
}

function isStored(session: Session | undefined): boolean {
  return session !== undefined && session.owner !== '';
}

/** The user name is the client identifier. Returns whether the client has one; refuses it otherwise. */
function renameAfterUser(connection: Connection): boolean {
  const { username } = connection.client!;
  if (username === undefined || username === '') {
    connection.refuse(ReasonCode.NotAuthorized, 'this listener asks for a user name');
    return false;
  }
  const { limits, sessions } = connection.context;
  if (Buffer.byteLength(username) > limits.clientIdBytesMax) {
    connection.refuse(
      ReasonCode.ClientIdentifierNotValid,
      `the user name is longer than ${limits.clientIdBytesMax} bytes, the most that a client identifier may have`,
    );
    return false;
  }
  if (sessions.reserved.has(username)) {
    connection.refuse(ReasonCode.ClientIdentifierNotValid, 'the user name is the client identifier of a bridge');
    return false;
  }
  connection.client = { ...connection.client!, clientId: username };
  return true;
}

/** A bridge asks for compression with a user property, and is answered with the same where it is allowed. */
function compresses(connection: Connection, { properties }: ConnectPacket): boolean {
  if (!connection.version5 || !connection.compressible) return false;
  return properties?.userProperties?.some(([name, value]) => name === COMPRESSION && value === 'deflate') ?? false;
}

function willOf(will: Will | undefined, clientId: string, connection: Connection): SessionWill | undefined {
  if (will === undefined) return undefined;
  const { topicName, payload, qos, retain, properties } = will;
  const source = retain ? connection.context.retainedSources.of(connection.client!) : undefined;
  return {
    values: {
      topicName: mount(connection.mountPoint, topicName),
      payload,
      qos,
      retain,
      properties,
      publisherId: clientId,
      ...(source === undefined ? {} : { source }),
    },
    delay: properties?.willDelayInterval ?? 0,
  };
}

function connackProperties(
  connection: Connection,
  packet: ConnectPacket,
  askedExpiry: number,
  expiryInterval: number,
  assigned: boolean,
  authenticationData: Buffer | undefined,
): Properties {
  const { granted } = connection;
  const { protocol } = connection.context;
  const properties: Properties = {
    receiveMaximum: granted.receiveMaximum,
    maximumPacketSize: granted.packetBytesMax,
    topicAliasMaximum: connection.listener.topicAliasMaximum ?? granted.topicAliasMaximum,
  };
  if (expiryInterval !== askedExpiry) properties.sessionExpiryInterval = expiryInterval;
  if (connection.maximumQoS < 2) properties.maximumQoS = connection.maximumQoS;
  if (!protocol.retain) properties.retainAvailable = 0;
  if (!protocol.wildcardSubscriptions) properties.wildcardSubscriptionAvailable = 0;
  if (!protocol.subscriptionIdentifiers) properties.subscriptionIdentifierAvailable = 0;
  if (!protocol.sharedSubscriptions) properties.sharedSubscriptionAvailable = 0;
  if (assigned) properties.assignedClientIdentifier = connection.client!.clientId; // [MQTT-3.1.3-7]
  if (connection.keepAlive !== packet.keepAlive) properties.serverKeepAlive = connection.keepAlive;
  // [MQTT-3.1.2-28]
  if (packet.properties?.requestResponseInformation === 1 && protocol.responseInformation !== '')
    properties.responseInformation = `${protocol.responseInformation}${connection.client!.clientId}/`;
  if (compresses(connection, packet)) properties.userProperties = [[COMPRESSION, 'deflate']];
  if (connection.authentication !== undefined) {
    properties.authenticationMethod = connection.authentication.method; // [MQTT-4.12.0-5]
    if (authenticationData !== undefined) properties.authenticationData = authenticationData;
  }
  return properties;
}
