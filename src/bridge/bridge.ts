/**
 * One bridge: its rows, its connections to the remote and their sessions, the state that it announces, and its figures.
 */
import type { Limits, Logger } from '../base/index.js';
import type { ConnectionContext } from '../connection/index.js';
import type { Will } from '../protocol/index.js';
import { Figures } from './figures.js';
import type { HandedOver } from './hand-over.js';
import { Line, LineState } from './line.js';
import { addressOf, type BridgeOptions } from './options.js';
import { Outgoing } from './outgoing.js';
import { isIncoming, remoteFilter } from './topic-rules.js';
import type { Uplink } from './uplink.js';

/** What is known of one connection of a bridge. */
export interface BridgeConnectionStatus {
  readonly clientId: string;
  readonly state: LineState;
  readonly remote: string;
  readonly queuedMessages: number;
  readonly inflightMessages: number;
  readonly lastError: string;
  /** The remote agreed to compression. */
  readonly compressed: boolean;
  /** Of this connection, as they went over the network below TLS, but compressed. */
  readonly wireBytesSent: number;
  readonly wireBytesReceived: number;
}

export interface BridgeStatus {
  readonly name: string;
  readonly enabled: boolean;
  /** Of several connections the one that is worst off. */
  readonly state: LineState | 'disabled';
  /** `host:port` in use, or tried next. */
  readonly remote: string;
  /** When it came into this state, milliseconds since the Unix epoch. */
  readonly sinceMs: number;
  /** Why there is no connection, or what the remote refused last; empty when nothing is wrong. */
  readonly lastError: string;
  /** Waiting for the remote. */
  readonly queuedMessages: number;
  readonly queuedBytes: number;
  /** Sent and not acknowledged. */
  readonly inflightMessages: number;
  readonly messagesSent: number;
  readonly messagesReceived: number;
  readonly payloadBytesSent: number;
  readonly payloadBytesReceived: number;
  /** Not sent: no room, too large, expired. */
  readonly messagesDropped: number;
  /** Received, and no row takes them. */
  readonly messagesUnwanted: number;
  /** Sent, and refused by the remote. */
  readonly messagesRefused: number;
  /** Not sent or not taken, since they had gone over as many bridges as they may. */
  readonly messagesTooFar: number;
  /** Over the last few seconds. */
  readonly sentPerSecond: number;
  readonly receivedPerSecond: number;
  readonly connections: readonly BridgeConnectionStatus[];
}

const worstFirst: readonly LineState[] = [
  LineState.Waiting,
  LineState.Connecting,
  LineState.Stopped,
  LineState.Idle,
  LineState.Connected,
];

/** Client identifiers of the connections of a bridge: at the remote, and of their sessions here. */
export function clientIdsOf({
  clientId,
  localClientId,
  connections,
}: BridgeOptions): { remote: string; local: string }[] {
  return Array.from({ length: connections }, (_, index) => {
    const suffix = index === 0 ? '' : `-${index + 1}`;
    return { remote: clientId + suffix, local: localClientId + suffix };
  });
}

export interface BridgeTerms {
  readonly context: ConnectionContext;
  readonly log: Logger;
  /** Filters at the remote that a former version of this bridge subscribed to. */
  readonly given: readonly string[];
  /** The remote that a session was last served with, by the client identifier of the session. */
  readonly lastRemoteOf: (localClientId: string) => string | undefined;
  readonly noteRemote: (localClientId: string, remote: string) => void;
  /** Called with every change of state of a connection. */
  readonly changed: () => void;
}

const stateTopicOf = ({ notifications, clientId }: BridgeOptions): string =>
  notifications.topic === '' ? `$SYS/broker/connection/${clientId}/state` : notifications.topic;

export class Bridge {
  readonly figures = new Figures();
  private readonly lines: Line[];
  private readonly outgoing: Outgoing;
  private readonly stateTopic: string;
  private announced = '';
  private readonly sinceMs: number;

