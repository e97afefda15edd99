// Open loop: says how many messages are due, on an even beat from the moment it starts. `timer` wakes every millisecond or
// so and finds several due at once; `spin` looks at the clock in every turn of the event loop, which costs a whole core and
// is on time to some microseconds. A pacer that has fallen behind catches up rather than forgetting (an open loop must not
// slow down with the broker), but at most a second's worth.

import { nowNs } from './clock.js';

export class Pacer {
  private startNs = 0;
  private handed = 0;
  private running = false;

  /** @param onDue is told how many are due, and when the oldest of them was (in the clock's nanoseconds). */
  constructor(
    private readonly perSecond: number,
    private readonly pace: 'timer' | 'spin',
    private readonly onDue: (due: number, dueNs: number) => void,
  ) {}

  start(): void {
    this.running = true;
    this.startNs = nowNs();
    this.turn();
  }

  stop(): void {
    this.running = false;
  }

  private readonly turn = (): void => {
    if (!this.running) return;
    const due = Math.floor(((nowNs() - this.startNs) / 1e9) * this.perSecond) - this.handed;
    if (due > 0) {
      const dueNs = this.startNs + ((this.handed + 1) / this.perSecond) * 1e9;
      this.handed += due;
      this.onDue(Math.min(due, Math.ceil(this.perSecond)), dueNs);
    }
    if (this.pace === 'spin') setImmediate(this.turn);
    else setTimeout(this.turn, 1);
  };
}
