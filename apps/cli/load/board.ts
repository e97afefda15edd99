// Shared memory between the coordinator and its workers: the phase (written by the coordinator), counters (one row per
// worker, written by that worker alone) and, per publisher, how far its subscribers have got.

export const PHASE = { setup: 0, traffic: 1, measured: 2, drain: 3 } as const;

/** Columns of a worker's row. Counts of messages unless said otherwise. */
export const COUNTER = {
  sent: 0,
  received: 1,
  /** Deliveries that the messages sent so far should bring. */
  expected: 2,
  duplicates: 3,
  outOfOrder: 4,
  /** PUBLISH packets that this run did not send. */
  foreign: 5,
  /** PUBACK and PUBCOMP. */
  acknowledged: 6,
  /** PUBACK and PUBREC with a reason code of 0x80 and above. */
  refused: 7,
  /** Open loop: messages not sent because the connection was full or gone. */
  skipped: 8,
  /** Closed loop: times that a publisher gave up waiting and took what was outstanding for lost. */
  stalls: 9,
  /** Connections that the broker closed. */
  closed: 10,
  /** Connections ready for traffic. */
  ready: 11,
  reads: 12,
  writes: 13,
  bytesReceived: 14,
} as const;
const COLUMNS = 16;

export interface BoardMemory {
  phase: SharedArrayBuffer;
  counters: SharedArrayBuffer;
  seen: SharedArrayBuffer;
}

export class Board {
  readonly phase: Int32Array;
  readonly seen: Int32Array;
  private readonly rows: Float64Array[] = [];

  constructor(readonly memory: BoardMemory) {
    this.phase = new Int32Array(memory.phase);
    this.seen = new Int32Array(memory.seen);
    for (let at = 0; at < memory.counters.byteLength; at += COLUMNS * 8)
      this.rows.push(new Float64Array(memory.counters, at, COLUMNS));
  }

  static create(workers: number, publishers: number): Board {
    return new Board({
      phase: new SharedArrayBuffer(4),
      counters: new SharedArrayBuffer(workers * COLUMNS * 8),
      seen: new SharedArrayBuffer(Math.max(1, publishers) * 4),
    });
  }

  row(worker: number): Float64Array {
    const row = this.rows[worker];
    if (row === undefined) throw new RangeError(`no worker ${worker}`);
    return row;
  }

  /** All rows added up. */
  totals(): Float64Array {
    const sum = new Float64Array(COLUMNS);
    for (const row of this.rows) for (let column = 0; column < COLUMNS; column++) sum[column]! += row[column]!;
    return sum;
  }
}
