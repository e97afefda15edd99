// The part of a run that one worker thread does: its share of the publishers and subscribers, brought up in two steps, then
// closed-loop or open-loop publishing until the coordinator says drain.
//
// Closed loop: a publisher may send while its unacknowledged messages (QoS 1 and 2) and the distance between what it sent
// and what its subscribers saw stay inside their windows. Those that may are listed and served once per turn of the event
// loop, after everything readable has been read, so that a turn's worth goes out in one write.

import { Board, type BoardMemory, COUNTER, PHASE } from './board.js';
import { nowNs } from './clock.js';
import { Dialler } from './dialler.js';
import { Flows } from './flows.js';
import { Histogram } from './histogram.js';
import { fanOf, filtersOf, flowOf, workerOf } from './layout.js';
import { Link, type LinkPlan } from './link.js';
import { Pacer } from './pacer.js';
import type { LoadPlan } from './plan.js';
import { Publisher } from './publisher.js';
import { Receiver } from './receiver.js';
import { TopicTable } from './topic-table.js';
import { encodeConnect, encodeSubscribe, PINGREQ } from './wire.js';

export interface TrafficOptions {
  plan: LoadPlan;
  run: number;
  worker: number;
  memory: BoardMemory;
}

const LOOK_MS = 100;
const LOOKS_UNTIL_STALLED = { 0: 3, 1: 50, 2: 50 } as const;
const FILTERS_PER_SUBSCRIBE = 50;
const KEPT_SESSION_SECONDS = 3600;
/** A loopback address has 28,000 ports by default, and a closed connection holds its port for a minute. */
const LINKS_PER_ADDRESS = 8000;

export class Traffic {
  readonly latency = new Histogram();
  readonly lateness = new Histogram();
  readonly handshakes = new Histogram();
  private readonly board: Board;
  private readonly row: Float64Array;
  private readonly plan: LoadPlan;
  private readonly fan: number;
  /** Room that a closed-loop publisher waits for. */
  private readonly worthwhile: number;
  private readonly flows: Flows | undefined;
  private readonly receiver: Receiver;
  private readonly publishers: Publisher[] = [];
  /** By number among all publishers; undefined for those of other workers. */
  private readonly own: (Publisher | undefined)[] = [];
  private readonly links: Link[] = [];
  private waiting: Publisher[] = [];
  private serveScheduled = false;
  private looks: NodeJS.Timeout | undefined;
  private pings: NodeJS.Timeout | undefined;
  private pacer: Pacer | undefined;
  private dialler: Dialler | undefined;
  private seenElsewhere: boolean;

  constructor(private readonly options: TrafficOptions) {
    const { plan, worker } = options;
    this.plan = plan;
    this.board = new Board(options.memory);
    this.row = this.board.row(worker);
    this.fan = fanOf(plan);
    this.worthwhile = plan.qos > 0 ? 1 : Math.ceil(plan.lag / 2);
    this.seenElsewhere = plan.workers > 1 && plan.layout !== 'pair';
    const flow = flowOf(plan);
    const perSubscriber = plan.layout === 'pair' ? 1 : plan.publishers;
    this.flows = flow === 'unknown' ? undefined : new Flows(plan.subscribers * perSubscriber);
    this.receiver = new Receiver({
      plan,
      run: options.run,
      board: this.board,
      worker,
      latency: this.latency,
      flows: this.flows,
      gapsAreLosses: flow === 'every',
      onSeen: (index) => {
        const publisher = this.own[index];
        if (publisher !== undefined) this.wakeWhenWorthwhile(publisher);
      },
      onAcknowledged: (link) => {
        const publisher = link.publisher;
        if (publisher === undefined) return;
        if (publisher.unacknowledged > 0) publisher.unacknowledged--;
        this.wake(publisher);
      },
    });
  }

  /** Connects this worker's subscribers or publishers; calls back with what failed first, or undefined. */
  bringUp(role: 'subscriber' | 'publisher', done: (failure: string | undefined) => void): void {
    const { plan, options } = this;
    const total = role === 'publisher' ? plan.publishers : plan.subscribers;
    const indexes: number[] = [];
    for (let index = 0; index < total; index++) if (workerOf(plan, role, index) === options.worker) indexes.push(index);
    const topics = role === 'publisher' && indexes.length > 0 ? TopicTable.of(plan) : undefined;
    this.dialler = new Dialler(
      plan,
      indexes,
      (index) => {
        const link = new Link(index, this.linkPlan(role, index), this);
        this.links.push(link);
        if (role === 'publisher') this.addPublisher(index, link, topics);
        else if (this.flows !== undefined) link.flowsAt = plan.layout === 'pair' ? index : index * plan.publishers;
      },
      done,
    );
    this.dialler.start();
    if (plan.keepAlive > 0) this.pings ??= setInterval(() => this.ping(), plan.keepAlive * 500);
  }

