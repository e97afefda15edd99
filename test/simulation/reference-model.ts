/**
 * Sessions, QoS and routing as plainly as they can be written: arrays, linear searches, no caches, no shared bytes. Slow on
 * purpose; the simulation holds the broker against it.
 */
import { topicMatches } from '../../src/protocol/index.js';

export interface ModelMessage {
  readonly topicName: string;
  readonly payload: string;
  readonly qos: number;
  readonly retain: boolean;
  readonly publisherId: string | undefined;
  /** model time in ms; 0 never */
  readonly expiresAtMs: number;
}

export interface ModelSubscription {
  readonly topicFilter: string;
  readonly shareName: string | undefined;
  readonly qos: number;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: number;
  readonly subscriptionId: number | undefined;
}

/** A PUBLISH as the client must see it. `key` names everything but the packet identifier. */
export interface Expected {
  readonly key: string;
  readonly qos: number;
  readonly stored: boolean;
  readonly item: ModelOutgoing;
}

export interface ModelOutgoing {
  readonly message: ModelMessage;
  readonly qos: number;
  readonly retain: boolean;
  readonly ids: readonly number[];
  readonly group: ModelGroup | undefined;
  /** A retained message that a new subscription asked for: these come in an order of the broker's own. */
  readonly stored: boolean;
  state: 'queued' | 'awaitingAck' | 'released';
  /** On this connection. */
  sent: boolean;
}

interface ModelGroup {
  readonly shareName: string;
  readonly topicFilter: string;
  members: { session: ModelSession; subscription: ModelSubscription }[];
  next: number;
  waiting: ModelMessage[];
  draining: boolean;
}

export class ModelSession {
  connected = true;
  /** Receive Maximum of the client. */
  window = 0;
  expiryMs = 0;
  endsAtMs = 0;
  will: { message: Omit<ModelMessage, 'expiresAtMs'>; delayMs: number } | undefined;
  willAtMs = 0;
  subscriptions: ModelSubscription[] = [];
  /** In order of first sending: first what is in flight, then what waits. */
  outgoing: ModelOutgoing[] = [];
  received = new Set<number>();
  expected: Expected[] = [];

  constructor(readonly clientId: string) {}
}

export class ReferenceModel {
  readonly sessions = new Map<string, ModelSession>();
  private readonly retained = new Map<string, ModelMessage>();
  private groups: ModelGroup[] = [];
  nowMs = 0;

  constructor(private readonly queueMax: number) {}

  connect(
    clientId: string,
    cleanStart: boolean,
    expiryMs: number,
    will: ModelSession['will'],
    window: number,
  ): boolean {
    const former = this.sessions.get(clientId);
    if (former?.connected) this.disconnect(former, true);
    let session = this.sessions.get(clientId);
    if (session && cleanStart) {
      this.end(session);
      session = undefined;
    }
    const present = session !== undefined;
    session ??= new ModelSession(clientId);
    this.sessions.set(clientId, session);
    session.connected = true;
    session.window = window;
    session.expiryMs = expiryMs;
    session.endsAtMs = 0;
    session.willAtMs = 0;
    session.will = will;
    for (const item of session.outgoing) item.sent = false;
    this.pump(session);
    return present;
  }

  disconnect(session: ModelSession, withWill: boolean): void {
    session.connected = false;
    session.expected = [];
    if (!withWill) session.will = undefined;
    if (session.expiryMs === 0) {
      this.end(session);
      return;
    }
    this.handOn(session, false);
    session.endsAtMs = session.expiryMs === Number.POSITIVE_INFINITY ? 0 : this.nowMs + session.expiryMs;
    if (!session.will) return;
    if (session.will.delayMs === 0) this.publishWill(session);
    else session.willAtMs = this.nowMs + session.will.delayMs;
  }

  /** Timers of the broker fire a tick (250 ms) after they are due. */
  advance(milliseconds: number): void {
    this.nowMs += milliseconds;
    const reached = (at: number) => at > 0 && at + 250 <= this.nowMs;
    const due = [...this.sessions.values()].flatMap((session) => [
      ...(reached(session.willAtMs) ? [{ at: session.willAtMs, act: () => this.publishWill(session) }] : []),
      ...(reached(session.endsAtMs) ? [{ at: session.endsAtMs, act: () => this.end(session) }] : []),
    ]);
    for (const { act } of due.sort((a, b) => a.at - b.at)) act();
  }

  subscribe(session: ModelSession, next: ModelSubscription): void {
    const same = (each: ModelSubscription) =>
      each.topicFilter === next.topicFilter && each.shareName === next.shareName;
    const index = session.subscriptions.findIndex(same);
    if (index >= 0) session.subscriptions[index] = next;
    else session.subscriptions.push(next);
    if (next.shareName !== undefined) {
      this.join(session, next);
      this.pump(session);
      return;
    }
    const wanted = next.retainHandling === 0 || (next.retainHandling === 1 && index < 0);
    for (const message of wanted ? this.retained.values() : []) {
      if (!topicMatches(next.topicFilter, message.topicName) || this.expired(message)) continue;
      if (next.noLocal && message.publisherId === session.clientId) continue;
      this.enqueue(session, message, Math.min(message.qos, next.qos), true, ids(next), undefined, true);
    }
    this.pump(session);
  }

