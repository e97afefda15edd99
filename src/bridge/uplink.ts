/**
 * A live connection to a remote, once it has answered CONNECT: a `Connection` with the roles turned. What it sends and receives goes the
 * same way as with a client; here is what a server does and a client does not: SUBSCRIBE and PINGREQ go out, their answers come in,
 * topics of the remote are renamed.
 */
import { WheelTimer } from '../base/index.js';
import { Connection, type ConnectionContext, ConnectionState, type ListenerOptions } from '../connection/index.js';
import {
  type ConnackPacket,
  decodeBody,
  isValidTopicName,
  isValidUtf8,
  Message,
  type NewMessage,
  PacketType,
  ProtocolFailure,
  type ProtocolVersion,
  type PubackReasonCode,
  type PublishRun,
  type QoS,
  ReasonCode,
  reasonName,
  type SubscriptionRequest,
  topicLevelCount,
  variableByteIntegerLength,
  writeVariableByteInteger,
} from '../protocol/index.js';
import type { Delivery, TopicEntry } from '../router/index.js';
import type { Session } from '../session/index.js';
import type { Figures } from './figures.js';
import type { GreetedStream } from './greeted-stream.js';
import { encodedHops, findHops } from './hops.js';
import type { BridgeOptions, TopicRule } from './options.js';
import { OutgoingTarget, plainPacketBody, renameMessage } from './outgoing.js';
import { BoundedMap, filtersOf, isIncoming, isOutgoing, remoteFilter, renameIncoming } from './topic-rules.js';

const NAMES_MAX = 8192;
/** PINGREQ goes out so many times within the keep alive; with no answer in two of these spans the remote is gone. */
const PINGS_IN_KEEP_ALIVE = 2;
/** Of the first SUBSCRIBE or UNSUBSCRIBE; messages count from the other end. */
const REQUEST_ID = 65535;
/** Of SUBSCRIBE and UNSUBSCRIBE: fixed header, Packet Identifier and no properties; and of each filter beside its text. */
const REQUEST_BYTES = 8;
const FILTER_BYTES = 3;

export interface UplinkTerms {
  readonly options: BridgeOptions;
  readonly version: ProtocolVersion;
  readonly connack: ConnackPacket;
  readonly clientId: string;
  /** The rows whose topics this connection subscribes to at the remote. */
  readonly incoming: readonly TopicRule[];
  /** Filters of rows that are no more. */
  readonly given: readonly string[];
  readonly figures: Figures;
}

interface Inbound {
  readonly names: string[];
  readonly entries: TopicEntry[];
  readonly renamed: boolean;
}

export class Uplink extends Connection {
  /** Why it ended, in words; empty while nothing is known. */
  reason = '';
  /** Nothing new is sent: what is under way is waited for. */
  draining = false;
  /** A row that the remote did not take, in words. */
  refusedRow = '';
  /** Called when nothing is under way any more while `draining`. */
  onDrained: (() => void) | undefined;
  private readonly inbound = new BoundedMap<Inbound>(NAMES_MAX);
  private readonly aliased: (string | undefined)[] = [];
  private readonly pinger: WheelTimer;
  private receivedSince = false;
  private takenBefore = 0;
  private silentSpans = 0;
  /** Identifiers of QoS 2 messages that went out at QoS 1. */
  private readonly lowered = new Set<number>();
  /** Of the next SUBSCRIBE or UNSUBSCRIBE. */
  private requestId = REQUEST_ID;
  /** Filters asked for, by the identifier of SUBSCRIBE. */
  private readonly asked = new Map<number, string[]>();
  private readonly qosMax: QoS;
  private readonly retains: boolean;

  constructor(
    context: ConnectionContext,
    listener: ListenerOptions,
    readonly greeted: GreetedStream,
    private readonly terms: UplinkTerms,
    private readonly ended: (uplink: Uplink) => void,
  ) {
    super(context, listener, greeted, () => this.ended(this));
    const { version, connack, clientId, options } = terms;
    this.version = version;
    this.version5 = version === 5;
    this.packetBytesMax = Math.min(
      connack.properties?.maximumPacketSize ?? Number.POSITIVE_INFINITY,
      options.sentPacketBytesMax || Number.POSITIVE_INFINITY,
    );
    this.qosMax = (connack.properties?.maximumQoS ?? 2) as QoS;
    this.retains = connack.properties?.retainAvailable !== 0;
    this.client = {
      clientId,
      username: options.username,
      protocolVersion: version,
      listener: listener.name,
      address: greeted.peer.address,
    };
    this.pinger = new WheelTimer(() => this.ping());
  }

