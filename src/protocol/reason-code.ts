/**
 * Reason codes of MQTT 5.0 (§2.4), typed by the packet that may carry them, so that a wrong code for a packet does not
 * compile. The return codes of 3.1 and 3.1.1 are made from them in `v3/return-code.ts` alone.
 */
export const ReasonCode = {
  Success: 0x00,
  NormalDisconnection: 0x00,
  GrantedQoS0: 0x00,
  GrantedQoS1: 0x01,
  GrantedQoS2: 0x02,
  DisconnectWithWill: 0x04,
  NoMatchingSubscribers: 0x10,
  NoSubscriptionExisted: 0x11,
  ContinueAuthentication: 0x18,
  ReAuthenticate: 0x19,
  UnspecifiedError: 0x80,
  MalformedPacket: 0x81,
  ProtocolError: 0x82,
  ImplementationSpecificError: 0x83,
  UnsupportedProtocolVersion: 0x84,
  ClientIdentifierNotValid: 0x85,
  BadUserNameOrPassword: 0x86,
  NotAuthorized: 0x87,
  ServerUnavailable: 0x88,
  ServerBusy: 0x89,
  Banned: 0x8a,
  ServerShuttingDown: 0x8b,
  BadAuthenticationMethod: 0x8c,
  KeepAliveTimeout: 0x8d,
  SessionTakenOver: 0x8e,
  TopicFilterInvalid: 0x8f,
  TopicNameInvalid: 0x90,
  PacketIdentifierInUse: 0x91,
  PacketIdentifierNotFound: 0x92,
  ReceiveMaximumExceeded: 0x93,
  TopicAliasInvalid: 0x94,
  PacketTooLarge: 0x95,
  MessageRateTooHigh: 0x96,
  QuotaExceeded: 0x97,
  AdministrativeAction: 0x98,
  PayloadFormatInvalid: 0x99,
  RetainNotSupported: 0x9a,
  QoSNotSupported: 0x9b,
  UseAnotherServer: 0x9c,
  ServerMoved: 0x9d,
  SharedSubscriptionsNotSupported: 0x9e,
  ConnectionRateExceeded: 0x9f,
  MaximumConnectTime: 0xa0,
  SubscriptionIdentifiersNotSupported: 0xa1,
  WildcardSubscriptionsNotSupported: 0xa2,
} as const;

type Codes<Name extends keyof typeof ReasonCode> = (typeof ReasonCode)[Name];

/** Any reason code. */
export type ReasonCode = Codes<keyof typeof ReasonCode>;

/** v5 table 3-1. */
export type ConnackReasonCode = Codes<
  | 'Success'
  | 'UnspecifiedError'
  | 'MalformedPacket'
  | 'ProtocolError'
  | 'ImplementationSpecificError'
  | 'UnsupportedProtocolVersion'
  | 'ClientIdentifierNotValid'
  | 'BadUserNameOrPassword'
  | 'NotAuthorized'
  | 'ServerUnavailable'
  | 'ServerBusy'
  | 'Banned'
  | 'BadAuthenticationMethod'
  | 'TopicNameInvalid'
  | 'PacketTooLarge'
  | 'QuotaExceeded'
  | 'PayloadFormatInvalid'
  | 'RetainNotSupported'
  | 'QoSNotSupported'
  | 'UseAnotherServer'
  | 'ServerMoved'
  | 'ConnectionRateExceeded'
>;

/** Codes of DISCONNECT (v5 table 3-10) that a CONNACK cannot have. */
const inDisconnectOnly: ReadonlySet<number> = new Set([
  ReasonCode.ServerShuttingDown,
  ReasonCode.KeepAliveTimeout,
  ReasonCode.SessionTakenOver,
  ReasonCode.TopicFilterInvalid,
  ReasonCode.ReceiveMaximumExceeded,
  ReasonCode.TopicAliasInvalid,
  ReasonCode.MessageRateTooHigh,
  ReasonCode.AdministrativeAction,
  ReasonCode.SharedSubscriptionsNotSupported,
  ReasonCode.MaximumConnectTime,
  ReasonCode.SubscriptionIdentifiersNotSupported,
  ReasonCode.WildcardSubscriptionsNotSupported,
]);

