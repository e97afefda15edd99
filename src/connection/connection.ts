/**
 * One live MQTT connection: hands each packet to its `on-…` module, gathers the answers, and is the only place that turns a broken protocol into CONNACK, DISCONNECT or a closed stream.
 *
 *   Opening ──CONNECT──▶ Authenticating ──▶ Connected ──▶ Closed
 *        └──────────────(no exchange)────────▲
 *
 * Opening         nothing but CONNECT is accepted, for `connectTimeoutSeconds`
 * Authenticating  a verdict is awaited (nothing is parsed meanwhile) or an exchange runs (only AUTH and DISCONNECT)
 * Connected       a session is attached; `keepAlive` runs
 * Closed          the stream is ending or gone; nothing more is parsed or sent
 *
 * `packet-cutter` cuts the packets; what they mean is decided here and in the `on-…` modules.
 */
import { Fault, type Limits, RUN_CHUNK_BYTES, WheelTimer } from '../base/index.js';
import type { Client } from '../policy/index.js';
import {
  type AcknowledgePacket,
  connectVersion,
  type DisconnectReasonCode,
  decodeBody,
  encodePacket,
  type Message,
  type Packet,
  PacketType,
  type Properties,
  ProtocolFailure,
  type ProtocolVersion,
  type PubackReasonCode,
  type PublishRun,
  type QoS,
  ReasonCode,
  reasonName,
  returnCodeOf,
} from '../protocol/index.js';
import type { Delivery, TopicEntry } from '../router/index.js';
import type { HeldPublisher, Link, Session } from '../session/index.js';
import type { ByteSink, ByteStream, PeerAddress } from '../transport/index.js';
import { ConnectionState } from './connection-state.js';
import type { ConnectionContext, ListenerOptions } from './context.js';
import { type EnhancedAuthentication, onAuth } from './on-auth.js';
import { onConnect } from './on-connect.js';
import { onDisconnect } from './on-disconnect.js';
import { onPublish, receiveRun } from './on-publish.js';
import { onSubscribe } from './on-subscribe.js';
import { onUnsubscribe } from './on-unsubscribe.js';
import { Outbound } from './outbound.js';
import { PacketCutter, type PacketHandler } from './packet-cutter.js';
import type { ClientRates } from './protection/rates.js';
import { writePublish } from './publish-writer.js';
import type { AliasesFromClient, AliasesToClient } from './topic-aliases.js';
import { type TransportFacts, transportFacts } from './transport-facts.js';

/** A session stops taking from its queue, and publishers are held, while more than this waits for the socket, bytes. */
const ROOM_BYTES = 1_048_576;
/** What may wait for one connection while more waits for all than may, bytes. */
const CROWDED_BYTES = 65_536;
/** Readers take something of what waits when it becomes this part of what it was. */
const RELIEF = 0.98;
/** A run from this length on is shared by reference when it has more than one receiver, bytes. */
const SHARE_BYTES_MIN = 1024;
/** Bytes of CONNECT's Variable Header up to and including the Protocol Level, in the longer form of 3.1. */
const CONNECT_VERSION_BYTES = 9;
const EXPIRY_WAIT_MS = 3_600_000;

export class Connection implements ByteSink, PacketHandler, Link, HeldPublisher {
  state: ConnectionState = ConnectionState.Opening;
  version: ProtocolVersion = 4;
  /** The wire form of 5.0 is used both ways. */
  version5 = false;
  /** A 3.x bridge: retain flags are kept, nothing comes back to it. */
  bridge = false;
  /** Reason Strings may be sent on acknowledgements [MQTT-3.1.2-29]. */
  problemInformation = true;
  packetBytesMax = Number.POSITIVE_INFINITY;
  client: Client | undefined;
  session: Session | undefined;
  /** seconds, after negotiation; 0 is off */
  keepAlive = 0;
  connectedAtMs = 0;
  aliases: AliasesToClient | undefined;
  /** What the topics of this client begin with, unseen by it, and how many bytes that is. */
  mountPoint = '';
  mountBytes = 0;
  aliasesFromClient: AliasesFromClient | undefined;
  authentication: EnhancedAuthentication | undefined;
  /** Reason code of the DISCONNECT either side sent, for observers; -1 when the stream just ended. */
  disconnectReason = -1;
  /** The client said goodbye with 0x00: its will is not published. */
  discardWill = false;
  /** A verdict on the PUBLISH that is handled again, which was waited for. */
  verdict: PubackReasonCode | undefined;
  /** Limits on what the client publishes and is sent; undefined where there are none. */
  rates: ClientRates | undefined;
  /** The user whose connection this is counted as. */
  countedUser: string | undefined;
  /** The topic published to last: a client that repeats itself saves the look-up. */
  lastEntry: TopicEntry | undefined;
  /** QoS 1 publishes of this turn, whose acknowledgements have not left. */
  turnPublishes = 0;

