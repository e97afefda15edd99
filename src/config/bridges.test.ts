import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatProblem, parseConfig, resolveBridge } from './index.js';

const problemsOf = (yaml: string) => parseConfig(yaml, 'dunlin.yaml').problems.map(formatProblem);
const bridgeOf = (yaml: string) => parseConfig(yaml, 'dunlin.yaml').config!.bridges[0]!;

describe('settings of bridges', () => {
  it('need a name and a remote only', () => {
    const bridge = bridgeOf('bridges: [{ name: cloud, remotes: [{ host: example.org }] }]');
    assert.equal(bridge.clientId, 'cloud');
    assert.equal(bridge.localClientId, 'local.cloud');
    assert.deepEqual(bridge.remotes, [{ host: 'example.org', port: 1883 }]);
    assert.equal(bridge.protocolVersion, '5.0');
    assert.equal(bridge.inflightMessagesMax, 1000);
    assert.equal(bridge.tls.enabled, false);
    assert.equal(bridge.cleanSession, false);
  });

  it('fit themselves to each other', () => {
    const bridge = bridgeOf(
      'bridges: [{ name: n, clientId: c, protocolVersion: 3.1.1, remotes: [{ host: ::1 }], tls: { psk: { identity: i, key: "00ff" } } }]',
    );
    assert.equal(bridge.localClientId, 'local.c');
    assert.equal(bridge.inflightMessagesMax, 20);
    assert.equal(bridge.tls.enabled, true);
  });

  const wrong: [string, string, RegExp][] = [
    ['a bridge without remotes', '{ name: a }', /bridges\[0\]\.remotes|is missing/],
    [
      'a prefix without its slash',
      '{ name: a, remotes: [{ host: h }], topics: [{ topic: x, localPrefix: local }] }',
      /topics\[0\]\.localPrefix: "local" has to end with a slash/,
    ],
    [
      'a psk without its key',
      '{ name: a, remotes: [{ host: h }], tls: { psk: { identity: i } } }',
      /tls\.psk: needs both/,
    ],
    [
      'a psk beside an authority',
      '{ name: a, remotes: [{ host: h }], tls: { ca: [x.pem], psk: { identity: i, key: "00" } } }',
      /takes the place/,
    ],
    [
      'a key without certificate',
      '{ name: a, remotes: [{ host: h }], tls: { key: k.pem } }',
      /tls\.key: is the key of no certificate/,
    ],
    [
      'a password without user name',
      '{ name: a, remotes: [{ host: h }], protocolVersion: 3.1.1, password: secret }',
      /password: needs a username/,
    ],
    [
      'a maximum below the minimum',
      '{ name: a, remotes: [{ host: h }], reconnect: { minimumSeconds: 5, maximumSeconds: 2 } }',
      /less than minimumSeconds/,
    ],
    ['a slash in the name', '{ name: a/b, remotes: [{ host: h }] }', /bridges\[0\]\.name/],
    [
      'a mode that there is no storage for',
      '{ name: a, remotes: [{ host: h }], durability: sync }',
      /storage\.mode is memory/,
    ],
  ];
  it('refuse compression without 5.0', () => {
    const [problem] = problemsOf(
      'bridges: [{ name: a, remotes: [{ host: h }], protocolVersion: 3.1.1, compression: true }]',
    );
    assert.match(problem!, /compression: is agreed on with MQTT 5\.0 only/);
  });

  for (const [what, bridge, sentence] of wrong)
    it(`refuse ${what}, naming it with its line`, () => {
      const [problem, ...more] = problemsOf(`bridges:\n  - ${bridge}\n`);
      assert.match(problem ?? '', sentence);
      assert.match(problem!, /^dunlin\.yaml:2:/);
      assert.doesNotMatch(problem!, /secret/);
      assert.deepEqual(more, []);
    });

  it('refuse two bridges with one name or one session', () => {
    const [problem] = problemsOf(
      'bridges:\n  - { name: a, remotes: [{ host: h }] }\n  - { name: a, remotes: [{ host: h }] }\n',
    );
    assert.match(problem!, /is already the name of bridges\[0\]/);
    const [session] = problemsOf(
      'bridges:\n  - { name: a, remotes: [{ host: h }] }\n  - { name: b, remotes: [{ host: h }], localClientId: local.a }\n',
    );
    assert.match(session!, /localClientId: local\.a is already that of bridge a/);
  });

  it('can be given by a program, one bridge at a time', () => {
    assert.equal(resolveBridge({ name: 'x', remotes: [{ host: 'h' }] }, 'buffered').name, 'x');
    assert.throws(() => resolveBridge({ name: 'x' }, 'memory'), /remotes/);
    assert.throws(
      () =>
        resolveBridge({ name: 'x', remotes: [{ host: 'h' }], topics: [{ topic: 'a', remotePrefix: 'b' }] }, 'memory'),
      /topics\[0\]\.remotePrefix: "b" has to end with a slash/,
    );
  });
});
