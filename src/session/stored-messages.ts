/** What storage holds of one session's messages, and how many there are in each lane: waiting and in flight. */
import type { Message } from '../protocol/index.js';
import { successor } from '../storage/index.js';
import type { Outgoing } from './outgoing.js';
import { countsOfLane, type LoadedMessages, lanePrefix, type QueueCounts, type SessionStore } from './session-store.js';

export class StoredMessages {
  /** The counts have changed since they were saved. */
  dirty = false;

  constructor(
    readonly store: SessionStore,
    readonly owner: string,
    readonly counts: QueueCounts = { nextPlace: 0, lanes: [] },
  ) {}

  /** Stores a message; returns its place. */
  add(lane: number, item: Outgoing, message: Message, packetId: number): number {
    const { counts } = this;
    const place = counts.nextPlace++;
    this.store.add(this.owner, lane, place, item, message, packetId);
    const count = countsOfLane(counts, lane);
    count.messages++;
    count.bytes += message.bytes;
    this.dirty = true;
    return place;
  }

  /** A place in the order of sending for what has none, or an older one. */
  takePlace(): number {
    return this.counts.nextPlace++;
  }

  /** A place that was taken in the last run. */
  notePlace(place: number): void {
    this.counts.nextPlace = Math.max(this.counts.nextPlace, place + 1);
  }

  remove(item: Outgoing): void {
    const { lane, bytes } = this.store.removeMessage(item);
    const count = countsOfLane(this.counts, lane);
    count.messages--;
    count.bytes -= bytes;
    this.dirty = true;
  }

  /** The client has the QoS 2 message. */
  released(packetId: number, item: Outgoing): void {
    this.store.saveReleased(this.owner, packetId, item);
    this.remove(item);
  }

  /** Those of a lane from `from` on: so many at most, and none after those that fill `bytes`. */
  load(lane: number, from: string, count: number, bytes: number): LoadedMessages {
    const prefix = lanePrefix(this.owner, lane);
    return this.store.load(from === '' ? prefix : from, successor(prefix), count, bytes);
  }

  /** As `load`, without their messages. */
  first(lane: number, from: string, count: number): Outgoing[] {
    const prefix = lanePrefix(this.owner, lane);
    return this.store.first(from === '' ? prefix : from, successor(prefix), count);
  }

  save(): void {
    if (!this.dirty) return;
    this.dirty = false;
    this.store.saveCounts(this.owner, this.counts);
  }
}
