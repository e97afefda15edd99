/** What outlives the broker's process: the store, what sessions, groups and retained messages keep in it, and getting rid of what has expired. */
import { Fault, type Limits, type LogFields, type Logger, systemClock } from '../base/index.js';
import type { Config } from '../config/index.js';
import type { Handling } from '../protocol/index.js';
import { GroupStore, retainedLimits, StoredRetained } from '../router/index.js';
import { type SessionRegistry, SessionStore } from '../session/index.js';
import { realFiles, Store } from '../storage/index.js';
import type { BrokerStatus } from './broker-api.js';

/** How often storage is rid of what has expired, and how soon again when there was much. */
const SWEEP_MS = 1000;
const SWEEP_AGAIN_MS = 10;

export class BrokerStorage {
  /** Keeps nothing in the mode `memory`; the other parts are undefined then. */
  readonly store: Store;
  readonly sessions: SessionStore | undefined;
  readonly groups: GroupStore | undefined;
  readonly retained: StoredRetained | undefined;
  private readonly folder: string;
  private opened = false;
  private sweepTimer: NodeJS.Timeout | undefined;
  /** Damage that the log has. */
  private readonly told = new Set<string>();

  constructor(
    config: Config,
    limits: Limits,
    handlingOf: (topicName: string) => Handling,
    private readonly log: Logger,
  ) {
    const { mode, path } = config.storage;
    this.folder = path;
    this.store = new Store({
      mode,
      folder: path,
      files: realFiles,
      log,
      twoCopies: config.durability.some((rule) => rule.mode === 'faultTolerant'),
      summaryPrefix: 'c',
      onTables: (store) => this.retained?.begin(store),
      onReplay: (store, key, value) => {
        this.retained!.replay(store, key, value);
        this.sessions!.replay(store, key, value);
      },
    });
    if (!this.persistent) return;
    this.sessions = new SessionStore(this.store);
    this.groups = new GroupStore(this.store, handlingOf);
    this.retained = new StoredRetained(this.store, retainedLimits(limits), systemClock.nowMs);
  }

  get persistent(): boolean {
    return this.store.persistent;
  }

  /** A store with files is opened once. */
  get spent(): boolean {
    return this.opened && this.persistent;
  }

  /** Errors  `Fault` STORAGE_…, when the folder cannot be used or is damaged. */
  async open(sessions: SessionRegistry): Promise<void> {
    this.store.beforeRotation = () => {
      this.retained?.saveCounts();
      sessions.saveCounts();
    };
    await this.store.open();
    this.opened = true;
    this.groups?.load();
    sessions.restore();
    this.groups?.dropOrphans();
    if (this.persistent) this.sweepIn(SWEEP_MS);
  }

  private sweepIn(ms: number): void {
    this.sweepTimer = setTimeout(() => {
      const retained = this.survive(() => this.retained!.sweep());
      const sessions = this.survive(() => this.sessions!.sweep());
      this.store.checkPlace();
      this.store.reclaim();
      this.sweepIn(retained || sessions ? SWEEP_AGAIN_MS : SWEEP_MS);
    }, ms).unref();
  }

  /** What is damaged is left: nobody needs it now. */
  private survive(sweep: () => boolean): boolean {
    try {
      return sweep();
    } catch (error) {
      this.tell(error);
      return false;
    }
  }

  /** Names what cannot be read, once. */
  tell(error: unknown, fields?: LogFields): void {
    const { message, stack } = error as Error;
    if (this.told.has(message)) return;
    this.told.add(message);
    if (error instanceof Fault) this.log.error(error.code, message, fields);
    else this.log.error('broker.bug', stack ?? message, fields);
  }

  stopSweeping(): void {
    clearTimeout(this.sweepTimer);
  }

  /** Errors  `Fault` STORAGE_NOT_SAVED: the last changes, none of which was acknowledged, could not be stored. */
  async close(): Promise<void> {
    if (!this.spent) return;
    try {
      await this.store.close();
    } catch (error) {
      const gone = error instanceof Fault && error.code === 'STORAGE_FOLDER_GONE';
      throw new Fault(
        'STORAGE_NOT_SAVED',
        `the last changes could not be stored in ${this.folder} (${(error as Error).message}); ${gone ? 'what it held is lost, unless it is put back' : 'none of them was acknowledged'}`,
        { cause: error },
      );
    }
  }

  /** Resolves when everything appended so far is on the disk. Errors  of the disk. */
  save(): Promise<void> {
    if (!this.persistent) return Promise.resolve();
    this.store.commit();
    return new Promise((resolve, reject) =>
      this.store.whenSynced(this.store.sequence, (error) => (error === undefined ? resolve() : reject(error))),
    );
  }

  status(): Pick<BrokerStatus, 'retainedMegabytes' | 'queuedMegabytes' | 'sessionMegabytes' | 'storage'> {
    const { store } = this;
    const megabytes = (bytes: number | undefined) => (this.persistent ? (bytes ?? 0) / 1e6 : 0);
    return {
      retainedMegabytes: megabytes(this.retained?.bytes),
      queuedMegabytes: megabytes(this.sessions?.queuedBytes),
      sessionMegabytes: megabytes(this.sessions?.sessionBytes()),
      storage: {
        mode: store.mode,
        failed: store.failed?.message,
        megabytes: megabytes(store.tableBytes + store.logBytes),
      },
    };
  }
}
