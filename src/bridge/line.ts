/**
 * One connection of a bridge and the session it serves, through all its attempts.
 *
 *   Stopped ──start──▶ Connecting ──CONNACK──▶ Connected ──lost──▶ Waiting ──back-off──▶ Connecting
 *                          └──────refused──────────────────────────▲
 *   Idle    a lazy bridge with little to send, or one that was to connect once and has
 *
 * The session is there from the start, and queues while there is no connection. While the second or a later remote is in use and the
 * strategy is failover, the primary is tried on a second connection; once it has answered CONNACK, what is under way ends on the first,
 * and the session moves over. A connection that does not last counts as an attempt that failed: other remotes get their turn, and a primary
 * that answers CONNACK and ends the connection is tried ever more seldom.
 */
import type { Logger } from '../base/index.js';
import { AliasesToClient, type ConnectionContext, type ListenerOptions } from '../connection/index.js';
import { type ConnectPacket, ReasonCode, type Will } from '../protocol/index.js';
import { type HeldPublisher, type Link, SESSION_NEVER_EXPIRES, type Session } from '../session/index.js';
import { BackOff } from './back-off.js';
import { bridgeTls } from './bridge-tls.js';
import type { Figures } from './figures.js';
import { addressOf, type BridgeOptions, protocolVersions, type TopicRule } from './options.js';
import type { OutgoingLane } from './outgoing.js';
import { type OpenedRemote, openRemote, RemoteFailure } from './remote.js';
import { Uplink } from './uplink.js';

export const LineState = {
  Stopped: 'stopped',
  Idle: 'idle',
  Connecting: 'connecting',
  Connected: 'connected',
  Waiting: 'waiting',
} as const;
export type LineState = (typeof LineState)[keyof typeof LineState];

/** What is under way on one remote may take so long to end before the connection is given up for another or for none. */
const MOVE_PATIENCE_MS = 5000;
/** A connection that lasts so long has succeeded: it ends the growth of the back-off, and its remote is the first to be tried again. */
const STEADY_MS = 10_000;
/** So many times `failbackSeconds` at most between two attempts to go back to a primary whose connections do not last. */
const FAILBACK_GROWTH_MAX = 16;

/** Serves a session while nobody does: it is there to be opened and closed again. */
const nobody: Link & HeldPublisher = {
  hasRoom: false,
  isFull: false,
  bytesTaken: 0,
  publish: () => false,
  publishRun() {},
  pubrel() {},
  gate() {},
  again() {},
  takenOver() {},
  hold() {},
  release() {},
};

export interface LineTerms {
  readonly options: BridgeOptions;
  readonly context: ConnectionContext;
  readonly figures: Figures;
  readonly log: Logger;
  /** Client identifier at the remote. */
  readonly clientId: string;
  /** Client identifier of the session here. */
  readonly localClientId: string;
  readonly incoming: readonly TopicRule[];
  /** Filters at the remote of rows that are no more. */
  readonly given: readonly string[];
  readonly will: ConnectPacket['will'];
  /** The remote that the session was last served with, by an earlier run of the broker. */
  readonly lastRemote: string | undefined;
  /** Called with every change of state. */
  readonly changed: (line: Line) => void;
  /** Called with each connection that serves: `known` is false where the remote knew nothing of the session. */
  readonly connected: (line: Line, uplink: Uplink, known: boolean) => void;
}

export class Line implements OutgoingLane {
  state: LineState = LineState.Stopped;
  /** Milliseconds since the Unix epoch. */
  sinceMs: number;
  /** Why there is no connection, or what went wrong with the last one; empty when nothing has. */
  lastError = '';
  remoteIndex = 0;
  session: Session | undefined;
  uplink: Uplink | undefined;
  private readonly backOff: BackOff;
  private timer: NodeJS.Timeout | undefined;
  private failbackTimer: NodeJS.Timeout | undefined;
  private idleTimer: NodeJS.Timeout | undefined;
  private steadyTimer: NodeJS.Timeout | undefined;
  private attempt: AbortController | undefined;
  private failback: AbortController | undefined;
  private triedSinceWait = 0;
  private steady = false;
  /** Doubles with each connection of the primary that does not last. */
  private failbackGrowth = 1;
  private plain = new Set<string>();
  private lastRemote: string | undefined;
  /** It has been connected since it was started. */
  private hasServed = false;
  /** By address, what its remote takes of the will where that is not all. */
  private readonly wills = new Map<string, Will>();
  private movingTo: OpenedRemote | undefined;
  private readonly listener: ListenerOptions;
  private activity = 0;
  private stopping = false;

