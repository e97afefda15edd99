/** Goal: a run is in either form what encoding its packets one by one gives, also where a length takes a byte more. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { encodePacket, PacketType, PublishRun } from './index.js';

const plain = (topicName: string, payload: Buffer, version5: boolean) =>
  encodePacket({ type: PacketType.Publish, dup: false, qos: 0, retain: false, topicName, payload }, version5 ? 5 : 4);

function runOf(payloads: readonly Buffer[], topicName: string, version5: boolean): PublishRun {
  const packets = payloads.map((payload) => plain(topicName, payload, version5));
  const run = new PublishRun();
  const start = 5;
  run.begin(
    Buffer.concat([Buffer.alloc(start), ...packets, Buffer.alloc(3)]),
    start,
    version5,
    Buffer.byteLength(topicName),
    'p',
  );
  run.end = start + packets.reduce((sum, packet) => sum + packet.length, 0);
  run.count = packets.length;
  run.packetBytesMax = Math.max(...packets.map((packet) => packet.length));
  run.payloadBytes = payloads.reduce((sum, payload) => sum + payload.length, 0);
  run.topicName = topicName;
  return run;
}

const topicName = 'a/é';
/** Bodies of 126 to 129 and of 16,382 to 16,385 bytes in the form of 3.1.1: the Remaining Length grows a byte there. */
const lengths = [0, 1, 119, 120, 121, 122, 123, 16_375, 16_376, 16_377, 16_378, 16_379];
const payloads = lengths.map((length) => Buffer.alloc(length, length & 0xff));

describe('a run', () => {
  for (const version5 of [false, true])
    it(`from ${version5 ? '5.0' : '3.1.1'} has the bytes of its packets in both forms`, () => {
      const run = runOf(payloads, topicName, version5);
      for (const form of [false, true]) {
        const expected = Buffer.concat(payloads.map((payload) => plain(topicName, payload, form)));
        assert.equal(run.length(form), expected.length);
        const target = Buffer.alloc(expected.length + 8, 0xee);
        run.copyTo(form, target, 4);
        assert.ok(target.subarray(4, -4).equals(expected));
        assert.equal(target.toString('hex', 0, 4) + target.toString('hex', target.length - 4), 'ee'.repeat(8));
        assert.ok(run.shared(form).equals(expected));
        assert.equal(run.shared(form), run.shared(form), 'made once');
        const largest = Math.max(...payloads.map((payload) => plain(topicName, payload, form).length));
        assert.ok(run.packetBytesMaxFor(form) >= largest && run.packetBytesMaxFor(form) <= largest + 2);
      }
    });

  it('is shared in bytes of its own, which stay when the chunk changes', () => {
    const run = runOf([Buffer.from('x')], topicName, true);
    const shared = run.shared(true);
    const before = Buffer.from(shared);
    run.bytes.fill(0);
    assert.ok(shared.equals(before));
  });

  it('forgets what was made of the former run', () => {
    const run = runOf([Buffer.from('old')], topicName, false);
    run.shared(true);
    run.shared(false);
    const next = runOf([Buffer.from('new')], topicName, false);
    run.begin(next.bytes, next.start, false, next.topicBytes, undefined);
    run.end = next.end;
    run.count = 1;
    for (const form of [false, true]) assert.ok(run.shared(form).equals(plain(topicName, Buffer.from('new'), form)));
  });

  for (const version5 of [false, true])
    it(`from ${version5 ? '5.0' : '3.1.1'} gives its packets as messages and as parts`, () => {
      const run = runOf(payloads, topicName, version5);
      const messages = run.messages();
      assert.deepEqual(
        messages.map(({ payload }) => payload.length),
        lengths,
      );
      for (const [index, message] of messages.entries()) {
        assert.ok(message.payload.equals(payloads[index]!));
        assert.deepEqual(
          [
            message.topicName,
            message.qos,
            message.retain,
            message.publisherId,
            message.properties,
            message.expiresAtMs,
          ],
          [topicName, 0, false, 'p', undefined, 0],
        );
      }
      const part = run.part();
      let index = 0;
      run.forEach((packetStart, payloadStart, packetEnd) => {
        part.beginPart(run, packetStart, packetEnd);
        assert.equal(packetEnd - payloadStart, lengths[index]);
        for (const form of [false, true])
          assert.ok(part.shared(form).equals(plain(topicName, payloads[index]!, form)), `packet ${index}`);
        index++;
      });
      assert.equal(index, payloads.length);
    });
});
