export { Connection } from './connection.js';
export type { ConnectionContext, ConnectionObserver, ListenerOptions, ProtocolOptions } from './context.js';
export { OutboundTotals } from './outbound.js';