  unsubscribe(session: ModelSession, topicFilter: string, shareName: string | undefined): boolean {
    const index = session.subscriptions.findIndex(
      (each) => each.topicFilter === topicFilter && each.shareName === shareName,
    );
    if (index < 0) return false;
    session.subscriptions.splice(index, 1);
    if (shareName !== undefined) {
      const group = this.group(topicFilter, shareName)!;
      this.leave(group, session);
      const waiting = session.outgoing.filter((item) => item.group === group && item.state === 'queued');
      session.outgoing = session.outgoing.filter((item) => !waiting.includes(item));
      this.takeBack(
        group,
        waiting.map((item) => item.message),
      );
    }
    this.pump(session);
    return true;
  }

  publish(message: ModelMessage): void {
    if (message.retain) {
      if (message.payload === '') this.retained.delete(message.topicName);
      else this.retained.set(message.topicName, message);
    }
    for (const session of [...this.sessions.values()]) {
      const matching = session.subscriptions.filter(
        (each) =>
          each.shareName === undefined &&
          topicMatches(each.topicFilter, message.topicName) &&
          !(each.noLocal && message.publisherId === session.clientId),
      );
      if (matching.length === 0) continue;
      const qos = Math.min(message.qos, Math.max(...matching.map((each) => each.qos)));
      const retain = message.retain && matching.some((each) => each.retainAsPublished);
      this.enqueue(session, message, qos, retain, matching.flatMap(ids), undefined, false);
      this.send(session);
    }
    // Copies of one message reach one client in an order nobody promises; the model takes that of the broker's tree.
    const matching = this.groups.filter((group) => topicMatches(group.topicFilter, message.topicName));
    for (const group of matching.sort((a, b) => walkOrder(a.topicFilter, b.topicFilter)))
      this.deliverShared(group, message);
  }

  /** The client answers a delivery: PUBACK, PUBREC, or PUBCOMP to the PUBREL that follows. */
  acknowledge(session: ModelSession, item: ModelOutgoing, stage: 'puback' | 'pubrec' | 'pubcomp'): void {
    if (stage === 'pubrec') {
      item.state = 'released';
      session.expected.push({ key: 'pubrel', qos: 2, stored: false, item });
      return;
    }
    session.outgoing = session.outgoing.filter((each) => each !== item);
    this.pump(session);
  }

  private enqueue(
    session: ModelSession,
    message: ModelMessage,
    qos: number,
    retain: boolean,
    subscriptionIds: readonly number[],
    group: ModelGroup | undefined,
    stored: boolean,
  ): void {
    const item: ModelOutgoing = {
      message,
      qos,
      retain,
      ids: subscriptionIds,
      group,
      stored,
      state: 'queued',
      sent: false,
    };
    if (qos === 0) {
      if (session.connected) session.expected.push({ key: this.keyOf(item, false), qos: 0, stored, item });
      return;
    }
    const free =
      session.connected && this.inFlight(session) < session.window && session.outgoing.every((each) => each.sent);
    if (!free && !stored && session.outgoing.filter((each) => each.state === 'queued').length >= this.queueMax) {
      const oldest = session.outgoing.findIndex((each) => each.state === 'queued');
      session.outgoing.splice(oldest, 1);
    }
    session.outgoing.push(item);
  }

  /** As `send`, then groups that wait for members with room. */
  private pump(session: ModelSession): void {
    this.send(session);
    for (const group of this.groupsOf(session)) if (this.accepts(session)) this.drain(group);
  }

  private send(session: ModelSession): void {
    if (!session.connected) return;
    for (const item of [...session.outgoing]) {
      if (item.sent) continue;
      if (this.inFlight(session) >= session.window) break;
      const again = item.state !== 'queued';
      if (!again && this.expired(item.message)) {
        session.outgoing = session.outgoing.filter((each) => each !== item);
        continue;
      }
      item.sent = true;
      if (item.state === 'released') {
        session.expected.push({ key: `pubrel`, qos: 2, stored: false, item });
        continue;
      }
      item.state = 'awaitingAck';
      session.expected.push({ key: this.keyOf(item, again), qos: item.qos, stored: item.stored, item });
    }
  }

  private inFlight(session: ModelSession): number {
    return session.outgoing.filter((each) => each.sent).length;
  }

  private keyOf({ message, qos, retain, ids: subscriptionIds }: ModelOutgoing, dup: boolean): string {
    return formatKey(message.topicName, message.payload, qos, retain, dup, subscriptionIds);
  }

  private expired(message: ModelMessage): boolean {
    return message.expiresAtMs !== 0 && this.nowMs >= message.expiresAtMs;
  }

  private publishWill(session: ModelSession): void {
    const { message } = session.will!;
    session.will = undefined;
    session.willAtMs = 0;
    this.publish({ ...message, expiresAtMs: 0 });
  }

