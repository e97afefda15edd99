export type { HeldPublisher, Link } from './link.js';
export { Pressure } from './pressure.js';
export {
  SESSION_NEVER_EXPIRES,
  Session,
  type SessionContext,
  type SessionWill,
  type SubscribeRequest,
} from './session.js';
export { type OpenSession, SessionRegistry } from './session-registry.js';
export { SessionStore } from './session-store.js';
