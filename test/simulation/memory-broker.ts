/**
 * The broker's protocol path without sockets, timers or chance: connections over in-memory streams, a clock and a turn that
 * the test moves. What a client sends is handled before `send` returns; what the broker answers is there after it.
 */
import { type Clock, defaultLimits, type Limits, silentLogger, TimerWheel, Turn } from '../../src/base/index.js';
import {
  Connection,
  type ConnectionContext,
  OutboundTotals,
  Protection,
  type ProtectionOptions,
} from '../../src/connection/index.js';
import { BrokerMetrics } from '../../src/metrics/index.js';
import { AccessPolicy, openAccess } from '../../src/policy/index.js';
import {
  encodePacket,
  Message,
  type Packet,
  PacketReader,
  type ProtocolVersion,
  PublishRun,
  PublishView,
} from '../../src/protocol/index.js';
import { Router } from '../../src/router/index.js';
import { Pressure, SessionRegistry } from '../../src/session/index.js';
import type { ByteSink, ByteStream, PeerAddress } from '../../src/transport/index.js';

const nothing = () => {};

const noProtection: ProtectionOptions = {
  rates: [],
  connectionsPerUserMax: 0,
  connectionsPerAddressMax: 0,
  connectionsPerSecondMax: 0,
  connectionSecondsMax: 0,
  flapping: { connectsMax: 0, windowSeconds: 60, banSeconds: 60 },
  logins: { failuresMax: 0, windowSeconds: 60, delaySecondsMax: 1 },
};

export class MemoryBroker {
  nowMs = 1_000_000;
  readonly metrics = new BrokerMetrics(0);
  readonly context: ConnectionContext;
  private readonly clock: Clock = { nowMs: () => this.nowMs };
  private readonly wheel = new TimerWheel(this.clock);

  constructor(limits: Partial<Limits> = {}) {
    const all: Limits = { ...defaultLimits, ...limits };
    const pressure = new Pressure(this.wheel, 0);
    const router = new Router({
      strategy: 'roundRobin',
      sharedQueueMessagesMax: all.sharedQueueMessagesMax,
      topicCacheEntriesMax: all.topicCacheEntriesMax,
      retainedMessagesMax: all.retainedMessagesMax,
      retainedBytesMax: all.retainedBytesMax,
      clock: this.clock,
      wheel: this.wheel,
      onDropped: () => this.metrics.publishDropped++,
    });
    const sessions = new SessionRegistry(
      { router, wheel: this.wheel, clock: this.clock, limits: all, metrics: this.metrics, pressure },
      (values) => router.publish(Message.create(values, this.nowMs)),
    );
    this.context = {
      clock: this.clock,
      nowMs: () => this.nowMs,
      wheel: this.wheel,
      turn: new Turn(),
      retainedSources: { of: () => undefined, mayDeliver: () => true },
      run: new PublishRun(),
      view: new PublishView(),
      limits: all,
      granted: all,
      protocol: {
        maximumQoS: 2,
        retain: true,
        wildcardSubscriptions: true,
        subscriptionIdentifiers: true,
        sharedSubscriptions: true,
        clientIdPrefixes: [],
        refuseLongKeepAlive: false,
        responseInformation: '',
        redirect: undefined,
      },
      metrics: this.metrics,
      log: silentLogger,
      policy: new AccessPolicy(openAccess, { log: silentLogger }),
      protection: new Protection(noProtection, this.clock, silentLogger, undefined),
      router,
      sessions,
      pressure,
      outboundTotals: new OutboundTotals(all.memoryOutboundBytesMax, this.metrics),
      observer: { connected: nothing, disconnected: nothing, subscribed: nothing, unsubscribed: nothing },
      control: undefined,
      storage: undefined,
    };
  }

  dial(version: ProtocolVersion): MemoryClient {
    return new MemoryClient(this, version);
  }

  /** Lets every connection send what it gathered; until nothing more comes of it. */
  settle(): void {
    for (let turns = 0; turns < 3; turns++) this.context.turn.run();
  }

  /** Moves the clock and fires what is due, a tick at a time as the interval would. */
  advance(milliseconds: number): void {
    for (let passed = 0; passed < milliseconds; passed += 250) {
      this.nowMs += 250;
      this.wheel.advance();
    }
    this.settle();
  }
}

export class MemoryClient implements ByteStream {
  readonly peer: PeerAddress = { address: '127.0.0.1', port: 1, localAddress: '127.0.0.1', localPort: 2 };
  readonly received: Packet[] = [];
  closed = false;
  private sink: ByteSink | undefined;
  private readonly reader = new PacketReader('client', 268_435_455);

  constructor(
    private readonly broker: MemoryBroker,
    private readonly version: ProtocolVersion,
  ) {
    this.reader.version = version;
    const listener = {
      name: 'memory',
      allowAnonymous: true,
      mountPoint: '',
      connectionsMax: 1e6,
      protocolVersions: [3, 4, 5] as const,
    };
    new Connection(broker.context, listener, this, nothing).start();
  }

  /** Sends packets in one piece. */
  send(...packets: Packet[]): void {
    this.sendBytes(Buffer.concat(packets.map((packet) => encodePacket(packet, this.version))));
  }

  sendBytes(bytes: Buffer): void {
    if (!this.closed) this.sink!.onBytes(bytes, 0, bytes.length);
    this.broker.settle();
  }

  /** What came since the last call. */
  take(): Packet[] {
    return this.received.splice(0);
  }

  /** The network fails. */
  drop(): void {
    this.destroy();
    this.broker.settle();
  }

  start(sink: ByteSink): void {
    this.sink = sink;
  }

  write(chunk: Uint8Array): boolean {
    this.reader.read(Buffer.from(chunk), (packet) => this.received.push(packet));
    return true;
  }

  writeMany(chunks: Uint8Array[]): boolean {
    return this.write(Buffer.concat(chunks));
  }

  pause(): void {}

  resume(): void {}

  end(): void {
    this.destroy();
  }

  destroy(): void {
    if (this.closed) return;
    this.closed = true;
    this.sink?.onClosed();
  }
}
