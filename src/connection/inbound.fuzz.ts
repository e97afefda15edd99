/**
 * Damaged packets against the codec and against a broker in memory: no crash, no hang, no growth, and nobody else touched.
 *
 * Each packet is decoded by itself (`DecoderFuzz`) and then sent, in pieces, over a connection that has usually come through
 * its CONNECT. What must hold: the connection never meets a bug of ours; a packet that the decoder refuses ends it, with the
 * same reason code, logged once; whatever the broker answers can be decoded; a bystander loses nothing.
 * The same seed does the same again.
 */
import assert from 'node:assert/strict';
import { setImmediate as immediate } from 'node:timers/promises';
import { MemoryBroker, type MemoryClient } from '../../test/simulation/memory-broker.js';
import type { Logger } from '../base/index.js';
import { Random } from '../base/random.fuzz.js';
import type { ExchangeStep } from '../policy/index.js';
import { checkFailure, DecoderFuzz } from '../protocol/decoder.fuzz.js';
import {
  PacketReader,
  PacketType,
  type ProtocolVersion,
  ReasonCode,
  type Role,
  readVariableByteInteger,
  variableByteIntegerLength,
} from '../protocol/index.js';
import { Mutator } from '../protocol/mutator.fuzz.js';
import { PacketGenerator } from '../protocol/packet-generator.fuzz.js';
import type { ByteSink, ByteStream, PeerAddress } from '../transport/index.js';
import { ConnectionState } from './connection-state.js';
import { Connection, type ConnectionContext, type ListenerOptions } from './index.js';

export interface FuzzOptions {
  readonly version: ProtocolVersion;
  readonly count: number;
  readonly seed: number;
  /** Called about every `REPORT_PACKETS`. */
  readonly onProgress?: (result: FuzzResult) => void;
}

export interface FuzzResult {
  packets: number;
  decoded: number;
  refused: number;
  connections: number;
  /** Slowest round of `ROUND_PACKETS`, milliseconds. */
  slowestRoundMs: number;
  /** After a forced collection where the runtime allows it, bytes. */
  heapBefore: number;
  heapAfter: number;
}

const PACKET_BYTES_MAX = 150_000;
const ROUND_PACKETS = 1000;
const REPORT_PACKETS = 100_000;
/** Heap is taken as settled after this many packets; growth counts from there. */
const WARM_UP_PACKETS = 100_000;
const HEAP_GROWTH_MAX = 16 * 1024 * 1024;
/** Far beyond any pause of the machine: only a hang takes this long. */
const ROUND_MS_MAX = 60_000;
const POOL = 512;
const listener: ListenerOptions = {
  name: 'fuzz',
  allowAnonymous: true,
  mountPoint: '',
  connectionsMax: 1000,
  protocolVersions: [3, 4, 5],
};

