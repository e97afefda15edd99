/** The Will Message: when it is published, when not, and how (v5 §3.1.2.5, §3.1.3.2, 3.1.1 §3.1.2.5). */
import assert from 'node:assert/strict';
import { ReasonCode, type Will } from '../../src/protocol/index.js';
import { all, concurrently, conformance, v3, v5 } from '../support/conformance.js';
import type { Scene } from '../support/scene.js';
import type { WireClient } from '../support/wire-client.js';

const will: Will = { topicName: 'will', payload: Buffer.from('gone'), qos: 1, retain: false };

async function watch(scene: Scene): Promise<WireClient> {
  const watcher = await scene.connect({ clientId: 'watcher', version: 5 });
  await watcher.subscribe(['will', 'marker'], { qos: 1, retainAsPublished: true });
  return watcher;
}

/** Publishes a marker and sees it come: what the broker decided before has reached the watcher before it. */
async function nothingBefore(scene: Scene, watcher: WireClient): Promise<void> {
  const publisher = await scene.connect();
  await publisher.deliver('marker', 'm');
  assert.equal((await watcher.message()).topicName, 'marker');
}

const delayed = (willDelayInterval: number): Will => ({ ...will, properties: { willDelayInterval } });

concurrently('wills', () => {
  conformance(
    '[MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT3-3.1.2-8] the will is published when the network connection is lost, and not before',
    all,
    async (scene) => {
      const watcher = await watch(scene);
      const client = await scene.connect({ will });
      await nothingBefore(scene, watcher);
      await scene.drop(client);
      const message = await watcher.message();
      assert.deepEqual([message.topicName, message.payload, message.qos], ['will', 'gone', 1]);
    },
  );

  conformance(
    '[MQTT-3.1.2-8] [MQTT3-3.1.2-8] the will is published when the broker ends the connection for a protocol error',
    all,
    async (scene) => {
      const watcher = await watch(scene);
      const client = await scene.connect({ will });
      client.send('36 03 0000 00');
      await client.refused(ReasonCode.MalformedPacket);
      assert.equal((await watcher.message()).topicName, 'will');
    },
  );

  conformance('[MQTT-3.1.2-8] [MQTT3-3.1.2-8] the will is published when keep alive runs out', all, async (scene) => {
    const watcher = await watch(scene);
    const client = await scene.connect({ will, keepAlive: 1 });
    await client.refused(ReasonCode.KeepAliveTimeout);
    assert.equal((await watcher.message()).topicName, 'will');
  });

  conformance('[MQTT-3.1.2-8] the will is published when another connection takes over', all, async (scene) => {
    const watcher = await watch(scene);
    await scene.connect({ clientId: 'same', will });
    await scene.connect({ clientId: 'same' });
    assert.equal((await watcher.message()).topicName, 'will');
  });

  conformance('[MQTT-3.1.2-8] DISCONNECT with 0x04 asks for the will', v5, async (scene) => {
    const watcher = await watch(scene);
    await scene.leave(await scene.connect({ will }), 'e001 04');
    assert.equal((await watcher.message()).topicName, 'will');
  });

  conformance(
    '[MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT3-3.1.2-8] [MQTT3-3.1.2-10] [MQTT-3.14.4-3] [MQTT3-3.14.4-3] a normal DISCONNECT discards the will',
    all,
    async (scene) => {
      const watcher = await watch(scene);
      await scene.leave(await scene.connect(scene.kept('polite', { will })));
      await nothingBefore(scene, watcher);
      await scene.drop(await scene.connect(scene.kept('polite'))); // what is left in the session
      await nothingBefore(scene, watcher);
    },
  );

  conformance(
    '[MQTT-3.1.2-10] [MQTT3-3.1.2-10] a will that was published is not published again',
    all,
    async (scene) => {
      const watcher = await watch(scene);
      await scene.drop(await scene.connect(scene.kept('once', { will })));
      assert.equal((await watcher.message()).topicName, 'will');
      await scene.connect({ clientId: 'once', cleanStart: true }); // the end of the session publishes what it still has
      await nothingBefore(scene, watcher);
      await scene.drop(await scene.connect(scene.kept('twice', { will })));
      assert.equal((await watcher.message()).topicName, 'will');
      await scene.drop(await scene.connect(scene.kept('twice')));
      await nothingBefore(scene, watcher);
    },
  );

  conformance('[MQTT3-3.1.2-12] without a will nothing is published when the connection is lost', v3, async (scene) => {
    const watcher = await scene.connect({ version: 5 });
    await watcher.subscribe(['#', 'marker']);
    await scene.drop(await scene.connect());
    await nothingBefore(scene, watcher);
  });

  conformance(
    '[MQTT-3.1.2-14] [MQTT3-3.1.2-16] with Will Retain 0 the will is published without RETAIN',
    all,
    async (scene) => {
      const watcher = await watch(scene);
      await scene.drop(await scene.connect({ will }));
      assert.equal((await watcher.message()).retain, false);
      const later = await scene.connect();
      await later.subscribe('will');
      await later.quiet();
    },
  );

  conformance(
    '[MQTT-3.1.2-15] [MQTT3-3.1.2-17] with Will Retain 1 the will becomes the retained message of its topic',
    all,
    async (scene) => {
      const watcher = await watch(scene);
      await scene.drop(await scene.connect({ will: { ...will, retain: true } }));
      assert.equal((await watcher.message()).retain, true);
      const later = await scene.connect();
      await later.subscribe('will');
      const stored = await later.message();
      assert.deepEqual([stored.payload, stored.retain], ['gone', true]);
    },
  );

  conformance('[MQTT-3.1.2-8] the will waits for its delay', v5, async (scene) => {
    const watcher = await watch(scene);
    const client = await scene.connect(scene.kept('late', { will: delayed(1) }));
    const dropped = Date.now();
    await scene.drop(client);
    await nothingBefore(scene, watcher);
    assert.equal((await watcher.message()).topicName, 'will');
    assert.ok(Date.now() - dropped >= 900, 'not before a second has passed');
  });

  conformance('[MQTT-3.1.2-8] the end of the session ends the delay of its will', v5, async (scene) => {
    const watcher = await watch(scene);
    await scene.drop(await scene.connect({ will: delayed(3600) })); // the session ends with the connection
    assert.equal((await watcher.message()).topicName, 'will');
    await scene.drop(await scene.connect(scene.kept('discarded', { will: delayed(3600) })));
    await nothingBefore(scene, watcher);
    await scene.connect({ clientId: 'discarded', cleanStart: true });
    assert.equal((await watcher.message()).topicName, 'will');
    const expires = { cleanStart: false, properties: { sessionExpiryInterval: 1 }, will: delayed(3600) };
    await scene.drop(await scene.connect({ clientId: 'expires', ...expires }));
    assert.equal((await watcher.message()).topicName, 'will');
  });

  conformance(
    '[MQTT-3.1.3-9] [MQTT-3.1.2-8] a client that is back within the delay takes its will back',
    v5,
    async (scene) => {
      const watcher = await watch(scene);
      await scene.drop(await scene.connect(scene.kept('back', { will: delayed(1) })));
      await scene.connect(scene.kept('back'));
      // Another will with the same delay that began later: when it is out, the first would have been.
      const other: Will = { ...delayed(1), payload: Buffer.from('the other') };
      await scene.drop(await scene.connect(scene.kept('away', { will: other })));
      assert.equal((await watcher.message()).payload, 'the other');
      await nothingBefore(scene, watcher);
    },
  );

  conformance('[MQTT-3.1.3-9] a takeover within the delay publishes no will', v5, async (scene) => {
    const watcher = await watch(scene);
    await scene.connect(scene.kept('moves', { will: delayed(3600) }));
    await scene.connect(scene.kept('moves'));
    await nothingBefore(scene, watcher);
  });

  conformance(
    '[MQTT-3.1.3-10] the properties of a will are published unaltered, User Properties in their order',
    v5,
    async (scene) => {
      const watcher = await watch(scene);
      const properties = {
        payloadFormatIndicator: 1,
        contentType: 'text/plain',
        responseTopic: 'answer/here',
        correlationData: Buffer.from([0, 1, 255]),
        userProperties: [
          ['b', '2'],
          ['a', '1'],
          ['b', '1'],
          ['b', '2'],
        ] as [string, string][],
      };
      await scene.drop(await scene.connect({ will: { ...will, properties: { willDelayInterval: 0, ...properties } } }));
      assert.deepEqual((await watcher.message()).properties, properties);
    },
  );

  conformance('the will’s expiry counts from its publication', v5, async (scene) => {
    const watcher = await watch(scene);
    const properties = { messageExpiryInterval: 50 };
    await scene.drop(await scene.connect({ will: { ...will, properties } }));
    assert.equal((await watcher.message()).properties.messageExpiryInterval, 50);
  });
});
