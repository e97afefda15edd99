/**
 * Back-pressure from subscribers that fall behind to the publishers that feed them.
 *
 * A session that crosses half of a limit while connected holds the publisher whose packet is being handled: that connection
 * is not read until the session has drained to a quarter. A session may hold for `holdMs` at most; then it counts as slow,
 * holds nobody until it has drained, and what is beyond its limits is dropped by policy. So a reader that merely lags loses
 * nothing, and one that never reads stalls its publishers once, for a bounded time, and nobody else. Many that never read do so
 * together: when the sessions of a few holds have taken nothing at all, nobody holds for a while.
 */
import { type TimerWheel, WheelTimer } from '../base/index.js';
import type { HeldPublisher } from './link.js';

/** Holds that may end in vain within `VAIN_WINDOW` hold times. */
const VAIN_MAX = 3;
const VAIN_WINDOW = 10;

export class Pressure {
  /** The connection whose bytes are being handled now, if it can be held. */
  publisher: HeldPublisher | undefined;

  constructor(
    private readonly wheel: TimerWheel,
    public holdMs: number,
  ) {}

  /** Ticks at which the last few holds ended in vain, oldest first. */
  private readonly vain: number[] = [];

  /** Readers that do not read have cost enough of late. */
  get exhausted(): boolean {
    const first = this.vain.length < VAIN_MAX ? undefined : this.vain[0];
    return first !== undefined && this.wheel.tick - first < this.wheel.ticksOf(VAIN_WINDOW * this.holdMs);
  }

  /** A hold has ended, and its session has taken nothing. */
  noteVain(): void {
    this.vain.push(this.wheel.tick);
    if (this.vain.length > VAIN_MAX) this.vain.shift();
  }

  /** A `Holder` for one session; made when the session first falls behind. */
  holder(): Holder {
    return new Holder(this, this.wheel);
  }
}

export class Holder {
  private readonly held = new Set<HeldPublisher>();
  private readonly timer: WheelTimer;
  private slow = false;
  /** The connection of the session, and what it had taken when the hold began. */
  private self: HeldPublisher | undefined;
  private takenBefore = 0;

  constructor(
    private readonly pressure: Pressure,
    private readonly wheel: TimerWheel,
  ) {
    this.timer = new WheelTimer(() => {
      this.slow = true;
      if (this.self === undefined || this.self.bytesTaken === this.takenBefore) this.pressure.noteVain();
      this.releaseAll();
    });
  }

  /** The session is behind: holds the current publisher, unless that is `self`, whose acknowledgements must be read. */
  behind(self: HeldPublisher | undefined): void {
    const { publisher } = this.pressure;
    if (this.slow || publisher === undefined || publisher === self || this.pressure.holdMs === 0) return;
    if (this.held.has(publisher) || (this.held.size === 0 && this.pressure.exhausted)) return;
    this.held.add(publisher);
    publisher.hold();
    if (this.timer.armed) return;
    this.self = self;
    this.takenBefore = self?.bytesTaken ?? 0;
    this.wheel.arm(this.timer, this.pressure.holdMs);
  }

  /** The session has drained, or its connection is gone. */
  drained(): void {
    this.slow = false;
    this.wheel.disarm(this.timer);
    this.releaseAll();
  }

  private releaseAll(): void {
    for (const publisher of this.held) publisher.release();
    this.held.clear();
  }
}