  constructor(
    readonly options: BridgeOptions,
    private readonly terms: BridgeTerms,
  ) {
    const { topics } = options;
    this.sinceMs = terms.context.nowMs();
    this.stateTopic = stateTopicOf(options);
    const context = ownContext(terms.context, options);
    const ids = clientIdsOf(options);
    const incoming = topics.filter(isIncoming);
    this.lines = ids.map(({ remote, local }, index) => {
      const mine = incoming.filter((_, row) => row % ids.length === index);
      return new Line({
        options,
        context,
        figures: this.figures,
        log: terms.log,
        clientId: remote,
        localClientId: local,
        incoming: mine,
        given: [...terms.given, ...incoming.filter((row) => !mine.includes(row)).map(remoteFilter)],
        will: index === 0 ? this.will() : undefined,
        lastRemote: terms.lastRemoteOf(local),
        changed: () => {
          this.announceLocally();
          terms.changed();
        },
        connected: (line, uplink, known) => this.onConnected(line, uplink, known),
      });
    });
    this.outgoing = new Outgoing({
      router: terms.context.router,
      mayDeliverRetained: terms.context.retainedSources.mayDeliver,
      options,
      lanes: this.lines,
      own: new Set(ids.map(({ local }) => local)),
    });
  }

  /** What the remote is to forget when this bridge is replaced. */
  get remoteFilters(): string[] {
    return this.options.topics.filter(isIncoming).map(remoteFilter);
  }

  start(): void {
    if (!this.options.enabled) return;
    this.announceLocally();
    this.outgoing.start();
    for (const line of this.lines) line.start();
  }

  /** Takes what waited in sessions that it has no longer; before `start`. */
  takeOver(handedOver: readonly HandedOver[]): void {
    for (const { connection, waiting } of handedOver) {
      if (waiting.length === 0) continue;
      const line = this.lines[connection % this.lines.length]!;
      line.holdSession();
      this.outgoing.takeOver(line, waiting);
    }
  }

  /**
   * Ends its connections in order. Its sessions stay; those at a remote only where the bridge goes on as `next` with the same identifier
   * and that remote, since nobody would come for what they keep. Undefined: it does not go on.
   */
  stop(reason: string, next: BridgeOptions | undefined): void {
    if (!this.options.enabled) return;
    this.outgoing.stop();
    const ids = clientIdsOf(this.options);
    const idsThen = new Set(next === undefined ? [] : clientIdsOf(next).map(({ remote }) => remote));
    const remotesThen = new Set(next?.remotes.map(addressOf));
    for (const [index, line] of this.lines.entries()) {
      const forGood = !idsThen.has(ids[index]!.remote) || !remotesThen.has(line.remote);
      line.stop((uplink) => this.sayGone(line, uplink), reason, forGood);
    }
    this.announceLocally();
  }

  get uplinks(): Uplink[] {
    return this.lines.flatMap(({ uplink }) => uplink ?? []);
  }

  status(): BridgeStatus {
    const { options, figures, lines } = this;
    const worst = [...lines].sort((a, b) => worstFirst.indexOf(a.state) - worstFirst.indexOf(b.state))[0]!;
    const sum = (of: (line: Line) => number | undefined): number =>
      lines.reduce((total, line) => total + (of(line) ?? 0), 0);
    const refused = this.uplinks.map(({ refusedRow }) => refusedRow).find((words) => words !== '');
    return {
      name: options.name,
      enabled: options.enabled,
      state: options.enabled ? worst.state : 'disabled',
      remote: options.enabled ? worst.remote : addressOf(options.remotes[0]!),
      sinceMs: options.enabled ? worst.sinceMs : this.sinceMs,
      lastError: worst.lastError || refused || '',
      queuedMessages: sum(({ session }) => session?.queuedMessages),
      queuedBytes: sum(({ session }) => session?.queuedBytes),
      inflightMessages: sum(({ session, uplink }) => (uplink === undefined ? 0 : session?.inflightMessages)),
      messagesSent: figures.messagesSent,
      messagesReceived: figures.messagesReceived,
      payloadBytesSent: figures.payloadBytesSent,
      payloadBytesReceived: figures.payloadBytesReceived,
      messagesDropped: figures.dropped,
      messagesUnwanted: figures.unwanted,
      messagesRefused: figures.refused,
      messagesTooFar: this.outgoing.tooFar + figures.tooFar,
      sentPerSecond: figures.sentPerSecond,
      receivedPerSecond: figures.receivedPerSecond,
      connections: clientIdsOf(options).map(({ remote: clientId }, index) => {
        const { state, remote, session, uplink, lastError } = lines[index]!;
        return {
          clientId,
          state,
          remote,
          queuedMessages: session?.queuedMessages ?? 0,
          inflightMessages: uplink === undefined ? 0 : (session?.inflightMessages ?? 0),
          lastError,
          compressed: uplink?.greeted.compressed ?? false,
          wireBytesSent: uplink?.greeted.wireBytesSent ?? 0,
          wireBytesReceived: uplink?.greeted.wireBytesReceived ?? 0,
        };
      }),
    };
  }

