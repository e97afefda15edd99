/**
 * Tells when files changed, whichever way they were changed: written in place, replaced, or a link to a folder swapped.
 *
 * The folders are watched, since a watch on a file ends when the file is replaced. What counts is the contents: they are read
 * and compared after events have been quiet for a moment, and now and then without an event, for file systems that send none.
 */
import { createHash } from 'node:crypto';
import { type FSWatcher, readdirSync, readFileSync, watch } from 'node:fs';
import { dirname, join } from 'node:path';

const QUIET_MS = 300;
const LOOK_AGAIN_MS = 60_000;

export class FileWatch {
  private watchers: FSWatcher[] = [];
  private quiet: NodeJS.Timeout | undefined;
  private readonly timer: NodeJS.Timeout;
  private digest: string;

  constructor(
    private files: readonly string[],
    private readonly changed: () => void,
  ) {
    this.digest = digestOf(files);
    this.watchFolders();
    this.timer = setInterval(() => this.look(), LOOK_AGAIN_MS).unref();
  }

  /** What the files hold now, for `read`: to be taken before they are read, so that what changes meanwhile is noticed. */
  mark(): string {
    return digestOf(this.files);
  }

  /** Somebody has read the files since `mark`; from now on `files` are watched. */
  read(mark: string, files: readonly string[]): void {
    const same = files.join('\n') === this.files.join('\n');
    this.digest = same ? mark : digestOf(files);
    if (same) return;
    this.files = files;
    this.watchFolders();
  }

  stop(): void {
    clearTimeout(this.quiet);
    clearInterval(this.timer);
    for (const watcher of this.watchers) watcher.close();
    this.watchers = [];
  }

  private watchFolders(): void {
    for (const watcher of this.watchers) watcher.close();
    this.watchers = [];
    const folders = new Set(this.files.flatMap((file) => [dirname(file), file]));
    for (const folder of folders) {
      try {
        const watcher = watch(folder, { persistent: false }, () => {
          clearTimeout(this.quiet);
          this.quiet = setTimeout(() => this.look(), QUIET_MS).unref();
        });
        watcher.on('error', () => watcher.close());
        this.watchers.push(watcher);
      } catch {
        // the look now and then will do
      }
    }
  }

  private look(): void {
    const digest = digestOf(this.files);
    if (digest === this.digest) return;
    this.digest = digest;
    this.changed();
  }
}

function digestOf(files: readonly string[]): string {
  const hash = createHash('sha256');
  for (const file of files) hash.update(file).update('\0').update(contentsOf(file)).update('\0');
  return hash.digest('hex');
}

/** Of a folder, the names and contents of what is in it. */
function contentsOf(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EISDIR') return Buffer.from('missing');
  }
  try {
    return Buffer.concat(
      readdirSync(path)
        .sort()
        .flatMap((name) => [Buffer.from(name), readIfFile(join(path, name))]),
    );
  } catch {
    return Buffer.from('missing');
  }
}

function readIfFile(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch {
    return Buffer.alloc(0);
  }
}
