/** Goal: the view says of a PUBLISH what the decoder says. What both refuse is fuzzed; see `decoder.fuzz.ts`. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../base/random.fuzz.js';
import {
  decodeBody,
  PacketType,
  type ProtocolVersion,
  PublishView,
  readVariableByteInteger,
  variableByteIntegerLength,
} from './index.js';
import { PacketGenerator } from './packet-generator.fuzz.js';

describe('the view of a PUBLISH', () => {
  for (const version of [3, 4, 5] as const satisfies ProtocolVersion[])
    it(`agrees with the decoder on every field (level ${version})`, () => {
      const random = new Random(version);
      const generator = new PacketGenerator(random, version);
      const view = new PublishView();
      let seen = 0;
      for (let count = 0; count < 4000; count++) {
        const bytes = generator.encoded('server');
        if (bytes[0]! >> 4 !== PacketType.Publish) continue;
        const start = 1 + variableByteIntegerLength(readVariableByteInteger(bytes, 1, bytes.length));
        let packet: ReturnType<typeof decodeBody>;
        try {
          packet = decodeBody(bytes[0]!, bytes, start, bytes.length, version, 'server');
        } catch {
          continue;
        }
        assert.ok(packet.type === PacketType.Publish);
        seen++;
        view.read(bytes[0]!, bytes, start, bytes.length, version);
        assert.deepEqual(
          [view.qos, view.dup, view.retain, view.packetId],
          [packet.qos, packet.dup, packet.retain, packet.packetId ?? 0],
        );
        assert.equal(bytes.toString('utf8', view.topicStart, view.topicEnd), packet.topicName);
        assert.ok(bytes.subarray(view.payloadStart, view.payloadEnd).equals(Buffer.from(packet.payload)));
        const { topicAlias = 0, messageExpiryInterval = -1 } = packet.properties ?? {};
        assert.deepEqual([view.topicAlias, view.messageExpiryInterval], [topicAlias, messageExpiryInterval]);
        assert.equal(view.propertiesMixed, topicAlias !== 0 || messageExpiryInterval !== -1);
        assert.equal(view.propertiesStart === view.propertiesEnd, Object.keys(packet.properties ?? {}).length === 0);
      }
      assert.ok(seen > 500, String(seen));
    });
});
