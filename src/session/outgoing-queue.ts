/**
 * Messages that wait for a client, first in first out, bounded in count and bytes.
 *
 *   head                       tail
 *   | taken | waiting ...... |      an array whose taken part is cut off when it is half of it
 *
 * At a limit the policy decides: drop the oldest, drop the newest (the one that comes), drop QoS 0 first (then the oldest),
 * or refuse (the publisher is told).
 */
import type { QueueOverflow } from '../base/index.js';
import type { Outgoing } from './outgoing.js';

export class OutgoingQueue {
  private items: (Outgoing | undefined)[] = [];
  private head = 0;
  private byteCount = 0;

  get length(): number {
    return this.items.length - this.head;
  }

  get bytes(): number {
    return this.byteCount;
  }

  /**
   * Appends `item` within the limits. Returns how many messages were dropped for it (itself perhaps), or -1 when it was
   * refused.
   */
  push(item: Outgoing, messagesMax: number, bytesMax: number, overflow: QueueOverflow): number {
    const bytes = item.message!.bytes;
    let dropped = 0;
    while (this.length >= messagesMax || (this.byteCount + bytes > bytesMax && this.length > 0)) {
      if (overflow === 'refuse') return -1;
      if (overflow === 'dropNewest') return 1;
      if (overflow === 'dropQos0First' && this.dropFirstQos0()) dropped++;
      else if (overflow === 'dropQos0First' && item.qos === 0) return dropped + 1;
      else {
        this.shift();
        dropped++;
      }
    }
    if (bytes > bytesMax) return overflow === 'refuse' ? -1 : dropped + 1;
    this.items.push(item);
    this.byteCount += bytes;
    return dropped;
  }

  peek(): Outgoing | undefined {
    return this.items[this.head];
  }

  shift(): Outgoing | undefined {
    const item = this.items[this.head];
    if (item === undefined) return undefined;
    this.items[this.head++] = undefined;
    this.byteCount -= item.message!.bytes;
    if (this.head * 2 > this.items.length && this.head > 32) this.cut();
    else if (this.head === this.items.length) this.clear();
    return item;
  }

  /** Takes out every item for which `taken` says true, in order. */
  extract(taken: (item: Outgoing) => boolean): Outgoing[] {
    const out: Outgoing[] = [];
    const rest: Outgoing[] = [];
    for (let index = this.head; index < this.items.length; index++) {
      const item = this.items[index]!;
      if (taken(item)) {
        out.push(item);
        this.byteCount -= item.message!.bytes;
      } else rest.push(item);
    }
    this.items = rest;
    this.head = 0;
    return out;
  }

  clear(): void {
    this.items.length = 0;
    this.head = 0;
    this.byteCount = 0;
  }

  private cut(): void {
    this.items = this.items.slice(this.head);
    this.head = 0;
  }

  private dropFirstQos0(): boolean {
    for (let index = this.head; index < this.items.length; index++) {
      const item = this.items[index]!;
      if (item.qos !== 0) continue;
      this.byteCount -= item.message!.bytes;
      this.items.splice(index, 1);
      return true;
    }
    return false;
  }
}
