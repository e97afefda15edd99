/** SUBSCRIBE: one verdict a filter, in order [MQTT-3.9.3-1], then SUBACK, then the retained messages. */
import { quoted } from '../base/index.js';
import {
  isValidTopicFilter,
  PacketType,
  ProtocolFailure,
  parseSharedFilter,
  type QoS,
  ReasonCode,
  reasonName,
  type SubackReasonCode,
  type SubscribePacket,
  type SubscriptionRequest,
  topicLevelCount,
} from '../protocol/index.js';
import type { Connection } from './connection.js';
import { mountFilter } from './mount-point.js';
import { recheckSubscriptions } from './recheck.js';
import { logRefusal } from './refusal-lines.js';

export function onSubscribe(connection: Connection, packet: SubscribePacket): void {
  const { policy, log } = connection.context;
  // A filter that no server may take ends the connection before anything of the packet takes effect.
  for (const request of packet.subscriptions) validate(connection, request.topicFilter);
  const verdicts = packet.subscriptions.map(({ topicFilter, qos }) =>
    policy.authorizeSubscribe(connection.client!, unshared(topicFilter), qos),
  );
  if (verdicts.every((verdict) => typeof verdict === 'number')) return answer(connection, packet, verdicts);
  // A source that fails lets nothing through.
  const refuse = (error: unknown): SubackReasonCode => {
    log.error('subscribe.unauthorized', `no verdict on a subscription: ${String(error)}`, connection.description);
    return ReasonCode.NotAuthorized;
  };
  const round = connection.recheckRound;
  const all = Promise.all(verdicts.map((verdict) => Promise.resolve(verdict).catch(refuse)));
  connection.await(
    all,
    (known) => {
      answer(connection, packet, known);
      // Meanwhile rights have changed, and these were not among the subscriptions that were asked for again.
      if (round !== connection.recheckRound) recheckSubscriptions(connection);
    },
    (error) => connection.fail(error),
  );
}

function answer(connection: Connection, packet: SubscribePacket, verdicts: readonly SubackReasonCode[]): void {
  const { protocol, metrics } = connection.context;
  const identifier = packet.properties?.subscriptionIdentifiers?.[0];
  const reasonCodes = packet.subscriptions.map((request, index) =>
    identifier !== undefined && !protocol.subscriptionIdentifiers
      ? ReasonCode.SubscriptionIdentifiersNotSupported
      : subscribe(connection, request, identifier, verdicts[index]!),
  );
  metrics.subscriptionsRefused += reasonCodes.filter((reasonCode) => reasonCode >= 0x80).length;
  if (connection.done) return;
  // [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-6]
  const refused = reasonCodes.findIndex((reasonCode) => reasonCode >= 0x80);
  connection.send({
    type: PacketType.Suback,
    packetId: packet.packetId,
    reasonCodes:
      connection.version === 3 ? reasonCodes.map((code, index) => granted(packet, code, index)) : reasonCodes,
    ...(refused < 0 || !connection.version5
      ? {}
      : { properties: { reasonString: `filter ${refused + 1} is refused: ${reasonName(reasonCodes[refused]!)}` } }),
  });
  connection.session!.pump();
}

/** 3.1 has no way to tell a client that it may not subscribe: its §3.8 asks for a positive acknowledgement all the same. */
function granted(packet: SubscribePacket, reasonCode: SubackReasonCode, index: number): SubackReasonCode {
  return reasonCode < 0x80 ? reasonCode : packet.subscriptions[index]!.qos;
}

/** The filter of a shared subscription, or what is a filter by itself. */
function unshared(topicFilter: string): string {
  const shared = parseSharedFilter(topicFilter);
  return typeof shared === 'object' ? shared.topicFilter : topicFilter;
}

function validate(connection: Connection, filter: string): void {
  const shared = parseSharedFilter(filter);
  if (shared === 'invalid') {
    const requirement = connection.version5 ? 'MQTT-4.8.2-1' : 'v5 §4.8.2';
    throw new ProtocolFailure(
      ReasonCode.TopicFilterInvalid,
      requirement,
      `SUBSCRIBE ${quoted(filter)} is no valid shared subscription`,
    );
  }
  if (shared === undefined && !isValidTopicFilter(filter)) throw invalidFilter(connection, 'SUBSCRIBE', filter);
}

/** A Topic Filter with a misplaced wildcard, or an empty one. */
export function invalidFilter(connection: Connection, packetName: string, filter: string): ProtocolFailure {
  const requirement = filter === '' ? '4.7.3-1' : '4.7.1-1';
  const id = connection.version5 ? `MQTT-${requirement}` : `MQTT3-${filter === '' ? '4.7.3-1' : '4.7.1-2'}`;
  return new ProtocolFailure(
    ReasonCode.TopicFilterInvalid,
    id,
    `${packetName} Topic Filter ${quoted(filter)} is not valid`,
  );
}

function subscribe(
  connection: Connection,
  request: SubscriptionRequest,
  identifier: number | undefined,
  verdict: SubackReasonCode,
): SubackReasonCode {
  const { context } = connection;
  const { limits, protocol } = context;
  const { session } = connection;
  if (connection.done || session === undefined) return ReasonCode.NotAuthorized; // refused for an earlier filter
  const fullFilter = mountFilter(connection.mountPoint, request.topicFilter);
  const parsed = parseSharedFilter(fullFilter);
  const shared = parsed === 'invalid' ? undefined : parsed;
  const topicFilter = shared?.topicFilter ?? fullFilter;
  if (shared !== undefined && !protocol.sharedSubscriptions) return ReasonCode.SharedSubscriptionsNotSupported;
  if (!protocol.wildcardSubscriptions && (topicFilter.includes('+') || topicFilter.includes('#')))
    return ReasonCode.WildcardSubscriptionsNotSupported;
  // As the client knows it: the mount point is none of its doing.
  const asked = unshared(request.topicFilter);
  if (Buffer.byteLength(asked) > limits.topicBytesMax || topicLevelCount(asked) > limits.topicLevelsMax) {
    logRefusal(connection, 'subscribe.refused', 'the topic filter is longer, or has more levels, than it may', {
      topicFilter: quoted(fullFilter),
    });
    return ReasonCode.TopicFilterInvalid;
  }
  if (session.subscriptionCount >= limits.subscriptionsPerClientMax && !session.hasSubscription(fullFilter)) {
    logRefusal(connection, 'subscribe.refused', 'the client has as many subscriptions as it may', {
      topicFilter: fullFilter,
    });
    return ReasonCode.QuotaExceeded;
  }
  if (verdict > 2) {
    logRefusal(connection, 'subscribe.refused', 'subscription refused by policy', {
      topicFilter: fullFilter,
    });
    // Not when a source could not be asked.
    if (verdict === ReasonCode.NotAuthorized && context.policy.denyAction === 'disconnect')
      connection.disconnect(ReasonCode.NotAuthorized, 'the client may not have this subscription');
    return verdict;
  }
  if (session.owner !== '' && context.storage?.failed !== undefined) return ReasonCode.QuotaExceeded;
  const qos = Math.min(request.qos, verdict) as QoS;
  session.subscribe({
    topicFilter,
    shareName: shared?.shareName,
    qos,
    noLocal: request.noLocal || (connection.bridge && shared === undefined),
    retainAsPublished: request.retainAsPublished || connection.bridge,
    retainHandling: request.retainHandling,
    subscriptionId: identifier,
  });
  context.observer.subscribed(connection, fullFilter, qos);
  return qos;
}
