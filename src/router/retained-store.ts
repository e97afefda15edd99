/**
 * Retained messages in memory: one per topic name, found by name at once and by filter through a tree of levels.
 *
 * Bounded in messages and bytes: above a limit a new one is refused, a replacement that fits is not. The broker's own below
 * `$SYS/`, where no client publishes, are bounded by the broker and do not count. Expired messages are never handed out; they
 * leave when their timer fires or when they are met.
 */
import { type TimerWheel, WheelTimer } from '../base/index.js';
import { isValidTopicName, type Message } from '../protocol/index.js';

class RetainedNode {
  children: Map<string, RetainedNode> | undefined;
  message: Message | undefined;
  timer: WheelTimer | undefined;
}

/** What a walk over retained messages hands out when it has looked at many without a match: go on in another turn. */
export const PAUSE = Symbol('pause');

/** The retained messages of the node. */
export interface Retained {
  readonly size: number;
  /** Of topic names, properties and payloads. */
  readonly bytes: number;
  /**
   * Stores, replaces [MQTT-3.3.1-5] or, with an empty payload, removes [MQTT-3.3.1-6] the message of its topic name.
   * Returns false when the store is full, or cannot be written, and nothing changed.
   */
  set(message: Message): boolean;
  get(topicName: string): Message | undefined;
  delete(topicName: string): boolean;
  /**
   * The messages that match a valid filter, one at a time, so that a caller with little room can pause. What is stored or
   * removed meanwhile may or may not be met.
   */
  match(topicFilter: string): Generator<Message | typeof PAUSE, void>;
}

export interface RetainedLimits {
  readonly messagesMax: number;
  readonly bytesMax: number;
}

export class RetainedStore implements Retained {
  private readonly root = new RetainedNode();
  private count = 0;
  private byteCount = 0;
  /** Of those, what does not count against the limits. */
  private readonly own = { count: 0, bytes: 0 };

  constructor(
    private readonly limits: RetainedLimits,
    private readonly wheel: TimerWheel,
    private readonly nowMs: () => number,
  ) {}

  get size(): number {
    return this.count;
  }

  get bytes(): number {
    return this.byteCount;
  }

  set(message: Message): boolean {
    const levels = message.topicName.split('/');
    if (message.payloadStart === message.bodyEnd) {
      this.remove(levels); // [MQTT-3.3.1-7] an empty one is not stored
      return true;
    }
    const kept = message.compact();
    const current = this.find(levels)?.message;
    const bytes = this.byteCount - (current?.bytes ?? 0) + kept.bytes;
    const own = levels[0] === '$SYS';
    if (!own) {
      if (bytes - this.own.bytes > this.limits.bytesMax) return false;
      if (current === undefined && this.count - this.own.count >= this.limits.messagesMax) return false;
    }
    let node = this.root;
    for (const level of levels) {
      node.children ??= new Map();
      let child = node.children.get(level);
      if (child === undefined) {
        child = new RetainedNode();
        node.children.set(level, child);
      }
      node = child;
    }
    if (own) {
      if (current === undefined) this.own.count++;
      this.own.bytes += bytes - this.byteCount;
    }
    if (current === undefined) this.count++;
    this.byteCount = bytes;
    node.message = kept;
    if (node.timer) this.wheel.disarm(node.timer);
    node.timer = undefined;
    if (kept.expiresAtMs !== 0) {
      node.timer = new WheelTimer(() => this.remove(levels));
      this.wheel.arm(node.timer, kept.expiresAtMs - this.nowMs());
    }
    return true;
  }

  get(topicName: string): Message | undefined {
    const message = this.find(topicName.split('/'))?.message;
    return message?.isExpired(this.nowMs()) ? undefined : message;
  }

  delete(topicName: string): boolean {
    return this.remove(topicName.split('/'));
  }

  *match(topicFilter: string): Generator<Message, void> {
    if (isValidTopicName(topicFilter)) {
      const message = this.get(topicFilter);
      if (message) yield message;
      return;
    }
    yield* this.walk(this.root, topicFilter.split('/'), 0);
  }

  private *walk(node: RetainedNode, filter: string[], depth: number): Generator<Message, void> {
    if (depth === filter.length) {
      if (node.message && !node.message.isExpired(this.nowMs())) yield node.message;
      return;
    }
    const level = filter[depth]!;
    if (level === '#') {
      // `a/#` matches `a` as well; at the top nothing stands for "the level above"
      if (depth > 0 && node.message && !node.message.isExpired(this.nowMs())) yield node.message;
      yield* this.below(node, depth === 0);
      return;
    }
    if (level === '+') {
      if (node.children)
        // [MQTT-4.7.2-1]
        for (const [name, child] of node.children)
          if (depth > 0 || name.charCodeAt(0) !== 0x24) yield* this.walk(child, filter, depth + 1);
      return;
    }
    const child = node.children?.get(level);
    if (child) yield* this.walk(child, filter, depth + 1);
  }

  private *below(node: RetainedNode, atTop: boolean): Generator<Message, void> {
    if (node.children === undefined) return;
    for (const [name, child] of node.children) {
      if (atTop && name.charCodeAt(0) === 0x24) continue; // [MQTT-4.7.2-1]
      if (child.message && !child.message.isExpired(this.nowMs())) yield child.message;
      yield* this.below(child, false);
    }
  }

  private find(levels: string[]): RetainedNode | undefined {
    let node: RetainedNode | undefined = this.root;
    for (const level of levels) {
      node = node.children?.get(level);
      if (node === undefined) return undefined;
    }
    return node;
  }

  private remove(levels: string[]): boolean {
    const path: RetainedNode[] = [this.root];
    for (const level of levels) {
      const child = path.at(-1)!.children?.get(level);
      if (child === undefined) return false;
      path.push(child);
    }
    const node = path.at(-1)!;
    if (node.message === undefined) return false;
    this.count--;
    this.byteCount -= node.message.bytes;
    if (levels[0] === '$SYS') {
      this.own.count--;
      this.own.bytes -= node.message.bytes;
    }
    node.message = undefined;
    if (node.timer) this.wheel.disarm(node.timer);
    node.timer = undefined;
    for (let depth = levels.length; depth > 0; depth--) {
      const each = path[depth]!;
      if (each.message !== undefined || each.children !== undefined) break;
      const parent = path[depth - 1]!;
      parent.children!.delete(levels[depth - 1]!);
      if (parent.children!.size === 0) parent.children = undefined;
    }
    return true;
  }
}
