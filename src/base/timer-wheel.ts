/**
 * Coarse timers for keep alive, expiry and delays: no timer of the runtime per connection or message.
 *
 * 1024 slots of 250 ms; an entry sits in the slot of its due tick modulo 1024, linked through itself, so arming and
 * disarming cost a few pointer writes. An entry due more than 256 s ahead is passed over once a revolution.
 * Entries never fire early; they fire at most two ticks late while the event loop is not blocked.
 */
import type { Clock } from './clock.js';

const TICK_MS = 250;
const SLOTS = 1024;

/** Something that can wait in a wheel: at most once at a time. */
export class WheelTimer {
  /** due tick, or -1 when not armed */
  due = -1;
  previous: WheelTimer | undefined;
  next: WheelTimer | undefined;

  constructor(readonly fire: () => void) {}

  get armed(): boolean {
    return this.due >= 0;
  }
}

export class TimerWheel {
  /** The current tick: a cheap clock for "when was this last active". */
  tick: number;
  private readonly slots: (WheelTimer | undefined)[] = new Array(SLOTS).fill(undefined);
  private armed = 0;
  private interval: NodeJS.Timeout | undefined;
  private readonly startMs: number;

  /** @param failed told what a timer throws, instead of whoever advances the wheel. */
  constructor(
    private readonly clock: Clock,
    private readonly failed?: (error: unknown) => void,
  ) {
    this.startMs = clock.nowMs();
    this.tick = 0;
  }

  /** Ticks by the runtime's own interval, without keeping the process alive. */
  start(): void {
    this.interval ??= setInterval(() => this.advance(), TICK_MS).unref();
  }

  stop(): void {
    clearInterval(this.interval);
    this.interval = undefined;
  }

  /** Ticks that cover `milliseconds`. */
  ticksOf(milliseconds: number): number {
    return Math.ceil(milliseconds / TICK_MS);
  }

  /** Fires `timer` once, `milliseconds` from now or up to two ticks later. Re-arms it when it is armed. */
  arm(timer: WheelTimer, milliseconds: number): void {
    this.armTicks(timer, this.ticksOf(milliseconds));
  }

  /** As `arm`, in ticks. */
  armTicks(timer: WheelTimer, ticks: number): void {
    this.disarm(timer);
    timer.due = this.currentTick() + Math.max(1, ticks) + 1;
    this.link(timer);
  }

  disarm(timer: WheelTimer): void {
    if (timer.due < 0) return;
    const slot = timer.due % SLOTS;
    if (timer.previous) timer.previous.next = timer.next;
    else this.slots[slot] = timer.next;
    if (timer.next) timer.next.previous = timer.previous;
    timer.previous = undefined;
    timer.next = undefined;
    timer.due = -1;
    this.armed--;
  }

  /** Milliseconds until `timer` fires; 0 when it is not armed. */
  remainingMs(timer: WheelTimer): number {
    return timer.due < 0 ? 0 : Math.max(0, (timer.due - this.currentTick()) * TICK_MS);
  }

  get size(): number {
    return this.armed;
  }

  /** Fires everything due by the clock. Called by the interval; tests with their own clock call it themselves. */
  advance(): void {
    const now = this.currentTick();
    // A clock that jumped by more than a revolution (a suspended machine): one pass over all slots finds everything due.
    const from = Math.max(this.tick + 1, now - SLOTS + 1);
    this.tick = now;
    for (let tick = from; tick <= now; tick++) {
      let timer = this.slots[tick % SLOTS];
      let overdue: WheelTimer[] | undefined;
      for (; timer; timer = timer.next) if (timer.due <= now) (overdue ??= []).push(timer);
      if (overdue === undefined) continue;
      for (const each of overdue) {
        if (each.due < 0 || each.due > now) continue; // disarmed or re-armed by one fired before it
        this.disarm(each);
        this.fire(each);
      }
    }
  }

  private fire(timer: WheelTimer): void {
    if (this.failed === undefined) return timer.fire();
    try {
      timer.fire();
    } catch (error) {
      this.failed(error);
    }
  }

  private currentTick(): number {
    return Math.max(this.tick, Math.floor((this.clock.nowMs() - this.startMs) / TICK_MS));
  }

  private link(timer: WheelTimer): void {
    const slot = timer.due % SLOTS;
    const first = this.slots[slot];
    timer.next = first;
    if (first) first.previous = timer;
    this.slots[slot] = timer;
    this.armed++;
  }
}
