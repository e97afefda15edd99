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
import { Fault, type Limits, steadyClock, WheelTimer } from '../base/index.js';
import type { Client } from '../policy/index.js';
import {
  type AcknowledgePacket,
  connackCodeOf,
  type DisconnectReasonCode,
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
import { type ByteSink, type ByteStream, type PeerAddress, peerName } from '../transport/index.js';
import { ConnectionState } from './connection-state.js';
import type { ConnectionContext, ListenerOptions } from './context.js';
import { Deadline } from './deadline.js';
import type { EnhancedAuthentication } from './on-auth.js';
import { onFirstBytes, onPacket, onTooLarge } from './on-packet.js';
import { onPublish, receiveRun } from './on-publish.js';
import { Outbound } from './outbound.js';
import { PacketCutter, type PacketHandler } from './packet-cutter.js';
import { encodeFor, isAwaited, promises, refusalOf, tooLargeFor, writeAcknowledgement } from './packet-writer.js';
import type { ClientRates, RateOutcome } from './protection/rates.js';
import { writePublish, writeRun } from './publish-writer.js';
import type { RefusalLines } from './refusal-lines.js';
import { type GateKeeper, StorageGate } from './storage-gate.js';
import type { AliasesFromClient, AliasesToClient } from './topic-aliases.js';
import { type TransportFacts, transportFacts } from './transport-facts.js';
import { yieldToReaders } from './yield-to-readers.js';

/** A session stops taking from its queue, and publishers are held, while more than this waits for the socket, bytes. */
const ROOM_BYTES = 1_048_576;

export class Connection implements ByteSink, PacketHandler, Link, HeldPublisher, GateKeeper {
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
  /** Exchanges of QoS 2 that earlier connections left open, at most: Receive Maximum is about this one. */
  receivedBefore = 0;
  /** How often its subscriptions were asked for again: a verdict from before the last time does not count any more. */
  recheckRound = 0;
  /** The topic published to last: a client that repeats itself saves the look-up. */
  lastEntry: TopicEntry | undefined;

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
  /** Undefined where nothing is stored. */
  private readonly storageGate: StorageGate | undefined;
  private endsWhenStored = false;
  private rateTimer: NodeJS.Timeout | undefined;
  private deliveryTimer: NodeJS.Timeout | undefined;
  private expiry: Deadline | undefined;
  /** A 3.x client publishes at QoS 1 or 2 while storage cannot be written. */
  awaitsStorage = false;
  /** Since its first publish or subscription that was refused. */
  refusalLines: RefusalLines | undefined;

  constructor(
    readonly context: ConnectionContext,
    readonly listener: ListenerOptions,
    private readonly stream: ByteStream,
    private readonly closed: (connection: Connection) => void,
  ) {
    this.outbound = new Outbound(context.outboundTotals);
    this.storageGate = context.storage === undefined ? undefined : new StorageGate(context.storage);
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
    this.storageGate?.begin();
    try {
      if (this.state === ConnectionState.Opening && this.cutter.isEmpty) onFirstBytes(bytes, start, end);
      this.cutter.push(bytes, start, end);
    } catch (error) {
      this.fail(error);
    } finally {
      context.pressure.publisher = undefined;
    }
    this.storageGate?.settle();
    const { outboundTotals: totals } = context;
    if (totals.over) yieldToReaders(this);
    else if (totals.strained) totals.noteRelief(steadyClock.nowMs());
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
    onTooLarge(this, bytes[start]!, bytes, bodyStart, end, packetBytes);
  }

  /** Only 5.0 demands the shortest form. What version it is stands behind the protocol name of CONNECT. */
  allowsPadding(bytes: Buffer, bodyStart: number, bodyEnd: number): boolean {
    if (this.connected) return !this.version5;
    const level = bodyStart + 2 + ((bytes[bodyStart]! << 8) | bytes[bodyStart + 1]!);
    return level < bodyEnd && (bytes[level]! & 0x7f) < 5; // bit 7 is the bridge bit
  }

  protected onPacket(header: number, bytes: Buffer, start: number, end: number): void {
    onPacket(this, header, bytes, start, end);
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
    this.storageGate?.begin();
    try {
      this.cutter.resume();
    } catch (error) {
      this.fail(error);
    }
    this.storageGate?.settle();
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

  /** More waits for all connections together than may, and this one has more than a little of it. */
  private get crowded(): boolean {
    const { outboundTotals: totals } = this.context;
    return totals.over && totals.crowds(this.outbound.bytes);
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

  /** These rates from now on: what the former ones made wait goes on. */
  replaceRates(rates: ClientRates | undefined): void {
    this.rates = rates;
    clearTimeout(this.deliveryTimer);
    this.deliveryTimer = undefined;
    this.refill();
    if (this.rateTimer === undefined) return;
    clearTimeout(this.rateTimer);
    this.rateTimer = undefined;
    this.proceed();
  }

  /** Counts one PUBLISH against the rates of the client, which may have to wait now before its next packet is handled. */
  spendRate(rates: ClientRates, bytes: number): void {
    const wait = rates.published(1, bytes, this.context.nowMs());
    if (wait === 0 || this.rateTimer !== undefined) return;
    this.context.metrics.publishDelayed++;
    this.tellAboveRate(rates, 'delay');
    this.suspend();
    this.rateTimer = setTimeout(() => {
      this.rateTimer = undefined;
      this.proceed();
    }, wait).unref();
  }

  /** Once for each connection: a client above its rate would fill the log. */
  tellAboveRate(rates: ClientRates, outcome: RateOutcome): void {
    if (rates.told) return;
    rates.told = true;
    const { log } = this.context;
    log.information('client.above-rate', 'The client publishes faster than it may.', { ...this.description, outcome });
  }

  /** Asks for this turn's output to be sent when the turn ends. */
  touch(): void {
    if (this.flushing) return;
    this.flushing = true;
    this.context.turn.add(this);
  }

  flush(): void {
    this.flushing = false;
    if (this.state === ConnectionState.Closed && this.session === undefined && this.outbound.bytes === 0) return;
    const { storageGate: gate } = this;
    if (gate?.shut || !this.outbound.flushHeld(this.stream)) return;
    if (gate !== undefined && !gate.passes(this)) return;
    if (this.outbound.flush(this.stream)) this.refill();
    if (this.endsWhenStored && this.outbound.gathered === 0) {
      this.endsWhenStored = false;
      this.stream.end();
    }
  }

  // ---- storage ----

  gate(): void {
    this.storageGate!.raise();
  }

  gateOpened(lost: boolean): void {
    if (lost) this.storageLost();
    else this.flush();
  }

  again(): void {
    this.starved = true;
    this.touch();
  }

  /** Acknowledgements wait here for what could not be stored: they are not given, and the client has to ask again. */
  private storageLost(): void {
    this.storageGate!.forget();
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
    const limited = this.rates?.limitsDelivery ? this.rates : undefined;
    if (limited !== undefined && qos === 0 && !this.mayDeliver(limited)) return false;
    const bytes = writePublish(this, message, qos, retain, dup, packetId, subscriptionIds, this.context.nowMs);
    if (bytes === 0) return false;
    limited?.delivered(1, bytes, this.context.nowMs());
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
    const limited = this.rates?.limitsDelivery ? this.rates : undefined;
    if (limited !== undefined && !this.mayDeliver(limited)) {
      metrics.publishDropped += run.count;
      return;
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
    limited?.delivered(run.count, length, this.context.nowMs());
    writeRun(outbound, run, version5, length);
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
   * a Reason String where it is a refusal: `reason`, or what the code means here.
   */
  acknowledge(header: number, packetId: number, reasonCode: number, reason?: string): void {
    if (reasonCode >= 0x80 && this.version5) {
      const properties: Properties = { reasonString: reason ?? refusalOf(reasonCode) };
      this.send({ type: (header >> 4) as AcknowledgePacket['type'], packetId, reasonCode, properties });
      return;
    }
    if (this.storageGate !== undefined) this.storageGate.answered = true;
    writeAcknowledgement(this.outbound, header, packetId, this.version5 ? reasonCode : ReasonCode.Success);
    this.context.metrics.packetsSent++;
    this.touch();
  }

  /** Sends a packet other than PUBLISH, as far as the client takes it (`encodeFor`). */
  send(packet: Packet): void {
    const bytes = encodeFor(this, packet);
    if (bytes === undefined) {
      if (isAwaited(packet)) throw tooLargeFor(this);
      return;
    }
    if (this.storageGate !== undefined && promises(packet)) this.storageGate.answered = true;
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
    else this.refuse(this.connected ? reasonCode : connackCodeOf(reasonCode), reasonString);
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
    this.storageGate?.settle();
    this.flush();
    if (stuck) this.stream.destroy();
    else if (this.storageGate?.shut || this.outbound.holds || this.outbound.gathered > 0) this.endsWhenStored = true;
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
    this.expiry?.clear();
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

  /** A client that is not connected yet is answered so much later: it has not taken longer for that. */
  allowTime(milliseconds: number): void {
    if (this.state !== ConnectionState.Connected)
      this.context.wheel.arm(this.timer, milliseconds + this.context.limits.connectTimeoutSeconds * 1000);
  }

  /** Ends the connection at that time, milliseconds since the Unix epoch: what admitted the client is not valid any longer. */
  endAt(timeMs: number | undefined): void {
    if (timeMs === undefined) {
      this.expiry?.clear();
      return;
    }
    const { wheel, clock } = this.context;
    this.expiry ??= new Deadline(wheel, clock, () =>
      this.disconnect(ReasonCode.MaximumConnectTime, 'the connection has lasted as long as it may'),
    );
    this.expiry.set(timeMs);
  }

  private onTimer(): void {
    if (this.state === ConnectionState.Closed) return;
    if (this.state !== ConnectionState.Connected) {
      // While nothing is parsed the answer is ours to give.
      const owed = this.state === ConnectionState.Authenticating && this.cutter.suspended;
      const what = owed ? 'no verdict on the login in time' : 'no complete CONNECT in time';
      this.context.log.information('connection.connect-timeout', what, this.description);
      if (owed) return this.refuse(ReasonCode.ServerUnavailable, what);
      this.context.metrics.connectionsRefused++;
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
    const peer = peerName(this.stream.peer);
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
