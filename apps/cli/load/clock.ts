// The clock of all measurements: CLOCK_MONOTONIC, the same in every thread and process of one machine, so a message may
// be stamped in one and read in another. A double holds it to the nanosecond for the first 104 days of uptime.

export function nowNs(): number {
  return Number(process.hrtime.bigint());
}
