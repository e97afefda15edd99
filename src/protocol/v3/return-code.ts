import { ReasonCode } from '../reason-code.js';

/**
 * Return codes of CONNACK in 3.1 and 3.1.1 (3.1.1 table 3.1), the only place where reason codes of 5.0 become these.
 */
export const ReturnCode = {
  Accepted: 0,
  UnacceptableProtocolVersion: 1,
  IdentifierRejected: 2,
  ServerUnavailable: 3,
  BadUserNameOrPassword: 4,
  NotAuthorized: 5,
} as const;
export type ReturnCode = (typeof ReturnCode)[keyof typeof ReturnCode];

const fromReason = new Map<number, ReturnCode>([
  [ReasonCode.Success, ReturnCode.Accepted],
  [ReasonCode.UnsupportedProtocolVersion, ReturnCode.UnacceptableProtocolVersion],
  [ReasonCode.ClientIdentifierNotValid, ReturnCode.IdentifierRejected],
  [ReasonCode.UnspecifiedError, ReturnCode.ServerUnavailable],
  [ReasonCode.ImplementationSpecificError, ReturnCode.ServerUnavailable],
  [ReasonCode.ServerUnavailable, ReturnCode.ServerUnavailable],
  [ReasonCode.ServerBusy, ReturnCode.ServerUnavailable],
  [ReasonCode.ServerShuttingDown, ReturnCode.ServerUnavailable],
  [ReasonCode.QuotaExceeded, ReturnCode.ServerUnavailable],
  [ReasonCode.UseAnotherServer, ReturnCode.ServerUnavailable],
  [ReasonCode.ServerMoved, ReturnCode.ServerUnavailable],
  [ReasonCode.ConnectionRateExceeded, ReturnCode.ServerUnavailable],
  [ReasonCode.BadUserNameOrPassword, ReturnCode.BadUserNameOrPassword],
  [ReasonCode.NotAuthorized, ReturnCode.NotAuthorized],
  [ReasonCode.Banned, ReturnCode.NotAuthorized],
  [ReasonCode.BadAuthenticationMethod, ReturnCode.NotAuthorized],
]);

const toReason: readonly number[] = [
  ReasonCode.Success,
  ReasonCode.UnsupportedProtocolVersion,
  ReasonCode.ClientIdentifierNotValid,
  ReasonCode.ServerUnavailable,
  ReasonCode.BadUserNameOrPassword,
  ReasonCode.NotAuthorized,
];

/**
 * What a 3.x client is told for a CONNACK reason code. Undefined when no return code applies and the connection is closed
 * without CONNACK [MQTT3-3.2.2-6].
 */
export function returnCodeOf(reasonCode: number): ReturnCode | undefined {
  return fromReason.get(reasonCode);
}

/** The reason code that a client reports for a 3.x return code; Unspecified Error for reserved ones. */
export function reasonCodeOf(returnCode: number): number {
  return toReason[returnCode] ?? ReasonCode.UnspecifiedError;
}

/** SUBACK in 3.1.1 knows one failure code [MQTT3-3.9.3-2]; 3.1 names none, and its servers send none. */
export function subackReturnCodeOf(reasonCode: number): number {
  return Math.min(reasonCode, 0x80);
}
