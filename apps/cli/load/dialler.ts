// Opens connections: so many handshakes at once, so many a second, and gives up when most of them fail.

import { nowNs } from './clock.js';
import type { LoadPlan } from './plan.js';

export class Dialler {
  private next = 0;
  private underWay = 0;
  private failures = 0;
  private failure: string | undefined;
  private timer: NodeJS.Timeout | undefined;
  private readonly startedNs = nowNs();
  private finished = false;

  constructor(
    private readonly plan: LoadPlan,
    private readonly indexes: number[],
    private readonly dial: (index: number) => void,
    private readonly done: (failure: string | undefined) => void,
  ) {}

  start(): void {
    if (this.indexes.length === 0) {
      this.finish();
      return;
    }
    this.dialMore();
  }

  /** One handshake has ended, well or badly. */
  settled(failure: string | undefined): void {
    this.underWay--;
    if (failure !== undefined) {
      this.failures++;
      this.failure ??= failure;
    }
    const hopeless = this.failures >= Math.max(1, Math.min(this.indexes.length / 2, 100));
    if (hopeless || (this.next === this.indexes.length && this.underWay === 0)) this.finish();
    else this.dialMore();
  }

  stop(): void {
    this.finished = true;
    clearTimeout(this.timer);
  }

  private dialMore(): void {
    if (this.finished) return;
    const { plan, indexes } = this;
    const rate = plan.connectRate / plan.workers;
    const allowed = rate > 0 ? Math.ceil(((nowNs() - this.startedNs) / 1e9) * rate) : Number.POSITIVE_INFINITY;
    while (this.next < indexes.length && this.next < allowed && this.underWay < plan.burst) {
      this.underWay++;
      this.dial(indexes[this.next++]!);
    }
    if (this.next < indexes.length && this.next >= allowed) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.dialMore(), Math.max(1, 1000 / rate));
    }
  }

  private finish(): void {
    if (this.finished) return;
    this.stop();
    this.done(this.failure);
  }
}
