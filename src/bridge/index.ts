/** What other modules may use of bridges. */
export { type BridgeConnectionStatus, type BridgeStatus, clientIdsOf } from './bridge.js';
export { bridgeTls } from './bridge-tls.js';
export { Bridges } from './bridges.js';
export { type BridgeOptions, directions, type TopicRule } from './options.js';
export { ruleProblem } from './topic-rules.js';
