/**
 * Stands between the broker and one source outside of it: bounds how long and how many requests run at a time, stops asking a
 * source that fails until a while has passed, and knows the state that a status page shows.
 *
 *   idle ──answer──▶ connected ◀──answer── (one trial) ◀── wait over ── failing
 *                        └───────────────failure──────────────────────────▶┘
 *
 * A failing source is logged once when it begins to fail and once when it answers again. Waits: 1 s, doubled up to 30 s.
 */
import type { Logger } from '../../base/index.js';

/** The source gave no answer. Whoever asked is refused; nobody is let in. */
export class SourceUnavailable extends Error {
  override readonly name = 'SourceUnavailable';

  /** `busy`: too much is asked at this time; the source itself may be well. */
  constructor(
    message: string,
    readonly busy = false,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The source answers, but not about this one client, whose values it cannot take. Nothing is wrong with the source. */
export class QuestionRefused extends Error {}

export interface SourceStatus {
  readonly name: string;
  readonly type: string;
  /** `ready`: needs nothing outside the process. `idle`: not asked yet. */
  readonly state: 'ready' | 'idle' | 'connected' | 'failing';
  readonly lastError?: string;
  /** milliseconds since the Unix epoch */
  readonly lastErrorAtMs?: number;
  readonly requests: number;
  /** Requests that got no answer, timeouts among them. */
  readonly failures: number;
  readonly timeouts: number;
  /** Requests refused because too many waited or the source was failing. */
  readonly notAsked: number;
  readonly running: number;
  readonly waiting: number;
  readonly cacheEntries?: number;
  readonly cacheHits?: number;
}

export interface GuardOptions {
  readonly name: string;
  readonly type: string;
  readonly timeoutMs: number;
  readonly runningMax: number;
  readonly waitingMax?: number;
  readonly log: Logger;
  readonly nowMs?: () => number;
}

const WAITING_MAX = 1000;
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;

export class Guard {
  private state: 'idle' | 'connected' | 'failing' = 'idle';
  private lastError: string | undefined;
  private lastErrorAtMs = 0;
  private requests = 0;
  private failures = 0;
  private timeouts = 0;
  private notAsked = 0;
  private running = 0;
  private retryAtMs = 0;
  private waitMs = FIRST_WAIT_MS;
  private onTrial = false;
  private closed = false;
  private readonly underWay = new Set<AbortController>();
  private readonly queue: ((goAhead: boolean) => void)[] = [];
  private readonly nowMs: () => number;

  constructor(private readonly options: GuardOptions) {
    this.nowMs = options.nowMs ?? Date.now;
  }

  /**
   * Runs one request.
   * Errors  SourceUnavailable, whatever the request failed with, but for QuestionRefused, which is passed on.
   */
  async run<Answer>(request: (signal: AbortSignal) => Promise<Answer>): Promise<Answer> {
    const { name, timeoutMs, runningMax, waitingMax = WAITING_MAX } = this.options;
    if (this.closed) throw this.closedFault();
    if (this.state === 'failing') {
      if (this.onTrial || this.nowMs() < this.retryAtMs) {
        this.notAsked++;
        throw new SourceUnavailable(`${name} is failing: ${this.lastError}`);
      }
      this.onTrial = true;
    }
    const trial = this.onTrial;
    try {
      await this.enter(timeoutMs, runningMax, waitingMax);
      if (this.closed) {
        this.running--;
        throw this.closedFault();
      }
    } catch (error) {
      if (trial) this.onTrial = false;
      throw error;
    }
    this.requests++;
    const controller = new AbortController();
    this.underWay.add(controller);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      controller.signal.addEventListener('abort', () => reject(new Error('given up')));
      timer = setTimeout(() => {
        this.timeouts++;
        reject(new Error(`no answer within ${timeoutMs} ms`));
        controller.abort();
      }, timeoutMs);
    });
    try {
      const answer = await Promise.race([request(controller.signal), late]);
      this.succeeded();
      return answer;
    } catch (error) {
      if (error instanceof QuestionRefused) {
        this.succeeded();
        throw error;
      }
      if (this.closed) throw this.closedFault();
      this.failed(error);
      throw new SourceUnavailable(`${name}: ${describe(error)}`, false, { cause: error });
    } finally {
      clearTimeout(timer);
      this.underWay.delete(controller);
      if (trial) this.onTrial = false;
      const next = this.queue.shift();
      if (next === undefined) this.running--;
      else next(true);
    }
  }