  /** Starts publishing (and, closed loop, the watch for publishers whose messages do not come back). */
  start(): void {
    const { plan } = this;
    if (plan.rate > 0 && this.publishers.length > 0) {
      const rate = (plan.rate * this.publishers.length) / plan.publishers;
      this.pacer = new Pacer(rate, plan.pace, (due, dueNs) => this.sendDue(due, dueNs));
      this.pacer.start();
      return;
    }
    for (const publisher of this.publishers) this.wake(publisher);
    this.looks = setInterval(() => this.lookForStalls(), LOOK_MS);
    if (this.seenElsewhere) this.pollSeen();
  }

  /** Stops publishing; what is under way may still arrive. */
  drain(): void {
    this.pacer?.stop();
    this.pacer = undefined;
    clearInterval(this.looks);
    this.looks = undefined;
  }

  close(): void {
    this.drain();
    clearInterval(this.pings);
    this.dialler?.stop();
    for (const link of this.links) link.leave();
  }

  /** Twice per keep alive, whether something else was sent or not [MQTT3-3.1.2-23]. */
  private ping(): void {
    for (const link of this.links) if (link.state === 'ready') link.write(PINGREQ);
  }

  // What a Link calls.

  received(link: Link, bytes: number): void {
    this.receiver.receive(link, bytes);
    this.publishCounters();
  }

  ready(link: Link): void {
    this.row[COUNTER.ready]!++;
    this.handshakes.record(nowNs() - link.startedNs);
    this.dialler?.settled(undefined);
  }

  closed(link: Link, reason: string | undefined): void {
    if (reason === undefined) return;
    this.row[COUNTER.closed]!++;
    if (link.wasReady) this.row[COUNTER.ready]!--;
    else this.dialler?.settled(reason);
    this.lastFailure = reason;
  }

  /** Why the broker closed the connection it closed last. */
  lastFailure: string | undefined;

  private publishCounters(): void {
    if (this.flows === undefined) return;
    this.row[COUNTER.duplicates] = this.flows.duplicates;
    this.row[COUNTER.outOfOrder] = this.flows.outOfOrder;
  }

  private linkPlan(role: 'subscriber' | 'publisher', index: number): LinkPlan {
    const { plan, options } = this;
    const clientId = `${plan.clientIdPrefix}-${options.run.toString(36)}-${role === 'publisher' ? 'p' : 's'}${index}`;
    const { level, username, password, keepAlive } = plan;
    const filters = role === 'subscriber' ? filtersOf(plan, index) : [];
    const subscribes: Buffer[] = [];
    for (let at = 0; at < filters.length; at += FILTERS_PER_SUBSCRIBE)
      subscribes.push(
        encodeSubscribe(level, subscribes.length + 1, filters.slice(at, at + FILTERS_PER_SUBSCRIBE), plan.qos),
      );
    return {
      host: plan.host,
      tls: plan.tls,
      port: plan.port,
      localAddress: this.localAddress(role === 'publisher' ? plan.subscribers + index : index),
      chunk: this.receiver.chunk,
      connect: encodeConnect({
        level,
        clientId,
        cleanStart: role === 'publisher' || plan.session === 'clean',
        sessionExpiryInterval: role === 'publisher' || plan.session === 'clean' ? 0 : KEPT_SESSION_SECONDS,
        keepAlive,
        username,
        password,
      }),
      subscribes,
    };
  }

  private localAddress(number: number): string | undefined {
    const { plan, options } = this;
    if (plan.publishers + plan.subscribers <= LINKS_PER_ADDRESS || !plan.host.startsWith('127.')) return undefined;
    return `127.${1 + (options.run % 250)}.1.${1 + Math.floor(number / LINKS_PER_ADDRESS)}`;
  }

  private addPublisher(index: number, link: Link, topics: TopicTable | undefined): void {
    const publisher = new Publisher(this.plan, index, this.options.run, topics);
    publisher.link = link;
    publisher.onUnblocked = (unblocked) => this.wake(unblocked);
    publisher.limit = shareOf(this.plan.messages, this.plan.publishers, index);
    link.publisher = publisher;
    this.publishers.push(publisher);
    this.own[index] = publisher;
  }

  /** Messages that a closed-loop publisher may send now. */
  private room(publisher: Publisher): number {
    const { plan, fan } = this;
    let room = publisher.limit - publisher.sequence;
    if (fan > 0) {
      const behind = Math.imul(publisher.sequence, fan) - this.board.seen[publisher.index]!;
      room = Math.min(room, plan.lag - Math.ceil((behind | 0) / fan));
    }
    if (plan.qos > 0) room = Math.min(room, plan.inflight - publisher.unacknowledged);
    return room;
  }