  readonly outbound: Outbound;
  /** The limits when the connection began, of which the client was told some. */
  readonly granted: Limits;
  /** Highest QoS that the client may publish with. */
  readonly maximumQoS: QoS;
  private readonly timer: WheelTimer;
  private lastReceivedTick: number;
  private readonly cutter: PacketCutter;
  private flushing = false;
  private starved = false;
  private holds = 0;
  /** Answers that `await` waits for. */
  private awaited = 0;
  /** Sequences that have to be handed to the operating system, and be on the disk, before what waits here may leave. */
  private storedAt = 0;
  private syncedAt = 0;
  private gated = false;
  private endsWhenStored = false;
  /** Something was answered in this batch of packets, before which storage stood at `sequenceBefore`. */
  private answered = false;
  private sequenceBefore = 0;
  private rateTimer: NodeJS.Timeout | undefined;
  private deliveryTimer: NodeJS.Timeout | undefined;
  private expiryTimer: WheelTimer | undefined;
  private expiresAtMs = 0;
  /** A 3.x client publishes at QoS 1 or 2 while storage cannot be written. */
  awaitsStorage = false;

  constructor(
    readonly context: ConnectionContext,
    readonly listener: ListenerOptions,
    private readonly stream: ByteStream,
    private readonly closed: (connection: Connection) => void,
  ) {
    this.outbound = new Outbound(context.outboundTotals);
    this.granted = context.granted;
    this.maximumQoS = Math.min(context.protocol.maximumQoS, listener.maximumQoS ?? 2) as QoS;
    this.cutter = new PacketCutter(this, this.granted.packetBytesMax);
    this.timer = new WheelTimer(() => this.onTimer());
    this.lastReceivedTick = context.wheel.tick;
  }

  get peer(): PeerAddress {
    return this.stream.peer;
  }

  /** Whether the other side may have this connection compressed. */
  get compressible(): boolean {
    return this.stream.compress !== undefined;
  }

  /** Compresses what comes from now on, and what leaves after `connack`, which is sent next. */
  compressAfter(connack: Packet): void {
    this.stream.compress?.(encodePacket(connack, this.version).length);
  }

  get facts(): TransportFacts {
    return transportFacts(this.stream);
  }

  start(): void {
    this.context.wheel.arm(this.timer, this.context.limits.connectTimeoutSeconds * 1000);
    this.stream.start(this);
  }

  // ---- bytes in ----

  onBytes(bytes: Buffer, start: number, end: number): void {
    const { context } = this;
    context.metrics.bytesReceived += end - start;
    this.lastReceivedTick = context.wheel.tick;
    context.pressure.publisher = this;
    this.noteStorage();
    try {
      this.cutter.push(bytes, start, end);
    } catch (error) {
      this.fail(error);
    } finally {
      context.pressure.publisher = undefined;
    }
    if (context.storage !== undefined) this.gateAnswers();
    if (context.outboundTotals.bytes > context.outboundTotals.bytesMax) this.yieldToReaders();
    else if (context.outboundTotals.overSinceMs !== 0) this.noteRelief();
  }

  get connected(): boolean {
    return this.state === ConnectionState.Connected;
  }

  get done(): boolean {
    return this.state === ConnectionState.Closed;
  }

  handle(bytes: Buffer, start: number, bodyStart: number, bodyEnd: number, end: number): number {
    const header = bytes[start]!;
    if (header === 0x30 && this.connected) return receiveRun(this, bytes, start, bodyStart, bodyEnd, end);
    // A 3.x publisher cannot be told: it waits for its acknowledgement.
    if (
      this.context.storage?.failed !== undefined &&
      !this.version5 &&
      header >> 4 === 3 &&
      header & 6 &&
      this.connected
    ) {
      this.awaitsStorage = true;
      this.suspend();
      return start;
    }
    if (header >> 4 === PacketType.Publish && this.connected)
      return onPublish(this, header, bytes, bodyStart, bodyEnd) ? bodyEnd : start;
    this.context.metrics.packetsReceived++;
    this.onPacket(header, bytes, bodyStart, bodyEnd);
    return bodyEnd;
  }

