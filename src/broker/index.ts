export { createBroker } from './broker.js';
export type {
  AccessSettings,
  AttachOptions,
  BoundListener,
  Broker,
  BrokerOptions,
  BrokerStatus,
  DelayedInfo,
  LiveSettings,
  PublishOptions,
  TermOfListener,
} from './broker-api.js';
export type { BrokerEventName, BrokerEvents, ClientInfo } from './events.js';
export type { MessageHandler, ReceivedMessage } from './local-subscriber.js';
export { type AdjustableLogger, createLogger, type LoggerOptions } from './logging.js';
