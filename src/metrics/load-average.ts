/**
 * Exponentially weighted rates per minute over 1, 5 and 15 minutes, as `$SYS/broker/load/…` shows them and as Unix load
 * averages are made: each sample moves the average towards the current rate by 1 - e^(-interval/period).
 */
const periods = [1, 5, 15] as const;

export class LoadAverage {
  private readonly values: number[] = [0, 0, 0];
  private last: number | undefined;

  /** `total` is the counter now, `seconds` the time since the last sample. Returns [1, 5, 15 minute] rates per minute. */
  sample(total: number, seconds: number): readonly number[] {
    if (this.last === undefined) {
      this.last = total;
      return this.values;
    }
    const rate = ((total - this.last) * 60) / seconds;
    this.last = total;
    for (const [index, minutes] of periods.entries()) {
      const keep = Math.exp(-seconds / (60 * minutes));
      this.values[index] = rate + keep * (this.values[index]! - rate);
    }
    return this.values;
  }
}