  handleTooLarge(bytes: Buffer, start: number, bodyStart: number, end: number, packetBytes: number): void {
    if (this.state === ConnectionState.Opening) {
      const header = bytes[start]!;
      if (header !== 0x10) throw notConnect(header);
      // Even such a CONNECT is refused in its own version, once that has come.
      if (end - bodyStart < CONNECT_VERSION_BYTES) return;
      this.learnVersion(bytes, bodyStart, end);
    }
    throw new ProtocolFailure(
      ReasonCode.PacketTooLarge,
      'MQTT-3.2.2-15',
      `packet of ${packetBytes} bytes is above the maximum of ${this.granted.packetBytesMax}`,
    );
  }

  protected onPacket(header: number, bytes: Buffer, start: number, end: number): void {
    if (this.state !== ConnectionState.Connected) {
      this.onEarlyPacket(header, bytes, start, end);
      return;
    }
    const type = header >> 4;
    const session = this.session!;
    // The short form of an acknowledgement, by far the most common.
    if (end - start === 2 && type >= PacketType.Puback && type <= PacketType.Pubcomp) {
      const packetId = (bytes[start]! << 8) | bytes[start + 1]!;
      if (packetId !== 0) {
        if (header === 0x40) return session.puback(packetId);
        if (header === 0x50) return session.pubrec(packetId, 0);
        if (header === 0x62) return this.onPubrel(packetId);
        if (header === 0x70) return session.pubcomp(packetId);
      }
    }
    const packet = decodeBody(header, bytes, start, end, this.version, 'server');
    switch (packet.type) {
      case PacketType.Puback:
        return session.puback(packet.packetId);
      case PacketType.Pubrec:
        return session.pubrec(packet.packetId, packet.reasonCode);
      case PacketType.Pubrel:
        return this.onPubrel(packet.packetId);
      case PacketType.Pubcomp:
        return session.pubcomp(packet.packetId);
      case PacketType.Subscribe:
        return onSubscribe(this, packet);
      case PacketType.Unsubscribe:
        return onUnsubscribe(this, packet);
      case PacketType.Pingreq:
        return this.send({ type: PacketType.Pingresp }); // [MQTT-3.12.4-1]
      case PacketType.Disconnect:
        return onDisconnect(this, packet);
      case PacketType.Auth:
        return onAuth(this, packet);
      case PacketType.Connect:
        // [MQTT-3.1.0-2] a second CONNECT is a protocol error
        throw new ProtocolFailure(ReasonCode.ProtocolError, 'MQTT-3.1.0-2', 'second CONNECT');
      default:
        throw new ProtocolFailure(ReasonCode.ProtocolError, 'v5 §2.1.2', `packet type ${type} is not sent to a server`);
    }
  }

  private onEarlyPacket(header: number, bytes: Buffer, start: number, end: number): void {
    if (this.state === ConnectionState.Opening) {
      if (header >> 4 !== PacketType.Connect) throw notConnect(header); // [MQTT-3.1.0-1]
      this.learnVersion(bytes, start, end);
      const packet = decodeBody(header, bytes, start, end, this.version, 'server');
      if (packet.type === PacketType.Connect) onConnect(this, packet);
      return;
    }
    const packet = decodeBody(header, bytes, start, end, this.version, 'server');
    if (packet.type === PacketType.Auth) onAuth(this, packet);
    else if (packet.type === PacketType.Disconnect) this.end();
    // [MQTT-3.1.2-30]
    else
      throw new ProtocolFailure(ReasonCode.ProtocolError, 'MQTT-3.1.2-30', `packet type ${header >> 4} before CONNACK`);
  }

  /** So that even a CONNECT that cannot be decoded is refused in its own version. */
  private learnVersion(bytes: Buffer, start: number, end: number): void {
    const version = connectVersion(bytes, start, end);
    if (version === undefined) return;
    this.version = version;
    this.version5 = version === 5;
  }

