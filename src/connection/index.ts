export { Connection } from './connection.js';
export { ConnectionState } from './connection-state.js';
export type { ConnectionContext, ConnectionObserver, ListenerOptions, ProtocolOptions } from './context.js';
export { OutboundTotals } from './outbound.js';
export { type Ban, type BanKind, banKinds, checkBan, type NewBan } from './protection/ban-list.js';
export { Protection, type ProtectionOptions } from './protection/protection.js';
export { type RateRule, rateOutcomes, rateScopes } from './protection/rates.js';
export { recheckSubscriptions } from './recheck.js';
export { AliasesToClient } from './topic-aliases.js';
