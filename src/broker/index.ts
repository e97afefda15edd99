export { createBroker } from './broker.js';
export type {
  AttachOptions,
  BoundListener,
  Broker,
  BrokerOptions,
  BrokerStatus,
  DelayedInfo,
  PublishOptions,
} from './broker-api.js';
export type { BrokerEvents, ClientInfo } from './events.js';
export type { MessageHandler, ReceivedMessage } from './local-subscriber.js';
export { type AdjustableLogger, createLogger, type LoggerOptions } from './logging.js';