  private end(session: ModelSession): void {
    if (this.sessions.get(session.clientId) !== session) return;
    this.sessions.delete(session.clientId);
    session.connected = false;
    this.handOn(session, true);
    for (const group of this.groupsOf(session)) this.leave(group, session);
    session.subscriptions = [];
    if (session.will) this.publishWill(session);
  }

  // ---- shared subscriptions ----

  private group(topicFilter: string, shareName: string): ModelGroup | undefined {
    return this.groups.find((each) => each.topicFilter === topicFilter && each.shareName === shareName);
  }

  private groupsOf(session: ModelSession): ModelGroup[] {
    return session.subscriptions
      .filter((each) => each.shareName !== undefined)
      .map((each) => this.group(each.topicFilter, each.shareName!)!);
  }

  private join(session: ModelSession, subscription: ModelSubscription): void {
    let group = this.group(subscription.topicFilter, subscription.shareName!);
    if (!group) {
      group = {
        shareName: subscription.shareName!,
        topicFilter: subscription.topicFilter,
        members: [],
        next: 0,
        waiting: [],
        draining: false,
      };
      this.groups.push(group);
    }
    const member = group.members.find((each) => each.session === session);
    if (member) {
      member.subscription = subscription;
      return;
    }
    group.members.push({ session, subscription });
  }

  private leave(group: ModelGroup, session: ModelSession): void {
    const index = group.members.findIndex((each) => each.session === session);
    group.members.splice(index, 1);
    if (group.next > index) group.next--;
    if (group.members.length === 0) this.groups = this.groups.filter((each) => each !== group);
  }

  private deliverShared(group: ModelGroup, message: ModelMessage): void {
    if (message.qos === 0) this.handToMember(group, message, (session) => session.connected);
    else if (group.waiting.length > 0 || !this.handToMember(group, message, (session) => this.accepts(session))) {
      group.waiting.push(message);
      this.drain(group);
    }
  }

  /** The next fit member in turn gets it; returns false when there is none. */
  private handToMember(group: ModelGroup, message: ModelMessage, fit: (session: ModelSession) => boolean): boolean {
    const count = group.members.length;
    const steps = group.members.map((_, step) => (group.next + step) % count);
    const index = steps.find((candidate) => fit(group.members[candidate]!.session));
    if (index === undefined) return false;
    group.next = index + 1;
    const { session, subscription } = group.members[index]!;
    const qos = Math.min(message.qos, subscription.qos);
    const retain = message.retain && subscription.retainAsPublished;
    this.enqueue(session, message, qos, retain, ids(subscription), group, false);
    this.send(session);
    return true;
  }

  private accepts(session: ModelSession): boolean {
    return session.connected && session.outgoing.filter((each) => each.state === 'queued').length < this.queueMax;
  }

  private drain(group: ModelGroup): void {
    if (group.draining) return;
    group.draining = true;
    while (group.waiting.length > 0) {
      const message = group.waiting[0]!;
      if (!this.expired(message) && !this.handToMember(group, message, (session) => this.accepts(session))) break;
      group.waiting.shift();
    }
    group.draining = false;
  }

  private takeBack(group: ModelGroup, messages: ModelMessage[]): void {
    if (messages.length === 0 || group.members.length === 0) return;
    group.waiting = [...messages, ...group.waiting];
    this.drain(group);
  }

  /** What waits goes back to its group, and QoS 1 in flight too if someone else can take it; QoS 2 in flight stays. */
  private handOn(session: ModelSession, ending: boolean): void {
    const back = new Map<ModelGroup, ModelMessage[]>();
    session.outgoing = session.outgoing.filter((item) => {
      if (!item.group || (item.qos === 2 && item.state !== 'queued')) return true;
      if (item.state !== 'queued' && !ending && !item.group.members.some((each) => each.session.connected)) return true;
      if (!this.groups.includes(item.group) || !item.group.members.some((each) => each.session === session))
        return true;
      back.set(item.group, [...(back.get(item.group) ?? []), item.message]);
      return false;
    });
    for (const [group, messages] of back) this.takeBack(group, messages);
  }
}

/** Level by level `#` before a name before `+`. */
function walkOrder(a: string, b: string): number {
  const rank = (level: string | undefined) => (level === '#' ? 0 : level === '+' ? 2 : 1);
  const [left, right] = [a.split('/'), b.split('/')];
  for (let depth = 0; depth < Math.max(left.length, right.length); depth++) {
    const difference = rank(left[depth]) - rank(right[depth]);
    if (difference !== 0) return difference;
  }
  return 0;
}

function ids(subscription: ModelSubscription): number[] {
  return subscription.subscriptionId === undefined ? [] : [subscription.subscriptionId];
}

/** What identifies a delivery but for its packet identifier. */
export function formatKey(
  topicName: string,
  payload: string,
  qos: number,
  retain: boolean,
  dup: boolean,
  subscriptionIds: readonly number[],
): string {
  const flags = `${retain ? ' retain' : ''}${dup ? ' dup' : ''}`;
  return `${topicName} ${payload} q${qos}${flags} [${[...subscriptionIds].sort((a, b) => a - b).join(',')}]`;
}
