/**
 * Checks passwords a few at a time, so that the thread pool stays free for the disk, and remembers who just proved to know one.
 *
 * The memory holds keyed digests of user, stored hash and password; it is emptied by size and time, and a new stored hash
 * misses it. It makes the reconnects of a fleet cost a digest instead of 40 ms each.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { AnswerCache } from '../sources/answer-cache.js';
import { SourceUnavailable } from '../sources/guard.js';
import { type PasswordHash, verifyPassword } from './password-hash.js';

/** Of the four threads that Node has for such work; a core stays free for everything else. */
const RUNNING_MAX = Math.max(1, Math.min(2, availableParallelism() - 1));
const WAITING_MAX = 2000;
const REMEMBERED_MAX = 100_000;
const REMEMBERED_MS = 3_600_000;

export class PasswordChecker {
  private readonly key = randomBytes(32);
  private readonly proven = new AnswerCache<true>(REMEMBERED_MAX);
  private readonly queue: (() => void)[] = [];
  private running = 0;

  constructor(
    private readonly verify = verifyPassword,
    private readonly nowMs: () => number = Date.now,
    private readonly runningMax: number = RUNNING_MAX,
  ) {}

  /** Checks running and waiting. */
  get load(): number {
    return this.running + this.queue.length;
  }

  /**
   * Whether `password` is that of `username`, of whom `hash` is kept. Answers at once for a password that was right lately.
   * Errors  SourceUnavailable when too many checks wait.
   */
  check(username: string, password: Uint8Array, hash: PasswordHash): boolean | Promise<boolean> {
    const stored = JSON.stringify(hash);
    const key = createHmac('sha256', this.key)
      .update(`${username.length}:${username}:${stored.length}:`)
      .update(stored)
      .update(password)
      .digest('base64');
    if (this.proven.get(key, this.nowMs()) === true) return true;
    return this.slot(async () => {
      if (this.proven.get(key, this.nowMs()) === true) return true; // meanwhile
      const right = await this.verify(password, hash);
      if (right) this.proven.set(key, true, this.nowMs() + REMEMBERED_MS);
      return right;
    });
  }

  private async slot(work: () => Promise<boolean>): Promise<boolean> {
    if (this.running >= this.runningMax) {
      if (this.queue.length >= WAITING_MAX) throw new SourceUnavailable('too many passwords wait to be checked', true);
      await new Promise<void>((resolve) => this.queue.push(resolve));
    } else this.running++;
    try {
      return await work();
    } finally {
      const next = this.queue.shift();
      if (next === undefined) this.running--;
      else next();
    }
  }
}
