export { isControlTopic } from './control-topic.js';
export { type DelayedMessage, DelayedMessages } from './delayed-messages.js';
export { GroupStore } from './group-store.js';
export { PAUSE, type Retained, type RetainedLimits, RetainedStore } from './retained-store.js';
export { Router, type RouterOptions, retainedLimits } from './router.js';
export { SharedGroup, type ShareStrategy, shareStrategies } from './shared-group.js';
export { StoredRetained } from './stored-retained.js';
export { type Delivery, type Subscriber, Subscription } from './subscription.js';
export type { TopicEntry } from './topic-cache.js';
