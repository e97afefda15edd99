// Publishes at one broker and counts at another, over plain sockets: packets are encoded once, batches leave in one write.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { encodePacket, type Packet, PacketType } from '../../src/protocol/index.js';

const VERSION = 4;
/** Messages of one write. */
const BATCH = 50;

async function open(port: number, clientId: string): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  const packet: Packet = {
    type: PacketType.Connect,
    protocolVersion: VERSION,
    bridge: false,
    cleanStart: true,
    keepAlive: 0,
    clientId,
  };
  socket.write(encodePacket(packet, VERSION));
  await once(socket, 'data');
  return socket;
}

/** Calls `seen` with the first byte of each packet and its packet identifier, or 0 where it has none. */
function eachPacket(socket: Socket, seen: (header: number, packetId: number) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    while (at + 2 <= bytes.length) {
      let length = bytes[at + 1]! & 0x7f;
      let body = at + 2;
      if (bytes[at + 1]! >= 0x80) {
        if (at + 3 > bytes.length) break;
        length += bytes[at + 2]! * 128;
        body = at + 3;
      }
      if (body + length > bytes.length) break;
      const header = bytes[at]!;
      let packetId = 0;
      if (header >> 4 === PacketType.Publish && header & 6) {
        const topic = body + 2 + bytes.readUInt16BE(body);
        packetId = bytes.readUInt16BE(topic);
      } else if (header >> 4 === PacketType.Puback) packetId = bytes.readUInt16BE(body);
      seen(header, packetId);
      at = body + length;
    }
    rest = bytes.subarray(at);
  });
}

/** Counts what arrives for `bench/#`. */
export class Counter {
  received = 0;
  private wake = () => {};

  private constructor(private readonly socket: Socket) {
    eachPacket(socket, (header, packetId) => {
      if (header >> 4 !== PacketType.Publish) return;
      this.received++;
      if (packetId > 0) socket.write(Buffer.from([0x40, 2, packetId >> 8, packetId & 0xff]));
      this.wake();
    });
  }

  static async at(port: number, qos: number): Promise<Counter> {
    const socket = await open(port, 'bench-counter');
    const subscriptions = [
      {
        topicFilter: 'bench/#',
        qos: qos as 0 | 1,
        noLocal: false,
        retainAsPublished: false,
        retainHandling: 0 as const,
      },
    ];
    socket.write(encodePacket({ type: PacketType.Subscribe, packetId: 1, subscriptions }, VERSION));
    await once(socket, 'data');
    return new Counter(socket);
  }

  /** Resolves when something more has arrived, or after a while. */
  more(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, 50);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  close(): void {
    this.socket.destroy();
  }
}

/** Publishes 64 byte payloads to `bench/a`, each batch when the one before is on its way. */
export class Publisher {
  sent = 0;
  acknowledged = 0;
  private nextPacketId = 1;
  private wake = () => {};

  private constructor(
    private readonly socket: Socket,
    private readonly qos: number,
  ) {
    eachPacket(socket, (header) => {
      if (header >> 4 !== PacketType.Puback) return;
      this.acknowledged++;
      this.wake();
    });
  }

  static async at(port: number, qos: number): Promise<Publisher> {
    return new Publisher(await open(port, 'bench-publisher'), qos);
  }

  /** Sends a batch; at QoS 1 no more than `ahead` are unacknowledged. */
  async batch(ahead: number): Promise<void> {
    while (this.qos === 1 && this.sent - this.acknowledged > ahead)
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    const packets: Buffer[] = [];
    for (let count = 0; count < BATCH; count++) {
      this.nextPacketId = (this.nextPacketId % 60_000) + 1;
      packets.push(
        encodePacket(
          {
            type: PacketType.Publish,
            topicName: 'bench/a',
            payload: Buffer.alloc(64, 0x78),
            qos: this.qos as 0 | 1,
            retain: false,
            dup: false,
            ...(this.qos > 0 ? { packetId: this.nextPacketId } : {}),
          },
          VERSION,
        ),
      );
    }
    this.sent += BATCH;
    if (!this.socket.write(Buffer.concat(packets))) await once(this.socket, 'drain');
    else await new Promise((resolve) => setImmediate(resolve));
  }

  close(): void {
    this.socket.destroy();
  }
}
