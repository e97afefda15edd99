/**
 * The lines about what is refused again and again. Counters count all of it; a client that goes on asking for what it may not have must not
 * fill the log.
 */
import type { LogFields } from '../base/index.js';
import type { Connection } from './connection.js';

/** Lines of one connected client in a window. */
const LINES_MAX = 20;
const WINDOW_MS = 10_000;

export class RefusalLines {
  private windowEndsAtMs = 0;
  private count = 0;
  private notLogged = 0;

  constructor(private readonly linesMax = LINES_MAX) {}

  /** How many were left out since the last line, where this refusal has one; undefined where it is left out too. */
  take(nowMs: number): number | undefined {
    if (nowMs >= this.windowEndsAtMs || nowMs < this.windowEndsAtMs - WINDOW_MS) {
      this.windowEndsAtMs = nowMs + WINDOW_MS;
      this.count = 0;
    }
    if (this.count >= this.linesMax) {
      this.notLogged++;
      return undefined;
    }
    this.count++;
    const { notLogged } = this;
    this.notLogged = 0;
    return notLogged;
  }
}

export function logRefusal(connection: Connection, event: string, sentence: string, fields: LogFields): void {
  const { log, nowMs } = connection.context;
  connection.refusalLines ??= new RefusalLines();
  const notLogged = connection.refusalLines.take(nowMs());
  if (notLogged === undefined) return;
  log.information(event, sentence, {
    ...connection.description,
    ...fields,
    ...(notLogged > 0 ? { notLogged } : {}),
  });
}