  open(): void {
    this.closed = false;
  }

  /** Gives up what runs and what waits, and refuses everything until `open`: nothing must connect again to what is being left. */
  close(): void {
    this.closed = true;
    for (const goAhead of this.queue.splice(0)) goAhead(false);
    for (const controller of this.underWay) controller.abort();
  }

  status(cache?: { readonly size: number; readonly hits: number }): SourceStatus {
    const { name, type } = this.options;
    return {
      name,
      type,
      state: this.state,
      ...(this.lastError === undefined ? {} : { lastError: this.lastError, lastErrorAtMs: this.lastErrorAtMs }),
      requests: this.requests,
      failures: this.failures,
      timeouts: this.timeouts,
      notAsked: this.notAsked,
      running: this.running,
      waiting: this.queue.length,
      ...(cache === undefined ? {} : { cacheEntries: cache.size, cacheHits: cache.hits }),
    };
  }

  /** Takes a slot, or waits for one that another request hands over. */
  private async enter(timeoutMs: number, runningMax: number, waitingMax: number): Promise<void> {
    if (this.running < runningMax) {
      this.running++;
      return;
    }
    if (this.queue.length >= waitingMax) {
      this.notAsked++;
      throw new SourceUnavailable(`${this.options.name} has ${waitingMax} requests waiting`, true);
    }
    let timer: NodeJS.Timeout | undefined;
    const goAhead = await new Promise<boolean>((resolve) => {
      this.queue.push(resolve);
      timer = setTimeout(() => {
        const at = this.queue.indexOf(resolve);
        if (at < 0) return;
        this.queue.splice(at, 1);
        resolve(false);
      }, timeoutMs);
    });
    clearTimeout(timer);
    if (goAhead) return;
    if (this.closed) throw this.closedFault();
    this.notAsked++;
    throw new SourceUnavailable(`${this.options.name}: no request ended within ${timeoutMs} ms`, true);
  }

  private closedFault(): SourceUnavailable {
    return new SourceUnavailable(`${this.options.name} is closed`);
  }

  private succeeded(): void {
    if (this.state === 'failing')
      this.options.log.information('source.recovered', 'the source answers again', { source: this.options.name });
    this.state = 'connected';
    this.waitMs = FIRST_WAIT_MS;
  }

  private failed(error: unknown): void {
    this.failures++;
    this.lastError = describe(error);
    this.lastErrorAtMs = this.nowMs();
    const already = this.state === 'failing';
    // Of several that were under way, the first sets the wait.
    if (already && this.nowMs() < this.retryAtMs) return;
    if (already) this.waitMs = Math.min(this.waitMs * 2, LONGEST_WAIT_MS);
    this.retryAtMs = this.nowMs() + this.waitMs;
    this.state = 'failing';
    if (!already)
      this.options.log.error('source.failed', 'the source does not answer; what depends on it is refused', {
        source: this.options.name,
        type: this.options.type,
        error: this.lastError,
      });
  }
}

/** The first line of an error; drivers bundle several, and put URLs with passwords into some. */
function describe(error: unknown): string {
  const inner = error instanceof AggregateError && error.errors.length > 0 ? error.errors[0] : error;
  const text = inner instanceof Error ? inner.message || inner.name : String(inner);
  return text
    .split('\n')[0]!
    .replace(/\/\/[^/?#\s]*@/g, '//')
    .slice(0, 300);
}

/** The status of a source that needs nothing outside the process. */
export function readyStatus(name: string, type: string, requests = 0, lastError?: string): SourceStatus {
  return {
    name,
    type,
    state: lastError === undefined ? 'ready' : 'failing',
    ...(lastError === undefined ? {} : { lastError }),
    requests,
    failures: 0,
    timeouts: 0,
    notAsked: 0,
    running: 0,
    waiting: 0,
  };
}
