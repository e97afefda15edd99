// The durable bench once, tiny, so that it never rots. Nothing here judges a speed.

import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { measure } from '../measure.js';
import { chooseBrokers, durableBrokers, peerOf } from './brokers.js';
import { formatColumns } from './columns.js';
import { parseDurableOptions } from './main.js';
import { formatPairs, PAIRS } from './pairs.js';
import { formatRestart, runRestart } from './restart.js';
import { formatSteady, growthOf, runSteady, type Sample } from './steady.js';

const root = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));
const all = durableBrokers(root, process.execPath);
const [buffered] = chooseBrokers(all, ['dunlin-buffered']);
assert.ok(buffered);

describe('on dunlin', () => {
  for (const mode of ['dunlin-buffered', 'dunlin-sync', 'dunlin-faultTolerant'])
    test(`pairs, ${mode}`, async () => {
      const [broker] = chooseBrokers(all, [mode]);
      const running = await peerOf(broker!).start({ core: undefined });
      try {
        const plan = { ...PAIRS.plan, publishers: 3, subscribers: 3 };
        const options = { seconds: 1, warmUpSeconds: 0, core: undefined, mqload: undefined };
        const figures = await measure({ ...PAIRS, plan }, running, options);
        assert.ok(figures !== undefined && figures.perSecond > 0);
        assert.equal(figures.lost, 0);
        assert.equal(figures.closed, 0);
      } finally {
        await running.stop();
      }
    });

  test('restart brings back everything that was stored', async () => {
    const result = await runRestart(buffered, { retained: 300, queued: 500, core: undefined, restMs: 10 });
    assert.equal(result.lostRetained, 0);
    assert.equal(result.lostQueued, 0);
    assert.deepEqual(
      result.comebacks.map(({ after }) => after),
      ['SIGTERM', 'SIGKILL'],
    );
    for (const { diskBytes, secondsToFirstConnect } of result.comebacks)
      assert.ok(diskBytes > 0 && secondsToFirstConnect > 0);
    assert.match(formatRestart([result, 'another: would not start']), /dunlin-buffered +SIGTERM/);
  });

  test('steady traffic is sampled', async () => {
    const result = await runSteady(buffered, { messages: 5000, core: undefined, restMs: 10 });
    assert.equal(result.lost, 0);
    assert.ok(result.returns >= 1 && result.samples.length >= 1);
    assert.ok(result.samples.at(-1)!.diskBytes > 0);
    assert.match(formatSteady(result), /messages\/s, 0 lost/);
  });
});

test('growth is of the last quarter of the time over the second', () => {
  const samples = [1, 5, 9, 10, 9, 10, 30, 20].map((diskBytes) => ({ diskBytes }) as Sample);
  assert.equal(growthOf(samples), 3);
  assert.ok(Number.isNaN(growthOf(samples.slice(0, 3))));
});

test('columns: words to the left, figures to the right', () => {
  assert.equal(
    formatColumns([
      ['a', 'b', 'c'],
      ['long', '10', 'x'],
    ]),
    'a      b  c\nlong  10  x\n',
  );
});

test('the pairs table compares messages per second with mosquitto', () => {
  const summary = {
    ...{ cost: 10, perSecond: 1000, lost: 0, lostPercent: 0, duplicates: 0, outOfOrder: 0, closed: 0, stalls: 0 },
    ...{ p50: 1000, p99: 2000, p999: 3000, loadCost: 0, seconds: 1, otherCpuSeconds: 0, stealSeconds: 0 },
    ...{ runs: 1, noisyRuns: 0 },
  };
  const brokers = [
    { name: 'mosquitto', summary },
    { name: 'dunlin-buffered', summary: { ...summary, perSecond: 5000, cost: 2 } },
    { name: 'dunlin-sync', summary: { ...summary, perSecond: 900 } },
    { name: 'dunlin-memory', summary: 'it ended with SIGKILL' },
  ];
  const table = formatPairs({ scenario: PAIRS, brokers });
  assert.match(table, /dunlin-buffered +5,000 +5\.00x +2\.00 +5\.00x .* met: at least 4x/);
  assert.match(table, /dunlin-sync +900 +0\.90x .* MISSED: at least 1x/);
  assert.match(table, /dunlin-memory +- +it ended with SIGKILL/);
});

test('what is wrong on the command line is named', () => {
  assert.throws(
    () => parseDurableOptions(['pears'], root),
    /"pears" is no part of durable; there are pairs, restart, steady/,
  );
  assert.throws(
    () => parseDurableOptions(['--retained', '2e9'], root),
    /--retained is "2e9", but must be a whole number/,
  );
  assert.throws(() => chooseBrokers(all, ['emu']), /"emu" is no broker here; there are mosquitto, /);
  assert.equal(parseDurableOptions(['--help'], root), undefined);
  assert.deepEqual(parseDurableOptions(['steady', 'pairs'], root)?.parts, ['pairs', 'steady']);
});