  constructor(private readonly terms: LineTerms) {
    const { options, context } = terms;
    this.lastRemote = terms.lastRemote;
    this.sinceMs = context.nowMs();
    this.backOff = new BackOff(options.reconnect.minimumSeconds * 1000, options.reconnect.maximumSeconds * 1000);
    this.listener = {
      name: `bridge ${options.name}`,
      allowAnonymous: false,
      connectionsMax: 1,
      mountPoint: '',
      protocolVersions: [protocolVersions[options.protocolVersion]],
    };
  }

  get remote(): string {
    return addressOf(this.terms.options.remotes[this.remoteIndex]!);
  }

  /** As it is by now: what was called may have stopped it. */
  private get hasStopped(): boolean {
    return this.stopping;
  }

  // ---- OutgoingLane ----

  queued(): void {
    this.activity++;
    if (this.state !== LineState.Idle || this.terms.options.start !== 'lazy') return;
    if ((this.session?.queuedMessages ?? 0) >= this.terms.options.lazy.threshold) this.connect();
  }

  dropped(count: number): void {
    this.activity++;
    this.terms.figures.dropped += count;
    this.terms.context.metrics.publishDropped += count;
    // Nobody queues for a lazy bridge whose session ends with its connection.
    if (this.state === LineState.Idle && this.terms.options.start === 'lazy') this.connect();
  }

  // ---- start and stop ----

  start(): void {
    if (this.stopping) return; // by somebody who heard of another line
    const { options } = this.terms;
    this.holdSession();
    if (options.start === 'lazy') {
      this.become(LineState.Idle);
      if ((this.session?.queuedMessages ?? 0) >= options.lazy.threshold) this.connect();
    } else this.connect();
  }

  /** What is to be sent can wait from now on, unless the session ends with each connection. */
  holdSession(): void {
    if (this.session !== undefined) return;
    const { options, context, localClientId } = this.terms;
    if (!options.localCleanSession) {
      const { session } = this.openSession(nobody, 1);
      this.session = session;
      context.sessions.close(session, nobody, true);
    } else {
      const former = context.sessions.get(localClientId);
      if (former !== undefined) context.sessions.end(former);
    }
  }

  /** Ends the connection in order; the session stays as it is. `farewell` is published as the state first. */
  stop(farewell: (uplink: Uplink) => void, reason: string, forGood: boolean): void {
    this.stopping = true;
    this.clearTimers();
    this.attempt?.abort(new Error(reason));
    this.failback?.abort(new Error(reason));
    this.movingTo?.stream.destroy();
    const { uplink } = this;
    if (uplink !== undefined) {
      farewell(uplink);
      uplink.sayGoodbye(reason, forGood);
    }
    this.become(LineState.Stopped);
  }

  private clearTimers(): void {
    clearTimeout(this.timer);
    clearTimeout(this.failbackTimer);
    clearTimeout(this.steadyTimer);
    clearInterval(this.idleTimer);
  }

  private become(state: LineState): void {
    if (this.state === state) return;
    this.state = state;
    this.sinceMs = this.terms.context.nowMs();
    this.terms.changed(this);
  }

  private openSession(link: Link & HeldPublisher, receiveMaximum: number) {
    const { options, context, figures, localClientId } = this.terms;
    const former = context.sessions.get(localClientId);
    // A remote that was away for long is no slow consumer.
    const own = {
      limits: context.limits,
      metrics: figures.beside(context.metrics),
      slowConsumerSeconds: () => 0,
    };
    former?.use(own);
    const opened = context.sessions.open(
      localClientId,
      options.localCleanSession,
      options.localCleanSession ? 0 : SESSION_NEVER_EXPIRES,
      undefined,
      link,
      receiveMaximum,
    );
    if (opened.session !== former) opened.session.use(own);
    return opened;
  }

  // ---- connecting ----

  private connect(): void {
    if (this.stopping) return;
    this.become(LineState.Connecting);
    if (this.hasStopped) return; // by somebody who heard of it
    const attempt = new AbortController();
    this.attempt = attempt;
    const { context } = this.terms;
    if (context.storage?.failed !== undefined) {
      this.failed(new RemoteFailure('storage cannot be written, so nothing can be acknowledged', false));
      return;
    }
    this.open(this.remoteIndex, attempt.signal).then(
      (opened) => {
        if (attempt.signal.aborted) return opened.stream.destroy();
        this.take(opened, this.remoteIndex);
      },
      (error: unknown) => {
        if (!attempt.signal.aborted) this.failed(error as Error);
      },
    );
  }

  /** What the remote does not take of the will is left out, and asked for no more. */
  private async open(remoteIndex: number, signal: AbortSignal): Promise<OpenedRemote> {
    const address = addressOf(this.terms.options.remotes[remoteIndex]!);
    for (;;) {
      const will = this.wills.get(address) ?? this.terms.will;
      try {
        return await this.openWith(will, remoteIndex, signal);
      } catch (error) {
        const less = error instanceof RemoteFailure ? lesserWill(will, error.reasonCode) : undefined;
        if (less === undefined || signal.aborted) throw error;
        this.wills.set(address, less);
      }
    }
  }