  /** Takes up its work: from now on `session` is served. `known`: the remote has its half of it. */
  serve(session: Session, known: boolean): void {
    this.state = ConnectionState.Connected;
    this.session = session;
    this.connectedAtMs = this.context.nowMs();
    this.start();
    this.startKeepAlive(); // its own keep alive takes the place of a server's patience
    if (this.done) return;
    this.rearm();
    this.subscribe(known);
    if (session.owner !== '') this.gate();
    session.resume(known);
  }

  // ---- rows ----

  private subscribe(known: boolean): void {
    const { incoming, given, options } = this.terms;
    const wanted = filtersOf(incoming, remoteFilter);
    // Of former settings, and of rows that only send: a session that the remote kept may have them still.
    const unwanted = new Set([...given, ...options.topics.filter(isOutgoing).map(remoteFilter)]);
    for (const filter of filtersOf(options.topics.filter(isIncoming), remoteFilter).keys()) unwanted.delete(filter);
    if (known && options.unsubscribe) this.unsubscribe([...unwanted]);
    const requests: SubscriptionRequest[] = [...wanted].map(([topicFilter, qos]) => ({
      topicFilter,
      qos,
      noLocal: true,
      retainAsPublished: true,
      retainHandling: 0,
    }));
    for (const subscriptions of this.packets(requests, ({ topicFilter }) => topicFilter)) {
      const packetId = this.requestId--;
      this.asked.set(
        packetId,
        subscriptions.map(({ topicFilter }) => topicFilter),
      );
      this.send({ type: PacketType.Subscribe, packetId, subscriptions });
    }
  }

  private unsubscribe(filters: readonly string[]): void {
    for (const topicFilters of this.packets(filters, (filter) => filter))
      this.send({ type: PacketType.Unsubscribe, packetId: this.requestId--, topicFilters });
  }

  /** As many in each packet as the remote takes; one that is too large by itself is left out. */
  private packets<Item>(items: readonly Item[], filterOf: (item: Item) => string): Item[][] {
    const packets: Item[][] = [];
    let room = 0;
    for (const item of items) {
      const topicFilter = filterOf(item);
      const bytes = Buffer.byteLength(topicFilter) + FILTER_BYTES;
      if (bytes + REQUEST_BYTES > this.packetBytesMax) {
        this.noteRefusedFilter(topicFilter, 'is larger than the remote takes');
        continue;
      }
      if (bytes > room) {
        packets.push([]);
        room = this.packetBytesMax - REQUEST_BYTES;
      }
      packets.at(-1)!.push(item);
      room -= bytes;
    }
    return packets;
  }

  /** Publishes for the bridge itself: its state. */
  announce(values: NewMessage): void {
    if (this.done) return;
    const retain = this.retains && this.terms.options.outgoingRetain;
    super.publish(Message.create(values, this.context.nowMs()), 0, retain, false, 0, undefined);
  }

  /** Says goodbye in order; `forGood`: the remote is to keep no session, or in 3.x one that nothing fills. */
  sayGoodbye(reason: string, forGood: boolean): void {
    if (this.done) return;
    this.reason = reason;
    const { cleanSession, sessionExpirySeconds } = this.terms.options;
    const kept = forGood && !cleanSession;
    if (kept && !this.version5) this.unsubscribe([...this.asked.values()].flat());
    this.send({
      type: PacketType.Disconnect,
      reasonCode: ReasonCode.NormalDisconnection,
      // Only what was more than zero in CONNECT may be named. [MQTT-3.14.2-2]
      ...(kept && this.version5 && sessionExpirySeconds > 0 ? { properties: { sessionExpiryInterval: 0 } } : {}),
    });
    this.end();
  }

  // ---- from the remote ----

  override onBytes(bytes: Buffer, start: number, end: number): void {
    this.receivedSince = true;
    super.onBytes(bytes, start, end);
    if (this.draining) this.checkDrained();
  }

  override handle(bytes: Buffer, start: number, bodyStart: number, bodyEnd: number, end: number): number {
    const header = bytes[start]!;
    if (header >> 4 !== PacketType.Publish || !this.connected)
      return super.handle(bytes, start, bodyStart, bodyEnd, end);
    if (header & 6 && this.context.storage?.failed !== undefined) {
      // It is acknowledged only when it can be kept.
      this.awaitsStorage = true;
      this.suspend();
      return start;
    }
    this.onRemotePublish(header, bytes, bodyStart, bodyEnd);
    return bodyEnd;
  }

