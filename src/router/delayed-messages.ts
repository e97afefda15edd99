/**
 * Messages that are published later: `$delayed/<seconds>/<topic name>`.
 *
 *   'd' due u48, sequence u48     the message, under its real topic name; times are milliseconds since the Unix epoch
 *
 * One timer runs, for the first that is due; what is to come is in storage only.
 */
import { Fault, type TimerWheel, WheelTimer } from '../base/index.js';
import {
  isValidTopicName,
  Message,
  messageRecordBytes,
  readMessageRecord,
  writeMessageRecord,
} from '../protocol/index.js';
import type { Store } from '../storage/index.js';

const PREFIX = '$delayed/';
/** As in other brokers that have this. */
const SECONDS_MAX = 4_294_967;
/** Messages published in one go. */
const STEP = 500;
/** The wheel is not asked to wait longer, milliseconds. */
const WAIT_MAX_MS = 3_600_000;
/** While storage cannot be written. */
const RETRY_MS = 1000;

export interface Delay {
  readonly seconds: number;
  readonly topicName: string;
}

export interface DelayedMessage {
  /** Names it for `cancel`. */
  readonly id: string;
  readonly dueAtMs: number;
  readonly message: Message;
}

/** What a topic name asks for: undefined for one that is not delayed. */
export function delayOf(topicName: string): Delay | 'invalid' | undefined {
  if (!topicName.startsWith(PREFIX)) return undefined;
  const slash = topicName.indexOf('/', PREFIX.length);
  const seconds = topicName.slice(PREFIX.length, slash);
  const target = topicName.slice(slash + 1);
  if (slash < 0 || !/^\d{1,7}$/.test(seconds) || Number(seconds) > SECONDS_MAX) return 'invalid';
  if (!isValidTopicName(target) || target.startsWith(PREFIX)) return 'invalid';
  return { seconds: Number(seconds), topicName: target };
}

export class DelayedMessages {
  private count = 0;
  private sequence = 0;
  private readonly timer: WheelTimer;
  private armedFor = 0;

  constructor(
    private readonly store: Store,
    private readonly wheel: TimerWheel,
    private readonly nowMs: () => number,
    private readonly limits: { readonly delayedMessagesMax: number },
    private readonly publish: (message: Message) => void,
  ) {
    this.timer = new WheelTimer(() => this.publishDue());
  }

  get size(): number {
    return this.count;
  }

  /** Once the store is open. */
  start(): void {
    this.count = 0;
    for (const _entry of this.store.scan('d', 'e')) this.count++;
    this.sequence = this.store.sequence;
    this.armNext();
  }

  stop(): void {
    this.wheel.disarm(this.timer);
    this.armedFor = 0;
  }

  /** Keeps a message for later. Returns false when there are as many as may be. */
  add(message: Message, { seconds, topicName }: Delay): boolean {
    if (this.count >= this.limits.delayedMessagesMax || this.store.failed !== undefined) return false;
    const dueAtMs = this.nowMs() + seconds * 1000;
    const later = Message.create(
      {
        topicName,
        payload: message.payload,
        qos: message.qos,
        retain: message.retain,
        properties: message.properties,
        publisherId: message.publisherId,
        source: message.source,
      },
      0,
    );
    later.expiresAtMs = message.expiresAtMs;
    const key = keyOf(dueAtMs, ++this.sequence);
    const sync = message.handling.durability === 'sync';
    const at = this.store.reserve(key, messageRecordBytes(later, true), sync, true);
    writeMessageRecord(later, true, this.store.chunk, at);
    this.count++;
    if (this.armedFor === 0 || dueAtMs < this.armedFor) this.arm(dueAtMs);
    return true;
  }

  /** What is to be published, soonest first. */
  *list(): Generator<DelayedMessage> {
    for (const { key, value } of this.store.scan('d', 'e'))
      yield {
        id: Buffer.from(key.slice(1), 'latin1').toString('hex'),
        dueAtMs: dueOf(key),
        message: readMessageRecord(value, 0, value.length),
      };
  }

  /**
   * Forgets one; returns whether it was there.
   * Errors  `Fault` DELAYED_ID_INVALID naming the identifier.
   */
  cancel(id: string): boolean {
    if (!/^[0-9a-f]{24}$/.test(id))
      throw new Fault('DELAYED_ID_INVALID', `not the id of a delayed message: ${JSON.stringify(id)}`);
    const key = `d${Buffer.from(id, 'hex').toString('latin1')}`;
    if (this.store.get(key) === undefined) return false;
    this.store.remove(key);
    this.count--;
    return true;
  }

  private publishDue(): void {
    this.armedFor = 0;
    // What is retained could not be kept, and what is published now would be published again after a crash.
    if (this.store.failed !== undefined) return this.arm(this.nowMs() + RETRY_MS);
    const due: { key: string; message: Message }[] = [];
    for (const { key, value } of this.store.scan('d', keyOf(this.nowMs() + 1, 0))) {
      due.push({ key, message: readMessageRecord(value, 0, value.length) });
      if (due.length === STEP) break;
    }
    try {
      for (const { key, message } of due) {
        this.store.remove(key);
        this.count--;
        if (!message.isExpired(this.nowMs())) this.publish(message);
      }
    } finally {
      this.armNext();
    }
  }

  private armNext(): void {
    for (const { key } of this.store.scan('d', 'e')) return this.arm(dueOf(key));
  }

  private arm(dueAtMs: number): void {
    this.wheel.disarm(this.timer);
    this.armedFor = dueAtMs;
    this.wheel.arm(this.timer, Math.min(WAIT_MAX_MS, Math.max(0, dueAtMs - this.nowMs())));
  }
}

function keyOf(dueAtMs: number, sequence: number): string {
  const bytes = Buffer.alloc(12);
  bytes.writeUIntBE(dueAtMs, 0, 6);
  bytes.writeUIntBE(sequence, 6, 6);
  return `d${bytes.toString('latin1')}`;
}

function dueOf(key: string): number {
  return Buffer.from(key.slice(1, 7), 'latin1').readUIntBE(0, 6);
}
