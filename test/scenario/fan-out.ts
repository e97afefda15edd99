/**
 * A fan-out of many gigabytes that the test process can follow: every PUBLISH is of the same length and carries its number, so
 * a receiver looks at the first bytes of each and skips the rest.
 *
 *   30|32  remaining length  00 03 'f/o'  [packet id]  number (4 bytes)  filler
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const topicField = Buffer.from([0, 3, ...Buffer.from('f/o')]);

export interface Shape {
  readonly qos: 0 | 1;
  /** Above 16,000, so that the Remaining Length takes three bytes, or from 128 to 16,000 for two. */
  readonly payloadBytes: number;
}

/** One PUBLISH of this shape, number 0. */
function publishPacket({ qos, payloadBytes }: Shape): Buffer {
  const body = topicField.length + qos * 2 + payloadBytes;
  const length: number[] = [];
  for (let rest = body; rest > 0; rest >>= 7) length.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
  return Buffer.concat([
    Buffer.from([0x30 | (qos << 1), ...length]),
    topicField,
    Buffer.alloc(qos * 2),
    Buffer.alloc(payloadBytes, 0x78),
  ]);
}

async function dial(port: number, clientId: string): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  socket.setMaxListeners(0);
  await once(socket, 'connect');
  const id = Buffer.from(clientId);
  const body = Buffer.concat([Buffer.from([0, 4, ...Buffer.from('MQTT'), 4, 2, 0, 0, 0, id.length]), id]);
  socket.write(Buffer.concat([Buffer.from([0x10, body.length]), body]));
  assert.deepEqual(await bytes(socket, 4), Buffer.from([0x20, 2, 0, 0]));
  return socket;
}

/** The next `count` bytes; nothing else may come with them. */
async function bytes(socket: Socket, count: number): Promise<Buffer> {
  let got = Buffer.alloc(0);
  while (got.length < count) {
    const chunk: Buffer | null = socket.read();
    if (chunk !== null) got = Buffer.concat([got, chunk]);
    else await once(socket, 'readable');
  }
  assert.equal(got.length, count);
  return got;
}

/** A subscriber that notes how far it is and whether a number was missing or came twice. */
export class Receiver {
  received = 0;
  /** Numbers left out, as a subscriber sees them: gaps between what arrives. */
  missing = 0;
  last = -1;
  disorder = 0;
  closed = false;
  private readonly packetBytes: number;
  private readonly head: Buffer;
  private readonly numberAt: number;
  private at = 0;

  private constructor(
    readonly socket: Socket,
    private readonly shape: Shape,
  ) {
    const packet = publishPacket(shape);
    this.packetBytes = packet.length;
    this.numberAt = packet.length - shape.payloadBytes;
    this.head = Buffer.alloc(this.numberAt + 4);
    socket.once('close', () => {
      this.closed = true;
    });
    socket.on('error', () => {});
  }

  static async subscribe(port: number, clientId: string, shape: Shape): Promise<Receiver> {
    const socket = await dial(port, clientId);
    socket.write(Buffer.concat([Buffer.from([0x82, 8, 0, 1]), topicField, Buffer.from([shape.qos])]));
    assert.deepEqual(await bytes(socket, 5), Buffer.from([0x90, 3, 0, 1, shape.qos]));
    return new Receiver(socket, shape);
  }

  /** From here on it reads; before, the operating system holds what it can and the broker the rest. */
  read(): void {
    this.socket.on('data', (chunk: Buffer) => this.take(chunk));
  }

  private take(chunk: Buffer): void {
    const head = this.head;
    const packetBytes = this.packetBytes;
    const acknowledgements: number[] = [];
    let at = 0;
    while (at < chunk.length) {
      if (this.at < head.length) {
        const count = Math.min(head.length - this.at, chunk.length - at);
        chunk.copy(head, this.at, at, at + count);
        this.at += count;
        at += count;
        if (this.at < head.length) break;
        this.note();
        if (this.shape.qos === 1) acknowledgements.push(0x40, 2, head[this.numberAt - 2]!, head[this.numberAt - 1]!);
      }
      const count = Math.min(packetBytes - this.at, chunk.length - at);
      this.at += count;
      at += count;
      if (this.at === packetBytes) this.at = 0;
    }
    if (acknowledgements.length > 0) this.socket.write(Buffer.from(acknowledgements));
  }

  private note(): void {
    assert.equal(this.head[0]! & 0xf6, 0x30 | (this.shape.qos << 1), 'a PUBLISH begins here');
    const number = this.head.readUInt32BE(this.numberAt);
    this.received++;
    if (number <= this.last) this.disorder++;
    else this.missing += number - this.last - 1;
    this.last = Math.max(this.last, number);
  }
}

/** QoS 1 messages the publisher has on their way at one time. */
const WINDOW = 200;
const BATCH_BYTES = 262_144;

/** Publishes numbers 0 to `count` - 1 as fast as the broker reads them. */
export async function publishAll(port: number, shape: Shape, count: number): Promise<void> {
  const socket = await dial(port, 'publisher');
  const packet = publishPacket(shape);
  const numberAt = packet.length - shape.payloadBytes;
  let acknowledged = 0;
  let wake = () => {};
  socket.on('data', (chunk: Buffer) => {
    acknowledged += chunk.length / 4;
    wake();
  });
  socket.on('drain', () => wake());
  let failure: Error | undefined;
  socket.once('close', () => {
    failure = new Error('the broker closed the connection of the publisher');
    wake();
  });
  socket.on('error', () => {});
  const batchMax = Math.max(1, Math.floor(BATCH_BYTES / packet.length));
  let sent = 0;
  while (sent < count || (shape.qos === 1 && Math.round(acknowledged) < count)) {
    if (failure) throw failure;
    const room = shape.qos === 1 ? WINDOW - (sent - Math.floor(acknowledged)) : count - sent;
    const batch = Math.min(batchMax, room, count - sent);
    if (batch <= 0 || socket.writableNeedDrain) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
      continue;
    }
    const out = Buffer.allocUnsafe(batch * packet.length);
    for (let index = 0; index < batch; index++) {
      const at = index * packet.length;
      packet.copy(out, at);
      if (shape.qos === 1) out.writeUInt16BE((sent % 65_535) + 1, at + numberAt - 2);
      out.writeUInt32BE(sent, at + numberAt);
      sent++;
    }
    socket.write(out);
  }
  socket.removeAllListeners('close');
  socket.end(Buffer.from([0xe0, 0]));
  await once(socket, 'close');
}
