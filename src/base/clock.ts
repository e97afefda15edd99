/** Wall-clock time as everything above the operating system sees it; tests hand in their own. */
export interface Clock {
  /** milliseconds since the Unix epoch */
  nowMs(): number;
}

export const systemClock: Clock = { nowMs: () => Date.now() };
