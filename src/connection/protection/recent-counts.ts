/**
 * How often something happened to each of many names within the last seconds, in bounded memory: two halves of a window, of which the older one
 * is dropped as time goes on. So a count covers between half the window and all of it.
 */
import { createHash } from 'node:crypto';

/** Of longer names a digest is kept: a user name can have 65,535 bytes, and whoever guesses can send one after the other. */
const KEPT_LENGTH_MAX = 128;

export class RecentCounts {
  private current = new Map<string, number>();
  private former = new Map<string, number>();
  private turnedMs = 0;

  constructor(
    private readonly windowSeconds: number,
    private readonly namesMax: number,
  ) {}

  /** Counts once more; returns how often it was. When there are too many names a new one counts as its first time, always. */
  add(name: string, nowMs: number): number {
    this.turn(nowMs);
    const key = keyOf(name);
    const count = this.current.get(key) ?? 0;
    if (count > 0 || this.current.size < this.namesMax) this.current.set(key, count + 1);
    return count + 1 + (this.former.get(key) ?? 0);
  }

  count(name: string, nowMs: number): number {
    this.turn(nowMs);
    const key = keyOf(name);
    return (this.current.get(key) ?? 0) + (this.former.get(key) ?? 0);
  }

  forget(name: string): void {
    const key = keyOf(name);
    this.current.delete(key);
    this.former.delete(key);
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

function keyOf(name: string): string {
  return name.length <= KEPT_LENGTH_MAX ? name : createHash('sha256').update(name).digest('base64');
}
