/** Goal: the tree matches what `topicMatches` says, merges overlaps, and holds nothing once everybody has left. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../base/random.fuzz.js';
import { type QoS, topicMatches } from '../protocol/index.js';
import { Subscription } from './subscription.js';
import { TopicTree } from './topic-tree.js';
import { NotingSubscriber, randomTopicFilter, randomTopicName } from './topics.fuzz.js';

const common = ['#', '+', 'a', 'a/#', 'a/+', 'a/b', '+/b', '$SYS/#', '/'];
const newTree = () =>
  new TopicTree({ strategy: 'roundRobin', queueMessagesMax: 10, onDropped: () => {}, nowMs: () => 0 });

function subscribe(
  subscriber: NotingSubscriber,
  topicFilter: string,
  more: { qos?: QoS; noLocal?: boolean; retainAsPublished?: boolean; id?: number; shareName?: string } = {},
): Subscription {
  const { shareName, qos = 0, noLocal = false, retainAsPublished = false, id } = more;
  return new Subscription(subscriber, topicFilter, shareName, qos, noLocal, retainAsPublished, 0, id);
}

/** The private root, which must have nothing below it. */
const isBare = (tree: TopicTree) => (tree as unknown as { root: { empty: boolean } }).root.empty;

describe('the topic tree', () => {
  it('matches as topicMatches does while subscriptions come, change and go', () => {
    for (const seed of [1, 2, 3]) {
      const random = new Random(seed);
      const tree = newTree();
      const held = new Map<string, Subscription>();
      const subscribers = Array.from({ length: 12 }, (_, index) => new NotingSubscriber(`s${index}`));
      for (let step = 0; step < 6000; step++) {
        const subscriber = random.pick(subscribers);
        // Filters that are there already come up often, so that they are replaced and removed.
        const shareName = random.oneIn(5) ? `g${random.below(2)}` : undefined;
        const topicFilter = random.oneIn(2) ? random.pick(common) : randomTopicFilter(random);
        const key = JSON.stringify([subscriber.clientId, shareName, topicFilter]);
        const current = held.get(key);
        const next = subscribe(subscriber, topicFilter, {
          qos: random.below(3) as QoS,
          noLocal: random.oneIn(3),
          id: 1 + step,
          ...(shareName === undefined ? {} : { shareName }),
        });
        if (current !== undefined && random.oneIn(2)) {
          tree.remove(current);
          held.delete(key);
        } else {
          if (current === undefined) tree.add(next);
          else tree.replace(current, next);
          held.set(key, next);
        }
        while (held.size > 60) {
          const [oldest, subscription] = held.entries().next().value!;
          tree.remove(subscription);
          held.delete(oldest);
        }
        assert.equal(tree.size, held.size);
        if (step % 4 !== 0) continue;
        const topicName = randomTopicName(random);
        const expected = [...held.values()].filter((each) => topicMatches(each.topicFilter, topicName));
        const { deliveries, groups } = tree.match(topicName);
        const plain = expected.filter(({ shareName: share }) => share === undefined);
        assert.deepEqual(
          deliveries.flatMap(({ subscriptionIds }) => subscriptionIds ?? []).sort(),
          plain.map(({ subscriptionId }) => subscriptionId).sort(),
          `${topicName}, seed ${seed}, step ${step}`,
        );
        assert.equal(deliveries.length, new Set(plain.map((each) => each.subscriber)).size);
        for (const { subscriber: receiver, qos, noLocal, withoutNoLocal } of deliveries) {
          const parts = plain.filter((each) => each.subscriber === receiver);
          const local = parts.filter((part) => !part.noLocal);
          assert.equal(qos, Math.max(...parts.map((part) => part.qos))); // [MQTT-3.3.4-2]
          assert.equal(noLocal, local.length < parts.length);
          if (local.length > 0 && local.length < parts.length)
            assert.deepEqual(
              [...(withoutNoLocal?.subscriptionIds ?? [])].sort(),
              local.map((part) => part.subscriptionId).sort(),
            );
        }
        assert.deepEqual(
          groups.flatMap(({ subscriptions }) => subscriptions.map(({ subscriptionId }) => subscriptionId)).sort(),
          expected
            .filter(({ shareName: share }) => share !== undefined)
            .map(({ subscriptionId }) => subscriptionId)
            .sort(),
        );
      }
      for (const subscription of held.values()) tree.remove(subscription);
      assert.deepEqual([tree.size, tree.sharedGroups, isBare(tree)], [0, 0, true]);
    }
  });

  it('merges overlapping subscriptions of one subscriber into one delivery', () => {
    const tree = newTree();
    const one = new NotingSubscriber('one');
    for (const subscription of [
      subscribe(one, 'a/b', { qos: 0, id: 1 }),
      subscribe(one, 'a/+', { qos: 2, retainAsPublished: true }),
      subscribe(one, '#', { qos: 1, noLocal: true, id: 1 }),
    ])
      tree.add(subscription);
    const [delivery, ...more] = tree.match('a/b').deliveries;
    assert.equal(more.length, 0);
    assert.equal(delivery!.qos, 2);
    assert.equal(delivery!.retainAsPublished, true);
    assert.deepEqual(delivery!.subscriptionIds, [1, 1]); // [MQTT-3.3.4-4], one per subscription
    assert.equal(delivery!.noLocal, true);
    assert.equal(delivery!.withoutNoLocal?.noLocal, false);
    assert.deepEqual(delivery!.withoutNoLocal?.subscriptionIds, [1]);
  });

  it('keeps many subscribers of one filter apart when some of them leave', () => {
    const tree = newTree();
    const all = Array.from({ length: 50 }, (_, index) => subscribe(new NotingSubscriber(`s${index}`), 'x'));
    for (const subscription of all) tree.add(subscription);
    for (const index of [0, 49, 20, 21, 48]) tree.remove(all[index]!);
    const names = () => new Set(tree.match('x').deliveries.map(({ subscriber }) => subscriber.clientId));
    assert.equal(names().size, 45);
    for (const index of [0, 49, 20, 21, 48]) assert.equal(names().has(`s${index}`), false);
  });

  it('keeps a shared group apart from the same filter without it, by share name', () => {
    const tree = newTree();
    const one = new NotingSubscriber('one');
    tree.add(subscribe(one, 'a', { id: 1 }));
    const first = tree.add(subscribe(one, 'a', { id: 2, shareName: 'g' }));
    const second = tree.add(subscribe(one, 'a', { id: 3, shareName: 'h' }));
    assert.notEqual(first, second);
    assert.equal(tree.sharedGroups, 2);
    assert.deepEqual(tree.match('a').groups, [first, second]);
    assert.deepEqual(
      tree.match('a').deliveries.map(({ subscriptionIds }) => subscriptionIds),
      [[1]],
    );
  });
});
