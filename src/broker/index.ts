export {
  type AttachOptions,
  type BoundListener,
  type Broker,
  type BrokerOptions,
  type BrokerStatus,
  createBroker,
  type DelayedInfo,
  type PublishOptions,
} from './broker.js';
export type { BrokerEvents, ClientInfo } from './events.js';
export type { MessageHandler, ReceivedMessage } from './local-subscriber.js';
export { type AdjustableLogger, createLogger, type LoggerOptions } from './logging.js';
