/**
 * A client that sends whatever bytes a test wants and shows every packet that comes back, decoded and as bytes.
 *
 * Nothing here waits for time: a test that says "nothing was sent" asks for an answer that has to come after it (`quiet`).
 * Time only bounds how long a missing packet is waited for.
 */
import assert from 'node:assert/strict';
import type { Duplex } from 'node:stream';
import {
  type ConnackPacket,
  type ConnectPacket,
  decodeBody,
  encodePacket,
  type Packet,
  PacketType,
  type Properties,
  type ProtocolVersion,
  type QoS,
  type SubscriptionRequest,
} from '../../src/protocol/index.js';
import { hex } from './wire-bytes.js';

/** Bound of every wait, milliseconds: reached only when something is broken. */
export const PATIENCE_MS = 20_000;

export interface Received {
  readonly packet: Packet;
  readonly bytes: Buffer;
}

/** A PUBLISH as tests look at it. */
export interface ReceivedMessage {
  readonly topicName: string;
  readonly payload: string;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly dup: boolean;
  /** 0 at QoS 0 */
  readonly packetId: number;
  readonly properties: Properties;
  readonly bytes: Buffer;
}

export type ConnectOptions = Partial<Omit<ConnectPacket, 'type' | 'password'>> & { password?: string };

export interface PublishOptions {
  readonly qos?: QoS;
  readonly retain?: boolean;
  readonly dup?: boolean;
  readonly packetId?: number;
  readonly properties?: Properties;
}

export interface SubscribeOptions extends Partial<Omit<SubscriptionRequest, 'topicFilter'>> {
  readonly packetId?: number;
  readonly properties?: Properties;
}

type PacketOf<T extends PacketType> = Packet extends infer P
  ? P extends { type: infer Types }
    ? T extends Types
      ? P
      : never
    : never
  : never;

export class WireClient {
  clientId = '';
  /** A CONNACK that accepts has come. */
  connected = false;
  private pending = Buffer.alloc(0);
  private readonly arrived: Received[] = [];
  private closedByPeer = false;
  private failure: Error | undefined;
  private wake: () => void = () => {};
  private nextPacketId = 1;

  constructor(
    readonly stream: Duplex,
    readonly version: ProtocolVersion,
  ) {
    stream.on('data', (chunk: Buffer) => this.take(chunk));
    stream.on('end', () => stream.end());
    stream.on('close', () => {
      this.closedByPeer = true;
      this.wake();
    });
    stream.on('error', () => {}); // a reset is a close, and tests ask about that
  }

  /** Sends everything in one write: packets, bytes, or hex. */
  send(...parts: readonly (Packet | Uint8Array | string)[]): void {
    this.stream.write(
      Buffer.concat(
        parts.map((part) => {
          if (typeof part === 'string') return hex(part);
          return part instanceof Uint8Array ? part : encodePacket(part, this.version);
        }),
      ),
    );
  }

  /** The next packet, in the order of arrival. */
  async next(): Promise<Received> {
    await this.until(() => this.arrived.length > 0, 'a packet');
    return this.arrived.shift()!;
  }

  /** The next packet, which has to be of `type`. */
  async packet<T extends PacketType>(type: T): Promise<PacketOf<T>> {
    const { packet, bytes } = await this.next();
    assert.equal(nameOf(packet.type), nameOf(type), `got ${bytes.toString('hex')}`);
    return packet as PacketOf<T>;
  }

  /** The next packet as hex. */
  async bytes(): Promise<string> {
    return (await this.next()).bytes.toString('hex');
  }

  /** The next packet, which has to be a PUBLISH. */
  async message(): Promise<ReceivedMessage> {
    const { packet, bytes } = await this.next();
    if (packet.type !== PacketType.Publish) assert.fail(`expected a PUBLISH, got ${bytes.toString('hex')}`);
    const { topicName, payload, qos, retain, dup, packetId = 0, properties = {} } = packet;
    return { topicName, payload: Buffer.from(payload).toString(), qos, retain, dup, packetId, properties, bytes };
  }

