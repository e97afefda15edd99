import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TopicRule } from './options.js';
import {
  BoundedMap,
  filtersOf,
  localFilter,
  remoteFilter,
  renameIncoming,
  renameOutgoing,
  ruleProblem,
} from './topic-rules.js';

const row = (values: Partial<TopicRule>): TopicRule => ({
  topic: '',
  direction: 'both',
  qos: 0,
  localPrefix: '',
  remotePrefix: '',
  ...values,
});
const names = (found: readonly { topicName: string }[]) => found.map(({ topicName }) => topicName);

describe('rows of a bridge', () => {
  it('put one prefix in the place of the other, as in the example of the router', () => {
    const rules = [
      row({ topic: 'sensor/#', direction: 'out', qos: 1, localPrefix: 'local/', remotePrefix: 'remote/office1/' }),
    ];
    assert.deepEqual(renameOutgoing(rules, 'local/sensor/temperature'), [
      { topicName: 'remote/office1/sensor/temperature', qos: 1 },
    ]);
    assert.deepEqual(renameOutgoing(rules, 'local/other'), []);
    assert.deepEqual(renameOutgoing(rules, 'sensor/temperature'), []);
    assert.deepEqual(renameIncoming(rules, 'remote/office1/sensor/temperature'), []);
    assert.equal(localFilter(rules[0]!), 'local/sensor/#');
    assert.equal(remoteFilter(rules[0]!), 'remote/office1/sensor/#');
  });

  it('work the other way round for what comes in, and both ways for both', () => {
    const rules = [row({ topic: 'a/+', localPrefix: 'l/', remotePrefix: 'r/' })];
    assert.deepEqual(names(renameOutgoing(rules, 'l/a/b')), ['r/a/b']);
    assert.deepEqual(names(renameIncoming(rules, 'r/a/b')), ['l/a/b']);
    assert.deepEqual(names(renameIncoming(rules, 'l/a/b')), []);
  });

  it('leave names alone without prefixes, or add one, or take one away', () => {
    assert.deepEqual(names(renameOutgoing([row({ topic: '#' })], 'a/b')), ['a/b']);
    assert.deepEqual(names(renameOutgoing([row({ topic: '#', remotePrefix: 'site/' })], 'a/b')), ['site/a/b']);
    assert.deepEqual(names(renameOutgoing([row({ topic: '#', localPrefix: 'up/' })], 'up/a')), ['a']);
  });

  it('join two whole topic names where there is no topic', () => {
    const rules = [row({ localPrefix: 'boiler/state', remotePrefix: 'plant/7/boiler' })];
    assert.equal(ruleProblem(rules[0]!), undefined);
    assert.deepEqual(names(renameOutgoing(rules, 'boiler/state')), ['plant/7/boiler']);
    assert.deepEqual(names(renameIncoming(rules, 'plant/7/boiler')), ['boiler/state']);
    assert.deepEqual(names(renameOutgoing(rules, 'boiler/state/x')), []);
  });

  it('do not take the level above a prefix for something below it', () => {
    const rules = [row({ topic: '#', localPrefix: 'local/', remotePrefix: 'remote/' })];
    assert.deepEqual(renameOutgoing(rules, 'local'), []);
    assert.deepEqual(names(renameOutgoing(rules, 'local/')), ['remote/']);
  });

  it('leave $ topics out of # but take them where a prefix names them', () => {
    assert.deepEqual(renameOutgoing([row({ topic: '#' })], '$SYS/broker/uptime'), []);
    const rules = [row({ topic: '#', localPrefix: '$SYS/', remotePrefix: 'site1/sys/' })];
    assert.deepEqual(names(renameOutgoing(rules, '$SYS/broker/uptime')), ['site1/sys/broker/uptime']);
  });

  it('give one copy a name, at the highest QoS, when several match', () => {
    const rules = [
      row({ topic: '#', qos: 0, remotePrefix: 'all/' }),
      row({ topic: 'a/#', qos: 2, remotePrefix: 'all/' }),
      row({ topic: 'a/b', qos: 1, remotePrefix: 'one/' }),
    ];
    assert.deepEqual(renameOutgoing(rules, 'a/b'), [
      { topicName: 'all/a/b', qos: 2 },
      { topicName: 'one/a/b', qos: 1 },
    ]);
    assert.deepEqual(
      [...filtersOf([...rules, row({ topic: '#', qos: 1 })], localFilter)],
      [
        ['#', 1],
        ['a/#', 2],
        ['a/b', 1],
      ],
    );
  });

  it('keep names that are not ASCII', () => {
    const rules = [row({ topic: '#', localPrefix: 'küche/', remotePrefix: 'ö/' })];
    assert.deepEqual(names(renameOutgoing(rules, 'küche/wärme')), ['ö/wärme']);
  });

  const refused: [string, Partial<TopicRule>, string, RegExp][] = [
    [
      'a local prefix without its slash',
      { topic: 'a', localPrefix: 'local' },
      'localPrefix',
      /"local" has to end with a slash/,
    ],
    [
      'a remote prefix without its slash',
      { topic: 'a/#', remotePrefix: 'r' },
      'remotePrefix',
      /"r" has to end with a slash/,
    ],
    ['no topic and one prefix', { localPrefix: 'a' }, 'remotePrefix', /needs both prefixes/],
    ['nothing at all', {}, 'localPrefix', /needs both prefixes/],
    ['no topic and a slash at the end', { localPrefix: 'a/', remotePrefix: 'b' }, 'localPrefix', /whole topic name/],
    ['a wildcard in a prefix', { topic: 'a', localPrefix: '+/' }, 'localPrefix', /wildcard/],
    ['a topic that is no filter', { topic: 'a/#/b' }, 'topic', /not a topic filter/],
    ['a shared subscription', { topic: '$share/g/a' }, 'topic', /shared subscription/],
    ['a topic that is too long', { topic: 'a'.repeat(65535), localPrefix: 'x/' }, 'topic', /longer/],
  ];
  for (const [what, values, setting, sentence] of refused)
    it(`refuse ${what}`, () => {
      const problem = ruleProblem(row(values));
      assert.equal(problem?.setting, setting);
      assert.match(problem!.sentence, sentence);
    });
});

describe('BoundedMap', () => {
  it('never holds more than it may', () => {
    const map = new BoundedMap<number>(3);
    for (let index = 0; index < 10; index++) assert.equal(map.set(`k${index}`, index), index);
    assert.equal(map.get('k9'), 9);
    assert.equal(map.get('k0'), undefined);
  });
});

describe('names that begin with a dollar sign', () => {
  const row = { topic: '#', qos: 1, direction: 'both', localPrefix: '', remotePrefix: 'site/' } as const;

  it('are reached by a row that names them, and by no wildcard without a prefix', () => {
    assert.deepEqual(renameIncoming([row], 'site/$SYS/broker/version'), []);
    assert.deepEqual(renameIncoming([row], 'site/$CONTROL/dynamic-security/v1'), []);
    assert.deepEqual(renameIncoming([{ ...row, topic: '$SYS/#' }], 'site/$SYS/a'), [{ topicName: '$SYS/a', qos: 1 }]);
    assert.deepEqual(renameOutgoing([{ ...row, topic: '$SYS/#' }], '$SYS/a'), [{ topicName: 'site/$SYS/a', qos: 1 }]);
    assert.deepEqual(renameOutgoing([{ ...row, localPrefix: 'site/', remotePrefix: '' }], 'site/$SYS/a'), []);
  });
});
