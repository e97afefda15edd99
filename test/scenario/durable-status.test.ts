/** The figures of `status`: nothing in memory, what is really kept in the other modes, and nothing again when it is gone. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { durable, eventually, publishMany, storedModes, takeMessages } from './durable-scene.js';

describe('status', { concurrency: true }, () => {
  durable('tells no storage size in mode memory', { mode: 'memory' }, async (_durable, scene) => {
    const reader = await scene().connect(scene().kept('reader'));
    await reader.subscribe('#', { qos: 1 });
    await scene().leave(reader);
    await publishMany(await scene().connect(), 20, (index) => `r/${index}`, String, { retain: true });
    const { retainedMegabytes, queuedMegabytes, sessionMegabytes, messagesRetained, sessions, subscriptions, storage } =
      scene().broker.status();
    assert.deepEqual(
      { retainedMegabytes, queuedMegabytes, sessionMegabytes, storage },
      {
        retainedMegabytes: 0,
        queuedMegabytes: 0,
        sessionMegabytes: 0,
        storage: { mode: 'memory', failed: undefined, megabytes: 0 },
      },
    );
    assert.deepEqual(
      { messagesRetained, sessions, subscriptions },
      { messagesRetained: 20, sessions: 2, subscriptions: 1 },
    );
  });

  for (const mode of storedModes)
    durable(`tells what is kept in mode ${mode}`, { mode }, async (durable, scene) => {
      const reader = await scene().connect(scene().kept('reader'));
      await reader.subscribe(['q/#', 'other/+'], { qos: 1 });
      await scene().leave(reader);
      const publisher = await scene().connect();
      await publishMany(
        publisher,
        100,
        () => 'q/x',
        () => 'x'.repeat(1000),
      );
      await publishMany(
        publisher,
        50,
        (index) => `r/${index % 10}`,
        () => 'y'.repeat(1000),
        { retain: true },
      );
      const check = () => {
        const status = scene().broker.status();
        assert.equal(status.queuedMegabytes, (100 * 1003) / 1e6);
        assert.equal(status.retainedMegabytes, (10 * 1003) / 1e6);
        assert.ok(status.sessionMegabytes > 0.0001 && status.sessionMegabytes < 0.002, `${status.sessionMegabytes}`);
        assert.deepEqual([status.messagesRetained, status.subscriptions], [10, 2]);
        assert.equal(status.storage.mode, mode);
        assert.ok(status.storage.megabytes > 0.1 && status.storage.megabytes < 1, `${status.storage.megabytes}`);
        assert.equal(status.storage.failed, undefined);
      };
      check();
      await durable.restart();
      check();
      await durable.crash();
      check();
      const back = await scene().connect(scene().kept('reader'));
      await takeMessages(back, 100);
      await back.quiet();
      assert.equal(scene().broker.status().queuedMegabytes, 0);
      await scene().connect({ clientId: 'reader' });
      const again = await scene().connect();
      for (let index = 0; index < 10; index++) await again.deliver(`r/${index}`, '', { qos: 1, retain: true });
      await eventually('all to be swept', () => {
        const { sessionMegabytes, retainedMegabytes, queuedMegabytes } = scene().broker.status();
        return sessionMegabytes === 0 && retainedMegabytes === 0 && queuedMegabytes === 0;
      });
      await durable.restart();
      const { sessionMegabytes, retainedMegabytes, queuedMegabytes, sessions, subscriptions } = scene().broker.status();
      assert.deepEqual(
        { sessionMegabytes, retainedMegabytes, queuedMegabytes, sessions, subscriptions },
        { sessionMegabytes: 0, retainedMegabytes: 0, queuedMegabytes: 0, sessions: 0, subscriptions: 0 },
      );
    });
});
