/** A map with a size limit (least recently used goes first) and a time per entry. */
export class AnswerCache<Value> {
  private readonly entries = new Map<string, { value: Value; untilMs: number }>();
  hits = 0;

  constructor(private readonly entriesMax: number) {}

  get size(): number {
    return this.entries.size;
  }

  get(key: string, nowMs: number): Value | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined || entry.untilMs <= nowMs) {
      if (entry !== undefined) this.entries.delete(key);
      return undefined;
    }
    this.hits++;
    this.entries.delete(key);
    this.entries.set(key, entry);
    return entry.value;
  }

  set(key: string, value: Value, untilMs: number): void {
    if (this.entriesMax === 0) return;
    this.entries.delete(key);
    if (this.entries.size >= this.entriesMax) {
      const [oldest] = this.entries.keys();
      this.entries.delete(oldest!);
    }
    this.entries.set(key, { value, untilMs });
  }

  clear(): void {
    this.entries.clear();
  }
}
