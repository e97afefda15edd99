/**
 * What the process does at a signal.
 *
 * SIGINT, SIGTERM  stop in order; a second one stops at once.
 * SIGHUP           is `reload`'s.
 * SIGUSR1          waits until all that is kept is on the disk, and says so.
 * SIGUSR2          writes subscriptions and retained messages to the log.
 */
import type { AdjustableLogger, Broker } from '../../src/broker/index.js';

/** From here on signals are the broker's. `release` hands them back, so that the process can end by itself. */
export function catchSignals(
  broker: Broker,
  readAgain: () => void,
  logger: AdjustableLogger,
): { stopped: Promise<NodeJS.Signals>; release: () => void } {
  let stopping = false;
  let resolveStopped: (signal: NodeJS.Signals) => void = () => {};
  const stopped = new Promise<NodeJS.Signals>((resolve) => {
    resolveStopped = resolve;
  });
  // Signal handlers alone do not keep a process: a broker without listeners would end at once.
  const keepAlive = setInterval(() => {}, 2 ** 30);
  const stop = (signal: NodeJS.Signals) => {
    if (stopping) process.exit(1);
    stopping = true;
    clearInterval(keepAlive);
    resolveStopped(signal);
  };
  const reload = () => {
    if (!stopping) readAgain();
  };
  const save = () => void saveAll(broker, logger);
  const dump = () => dumpTree(broker, logger);
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  process.on('SIGHUP', reload);
  process.on('SIGUSR1', save);
  process.on('SIGUSR2', dump);
  const release = () => {
    clearInterval(keepAlive);
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
    process.off('SIGHUP', reload);
    process.off('SIGUSR1', save);
    process.off('SIGUSR2', dump);
  };
  return { stopped, release };
}

/** What is kept is written as it happens: this waits for the disk. */
async function saveAll(broker: Broker, logger: AdjustableLogger): Promise<void> {
  try {
    await broker.save();
    logger.information('storage.saved', 'Everything that is kept is on the disk.');
  } catch (error) {
    logger.error('storage.not-saved', `Not everything is on the disk: ${(error as Error).message}`);
  }
}

function dumpTree(broker: Broker, logger: AdjustableLogger): void {
  logger.information('broker.tree', 'Subscriptions and retained messages follow.');
  const tell = (kind: string, line: string) =>
    logger.information(`broker.tree-${kind}`, `${kind} ${JSON.stringify(line)}`);
  broker.dumpTree(tell).then(
    () => logger.information('broker.tree-end', 'That was all.'),
    (error: unknown) => logger.error('broker.tree-failed', `The rest cannot be read: ${(error as Error).message}`),
  );
}
