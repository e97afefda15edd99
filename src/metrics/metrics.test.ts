import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BrokerMetrics } from './broker-metrics.js';
import { LoadAverage } from './load-average.js';
import { type SysFigures, SysTopics } from './sys-topics.js';

describe('a load average', () => {
  it('begins at nothing, whatever was counted before', () => {
    assert.deepEqual(new LoadAverage().sample(1_000_000, 10), [0, 0, 0]);
  });

  it('comes near a steady rate by 1 - 1/e in its period, and leaves it likewise', () => {
    const load = new LoadAverage();
    let total = 500;
    load.sample(total, 10);
    const near = (value: number | undefined, expected: number) =>
      assert.ok(Math.abs(value! - expected) < 0.01, `${value}, not ${expected}`);
    let values: readonly number[] = [];
    for (let second = 0; second < 60; second += 10) {
      total += 20; // 120 a minute
      values = load.sample(total, 10);
    }
    near(values[0], 120 * (1 - Math.exp(-1)));
    near(values[1], 120 * (1 - Math.exp(-1 / 5)));
    near(values[2], 120 * (1 - Math.exp(-1 / 15)));
    const one = values[0]!;
    near(load.sample(total, 60)[0], one * Math.exp(-1));
  });

  it('does not depend on how often it is sampled', () => {
    const [often, seldom] = [new LoadAverage(), new LoadAverage()];
    often.sample(0, 1);
    seldom.sample(0, 1);
    for (let second = 1; second <= 30; second++) often.sample(second * 7, 1);
    assert.equal(often.sample(210, 1e-9)[0]!.toFixed(3), seldom.sample(210, 30)[0]!.toFixed(3));
  });
});

describe('the $SYS topics', () => {
  function sys() {
    const metrics = new BrokerMetrics(1000);
    const figures = {
      version: 'dunlin version 1',
      subscriptions: 3,
      sharedSubscriptions: 1,
      retainedMessages: 2,
      storedMessages: 9,
      storedBytes: 99,
      heapBytes: 1_000_000,
      inflightMessages: 6,
      outgoingMessages: 8,
      outgoingBytes: 88,
    };
    const published: [string, string][] = [];
    const topics = new SysTopics(
      metrics,
      () => figures as SysFigures,
      (topicName, payload) => published.push([topicName, payload]),
    );
    const update = (nowMs: number) => {
      published.length = 0;
      topics.update(nowMs);
      return Object.fromEntries(published);
    };
    return { metrics, figures, update, published };
  }

  it('have the names of Mosquitto', () => {
    const { metrics, update } = sys();
    metrics.sessions = 5;
    metrics.clientsConnected = 2;
    metrics.packetsReceived = 7;
    const all = update(13_500);
    for (const [name, value] of Object.entries({
      version: 'dunlin version 1',
      uptime: '12 seconds',
      'clients/total': '5',
      'clients/connected': '2',
      'clients/active': '2',
      'clients/disconnected': '3',
      'clients/inactive': '3',
      'subscriptions/count': '3',
      'shared_subscriptions/count': '1',
      'retained messages/count': '2',
      'messages/received': '7',
      'messages/stored': '9',
      'messages/inflight': '6',
      'packet/out/count': '8',
      'packet/out/bytes': '88',
      'connections/socket/count': '0',
      'store/messages/bytes': '99',
      'heap/current': '1000000',
      'load/messages/received/1min': '0.00',
      'load/connections/15min': '0.00',
    }))
      assert.equal(all[`$SYS/broker/${name}`], value, name);
  });

  it('have figures of what was refused', () => {
    const { metrics, update } = sys();
    metrics.connectionsBanned = 3;
    metrics.publishAboveRate = 4;
    const all = update(11_000);
    assert.equal(all['$SYS/broker/protection/connectionsBanned'], '3');
    assert.equal(all['$SYS/broker/protection/publishAboveRate'], '4');
    assert.equal(all['$SYS/broker/protection/overloads'], '0');
  });

  it('are published only where they changed', () => {
    const { metrics, figures, update, published } = sys();
    update(11_000);
    assert.deepEqual(update(11_000), {});
    metrics.publishDropped = 4;
    figures.heapBytes = 500;
    const changed = update(11_000);
    assert.equal(changed['$SYS/broker/publish/messages/dropped'], '4');
    assert.equal(changed['$SYS/broker/heap/current'], '500');
    assert.equal(changed['$SYS/broker/heap/maximum'], undefined, 'the highest so far stays');
    assert.equal(changed['$SYS/broker/clients/total'], undefined);
    assert.equal(published.length, new Set(published.map(([name]) => name)).size);
  });

  it('tell a rate per minute', () => {
    const { metrics, update } = sys();
    update(1000);
    metrics.packetsSent = 600;
    const changed = update(61_000);
    assert.equal(changed['$SYS/broker/load/messages/sent/1min'], (600 * (1 - Math.exp(-1))).toFixed(2));
  });
});
