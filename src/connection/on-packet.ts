/** Which `on-…` module, or which part of the session, a packet other than PUBLISH goes to, by the state of the connection. */
import { connectVersion, decodeBody, PacketType, ProtocolFailure, ReasonCode } from '../protocol/index.js';
import type { Connection } from './connection.js';
import { ConnectionState } from './connection-state.js';
import { foreignProtocol } from './foreign-protocol.js';
import { onAuth } from './on-auth.js';
import { onConnect } from './on-connect.js';
import { onDisconnect } from './on-disconnect.js';
import { onSubscribe } from './on-subscribe.js';
import { onUnsubscribe } from './on-unsubscribe.js';

/** Bytes of CONNECT's Variable Header up to and including the Protocol Level, in the longer form of 3.1. */
const CONNECT_VERSION_BYTES = 9;

/** Throws a ProtocolFailure for a packet that is malformed or may not come now. */
export function onPacket(connection: Connection, header: number, bytes: Buffer, start: number, end: number): void {
  if (connection.state === ConnectionState.Connected) onLatePacket(connection, header, bytes, start, end);
  else onEarlyPacket(connection, header, bytes, start, end);
}

function onLatePacket(connection: Connection, header: number, bytes: Buffer, start: number, end: number): void {
  const type = header >> 4;
  const session = connection.session!;
  // The short form of an acknowledgement, by far the most common.
  if (end - start === 2 && type >= PacketType.Puback && type <= PacketType.Pubcomp) {
    const packetId = (bytes[start]! << 8) | bytes[start + 1]!;
    if (packetId !== 0) {
      if (header === 0x40) return session.puback(packetId);
      if (header === 0x50) return session.pubrec(packetId, 0);
      if (header === 0x62) return onPubrel(connection, packetId);
      if (header === 0x70) return session.pubcomp(packetId);
    }
  }
  const packet = decodeBody(header, bytes, start, end, connection.version, 'server');
  switch (packet.type) {
    case PacketType.Puback:
      return session.puback(packet.packetId);
    case PacketType.Pubrec:
      return session.pubrec(packet.packetId, packet.reasonCode);
    case PacketType.Pubrel:
      return onPubrel(connection, packet.packetId);
    case PacketType.Pubcomp:
      return session.pubcomp(packet.packetId);
    case PacketType.Subscribe:
      return onSubscribe(connection, packet);
    case PacketType.Unsubscribe:
      return onUnsubscribe(connection, packet);
    case PacketType.Pingreq:
      return connection.send({ type: PacketType.Pingresp }); // [MQTT-3.12.4-1]
    case PacketType.Disconnect:
      return onDisconnect(connection, packet);
    case PacketType.Auth:
      return onAuth(connection, packet);
    case PacketType.Connect:
      // [MQTT-3.1.0-2] a second CONNECT is a protocol error
      throw new ProtocolFailure(ReasonCode.ProtocolError, 'MQTT-3.1.0-2', 'second CONNECT');
    default:
      throw new ProtocolFailure(ReasonCode.ProtocolError, 'v5 §2.1.2', `packet type ${type} is not sent to a server`);
  }
}

function onPubrel(connection: Connection, packetId: number): void {
  const found = connection.session!.release(packetId);
  // [MQTT-4.3.3-11]
  const known = found || !connection.version5;
  connection.acknowledge(0x70, packetId, known ? ReasonCode.Success : ReasonCode.PacketIdentifierNotFound);
}

function onEarlyPacket(connection: Connection, header: number, bytes: Buffer, start: number, end: number): void {
  if (connection.state === ConnectionState.Opening) {
    if (header >> 4 !== PacketType.Connect) throw notConnect(header); // [MQTT-3.1.0-1]
    learnVersion(connection, bytes, start, end);
    const packet = decodeBody(header, bytes, start, end, connection.version, 'server');
    if (packet.type === PacketType.Connect) onConnect(connection, packet);
    return;
  }
  const packet = decodeBody(header, bytes, start, end, connection.version, 'server');
  if (packet.type === PacketType.Auth) onAuth(connection, packet);
  else if (packet.type === PacketType.Disconnect) connection.end();
  // [MQTT-3.1.2-30]
  else
    throw new ProtocolFailure(ReasonCode.ProtocolError, 'MQTT-3.1.2-30', `packet type ${header >> 4} before CONNACK`);
}

/** The first bytes of a connection: what cannot become a CONNECT is not waited for. Throws a ProtocolFailure for it. */
export function onFirstBytes(bytes: Buffer, start: number, end: number): void {
  const foreign = foreignProtocol(bytes, start, end);
  if (foreign !== undefined)
    throw new ProtocolFailure(ReasonCode.ProtocolError, 'MQTT-3.1.0-1', `what comes is ${foreign}`);
  const header = bytes[start]!;
  if (header >> 4 !== PacketType.Connect) throw notConnect(header); // [MQTT-3.1.0-1]
}

/**
 * A packet above Maximum Packet Size, of which the bytes up to `end` have come. Throws what ends the connection; even a CONNECT is refused
 * in its own version, so that it returns when that has not come yet.
 */
export function onTooLarge(
  connection: Connection,
  header: number,
  bytes: Buffer,
  start: number,
  end: number,
  packetBytes: number,
): void {
  if (connection.state === ConnectionState.Opening) {
    if (header !== 0x10) throw notConnect(header);
    if (end - start < CONNECT_VERSION_BYTES) return;
    learnVersion(connection, bytes, start, end);
  }
  throw new ProtocolFailure(
    ReasonCode.PacketTooLarge,
    'MQTT-3.2.2-15',
    `packet of ${packetBytes} bytes is above the maximum of ${connection.granted.packetBytesMax}`,
  );
}

/** So that even a CONNECT that cannot be decoded is refused in its own version. */
function learnVersion(connection: Connection, bytes: Buffer, start: number, end: number): void {
  const version = connectVersion(bytes, start, end);
  if (version === undefined) return;
  connection.version = version;
  connection.version5 = version === 5;
}

function notConnect(header: number): ProtocolFailure {
  return new ProtocolFailure(
    ReasonCode.ProtocolError,
    'MQTT-3.1.0-1',
    `first packet is of type ${header >> 4}, not CONNECT`,
  );
}
