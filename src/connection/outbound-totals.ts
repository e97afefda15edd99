/**
 * What all connections together have waiting, and have sent. Above the limit publishers are paused for a while, and no connection may have
 * more than a little waiting.
 */

/** What may wait for one connection while more waits for all than may, bytes. */
const CROWDED_BYTES = 65_536;
/** Readers take something of what waits when it becomes this part of what it was. */
const RELIEF = 0.98;

export class OutboundTotals {
  bytes = 0;
  /** Since when more waits than may and nobody takes any of it, on the steady clock; 0 while less waits. */
  private overSinceMs = 0;
  /** The least that has waited since. */
  private leastBytes = 0;

  constructor(
    public bytesMax: number,
    readonly metrics: { bytesSent: number },
  ) {}

  /** More waits than may. */
  get over(): boolean {
    return this.bytes > this.bytesMax;
  }

  /** Readers are being waited for, or were a moment ago. */
  get strained(): boolean {
    return this.overSinceMs !== 0;
  }

  /** Whether so much waiting for one connection is more than its part while more waits for all than may. */
  crowds(outboundBytes: number): boolean {
    return this.over && outboundBytes > CROWDED_BYTES;
  }

  noteOver(nowMs: number): void {
    if (this.overSinceMs !== 0) return;
    this.overSinceMs = nowMs;
    this.leastBytes = this.bytes;
  }

  /** Notes how much less waits than did. */
  noteRelief(nowMs: number): void {
    if (this.bytes <= this.bytesMax / 2) this.overSinceMs = 0;
    else if (this.overSinceMs !== 0 && this.bytes < this.leastBytes * RELIEF) {
      this.leastBytes = this.bytes;
      this.overSinceMs = nowMs;
    }
  }

  /** Whether there is a reason to wait for readers: too much waits, and some of it was taken in the last `patienceMs`. */
  worthWaiting(nowMs: number, patienceMs: number): boolean {
    return this.overSinceMs !== 0 && nowMs - this.overSinceMs < patienceMs;
  }
}
