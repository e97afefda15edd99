/**
 * Keys that are asked for in order now and then, and are added between: nothing is sorted before it is asked for. Then they stand in sorted
 * runs, each more than twice as long as the next, so that a key is moved only as often as the number of keys doubles.
 */
export class KeyOrder {
  private readonly runs: string[][] = [];
  /** Added since the order was last asked for. */
  private added: string[] = [];
  private count = 0;

  /** Keys that it holds, those that are gone and repetitions included. */
  get size(): number {
    return this.count;
  }

  /** Adds a key; one that it has already is met once nevertheless. */
  add(key: string): void {
    this.added.push(key);
    this.count++;
  }

  /** Forgets keys for which `has` says false. */
  prune(has: (key: string) => boolean): void {
    const kept = [...this.from('')].filter(has);
    this.runs.length = 0;
    this.runs.push(kept);
    this.count = kept.length;
  }

  /** Keys in order, from the first that is not less than `from`. Not to be added to meanwhile, or what is added may be missed. */
  *from(from: string): Generator<string> {
    this.settle();
    const { runs } = this;
    if (runs.length === 1) {
      const run = runs[0]!;
      for (let index = lowerBound(run, from); index < run.length; index++)
        if (index === 0 || run[index] !== run[index - 1]) yield run[index]!;
      return;
    }
    const heads = runs
      .map((run) => ({ run, index: lowerBound(run, from) }))
      .filter(({ run, index }) => index < run.length);
    let last: string | undefined;
    while (heads.length > 0) {
      let least = 0;
      for (let index = 1; index < heads.length; index++)
        if (heads[index]!.run[heads[index]!.index]! < heads[least]!.run[heads[least]!.index]!) least = index;
      const head = heads[least]!;
      const key = head.run[head.index++]!;
      if (head.index === head.run.length) heads.splice(least, 1);
      if (key !== last) yield key;
      last = key;
    }
  }

  private settle(): void {
    if (this.added.length === 0) return;
    const { runs } = this;
    let run = this.added.sort(ascending);
    this.added = [];
    // In the common case all of it comes after all the rest.
    while (runs.length > 0 && (runs.at(-1)!.length <= 2 * run.length || runs.at(-1)!.at(-1)! < run[0]!))
      run = merge(runs.pop()!, run);
    runs.push(run);
  }
}

export function ascending(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Both sorted lists in one, which may be `a` itself. */
function merge(a: string[], b: string[]): string[] {
  if (a.length === 0) return b;
  if (a.at(-1)! < b[0]!) {
    for (const key of b) a.push(key);
    return a;
  }
  const out: string[] = [];
  let left = 0;
  let right = 0;
  while (left < a.length && right < b.length) {
    if (a[left]! <= b[right]!) out.push(a[left++]!);
    else out.push(b[right++]!);
  }
  while (left < a.length) out.push(a[left++]!);
  while (right < b.length) out.push(b[right++]!);
  return out;
}

function lowerBound(keys: readonly string[], from: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < from) low = middle + 1;
    else high = middle;
  }
  return low;
}
