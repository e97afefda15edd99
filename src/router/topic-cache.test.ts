/** Goal: the cache is bounded, finds by bytes, and trusts no entry that a filter may have changed. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../base/random.fuzz.js';
import { topicMatches } from '../protocol/index.js';
import { TopicCache, type TopicEntry } from './topic-cache.js';
import { randomTopicFilter, randomTopicName } from './topics.fuzz.js';

const find = (cache: TopicCache, topicName: string) => {
  const bytes = Buffer.from(topicName);
  return cache.find(bytes, 0, bytes.length);
};

describe('the topic cache', () => {
  it('spreads names that were chosen to meet in one place', () => {
    const cache = new TopicCache(10_000);
    const names: string[] = [];
    for (let number = 0; names.length < 300; number++) {
      let hash = 0x811c9dc5; // FNV-1a, as everybody knows it
      for (const unit of Buffer.from(`x/${number}`)) hash = Math.imul(hash ^ unit, 0x01000193);
      if ((hash & 0x3ff) === 0) names.push(`x/${number}`);
    }
    for (const name of names) cache.add(name);
    const { buckets } = cache as unknown as { buckets: (TopicEntry | undefined)[] };
    const longest = buckets.map((first) => {
      let length = 0;
      for (let entry = first; entry !== undefined; entry = entry.next) length++;
      return length;
    });
    assert.ok(Math.max(...longest) < 100, `${Math.max(...longest)} of ${names.length}`);
    for (const name of names) assert.equal(cache.find(Buffer.from(name), 0, name.length)?.topicName, name);
  });

  it('makes every entry stale that a filter can match, and a wildcard no entry under another first level', () => {
    const random = new Random(5);
    for (let step = 0; step < 5000; step++) {
      const cache = new TopicCache(100);
      const names = [...new Set(Array.from({ length: 20 }, () => randomTopicName(random)))];
      const entries = names.map((name) => cache.add(name));
      for (const entry of entries) cache.freshen(entry);
      const topicFilter = randomTopicFilter(random);
      cache.invalidate(topicFilter);
      const first = topicFilter.split('/')[0]!;
      for (const entry of entries) {
        if (topicMatches(topicFilter, entry.topicName)) assert.equal(cache.isFresh(entry), false, entry.topicName);
        else if (first !== '+' && first !== '#' && entry.topicName.split('/')[0] !== first)
          assert.equal(cache.isFresh(entry), true, `${entry.topicName} by ${topicFilter}`);
      }
    }
  });

  it('leaves the neighbours of an exact filter alone', () => {
    const cache = new TopicCache(100);
    const [entry, neighbour] = [cache.add('a/b/c'), cache.add('a/b/d')];
    cache.freshen(entry);
    cache.freshen(neighbour);
    cache.invalidate('a/b/c');
    assert.deepEqual([cache.isFresh(entry), cache.isFresh(neighbour)], [false, true]);
    cache.invalidate('a/x/#');
    assert.equal(cache.isFresh(neighbour), true);
    cache.invalidate('a/b/+');
    assert.equal(cache.isFresh(neighbour), false);
  });

  it('finds names of any bytes, within a longer buffer, and takes none for another', () => {
    const cache = new TopicCache(5000);
    const names = Array.from({ length: 3000 }, (_, index) => `t/${index}/é${index % 7}🚀`);
    for (const name of names) cache.add(name);
    for (const name of names) {
      const bytes = Buffer.from(`x${name}x`);
      assert.equal(cache.find(bytes, 1, bytes.length - 1)?.topicName, name);
      assert.equal(cache.find(bytes, 0, bytes.length - 1), undefined);
    }
    assert.equal(find(cache, 't/1/Ã©1'), undefined, 'the Latin-1 look of other bytes');
  });

  it('holds as many entries as it may, and evicts what was not used of late', () => {
    const cache = new TopicCache(16);
    // The first round of the clock hand finds everything used.
    for (let index = 0; index < 17; index++) cache.add(`first/${index}`);
    const kept = cache.add('kept');
    for (let index = 0; index < 1000; index++) {
      cache.add(`name/${index}`);
      assert.ok(cache.size <= 16);
      assert.equal(find(cache, 'kept'), kept);
    }
    assert.equal(find(cache, 'name/0'), undefined);
    assert.equal(find(cache, 'name/999')?.topicName, 'name/999');
  });

  it('holds as many bytes of names as it may', () => {
    const cache = new TopicCache(16); // 128 bytes a name on average
    for (let index = 0; index < 100; index++) cache.add(`${index}/${'x'.repeat(1000)}`);
    assert.equal(cache.size, 2);
    cache.add('y'.repeat(4000));
    assert.equal(cache.size, 1, 'one name that is larger than all is still served');
  });

  it('trusts no evicted entry, even after its scope came back', () => {
    const cache = new TopicCache(2);
    const evicted = cache.add('a/b');
    cache.freshen(evicted);
    for (const name of ['x', 'y', 'z']) find(cache, cache.add(name).topicName);
    assert.equal(find(cache, 'a/b'), undefined);
    const again = cache.add('a/b');
    cache.freshen(again);
    assert.deepEqual([cache.isFresh(evicted), cache.isFresh(again)], [false, true]);
    const scopes = (cache as unknown as { scopes: Map<string, unknown> }).scopes;
    assert.ok(scopes.size <= 4, 'scopes of evicted names are forgotten');
  });
});
