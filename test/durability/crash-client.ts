/**
 * A client whose session state outlives its connections, as the standard wants it of a client that keeps its session: what it
 * sent and is not acknowledged goes out again with DUP and the same packet identifiers, in the order of sending; packet
 * identifiers of QoS 2 messages it received stay until PUBREL, so that a second PUBLISH is no second message.
 *
 * It tells every wrong answer of the broker by itself: a session that is gone, an identifier given to another message before
 * PUBREL, a connection closed for no reason.
 */
import { connect as dial, type Socket } from 'node:net';
import type { Random } from '../../src/base/random.fuzz.js';
import {
  type ConnackPacket,
  encodePacket,
  type Packet,
  PacketReader,
  PacketType,
  type PublishPacket,
  type QoS,
  type Will,
} from '../../src/protocol/index.js';
import type { Flow } from './crash-flow.js';

export interface ClientPlan {
  readonly clientId: string;
  readonly version: 4 | 5;
  readonly subscriptions?: readonly { topicFilter: string; qos: QoS }[];
  /** 5.0 only */
  readonly receiveMaximum?: number;
  /** Acknowledgements wait up to this long now and then; 0 sends them at once. */
  readonly ackDelayMsMax?: number;
  /** Unacknowledged messages of its own. */
  readonly window?: number;
}

export interface ClientWorld {
  readonly random: Random;
  port(): number;
  /** The broker is up and connections have no reason to break. */
  brokerRuns(): boolean;
  violation(text: string): void;
  message(client: CrashClient, packet: PublishPacket): void;
  acknowledged(client: CrashClient, flow: Flow, sequence: number): void;
  /** SUBACK, each time that it was asked for. */
  subscribed(client: CrashClient): void;
}

export interface ConnectChoices {
  readonly will?: Will;
  readonly cleanStart?: boolean;
  /** The session ends with the connection. */
  readonly brief?: boolean;
}

interface Outgoing {
  readonly flow: Flow;
  readonly sequence: number;
  /** PUBREC has come. */
  released: boolean;
}

const SESSION_SECONDS = 3600;
const PACKET_BYTES_MAX = 4_000_000;

export class CrashClient {
  readonly clientId: string;
  readonly version: 4 | 5;
  /** CONNACK has come on the present connection. */
  online = false;
  /** SUBACK has come in this session. */
  isSubscribed = false;
  /** What the last CONNACK said. */
  sessionPresent = false;
  /** An acknowledgement has come that the session must have outlived since. */
  private sessionPromised = false;
  /** By packet identifier, in the order of sending. */
  private outgoing = new Map<number, Outgoing>();
  private lastPacketId = 0;
  /** QoS 2 packet identifiers received whose PUBREL has not come, with what they stood for. */
  private readonly incoming = new Map<number, string>();
  private socket: Socket | undefined;
  private readonly sockets = new Set<Socket>();
  private held: Packet[] = [];
  private holdTimer: NodeJS.Timeout | undefined;
  /** PUBLISH packets of this connection that are not acknowledged, for the Receive Maximum. */
  private unanswered = 0;
  private settle: () => void = () => {};

  constructor(
    readonly plan: ClientPlan,
    private readonly world: ClientWorld,
  ) {
    this.clientId = plan.clientId;
    this.version = plan.version;
  }

  /** Resolves when CONNACK (and, with subscriptions, SUBACK) has come or the connection is gone. While connected: a takeover. */
  connect(choices: ConnectChoices = {}): Promise<void> {
    const { cleanStart = false, brief = false, will } = choices;
    this.reset();
    const socket = dial({ port: this.world.port(), host: '127.0.0.1', noDelay: true });
    this.socket = socket;
    this.sockets.add(socket);
    const reader = new PacketReader('client', PACKET_BYTES_MAX);
    reader.version = this.version;
    socket.on('connect', () => {
      if (cleanStart) this.forget();
      this.write(socket, {
        type: PacketType.Connect,
        protocolVersion: this.version,
        bridge: false,
        cleanStart: cleanStart || (brief && this.version === 4),
        keepAlive: 0,
        clientId: this.clientId,
        ...(will === undefined ? {} : { will }),
        properties: {
          sessionExpiryInterval: brief ? 0 : SESSION_SECONDS,
          ...(this.plan.receiveMaximum === undefined ? {} : { receiveMaximum: this.plan.receiveMaximum }),
        },
      });
    });
    socket.on('data', (chunk: Buffer) => {
      if (socket !== this.socket) return;
      try {
        reader.read(chunk, (packet) => {
          if (socket === this.socket) this.take(packet);
        });
      } catch (error) {
        // A broker that stops may say so before it knows which version the client speaks.
        if (this.world.brokerRuns()) this.violation(`got what is not MQTT: ${(error as Error).message}`);
        socket.destroy();
      }
    });
    socket.on('error', () => {}); // 'close' follows and asks
    const wasUp = this.world.brokerRuns();
    return new Promise((resolve) => {
      this.settle = resolve;
      socket.on('close', () => {
        this.sockets.delete(socket);
        if (socket !== this.socket) return;
        if (wasUp && this.world.brokerRuns()) this.violation('the broker closed its connection for no reason');
        this.reset();
      });
    });
  }

