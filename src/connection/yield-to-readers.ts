/**
 * All connections together have more waiting than the memory limit: a publisher waits until half of it is taken, for as long as any of it
 * is. Readers that take nothing may not stop the others: from then on what waits for each of them is kept small (`crowds`).
 */
import { steadyClock, WheelTimer } from '../base/index.js';
import type { Connection } from './connection.js';

export function yieldToReaders(publisher: Connection): void {
  publisher.hold();
  // Most of it may only wait for the end of this turn.
  setImmediate(() => {
    if (publisher.context.outboundTotals.over) waitForReaders(publisher);
    else publisher.release();
  });
}

function waitForReaders(publisher: Connection): void {
  const { outboundTotals: totals, wheel, limits } = publisher.context;
  const { nowMs } = steadyClock;
  totals.noteOver(nowMs());
  const worthWaiting = () => totals.worthWaiting(nowMs(), limits.slowReaderHoldMs);
  if (!worthWaiting()) return publisher.release();
  const again = new WheelTimer(() => {
    totals.noteRelief(nowMs());
    if (worthWaiting() && !publisher.done) wheel.arm(again, 1);
    else publisher.release();
  });
  wheel.arm(again, 1);
}
