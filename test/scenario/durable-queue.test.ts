/** What waits for a client that is away: kept over restarts and crashes, in order, within its limits. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { PacketType } from '../../src/protocol/index.js';
import {
  type DurableScene,
  durable,
  eventually,
  handled,
  numbers,
  payloadsOf,
  publishMany,
  takeMessages,
  type WireClient,
} from './durable-scene.js';

describe('a stored queue at its limit after a restart', () => {
  durable(
    'what was in flight keeps its identifiers while new messages drive old ones out',
    { config: { limits: { queueMessagesMax: 10 } } },
    async (durable, scene) => {
      const reader = await scene().connect(scene().kept('reader', { properties: { receiveMaximum: 3 } }));
      await reader.subscribe('q', { qos: 2 });
      const publisher = await scene().connect();
      for (let index = 0; index < 5; index++) await publisher.deliver('q', `${index}`, { qos: 2 });
      const sent = [await reader.message(), await reader.message(), await reader.message()];
      await durable.crash();
      const again = await scene().connect();
      for (let index = 5; index < 20; index++) await again.deliver('q', `${index}`, { qos: 2 });
      const back = await scene().connect(scene().kept('reader', { properties: { receiveMaximum: 3 } }));
      for (const { payload, packetId } of sent) {
        const message = await back.message();
        assert.deepEqual(
          { payload: message.payload, packetId: message.packetId, dup: message.dup },
          { payload, packetId, dup: true },
        );
      }
      for (const { packetId } of sent) back.pubrec(packetId);
      const rest: string[] = [];
      for (let released = 0; released < 13; ) {
        const { packet } = await back.next();
        if (packet.type === PacketType.Pubrel) {
          released++;
          back.pubcomp(packet.packetId);
        } else {
          assert.ok(packet.type === PacketType.Publish && !packet.dup);
          rest.push(packet.payload.toString());
          back.pubrec(packet.packetId!);
        }
      }
      assert.deepEqual(rest, numbers(10, 20));
      await back.quiet();
    },
  );
});

describe('counts of a stored queue', () => {
  durable(
    'a queue is whole after a crash, a run that makes a table of the log, and another start',
    {},
    async (durable, scene) => {
      const reader = await scene().connect(scene().kept('reader'));
      await reader.subscribe('q', { qos: 1 });
      await scene().leave(reader);
      await publishMany(await scene().connect(), 300, () => 'q', String);
      await durable.crash();
      // More than a segment of the log holds, so that it becomes a table.
      const publisher = await scene().connect();
      for (let index = 0; index < 18; index++)
        await publisher.deliver('other', Buffer.alloc(1_000_000, `${index}`), { qos: 1, retain: true });
      await durable.restart();
      const back = await scene().connect(scene().kept('reader'));
      assert.deepEqual(payloadsOf(await takeMessages(back, 300)), numbers(0, 300));
      await back.quiet();
    },
  );
});

describe('a message that is too large for a queue', () => {
  durable(
    'leaves the others where they are',
    { config: { limits: { queueBytesMax: 2000 } } },
    async (_durable, scene) => {
      const reader = await scene().connect(scene().kept('reader'));
      await reader.subscribe('q', { qos: 1 });
      await scene().leave(reader);
      const publisher = await scene().connect();
      await publishMany(publisher, 5, () => 'q', String);
      await publisher.deliver('q', 'x'.repeat(3000), { qos: 1 });
      const back = await scene().connect(scene().kept('reader'));
      assert.deepEqual(payloadsOf(await takeMessages(back, 5)), numbers(0, 5));
      await back.quiet();
    },
  );
});

describe('overflow of a stored queue', () => {
  const overflow = (queueOverflow: 'dropOldest' | 'dropNewest' | 'dropQos0First' | 'refuse') => ({
    config: { limits: { queueMessagesMax: 300, queueOverflow, queueQos0: true } },
  });

  async function fill(durable: DurableScene, way: 'restart' | 'crash'): Promise<WireClient> {
    const { connect, kept, leave } = durable.scene;
    const reader = await connect(kept('reader'));
    await reader.subscribe('q', { qos: 1 });
    await leave(reader);
    await publishMany(await connect(), 290, () => 'q', String);
    await durable[way]();
    return durable.scene.connect();
  }

  for (const way of ['restart', 'crash'] as const) {
    durable(`dropOldest keeps the newest (${way})`, overflow('dropOldest'), async (durable, scene) => {
      const publisher = await fill(durable, way);
      await publishMany(
        publisher,
        310,
        () => 'q',
        (index) => `${290 + index}`,
      );
      await durable[way]();
      const back = await scene().connect(scene().kept('reader'));
      assert.deepEqual(payloadsOf(await takeMessages(back, 300)), numbers(300, 600));
      await back.quiet();
    });

    durable(`dropNewest keeps the oldest (${way})`, overflow('dropNewest'), async (durable, scene) => {
      const publisher = await fill(durable, way);
      await publishMany(
        publisher,
        50,
        () => 'q',
        (index) => `${290 + index}`,
      );
      await durable[way]();
      const back = await scene().connect(scene().kept('reader'));
      assert.deepEqual(payloadsOf(await takeMessages(back, 300)), numbers(0, 300));
      await back.quiet();
    });

    durable(`refuse tells the publisher (${way})`, overflow('refuse'), async (durable, scene) => {
      const publisher = await fill(durable, way);
      const codes: number[] = [];
      for (let index = 290; index < 305; index++) codes.push(await publisher.deliver('q', `${index}`, { qos: 1 }));
      assert.deepEqual(codes, [...Array(10).fill(0), ...Array(5).fill(0x97)]);
      await durable[way]();
      const back = await scene().connect(scene().kept('reader'));
      assert.deepEqual(payloadsOf(await takeMessages(back, 300)), numbers(0, 300));
      await back.quiet();
    });

    durable(
      `dropQos0First drops QoS 0, then the oldest (${way})`,
      overflow('dropQos0First'),
      async (durable, scene) => {
        const { connect, kept, leave } = scene();
        const reader = await connect(kept('reader'));
        await reader.subscribe('q', { qos: 1 });
        await leave(reader);
        const first = await connect();
        for (let index = 0; index < 100; index++) first.publish('q', `zero ${index}`, { qos: 0 });
        await publishMany(first, 200, () => 'q', String);
        await durable[way]();
        const publisher = await scene().connect();
        await publishMany(
          publisher,
          90,
          () => 'q',
          (index) => `${200 + index}`,
        );
        publisher.publish('q', 'zero 100', { qos: 0 });
        await publisher.quiet();
        await durable[way]();
        const again = await scene().connect();
        await publishMany(
          again,
          10,
          () => 'q',
          (index) => `${290 + index}`,
        );
        again.publish('q', 'zero lost', { qos: 0 });
        await publishMany(
          again,
          5,
          () => 'q',
          (index) => `${300 + index}`,
        );
        const back = await scene().connect(kept('reader'));
        assert.deepEqual(payloadsOf(await takeMessages(back, 300)), numbers(5, 305));
        await back.quiet();
      },
    );
  }

  durable(
    'a limit on bytes holds over a restart',
    { config: { limits: { queueBytesMax: 10_100 } } },
    async (durable, scene) => {
      const reader = await scene().connect(scene().kept('reader'));
      await reader.subscribe('q', { qos: 1 });
      await scene().leave(reader);
      await publishMany(
        await scene().connect(),
        8,
        () => 'q',
        (index) => `${index}`.padStart(999),
      );
      await durable.crash();
      await publishMany(
        await scene().connect(),
        8,
        () => 'q',
        (index) => `${8 + index}`.padStart(999),
      );
      const back = await scene().connect(scene().kept('reader'));
      assert.deepEqual(payloadsOf(await takeMessages(back, 10)).map(Number), numbers(6, 16).map(Number));
      await back.quiet();
    },
  );
});

describe('a long queue', () => {
  durable(
    'of 5000 is drained in order, with small windows, broken connections and restarts on the way',
    { config: { limits: { queueMessagesMax: 10_000 } } },
    async (durable, scene) => {
      const reader = await scene().connect(scene().kept('reader'));
      await reader.subscribe('q/#', { qos: 1 });
      await scene().leave(reader);
      const publisher = await scene().connect();
      await publishMany(publisher, 5000, (index) => `q/${index % 10}`, String);
      let next = 0;
      for (let receiveMaximum = 1; next < 5000; receiveMaximum = (receiveMaximum % 20) + 3) {
        const back = await scene().connect(scene().kept('reader', { properties: { receiveMaximum } }));
        const count = Math.min(400, 5000 - next);
        const taken = await takeMessages(back, count);
        assert.deepEqual(payloadsOf(taken), numbers(next, next + count));
        await handled(back);
        next += count;
        if (receiveMaximum % 3 === 0) await durable.restart();
        else if (receiveMaximum % 3 === 1) await durable.crash();
        else await scene().drop(back);
      }
      const back = await scene().connect(scene().kept('reader'));
      await back.quiet();
      assert.equal(scene().broker.status().queuedMegabytes, 0);
      const { Q = 0, P = 0 } = await durable.entries();
      assert.deepEqual({ Q, P }, { Q: 0, P: 0 });
    },
  );

  durable(
    'of a session that ends leaves nothing',
    { config: { limits: { queueMessagesMax: 10_000 } } },
    async (durable, scene) => {
      const reader = await scene().connect(scene().kept('reader'));
      await reader.subscribe(['q/#', 'r'], { qos: 2 });
      for (const clientId of ['two', 'three'])
        await (await scene().connect(scene().kept(clientId))).subscribe('q/even', { qos: 2 });
      const publisher = await scene().connect();
      await publishMany(publisher, 5000, (index) => (index % 50 ? 'q/odd' : 'q/even'), String);
      reader.publish('r', 'x', { qos: 2 });
      await scene().drop(reader);
      await durable.crash();
      for (const clientId of ['reader', 'two', 'three']) await scene().connect({ clientId });
      await eventually('the queues to be swept', () => scene().broker.status().queuedMegabytes === 0);
      assert.deepEqual(await durable.entries(), { c: 1 });
    },
  );
});

describe('a payload for many sessions', () => {
  durable('is stored once, and gone when the last has it', {}, async (durable, scene) => {
    const payload = 'x'.repeat(100_000);
    const count = 200;
    for (let index = 0; index < count; index++) {
      const reader = await scene().connect(scene().kept(`reader-${index}`));
      await reader.subscribe('q', { qos: index % 2 ? 1 : 2 });
      if (index % 3) await scene().leave(reader);
    }
    const before = durable.bytes;
    const publisher = await scene().connect();
    await publisher.deliver('q', payload, { qos: 2 });
    const written = durable.bytes - before;
    assert.ok(written > 100_000 && written < 150_000, `${written} bytes written`);
    await durable.crash();
    const status = scene().broker.status();
    assert.ok(Math.abs(status.queuedMegabytes - (count * 100_001) / 1e6) < 0.001, `${status.queuedMegabytes} MB`);
    for (let index = 0; index < count; index++) {
      const back = await scene().connect(scene().kept(`reader-${index}`));
      const message = await back.message();
      assert.equal(message.payload, payload);
      if (message.qos === 1) back.puback(message.packetId);
      else {
        back.pubrec(message.packetId);
        await back.packet(PacketType.Pubrel);
        back.pubcomp(message.packetId);
      }
      await back.quiet();
      await scene().leave(back);
      if (index === 100) await durable.restart();
    }
    assert.equal(scene().broker.status().queuedMegabytes, 0);
    const { m = 0, n = 0, Q = 0, P = 0 } = await durable.entries();
    assert.deepEqual({ m, n, Q, P }, { m: 0, n: 0, Q: 0, P: 0 });
  });
});
