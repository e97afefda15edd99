/**
 * A rate with room for bursts: tokens come steadily, up to a number that may be spent at once. Spending may go below nothing; whoever did
 * waits until the bucket is even again.
 */
/** One, but for what sums of parts lose. */
const WHOLE = 1 - 1e-6;

export class TokenBucket {
  private tokens: number;
  private sinceMs: number;

  /** `burst` is what may be spent at once, in tokens. */
  constructor(
    private readonly perSecond: number,
    private readonly burst: number,
    nowMs: number,
  ) {
    this.tokens = burst;
    this.sinceMs = nowMs;
  }

  /** Whether anything may be spent: a whole token is there. */
  ready(nowMs: number): boolean {
    this.fill(nowMs);
    return this.tokens >= WHOLE;
  }

  spend(count: number, nowMs: number): void {
    this.fill(nowMs);
    this.tokens -= count;
  }

  /** Milliseconds until something may be spent; 0 is now. */
  waitMs(nowMs: number): number {
    this.fill(nowMs);
    return this.tokens >= WHOLE ? 0 : Math.ceil(((1 - this.tokens) / this.perSecond) * 1000);
  }

  /** Whether it is as if nothing had been spent lately. */
  isFull(nowMs: number): boolean {
    this.fill(nowMs);
    return this.tokens >= this.burst;
  }

  private fill(nowMs: number): void {
    const passed = nowMs - this.sinceMs;
    if (passed <= 0) {
      if (passed < 0) this.sinceMs = nowMs; // the clock was set back
      return;
    }
    this.sinceMs = nowMs;
    this.tokens = Math.min(this.burst, this.tokens + (passed * this.perSecond) / 1000);
  }
}
