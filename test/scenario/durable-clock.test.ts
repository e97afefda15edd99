/** A clock that was set back between two runs of the broker: what waits for a time waits no longer than it would have. */
import assert from 'node:assert/strict';
import { mock } from 'node:test';
import { durable, eventually } from './durable-scene.js';

const DAY_MS = 86_400_000;

durable('a session and a will wait no longer because the clock was set back', {}, async (restarting, scene) => {
  const { now } = Date;
  const clock = mock.method(Date, 'now', () => now() + DAY_MS);
  try {
    const { connect, drop, kept } = scene();
    const watcher = await connect(kept('watcher'));
    await watcher.subscribe('will', { qos: 1 });
    await drop(await connect(kept('short', { properties: { sessionExpiryInterval: 2 } })));
    const will = {
      topicName: 'will',
      payload: Buffer.from('late'),
      qos: 1,
      retain: false,
      properties: { willDelayInterval: 2 },
    } as const;
    await drop(await connect(kept('willing', { will })));
  } finally {
    clock.mock.restore();
  }
  await restarting.restart();
  const { broker, connect, kept } = scene();
  const watcher = await connect(kept('watcher'));
  assert.equal((await watcher.message()).payload, 'late');
  await eventually('the session to end', () => broker.metrics.sessions === 2);
});
