import type { Message, QoS } from '../protocol/index.js';
import type { Subscription } from '../router/index.js';
import type { FreshSlot } from '../storage/index.js';

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
  /** Where it is stored: by its key, or by the slot of one that came lately. */
  key = '';
  slot: FreshSlot | undefined = undefined;
  /** It was stored with the promise to be on the disk before it is acknowledged. */
  synced = false;
  /** Its packet identifier has an entry of its own in storage. */
  exchange = false;

  constructor(
    /** Undefined once it will not be sent again: released by PUBREC, or of a session that ends with its connection. */
    public message: Message | undefined,
    public qos: QoS,
    public retain: boolean,
    public subscriptionIds: readonly number[] | undefined,
    /** The shared subscription it came by; a member that leaves hands it on. */
    public shared: Subscription | undefined,
  ) {}

  get isStored(): boolean {
    return this.slot !== undefined || this.key !== '';
  }

  get storedKey(): string {
    return this.slot === undefined ? this.key : this.slot.key;
  }
}

/**
 * In flight to a client whose session ends with its connection: nothing will be sent again, so nothing is kept but the
 * state, and one object serves all.
 */
export const unkept: Readonly<Record<'awaitingPuback' | 'awaitingPubrec' | 'awaitingPubcomp', Outgoing>> = {
  awaitingPuback: makeUnkept(OutgoingState.AwaitingPuback, 1),
  awaitingPubrec: makeUnkept(OutgoingState.AwaitingPubrec, 2),
  awaitingPubcomp: makeUnkept(OutgoingState.AwaitingPubcomp, 2),
};

function makeUnkept(state: OutgoingState, qos: QoS): Outgoing {
  const item = new Outgoing(undefined, qos, false, undefined, undefined);
  item.state = state;
  item.counted = true;
  return item;
}

const FREE_MAX = 4096;
const free: Outgoing[] = [];

/** An `Outgoing`, perhaps one that served before. */
export function takeOutgoing(
  message: Message | undefined,
  qos: QoS,
  retain: boolean,
  subscriptionIds: readonly number[] | undefined,
  shared: Subscription | undefined,
): Outgoing {
  const item = free.pop();
  if (item === undefined) return new Outgoing(message, qos, retain, subscriptionIds, shared);
  item.state = OutgoingState.Queued;
  item.packetId = 0;
  item.counted = false;
  item.key = '';
  item.slot = undefined;
  item.synced = false;
  item.exchange = false;
  item.message = message;
  item.qos = qos;
  item.retain = retain;
  item.subscriptionIds = subscriptionIds;
  item.shared = shared;
  return item;
}

/** Gives back one that nothing refers to any more. */
export function giveOutgoing(item: Outgoing): void {
  item.message = undefined;
  item.subscriptionIds = undefined;
  item.shared = undefined;
  item.slot = undefined;
  if (free.length < FREE_MAX) free.push(item);
}
