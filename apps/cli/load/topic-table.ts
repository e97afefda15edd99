// The topics of the layouts whose messages go to changing topics, all equally long, all in one buffer.
//
//   wildcard  in long strides, so that no cache of the broker is helped by neighbourhood; each comes round once before any
//             comes round twice
//   distinct  every message a topic of its own, shared out among the publishers

import { distinctTopic, wildcardTopic } from './layout.js';
import type { LoadPlan } from './plan.js';

export class TopicTable {
  private readonly bytes: Buffer;
  private readonly size: number;

  private constructor(
    private readonly total: number,
    private readonly step: number,
    private readonly startStep: number,
    topicOfPlace: (place: number) => string,
  ) {
    this.size = Buffer.byteLength(topicOfPlace(0));
    this.bytes = Buffer.alloc(total * this.size);
    for (let place = 0; place < total; place++) this.bytes.write(topicOfPlace(place), place * this.size);
  }

  /** The table a plan needs, or undefined when each publisher keeps to one topic. */
  static of(plan: LoadPlan): TopicTable | undefined {
    const { layout, subscribers, topicPrefix } = plan;
    if (layout === 'distinct')
      return new TopicTable(plan.messages, plan.publishers, 1, (place) => distinctTopic(topicPrefix, place));
    if (layout !== 'wildcard') return undefined;
    const total = subscribers * plan.filters;
    let step = Math.max(1, Math.floor(total * 0.381966));
    while (greatestCommonDivisor(step, total) !== 1) step++;
    return new TopicTable(total, step, 7919, (place) =>
      wildcardTopic(topicPrefix, place % subscribers, Math.floor(place / subscribers)),
    );
  }

  startOf(publisher: number): number {
    return (publisher * this.startStep) % this.total;
  }

  /** Puts the topic of a place at `at`; returns the publisher's next place. */
  write(target: Buffer, at: number, place: number): number {
    const from = place * this.size;
    for (let i = 0; i < this.size; i++) target[at + i] = this.bytes[from + i]!;
    return (place + this.step) % this.total;
  }
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
