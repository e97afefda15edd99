/** Retained messages of a broker with storage: those of topics that are kept in memory only beside all others. */
import type { Message } from '../protocol/index.js';
import type { PAUSE, Retained } from './retained-store.js';

export class AllRetained implements Retained {
  constructor(
    private readonly inMemory: Retained,
    private readonly stored: Retained,
  ) {}

  get size(): number {
    return this.inMemory.size + this.stored.size;
  }

  get bytes(): number {
    return this.inMemory.bytes + this.stored.bytes;
  }

  set(message: Message): boolean {
    const inMemory = message.handling.durability === 'memory';
    if (!(inMemory ? this.inMemory : this.stored).set(message)) return false;
    // Where its topic was kept otherwise before the broker started.
    const other = inMemory ? this.stored : this.inMemory;
    if (other.size > 0) other.delete(message.topicName);
    return true;
  }

  get(topicName: string): Message | undefined {
    return this.inMemory.get(topicName) ?? this.stored.get(topicName);
  }

  delete(topicName: string): boolean {
    const inMemory = this.inMemory.delete(topicName);
    return this.stored.delete(topicName) || inMemory;
  }

  *match(topicFilter: string): Generator<Message | typeof PAUSE, void> {
    yield* this.inMemory.match(topicFilter);
    yield* this.stored.match(topicFilter);
  }
}
