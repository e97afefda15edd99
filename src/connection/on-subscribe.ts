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

export function onSubscribe(connection: Connection, packet: SubscribePacket): void {
  const { protocol } = connection.context;
  const identifier = packet.properties?.subscriptionIdentifiers?.[0];
  const reasonCodes: SubackReasonCode[] = [];
  // A filter that no server may take ends the connection before anything of the packet takes effect.
  for (const request of packet.subscriptions) validate(connection, request.topicFilter);
  for (const request of packet.subscriptions) {
    const refused: SubackReasonCode | undefined =
      identifier !== undefined && !protocol.subscriptionIdentifiers
        ? ReasonCode.SubscriptionIdentifiersNotSupported
        : undefined;
    reasonCodes.push(refused ?? subscribe(connection, request, identifier));
  }
  // [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-6]
  const refused = reasonCodes.findIndex((reasonCode) => reasonCode >= 0x80);
  connection.send({
    type: PacketType.Suback,
    packetId: packet.packetId,
    reasonCodes,
    ...(refused < 0 || !connection.version5
      ? {}
      : { properties: { reasonString: `filter ${refused + 1} is refused: ${reasonName(reasonCodes[refused]!)}` } }),
  });
  connection.session!.pump();
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
): SubackReasonCode {
  const { context } = connection;
  const { limits, protocol } = context;
  const session = connection.session!;
  const { topicFilter: fullFilter } = request;
  const parsed = parseSharedFilter(fullFilter);
  const shared = parsed === 'invalid' ? undefined : parsed;
  const topicFilter = shared?.topicFilter ?? fullFilter;
  if (shared !== undefined && !protocol.sharedSubscriptions) return ReasonCode.SharedSubscriptionsNotSupported;
  if (!protocol.wildcardSubscriptions && (topicFilter.includes('+') || topicFilter.includes('#')))
    return ReasonCode.WildcardSubscriptionsNotSupported;
  if (Buffer.byteLength(topicFilter) > limits.topicBytesMax || topicLevelCount(topicFilter) > limits.topicLevelsMax)
    return ReasonCode.TopicFilterInvalid;
  if (session.subscriptionCount >= limits.subscriptionsPerClientMax && !session.hasSubscription(fullFilter)) {
    context.log.information('subscribe.refused', 'the client has as many subscriptions as it may', {
      ...connection.description,
      topicFilter: fullFilter,
    });
    return ReasonCode.QuotaExceeded;
  }
  const verdict = context.policy.authorizeSubscribe(connection.client!, topicFilter, request.qos);
  if (verdict > 2) {
    context.log.information('subscribe.refused', 'subscription refused by policy', {
      ...connection.description,
      topicFilter: fullFilter,
    });
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
