/** The subscriptions and retained messages of a broker as lines, for a look at a running one (SIGUSR2). */
import type { Router } from '../router/index.js';
import { PAUSE } from '../router/index.js';
import type { SessionRegistry } from '../session/index.js';

/** More would fill a log rather than explain anything. */
const LINES_MAX = 100_000;

/**
 * Hands lines to `write`: `client-1 1 sensors/#` for a subscription with its QoS, `sensors/a 1 12` for a retained message with its QoS and
 * the bytes of its payload. Resolves when all are written.
 */
export async function dumpTree(
  router: Router,
  sessions: SessionRegistry,
  write: (kind: 'subscription' | 'retained', line: string) => void,
): Promise<void> {
  let count = 0;
  for (const session of sessions.values())
    for (const { topicFilter, shareName, qos } of session.allSubscriptions) {
      if (++count > LINES_MAX) return;
      const filter = shareName === undefined ? topicFilter : `$share/${shareName}/${topicFilter}`;
      write('subscription', `${session.clientId} ${qos} ${filter}`);
    }
  for (const filter of ['#', '$SYS/#'])
    for (const found of router.retained.match(filter)) {
      if (found === PAUSE) {
        await new Promise((resolve) => setImmediate(resolve));
        continue;
      }
      if (++count > LINES_MAX) return;
      write('retained', `${found.topicName} ${found.qos} ${found.payload.length}`);
    }
}