  private async openWith(will: ConnectPacket['will'], remoteIndex: number, signal: AbortSignal): Promise<OpenedRemote> {
    const { options, context, clientId } = this.terms;
    const remote = options.remotes[remoteIndex]!;
    const asBridge = options.tryPrivate && options.protocolVersion !== '5.0';
    const terms = {
      remote,
      options,
      clientId,
      tls: bridgeTls(options.tls, `bridge ${options.name}: tls`),
      timeoutMs: context.limits.connectTimeoutSeconds * 1000,
      will,
    };
    const address = addressOf(remote);
    if (!asBridge || this.plain.has(address)) return openRemote({ ...terms, asBridge: false }, signal);
    try {
      return await openRemote({ ...terms, asBridge: true }, signal);
    } catch (error) {
      if (!(error instanceof RemoteFailure) || !error.retryPlain) throw error;
      const opened = await openRemote({ ...terms, asBridge: false }, signal);
      this.plain.add(address);
      this.terms.log.information('bridge.not-private', 'The remote does not take the mark of a bridge.', {
        bridge: options.name,
        remote: address,
      });
      return opened;
    }
  }

  /** Serves with a connection; what goes wrong with that ends it and nothing else. */
  private take(opened: OpenedRemote, remoteIndex: number): void {
    try {
      this.serve(opened, remoteIndex);
    } catch (error) {
      const { uplink } = this;
      this.uplink = undefined;
      opened.stream.destroy();
      if (uplink !== undefined) this.terms.context.sessions.close(this.session!, uplink, true);
      if (this.terms.options.localCleanSession) this.session = undefined;
      this.clearTimers();
      this.failed(error as Error);
    }
  }

  private serve(opened: OpenedRemote, remoteIndex: number): void {
    const { options, context, clientId, incoming, given, figures } = this.terms;
    const { stream, connack } = opened;
    const version = protocolVersions[options.protocolVersion];
    this.remoteIndex = remoteIndex;
    this.steady = false;
    const uplink = new Uplink(
      context,
      this.listener,
      stream,
      { options, version, connack, clientId, incoming, given, figures },
      (ended) => this.onEnded(ended),
    );
    const receiveMaximum = Math.min(options.inflightMessagesMax, connack.properties?.receiveMaximum ?? 65535);
    const aliases = Math.min(options.topicAliasMaximum, connack.properties?.topicAliasMaximum ?? 0);
    if (version === 5 && aliases > 0) uplink.aliases = new AliasesToClient(aliases);
    const { session } = this.openSession(uplink, receiveMaximum);
    // Another remote has another half of the session; 3.1 does not say whether it has one, and is taken at its word.
    const sameRemote = this.lastRemote === undefined || this.lastRemote === this.remote;
    const present = version === 3 ? this.lastRemote !== undefined : connack.sessionPresent;
    const known = present && sameRemote && !options.cleanSession;
    this.lastRemote = this.remote;
    this.hasServed = true;
    this.session = session;
    this.uplink = uplink;
    this.lastError = '';
    this.state = LineState.Connected;
    this.sinceMs = context.nowMs();
    this.terms.log.information('bridge.connected', 'The bridge is connected.', {
      bridge: options.name,
      remote: this.remote,
      sessionPresent: connack.sessionPresent,
    });
    this.terms.connected(this, uplink, known);
    uplink.serve(session, known);
    if (uplink.done) return;
    clearTimeout(this.steadyTimer);
    this.steadyTimer = setTimeout(() => this.settle(), STEADY_MS).unref();
    if (options.strategy === 'failover' && remoteIndex > 0) this.planFailback();
    if (options.start === 'lazy') this.watchIdle(uplink);
    // Whoever hears of it may end the bridge.
    this.terms.changed(this);
  }

  private settle(): void {
    this.steady = true;
    this.triedSinceWait = 0;
    this.backOff.reset();
    if (this.remoteIndex === 0) this.failbackGrowth = 1;
  }

  private failed(error: Error): void {
    const { options, log } = this.terms;
    this.attempt = undefined;
    this.lastError = error.message;
    log.warning('bridge.not-connected', `The bridge cannot connect: ${error.message}`, {
      bridge: options.name,
      remote: this.remote,
    });
    this.goOn();
  }

