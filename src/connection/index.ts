export { Connection } from './connection.js';
export { ConnectionState } from './connection-state.js';
export type {
  ConnectionContext,
  ConnectionObserver,
  ListenerOptions,
  ProtocolOptions,
  RetainedSources,
} from './context.js';
export type { ControlHandler } from './control.js';
export { limitTime } from './identify.js';
export { mountPointOf } from './mount-point.js';
export { COMPRESSION } from './on-connect.js';
export { OutboundTotals } from './outbound-totals.js';
export { type Ban, type BanKind, banKinds, checkBan, type NewBan } from './protection/ban-list.js';
export { Protection, type ProtectionOptions } from './protection/protection.js';
export { type RateRule, rateOutcomes, rateScopes } from './protection/rates.js';
export { recheckSubscriptions } from './recheck.js';
export { RefusalLines } from './refusal-lines.js';
export { AliasesToClient } from './topic-aliases.js';
