/**
 * Holds what one connection answers until what it promises is stored: no acknowledgement leaves before the sequence that its packet moved
 * is handed to the operating system, or is on the disk where its durability asks for that.
 */
import type { Store } from '../storage/index.js';
import type { Outbound } from './outbound.js';

export interface GateKeeper {
  readonly outbound: Outbound;
  /** What was held may leave; or it is lost, since it could not be stored. */
  gateOpened(lost: boolean): void;
}

export class StorageGate {
  /** Sequences that have to be handed to the operating system, and be on the disk, before what is gathered may leave; 0 for none. */
  private writtenAt = 0;
  private syncedAt = 0;
  /** What is held waits for the disk. */
  shut = false;
  /** Something was answered in this batch of packets, before which storage stood at `sequenceBefore`. */
  answered = false;
  private sequenceBefore = 0;

  constructor(private readonly storage: Store) {}

  /** A batch of packets is about to be handled. */
  begin(): void {
    this.answered = false;
    this.sequenceBefore = this.storage.sequence;
  }

  /** An answer to what moved storage may not leave before that is stored; what else was moved may be stored later. */
  settle(): void {
    if (this.answered && this.storage.sequence !== this.sequenceBefore) this.raise();
    this.answered = false;
  }

  /** What is gathered waits for everything appended so far. */
  raise(): void {
    this.writtenAt = this.storage.sequence;
    if (this.storage.syncSequence > this.storage.synced) this.syncedAt = this.storage.syncSequence;
  }

  /** What waited is given up. */
  forget(): void {
    this.writtenAt = 0;
    this.syncedAt = 0;
  }

  /** Whether what is gathered may leave now; if not, `keeper` is told when it may. */
  passes(keeper: GateKeeper): boolean {
    if (this.writtenAt === 0) return true;
    const { storage, syncedAt } = this;
    if (this.writtenAt > storage.written && storage.failed === undefined) storage.commit();
    if (this.writtenAt > storage.written) {
      keeper.gateOpened(true);
      return false;
    }
    if (syncedAt > storage.synced && keeper.outbound.gathered === 0) return true;
    this.forget();
    if (syncedAt <= storage.synced) return true;
    this.shut = true;
    keeper.outbound.hold();
    storage.whenSynced(syncedAt, (error) => {
      this.shut = false;
      keeper.gateOpened(error !== undefined);
    });
    return false;
  }
}