  private onRemotePublish(header: number, bytes: Buffer, start: number, end: number): void {
    const { context } = this;
    const { view, metrics, router } = context;
    const session = this.session!;
    view.read(header, bytes, start, end, this.version);
    const { qos, packetId } = view;
    const payloadBytes = view.payloadEnd - view.payloadStart;
    metrics.packetsReceived++;
    metrics.publishReceived++;
    metrics.publishBytesReceived += payloadBytes;
    const inbound = this.inboundOf(bytes);
    // [MQTT-4.3.3-10] a repeated PUBLISH of an open QoS 2 exchange is acknowledged and goes nowhere; the alias that it sets counts
    if (qos === 2 && session.hasReceived(packetId)) return this.acknowledge(0x50, packetId, ReasonCode.Success);
    // Mosquitto 2.0 may send more than the Receive Maximum after a reconnection. An identifier is all that each costs, so it is taken:
    // ending the connection would only bring the same again.
    this.terms.figures.received(inbound.names.length > 0, payloadBytes);
    if (inbound.renamed) view.topicStart = view.topicEnd; // its name is that of the entry
    let refused: PubackReasonCode = ReasonCode.Success;
    for (let index = 0; index < inbound.entries.length; index++) {
      let entry = inbound.entries[index]!;
      if (!router.current(entry)) {
        entry = router.resolve(inbound.names[index]!);
        inbound.entries[index] = entry;
      }
      const message = this.counted(Message.borrow(view, bytes, entry.topicName, session.clientId, context.nowMs));
      if (message === undefined) continue;
      const verdict = router.publish(message, entry);
      if (verdict >= 0x80) refused = verdict;
    }
    if (qos === 0 || this.done) return;
    if (qos === 2 && (refused === 0 || !this.version5)) session.noteReceived(packetId);
    this.acknowledge(qos === 1 ? 0x40 : 0x50, packetId, refused);
  }

  /** With one bridge more in its count; undefined when it has gone over as many as it may. 3.x has no place for a count. */
  private counted(message: Message): Message | undefined {
    const { hopsMax } = this.terms.options;
    if (hopsMax === 0 || !this.version5) return message;
    const found = findHops(message);
    if (found.hops >= hopsMax) {
      this.terms.figures.tooFar++;
      return undefined;
    }
    const { topicName, body, topicStart, topicEnd } = message;
    const name = { topicName, topic: body.subarray(topicStart, topicEnd) };
    return renameMessage(message, name, encodedHops(found.hops + 1), found);
  }

  /** What the topic of the packet in `view` is called here; nothing where no row takes it. */
  private inboundOf(bytes: Buffer): Inbound {
    const { view, limits, router } = this.context;
    let key: string;
    if (view.topicEnd > view.topicStart) {
      key = bytes.toString('latin1', view.topicStart, view.topicEnd);
      if (view.topicAlias > 0) this.aliased[this.checkedAlias(view.topicAlias)] = key;
    } else {
      const set = this.aliased[this.checkedAlias(view.topicAlias)];
      if (set === undefined)
        throw new ProtocolFailure(
          ReasonCode.ProtocolError,
          'v5 §3.3.2.3.4',
          `PUBLISH Topic Alias ${view.topicAlias} was never set`,
        );
      key = set;
    }
    const known = this.inbound.get(key);
    if (known !== undefined) return known;
    const raw = Buffer.from(key, 'latin1');
    const topicName = raw.toString('utf8');
    if (!isValidUtf8(raw, 0, raw.length) || !isValidTopicName(topicName))
      throw new ProtocolFailure(ReasonCode.TopicNameInvalid, 'MQTT-3.3.2-2', 'PUBLISH Topic Name is not a topic name');
    const names = renameIncoming(this.terms.options.topics, topicName)
      .map((renamed) => renamed.topicName)
      .filter((name) => Buffer.byteLength(name) <= limits.topicBytesMax)
      .filter((name) => topicLevelCount(name) <= limits.topicLevelsMax);
    const entries = names.map((name) => router.resolve(name));
    const inbound = { names, entries, renamed: names.length !== 1 || names[0] !== topicName };
    // Long names that nobody wants are not worth the memory.
    return key.length > limits.topicBytesMax ? inbound : this.inbound.set(key, inbound);
  }

