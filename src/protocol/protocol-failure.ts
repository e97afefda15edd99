import type { DisconnectReasonCode } from './reason-code.js';
import { ReasonCode, reasonName } from './reason-code.js';

/**
 * A peer broke the protocol. Thrown by decoding and validation, caught once in `connection/`, which alone decides between
 * CONNACK, DISCONNECT and closing, by version.
 */
export class ProtocolFailure extends Error {
  override readonly name = 'ProtocolFailure';

  /**
   * @param reasonCode   what a 5.0 peer is told
   * @param requirement  the statement that was broken, e.g. `MQTT-3.3.1-4`, or a section where the standard numbers none
   * @param field        what was wrong, naming the field and what was found, as the log line and the reason string say it
   */
  constructor(
    readonly reasonCode:
      | DisconnectReasonCode
      | typeof ReasonCode.UnsupportedProtocolVersion
      | typeof ReasonCode.ClientIdentifierNotValid
      | typeof ReasonCode.BadAuthenticationMethod,
    readonly requirement: string,
    readonly field: string,
  ) {
    super(`${reasonName(reasonCode)}: ${field} [${requirement}]`);
  }
}

/** 0x81: the bytes do not parse. */
export function malformed(requirement: string, field: string): ProtocolFailure {
  return new ProtocolFailure(ReasonCode.MalformedPacket, requirement, field);
}

/** 0x82: the bytes parse, but the packet is not allowed here or so. */
export function protocolError(requirement: string, field: string): ProtocolFailure {
  return new ProtocolFailure(ReasonCode.ProtocolError, requirement, field);
}
