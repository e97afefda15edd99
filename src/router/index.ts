export { type RetainedLimits, RetainedStore } from './retained-store.js';
export { Router, type RouterOptions } from './router.js';
export { SharedGroup, type ShareStrategy, shareStrategies } from './shared-group.js';
export { type Delivery, type Subscriber, Subscription } from './subscription.js';
export type { TopicEntry } from './topic-cache.js';
