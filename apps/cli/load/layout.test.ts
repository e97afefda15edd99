import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fanOf, filtersOf, flowOf, topicOf, wildcardFilter, wildcardTopic, workerOf } from './layout.js';
import { findPlanProblem, isLoopback, type LoadPlan, PLAN_DEFAULTS } from './plan.js';
import { TopicTable } from './topic-table.js';

const plan = (changes: Partial<LoadPlan>): LoadPlan => ({ ...PLAN_DEFAULTS, ...changes });

function matches(filter: string, topic: string): boolean {
  const levels = topic.split('/');
  const wanted = filter.split('/');
  for (const [index, level] of wanted.entries()) {
    if (level === '#') return true;
    if (level !== '+' && level !== levels[index]) return false;
  }
  return wanted.length === levels.length;
}

test('every topic of the wildcard layout matches exactly one filter', () => {
  const filters: [number, number, string][] = [];
  for (let subscriber = 0; subscriber < 4; subscriber++)
    for (let filter = 0; filter < 12; filter++)
      filters.push([subscriber, filter, wildcardFilter('load', subscriber, filter)]);
  const length = wildcardTopic('load', 0, 0).length;
  for (const [subscriber, filter, own] of filters) {
    const topic = wildcardTopic('load', subscriber, filter);
    assert.equal(topic.length, length);
    assert.deepEqual(
      filters.filter(([, , other]) => matches(other, topic)).map(([, , other]) => other),
      [own],
    );
  }
});

test('a topic table goes through all topics before one comes round again', () => {
  for (const [changes, publishers, each] of [
    [{ layout: 'wildcard', subscribers: 7, filters: 9 }, 1, 63],
    [{ layout: 'distinct', publishers: 3, messages: 60, subscribers: 0, retain: true }, 3, 20],
  ] as const) {
    const table = TopicTable.of(plan(changes));
    assert.ok(table);
    const seen = new Set<string>();
    for (let publisher = 0; publisher < publishers; publisher++) {
      let place = table.startOf(publisher);
      for (let message = 0; message < each; message++) {
        const bytes = Buffer.alloc(64);
        place = table.write(bytes, 0, place);
        seen.add(bytes.toString());
      }
    }
    assert.equal(seen.size, publishers * each);
  }
});

test('pairs: both ends live in the same worker and share a topic', () => {
  const pairs = plan({ layout: 'pair', publishers: 6, subscribers: 12, workers: 4 });
  for (let subscriber = 0; subscriber < 12; subscriber++) {
    assert.equal(workerOf(pairs, 'subscriber', subscriber), workerOf(pairs, 'publisher', subscriber % 6));
    assert.deepEqual(filtersOf(pairs, subscriber), [topicOf(pairs, subscriber % 6)]);
  }
  assert.equal(fanOf(pairs), 2);
});

test('deliveries per message and what sequence numbers tell', () => {
  assert.equal(fanOf(plan({ layout: 'shared', subscribers: 5 })), 5);
  assert.equal(fanOf(plan({ layout: 'shared', subscribers: 5, shareName: 'group' })), 1);
  assert.equal(fanOf(plan({ layout: 'shared', subscribers: 0 })), 0);
  assert.equal(flowOf(plan({ layout: 'fanin', publishers: 9 })), 'every');
  assert.equal(flowOf(plan({ layout: 'fanin', publishers: 9, shareName: 'group' })), 'some');
  assert.equal(flowOf(plan({ layout: 'shared', publishers: 100_000, subscribers: 100 })), 'unknown');
  assert.deepEqual(filtersOf(plan({ layout: 'fanin', shareName: 'group' }), 0), ['$share/group/load/from/+/data']);
});

test('only this machine is a target unless asked for', () => {
  for (const host of ['127.0.0.1', '127.9.9.9', 'localhost', '::1']) assert.ok(isLoopback(host), host);
  for (const host of ['127.evil.example', '10.0.0.1', '::2', 'example.org']) assert.ok(!isLoopback(host), host);
  assert.match(findPlanProblem(plan({ host: 'example.org' })) ?? '', /example\.org is not on this machine/);
  assert.equal(findPlanProblem(plan({ host: 'example.org', allowRemote: true })), undefined);
});

test('a plan that makes no sense is refused in words', () => {
  assert.equal(findPlanProblem(PLAN_DEFAULTS), undefined);
  for (const [changes, expected] of [
    [{ port: 0 }, /port is 0, but must be a whole number from 1 to 65535/],
    [{ payloadBytes: 10 }, /payload size is 10 bytes/],
    [{ seconds: Number.NaN }, /duration \(seconds\) is NaN/],
    [{ publishers: 3, subscribers: 4 }, /4 subscribers cannot be shared out evenly among 3/],
    [{ publishers: 0, subscribers: 0 }, /nothing to do/],
    [{ layout: 'template', topicName: 'a/#' }, /topic name a\/# has a wildcard/],
    [{ layout: 'distinct', messages: 0 }, /number of messages is 0/],
  ] as [Partial<LoadPlan>, RegExp][])
    assert.match(findPlanProblem(plan(changes)) ?? '', expected);
});
