import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Figures, isNoisy, median, summarize } from './figures.js';
import { figuresOfMqload, mqloadCommand } from './mqload.js';
import { parseOptions } from './options.js';
import { target } from './peers/target.js';
import { SCENARIOS, type Scenario, selectScenarios } from './scenario/index.js';
import { formatTable, judge, timesOf } from './table.js';

const figures = (changes: Partial<Figures> = {}): Figures => ({
  cost: 5,
  perSecond: 1000,
  lost: 0,
  lostPercent: 0,
  duplicates: 0,
  outOfOrder: 0,
  closed: 0,
  stalls: 0,
  p50: 1,
  p99: 2,
  p999: 3,
  brokerCpuPercent: 100,
  brokerRssBytes: 1_048_576,
  loadCost: 0.1,
  seconds: 3,
  otherCpuSeconds: 0,
  stealSeconds: 0,
  ...changes,
});

const scenario = (name: string): Scenario => selectScenarios([name])[0]!;

test('the median of an odd and of an even number', () => {
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(median([4, 1, 2, 9]), 3);
});

test('noisy runs do not count while there is a quiet one, and are told', () => {
  const noisy = figures({ cost: 50, otherCpuSeconds: 2 });
  assert.ok(isNoisy(noisy) && !isNoisy(figures()));
  const summary = summarize([figures({ cost: 4 }), noisy, figures({ cost: 6 })]);
  assert.equal(summary.cost, 5);
  assert.equal(summary.noisyRuns, 1);
  assert.equal(summarize([noisy]).cost, 50);
});

test('what is lost in any run is added up', () => {
  const summary = summarize([figures({ lost: 2 }), figures({ lost: 3, otherCpuSeconds: 2 })]);
  assert.equal(summary.lost, 5);
});

test('the table gives multiples of mosquitto and judges dunlin by the target', () => {
  const table = formatTable([
    {
      scenario: scenario('one-to-one'),
      brokers: [
        { name: 'mosquitto', summary: summarize([figures()]) },
        { name: 'aedes', summary: 'did not start' },
        { name: 'dunlin', summary: summarize([figures({ cost: 0.25 })]) },
      ],
    },
  ]);
  assert.match(table, /dunlin +0\.250 µs\/msg +20\.0x/);
  assert.match(table, /MISSED: at least 28x/);
  assert.match(table, /aedes +- .*did not start/);
});

test('targets: multiple, latency, memory, loss', () => {
  const reference = summarize([figures()]);
  const better = summarize([figures({ cost: 2.5, p99: 1 })]);
  assert.equal(timesOf(better, reference), 2);
  assert.deepEqual(judge({ timesMin: 2, latencyNoWorse: true }, better, reference), [
    'met: at least 2x',
    'met: p99 no worse',
  ]);
  assert.deepEqual(judge({ latencyNoWorse: true }, summarize([figures({ p99: 9 })]), reference), [
    'MISSED: p99 no worse',
  ]);
  assert.deepEqual(judge({ bytesPerConnectionMax: 8192 }, summarize([figures({ cost: 9000 })]), undefined), [
    'MISSED: at most 8 KiB',
  ]);
  assert.deepEqual(judge({ lossless: true }, summarize([figures({ lost: 1 })]), reference), [
    'MISSED: nothing lost or doubled',
  ]);
});

test('scenarios are chosen by name, by group, all, or the standard ones', () => {
  assert.equal(selectScenarios([]).length, 8);
  assert.deepEqual(
    selectScenarios(['idle', 'one-to-one']).map(({ name }) => name),
    ['one-to-one', 'idle'],
  );
  assert.equal(selectScenarios(['all']).length, SCENARIOS.length);
  assert.equal(new Set(SCENARIOS.map(({ name }) => name)).size, SCENARIOS.length);
  assert.throws(() => selectScenarios(['fanout']), /"fanout" is no scenario; there are one-to-one/);
});

test('the command line: what is wrong is named', () => {
  const parse = (...args: string[]) => parseOptions(args, '/clone', () => {});
  assert.deepEqual(parse('--peers', 'mosquitto,aedes')?.peers, ['mosquitto', 'aedes', 'dunlin']);
  assert.deepEqual(parse('--target', 'x=127.0.0.1:1')?.peers, []);
  assert.equal(parse()?.results, '/clone/bench/results');
  assert.equal(parse('--no-results')?.results, undefined);
  assert.throws(() => parse('--runs', '0'), /--runs is "0", but must be a number from 1 to 100/);
  assert.throws(() => parse('--load', 'mqload'), /needs --mqload-source/);
  assert.throws(() => parse('--node', '/no/such/node'), /no file \/no\/such\/node/);
  assert.throws(() => parse('nothing'), /no scenario/);
});

test('a target is a broker on this machine', () => {
  assert.equal(target('other=127.0.0.1:1883:12,13').name, 'other');
  assert.throws(() => target('127.0.0.1:1883'), /is not NAME=HOST:PORT/);
  assert.throws(() => target('far=192.0.2.1:1883'), /not this machine's loopback/);
});

test('the external generator: command line and output', () => {
  const run = { port: 1999, pids: [7, 8], seconds: 3, warmUpSeconds: 1 };
  assert.equal(
    mqloadCommand('/m', scenario('sparse'), run)?.join(' '),
    '/m -P 1000 -S 1000 -l pair -q 0 -r 20000 -b 64 -t 3 -w 1 -p 1999 --pid 7,8',
  );
  assert.equal(
    mqloadCommand('/m', scenario('idle'), run)?.join(' '),
    '/m conn -N 10000 --burst 64 --hold 2 -p 1999 --pid 7,8',
  );
  assert.equal(mqloadCommand('/m', scenario('retained-storm'), run), undefined);
  const line =
    '{"mode":"load","seconds":2.0,"recv_per_s":1000,"sent_per_s":1000,"lost":-3,"lost_pct":-1,"lat_us":{"p50":1,"p99":2,' +
    '"p999":3,"max":4},"gen_cpu_s":0.5,"broker_cpu_s":1,"broker_cpu_pct":50,"rss_after_kb":10,"broker_us_per_msg":5.5}';
  const made = figuresOfMqload(scenario('one-to-one'), line);
  assert.equal(made.cost, 5.5);
  assert.equal(made.lost, 0);
  assert.equal(made.loadCost, 250);
  assert.equal(made.brokerRssBytes, 10_240);
});