  private onPubrel(packetId: number): void {
    const found = this.session!.release(packetId);
    // [MQTT-4.3.3-11]
    if (found || !this.version5) this.acknowledge(0x70, packetId, ReasonCode.Success);
    else this.acknowledge(0x70, packetId, ReasonCode.PacketIdentifierNotFound);
  }

  // ---- pausing ----

  /** Handles no packet until `proceed`: an answer from elsewhere is awaited. What arrives meanwhile waits. */
  suspend(): void {
    this.cutter.suspended = true;
    this.stream.pause();
  }

  proceed(): void {
    // An answer may have led to a question that is waited for in its turn.
    if (this.state === ConnectionState.Closed || this.awaited > 0) return;
    if (this.holds === 0) this.stream.resume();
    this.noteStorage();
    try {
      this.cutter.resume();
    } catch (error) {
      this.fail(error);
    }
    if (this.context.storage !== undefined) this.gateAnswers();
  }

  /**
   * Handles no packet until `answer` has come; then `next` takes it, or `otherwise` what it failed with. Neither is called when the
   * connection has ended by then.
   */
  await<Answer>(answer: Promise<Answer>, next: (value: Answer) => void, otherwise: (error: unknown) => void): void {
    this.suspend();
    this.awaited++;
    const goOn = (step: () => void): void => {
      this.awaited--;
      if (this.state === ConnectionState.Closed) return;
      try {
        step();
      } catch (error) {
        this.fail(error);
      }
      this.proceed();
    };
    answer.then(
      (value) => goOn(() => next(value)),
      (error: unknown) => goOn(() => otherwise(error)),
    );
  }

  /** Not read until `release`, since a subscriber of what it publishes has fallen behind. Calls nest. */
  hold(): void {
    if (this.holds++ === 0) this.stream.pause();
  }

  /** While we do not read, silence is ours, not that of the other side. */
  protected get isPaused(): boolean {
    return this.holds > 0 || this.cutter.suspended;
  }

  release(): void {
    if (this.holds > 0 && --this.holds === 0 && !this.cutter.suspended && this.state !== ConnectionState.Closed)
      this.stream.resume();
  }

  /**
   * All connections together have more waiting than the memory limit: this publisher waits until half of it is taken, for as long as
   * any of it is. Readers that take nothing may not stop the others: from then on `crowded` keeps small what waits for them.
   */
  private yieldToReaders(): void {
    this.hold();
    // Most of it may only wait for the end of this turn.
    setImmediate(() => {
      if (this.context.outboundTotals.bytes > this.context.outboundTotals.bytesMax) this.waitForReaders();
      else this.release();
    });
  }

  private waitForReaders(): void {
    const { outboundTotals: totals, wheel, clock, limits } = this.context;
    if (totals.overSinceMs === 0) {
      totals.overSinceMs = clock.nowMs();
      totals.leastBytes = totals.bytes;
    }
    const hopeless = () => totals.overSinceMs === 0 || clock.nowMs() - totals.overSinceMs >= limits.slowReaderHoldMs;
    if (hopeless()) return this.release();
    const again = new WheelTimer(() => {
      this.noteRelief();
      if (!hopeless() && this.state !== ConnectionState.Closed) wheel.arm(again, 1);
      else this.release();
    });
    wheel.arm(again, 1);
  }

  /** Notes how much less waits than did. */
  private noteRelief(): void {
    const { outboundTotals: totals, clock } = this.context;
    if (totals.bytes <= totals.bytesMax / 2) totals.overSinceMs = 0;
    else if (totals.overSinceMs !== 0 && totals.bytes < totals.leastBytes * RELIEF) {
      totals.leastBytes = totals.bytes;
      totals.overSinceMs = clock.nowMs();
    }
  }

  /** More waits for all connections together than may, and this one has more than a little of it. */
  private get crowded(): boolean {
    const { bytes, bytesMax } = this.context.outboundTotals;
    return bytes > bytesMax && this.outbound.bytes > CROWDED_BYTES;
  }

  // ---- bytes out ----

  get isFull(): boolean {
    if (this.outbound.bytes <= ROOM_BYTES && !this.crowded) return false;
    this.starved = true; // it wants to know when there is room again
    return true;
  }

  get bytesTaken(): number {
    return this.outbound.taken;
  }

  get hasRoom(): boolean {
    if (this.isFull) return false;
    return this.rates === undefined || !this.rates.limitsDelivery || this.mayDeliver(this.rates);
  }

