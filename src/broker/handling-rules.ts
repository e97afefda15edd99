/** Durability and priority by topic. */
import type { Config } from '../config/index.js';
import { type Handling, IN_MEMORY, topicMatches } from '../protocol/index.js';

/** How messages of a topic are kept, by the rules of the configuration. `$SYS` is what the broker says of this run. */
export function handlingRules({ storage, durability, priorities }: Config): (topicName: string) => Handling {
  const known = new Map<string, Handling>();
  return (topicName) => {
    const rule = durability.find(({ filter }) => topicMatches(filter, topicName));
    const priority = priorities.find(({ filter }) => topicMatches(filter, topicName))?.priority ?? IN_MEMORY.priority;
    const mode = topicName.startsWith('$SYS/') ? 'memory' : (rule?.mode ?? storage.mode);
    const key = `${mode} ${priority}`;
    let handling = known.get(key);
    if (handling === undefined) {
      handling = { priority, durability: mode === 'faultTolerant' ? 'sync' : mode };
      known.set(key, handling);
    }
    return handling;
  };
}