  private checkedAlias(alias: number): number {
    if (alias <= this.terms.options.topicAliasMaximum) return alias;
    throw new ProtocolFailure(
      ReasonCode.TopicAliasInvalid,
      'MQTT-3.3.2-10',
      `PUBLISH Topic Alias ${alias} is above the maximum of ${this.terms.options.topicAliasMaximum}`,
    );
  }

  protected override onPacket(header: number, bytes: Buffer, start: number, end: number): void {
    const type = header >> 4;
    if (type >= PacketType.Puback && type <= PacketType.Pubcomp) {
      if (end - start === 2 && this.lowered.size === 0) return super.onPacket(header, bytes, start, end);
    }
    const packet = decodeBody(header, bytes, start, end, this.version, 'client');
    const session = this.session!;
    switch (packet.type) {
      case PacketType.Puback:
        this.noteRefusal(packet.reasonCode);
        // Sent at a lower QoS than it is kept with: one answer ends it.
        if (this.lowered.delete(packet.packetId)) return session.pubrec(packet.packetId, ReasonCode.UnspecifiedError);
        return session.puback(packet.packetId);
      case PacketType.Pubrec:
        this.noteRefusal(packet.reasonCode);
        return session.pubrec(packet.packetId, packet.reasonCode);
      case PacketType.Pubrel:
        session.release(packet.packetId);
        return this.acknowledge(0x70, packet.packetId, ReasonCode.Success);
      case PacketType.Pubcomp:
        return session.pubcomp(packet.packetId);
      case PacketType.Suback:
        return this.onSuback(this.asked.get(packet.packetId) ?? [], packet.reasonCodes);
      case PacketType.Unsuback:
      case PacketType.Pingresp:
        return;
      case PacketType.Disconnect:
        this.reason = `the remote ended the connection: ${reasonName(packet.reasonCode)}${wordsOf(packet.properties?.reasonString)}`;
        this.disconnectReason = packet.reasonCode;
        return this.end();
      default:
        throw new ProtocolFailure(ReasonCode.ProtocolError, 'v5 §2.1.2', `packet type ${type} is not sent to a client`);
    }
  }

  private onSuback(filters: readonly string[], reasonCodes: readonly number[]): void {
    filters.forEach((topicFilter, index) => {
      const reasonCode = reasonCodes[index] ?? ReasonCode.UnspecifiedError;
      if (reasonCode >= 0x80)
        this.noteRefusedFilter(topicFilter, `was refused by the remote: ${reasonName(reasonCode)}`);
    });
  }

  private noteRefusedFilter(topicFilter: string, reason: string): void {
    this.refusedRow = `the subscription to ${topicFilter} ${reason}`;
    this.context.log.warning('bridge.subscription-refused', 'The remote does not take a subscription.', {
      ...this.description,
      topicFilter,
      reason,
    });
  }

  private noteRefusal(reasonCode: number): void {
    if (reasonCode < 0x80) return;
    this.terms.figures.refused++;
    this.refusedRow = `the remote refused a message: ${reasonName(reasonCode)}`;
  }

  // ---- to the remote ----

  override get hasRoom(): boolean {
    return !this.draining && super.hasRoom;
  }

  override publish(
    message: Message,
    qos: QoS,
    retain: boolean,
    dup: boolean,
    packetId: number,
    subscriptionIds: readonly number[] | undefined,
  ): boolean {
    const lower = Math.min(qos, this.qosMax) as QoS;
    const kept = retain && this.retains;
    const identifier = lower === 0 ? 0 : packetId;
    if (!super.publish(message, lower, kept, dup && lower > 0, identifier, subscriptionIds)) return false;
    this.terms.figures.sent(1, message.bodyEnd - message.payloadStart);
    if (lower < qos) {
      if (lower === 1) this.lowered.add(packetId);
      // The remote takes QoS 0 only: there is no answer to wait for.
      else
        setImmediate(() => {
          if (qos === 1) this.session?.puback(packetId);
          else this.session?.pubrec(packetId, ReasonCode.UnspecifiedError);
        });
    }
    return true;
  }