  /** Closes as a failing network would. */
  drop(): void {
    const { socket } = this;
    this.reset();
    socket?.destroy();
  }

  /** Says goodbye; the session stays. */
  leave(): void {
    const { socket } = this;
    if (socket !== undefined) this.write(socket, { type: PacketType.Disconnect, reasonCode: 0 });
    this.reset();
    socket?.end();
  }

  subscribe(): void {
    const { subscriptions = [] } = this.plan;
    this.send({
      type: PacketType.Subscribe,
      packetId: this.newPacketId(),
      subscriptions: subscriptions.map(({ topicFilter, qos }) => ({
        topicFilter,
        qos,
        noLocal: false,
        retainAsPublished: false,
        retainHandling: 0,
      })),
    });
  }

  /** Room in the window for another message. */
  get mayPublish(): boolean {
    return this.online && this.outgoing.size < (this.plan.window ?? 10);
  }

  publish(flow: Flow): void {
    const message = { flow, sequence: ++flow.sent, released: false };
    const packetId = this.newPacketId();
    this.outgoing.set(packetId, message);
    this.sendPublish(packetId, message, false);
  }

  /** No exchange is under way in either direction. */
  get settled(): boolean {
    return this.outgoing.size === 0 && this.incoming.size === 0 && this.held.length === 0;
  }

  /** What is under way, in words. */
  describeUnsettled(): string[] {
    const sent = [...this.outgoing].map(
      ([packetId, { flow, sequence, released }]) =>
        `${this.clientId} waits for ${released ? 'PUBCOMP' : flow.qos === 1 ? 'PUBACK' : 'PUBREC'} of packet ${packetId}, ${flow.describe(sequence)}`,
    );
    const received = [...this.incoming].map(
      ([packetId, what]) => `${this.clientId} waits for PUBREL of packet ${packetId}, ${what}`,
    );
    return [...sent, ...received];
  }

  /** Sockets, also old ones, that are not closed yet. */
  get openSockets(): number {
    return this.sockets.size;
  }

  destroy(): void {
    this.reset();
    for (const socket of this.sockets) socket.destroy();
  }

  private reset(): void {
    this.online = false;
    this.socket = undefined;
    this.held = [];
    this.unanswered = 0;
    clearTimeout(this.holdTimer);
    this.holdTimer = undefined;
    this.settle();
  }

  /** Gives the session state up, as after Session Present 0. */
  private forget(): void {
    this.incoming.clear();
    this.isSubscribed = false;
    this.sessionPromised = false;
  }

  private take(packet: Packet): void {
    switch (packet.type) {
      case PacketType.Connack:
        return this.onConnack(packet);
      case PacketType.Suback:
        if (packet.reasonCodes.some((code) => code > 2))
          this.violation(`SUBACK refuses with ${packet.reasonCodes.join(', ')}`);
        this.isSubscribed = true;
        this.sessionPromised = true;
        this.world.subscribed(this);
        return this.settle();
      case PacketType.Publish:
        return this.onPublish(packet);
      case PacketType.Puback:
        return this.onDone(packet.packetId, packet.reasonCode, 1);
      case PacketType.Pubrec:
        return this.onPubrec(packet.packetId, packet.reasonCode);
      case PacketType.Pubcomp:
        return this.onDone(packet.packetId, packet.reasonCode, 2);
      case PacketType.Pubrel:
        return this.onPubrel(packet.packetId);
      case PacketType.Disconnect:
        if (this.world.brokerRuns()) this.violation(`got DISCONNECT with reason code ${packet.reasonCode}`);
        return;
      default:
        this.violation(`got a packet of type ${packet.type}`);
    }
  }

  private onConnack({ sessionPresent, reasonCode }: ConnackPacket): void {
    if (reasonCode !== 0) {
      if (this.world.brokerRuns()) this.violation(`CONNACK refuses with ${reasonCode}`);
      return;
    }
    this.sessionPresent = sessionPresent;
    this.online = true;
    if (!sessionPresent) {
      if (this.sessionPromised) this.violation('Session Present is 0 although its session was acknowledged before');
      this.forget();
    }
    const again = [...this.outgoing];
    if (!sessionPresent) this.outgoing = new Map();
    for (const [packetId, message] of again) {
      if (!sessionPresent) {
        // The session is new on both sides: the same messages begin anew.
        const other = this.newPacketId();
        message.released = false;
        this.outgoing.set(other, message);
        this.sendPublish(other, message, false);
      } else if (message.released) this.send({ type: PacketType.Pubrel, packetId, reasonCode: 0 });
      else this.sendPublish(packetId, message, true);
    }
    if ((this.plan.subscriptions ?? []).length === 0 || this.isSubscribed) this.settle();
    else this.subscribe();
  }