  private mayDeliver(rates: ClientRates): boolean {
    const wait = rates.deliveryWaitMs(this.context.nowMs());
    if (wait === 0) return true;
    this.starved = true;
    this.deliveryTimer ??= setTimeout(() => {
      this.deliveryTimer = undefined;
      this.refill();
    }, wait).unref();
    return false;
  }

  /** Counts one PUBLISH against the rates of the client, which may have to wait now before its next packet is handled. */
  spendRate(rates: ClientRates, bytes: number): void {
    const wait = rates.published(1, bytes, this.context.nowMs());
    if (wait === 0 || this.rateTimer !== undefined) return;
    this.context.metrics.publishDelayed++;
    this.suspend();
    this.rateTimer = setTimeout(() => {
      this.rateTimer = undefined;
      this.proceed();
    }, wait).unref();
  }

  /** Asks for this turn's output to be sent when the turn ends. */
  touch(): void {
    if (this.flushing) return;
    this.flushing = true;
    this.context.turn.add(this);
  }

  flush(): void {
    this.flushing = false;
    this.turnPublishes = 0;
    if (this.state === ConnectionState.Closed && this.session === undefined && this.outbound.bytes === 0) return;
    if (this.gated || !this.outbound.flushHeld(this.stream)) return;
    if (this.storedAt > 0 && !this.stored()) return;
    if (this.outbound.flush(this.stream)) this.refill();
    if (this.endsWhenStored && this.outbound.gathered === 0) {
      this.endsWhenStored = false;
      this.stream.end();
    }
  }

  // ---- storage ----

  private noteStorage(): void {
    this.answered = false;
    if (this.context.storage !== undefined) this.sequenceBefore = this.context.storage.sequence;
  }

  /** An answer to what moved storage may not leave before that is stored; what else was moved may be stored later. */
  private gateAnswers(): void {
    if (this.answered && this.context.storage!.sequence !== this.sequenceBefore) this.gate();
    this.answered = false;
  }

  gate(): void {
    const storage = this.context.storage!;
    this.storedAt = storage.sequence;
    if (storage.syncSequence > storage.synced) this.syncedAt = storage.syncSequence;
  }

  again(): void {
    this.starved = true;
    this.touch();
  }

  /** Whether what is gathered may leave; if not, it is held until it may. */
  private stored(): boolean {
    const storage = this.context.storage!;
    if (this.storedAt > storage.written && storage.failed === undefined) storage.commit();
    if (this.storedAt > storage.written) {
      this.storageLost();
      return false;
    }
    if (this.syncedAt <= storage.synced) {
      this.storedAt = 0;
      this.syncedAt = 0;
      return true;
    }
    if (this.outbound.gathered === 0) return true;
    const { syncedAt } = this;
    this.storedAt = 0;
    this.syncedAt = 0;
    this.gated = true;
    this.outbound.hold();
    storage.whenSynced(syncedAt, (error) => {
      this.gated = false;
      if (error !== undefined) this.storageLost();
      else this.flush();
    });
    return false;
  }

  /** Acknowledgements wait here for what could not be stored: they are not given, and the client has to ask again. */
  private storageLost(): void {
    this.storedAt = 0;
    this.syncedAt = 0;
    const stuck = this.outbound.busy;
    this.outbound.discard();
    if (this.state === ConnectionState.Closed || stuck) this.stream.destroy();
    else this.disconnect(ReasonCode.ServerBusy, 'storage cannot be written');
  }

  onWritten(): void {
    this.outbound.completed();
    this.flush();
  }

  private refill(): void {
    if (!this.starved || this.state !== ConnectionState.Connected) return;
    this.starved = false;
    try {
      this.session!.pump();
    } catch (error) {
      this.fail(error); // a bug in this connection's state ends this connection, not the turn of the others
    }
  }

  publish(
    message: Message,
    qos: QoS,
    retain: boolean,
    dup: boolean,
    packetId: number,
    subscriptionIds: readonly number[] | undefined,
  ): boolean {
    const { metrics, limits, policy } = this.context;
    if (policy.authorizeReceive !== undefined && !policy.authorizeReceive(this.client!, this.seen(message.topicName)))
      return false;
    if (qos === 0 && (this.outbound.bytes + message.bytes > limits.outboundBytesMax || this.crowded)) return false;
    if (this.rates?.limitsDelivery) {
      if (qos === 0 && !this.mayDeliver(this.rates)) return false;
      this.rates.delivered(1, message.bytes, this.context.nowMs());
    }
    if (writePublish(this, message, qos, retain, dup, packetId, subscriptionIds, this.context.nowMs) === 0)
      return false;
    metrics.packetsSent++;
    metrics.publishSent++;
    metrics.publishBytesSent += message.bodyEnd - message.payloadStart;
    this.touch();
    return true;
  }