  /** Lists a closed-loop publisher for the end of the turn, once half its window is free again (or what is left to send):
   *  one large batch costs both sides less than two small ones. */
  private wakeWhenWorthwhile(publisher: Publisher): void {
    const left = publisher.limit - publisher.sequence;
    if (!publisher.queued && this.room(publisher) >= Math.min(this.worthwhile, left)) this.wake(publisher);
  }

  private wake(publisher: Publisher): void {
    if (publisher.queued || publisher.blocked || this.plan.rate > 0) return;
    const phase = this.board.phase[0]!;
    if (phase !== PHASE.traffic && phase !== PHASE.measured) return;
    publisher.queued = true;
    this.waiting.push(publisher);
    if (this.serveScheduled) return;
    this.serveScheduled = true;
    setImmediate(this.serve);
  }

  private readonly serve = (): void => {
    this.serveScheduled = false;
    const list = this.waiting;
    this.waiting = [];
    const now = nowNs();
    for (const publisher of list) {
      publisher.queued = false;
      const count = Math.min(this.room(publisher), publisher.batchMax);
      if (count <= 0 || !this.send(publisher, count, now)) continue;
      if (this.room(publisher) > 0) this.wake(publisher);
    }
  };

  private send(publisher: Publisher, count: number, now: number): boolean {
    const { row } = this;
    if (!publisher.send(count, now)) return false;
    if (this.plan.qos > 0) publisher.unacknowledged += count;
    row[COUNTER.sent]! += count;
    row[COUNTER.expected]! += count * this.fan;
    row[COUNTER.writes]!++;
    return true;
  }

  private nextInTurn = 0;

  /** Open loop: `due` messages, round the publishers; more than one each only when the pacer has fallen behind. */
  private sendDue(due: number, dueNs: number): void {
    const { publishers } = this;
    const each = Math.floor(due / publishers.length);
    let extra = due - each * publishers.length;
    const now = nowNs();
    for (let i = 0; i < publishers.length && (each > 0 || extra > 0); i++) {
      const publisher = publishers[this.nextInTurn]!;
      this.nextInTurn = (this.nextInTurn + 1) % publishers.length;
      const wanted = each + (extra > 0 ? 1 : 0);
      if (extra > 0) extra--;
      let count = Math.min(wanted, publisher.batchMax, publisher.limit - publisher.sequence);
      if (this.plan.qos > 0) count = Math.min(count, 65535 - publisher.unacknowledged);
      if (count <= 0 || !this.send(publisher, count, now)) count = 0;
      else if (this.board.phase[0] === PHASE.measured) this.lateness.record(now - dueNs, count);
      if (count < wanted && publisher.sequence < publisher.limit) this.row[COUNTER.skipped]! += wanted - count;
    }
  }

  /** A publisher that waits without any progress takes what is outstanding for lost and goes on: a broker that drops shows
   *  as loss, not as a generator that stands still. */
  private lookForStalls(): void {
    const { seen } = this.board;
    for (const publisher of this.publishers) {
      const saw = seen[publisher.index]!;
      const moved = saw !== publisher.watchedSeen || publisher.unacknowledged !== publisher.watchedUnacknowledged;
      publisher.watchedSeen = saw;
      publisher.watchedUnacknowledged = publisher.unacknowledged;
      if (moved || publisher.sequence >= publisher.limit || this.room(publisher) > 0 || publisher.blocked) {
        publisher.idleLooks = 0;
        if (!publisher.blocked) this.wake(publisher);
        continue;
      }
      if (++publisher.idleLooks < LOOKS_UNTIL_STALLED[this.plan.qos]) continue;
      publisher.idleLooks = 0;
      this.row[COUNTER.stalls]!++;
      publisher.unacknowledged = 0;
      Atomics.store(seen, publisher.index, Math.imul(publisher.sequence, this.fan));
      this.wake(publisher);
    }
  }

  /** Subscribers in other threads cannot wake a publisher here, so it looks every millisecond. */
  private pollSeen(): void {
    if (this.looks === undefined) return;
    for (const publisher of this.publishers) if (this.room(publisher) > 0) this.wake(publisher);
    setTimeout(() => this.pollSeen(), 1);
  }
}

/** A total shared out evenly, the remainder to the first; no total, no limit. */
function shareOf(total: number, parts: number, index: number): number {
  if (total === 0) return Number.MAX_SAFE_INTEGER;
  return Math.floor(total / parts) + (index < total % parts ? 1 : 0);
}
