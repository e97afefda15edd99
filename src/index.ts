/** The library: what a Node program that embeds the broker imports. */

export { Fault, type Logger, silentLogger } from './base/index.js';
export type { BridgeStatus } from './bridge/index.js';
export {
  type AttachOptions,
  type BoundListener,
  type Broker,
  type BrokerEvents,
  type BrokerOptions,
  type BrokerStatus,
  type ClientInfo,
  createBroker,
  createLogger,
  type DelayedInfo,
  type MessageHandler,
  type PublishOptions,
  type ReceivedMessage,
} from './broker/index.js';
export { type Config, ConfigError, type ConfigInput, defaultConfig, loadConfig } from './config/index.js';
export type { Admission, Client, ConnectRequest, Policy } from './policy/index.js';
export { type Properties, type ProtocolVersion, type QoS, ReasonCode } from './protocol/index.js';