  /** A topic name as the client knows it. */
  private seen(topicName: string): string {
    return this.mountBytes > 0 && topicName.startsWith(this.mountPoint)
      ? topicName.slice(this.mountPoint.length)
      : topicName;
  }

  publishRun(run: PublishRun, delivery: Delivery): void {
    const { metrics, limits, policy } = this.context;
    const { outbound, version5 } = this;
    if (policy.authorizeReceive !== undefined && !policy.authorizeReceive(this.client!, this.seen(run.topicName))) {
      metrics.publishDropped += run.count;
      return;
    }
    const length = run.length(version5);
    if (this.rates?.limitsDelivery) {
      if (!this.mayDeliver(this.rates)) {
        metrics.publishDropped += run.count;
        return;
      }
      this.rates.delivered(run.count, length, this.context.nowMs());
    }
    if (outbound.bytes + length > limits.outboundBytesMax || this.crowded) {
      metrics.publishDropped += run.count;
      return;
    }
    // What each receiver words differently, or may find too large, goes message by message.
    if (
      (delivery.subscriptionIds !== undefined && version5) ||
      this.aliases !== undefined ||
      this.mountBytes > 0 ||
      run.packetBytesMaxFor(version5) > this.packetBytesMax
    ) {
      for (const message of run.messages())
        if (!this.publish(message, 0, false, false, 0, delivery.subscriptionIds)) metrics.publishDropped++;
      return;
    }
    if (length > RUN_CHUNK_BYTES || (length >= SHARE_BYTES_MIN && run.receivers > 1))
      outbound.reference(run.shared(version5));
    else {
      const at = outbound.reserve(length);
      run.copyTo(version5, outbound.chunk!, at);
    }
    metrics.packetsSent += run.count;
    metrics.publishSent += run.count;
    metrics.publishBytesSent += run.payloadBytes;
    this.touch();
  }

  pubrel(packetId: number, found: boolean): void {
    this.acknowledge(
      0x62,
      packetId,
      found || !this.version5 ? ReasonCode.Success : ReasonCode.PacketIdentifierNotFound,
    );
  }

  /**
   * Sends PUBACK (0x40), PUBREC (0x50), PUBREL (0x62) or PUBCOMP (0x70); a reason other than Success in 5.0 only, and with it
   * a Reason String where it is a refusal.
   */
  acknowledge(header: number, packetId: number, reasonCode: number): void {
    const { outbound } = this;
    if (reasonCode >= 0x80 && this.version5) {
      const properties: Properties = { reasonString: refusalOf(reasonCode) };
      this.send({ type: (header >> 4) as AcknowledgePacket['type'], packetId, reasonCode, properties });
      return;
    }
    this.answered = true;
    if (reasonCode === 0 || !this.version5) {
      let at = outbound.reserve(4);
      const bytes = outbound.chunk!;
      bytes[at++] = header;
      bytes[at++] = 2;
      bytes[at++] = packetId >>> 8;
      bytes[at] = packetId & 0xff;
    } else {
      let at = outbound.reserve(5);
      const bytes = outbound.chunk!;
      bytes[at++] = header;
      bytes[at++] = 3;
      bytes[at++] = packetId >>> 8;
      bytes[at++] = packetId & 0xff;
      bytes[at] = reasonCode;
    }
    this.context.metrics.packetsSent++;
    this.touch();
  }

