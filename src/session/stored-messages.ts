/** What storage holds of one session's messages, and how many there are in each lane: waiting and in flight. */
import type { Message, QoS } from '../protocol/index.js';
import { successor } from '../storage/index.js';
import type { Outgoing } from './outgoing.js';
import { countsOfLane, lanePrefix, partsOf, type QueueCounts, type SessionStore } from './session-store.js';

export class StoredMessages {
  /** The counts have changed since they were saved. */
  dirty = false;

  constructor(
    readonly store: SessionStore,
    readonly owner: string,
    readonly counts: QueueCounts = { nextPlace: 0, lanes: new Map() },
  ) {}

  add(lane: number, item: Outgoing, message: Message, packetId: number): void {
    const { counts } = this;
    item.key = this.store.add(this.owner, lane, counts.nextPlace++, item, message, packetId);
    const count = countsOfLane(counts, lane);
    count.messages++;
    count.bytes += message.bytes;
    this.dirty = true;
  }

  remove(key: string, message: Message | undefined, qos: QoS): void {
    this.uncount(key);
    this.store.removeMessage(key, message, qos);
  }

  /** The client has the QoS 2 message. */
  released(packetId: number, item: Outgoing): void {
    this.uncount(item.key);
    this.store.saveReleased(this.owner, packetId, item);
  }

  /** Those of a lane from `from` on. */
  load(lane: number, from: string, count: number): { key: string; item: Outgoing; packetId: number }[] {
    const prefix = lanePrefix(this.owner, lane);
    return this.store.load(from === '' ? prefix : from, successor(prefix), count);
  }

  save(): void {
    if (!this.dirty) return;
    this.dirty = false;
    this.store.saveCounts(this.owner, this.counts);
  }

  private uncount(key: string): void {
    const count = countsOfLane(this.counts, key.charCodeAt(5));
    count.messages--;
    count.bytes -= partsOf(key).bytes;
    this.dirty = true;
  }
}
