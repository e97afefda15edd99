// A log-linear histogram of nanoseconds: 128 steps to each doubling, so a reading is at most 0.8 % off. Counts live in
// one Float64Array, which crosses a worker boundary as it is and merges by addition.
//
//   value < 128         one bucket per nanosecond
//   128 .. 2^41 - 1     bucket = 128 * (exponent - 6) + the seven bits after the leading one
//   2^41 ns and above   the last bucket (about 37 minutes); `max` still tells the exact value

const STEP_BITS = 7;
const STEPS = 1 << STEP_BITS;
const EXPONENT_MAX = 40;
const BUCKETS = STEPS * (EXPONENT_MAX - STEP_BITS + 2);
const TWO_32 = 4294967296;

function bucketOf(value: number): number {
  if (value < STEPS) return value > 0 ? Math.trunc(value) : 0;
  if (value < TWO_32) {
    const exponent = 31 - Math.clz32(value);
    return (exponent - STEP_BITS + 1) * STEPS + ((value >>> (exponent - STEP_BITS)) & (STEPS - 1));
  }
  const high = Math.floor(value / 65536);
  if (high >= TWO_32) return BUCKETS - 1;
  const exponent = 31 - Math.clz32(high);
  const bucket = (exponent + 16 - STEP_BITS + 1) * STEPS + ((high >>> (exponent - STEP_BITS)) & (STEPS - 1));
  return Math.min(bucket, BUCKETS - 1);
}

/** The middle of a bucket, which is what a quantile reports. */
function middleOf(bucket: number): number {
  if (bucket < STEPS) return bucket;
  const width = 2 ** (Math.floor(bucket / STEPS) - 1);
  return (STEPS + (bucket % STEPS)) * width + Math.floor(width / 2);
}

export class Histogram {
  readonly counts = new Float64Array(BUCKETS);
  count = 0;
  max = 0;

  /** Counts `times` occurrences of one value, in nanoseconds; a negative value counts as zero. */
  record(value: number, times = 1): void {
    const bucket = bucketOf(value);
    this.counts[bucket] = this.counts[bucket]! + times;
    this.count += times;
    if (value > this.max) this.max = value;
  }

  merge(other: { counts: Float64Array; max: number }): void {
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const times = other.counts[bucket] ?? 0;
      if (times === 0) continue;
      this.counts[bucket] = this.counts[bucket]! + times;
      this.count += times;
    }
    if (other.max > this.max) this.max = other.max;
  }

  /** The value below which the given share (0 to 1) of the recorded ones lies; 0 when nothing was recorded. */
  quantile(share: number): number {
    if (this.count === 0) return 0;
    const rank = Math.min(Math.floor(share * this.count), this.count - 1);
    let passed = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      passed += this.counts[bucket]!;
      if (passed > rank) return Math.min(middleOf(bucket), this.max);
    }
    return this.max;
  }

  /** p50, p99, p99.9 and maximum in microseconds. */
  summary(): LatencySummary {
    const micro = (ns: number) => Math.round(ns / 10) / 100;
    return {
      count: this.count,
      p50: micro(this.quantile(0.5)),
      p99: micro(this.quantile(0.99)),
      p999: micro(this.quantile(0.999)),
      max: micro(this.max),
    };
  }
}

/** Microseconds, except for `count`. */
export interface LatencySummary {
  count: number;
  p50: number;
  p99: number;
  p999: number;
  max: number;
}