  /**
   * Sends a packet other than PUBLISH. Reason String and User Properties are left out where the client wants none
   * [MQTT-3.1.2-29] or where the packet would be larger than it takes [MQTT-3.1.2-24]; a packet that is too large even so
   * is not sent.
   */
  send(packet: Packet): void {
    let bytes = encodePacket(packet, this.version);
    const optional = 'properties' in packet ? packet.properties : undefined;
    const informs = packet.type === PacketType.Connack || packet.type === PacketType.Disconnect;
    if (optional !== undefined && (bytes.length > this.packetBytesMax || (!this.problemInformation && !informs))) {
      const { reasonString: _reason, userProperties: _user, ...needed } = optional;
      bytes = encodePacket({ ...packet, properties: needed } as Packet, this.version);
    }
    if (bytes.length > this.packetBytesMax) return;
    if (promises(packet)) this.answered = true;
    const at = this.outbound.reserve(bytes.length);
    bytes.copy(this.outbound.chunk!, at);
    this.context.metrics.packetsSent++;
    this.touch();
  }

  // ---- the end ----

  /** Whatever handling a packet threw: a broken peer is told and logged; a damaged disk and our own bugs end this connection alone. */
  fail(error: unknown): void {
    if (this.state === ConnectionState.Closed) return;
    if (error instanceof ProtocolFailure) {
      this.context.log.warning('connection.protocol-failure', error.message, {
        ...this.description,
        reasonCode: error.reasonCode,
        requirement: error.requirement,
      });
      this.refuse(error.reasonCode, `${error.field} [${error.requirement}]`);
      return;
    }
    if (error instanceof Fault) {
      this.context.log.error(error.code, error.message, this.description);
      this.refuse(ReasonCode.UnspecifiedError, undefined);
      return;
    }
    this.context.log.error(
      'connection.bug',
      error instanceof Error ? (error.stack ?? error.message) : String(error),
      this.description,
    );
    this.refuse(ReasonCode.UnspecifiedError, undefined);
  }

  /** Ends the connection with a reason: CONNACK before the handshake is done, DISCONNECT after, none for 3.x. */
  refuse(reasonCode: number, reasonString: string | undefined, properties: Properties = {}): void {
    if (this.state === ConnectionState.Closed) return;
    const told: Properties = reasonString === undefined ? properties : { ...properties, reasonString };
    this.disconnectReason = reasonCode;
    if (this.state === ConnectionState.Connected) {
      // [MQTT-3.14.0-1] only after a successful CONNACK; 3.x has no DISCONNECT from a server
      if (this.version5) this.send({ type: PacketType.Disconnect, reasonCode, properties: told });
    } else {
      this.context.metrics.connectionsRefused++;
      if (this.version5) this.send({ type: PacketType.Connack, sessionPresent: false, reasonCode, properties: told });
      else {
        const returnCode = returnCodeOf(reasonCode);
        if (returnCode !== undefined)
          this.send({ type: PacketType.Connack, sessionPresent: false, reasonCode: returnCode });
      }
    }
    this.end();
  }

  /** Ends the connection with a DISCONNECT that the broker decides on. */
  disconnect(reasonCode: DisconnectReasonCode, reasonString?: string): void {
    if (this.state === ConnectionState.Opening)
      this.end(); // CONNACK answers a CONNECT, and none has come
    else this.refuse(reasonCode, reasonString);
  }

  takenOver(): void {
    this.context.log.information('connection.taken-over', 'another connection took over the session', this.description);
    this.refuse(ReasonCode.SessionTakenOver, 'another connection uses this client identifier');
  }

  /** Sends what waits and closes the stream; the session is let go at once. */
  end(): void {
    if (this.state === ConnectionState.Closed) return;
    const wasConnected = this.state === ConnectionState.Connected;
    this.state = ConnectionState.Closed;
    this.context.wheel.disarm(this.timer);
    // A peer that does not read gets no goodbye: what was under way before it would hold the connection open.
    const stuck = this.outbound.busy && this.stream.preparing !== true;
    if (this.context.storage !== undefined) this.gateAnswers();
    this.flush();
    if (stuck) this.stream.destroy();
    else if (this.gated || this.outbound.holds || this.outbound.gathered > 0) this.endsWhenStored = true;
    else this.stream.end();
    this.leave(wasConnected);
  }

  /** Closes the stream at once, whatever waits. */
  destroy(): void {
    this.stream.destroy();
  }

  onClosed(error?: Error): void {
    if (this.state !== ConnectionState.Closed) {
      const wasConnected = this.state === ConnectionState.Connected;
      this.state = ConnectionState.Closed;
      this.context.wheel.disarm(this.timer);
      if (error !== undefined) this.context.log.debug('connection.lost', error.message, this.description);
      this.leave(wasConnected);
    }
    this.outbound.discard();
    this.cutter.discard();
    this.closed(this);
  }

