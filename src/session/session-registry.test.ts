/** Goal: one session per client identifier; it ends, and its will is published, when the standard says. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SessionBench, subscribed } from './fake-link.fuzz.js';
import { SESSION_NEVER_EXPIRES } from './index.js';

const wills = (bench: SessionBench) => bench.wills.map(({ payload }) => payload);

describe('the session registry', () => {
  it('ends a session with its connection, or after its expiry interval', () => {
    const bench = new SessionBench();
    const short = bench.open('short', { expiry: 0 });
    const long = bench.open('long', { expiry: 10 });
    const ever = bench.open('ever', { expiry: SESSION_NEVER_EXPIRES });
    for (const { session, link } of [short, long, ever]) {
      session.subscribe(subscribed('a', 1));
      bench.registry.close(session, link, false);
    }
    assert.deepEqual(
      [...bench.registry.values()].map(({ clientId }) => clientId),
      ['long', 'ever'],
    );
    bench.pass(9);
    assert.notEqual(bench.registry.get('long'), undefined);
    bench.pass(2);
    assert.equal(bench.registry.get('long'), undefined);
    bench.pass(100);
    assert.deepEqual([bench.registry.size, bench.router.subscriptionCount], [1, 1]);
    assert.deepEqual([bench.metrics.sessions, bench.metrics.sessionsMax, bench.metrics.sessionsExpired], [1, 3, 1]);
  });

  it('counts the expiry from the last connection', () => {
    const bench = new SessionBench();
    const first = bench.open('c', { expiry: 10 });
    bench.registry.close(first.session, first.link, false);
    bench.pass(8);
    const second = bench.open('c', { expiry: 10 });
    assert.equal(second.sessionPresent, true);
    bench.pass(20);
    bench.registry.close(second.session, second.link, false);
    bench.pass(8);
    assert.equal(bench.open('c').sessionPresent, true);
  });

  it('discards the old session where the client starts clean [MQTT-3.1.2-4]', () => {
    const bench = new SessionBench();
    const first = bench.open('c');
    first.session.subscribe(subscribed('a', 1));
    bench.registry.close(first.session, first.link, false);
    bench.publish('lost');
    const second = bench.open('c', { cleanStart: true });
    assert.deepEqual([second.sessionPresent, second.link.take(), bench.router.subscriptionCount], [false, [], 0]);
  });

  it('ends the former connection of a client identifier [MQTT-3.1.4-3]', () => {
    const bench = new SessionBench();
    const first = bench.open('c');
    first.session.subscribe(subscribed('a', 1));
    const second = bench.open('c');
    assert.deepEqual([first.link.takenOvers, second.sessionPresent], [1, true]);
    bench.publish('x');
    assert.deepEqual([first.link.take(), second.link.take()], [[], ['1:x']]);
    bench.registry.close(first.session, first.link, false); // late
    assert.equal(second.session.online, true);
  });

  it('begins anew where the former connection took its session along', () => {
    const bench = new SessionBench();
    bench.open('c', { expiry: 0 });
    assert.equal(bench.open('c', { expiry: 0 }).sessionPresent, false);
    assert.equal(bench.registry.size, 1);
  });

  it('publishes a will when the connection ends, unless it is discarded', () => {
    const bench = new SessionBench();
    for (const [clientId, discard] of [
      ['kept', false],
      ['discarded', true],
    ] as const) {
      const { session, link } = bench.open(clientId, { delay: 0 });
      bench.registry.close(session, link, discard);
      bench.registry.close(session, link, false);
    }
    assert.deepEqual(wills(bench), ['kept']);
  });

  it('publishes a delayed will after its delay or with the session, whichever is first [MQTT-3.1.2-8]', () => {
    const bench = new SessionBench();
    for (const [clientId, delay, expiry] of [
      ['delay', 5, 100],
      ['session', 100, 5],
      ['at once', 5, 0],
    ] as const) {
      const { session, link } = bench.open(clientId, { delay, expiry });
      bench.registry.close(session, link, false);
    }
    assert.deepEqual(wills(bench), ['at once']);
    bench.pass(4);
    assert.equal(bench.wills.length, 1);
    bench.pass(3);
    assert.deepEqual(wills(bench).sort(), ['at once', 'delay', 'session']);
    bench.pass(200);
    assert.equal(bench.wills.length, 3);
  });

  it('publishes no delayed will of a client that is back in time [MQTT-3.1.3-9], but with a session that ends', () => {
    const bench = new SessionBench();
    const first = bench.open('c', { delay: 5 });
    bench.registry.close(first.session, first.link, false);
    bench.pass(2);
    bench.open('c');
    bench.pass(10);
    assert.deepEqual(wills(bench), []);
    const other = bench.open('d', { delay: 5 });
    bench.registry.close(other.session, other.link, false);
    bench.open('d', { cleanStart: true });
    assert.deepEqual(wills(bench), ['d']);
  });
});
