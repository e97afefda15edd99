/** Random topic names and filters over few levels, so that they match often; and a subscriber that notes what it gets. */
import type { Random } from '../base/random.fuzz.js';
import { isValidTopicFilter, type Message, type PublishRun } from '../protocol/index.js';
import type { Delivery, Subscriber } from './subscription.js';

const levels = ['', 'a', 'b', 'c', '$SYS', '$', 'é', '日本', '🚀', 'constructor', '__proto__'];

export function randomTopicName(random: Random): string {
  const topicName = Array.from({ length: 1 + random.below(4) }, () => random.pick(levels)).join('/');
  return topicName === '' ? '/' : topicName;
}

export function randomTopicFilter(random: Random): string {
  for (;;) {
    const parts = Array.from({ length: 1 + random.below(4) }, () => (random.oneIn(3) ? '+' : random.pick(levels)));
    if (random.oneIn(3)) parts.push('#');
    if (random.oneIn(10)) parts.splice(0, parts.length, '#');
    const topicFilter = parts.join('/');
    if (isValidTopicFilter(topicFilter)) return topicFilter;
  }
}

export class NotingSubscriber implements Subscriber {
  matchMark = 0;
  matchIndex = 0;
  online = true;
  accepting = true;
  /** What `deliver` answers. */
  takes = true;
  readonly got: { message: Message; delivery: Delivery }[] = [];
  readonly runs: { count: number; bytes: string }[] = [];

  constructor(readonly clientId: string) {}

  get payloads(): string[] {
    return this.got.map(({ message }) => message.payload.toString());
  }

  deliver(message: Message, delivery: Delivery): boolean {
    this.got.push({ message: message.keep(), delivery });
    return this.takes;
  }

  deliverRun(run: PublishRun): void {
    this.runs.push({ count: run.count, bytes: run.bytes.toString('latin1', run.start, run.end) });
  }
}
