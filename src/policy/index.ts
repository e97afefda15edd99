export { BuiltInPolicy, type User } from './built-in-policy.js';
export type {
  Admission,
  AuthenticationExchange,
  Client,
  ConnectRequest,
  ExchangeStep,
  Policy,
} from './policy.js';
export { ScramClient } from './scram-client.js';
