/** Many subscribers that read nothing have more waiting, together, than may wait for all: the others go on. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Scene } from '../support/scene.js';

const MIB = 1_048_576;

describe('subscribers that read nothing', () => {
  for (const qos of [0, 1] as const)
    it(`do not stop the others, though they fill the memory for unsent bytes (QoS ${qos})`, async () => {
      const limits = {
        outboundBytesMax: MIB,
        memoryOutboundBytesMax: 4 * MIB,
        queueBytesMax: MIB,
        slowReaderHoldMs: 500,
      };
      const scene = new Scene(5, { config: { limits } });
      await scene.start();
      try {
        for (let index = 0; index < 40; index++) {
          const deaf = await scene.connect();
          await deaf.subscribe('loud', { qos });
          deaf.stream.pause();
        }
        const reader = await scene.connect();
        await reader.subscribe('news', { qos: 1 });
        const loud = await scene.connect();
        // The kernel takes some of it for each.
        for (let index = 0; index < 1500; index++) {
          loud.publish('loud', Buffer.alloc(16_384), { qos: 0 });
          if (index % 50 === 0) await loud.quiet();
        }
        await loud.quiet();
        const writer = await scene.connect();
        for (let index = 0; index < 20; index++) {
          await writer.deliver('news', `${index}`, { qos: 1 });
          const { payload, packetId } = await reader.message();
          assert.equal(payload, `${index}`);
          reader.puback(packetId);
        }
      } finally {
        await scene.stop();
      }
    });
});