  override publishRun(run: PublishRun, delivery: Delivery): void {
    if (!(delivery instanceof OutgoingTarget)) return super.publishRun(run, delivery);
    const { outbound, version5, context } = this;
    const { metrics, limits, outboundTotals: totals } = context;
    const { figures } = this.terms;
    const full = outbound.bytes + (run.end - run.start) > limits.outboundBytesMax;
    if (full || (totals.over && outbound.bytes > 0)) {
      metrics.publishDropped += run.count;
      figures.dropped += run.count;
      return;
    }
    if (this.aliases !== undefined) return this.publishOneByOne(run, delivery);
    const { topic, properties } = delivery;
    const propertiesField = variableByteIntegerLength(properties.length) + properties.length;
    run.forEach((_packetStart, payloadStart, packetEnd) => {
      const payloadBytes = packetEnd - payloadStart;
      const length = plainPacketBody(delivery, version5, payloadBytes);
      const total = 1 + variableByteIntegerLength(length) + length;
      if (total > this.packetBytesMax) {
        metrics.publishDropped++;
        figures.dropped++;
        return;
      }
      let at = outbound.reserve(total);
      const bytes = outbound.chunk!;
      bytes[at++] = 0x30;
      at = writeVariableByteInteger(bytes, at, length);
      bytes[at++] = topic.length >>> 8;
      bytes[at++] = topic.length & 0xff;
      topic.copy(bytes, at);
      at += topic.length;
      if (version5) {
        writeVariableByteInteger(bytes, at, properties.length);
        properties.copy(bytes, at + propertiesField - properties.length);
        at += propertiesField;
      }
      run.bytes.copy(bytes, at, payloadStart, packetEnd);
      metrics.packetsSent++;
      metrics.publishSent++;
      metrics.publishBytesSent += payloadBytes;
      figures.sent(1, payloadBytes);
    });
    this.touch();
  }

  private publishOneByOne(run: PublishRun, target: OutgoingTarget): void {
    for (const { payload } of run.messages()) {
      if (this.publish(target.plainMessage(payload), 0, false, false, 0, undefined)) continue;
      this.context.metrics.publishDropped++;
      this.terms.figures.dropped++;
    }
  }

  private checkDrained(): void {
    const { session } = this;
    if (session === undefined || session.inflightMessages > 0 || session.receivedCount > 0) return;
    const done = this.onDrained;
    this.onDrained = undefined;
    if (done !== undefined) setImmediate(done);
  }

  /** Sends nothing new; `done` is called once nothing is under way. */
  drain(done: () => void): void {
    this.draining = true;
    this.onDrained = done;
    this.checkDrained();
  }

  // ---- keep alive ----

  private rearm(): void {
    const { keepAliveSeconds } = this.terms.options;
    const seconds = this.terms.connack.properties?.serverKeepAlive ?? keepAliveSeconds;
    if (seconds > 0) this.context.wheel.arm(this.pinger, (seconds * 1000) / PINGS_IN_KEEP_ALIVE);
  }

  /** [MQTT-3.1.2-20] something goes out in time, and a remote that says nothing is noticed. */
  private ping(): void {
    if (this.done) return;
    if (this.receivedSince || this.isPaused) this.silentSpans = 0;
    else if (++this.silentSpans > PINGS_IN_KEEP_ALIVE) {
      this.reason = `no answer to PINGREQ: nothing received for longer than the keep alive`;
      this.destroy();
      return;
    }
    if (!this.receivedSince || this.outbound.taken === this.takenBefore) this.send({ type: PacketType.Pingreq });
    this.receivedSince = false;
    this.takenBefore = this.outbound.taken;
    this.rearm();
  }

  // ---- the end ----

  override fail(error: unknown): void {
    if (!this.done && this.reason === '')
      this.reason =
        error instanceof ProtocolFailure
          ? `the remote broke the protocol: ${error.message}`
          : error instanceof Error
            ? error.message
            : String(error);
    super.fail(error);
  }

  override refuse(reasonCode: number, reasonString: string | undefined): void {
    if (this.reason === '') this.reason = reasonString ?? reasonName(reasonCode);
    super.refuse(reasonCode, reasonString);
  }

  override onClosed(error?: Error): void {
    if (this.reason === '') this.reason = error === undefined ? 'the remote closed the connection' : error.message;
    super.onClosed(error);
  }

  protected override left(): void {
    this.context.wheel.disarm(this.pinger);
  }
}

function wordsOf(reasonString: string | undefined): string {
  return reasonString === undefined ? '' : ` (${reasonString})`;
}
