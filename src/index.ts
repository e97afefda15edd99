/** The library: what a Node program that embeds the broker imports, and every type that its calls name. */

export { Fault, type Limits, type LogFields, type Logger, type LogLevelName, silentLogger } from './base/index.js';
export type { BridgeConnectionStatus, BridgeStatus } from './bridge/index.js';
export {
  type AccessSettings,
  type AdjustableLogger,
  type AttachOptions,
  type BoundListener,
  type Broker,
  type BrokerEventName,
  type BrokerEvents,
  type BrokerOptions,
  type BrokerStatus,
  type ClientInfo,
  createBroker,
  createLogger,
  type DelayedInfo,
  type LiveSettings,
  type LoggerOptions,
  type MessageHandler,
  type PublishOptions,
  type ReceivedMessage,
  type TermOfListener,
} from './broker/index.js';
export {
  type BridgeConfig,
  type BridgeInput,
  type Config,
  ConfigError,
  type ConfigInput,
  defaultConfig,
  type ListenerConfig,
  type ListenerInput,
  type LoadedConfig,
  loadConfig,
  type Problem,
} from './config/index.js';
export type { Ban, BanKind, NewBan } from './connection/index.js';
export type { BrokerMetrics } from './metrics/index.js';
export type {
  AccessStatus,
  Admission,
  AuthenticationExchange,
  Client,
  ClientCertificate,
  ConnectRequest,
  ExchangeStep,
  Identity,
  Policy,
  SourceStatus,
} from './policy/index.js';
export {
  type ConnackReasonCode,
  type Properties,
  type ProtocolVersion,
  type PubackReasonCode,
  type QoS,
  ReasonCode,
  type SubackReasonCode,
  type UserProperty,
} from './protocol/index.js';
export type { DurabilityMode } from './storage/index.js';