  private onPublish(packet: PublishPacket): void {
    const { qos, packetId = 0 } = packet;
    if (qos === 0) return this.violation(`got ${packet.topicName} at QoS 0`);
    const what = `${packet.topicName} ${Buffer.from(packet.payload).toString('latin1', 0, 24)}`;
    this.unanswered++;
    const { receiveMaximum = 65_535 } = this.plan;
    if (this.version === 5 && this.unanswered > receiveMaximum)
      this.violation(`has ${this.unanswered} messages in flight, its Receive Maximum is ${receiveMaximum}`);
    if (qos === 1) {
      this.world.message(this, packet);
      return this.answer({ type: PacketType.Puback, packetId, reasonCode: 0 });
    }
    const known = this.incoming.get(packetId);
    if (known === undefined) {
      this.incoming.set(packetId, what);
      this.world.message(this, packet);
    } else if (known !== what)
      this.violation(`got "${what}" under packet identifier ${packetId}, which is still that of "${known}"`);
    else if (!packet.dup) this.violation(`got "${what}" again under packet identifier ${packetId} without DUP`);
    this.answer({ type: PacketType.Pubrec, packetId, reasonCode: 0 });
  }

  private onPubrel(packetId: number): void {
    const known = this.incoming.delete(packetId);
    this.answer({ type: PacketType.Pubcomp, packetId, reasonCode: known || this.version === 4 ? 0 : 0x92 });
  }

  private onPubrec(packetId: number, reasonCode: number): void {
    if (reasonCode >= 0x80) return this.violation(`PUBREC of packet ${packetId} says ${reasonCode}`);
    const message = this.outgoing.get(packetId);
    if (message === undefined || message.flow.qos !== 2)
      return this.violation(`got PUBREC of packet ${packetId}, which is none of its own`);
    this.sessionPromised = true;
    message.released = true;
    this.send({ type: PacketType.Pubrel, packetId, reasonCode: 0 });
  }

  private onDone(packetId: number, reasonCode: number, qos: QoS): void {
    const message = this.outgoing.get(packetId);
    const kind = qos === 1 ? 'PUBACK' : 'PUBCOMP';
    if (message === undefined || message.flow.qos !== qos || (qos === 2 && !message.released))
      return this.violation(`got ${kind} of packet ${packetId}, which is none of its own`);
    // 0x92: the broker has finished with this packet and its PUBCOMP was lost.
    if (reasonCode >= 0x80 && !(qos === 2 && reasonCode === 0x92))
      return this.violation(`${kind} of packet ${packetId} says ${reasonCode}`);
    this.sessionPromised = true;
    this.outgoing.delete(packetId);
    this.world.acknowledged(this, message.flow, message.sequence);
  }

  /** Acknowledgements leave in order, some of them late. */
  private answer(packet: Packet): void {
    const { random } = this.world;
    const { ackDelayMsMax = 0 } = this.plan;
    this.held.push(packet);
    if (this.holdTimer !== undefined) return;
    if (ackDelayMsMax === 0 || !random.oneIn(4)) return this.flush();
    this.holdTimer = setTimeout(() => this.flush(), random.below(ackDelayMsMax));
  }

  private flush(): void {
    clearTimeout(this.holdTimer);
    this.holdTimer = undefined;
    const packets = this.held;
    this.held = [];
    for (const packet of packets) {
      if (packet.type === PacketType.Puback || packet.type === PacketType.Pubcomp) this.unanswered--;
      this.send(packet);
    }
  }

  private sendPublish(packetId: number, { flow, sequence }: Outgoing, dup: boolean): void {
    const { topicName, qos, retain } = flow;
    this.send({ type: PacketType.Publish, topicName, qos, retain, dup, packetId, payload: flow.payload(sequence) });
  }

  private newPacketId(): number {
    do this.lastPacketId = this.lastPacketId === 65_535 ? 1 : this.lastPacketId + 1;
    while (this.outgoing.has(this.lastPacketId));
    return this.lastPacketId;
  }

  private send(packet: Packet): void {
    if (this.socket !== undefined) this.write(this.socket, packet);
  }

  private write(socket: Socket, packet: Packet): void {
    socket.write(encodePacket(packet, this.version));
  }

  private violation(text: string): void {
    this.world.violation(`${this.clientId}: ${text}`);
  }
}
