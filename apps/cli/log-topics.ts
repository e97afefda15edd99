/** The log as messages: `$SYS/broker/log/E`, `W`, `N`, and `M/subscribe`, `M/unsubscribe`, as Mosquitto has them. */
import type { AdjustableLogger, Broker } from '../../src/broker/index.js';

const letters = { error: 'E', warning: 'W', information: 'N' } as const;
const ofSubscriptions: Readonly<Record<string, string>> = {
  'client.subscribed': 'M/subscribe',
  'client.unsubscribed': 'M/unsubscribe',
};

/** Debug lines are never published: publishing may itself be worth a debug line. */
export function publishLog(logger: AdjustableLogger, broker: Broker): void {
  let publishing = false;
  logger.onLine = (severity, event, line) => {
    if (severity === 'debug' || publishing) return;
    publishing = true;
    try {
      broker.publish(`$SYS/broker/log/${ofSubscriptions[event] ?? letters[severity]}`, line);
    } finally {
      publishing = false;
    }
  };
}