  private leave(wasConnected: boolean): void {
    const { session } = this;
    this.cutter.discard();
    if (this.expiryTimer !== undefined) this.context.wheel.disarm(this.expiryTimer);
    clearTimeout(this.rateTimer);
    clearTimeout(this.deliveryTimer);
    if (this.countedUser !== undefined) this.context.protection.perUser.remove(this.countedUser);
    this.countedUser = undefined;
    if (session !== undefined) this.context.sessions.close(session, this, this.discardWill);
    if (wasConnected) this.left();
  }

  /** A client that was connected is not any more. */
  protected left(): void {
    this.context.metrics.clientsConnected--;
    this.context.observer.disconnected(this, this.disconnectReason);
  }

  // ---- time ----

  /** Begins keep alive, from now on. */
  startKeepAlive(): void {
    this.context.wheel.disarm(this.timer);
    if (this.keepAlive > 0) this.context.wheel.arm(this.timer, this.keepAlive * 1500); // [MQTT-3.1.2-22]
  }

  /** Ends the connection at that time, milliseconds since the Unix epoch: what admitted the client is not valid any longer. */
  endAt(timeMs: number | undefined): void {
    const { wheel } = this.context;
    if (this.expiryTimer !== undefined) wheel.disarm(this.expiryTimer);
    if (timeMs === undefined) return;
    this.expiryTimer ??= new WheelTimer(() => {
      // The wheel takes no wait of any length.
      const left = this.expiresAtMs - this.context.clock.nowMs();
      if (left > 0) wheel.arm(this.expiryTimer!, Math.min(left, EXPIRY_WAIT_MS));
      else this.disconnect(ReasonCode.MaximumConnectTime, 'the connection has lasted as long as it may');
    });
    this.expiresAtMs = timeMs;
    wheel.arm(this.expiryTimer, Math.min(Math.max(0, timeMs - this.context.clock.nowMs()), EXPIRY_WAIT_MS));
  }

  private onTimer(): void {
    if (this.state === ConnectionState.Closed) return;
    if (this.state !== ConnectionState.Connected) {
      this.context.log.information('connection.connect-timeout', 'no complete CONNECT in time', this.description);
      this.end();
      return;
    }
    const { wheel } = this.context;
    const idleTicks = this.isPaused ? 0 : wheel.tick - this.lastReceivedTick;
    const patience = wheel.ticksOf(this.keepAlive * 1500);
    if (idleTicks < patience) {
      wheel.armTicks(this.timer, patience - idleTicks);
      return;
    }
    this.context.log.information(
      'connection.keep-alive-timeout',
      `nothing received for 1.5 × ${this.keepAlive} s`,
      this.description,
    );
    this.refuse(ReasonCode.KeepAliveTimeout, `nothing received for 1.5 times the keep alive of ${this.keepAlive} s`);
  }

  get description(): { clientId?: string; peer: string; listener: string } {
    const { address, port } = this.stream.peer;
    const peer = address === '' ? 'local' : `${address}:${port}`;
    return this.client === undefined
      ? { peer, listener: this.listener.name }
      : { clientId: this.client.clientId, peer, listener: this.listener.name };
  }

  /** Words for the end of this connection, as observers and logs show them. */
  get endedBecause(): string {
    if (this.disconnectReason < 0) return 'connection lost';
    return this.disconnectReason === 0 ? 'Normal disconnection' : reasonName(this.disconnectReason);
  }
}

/** What a refused acknowledgement means here, in words. */
function refusalOf(reasonCode: number): string {
  switch (reasonCode) {
    case ReasonCode.NotAuthorized:
      return 'the client may not publish to this topic';
    case ReasonCode.QuotaExceeded:
      return 'the retained store or the queue of a subscriber is full';
    case ReasonCode.PacketIdentifierNotFound:
      return 'no exchange with this packet identifier is open';
    default:
      return reasonName(reasonCode);
  }
}

/** Whether the client may rely on something from then on. */
function promises({ type }: Packet): boolean {
  return type === PacketType.Connack || type === PacketType.Suback || type === PacketType.Unsuback;
}

function notConnect(header: number): ProtocolFailure {
  return new ProtocolFailure(
    ReasonCode.ProtocolError,
    'MQTT-3.1.0-1',
    `first packet is of type ${header >> 4}, not CONNECT`,
  );
}
