/** Packets other than PUBLISH on their way to a client, cut down to what it takes. */
import {
  encodePacket,
  type Packet,
  PacketType,
  ProtocolFailure,
  type ProtocolVersion,
  ReasonCode,
  reasonName,
} from '../protocol/index.js';
import type { Outbound } from './outbound.js';

export interface PacketTarget {
  readonly version: ProtocolVersion;
  /** Maximum Packet Size of the client; Infinity when it set none */
  readonly packetBytesMax: number;
  /** Reason Strings may be sent on acknowledgements. [MQTT-3.1.2-29] */
  readonly problemInformation: boolean;
}

/**
 * The bytes of a packet. Reason String and User Properties are left out where the client wants none [MQTT-3.1.2-29] or where the packet
 * would be larger than it takes [MQTT-3.1.2-24]; undefined for a packet that is too large even so, which may not be sent.
 */
export function encodeFor(target: PacketTarget, packet: Packet): Buffer | undefined {
  let bytes = encodePacket(packet, target.version);
  const optional = 'properties' in packet ? packet.properties : undefined;
  const informs = packet.type === PacketType.Connack || packet.type === PacketType.Disconnect;
  if (optional !== undefined && (bytes.length > target.packetBytesMax || (!target.problemInformation && !informs))) {
    const { reasonString: _reason, userProperties: _user, ...needed } = optional;
    bytes = encodePacket({ ...packet, properties: needed } as Packet, target.version);
  }
  return bytes.length > target.packetBytesMax ? undefined : bytes;
}

/** PUBACK (0x40), PUBREC (0x50), PUBREL (0x62) or PUBCOMP (0x70) without properties; Success takes the short form. */
export function writeAcknowledgement(outbound: Outbound, header: number, packetId: number, reasonCode: number): void {
  const length = reasonCode === ReasonCode.Success ? 2 : 3;
  let at = outbound.reserve(2 + length);
  const bytes = outbound.chunk!;
  bytes[at++] = header;
  bytes[at++] = length;
  bytes[at++] = packetId >>> 8;
  bytes[at++] = packetId & 0xff;
  if (length === 3) bytes[at] = reasonCode;
}

/** What a refused acknowledgement means here, in words. */
export function refusalOf(reasonCode: number): string {
  switch (reasonCode) {
    case ReasonCode.NotAuthorized:
      return 'the client may not publish to this topic';
    case ReasonCode.QuotaExceeded:
      return 'the retained store or the queue of a subscriber is full';
    case ReasonCode.PacketIdentifierNotFound:
      return 'no exchange with this packet identifier is open';
    default:
      return reasonName(reasonCode);
  }
}

/** Whether the client may rely on something from then on. */
export function promises({ type }: Packet): boolean {
  return type === PacketType.Connack || type === PacketType.Suback || type === PacketType.Unsuback;
}

/** Whether the client waits for just this packet: without it, it would wait for ever. */
export function isAwaited({ type }: Packet): boolean {
  return type === PacketType.Suback || type === PacketType.Unsuback || type === PacketType.Auth;
}

/** An answer that may not be sent: the connection cannot go on. */
export function tooLargeFor({ packetBytesMax }: PacketTarget): ProtocolFailure {
  return new ProtocolFailure(
    ReasonCode.PacketTooLarge,
    'MQTT-3.1.2-24',
    `the answer is larger than the Maximum Packet Size of the client, ${packetBytesMax}`,
  );
}
