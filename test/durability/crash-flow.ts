/**
 * What was sent and what has to arrive: a flow is the messages of one publisher to one topic, numbered from 1, and an inbox
 * what one receiver has got of one flow.
 *
 * A publisher never gives a message up: it sends again until the acknowledgement comes. So, acknowledged or not, a persistent
 * subscriber receives the numbers without a gap, and two integers are all there is to remember.
 */
import type { QoS } from '../../src/protocol/index.js';

const CLEAR_EVERY = 5;

export class Flow {
  /** Number of the last message sent. */
  sent = 0;
  /** All messages up to this one are acknowledged (PUBACK, PUBCOMP). */
  acknowledged = 0;
  private readonly ahead = new Set<number>();
  /** `sent` and `acknowledged` at the end of each life of the broker. */
  private readonly lives: { sent: number; acknowledged: number }[] = [];

  constructor(
    readonly name: string,
    readonly topicName: string,
    readonly qos: QoS,
    readonly retain = false,
  ) {}

  payload(sequence: number): Buffer {
    if (this.clears(sequence)) return Buffer.alloc(0);
    const head = `${this.name} ${sequence} `;
    const spread = Math.imul(sequence, 2_654_435_761) >>> 20;
    const filler = spread % 16 === 0 ? 60_000 : spread % 16 < 3 ? 8000 : spread % 150;
    return Buffer.concat([Buffer.from(head), Buffer.alloc(filler, `${sequence}.`)]);
  }

  /** The number in a payload, or undefined when the bytes are not those that were sent under it. */
  sequenceOf(payload: Uint8Array): number | undefined {
    const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
    const [name, number] = bytes.toString('latin1', 0, 64).split(' ', 2);
    const sequence = Number(number);
    if (name !== this.name || !Number.isInteger(sequence) || sequence < 1 || sequence > this.sent) return undefined;
    return this.payload(sequence).equals(bytes) ? sequence : undefined;
  }

  /** Retained flows: whether this message removes what is retained. */
  clears(sequence: number): boolean {
    return this.retain && sequence % CLEAR_EVERY === 0;
  }

  acknowledge(sequence: number): void {
    this.ahead.add(sequence);
    while (this.ahead.delete(this.acknowledged + 1)) this.acknowledged++;
  }

  endOfLife(): void {
    this.lives.push({ sent: this.sent, acknowledged: this.acknowledged });
  }

  /** "p1/2 #17 (first sent in life 3, acknowledged in life 4 of the broker)" */
  describe(sequence: number): string {
    const life = (of: (mark: { sent: number; acknowledged: number }) => number) => {
      const index = this.lives.findIndex((mark) => of(mark) >= sequence);
      return index < 0 ? this.lives.length + 1 : index + 1;
    };
    const acknowledged =
      this.acknowledged >= sequence || this.ahead.has(sequence)
        ? `acknowledged in life ${life((mark) => mark.acknowledged)}`
        : 'not acknowledged';
    return `${this.name} #${sequence} (first sent in life ${life((mark) => mark.sent)} of the broker, ${acknowledged})`;
  }
}

export class Inbox {
  /** Everything from this number on has to arrive; Infinity while nothing has. */
  due = Number.POSITIVE_INFINITY;
  /** The one in line; 0 before the first arrival. */
  private next = 0;
  private readonly missing = new Set<number>();

  constructor(
    readonly receiver: string,
    readonly flow: Flow,
    readonly exactlyOnce: boolean,
  ) {}

  /** Returns what is wrong with this arrival, or undefined. */
  arrive(sequence: number): string | undefined {
    const { flow, receiver } = this;
    if (this.next === 0) this.next = Math.min(sequence, this.due);
    if (sequence >= this.next) {
      for (; this.next < sequence; this.next++) this.missing.add(this.next);
      this.next++;
      return undefined;
    }
    if (this.missing.delete(sequence))
      return `out of order: ${receiver} got ${flow.describe(sequence)} after #${this.next - 1}`;
    if (this.exactlyOnce) return `doubled: ${receiver} got ${flow.describe(sequence)} again, at #${this.next - 1}`;
    return undefined;
  }

  get complete(): boolean {
    return this.missing.size === 0 && (this.due > this.flow.sent || this.next > this.flow.sent);
  }

  /** Numbers that should have arrived, until now. */
  lost(): number[] {
    const lost = [...this.missing];
    const first = Math.max(this.next, this.due);
    for (let sequence = first; sequence <= this.flow.sent; sequence++) lost.push(sequence);
    return lost;
  }

  /** The subscription begins anew: what comes next may be any number. */
  restart(): void {
    this.due = Number.POSITIVE_INFINITY;
    this.next = 0;
    this.missing.clear();
  }
}

/** The same for the members of a shared subscription together: no order, but everything, at QoS 2 once. */
export class GroupInbox {
  private low = 0;
  private readonly seen = new Set<number>();

  constructor(
    readonly group: string,
    readonly flow: Flow,
    readonly exactlyOnce: boolean,
  ) {}

  arrive(sequence: number, member: string): string | undefined {
    if (sequence <= this.low || this.seen.has(sequence))
      return this.exactlyOnce
        ? `doubled: ${this.group} got ${this.flow.describe(sequence)} again, now ${member}`
        : undefined;
    this.seen.add(sequence);
    while (this.seen.delete(this.low + 1)) this.low++;
    return undefined;
  }

  get complete(): boolean {
    return this.low >= this.flow.sent;
  }

  lost(): number[] {
    const lost: number[] = [];
    for (let sequence = this.low + 1; sequence <= this.flow.sent; sequence++)
      if (!this.seen.has(sequence)) lost.push(sequence);
    return lost;
  }
}
