/** Brings the topics below `$SYS` up to date, now and every so many seconds. */
import { readFileSync } from 'node:fs';
import { WheelTimer } from '../base/index.js';
import type { ConnectionContext } from '../connection/index.js';
import { type SysFigures, SysTopics } from '../metrics/index.js';

const packageVersion = (): string =>
  (JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string }).version;

/** @param also done at each update. Returns what ends it. */
export function startSysUpdates(context: ConnectionContext, intervalSeconds: number, also: () => void): () => void {
  const { router, clock, wheel, metrics } = context;
  const version = `dunlin version ${packageVersion()}`;
  const topics = new SysTopics(
    metrics,
    () => figuresOf(context, version),
    (topicName, payload) => router.publishLocal({ topicName, payload, retain: true }),
  );
  const update = (): void => {
    wheel.arm(timer, intervalSeconds * 1000); // whatever becomes of this one
    topics.update(clock.nowMs());
    also();
  };
  const timer = new WheelTimer(update);
  update();
  return () => wheel.disarm(timer);
}

function figuresOf({ router, sessions, outboundTotals }: ConnectionContext, version: string): SysFigures {
  let storedMessages = router.retained.size;
  let storedBytes = router.retained.bytes;
  let inflightMessages = 0;
  let outgoingMessages = 0;
  let outgoingBytes = outboundTotals.bytes;
  for (const session of sessions.values()) {
    storedMessages += session.queuedMessages + session.inflightMessages;
    storedBytes += session.queuedBytes;
    inflightMessages += session.inflightMessages;
    if (!session.online) continue;
    outgoingMessages += session.queuedMessages;
    outgoingBytes += session.queuedBytes;
  }
  return {
    version,
    subscriptions: router.subscriptionCount,
    sharedSubscriptions: router.sharedGroupCount,
    retainedMessages: router.retained.size,
    storedMessages,
    storedBytes,
    heapBytes: process.memoryUsage().heapUsed,
    inflightMessages,
    outgoingMessages,
    outgoingBytes,
  };
}
