/**
 * How long to wait before the next attempt: it doubles from the minimum to the maximum, and a random part of it is left out, so that
 * many bridges do not come back in the same moment.
 */
export class BackOff {
  private attempts = 0;

  /** `random` gives numbers from 0 up to 1. */
  constructor(
    private readonly minimumMs: number,
    private readonly maximumMs: number,
    private readonly random: () => number = Math.random,
  ) {}

  /** Milliseconds, between half of what is due and all of it, never below the minimum. */
  next(): number {
    const due = Math.min(this.maximumMs, this.minimumMs * 2 ** Math.min(this.attempts++, 30));
    return Math.max(this.minimumMs, Math.round(due * (0.5 + this.random() / 2)));
  }

  /** An attempt has succeeded for good. */
  reset(): void {
    this.attempts = 0;
  }
}
