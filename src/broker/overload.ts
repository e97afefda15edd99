/**
 * Whether the broker has more to do than it can: its event loop lags, or the process has more memory than it should. While it is
 * overloaded new clients are refused and nothing is read for half of each second; it ends when both have been well for a few looks.
 */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';

export interface OverloadOptions {
  /** The loop may lag so long, as the mean of a second, twice in a row: one stall is no overload; 0 is never too long. */
  readonly eventLoopDelayMsMax: number;
  /** Resident memory of the process, bytes; 0 is never too much. */
  readonly memoryBytesMax: number;
}

const LOOK_MS = 1000;
/** Looks in a row that find a late event loop before it counts. */
const LATE_LOOKS = 2;
/** Looks without overload before it is over. */
const WELL_LOOKS = 3;
const RESOLUTION_MS = 10;

export class Overload {
  /** Why the broker is overloaded; empty when it is not. */
  reason = '';
  /** Figures of the last look. */
  eventLoopDelayMs = 0;
  memoryBytes = 0;
  private histogram: IntervalHistogram | undefined;
  private timer: NodeJS.Timeout | undefined;
  private lateLooks = 0;
  private wellLooks = 0;

  /** `changed` is told when it begins and when it is over, `relieve` at each look that finds it. */
  constructor(
    private options: OverloadOptions,
    private readonly changed: (overload: Overload) => void,
    private readonly relieve: () => void,
  ) {}

  start(): void {
    this.histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    this.histogram.enable();
    this.timer = setInterval(() => this.look(), LOOK_MS).unref();
  }

  stop(): void {
    clearInterval(this.timer);
    this.histogram?.disable();
  }

  replace(options: OverloadOptions): void {
    this.options = options;
  }

  /** As `start` does every second; figures may be given. */
  look(
    eventLoopDelayMs = Math.max(0, (this.histogram?.mean ?? 0) / 1e6 - RESOLUTION_MS) || 0,
    memoryBytes = process.memoryUsage.rss(),
  ): void {
    this.histogram?.reset();
    this.eventLoopDelayMs = eventLoopDelayMs;
    this.memoryBytes = memoryBytes;
    const { eventLoopDelayMsMax, memoryBytesMax } = this.options;
    let reason = '';
    const late = eventLoopDelayMsMax > 0 && eventLoopDelayMs > eventLoopDelayMsMax;
    this.lateLooks = late ? this.lateLooks + 1 : 0;
    if (late && (this.lateLooks >= LATE_LOOKS || this.reason !== ''))
      reason = `the event loop lags by ${Math.round(eventLoopDelayMs)} ms`;
    else if (memoryBytesMax > 0 && memoryBytes > memoryBytesMax)
      reason = `the process has ${Math.round(memoryBytes / 1e6)} MB of memory`;
    if (reason !== '') {
      this.wellLooks = 0;
      const begins = this.reason === '';
      this.reason = reason;
      if (begins) this.changed(this);
      this.relieve();
    } else if (this.reason !== '' && ++this.wellLooks >= WELL_LOOKS) {
      this.reason = '';
      this.changed(this);
    }
  }
}
