/** Goal: a router with its cache delivers what an uncached tree would, to everybody once, retained messages in place. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { TimerWheel } from '../base/index.js';
import { Random } from '../base/random.fuzz.js';
import { Message, PublishRun, ReasonCode, topicMatches } from '../protocol/index.js';
import { Router } from './router.js';
import { Subscription } from './subscription.js';
import { NotingSubscriber, randomTopicFilter, randomTopicName } from './topics.fuzz.js';

const clock = { nowMs: () => 1000 };
const newRouter = (topicCacheEntriesMax = 64, retainedMessagesMax = 100) =>
  new Router({
    strategy: 'roundRobin',
    sharedQueueMessagesMax: 10,
    topicCacheEntriesMax,
    retainedMessagesMax,
    retainedBytesMax: 1000,
    clock,
    wheel: new TimerWheel(clock),
    onDropped: () => {},
  });
const subscription = (subscriber: NotingSubscriber, topicFilter: string, noLocal = false, id?: number) =>
  new Subscription(subscriber, topicFilter, undefined, 2, noLocal, false, 0, id);

describe('the router', () => {
  it('finds fresh subscribers through its cache whatever filter comes or goes', () => {
    for (const seed of [11, 12, 13]) {
      const random = new Random(seed);
      const router = newRouter();
      const held: Subscription[] = [];
      const subscribers = Array.from({ length: 5 }, (_, index) => new NotingSubscriber(`s${index}`));
      /** As a connection holds the entry it used last. */
      let last = router.resolve('a');
      for (let step = 0; step < 20_000; step++) {
        const choice = random.below(6);
        if (choice === 0) {
          const subscriber = random.pick(subscribers);
          const topicFilter = randomTopicFilter(random);
          if (held.some((each) => each.subscriber === subscriber && each.topicFilter === topicFilter)) continue;
          const next = subscription(subscriber, topicFilter, false, step + 1);
          router.subscribe(next, undefined);
          held.push(next);
        } else if (choice === 1 && held.length > 0) {
          const index = random.below(held.length);
          const current = held[index]!;
          if (random.oneIn(2)) {
            held.splice(index, 1);
            router.unsubscribe(current);
          } else {
            held[index] = subscription(current.subscriber as NotingSubscriber, current.topicFilter, false, step + 1);
            router.subscribe(held[index], current);
          }
        } else {
          const topicName = random.oneIn(4) ? last.topicName : randomTopicName(random);
          const bytes = Buffer.from(`??${topicName}??`);
          const entry =
            topicName === last.topicName && router.current(last)
              ? last
              : (router.findEntry(bytes, 2, bytes.length - 2) ?? router.resolve(topicName));
          assert.equal(entry.topicName, topicName);
          assert.deepEqual(
            entry.deliveries.flatMap(({ subscriptionIds }) => subscriptionIds!).sort(),
            held
              .filter(({ topicFilter }) => topicMatches(topicFilter, topicName))
              .map(({ subscriptionId }) => subscriptionId)
              .sort(),
            `${topicName}, seed ${seed}, step ${step}`,
          );
          last = entry;
        }
        while (held.length > 30) router.unsubscribe(held.shift()!);
      }
    }
  });

  it('leaves out the publisher where it asked for No Local, but not where another subscription of it did not', () => {
    const router = newRouter();
    const one = new NotingSubscriber('one');
    const two = new NotingSubscriber('two');
    router.subscribe(subscription(one, 'a', true), undefined);
    router.subscribe(subscription(two, 'a', true, 1), undefined);
    router.subscribe(subscription(two, '#', false, 2), undefined);
    const publish = (publisherId: string) =>
      router.publish(Message.create({ topicName: 'a', payload: publisherId, publisherId }, 0));
    publish('one'); // [MQTT-3.8.3-3]
    publish('two');
    assert.deepEqual(one.payloads, ['two']);
    assert.deepEqual(two.payloads, ['one', 'two']);
    assert.deepEqual(
      two.got.map(({ delivery }) => [...(delivery.subscriptionIds ?? [])].sort()),
      [[1, 2], [2]],
    );
  });

  it('hands a run to its receivers as it is, without its publisher where No Local says so', () => {
    const router = newRouter();
    const [one, two] = [new NotingSubscriber('one'), new NotingSubscriber('two')];
    router.subscribe(subscription(one, 'a', true), undefined);
    router.subscribe(subscription(two, 'a'), undefined);
    const bytes = Buffer.from('\x30\x04\x00\x01aX\x30\x05\x00\x01aYZ', 'latin1');
    const run = new PublishRun();
    run.begin(bytes, 0, false, 1, 'one');
    run.end = bytes.length;
    run.count = 2;
    router.publishRun(run, router.resolve('a'));
    assert.deepEqual(one.runs, []);
    assert.deepEqual(two.runs, [{ count: 2, bytes: bytes.toString('latin1') }]);
  });

  it('answers with what became of the message', () => {
    const router = newRouter(64, 1);
    const message = (topicName: string, retain = false) => Message.create({ topicName, payload: 'x', retain }, 0);
    assert.equal(router.publish(message('a')), ReasonCode.NoMatchingSubscribers);
    const one = new NotingSubscriber('one');
    router.subscribe(subscription(one, '#'), undefined);
    assert.equal(router.publish(message('a', true)), ReasonCode.Success);
    assert.equal(router.publish(message('b', true)), ReasonCode.QuotaExceeded);
    assert.equal(one.got.length, 1, 'nothing is done for a message that cannot be retained');
    one.takes = false;
    const two = new NotingSubscriber('two');
    router.subscribe(subscription(two, 'a'), undefined);
    assert.equal(router.publish(message('a')), ReasonCode.QuotaExceeded);
    assert.equal(two.got.length, 1, 'a full subscriber takes nothing from the others');
  });

  it('refuses to publish for the program to what is no topic name', () => {
    const router = newRouter();
    for (const topicName of ['', 'a/#', '+', 'a\u0000', 'x'.repeat(65_536)])
      assert.throws(() => router.publishLocal({ topicName, payload: '' }), { code: 'TOPIC_NAME_INVALID' });
  });

  it('counts subscriptions and shared groups', () => {
    const router = newRouter();
    const one = new NotingSubscriber('one');
    const shared = new Subscription(one, 'a', 'g', 1, false, false, 0, undefined);
    router.subscribe(shared, undefined);
    router.subscribe(subscription(one, 'a'), undefined);
    assert.deepEqual([router.subscriptionCount, router.sharedGroupCount], [2, 1]);
    router.unsubscribe(shared);
    assert.deepEqual([router.subscriptionCount, router.sharedGroupCount], [1, 0]);
  });
});
