/** Goal: a lagging session holds its publishers, once each, for a bounded time, and never itself. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { TimerWheel } from '../base/index.js';
import { FakeLink } from './fake-link.fuzz.js';
import { Pressure } from './pressure.js';

function pressure(holdMs = 1000) {
  const clock = { now: 0, nowMs: () => clock.now };
  const wheel = new TimerWheel(clock);
  const it = new Pressure(wheel, holdMs);
  const pass = (milliseconds: number) => {
    clock.now += milliseconds;
    wheel.advance();
  };
  return { it, wheel, pass, self: new FakeLink(), publisher: new FakeLink(), other: new FakeLink() };
}

describe('pressure', () => {
  it('holds each publisher once, until the session has drained', () => {
    const { it: pressed, wheel, self, publisher, other } = pressure();
    const holder = pressed.holder();
    for (const each of [publisher, publisher, other]) {
      pressed.publisher = each;
      holder.behind(self);
    }
    assert.deepEqual([publisher.held, other.held], [1, 1]);
    holder.drained();
    assert.deepEqual([publisher.held, other.held, wheel.size], [0, 0, 0]);
  });

  it('counts the holds of several sessions on one publisher', () => {
    const { it: pressed, self, publisher } = pressure();
    const [one, two] = [pressed.holder(), pressed.holder()];
    pressed.publisher = publisher;
    one.behind(self);
    two.behind(self);
    assert.equal(publisher.held, 2);
    one.drained();
    assert.equal(publisher.held, 1);
    two.drained();
    assert.equal(publisher.held, 0);
  });

  it('never holds the session itself, nor anybody when nothing is handled or holding is off', () => {
    const { it: pressed, self, publisher } = pressure();
    const holder = pressed.holder();
    pressed.publisher = self;
    holder.behind(self);
    pressed.publisher = undefined;
    holder.behind(self);
    const off = pressure(0);
    off.it.publisher = publisher;
    off.it.holder().behind(self);
    assert.deepEqual([self.held, publisher.held, off.wheel.size], [0, 0, 0]);
  });

  it('holds nobody for a while when many sessions have held in vain', () => {
    const { it: pressed, pass, self, publisher } = pressure(1000);
    pressed.publisher = publisher;
    let holds = 0;
    const readers = Array.from({ length: 50 }, () => pressed.holder());
    for (const reader of readers) {
      reader.behind(self);
      if (publisher.held === 0) continue;
      holds++;
      pass(2000);
      assert.equal(publisher.held, 0);
    }
    assert.equal(holds, 3);
    pass(10_000);
    pressed.holder().behind(self);
    assert.equal(publisher.held, 1);
  });

  it('lets everybody go after its time, holds nobody more, and begins anew once it has drained', () => {
    const { it: pressed, pass, self, publisher, other } = pressure(1000);
    const holder = pressed.holder();
    pressed.publisher = publisher;
    holder.behind(self);
    pass(900);
    pressed.publisher = other;
    holder.behind(self);
    assert.deepEqual([publisher.held, other.held], [1, 1]);
    pass(700); // the time of the session, not of each publisher
    assert.deepEqual([publisher.held, other.held], [0, 0]);
    holder.behind(self);
    assert.equal(other.held, 0, 'it counts as slow');
    holder.drained();
    holder.behind(self);
    assert.equal(other.held, 1);
    holder.drained();
    assert.equal(other.held, 0);
  });
});
