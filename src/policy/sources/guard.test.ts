import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Logger } from '../../base/index.js';
import { AnswerCache } from './answer-cache.js';
import { Guard, SourceUnavailable } from './guard.js';

const recorder = (lines: string[]): Logger => {
  const note = (event: string, sentence: string, fields?: object) =>
    void lines.push(`${event} ${sentence} ${JSON.stringify(fields)}`);
  return { level: 4, error: note, warning: note, information: note, debug: note };
};

/** A guard with a clock of its own. */
function guarded(options: { timeoutMs?: number; runningMax?: number; waitingMax?: number } = {}) {
  const lines: string[] = [];
  const clock = { nowMs: 1000 };
  const guard = new Guard({
    name: 'db',
    type: 'test',
    timeoutMs: 20_000,
    runningMax: 2,
    log: recorder(lines),
    nowMs: () => clock.nowMs,
    ...options,
  });
  return { guard, lines, clock };
}
const fails = (message: string) => () => Promise.reject(new Error(message));
const refusedWith = (message: RegExp) => (error: unknown) =>
  error instanceof SourceUnavailable && message.test(error.message);

describe('a guarded source', () => {
  it('says what it is doing', async () => {
    const { guard } = guarded();
    assert.equal(guard.status().state, 'idle');
    assert.equal(await guard.run(async () => 7), 7);
    const { state, requests, failures, running } = guard.status();
    assert.deepEqual([state, requests, failures, running], ['connected', 1, 0, 0]);
  });

  it('is not asked for a while after it failed, longer each time, and tells so once', async () => {
    const { guard, lines, clock } = guarded();
    let asked = 0;
    const down = () => {
      asked++;
      return Promise.reject(new Error('connect ECONNREFUSED mysql://user:p@s3cret@db/x'));
    };
    await assert.rejects(guard.run(down), refusedWith(/ECONNREFUSED/));
    await assert.rejects(guard.run(down), refusedWith(/is failing/));
    assert.equal(asked, 1);
    for (const [waitMs, expected] of [
      [999, 1],
      [1, 2],
      [1999, 2],
      [1, 3],
    ] as const) {
      clock.nowMs += waitMs;
      await assert.rejects(guard.run(down));
      assert.equal(asked, expected);
    }
    assert.equal(lines.length, 1);
    assert.match(lines[0]!, /^source\.failed /);
    assert.ok(!lines[0]!.includes('s3cret'));
    clock.nowMs += 30_000;
    assert.equal(await guard.run(async () => 'back'), 'back');
    assert.equal(guard.status().state, 'connected');
    assert.match(lines[1]!, /^source\.recovered /);
    assert.equal(guard.status().failures, 3);
    assert.equal(guard.status().notAsked, 3);
  });

  it('lets one request try when the wait is over', async () => {
    const { guard, clock } = guarded();
    await assert.rejects(guard.run(fails('down')));
    clock.nowMs += 1000;
    let answer = (_: string): void => {};
    const trial = guard.run(() => new Promise<string>((resolve) => (answer = resolve)));
    await assert.rejects(
      guard.run(async () => 'other'),
      refusedWith(/is failing/),
    );
    answer('up');
    assert.equal(await trial, 'up');
    assert.equal(await guard.run(async () => 'other'), 'other');
  });

  it('gives up on an answer that takes too long, and aborts it', async () => {
    const { guard } = guarded({ timeoutMs: 10 });
    let aborted = false;
    const never = (signal: AbortSignal) =>
      new Promise<void>(() => signal.addEventListener('abort', () => (aborted = true)));
    await assert.rejects(guard.run(never), refusedWith(/no answer within 10 ms/));
    assert.ok(aborted);
    assert.equal(guard.status().timeouts, 1);
  });

  it('runs a bounded number of requests, lets a bounded number wait, and refuses the rest as busy', async () => {
    const { guard } = guarded({ runningMax: 1, waitingMax: 1 });
    const order: number[] = [];
    let release = (): void => {};
    const first = guard.run(async () => {
      await new Promise<void>((resolve) => (release = resolve));
      order.push(1);
    });
    const second = guard.run(async () => void order.push(2));
    await assert.rejects(
      guard.run(async () => {}),
      (error: unknown) => error instanceof SourceUnavailable && error.busy,
    );
    release();
    await Promise.all([first, second]);
    assert.deepEqual(order, [1, 2]);
    assert.equal(guard.status().running, 0);
  });

  it('gives up what runs and what waits when it is closed, and asks nothing until it is opened again', async () => {
    const { guard, lines } = guarded({ runningMax: 1 });
    let asked = 0;
    const never = (signal: AbortSignal) =>
      new Promise<void>((_, reject) => {
        asked++;
        signal.addEventListener('abort', () => reject(new Error('aborted')));
      });
    const given = [guard.run(never), guard.run(never), guard.run(never)];
    const over = given.map((one) => assert.rejects(one, refusedWith(/is closed/)));
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(asked, 1);
    guard.close();
    await Promise.all(over);
    await assert.rejects(guard.run(never), refusedWith(/is closed/));
    assert.equal(asked, 1);
    const { running, waiting, failures } = guard.status();
    assert.deepEqual([running, waiting, failures, lines.length], [0, 0, 0, 0]);
    guard.open();
    assert.equal(await guard.run(async () => 7), 7);
  });
});

it('a cache of answers is bounded in size and time', () => {
  const cache = new AnswerCache<number>(2);
  cache.set('a', 1, 100);
  cache.set('b', 2, 100);
  assert.equal(cache.get('a', 50), 1);
  cache.set('c', 3, 100);
  assert.equal(cache.get('b', 50), undefined, 'the one that was not used for longest goes');
  assert.equal(cache.get('a', 100), undefined, 'its time is over');
  assert.equal(cache.get('c', 99), 3);
  assert.equal(cache.size, 1);
});
