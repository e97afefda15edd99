/** Brokers that bridge to each other, what subscribers see of it, and a remote that does just what a test tells it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions, Server as TlsServer } from 'node:tls';
import { type BridgeStatus, type Broker, type ConfigInput, createBroker } from '../../src/index.js';
import { encodePacket, type Packet, PacketReader, PacketType, type ProtocolVersion } from '../../src/protocol/index.js';
import { unhurried } from './unhurried.js';

/** How long a test waits for what must come; only a fault takes this long, milliseconds. */
export const PATIENCE_MS = 30_000;

export type BridgeInput = NonNullable<ConfigInput['bridges']>[number];

export async function within<T>(promise: Promise<T>, what: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${PATIENCE_MS} ms for ${what()}`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export { freePort } from './free-port.js';

/** Brokers of one test. */
export class Brokers {
  private readonly all: Broker[] = [];

  async start(config: ConfigInput = {}): Promise<Broker> {
    const broker = createBroker({
      config: unhurried({ listeners: [{ name: 'test', port: 0 }], sys: { intervalSeconds: 0 }, ...config }),
    });
    this.all.push(broker);
    await broker.start();
    return broker;
  }

  async stop(): Promise<void> {
    await Promise.all(this.all.map((broker) => broker.stop()));
  }
}

export const portOf = (broker: Broker): number => broker.listeners[0]!.port!;
export const at = (broker: Broker) => [{ host: '127.0.0.1', port: portOf(broker) }];
export const statusOf = (broker: Broker, name: string): BridgeStatus =>
  broker.bridges().find((bridge) => bridge.name === name)!;

/** Resolves when the bridge is in the state, or is in it now. */
export async function reaches(
  broker: Broker,
  name: string,
  wanted: BridgeStatus['state'] | ((status: BridgeStatus) => boolean),
): Promise<BridgeStatus> {
  const fits = (status: BridgeStatus) => (typeof wanted === 'string' ? status.state === wanted : wanted(status));
  let stop = () => {};
  const reached = new Promise<BridgeStatus>((resolve) => {
    stop = broker.on('bridgeChanged', ({ bridge }) => {
      if (bridge.name === name && fits(bridge)) resolve(bridge);
    });
    const now = statusOf(broker, name);
    if (fits(now)) resolve(now);
  });
  return within(reached, () => `bridge ${name}: ${JSON.stringify(statusOf(broker, name))}`).finally(stop);
}

export interface Seen {
  readonly topicName: string;
  readonly payload: string;
  readonly qos: number;
  readonly retain: boolean;
  readonly properties: object | undefined;
}

/** What a subscriber gets, in order. */
export class Watch {
  readonly messages: Seen[] = [];
  private wake = () => {};

  constructor(broker: Broker, ...filters: string[]) {
    for (const filter of filters)
      broker.subscribe(filter, ({ topicName, payload, qos, retain, properties }) => {
        this.messages.push({ topicName, payload: Buffer.from(payload).toString(), qos, retain, properties });
        this.wake();
      });
  }

  /** Takes the next message. */
  async next(): Promise<Seen> {
    await this.until((messages) => messages.length > 0);
    return this.messages.shift()!;
  }

  /** Takes messages until one of the topic comes, and returns it. */
  async topic(topicName: string): Promise<Seen> {
    for (;;) {
      const message = await this.next();
      if (message.topicName === topicName) return message;
    }
  }

  /** Takes so many messages. */
  async take(count: number): Promise<Seen[]> {
    await this.until((messages) => messages.length >= count);
    return this.messages.splice(0, count);
  }

  private async until(condition: (messages: Seen[]) => boolean): Promise<void> {
    const enough = async () => {
      while (!condition(this.messages))
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
    };
    await within(enough(), () => `messages, after ${JSON.stringify(this.messages)}`);
  }
}

type PacketOf<Type extends Packet['type']> = Packet extends infer P
  ? P extends { type: infer Types }
    ? Type extends Types
      ? P
      : never
    : never
  : never;

/** One connection that a bridge has made to a `FakeRemote`. */
export class FakeConnection {
  /** Types of packets that nobody asked for. */
  readonly passedOver: number[] = [];
  private readonly arrived: Packet[] = [];
  private wake = () => {};
  private readonly reader = new PacketReader('server', 1_000_000);

  constructor(readonly socket: Socket) {
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      this.reader.read(Buffer.from(chunk), (packet) => this.arrived.push(packet));
      this.wake();
    });
  }

  get version(): ProtocolVersion {
    return this.reader.version;
  }

  /** The next packet of the type; pings and UNSUBSCRIBE before it are passed over, every other packet is a fault. */
  async packet<Type extends Packet['type']>(type: Type): Promise<PacketOf<Type>> {
    for (;;) {
      const packet = await within(this.next(), () => `packet type ${type}`);
      if (packet.type === type) return packet as PacketOf<Type>;
      if (packet.type === PacketType.Pingreq || packet.type === PacketType.Unsubscribe) {
        this.passedOver.push(packet.type);
        continue;
      }
      assert.equal(packet.type, type, JSON.stringify(packet));
    }
  }

  send(packet: Packet): void {
    this.socket.write(encodePacket(packet, this.version));
  }

  /** Answers CONNECT. */
  async accept(sessionPresent: boolean, reasonCode = 0) {
    const connect = await this.packet(PacketType.Connect);
    this.send({ type: PacketType.Connack, sessionPresent, reasonCode });
    return connect;
  }

  /** Answers SUBSCRIBE. */
  async grant() {
    const subscribe = await this.packet(PacketType.Subscribe);
    const { packetId, subscriptions } = subscribe;
    this.send({ type: PacketType.Suback, packetId, reasonCodes: subscriptions.map(({ qos }) => qos) });
    return subscribe;
  }

  drop(): void {
    this.socket.destroy();
  }

  /** The next packet, whatever it is. */
  async any(): Promise<Packet> {
    return within(this.next(), () => 'a packet');
  }

  private async next(): Promise<Packet> {
    while (this.arrived.length === 0)
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    return this.arrived.shift()!;
  }
}

/** A remote that the test plays itself. */
export class FakeRemote {
  /** Of TLS handshakes that failed. */
  readonly refusals: Error[] = [];
  private readonly server: Server;
  private readonly waiting: FakeConnection[] = [];
  private wake = () => {};

  private constructor(server: Server) {
    this.server = server;
    server.on(server instanceof TlsServer ? 'secureConnection' : 'connection', (socket: Socket) => {
      this.waiting.push(new FakeConnection(socket));
      this.wake();
    });
    // A handshake that fails is no connection.
    server.on('tlsClientError', (error) => this.refusals.push(error));
  }

  /** On a free port unless one is given; with `tls` connections are secured. */
  static async listen(tls?: TlsOptions, port = 0, host = '127.0.0.1'): Promise<FakeRemote> {
    const server = (tls === undefined ? createServer() : createTlsServer(tls)).listen(port, host);
    await once(server, 'listening');
    return new FakeRemote(server);
  }

  get remotes() {
    return [{ host: '127.0.0.1', port: (this.server.address() as { port: number }).port }];
  }

  get address(): string {
    const { host, port } = this.remotes[0]!;
    return `${host}:${port}`;
  }

  /** Connections that have come and nobody has looked at. */
  get come(): number {
    return this.waiting.length;
  }

  /** The next connection. */
  async connection(): Promise<FakeConnection> {
    const come = async () => {
      while (this.waiting.length === 0)
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      return this.waiting.shift()!;
    };
    return within(come(), () => 'a connection');
  }

  close(): void {
    this.server.close();
  }
}
