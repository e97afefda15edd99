/** What is left of the life of a session, and of the delay of its will, after one or more ends of the process. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SimulatedFiles } from '../../test/support/simulated-files.js';
import { defaultLimits, type Limits, silentLogger, TimerWheel } from '../base/index.js';
import { BrokerMetrics } from '../metrics/index.js';
import { ReasonCode } from '../protocol/index.js';
import { Router } from '../router/index.js';
import { Store } from '../storage/index.js';
import { FakeLink, subscribed } from './fake-link.fuzz.js';
import { Pressure } from './pressure.js';
import { SessionRegistry } from './session-registry.js';
import { SessionStore } from './session-store.js';

async function open(files: SimulatedFiles, startMs: number, limits: Partial<Limits> = {}) {
  let sessions!: SessionStore;
  const store = new Store({
    mode: 'buffered',
    folder: 'data',
    files,
    log: silentLogger,
    inline: true,
    onReplay: (from, key, value) => sessions.replay(from, key, value),
  });
  sessions = new SessionStore(store);
  await store.open();
  let now = startMs;
  const clock = { nowMs: () => now };
  const wheel = new TimerWheel(clock);
  const metrics = new BrokerMetrics(0);
  const router = new Router({
    strategy: 'roundRobin',
    sharedQueueMessagesMax: 100,
    topicCacheEntriesMax: 100,
    retainedMessagesMax: 100,
    retainedBytesMax: 100_000,
    clock,
    wheel,
    onDropped: () => {},
    handlingOf: () => ({ priority: 16, durability: 'buffered' }),
  });
  const wills: string[] = [];
  const damage: string[] = [];
  const pressure = new Pressure(wheel, 0);
  const registry = new SessionRegistry(
    {
      router,
      wheel,
      clock,
      metrics,
      pressure,
      limits: { ...defaultLimits, ...limits },
      store: sessions,
      onDamage: ({ clientId }, error) => damage.push(`${clientId}: ${(error as Error).message}`),
    },
    ({ topicName }) => wills.push(topicName),
  );
  registry.restore();
  store.commit();
  const pass = (seconds: number) => {
    for (const end = now + seconds * 1000; now < end; ) {
      now += 250;
      wheel.advance();
    }
    store.commit();
    return now;
  };
  return { store, registry, router, wills, damage, pass };
}

describe('a session of a store', () => {
  it('whose client was connected when the process ended lives from the first restart on, not from the last', async () => {
    const first = new SimulatedFiles();
    const { registry, store, pass } = await open(first, 1_000_000);
    const will = { values: { topicName: 'will', payload: '' }, delay: 50 };
    registry.open('c', false, 100, will, new FakeLink(), 10);
    store.commit();
    const second = first.kill();
    const again = await open(second, pass(1));
    const third = second.kill();
    const last = await open(third, again.pass(30));
    assert.deepEqual([last.registry.size, last.wills], [1, []]);
    last.pass(25);
    assert.deepEqual(last.wills, ['will'], 'delay');
    last.pass(30);
    assert.equal(last.registry.size, 1);
    last.pass(20);
    assert.equal(last.registry.size, 0, 'expiry');
  });

  it('ends with its subscriptions and its will though what it has in storage cannot be read', async () => {
    const { registry, router, store, wills } = await open(new SimulatedFiles(), 1_000_000);
    const will = { values: { topicName: 'will', payload: '' }, delay: 50 };
    const link = new FakeLink();
    const { session } = registry.open('c', false, 100, will, link, 10);
    session.resume();
    session.subscribe(subscribed('a', 1, { shareName: 'g' }));
    router.publishLocal({ topicName: 'a', payload: 'x', qos: 1 });
    registry.close(session, link, false);
    store.get = () => {
      throw new Error('damaged');
    };
    assert.throws(() => registry.end(session), /damaged/);
    assert.deepEqual([registry.size, router.subscriptionCount, wills], [0, 0, ['will']]);
  });

  it('that is away and whose queue cannot be read refuses what comes, and keeps nothing from others', async () => {
    const { registry, router, store, damage } = await open(new SimulatedFiles(), 1_000_000, { queueMessagesMax: 1 });
    const away = registry.open('away', false, 100, undefined, new FakeLink(), 10).session;
    away.subscribe(subscribed('a', 1));
    registry.close(away, away.connection!, false);
    const link = new FakeLink();
    const there = registry.open('there', false, 100, undefined, link, 10).session;
    there.resume();
    there.subscribe(subscribed('a', 1));
    const publish = (payload: string) => router.publishLocal({ topicName: 'a', payload, qos: 1 });
    assert.equal(publish('one'), ReasonCode.Success);
    store.scan = () => {
      throw new Error('damaged');
    };
    assert.equal(publish('two'), ReasonCode.QuotaExceeded);
    assert.deepEqual([link.take(), away.queuedMessages, damage], [['1:one', '2:two'], 1, ['away: damaged']]);
  });
});
