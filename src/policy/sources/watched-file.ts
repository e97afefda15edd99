/**
 * A file that is read at the start and again whenever it has changed.
 *
 * A change that cannot be read or understood leaves what was read before in force, and says so once. Looks at size, time and
 * inode every two seconds: notifications of file systems miss too many ways of replacing a file.
 */
import { readFileSync, type Stats, statSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { Fault, fileFailure, type Logger } from '../../base/index.js';

const LOOK_MS = 2000;
const BYTES_MAX = 256 * 1024 * 1024;

export class WatchedFile<Content> {
  lastError: string | undefined;
  /** Of the file that was read; empty where it could not be, so that it is tried again also when it comes back as it was. */
  private seen = '';
  private timer: NodeJS.Timeout | undefined;
  private looking = false;
  /** How often `look` was called: what `watch` asked for before that is outdated. */
  private reads = 0;

  constructor(
    readonly path: string,
    private readonly parse: (text: string) => Content,
    private readonly take: (content: Content) => void,
    private readonly log: Logger,
    private readonly lookMs: number = LOOK_MS,
  ) {}

  /** Errors  Fault ACCESS_FILE when it cannot be read or understood. */
  async open(): Promise<void> {
    try {
      const mark = markOf(await stat(this.path));
      this.read(await readFile(this.path), mark);
    } catch (error) {
      throw new Fault('ACCESS_FILE', `${this.path}: ${fileFailure(error)}`, { cause: error });
    }
    this.timer = setInterval(() => void this.watch(), this.lookMs).unref();
  }

  close(): void {
    clearInterval(this.timer);
  }

  /** Reads the file if it has changed, before anything else happens; `open` makes that be done from time to time, beside the rest. */
  look(): void {
    this.reads++;
    try {
      const mark = markOf(statSync(this.path));
      if (mark !== this.seen) this.readChanged(readFileSync(this.path), mark);
    } catch (error) {
      this.failed(error);
    }
  }

  private async watch(): Promise<void> {
    if (this.looking) return;
    this.looking = true;
    const { reads } = this;
    const isOutdated = () => reads !== this.reads;
    try {
      const mark = markOf(await stat(this.path));
      const bytes = mark === this.seen ? undefined : await readFile(this.path);
      if (bytes !== undefined && !isOutdated()) this.readChanged(bytes, mark);
    } catch (error) {
      if (!isOutdated()) this.failed(error);
    } finally {
      this.looking = false;
    }
  }

  private readChanged(bytes: Buffer, mark: string): void {
    this.read(bytes, mark);
    this.log.information('file.reloaded', 'a changed file was read', { path: this.path });
  }

  private read(bytes: Buffer, mark: string): void {
    let text: string;
    try {
      text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch {
      throw new Error('is not UTF-8 text');
    }
    this.take(this.parse(text));
    this.seen = mark;
    this.lastError = undefined;
  }

  private failed(error: unknown): void {
    this.seen = '';
    const sentence = fileFailure(error);
    if (sentence !== this.lastError)
      this.log.error('file.reload-failed', 'a changed file cannot be used; what was read before stays in force', {
        path: this.path,
        error: sentence,
      });
    this.lastError = sentence;
  }
}

function markOf({ size, mtimeMs, ino }: Stats): string {
  if (size > BYTES_MAX) throw new Error(`has ${size} bytes; at most ${BYTES_MAX} are allowed`);
  return `${ino} ${size} ${mtimeMs}`;
}
