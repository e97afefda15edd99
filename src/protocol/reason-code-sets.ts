import { PacketType } from './packet.js';
import { ReasonCode } from './reason-code.js';

/** Who receives: a server takes what clients send, a client what servers send. */
export type Role = 'server' | 'client';

const publishAnswer = [
  ReasonCode.Success,
  ReasonCode.NoMatchingSubscribers,
  ReasonCode.UnspecifiedError,
  ReasonCode.ImplementationSpecificError,
  ReasonCode.NotAuthorized,
  ReasonCode.TopicNameInvalid,
  ReasonCode.PacketIdentifierInUse,
  ReasonCode.QuotaExceeded,
  ReasonCode.PayloadFormatInvalid,
];
const releaseAnswer = [ReasonCode.Success, ReasonCode.PacketIdentifierNotFound];

/** Table 3-10: what a client may say in DISCONNECT. */
const disconnectOfClient = [
  ReasonCode.NormalDisconnection,
  ReasonCode.DisconnectWithWill,
  ReasonCode.UnspecifiedError,
  ReasonCode.MalformedPacket,
  ReasonCode.ProtocolError,
  ReasonCode.ImplementationSpecificError,
  ReasonCode.TopicNameInvalid,
  ReasonCode.ReceiveMaximumExceeded,
  ReasonCode.TopicAliasInvalid,
  ReasonCode.PacketTooLarge,
  ReasonCode.MessageRateTooHigh,
  ReasonCode.QuotaExceeded,
  ReasonCode.AdministrativeAction,
  ReasonCode.PayloadFormatInvalid,
];

const rejected = (code: number) => code >= 0x80;
const every = Object.values(ReasonCode) as number[];

/** Codes of the tables for SUBACK, UNSUBACK and CONNACK, as a client may find them. */
const subscribeAnswer = [
  ReasonCode.GrantedQoS0,
  ReasonCode.GrantedQoS1,
  ReasonCode.GrantedQoS2,
  ReasonCode.UnspecifiedError,
  ReasonCode.ImplementationSpecificError,
  ReasonCode.NotAuthorized,
  ReasonCode.TopicFilterInvalid,
  ReasonCode.PacketIdentifierInUse,
  ReasonCode.QuotaExceeded,
  ReasonCode.SharedSubscriptionsNotSupported,
  ReasonCode.SubscriptionIdentifiersNotSupported,
  ReasonCode.WildcardSubscriptionsNotSupported,
];
const unsubscribeAnswer = [
  ReasonCode.Success,
  ReasonCode.NoSubscriptionExisted,
  ReasonCode.UnspecifiedError,
  ReasonCode.ImplementationSpecificError,
  ReasonCode.NotAuthorized,
  ReasonCode.TopicFilterInvalid,
  ReasonCode.PacketIdentifierInUse,
];

const both = (codes: readonly number[]) => ({ server: new Set(codes), client: new Set(codes) });

const allowed: Partial<Record<PacketType, Record<Role, ReadonlySet<number>>>> = {
  [PacketType.Connack]: both([ReasonCode.Success, ...every.filter(rejected)]),
  [PacketType.Puback]: both(publishAnswer),
  [PacketType.Pubrec]: both(publishAnswer),
  [PacketType.Pubrel]: both(releaseAnswer),
  [PacketType.Pubcomp]: both(releaseAnswer),
  [PacketType.Suback]: both(subscribeAnswer),
  [PacketType.Unsuback]: both(unsubscribeAnswer),
  [PacketType.Disconnect]: {
    server: new Set(disconnectOfClient),
    client: new Set([ReasonCode.NormalDisconnection, ...every.filter(rejected)]),
  },
  [PacketType.Auth]: {
    server: new Set([ReasonCode.ContinueAuthentication, ReasonCode.ReAuthenticate]),
    client: new Set([ReasonCode.Success, ReasonCode.ContinueAuthentication]),
  },
};

/** Whether the standard lets the other side put `code` into a packet of `type`. */
export function reasonCodeAllowed(type: PacketType, code: number, role: Role): boolean {
  return allowed[type]?.[role].has(code) ?? false;
}
