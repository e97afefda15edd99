/**
 * Runs once what was asked for during one turn of the event loop, after all its input was handled.
 *
 * Everything that a turn's input produced for a connection leaves in one write, so a connection asks once to be flushed and
 * is called when the loop has no more ready sockets (Node's check phase). What asks again while flushing comes next turn.
 */
export interface Flushable {
  flush(): void;
}

export class Turn {
  private waiting: Flushable[] = [];
  private running: Flushable[] = [];
  private scheduled = false;
  /** Runs before anything is flushed: what has to be stored before answers leave. */
  beforeFlush: () => void = () => {};
  private readonly runAll = (): void => this.run();

  /** Callers guard against asking twice in one turn. */
  add(flushable: Flushable): void {
    this.waiting.push(flushable);
    this.schedule();
  }

  /** Makes sure that this turn has an end. */
  schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(this.runAll);
  }

  /** Flushes now; for tests and for shutting down. */
  run(): void {
    this.beforeFlush();
    const batch = this.waiting;
    this.waiting = this.running;
    this.running = batch;
    this.scheduled = false;
    for (let index = 0; index < batch.length; index++) batch[index]!.flush();
    batch.length = 0;
  }
}
