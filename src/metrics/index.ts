export { BrokerMetrics } from './broker-metrics.js';
export { LoadAverage } from './load-average.js';
export { type SysFigures, SysTopics } from './sys-topics.js';
