// What each subscriber has seen of each publisher: the last sequence number and, as bits, which of the 32 before it. That
// tells a loss from a late arrival and from a duplicate with eight bytes a flow and nothing per message.

const WINDOW = 32;

export class Flows {
  private readonly last: Uint32Array;
  private readonly recent: Uint32Array;
  duplicates = 0;
  outOfOrder = 0;

  constructor(size: number) {
    this.last = new Uint32Array(size);
    this.recent = new Uint32Array(size);
  }

  /**
   * Takes note of a sequence number (1, 2, 3 ...) and returns how far the flow has come forward: 1 for the next in line,
   * more after a gap, 0 for a duplicate or a late one.
   */
  see(flow: number, sequence: number): number {
    const step = sequence - this.last[flow]!;
    if (step === 1) {
      this.last[flow] = sequence;
      this.recent[flow] = (this.recent[flow]! << 1) | 1;
      return 1;
    }
    if (step > 1) {
      this.last[flow] = sequence;
      this.recent[flow] = step >= WINDOW ? 1 : (this.recent[flow]! << step) | 1;
      return step;
    }
    this.seeAgain(flow, -step);
    return 0;
  }

  /** Beyond the window nobody remembers; what is that old is more likely to be sent twice than late. */
  private seeAgain(flow: number, age: number): void {
    const bit = age < WINDOW ? 1 << age : 0;
    if (bit === 0 || (this.recent[flow]! & bit) !== 0) {
      this.duplicates++;
      return;
    }
    this.recent[flow] = this.recent[flow]! | bit;
    this.outOfOrder++;
  }
}