  /** Takes its state off this broker, unless the bridge goes on as `next`, which shows its own in the same place. */
  forget(next?: BridgeOptions): void {
    if (!this.options.notifications.enabled) return;
    const stays = next?.notifications.enabled === true && stateTopicOf(next) === this.stateTopic;
    if (!stays) this.publishState('');
  }

  private onConnected(line: Line, uplink: Uplink, known: boolean): void {
    const index = this.lines.indexOf(line);
    this.terms.noteRemote(clientIdsOf(this.options)[index]!.local, line.remote);
    // Once the connection serves.
    setImmediate(() => {
      if (uplink.done) return;
      if (index === 0 && this.announcesRemotely) uplink.announce({ topicName: this.stateTopic, payload: '1' });
      // A remote that knows nothing of us may not have our retained messages either.
      this.outgoing.sendRetained(line, known, (error) => uplink.fail(error));
    });
  }

  // ---- the state, as others see it ----

  private get announcesRemotely(): boolean {
    const { enabled, localOnly } = this.options.notifications;
    return enabled && !localOnly;
  }

  private will(): Will | undefined {
    if (!this.announcesRemotely) return undefined;
    return { topicName: this.stateTopic, payload: Buffer.from('0'), qos: 1, retain: this.options.outgoingRetain };
  }

  private sayGone(line: Line, uplink: Uplink): void {
    if (this.announcesRemotely && line === this.lines[0]) uplink.announce({ topicName: this.stateTopic, payload: '0' });
  }

  private announceLocally(): void {
    if (!this.options.notifications.enabled) return;
    const up = this.lines.every(({ state }) => state === LineState.Connected);
    const state = up ? '1' : '0';
    if (state === this.announced) return;
    this.announced = state;
    this.publishState(state);
  }

  private publishState(payload: string): void {
    this.terms.context.router.publishLocal({ topicName: this.stateTopic, payload, qos: 1, retain: true });
  }
}

/** The connections of a bridge ask nobody what they may, have limits of their own, and are no clients that come and go. */
function ownContext(context: ConnectionContext, options: BridgeOptions): ConnectionContext {
  const { queue, packetBytesMax, receiveMaximum, inflightMessagesMax, topicAliasMaximum } = options;
  const limits: Limits = {
    ...context.limits,
    packetBytesMax,
    receiveMaximum,
    inflightMessagesMax,
    topicAliasMaximum,
    queueMessagesMax: queue.messagesMax,
    queueBytesMax: queue.bytesMax,
    queueOverflow: queue.overflow,
    queueQos0: queue.qos0,
  };
  return {
    ...context,
    limits,
    granted: limits,
    policy: {
      authenticate: () => ({ reasonCode: 0 }),
      beginExchange: () => undefined,
      authorizePublish: () => 0,
      authorizeSubscribe: (_client, _topicFilter, qos) => qos,
    },
    observer: { connected() {}, disconnected() {}, subscribed() {}, unsubscribed() {} },
  };
}
