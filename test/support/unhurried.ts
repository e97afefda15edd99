/**
 * For brokers of tests: one that is held up by a busy machine does not refuse its clients for that. What overload does has tests of its own.
 */
import type { ConfigInput } from '../../src/index.js';

/** `config` without the limit on the delay of the event loop, unless it says something about overload itself. */
export function unhurried(config: ConfigInput): ConfigInput {
  return { ...config, protection: { overload: { eventLoopDelayMsMax: 0 }, ...config.protection } };
}
