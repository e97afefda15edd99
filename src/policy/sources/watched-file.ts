/**
 * A file that is read at the start and again whenever it has changed.
 *
 * A change that cannot be read or understood leaves what was read before in force, and says so once. Looks at size, time and
 * inode every two seconds: notifications of file systems miss too many ways of replacing a file.
 */
import { readFile, stat } from 'node:fs/promises';
import { Fault, fileFailure, type Logger } from '../../base/index.js';

const LOOK_MS = 2000;
const BYTES_MAX = 256 * 1024 * 1024;

export class WatchedFile<Content> {
  lastError: string | undefined;
  private seen = '';
  private timer: NodeJS.Timeout | undefined;
  private looking: Promise<void> | undefined;

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
      await this.read(await this.mark());
    } catch (error) {
      throw new Fault('ACCESS_FILE', `${this.path}: ${fileFailure(error)}`, { cause: error });
    }
    this.timer = setInterval(() => {
      if (this.looking === undefined) void this.look();
    }, this.lookMs).unref();
  }

  close(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  /** Reads the file if it has changed; `open` does so by itself from time to time. */
  async look(): Promise<void> {
    while (this.looking !== undefined) await this.looking; // which may have looked before the change
    if (this.timer === undefined) return;
    this.looking = this.readChanged();
    await this.looking;
  }

  private async readChanged(): Promise<void> {
    const { seen } = this;
    this.seen = ''; // a file that cannot be read is tried again, also when it comes back as it was
    try {
      const mark = await this.mark();
      if (mark === seen) {
        this.seen = seen;
        return;
      }
      await this.read(mark);
      this.log.information('file.reloaded', 'a changed file was read', { path: this.path });
    } catch (error) {
      const sentence = fileFailure(error);
      if (sentence !== this.lastError)
        this.log.error('file.reload-failed', 'a changed file cannot be used; what was read before stays in force', {
          path: this.path,
          error: sentence,
        });
      this.lastError = sentence;
    } finally {
      this.looking = undefined;
    }
  }

  private async mark(): Promise<string> {
    const { size, mtimeMs, ino } = await stat(this.path);
    if (size > BYTES_MAX) throw new Error(`has ${size} bytes; at most ${BYTES_MAX} are allowed`);
    return `${ino} ${size} ${mtimeMs}`;
  }

  private async read(mark: string): Promise<void> {
    const bytes = await readFile(this.path);
    this.seen = mark;
    let text: string;
    try {
      text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch {
      throw new Error('is not UTF-8 text');
    }
    this.take(this.parse(text));
    this.lastError = undefined;
  }
}
