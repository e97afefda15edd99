/** Something due at a time of day, however far ahead: the wheel takes no wait of any length, so it is asked anew. */
import { type Clock, type TimerWheel, WheelTimer } from '../base/index.js';

const WAIT_MS_MAX = 3_600_000;

export class Deadline {
  private atMs = 0;
  private readonly timer = new WheelTimer(() => {
    if (this.atMs > this.clock.nowMs()) this.wait();
    else this.reached();
  });

  constructor(
    private readonly wheel: TimerWheel,
    private readonly clock: Clock,
    private readonly reached: () => void,
  ) {}

  /** @param atMs milliseconds since the Unix epoch; takes the place of the time before. */
  set(atMs: number): void {
    this.clear();
    this.atMs = atMs;
    this.wait();
  }

  clear(): void {
    this.wheel.disarm(this.timer);
  }

  private wait(): void {
    this.wheel.arm(this.timer, Math.min(Math.max(0, this.atMs - this.clock.nowMs()), WAIT_MS_MAX));
  }
}
