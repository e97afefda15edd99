/**
 * How often something happened to each of many names within the last seconds, in bounded memory: two halves of a window, of which the older one
 * is dropped as time goes on. So a count covers between half the window and all of it.
 */
import { createHash } from 'node:crypto';

/** Longer names are kept as their digest. */
const NAME_LENGTH_MAX = 64;

export class RecentCounts {
  private current = new Map<string, number>();
  private former = new Map<string, number>();
  private turnedMs = 0;

  constructor(
    private readonly windowSeconds: number,
    private readonly namesMax: number,
  ) {}

  /** Counts once more; returns how often it was. When there are too many names a new one counts as its first time, always. */
  add(longName: string, nowMs: number): number {
    const name = shortened(longName);
    this.turn(nowMs);
    const count = this.current.get(name) ?? 0;
    if (count > 0 || this.current.size < this.namesMax) this.current.set(name, count + 1);
    return count + 1 + (this.former.get(name) ?? 0);
  }

  count(longName: string, nowMs: number): number {
    const name = shortened(longName);
    this.turn(nowMs);
    return (this.current.get(name) ?? 0) + (this.former.get(name) ?? 0);
  }

  forget(longName: string): void {
    const name = shortened(longName);
    this.current.delete(name);
    this.former.delete(name);
  }

  private turn(nowMs: number): void {
    const passed = nowMs - this.turnedMs;
    const half = this.windowSeconds * 500;
    if (passed >= 0 && passed < half) return;
    this.former = passed >= 0 && passed < 2 * half ? this.current : new Map();
    this.current = new Map();
    this.turnedMs = nowMs;
  }
}

function shortened(name: string): string {
  return name.length > NAME_LENGTH_MAX ? createHash('sha256').update(name).digest('base64') : name;
}
