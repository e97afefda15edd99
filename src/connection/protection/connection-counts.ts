/** How many connections each user and each address has: both are bounded. */
export class ConnectionCounts {
  private readonly counts = new Map<string, number>();

  /** Counts one more for `name`, unless it has `max` already; 0 is no limit. Returns whether it was counted. */
  add(name: string, max: number): boolean {
    const count = this.counts.get(name) ?? 0;
    if (max > 0 && count >= max) return false;
    this.counts.set(name, count + 1);
    return true;
  }

  remove(name: string): void {
    const count = (this.counts.get(name) ?? 0) - 1;
    if (count > 0) this.counts.set(name, count);
    else this.counts.delete(name);
  }
}