/** The code that a CONNACK gives where a connected client would have got `reasonCode` in a DISCONNECT. */
export function connackCodeOf(reasonCode: DisconnectReasonCode): ConnackReasonCode {
  return inDisconnectOnly.has(reasonCode) ? ReasonCode.ServerUnavailable : (reasonCode as ConnackReasonCode);
}

/** v5 table 3-4 and 3-5: PUBACK and PUBREC share one list. */
export type PubackReasonCode = Codes<
  | 'Success'
  | 'NoMatchingSubscribers'
  | 'UnspecifiedError'
  | 'ImplementationSpecificError'
  | 'NotAuthorized'
  | 'TopicNameInvalid'
  | 'PacketIdentifierInUse'
  | 'QuotaExceeded'
  | 'PayloadFormatInvalid'
>;

/** v5 tables 3-6 and 3-7. */
export type PubrelReasonCode = Codes<'Success' | 'PacketIdentifierNotFound'>;

/** v5 table 3-8. */
export type SubackReasonCode = Codes<
  | 'GrantedQoS0'
  | 'GrantedQoS1'
  | 'GrantedQoS2'
  | 'UnspecifiedError'
  | 'ImplementationSpecificError'
  | 'NotAuthorized'
  | 'TopicFilterInvalid'
  | 'PacketIdentifierInUse'
  | 'QuotaExceeded'
  | 'SharedSubscriptionsNotSupported'
  | 'SubscriptionIdentifiersNotSupported'
  | 'WildcardSubscriptionsNotSupported'
>;

/** v5 table 3-9. */
export type UnsubackReasonCode = Codes<
  | 'Success'
  | 'NoSubscriptionExisted'
  | 'UnspecifiedError'
  | 'ImplementationSpecificError'
  | 'NotAuthorized'
  | 'TopicFilterInvalid'
  | 'PacketIdentifierInUse'
>;

/** v5 table 3-10, the codes that a server may send. */
export type DisconnectReasonCode = Codes<
  | 'NormalDisconnection'
  | 'UnspecifiedError'
  | 'MalformedPacket'
  | 'ProtocolError'
  | 'ImplementationSpecificError'
  | 'NotAuthorized'
  | 'ServerBusy'
  | 'ServerShuttingDown'
  | 'KeepAliveTimeout'
  | 'SessionTakenOver'
  | 'TopicFilterInvalid'
  | 'TopicNameInvalid'
  | 'ReceiveMaximumExceeded'
  | 'TopicAliasInvalid'
  | 'PacketTooLarge'
  | 'MessageRateTooHigh'
  | 'QuotaExceeded'
  | 'AdministrativeAction'
  | 'PayloadFormatInvalid'
  | 'RetainNotSupported'
  | 'QoSNotSupported'
  | 'UseAnotherServer'
  | 'ServerMoved'
  | 'SharedSubscriptionsNotSupported'
  | 'ConnectionRateExceeded'
  | 'MaximumConnectTime'
  | 'SubscriptionIdentifiersNotSupported'
  | 'WildcardSubscriptionsNotSupported'
>;

/** v5 table 3-11. */
export type AuthReasonCode = Codes<'Success' | 'ContinueAuthentication' | 'ReAuthenticate'>;

const names = new Map<number, string>();
for (const [name, code] of Object.entries(ReasonCode)) {
  if (!names.has(code)) names.set(code, name.replace(/([a-z0-9])([A-Z])/g, '$1 $2').replace('Qo S', 'QoS'));
}

/** The words of the standard for a code, as logs and reason strings show them: `Not Authorized`. */
export function reasonName(code: number): string {
  return names.get(code) ?? `0x${code.toString(16).padStart(2, '0')}`;
}
