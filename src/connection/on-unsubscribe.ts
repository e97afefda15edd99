/** UNSUBSCRIBE: filters are compared as they are written [MQTT-3.10.4-1], answered in order [MQTT-3.11.3-1]. */
import {
  isValidTopicFilter,
  PacketType,
  parseSharedFilter,
  ReasonCode,
  type UnsubackReasonCode,
  type UnsubscribePacket,
} from '../protocol/index.js';
import type { Connection } from './connection.js';
import { mountFilter } from './mount-point.js';
import { invalidFilter } from './on-subscribe.js';

export function onUnsubscribe(connection: Connection, packet: UnsubscribePacket): void {
  const reasonCodes: UnsubackReasonCode[] = [];
  for (const filter of packet.topicFilters) {
    const shared = parseSharedFilter(filter);
    if (shared === 'invalid' || (shared === undefined && !isValidTopicFilter(filter)))
      throw invalidFilter(connection, 'UNSUBSCRIBE', filter);
  }
  const { policy } = connection.context;
  for (const filter of packet.topicFilters) {
    const shared = parseSharedFilter(filter);
    const topicFilter = typeof shared === 'object' ? shared.topicFilter : filter;
    if (policy.authorizeUnsubscribe?.(connection.client!, topicFilter) === false) {
      reasonCodes.push(ReasonCode.NotAuthorized);
      continue;
    }
    const fullFilter = mountFilter(connection.mountPoint, filter);
    const reasonCode = connection.session!.unsubscribe(fullFilter);
    if (reasonCode === ReasonCode.Success) connection.context.observer.unsubscribed(connection, fullFilter);
    reasonCodes.push(reasonCode);
  }
  // [MQTT-3.10.4-4] [MQTT-3.10.4-5]
  connection.send({ type: PacketType.Unsuback, packetId: packet.packetId, reasonCodes });
}
