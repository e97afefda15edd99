import type { Message, QoS } from '../protocol/index.js';
import type { Subscription } from '../router/index.js';

/** Where a QoS 1 or 2 message stands on its way to the client (v5 §4.3). */
export const OutgoingState = {
  Queued: 0,
  AwaitingPuback: 1,
  AwaitingPubrec: 2,
  AwaitingPubcomp: 3,
} as const;
export type OutgoingState = (typeof OutgoingState)[keyof typeof OutgoingState];

/** One message on its way to one client: first in the queue, then, at QoS 1 and 2, in flight. */
export class Outgoing {
  state: OutgoingState = OutgoingState.Queued;
  packetId = 0;
  /** Order of first sending, for re-delivery. */
  sequence = 0;
  /** Whether it counts against the send quota of the current connection. */
  counted = false;

  constructor(
    /** Undefined once released: a PUBREC has taken the message over. */
    public message: Message | undefined,
    readonly qos: QoS,
    readonly retain: boolean,
    readonly subscriptionIds: readonly number[] | undefined,
    /** The shared subscription it came by; a member that leaves hands it on. */
    readonly shared: Subscription | undefined,
  ) {}
}
