/** DISCONNECT from a client (v5 §3.14.4): normally it discards the will and may change the session's expiry. */
import { type DisconnectPacket, ProtocolFailure, ReasonCode } from '../protocol/index.js';
import type { Connection } from './connection.js';

export function onDisconnect(connection: Connection, packet: DisconnectPacket): void {
  const session = connection.session!;
  const expiryInterval = packet.properties?.sessionExpiryInterval;
  if (expiryInterval !== undefined) {
    // v5 §3.14.2.2.2: what ended with the connection cannot be given a life after it
    if (session.expiryInterval === 0 && expiryInterval !== 0)
      throw new ProtocolFailure(
        ReasonCode.ProtocolError,
        'v5 §3.14.2.2.2',
        `DISCONNECT Session Expiry Interval is ${expiryInterval}, that of CONNECT was 0`,
      );
    session.expiryInterval = Math.min(expiryInterval, connection.context.limits.sessionExpirySecondsMax);
  }
  connection.discardWill = packet.reasonCode === ReasonCode.NormalDisconnection; // [MQTT-3.14.4-3]
  connection.disconnectReason = packet.reasonCode;
  connection.end();
}
