/** Time as everything above the operating system sees it; tests hand in their own. */
export interface Clock {
  /** milliseconds since the Unix epoch, or since any time where only differences count */
  nowMs(): number;
}

/** The wall clock: people and time servers set it, forwards and back. */
export const systemClock: Clock = { nowMs: () => Date.now() };

/** Goes on evenly whatever the wall clock does: for how long something has lasted. */
export const steadyClock: Clock = { nowMs: () => performance.now() };
