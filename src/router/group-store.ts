/**
 * What waits for shared groups, in storage:
 *
 *   'g' shareName, 0, topicFilter     the number of the group, four bytes; while anything waits for it
 *   'G' number, place u48             a message; places count up at the end and down at the front
 */
import {
  type Handling,
  type Message,
  messageRecordBytes,
  readMessageRecord,
  writeMessageRecord,
} from '../protocol/index.js';
import { type Store, successor } from '../storage/index.js';

/** Of the first message of a group: there is room before and after it. */
const MIDDLE = 2 ** 46;

export interface Waiting {
  readonly message: Message;
  /** Where it is stored; empty when it is not. */
  readonly key: string;
}

export class GroupStore {
  private nextNumber = 1;
  /** Names of groups that have members again; until `dropOrphans`. */
  private opened: Set<string> | undefined = new Set();

  constructor(
    private readonly store: Store,
    private readonly handlingOf: (topicName: string) => Handling,
  ) {}

  /** After the store has been opened. */
  load(): void {
    for (const { value } of this.store.scan('g', 'h'))
      this.nextNumber = Math.max(this.nextNumber, value.readUInt32BE(0) + 1);
  }

  /** Once sessions are restored: groups that lost all their members with the broker end. */
  dropOrphans(): void {
    for (const { key, value } of [...this.store.scan('g', 'h')]) {
      if (this.opened?.has(key)) continue;
      const prefix = `G${value.toString('latin1')}`;
      const waiting = [...this.store.scan(prefix, successor(prefix))];
      for (const entry of waiting) this.store.remove(entry.key, 'buffered');
      this.store.remove(key, 'buffered');
    }
    this.opened = undefined;
  }

  open(shareName: string, topicFilter: string): StoredGroup {
    const nameKey = `g${Buffer.from(`${shareName}\0${topicFilter}`).toString('latin1')}`;
    this.opened?.add(nameKey);
    return new StoredGroup(this.store, this.handlingOf, nameKey, () => this.nextNumber++);
  }
}

export class StoredGroup {
  private prefix: string | undefined;
  private front = MIDDLE;
  private back = MIDDLE;

  constructor(
    private readonly store: Store,
    private readonly handlingOf: (topicName: string) => Handling,
    private readonly nameKey: string,
    private readonly nextNumber: () => number,
  ) {}

  /** What waited when the broker last ran, oldest first. */
  load(): Waiting[] {
    const number = this.store.get(this.nameKey);
    if (number === undefined) return [];
    this.prefix = `G${number.toString('latin1')}`;
    const waiting: Waiting[] = [];
    for (const { key, value } of this.store.scan(this.prefix, successor(this.prefix))) {
      const place = Buffer.from(key.slice(5), 'latin1').readUIntBE(0, 6);
      this.front = Math.min(this.front, place);
      this.back = Math.max(this.back, place + 1);
      const message = readMessageRecord(value, 0, value.length).compact();
      const { priority } = this.handlingOf(message.topicName);
      message.handling = { priority, durability: this.store.asksSync() ? 'sync' : 'buffered' };
      waiting.push({ message, key });
    }
    return waiting;
  }

  /** Stores a message behind the others. */
  append(message: Message): Waiting {
    return this.put(message, this.back++);
  }

  /** Stores messages before the others. */
  prepend(messages: readonly Message[]): Waiting[] {
    this.front -= messages.length;
    return messages.map((message, index) => this.put(message, this.front + index));
  }

  remove({ key, message }: Waiting): void {
    if (key !== '') this.store.remove(key, message.handling.durability === 'sync' ? 'sync' : 'buffered');
  }

  private put(message: Message, place: number): Waiting {
    const { durability } = message.handling;
    if (durability === 'memory') return { message, key: '' };
    if (this.prefix === undefined) {
      const number = Buffer.alloc(4);
      number.writeUInt32BE(this.nextNumber());
      this.store.put(this.nameKey, number, 'buffered');
      this.prefix = `G${number.toString('latin1')}`;
    }
    const bytes = Buffer.alloc(6);
    bytes.writeUIntBE(place, 0, 6);
    const key = this.prefix + bytes.toString('latin1');
    const at = this.store.reserve(key, messageRecordBytes(message, true), durability === 'sync', true);
    writeMessageRecord(message, true, this.store.chunk, at);
    return { message, key };
  }

  /** The group is gone: its number too. What waited is to be removed before. */
  forget(): void {
    if (this.prefix === undefined) return;
    this.store.remove(this.nameKey, 'buffered');
    this.prefix = undefined;
    this.front = MIDDLE;
    this.back = MIDDLE;
  }
}
