/** Message Expiry Interval: v5 §3.3.2.3.3. */
import assert from 'node:assert/strict';
import { concurrently, conformance, v5 } from '../support/conformance.js';

const expiring = (messageExpiryInterval: number) => ({ messageExpiryInterval });
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

concurrently('message expiry', () => {
  conformance(
    '[MQTT-3.3.2-5] a message whose interval has passed is not delivered; one without, or with a longer one, is',
    v5,
    async ({ connect, kept, drop }) => {
      const publisher = await connect();
      const subscriber = await connect(kept('away'));
      await subscriber.subscribe('t/#', { qos: 1 });
      await drop(subscriber);
      await publisher.deliver('t/short', '1', { qos: 1, properties: expiring(1) });
      await publisher.deliver('t/long', '2', { qos: 1, properties: expiring(3600) });
      await publisher.deliver('t/none', '3', { qos: 1 });
      await pause(1100);
      const back = await connect(kept('away'));
      assert.equal((await back.message()).topicName, 't/long');
      assert.equal((await back.message()).topicName, 't/none');
      await back.quiet();
    },
  );

  conformance(
    '[MQTT-3.3.2-5] a retained message whose interval has passed is not delivered',
    v5,
    async ({ connect }) => {
      const publisher = await connect();
      await publisher.deliver('r/short', '1', { retain: true, properties: expiring(1) });
      await publisher.deliver('r/long', '2', { retain: true, properties: expiring(3600) });
      await pause(1100);
      const subscriber = await connect();
      await subscriber.subscribe(['r/short', 'r/+']);
      assert.equal((await subscriber.message()).topicName, 'r/long');
      await subscriber.quiet();
    },
  );

  conformance(
    '[MQTT-3.3.2-6] the interval that is forwarded is what is left of it',
    v5,
    async ({ connect, kept, drop }) => {
      const publisher = await connect();
      const live = await connect();
      await live.subscribe('t', { qos: 1 });
      const subscriber = await connect(kept('away'));
      await subscriber.subscribe('t', { qos: 1 });
      await drop(subscriber);
      const before = Date.now();
      await publisher.deliver('t', 'x', { qos: 1, retain: true, properties: expiring(600) });
      const at = await live.message();
      assert.ok([600, 599].includes(at.properties.messageExpiryInterval!), 'nothing was waited for yet');
      const published = Date.now();
      await pause(1500);
      const least = (Date.now() - published) / 1000;
      const back = await connect(kept('away'));
      const queued = (await back.message()).properties.messageExpiryInterval!;
      await live.subscribe('t', { qos: 1 });
      const retained = (await live.message()).properties.messageExpiryInterval!;
      const most = (Date.now() - before) / 1000;
      for (const left of [queued, retained]) {
        assert.ok(left <= 600 - Math.floor(least), `${left} after ${least} s`);
        assert.ok(left >= 600 - Math.ceil(most), `${left} after ${most} s`);
      }
    },
  );

  conformance(
    '[MQTT-4.3.3-7] [MQTT-4.3.3-13] what was sent once at QoS 2 is completed though its interval has passed',
    v5,
    async ({ connect, kept, drop }) => {
      const publisher = await connect();
      const subscriber = await connect(kept('away'));
      await subscriber.subscribe('t', { qos: 2 });
      await publisher.deliver('t', 'x', { qos: 2, properties: expiring(1) });
      const first = await subscriber.message();
      await drop(subscriber);
      await pause(1100);
      const back = await connect(kept('away'));
      const again = await back.message();
      assert.deepEqual([again.packetId, again.dup, again.payload], [first.packetId, true, 'x']);
      back.pubrec(again.packetId);
      assert.equal((await back.next()).bytes[0], 0x62);
      back.pubcomp(again.packetId);
      await back.quiet();
    },
  );

  conformance(
    '[MQTT-4.3.3-13] a QoS 2 message that expires in the broker is still acknowledged to its publisher',
    v5,
    async ({ connect, kept, drop }) => {
      const publisher = await connect();
      await drop(
        await (async () => {
          const subscriber = await connect(kept('away'));
          await subscriber.subscribe('t', { qos: 2 });
          return subscriber;
        })(),
      );
      publisher.publish('t', 'x', { qos: 2, packetId: 5, properties: expiring(1) });
      assert.equal(await publisher.bytes(), '50020005');
      await pause(1100);
      publisher.pubrel(5);
      assert.equal(await publisher.bytes(), '70020005');
      await (await connect(kept('away'))).quiet();
    },
  );
});