  /** Everything the broker had to send before now has been taken by the test: the next thing to come is a PINGRESP. */
  async quiet(): Promise<void> {
    this.send({ type: PacketType.Pingreq });
    assert.equal(await this.bytes(), 'd000', 'nothing but the PINGRESP');
  }

  /** The broker has closed the connection and sent nothing more. */
  async closed(): Promise<void> {
    await this.until(() => this.closedByPeer || this.arrived.length > 0, 'the connection to close');
    assert.deepEqual(
      this.arrived.map(({ bytes }) => bytes.toString('hex')),
      [],
      'the connection closes without another packet',
    );
    assert.equal(this.pending.length, 0, 'the connection closes between two packets');
  }

  /** The connection is closed, whatever came before. */
  async ended(): Promise<void> {
    await this.until(() => this.closedByPeer, 'the connection to close');
  }

  /**
   * The broker ends the connection: in 5.0 with `reasonCode` in CONNACK or DISCONNECT; in 3.x by closing, after a CONNACK
   * with `returnCode` where one is given and the client is not connected.
   */
  async refused(reasonCode: number, returnCode?: number): Promise<Properties> {
    let properties: Properties | undefined;
    if (this.version === 5) {
      const packet = await this.packet(this.connected ? PacketType.Disconnect : PacketType.Connack);
      assert.equal(hexCode(packet.reasonCode), hexCode(reasonCode));
      if (packet.type === PacketType.Connack) assert.equal(packet.sessionPresent, false);
      properties = packet.properties;
    } else if (!this.connected && returnCode !== undefined) assert.equal(await this.bytes(), `2002000${returnCode}`);
    await this.closed();
    return properties ?? {};
  }

  /** CONNECT with a new session unless the options say otherwise. */
  async connect(options: ConnectOptions = {}): Promise<ConnackPacket> {
    this.sendConnect(options);
    const connack = await this.packet(PacketType.Connack);
    assert.equal(hexCode(connack.reasonCode), '0x0', `CONNACK ${JSON.stringify(connack.properties ?? {})}`);
    this.connected = true;
    return connack;
  }

  sendConnect(options: ConnectOptions = {}): void {
    this.send(connectPacket(this.version, options));
    this.clientId = options.clientId ?? '';
  }

  /** Sends a PUBLISH and waits for nothing. Returns its packet identifier, 0 at QoS 0. */
  publish(topicName: string, payload: string | Uint8Array, options: PublishOptions = {}): number {
    const { qos = 0, retain = false, dup = false, properties } = options;
    const packetId = qos === 0 ? 0 : (options.packetId ?? this.nextPacketId++);
    this.send({
      type: PacketType.Publish,
      topicName,
      payload: Buffer.from(payload),
      qos,
      retain,
      dup,
      ...(qos > 0 ? { packetId } : {}),
      ...(properties === undefined ? {} : { properties }),
    });
    return packetId;
  }

  /** Publishes and sees the exchange through, so that the message is in the broker's hands. Returns its reason code. */
  async deliver(topicName: string, payload: string | Uint8Array, options: PublishOptions = {}): Promise<number> {
    const packetId = this.publish(topicName, payload, options);
    if ((options.qos ?? 0) === 0) {
      await this.quiet();
      return 0;
    }
    const answer = await this.packet(options.qos === 1 ? PacketType.Puback : PacketType.Pubrec);
    assert.equal(answer.packetId, packetId);
    if (options.qos === 2 && answer.reasonCode < 0x80) {
      this.send({ type: PacketType.Pubrel, packetId, reasonCode: 0 });
      assert.equal((await this.packet(PacketType.Pubcomp)).packetId, packetId);
    }
    return answer.reasonCode;
  }