export async function fuzzPackets(options: FuzzOptions): Promise<FuzzResult> {
  // Half of the packets are refused with an Error; long stacks of them would cost a third of the time.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 4;
  try {
    return await run(options);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

async function run(options: FuzzOptions): Promise<FuzzResult> {
  const fuzz = new InboundFuzz(options.version, options.seed);
  const { result } = fuzz;
  while (result.packets < options.count) {
    try {
      await fuzz.round();
    } catch (error) {
      const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
      throw new Error(
        `version ${options.version}, seed ${options.seed}, packet ${result.packets}: ${fuzz.last.toString('hex')}\n${what}`,
      );
    }
    if (result.packets % REPORT_PACKETS === 0) options.onProgress?.(result);
  }
  fuzz.measureHeap();
  if (result.packets > 2 * WARM_UP_PACKETS && globalThis.gc !== undefined)
    assert.ok(
      result.heapAfter - result.heapBefore < HEAP_GROWTH_MAX,
      `the heap grew from ${result.heapBefore} to ${result.heapAfter} bytes`,
    );
  return result;
}

/** The log of a broker that must never speak of a bug. */
class WatchfulLog implements Logger {
  readonly level = 3;
  failures = 0;
  lastReasonCode: unknown;
  /** Bugs of ours; thrown where the fuzzer looks, since a connection survives what its stream or log throws. */
  readonly bugs: string[] = [];

  error(event: string, sentence: string): void {
    this.bugs.push(`${event}: ${sentence}`);
  }

  warning(event: string, _sentence: string, fields: Readonly<Record<string, unknown>> = {}): void {
    if (event !== 'connection.protocol-failure') return;
    this.failures++;
    this.lastReasonCode = fields.reasonCode;
    if (fields.requirement === '') this.bugs.push('a failure without requirement');
  }

  information(): void {}
  debug(): void {}
}

class InboundFuzz {
  readonly result: FuzzResult = {
    packets: 0,
    decoded: 0,
    refused: 0,
    connections: 0,
    slowestRoundMs: 0,
    heapBefore: 0,
    heapAfter: 0,
  };
  private readonly random: Random;
  private readonly generator: PacketGenerator;
  private readonly mutator: Mutator;
  private readonly decoder: DecoderFuzz;
  private readonly log = new WatchfulLog();
  private readonly broker = new MemoryBroker({
    packetBytesMax: PACKET_BYTES_MAX,
    sessionExpirySecondsMax: 20,
    queueMessagesMax: 20,
    retainedMessagesMax: 200,
    topicCacheEntriesMax: 2048,
    outboundBytesMax: 200_000,
    memoryOutboundBytesMax: 400_000,
    sharedQueueMessagesMax: 20,
  });
  private readonly context: ConnectionContext;
  private readonly pools: Readonly<Record<Role, Buffer[]>>;
  private readonly bystander: MemoryClient;
  private readonly neighbour: MemoryClient;
  private peer: FuzzPeer;
  private serial = 0;

  constructor(version: ProtocolVersion, seed: number) {
    this.random = new Random(seed * 8 + version);
    this.generator = new PacketGenerator(this.random, version);
    this.mutator = new Mutator(this.random);
    this.decoder = new DecoderFuzz(version, PACKET_BYTES_MAX);
    const pool = (role: Role) => Array.from({ length: POOL }, () => this.generator.encoded(role));
    this.pools = { server: pool('server'), client: pool('client') };
    this.context = { ...this.broker.context, log: this.log, policy: exchanging(this.broker.context.policy) };
    this.bystander = this.join('bystander');
    this.neighbour = this.join('neighbour');
    const subscription = { qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
    this.bystander.send({
      type: PacketType.Subscribe,
      packetId: 1,
      subscriptions: [{ topicFilter: 'bystander/#', ...subscription }],
    });
    this.bystander.take();
    this.peer = this.dial();
  }

  /** The packet in hand, for the report of a failure. */
  get last(): Buffer {
    return this.mutator.bytes.subarray(0, this.mutator.length);
  }

  async round(): Promise<void> {
    const startedAt = performance.now();
    for (let count = 0; count < ROUND_PACKETS; count++) {
      const role: Role = this.random.below(4) < 3 ? 'server' : 'client';
      const pool = this.pools[role];
      if (this.random.oneIn(8)) pool[this.random.below(POOL)] = this.generator.encoded(role);
      this.mutator.mutate(this.random.pick(pool), this.random.pick(pool));
      const framed = !this.random.oneIn(5);
      if (framed) this.mutator.frame();
      this.decode(role);
      // A server is now and then sent what only clients get.
      if (role === 'server' || this.random.oneIn(16)) await this.send(role, framed);
      this.result.packets++;
    }
    this.checkBystander();
    this.checkLog();
    // Whatever outlives its connection outlives it for 20 s at most.
    this.broker.advance(this.random.oneIn(4) ? 21_000 : 250);
    await immediate(); // lets go of what the turns have scheduled
    const took = performance.now() - startedAt;
    this.result.slowestRoundMs = Math.max(this.result.slowestRoundMs, took);
    assert.ok(took < ROUND_MS_MAX, `${ROUND_PACKETS} packets took ${took} ms`);
    this.result.decoded = this.decoder.decoded;
    this.result.refused = this.decoder.refused;
    if (this.result.packets === WARM_UP_PACKETS) this.measureHeap();
  }

  measureHeap(): void {
    globalThis.gc?.();
    this.result.heapAfter = process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers;
    if (this.result.heapBefore === 0) this.result.heapBefore = this.result.heapAfter;
  }

  private decode(role: Role): void {
    const { bytes, length } = this.mutator;
    const remaining = readVariableByteInteger(bytes, 1, length);
    const start = remaining < 0 ? Math.min(2, length) : 1 + variableByteIntegerLength(remaining);
    this.decoder.body(bytes[0]!, bytes, start, length, role);
    if (role === 'client') this.decoder.stream(bytes, length, this.random.below(length + 1));
  }

  private async send(role: Role, framed: boolean): Promise<void> {
    const { random, mutator } = this;
    if (this.peer.closed || (this.peer.dirty && random.oneIn(4))) {
      this.peer.drop();
      this.peer = this.dial();
    }
    const { peer } = this;
    for (let waits = 0; peer.paused && !peer.closed; waits++) {
      await undefined;
      if (waits > 4) this.broker.advance(500);
      assert.ok(waits < 100, 'a paused connection is never read again');
    }
    if (peer.closed) return;
    const { state } = peer.connection;
    const failures = this.log.failures;
    const clean = framed && !peer.dirty && role === 'server' && mutator.length <= PACKET_BYTES_MAX;
    const expected = this.decoder.failure;
    if (!framed) peer.dirty = true;
    peer.told = undefined;
    peer.receive(mutator.bytes, mutator.length, random);
    this.context.turn.run();
    if (random.oneIn(3)) peer.complete();
    this.checkLog();
    if (!clean || state !== ConnectionState.Connected) return;
    assert.ok(this.log.failures <= failures + 1, 'one failure is logged twice');
    if (expected === undefined) return;
    assert.ok(peer.closed, `the connection goes on after ${expected.message}`);
    assert.equal(this.log.failures, failures + 1, `not logged: ${expected.message}`);
    // A client that takes no such packet, or does not read, is told nothing; so are 3.x clients.
    if (peer.told === undefined) return;
    assert.equal(peer.told, this.log.lastReasonCode, 'what is logged is not what the client is told');
    // A packet with two faults may be refused for either.
    const codes = [expected.reasonCode, this.decoder.viewFailure?.reasonCode];
    assert.ok(codes.includes(peer.told as typeof expected.reasonCode), `told ${peer.told} for ${expected.message}`);
  }

  private checkLog(): void {
    assert.deepEqual(this.log.bugs, []);
  }

  private dial(): FuzzPeer {
    const { random } = this;
    this.result.connections++;
    const peer = new FuzzPeer(this.context, random, this.log);
    if (random.oneIn(10)) return peer;
    const connect = this.generator.connect();
    peer.receive(connect, connect.length, random);
    this.context.turn.run();
    return peer;
  }

  private join(clientId: string): MemoryClient {
    const client = this.broker.dial(4);
    client.send({
      type: PacketType.Connect,
      protocolVersion: 4,
      bridge: false,
      cleanStart: true,
      keepAlive: 0,
      clientId,
    });
    client.take();
    return client;
  }

  private checkBystander(): void {
    const payload = Buffer.from(String(++this.serial));
    const topicName = `bystander/${this.serial % 3}`;
    this.neighbour.send(
      { type: PacketType.Publish, dup: false, qos: 0, retain: false, topicName, payload },
      { type: PacketType.Publish, dup: false, qos: 1, retain: false, topicName, packetId: 9, payload },
    );
    assert.deepEqual(
      this.neighbour.take().map(({ type }) => type),
      [PacketType.Puback],
    );
    const received = this.bystander.take();
    assert.equal(received.length, 2, `the bystander got ${received.length} packets`);
    for (const packet of received) {
      assert.ok(packet.type === PacketType.Publish && payload.equals(packet.payload));
      if (packet.packetId !== undefined)
        this.bystander.send({ type: PacketType.Puback, packetId: packet.packetId, reasonCode: ReasonCode.Success });
    }
    assert.equal(this.bystander.closed || this.neighbour.closed, false);
  }
}

/** The policy of the broker with a method `FUZZ`, whose answer is in the first byte of what the client says. */
function exchanging(policy: ConnectionContext['policy']): ConnectionContext['policy'] {
  const answer = async (data: Buffer | undefined): Promise<ExchangeStep> => {
    if (data === undefined || data.length === 0) return { outcome: 'continue', data: Buffer.from('more') };
    if (data[0]! % 8 === 0) return { outcome: 'refused', reasonCode: ReasonCode.NotAuthorized };
    return { outcome: 'success', data: undefined, username: 'fuzz' };
  };
  return {
    authenticate: (request) => policy.authenticate(request),
    authorizePublish: (client, topicName, qos, retain) => policy.authorizePublish(client, topicName, qos, retain),
    authorizeSubscribe: (client, topicFilter, qos) => policy.authorizeSubscribe(client, topicFilter, qos),
    beginExchange: (method) => (method === 'FUZZ' ? { step: answer } : undefined),
  };
}

/** The client's end of one connection: sends in pieces, checks that what comes back can be decoded, is slow at times. */
class FuzzPeer implements ByteStream {
  readonly peer: PeerAddress = { address: '127.0.0.1', port: 1, localAddress: '127.0.0.1', localPort: 2 };
  readonly connection: Connection;
  closed = false;
  paused = false;
  /** Bytes of a packet that may not be whole were sent. */
  dirty = false;
  /** Reason code of the last CONNACK or DISCONNECT, or of the log where the version has none. */
  told: unknown;
  private sink: ByteSink | undefined;
  private owed = false;
  private readonly reader = new PacketReader('client', 268_435_455);

  constructor(
    private readonly context: ConnectionContext,
    private readonly random: Random,
    private readonly log: WatchfulLog,
  ) {
    this.connection = new Connection(context, listener, this, () => {});
    this.connection.start();
  }

  /** Sends `bytes[0..length)` in one to three pieces. */
  receive(bytes: Buffer, length: number, random: Random): void {
    let at = 0;
    while (at < length && !this.closed) {
      const end = random.oneIn(2) ? length : at + 1 + random.below(length - at);
      this.sink!.onBytes(bytes, at, end);
      at = end;
    }
  }

  /** The write under way is done. */
  complete(): void {
    if (!this.owed || this.closed) return;
    this.owed = false;
    this.sink!.onWritten();
  }

  drop(): void {
    this.destroy();
    this.context.turn.run();
  }

  start(sink: ByteSink): void {
    this.sink = sink;
  }

  write(chunk: Uint8Array): boolean {
    if (this.owed) this.log.bugs.push('a write while another is under way');
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    this.reader.version = this.connection.version;
    try {
      this.reader.read(bytes, (packet) => {
        if (packet.type === PacketType.Disconnect || packet.type === PacketType.Connack) this.told = packet.reasonCode;
      });
    } catch (error) {
      this.log.bugs.push(
        `the broker sent what cannot be decoded, ${bytes.toString('hex')}: ${checkFailure(error).message}`,
      );
    }
    this.owed = this.random.oneIn(12);
    return !this.owed;
  }

  writeMany(chunks: Uint8Array[]): boolean {
    return this.write(Buffer.concat(chunks));
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  end(): void {
    this.destroy();
  }

  destroy(): void {
    if (this.closed) return;
    this.closed = true;
    this.sink?.onClosed();
  }
}
