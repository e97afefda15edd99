/** What other modules may use of the client. */
export type { PublishOptions } from './client.js';
export { MqttClient } from './client.js';
export type { ClientErrorCode } from './client-error.js';
export { ClientError } from './client-error.js';
export type {
  Authenticator,
  ClientHandlers,
  ClientOptions,
  ReconnectOptions,
  SocksProxy,
  Target,
} from './client-options.js';
export { clientDefaults } from './client-options.js';
export { describeTarget, dial } from './dial.js';
export { IncomingMessage } from './incoming-messages.js';
export type { PublishResult } from './outgoing-messages.js';
export type { AnswerResult } from './pending-answers.js';