  sendSubscribe(filters: string | readonly string[], options: SubscribeOptions = {}): number {
    const { qos = 0, noLocal = false, retainAsPublished = false, retainHandling = 0, properties } = options;
    const packetId = options.packetId ?? this.nextPacketId++;
    this.send({
      type: PacketType.Subscribe,
      packetId,
      subscriptions: [filters].flat().map((topicFilter) => ({
        topicFilter,
        qos,
        noLocal,
        retainAsPublished,
        retainHandling,
      })),
      ...(properties === undefined ? {} : { properties }),
    });
    return packetId;
  }

  /** Subscribes; returns the reason codes of SUBACK. */
  async subscribe(filters: string | readonly string[], options: SubscribeOptions = {}): Promise<number[]> {
    const packetId = this.sendSubscribe(filters, options);
    const suback = await this.packet(PacketType.Suback);
    assert.equal(suback.packetId, packetId);
    return suback.reasonCodes;
  }

  /** Unsubscribes; returns the reason codes of UNSUBACK (none in 3.x). */
  async unsubscribe(...topicFilters: string[]): Promise<number[]> {
    const packetId = this.nextPacketId++;
    this.send({ type: PacketType.Unsubscribe, packetId, topicFilters });
    const unsuback = await this.packet(PacketType.Unsuback);
    assert.equal(unsuback.packetId, packetId);
    return unsuback.reasonCodes;
  }

  puback(packetId: number, reasonCode = 0): void {
    this.send({ type: PacketType.Puback, packetId, reasonCode });
  }

  pubrec(packetId: number, reasonCode = 0): void {
    this.send({ type: PacketType.Pubrec, packetId, reasonCode });
  }

  pubrel(packetId: number): void {
    this.send({ type: PacketType.Pubrel, packetId, reasonCode: 0 });
  }

  pubcomp(packetId: number): void {
    this.send({ type: PacketType.Pubcomp, packetId, reasonCode: 0 });
  }

  private take(chunk: Buffer): void {
    this.pending = Buffer.concat([this.pending, chunk]);
    try {
      for (let length = wholePacket(this.pending); length > 0; length = wholePacket(this.pending)) {
        const bytes = this.pending.subarray(0, length);
        this.pending = this.pending.subarray(length);
        const body = bytes.findIndex((byte, index) => index > 0 && byte < 0x80) + 1;
        // CONNACK to a CONNECT of no known version comes in the form of 3.1.1.
        const version = bytes[0] === 0x20 && length === 4 ? 4 : this.version;
        this.arrived.push({ packet: decodeBody(bytes[0]!, bytes, body, length, version, 'client'), bytes });
      }
    } catch (error) {
      this.failure = error as Error;
    }
    this.wake();
  }

  private async until(condition: () => boolean, what: string): Promise<void> {
    const deadline = Date.now() + PATIENCE_MS;
    while (!condition()) {
      if (this.failure !== undefined) throw this.failure;
      if (this.closedByPeer) assert.fail(`the connection closed; expected ${what}`);
      const left = deadline - Date.now();
      if (left <= 0) assert.fail(`waited ${PATIENCE_MS} ms for ${what}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

/** A CONNECT packet that asks for a new session, without keep alive. */
export function connectPacket(version: ProtocolVersion, options: ConnectOptions = {}): ConnectPacket {
  const { password, ...rest } = options;
  return {
    type: PacketType.Connect,
    protocolVersion: version,
    bridge: false,
    cleanStart: true,
    keepAlive: 0,
    clientId: 'wire',
    ...(password === undefined ? {} : { password: Buffer.from(password) }),
    ...rest,
  };
}

/** Bytes of the packet at the start of `bytes`, 0 while it is not whole. */
function wholePacket(bytes: Buffer): number {
  let length = 0;
  for (let index = 1; index < Math.min(bytes.length, 5); index++) {
    length += (bytes[index]! & 0x7f) * 128 ** (index - 1);
    if (bytes[index]! < 0x80) return index + 1 + length <= bytes.length ? index + 1 + length : 0;
  }
  return 0;
}

function nameOf(type: number): string {
  return Object.entries(PacketType).find(([, value]) => value === type)?.[0] ?? `type ${type}`;
}

function hexCode(code: number): string {
  return `0x${code.toString(16)}`;
}