  /** After a failure or a connection that did not last: the next remote at once, until all have been tried; then a wait. */
  private goOn(): void {
    const { options } = this.terms;
    if (this.stopping) return;
    if (options.start === 'once' && this.hasServed) return this.become(LineState.Idle);
    this.triedSinceWait++;
    const { remotes } = options;
    const next = (this.remoteIndex + 1) % remotes.length;
    if (this.triedSinceWait < remotes.length) {
      this.remoteIndex = next;
      this.become(LineState.Waiting);
      this.timer = setTimeout(() => this.connect(), 0).unref();
      return;
    }
    this.triedSinceWait = 0;
    this.remoteIndex = options.strategy === 'failover' ? 0 : next;
    this.become(LineState.Waiting);
    this.timer = setTimeout(() => this.connect(), this.backOff.next()).unref();
  }

  private onEnded(uplink: Uplink): void {
    if (this.uplink !== uplink) return;
    const { options, log } = this.terms;
    this.uplink = undefined;
    clearTimeout(this.failbackTimer);
    clearTimeout(this.steadyTimer);
    clearInterval(this.idleTimer);
    this.failback?.abort(new Error('the connection it was to take the place of has ended'));
    if (options.localCleanSession) this.session = undefined;
    if (this.stopping) return;
    const moving = this.movingTo;
    if (moving !== undefined) {
      this.movingTo = undefined;
      this.triedSinceWait = 0; // where it came from serves: it may go back there at once
      return this.take(moving, 0);
    }
    if (uplink.draining && options.start === 'lazy' && uplink.reason === IDLE) {
      this.become(LineState.Idle);
      return this.queued();
    }
    this.lastError = uplink.reason;
    log.warning('bridge.disconnected', `The bridge lost its connection: ${uplink.reason}`, {
      bridge: options.name,
      remote: this.remote,
    });
    if (this.steady) return this.retrySame();
    if (this.remoteIndex === 0) this.failbackGrowth = Math.min(this.failbackGrowth * 2, FAILBACK_GROWTH_MAX);
    this.goOn();
  }

  /** What was lost is tried again first; other remotes follow when that fails. */
  private retrySame(): void {
    const { options } = this.terms;
    if (options.start === 'once') return this.become(LineState.Idle);
    this.become(LineState.Waiting);
    if (options.strategy === 'roundRobin') {
      this.remoteIndex = (this.remoteIndex + 1) % options.remotes.length;
    }
    this.triedSinceWait = 0;
    this.timer = setTimeout(() => this.connect(), this.backOff.next()).unref();
  }

  // ---- back to the primary ----

  private planFailback(): void {
    const waitMs = this.terms.options.failbackSeconds * 1000 * this.failbackGrowth;
    clearTimeout(this.failbackTimer);
    this.failbackTimer = setTimeout(() => this.tryPrimary(), waitMs).unref();
  }

  private tryPrimary(): void {
    const { uplink } = this;
    if (uplink === undefined || this.stopping) return;
    const failback = new AbortController();
    this.failback = failback;
    this.open(0, failback.signal).then(
      (opened) => {
        if (failback.signal.aborted || this.uplink !== uplink) return opened.stream.destroy();
        this.move(uplink, opened);
      },
      () => {
        if (!failback.signal.aborted && this.uplink === uplink) this.planFailback();
      },
    );
  }

  /** The primary has answered: what is under way on the other ends there, then the session moves. */
  private move(uplink: Uplink, opened: OpenedRemote): void {
    const { log, options } = this.terms;
    log.information('bridge.failback', 'The primary remote is back; the bridge moves to it.', { bridge: options.name });
    this.movingTo = opened;
    this.leave(uplink, 'the primary remote is back');
  }

  /** Ends a connection once nothing is under way on it, or that takes too long. */
  private leave(uplink: Uplink, reason: string): void {
    const goodbye = (): void => {
      clearTimeout(patience);
      uplink.sayGoodbye(reason, false);
    };
    const patience = setTimeout(goodbye, MOVE_PATIENCE_MS).unref();
    uplink.drain(goodbye);
  }

  // ---- lazy ----

  private watchIdle(uplink: Uplink): void {
    const { options, figures } = this.terms;
    let before = -1;
    clearInterval(this.idleTimer);
    this.idleTimer = setInterval(() => {
      const now = this.activity + figures.messagesReceived + figures.messagesSent;
      const { session } = this;
      const busy = now !== before || (session !== undefined && session.queuedMessages + session.inflightMessages > 0);
      before = now;
      if (busy || uplink.done || uplink.draining) return;
      this.leave(uplink, IDLE);
    }, options.lazy.idleSeconds * 1000).unref();
  }
}

const IDLE = 'nothing was to be sent';

/** The will without what the remote refused; undefined where that does not help. */
function lesserWill(will: Will | undefined, reasonCode: number): Will | undefined {
  if (will?.retain && reasonCode === ReasonCode.RetainNotSupported) return { ...will, retain: false };
  if (will !== undefined && will.qos > 0 && reasonCode === ReasonCode.QoSNotSupported) return { ...will, qos: 0 };
  return undefined;
}
