/** Goal: what is written for a receiver decodes to what it should get, by every way a message can have come. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  encodePacket,
  Message,
  PacketReader,
  PacketType,
  type Properties,
  type PublishPacket,
  PublishView,
  type QoS,
  readVariableByteInteger,
  variableByteIntegerLength,
} from '../protocol/index.js';
import { Outbound } from './outbound.js';
import { OutboundTotals } from './outbound-totals.js';
import { type PublishTarget, writePublish } from './publish-writer.js';
import { AliasesToClient } from './topic-aliases.js';

const now = () => 1_000_000;
const properties: Properties = { contentType: 'text/plain', userProperties: [['a', 'b']] };
const topicName = 'a/é/c';

/** A message as it arrives from a client of `version`, borrowed from its chunk. */
function arrived(version: 4 | 5, qos: QoS, payload: Buffer, given?: Properties): Message {
  const packet = encodePacket(
    {
      type: PacketType.Publish,
      dup: false,
      qos,
      retain: true,
      topicName,
      payload,
      ...(qos > 0 ? { packetId: 999 } : {}),
      ...(given === undefined ? {} : { properties: given }),
    },
    version,
  );
  const start = 1 + variableByteIntegerLength(readVariableByteInteger(packet, 1, packet.length));
  const view = new PublishView();
  view.read(packet[0]!, packet, start, packet.length, version);
  return Message.borrow(view, packet, topicName, 'p', now);
}

class Receiver implements PublishTarget {
  readonly mountPoint = '';
  readonly mountBytes = 0;
  readonly outbound = new Outbound(new OutboundTotals(1e9, { bytesSent: 0 }));
  packetBytesMax = Number.POSITIVE_INFINITY;
  private readonly reader = new PacketReader('client', 268_435_455);

  constructor(
    readonly version5: boolean,
    readonly aliases: AliasesToClient | undefined = undefined,
  ) {
    this.reader.version = version5 ? 5 : 4;
  }

  write(message: Message, qos: QoS, ids?: readonly number[], retain = false, dup = false): number {
    return writePublish(this, message, qos, retain, dup, qos > 0 ? 7 : 0, ids, now);
  }

  /** Everything written so far, decoded. */
  read(): { bytes: number; packets: PublishPacket[] } {
    const packets: PublishPacket[] = [];
    let bytes = 0;
    const take = (chunk: Uint8Array) => {
      bytes += chunk.length;
      this.reader.read(Buffer.from(chunk), (packet) => packets.push(packet as PublishPacket));
      return true;
    };
    const nothing = () => {};
    const peer = { address: '', port: 0, localAddress: '', localPort: 0 };
    const writeMany = (chunks: Uint8Array[]) => take(Buffer.concat(chunks));
    const rest = { peer, start: nothing, pause: nothing, resume: nothing, end: nothing, destroy: nothing };
    this.outbound.flush({ ...rest, write: take, writeMany });
    return { bytes, packets };
  }
}

describe('the publish writer', () => {
  for (const from of [4, 5] as const)
    for (const to of [4, 5] as const)
      for (const qos of [0, 1, 2] as const)
        it(`writes what came from level ${from} at QoS ${qos} for level ${to}`, () => {
          for (const length of [0, 1, 100, 118, 119, 120, 121, 200, 8191, 8192, 20_000])
            for (const given of from === 5 ? [undefined, properties] : [undefined])
              for (const ids of [undefined, [1, 300]])
                for (const sent of [0, 1, 2].filter((each) => each <= qos) as QoS[])
                  for (const keep of [false, true]) {
                    const payload = Buffer.alloc(length, length);
                    const message = arrived(from, qos, payload, given);
                    const receiver = new Receiver(to === 5);
                    const wrote = receiver.write(keep ? message.keep() : message, sent, ids, true, sent > 0);
                    const { bytes, packets } = receiver.read();
                    assert.deepEqual([packets.length, bytes], [1, wrote]);
                    const [packet] = packets;
                    assert.ok(payload.equals(Buffer.from(packet!.payload)));
                    const expected: Properties | undefined =
                      to === 5 && (given !== undefined || ids !== undefined)
                        ? { ...given, ...(ids === undefined ? {} : { subscriptionIdentifiers: [...ids] }) }
                        : undefined;
                    assert.deepEqual(
                      [packet!.topicName, packet!.qos, packet!.retain, packet!.dup, packet!.packetId],
                      [topicName, sent, true, sent > 0, sent > 0 ? 7 : undefined],
                    );
                    assert.deepEqual({ ...packet!.properties }, { ...expected });
                  }
        });

  it('writes the expiry interval that is left [MQTT-3.3.2-6]', () => {
    const message = arrived(5, 1, Buffer.from('x'), { messageExpiryInterval: 30 });
    const receiver = new Receiver(true);
    writePublish(receiver, message, 1, false, false, 7, undefined, () => now() + 12_300);
    assert.deepEqual(receiver.read().packets[0]?.properties, { messageExpiryInterval: 18 });
  });

  it('writes nothing that is larger than the client takes, to the byte', () => {
    for (const qos of [0, 1] as const) {
      const exact = new Receiver(true);
      const message = () => arrived(5, qos, Buffer.alloc(100), properties);
      const bytes = exact.write(message(), qos);
      exact.packetBytesMax = bytes;
      assert.equal(exact.write(message(), qos), bytes);
      exact.packetBytesMax = bytes - 1;
      assert.equal(exact.write(message(), qos), 0);
      assert.equal(exact.read().packets.length, 2);
    }
  });

  it('sets an alias with the topic name once, then sends it alone', () => {
    const receiver = new Receiver(true, new AliasesToClient(1));
    const other = Message.create({ topicName: 'other', payload: '' }, 0);
    for (const message of [arrived(5, 0, Buffer.from('1')), arrived(4, 0, Buffer.from('2'), undefined), other])
      receiver.write(message, 0);
    assert.deepEqual(
      receiver.read().packets.map((packet) => [packet.topicName, packet.properties?.topicAlias]),
      [
        [topicName, 1],
        ['', 1],
        ['other', undefined], // [MQTT-3.1.2-26] no more aliases than the client allows
      ],
    );
  });

  it('sets no alias by a packet that was not written', () => {
    const receiver = new Receiver(true, new AliasesToClient(5));
    receiver.packetBytesMax = 50;
    assert.equal(receiver.write(arrived(5, 0, Buffer.alloc(100)), 0), 0);
    receiver.write(arrived(5, 0, Buffer.from('x')), 0);
    assert.equal(receiver.read().packets[0]?.topicName, topicName);
  });
});
