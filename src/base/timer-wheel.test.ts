/** Goal: never early, at most two ticks late, whatever is armed, re-armed and disarmed meanwhile. Method: a clock of ours. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from './random.fuzz.js';
import { TimerWheel, WheelTimer } from './timer-wheel.js';

const TICK_MS = 250;
const REVOLUTION_MS = 1024 * TICK_MS;

function wheelAt(now = 1_000_003) {
  const clock = { now, nowMs: () => clock.now };
  const wheel = new TimerWheel(clock);
  const pass = (milliseconds: number) => {
    clock.now += milliseconds;
    wheel.advance();
  };
  return { clock, wheel, pass };
}

describe('the timer wheel', () => {
  it('fires the others though one throws', () => {
    const clock = { now: 0, nowMs: () => clock.now };
    const failures: string[] = [];
    const wheel = new TimerWheel(clock, (error) => failures.push(String(error)));
    const fired: number[] = [];
    for (const number of [1, 2, 3])
      wheel.arm(
        new WheelTimer(() => {
          if (number === 2) throw new Error('damaged');
          fired.push(number);
        }),
        500,
      );
    clock.now = 1000;
    wheel.advance();
    assert.deepEqual([fired.sort(), failures], [[1, 3], ['Error: damaged']]);
  });

  it('fires each timer once, never early and at most two ticks late', () => {
    const random = new Random(3);
    const { clock, wheel, pass } = wheelAt();
    let open = 0;
    for (let step = 0; step < 20_000; step++) {
      if (random.oneIn(3)) {
        const wait = random.oneIn(10) ? random.below(4 * REVOLUTION_MS) : random.below(20_000);
        const due = clock.now + wait;
        open++;
        const timer = new WheelTimer(() => {
          open--;
          assert.ok(clock.now >= due, `${due - clock.now} ms early`);
          assert.ok(clock.now < due + 2 * TICK_MS + TICK_MS, `${clock.now - due} ms late`);
          assert.equal(timer.armed, false);
        });
        wheel.arm(timer, wait);
      }
      pass(random.below(TICK_MS));
      assert.equal(wheel.size, open);
    }
    for (let passed = 0; passed < 5 * REVOLUTION_MS; passed += TICK_MS) pass(TICK_MS);
    assert.deepEqual([open, wheel.size], [0, 0]);
  });

  it('goes by the last arming, and by none after disarming', () => {
    const { wheel, pass } = wheelAt();
    let fired = 0;
    const timer = new WheelTimer(() => fired++);
    wheel.arm(timer, 1000);
    wheel.arm(timer, 10_000);
    assert.equal(wheel.size, 1);
    pass(5000);
    assert.equal(fired, 0);
    wheel.arm(timer, 1000);
    pass(2000);
    assert.equal(fired, 1);
    wheel.arm(timer, 1000);
    wheel.disarm(timer);
    wheel.disarm(timer);
    pass(REVOLUTION_MS);
    assert.deepEqual([fired, wheel.size, wheel.remainingMs(timer)], [1, 0, 0]);
  });

  it('lets a timer disarm and re-arm others, and itself, while it fires', () => {
    const { wheel, pass } = wheelAt();
    const fired: string[] = [];
    const timers: Record<string, WheelTimer> = {};
    const each = (name: string, also: () => void) => {
      timers[name] = new WheelTimer(() => {
        fired.push(name);
        also();
      });
      wheel.arm(timers[name], 1000);
    };
    // Whichever of the two fires first silences the other.
    each('a', () => wheel.disarm(timers.b!));
    each('b', () => wheel.disarm(timers.a!));
    each('again', () => fired.length < 10 && wheel.arm(timers.again!, 1000));
    each('later', () => {});
    each('moves', () => wheel.arm(timers.later!, 5000));
    pass(2000);
    assert.equal(fired.filter((name) => name === 'a' || name === 'b').length, 1);
    assert.equal(fired.filter((name) => name === 'again').length, 1);
    pass(2000);
    assert.equal(fired.filter((name) => name === 'again').length, 2);
    pass(4000);
    assert.ok(fired.filter((name) => name === 'later').length >= 1);
  });

  it('finds everything due after a jump over more than a revolution, and nothing else', () => {
    const { wheel, pass } = wheelAt();
    const fired: number[] = [];
    const waits = [1, 1000, REVOLUTION_MS - 1, REVOLUTION_MS, 3 * REVOLUTION_MS - 5000, 4 * REVOLUTION_MS];
    for (const wait of waits) wheel.arm(new WheelTimer(() => fired.push(wait)), wait);
    pass(3 * REVOLUTION_MS);
    assert.deepEqual(
      fired.sort((a, b) => a - b),
      waits.slice(0, -1),
    );
    pass(REVOLUTION_MS + 2 * TICK_MS);
    assert.equal(fired.at(-1), waits.at(-1));
  });

  it('takes a clock that goes back as one that stands still', () => {
    const { clock, wheel, pass } = wheelAt();
    let fired = 0;
    pass(10_000);
    wheel.arm(new WheelTimer(() => fired++), 1000);
    pass(-9000);
    assert.equal(fired, 0);
    clock.now += 9000;
    pass(2000);
    assert.equal(fired, 1);
  });

  it('tells what is left', () => {
    const { wheel, pass } = wheelAt();
    const timer = new WheelTimer(() => {});
    wheel.arm(timer, 10_000);
    pass(4000);
    const left = wheel.remainingMs(timer);
    assert.ok(left >= 6000 && left <= 6000 + 2 * TICK_MS, String(left));
  });
});
