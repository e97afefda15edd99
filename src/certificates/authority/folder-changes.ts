/**
 * How the folder of an authority changes: by this process, one change at a time and under a lock, or by another, which is
 * noticed. Either way those who listen are told what has become another.
 */
import { FileWatch } from '../file-watch.js';
import { type AuthorityFiles, CRL_FILE, INDEX_FILE } from './authority-files.js';

export type AuthorityChange = 'authority' | 'server' | 'crl' | 'list';

/** What the folder holds, as the authority has it in memory. */
export interface FolderContents {
  read(): void;
  /** Of each part a value that is another one when the part has changed. */
  marks(): Readonly<Record<AuthorityChange, unknown>>;
}

export class FolderChanges {
  private readonly listeners = new Set<(change: AuthorityChange) => void>();
  private watch: FileWatch | undefined;

  constructor(
    private readonly files: AuthorityFiles,
    private readonly contents: FolderContents,
  ) {}

  onChange(listener: (change: AuthorityChange) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Runs `work` on what the folder holds then, after what a crash has interrupted was finished. */
  make<Result>(work: () => Promise<Result>): Promise<Result> {
    return this.files.exclusive(async () => {
      const before = this.contents.marks();
      this.files.settle('ca');
      this.files.settle('server');
      try {
        this.contents.read();
        return await work();
      } finally {
        this.tell(before);
      }
    });
  }

  readAgain(): void {
    const before = this.contents.marks();
    try {
      this.contents.read();
    } finally {
      // What was read before a damaged file counts, a revocation above all.
      this.tell(before);
    }
  }

  /** Reads again whenever files have changed. */
  startWatching(failed: (error: unknown) => void): void {
    this.watch = new FileWatch(
      ['ca.pem', 'ca.key', 'server.pem', 'server.key', CRL_FILE, INDEX_FILE].map((name) => this.files.path(name)),
      () => {
        try {
          this.readAgain();
        } catch (error) {
          failed(error);
        }
      },
    );
  }

  stopWatching(): void {
    this.watch?.stop();
    this.watch = undefined;
  }

  private tell(before: Readonly<Record<AuthorityChange, unknown>>): void {
    const now = this.contents.marks();
    for (const change of Object.keys(now) as AuthorityChange[])
      if (now[change] !== before[change]) for (const listener of this.listeners) listener(change);
  }
}
