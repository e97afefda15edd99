import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { defaultLimits, type Limits } from '../base/index.js';
import { addressesOverlap, isHost, isLoopback, isNetwork } from './address.js';
import { diffConfig } from './diff.js';
import { defaultConfig, loadConfig, parseConfig, resolveConfig } from './load.js';
import { ConfigError, formatProblem } from './problem.js';
import { formatReference } from './reference.js';

const example = `listeners:
  - { name: default, protocol: mqtt, host: 127.0.0.1, port: 1883, allowAnonymous: true }
  - { name: web, protocol: ws, host: 127.0.0.1, port: 8083, path: /mqtt }
storage: { mode: memory, path: ./data }
limits: { packetBytesMax: 1048576, queueMessagesMax: 1000, queueBytesMax: 16777216, queueOverflow: dropOldest }
log: { level: information, format: auto }
`;

const problemsOf = (text: string) => parseConfig(text, 'dunlin.yaml').problems.map(formatProblem);
const configOf = (text: string) => {
  const { config, problems } = parseConfig(text, 'dunlin.yaml');
  assert.deepEqual(problems.map(formatProblem), []);
  return config!;
};

describe('configuration', () => {
  it('is the example when nothing is given', () => {
    assert.deepEqual(configOf(example), defaultConfig());
    assert.deepEqual(configOf(''), defaultConfig());
    assert.deepEqual(configOf('# only a comment\nlimits:\n'), defaultConfig());
  });

  it('has the limits of base with their defaults', () => {
    const limits: Limits = defaultConfig().limits;
    assert.deepEqual(limits, defaultLimits);
  });

  it('fills in what depends on other settings', () => {
    const { listeners } = configOf(`
users: [{ username: u, password: p }]
listeners:
  - { port: 0 }
  - { protocol: ws }
  - { host: '::', port: 1884 }
  - { host: ::1 }
  - { unixPath: /run/dunlin.sock, name: local }
`);
    assert.deepEqual(
      listeners.map(({ name, host, port, unixPath, allowAnonymous }) => [name, host, port, unixPath, allowAnonymous]),
      [
        ['mqtt-0', '127.0.0.1', 0, undefined, true],
        ['ws-8083', '127.0.0.1', 8083, undefined, true],
        ['mqtt-1884', '::', 1884, undefined, false],
        ['mqtt-1883', '::1', 1883, undefined, true],
        ['local', '127.0.0.1', 1883, '/run/dunlin.sock', true],
      ],
    );
    assert.ok(!('unixPath' in listeners[0]!));
  });

  it('reads protocol versions without quotes', () => {
    const { listeners } = configOf('listeners: [{ protocolVersions: [3.1, 3.1.1, 5.0] }]');
    assert.deepEqual(listeners[0]?.protocolVersions, ['3.1', '3.1.1', '5.0']);
  });

  it('follows anchors and aliases', () => {
    const { listeners } = configOf(
      'listeners: [{ origins: &o ["https://a.example"], protocol: ws }, { protocol: ws, port: 1, origins: *o }]',
    );
    assert.deepEqual(listeners[1]?.origins, ['https://a.example']);
  });
});

describe('a wrong configuration', () => {
  it('names file, line, column, key, what was found and what is allowed, for every problem', () => {
    assert.deepEqual(
      problemsOf(`listeners:
  - { name: a, port: 70000 }
  - { nmae: b, port: 1 }
limits:
  queueOverflow: dropOldes
  packetBytesMax: 1 MB
  queueQos0: yes
log: verbose
sys: { intervalSeconds: 1.5 }
users:
  - { username: 12, password: 1234 }
  - { password: x }
`),
      [
        'dunlin.yaml:2:22: listeners[0].port: found number 70000, allowed is whole number from 0 to 65535',
        'dunlin.yaml:3:7: listeners[1].nmae: unknown setting; did you mean name?',
        'dunlin.yaml:5:18: limits.queueOverflow: found "dropOldes", allowed is one of dropOldest, dropNewest, dropQos0First, refuse; did you mean dropOldest?',
        'dunlin.yaml:6:19: limits.packetBytesMax: found "1 MB", allowed is whole number from 20 to 268435460 (bytes)',
        'dunlin.yaml:7:14: limits.queueQos0: found "yes", allowed is true or false',
        'dunlin.yaml:8:6: log: found "verbose", allowed is settings level, format, destinations, file, syslogFacility, timestamp, timestampFormat, connectionMessages, subscriptions',
        'dunlin.yaml:9:25: sys.intervalSeconds: found number 1.5, allowed is whole number from 0 to 86400 (seconds)',
        'dunlin.yaml:11:17: users[0].username: found number 12, allowed is text of 1 to 256 bytes without control characters (put it in quotes)',
        'dunlin.yaml:11:31: users[0].password: found a value that does not fit, allowed is text of 1 to 1024 bytes (put it in quotes)',
        'dunlin.yaml:12:5: users[1].username: is missing; needed is text of 1 to 256 bytes without control characters',
      ],
    );
  });

  it('suggests settings written in another style, and lists them when nothing is near', () => {
    assert.match(
      problemsOf('listeners: [{ allow_anonymous: true }]')[0]!,
      /:1:15: listeners\[0\]\.allow_anonymous: .*did you mean allowAnonymous\?/,
    );
    assert.match(problemsOf('bogus: 1')[0]!, /unknown setting; allowed here: listeners, /);
  });

  it('cannot break a line with what it quotes', () => {
    for (const text of ['"a\\nb\\u009b": 1', 'log: { level: "x\\ny\\e[31m" }', 'listeners: [{ unixPath: "a\\nb" }]']) {
      const [line, ...more] = problemsOf(text);
      assert.deepEqual(more, []);
      assert.doesNotMatch(line!, /[\u0000-\u001f\u007f-\u009f]/);
    }
  });

  it('is refused for keys given twice', () => {
    assert.deepEqual(problemsOf('log: { level: debug,\n level: none }'), [
      'dunlin.yaml:2:2: log.level: is given twice, first on line 1',
    ]);
  });

  it('is refused when it is not YAML, or holds unknown tags or aliases', () => {
    assert.match(problemsOf('a: [1')[0]!, /^dunlin\.yaml:1:\d+: is not valid YAML: /);
    assert.match(problemsOf('log: !x {}')[0]!, /^dunlin\.yaml:1:6: is not valid YAML: Unresolved tag/);
    assert.equal(problemsOf('log: *x').length, 1);
    assert.match(problemsOf('- 1')[0]!, /^dunlin\.yaml:1:1: found a list, allowed is settings listeners, /);
  });

  it('names listeners that collide', () => {
    assert.deepEqual(
      problemsOf(`listeners:
  - { name: a, port: 1 }
  - { name: a, port: 2 }
  - { name: c, host: 0.0.0.0, port: 1, allowAnonymous: true }
  - { name: d, unixPath: /x }
  - { name: e, unixPath: /x }
  - { name: f, host: "::", port: 0, allowAnonymous: true }
  - { name: g, host: "::", port: 0, allowAnonymous: true }
`),
      [
        'dunlin.yaml:3:13: listeners[1].name: a is already the name of listeners[0]',
        'dunlin.yaml:4:37: listeners[2].port: 0.0.0.0:1 is already taken by listener a (127.0.0.1:1)',
        'dunlin.yaml:6:26: listeners[4].unixPath: /x is already taken by listener d (/x)',
      ],
    );
  });

  it('is refused when a listener beyond loopback lets nobody or everybody in without saying so', () => {
    assert.deepEqual(problemsOf('listeners:\n  - { name: lan, host: 0.0.0.0 }'), [
      'dunlin.yaml:2:5: listeners[0].allowAnonymous: listener lan on 0.0.0.0 is reachable from other machines, and no users are configured; add users, or say allowAnonymous: true to let everyone in',
    ]);
    configOf('listeners: [{ host: 0.0.0.0, allowAnonymous: true }]');
    const { listeners } = configOf('listeners: [{ host: 0.0.0.0 }]\nusers: [{ username: u, password: p }]');
    assert.equal(listeners[0]?.allowAnonymous, false);
    assert.equal(problemsOf('listeners: [{ allowAnonymous: false }]').length, 1);
  });

  it('is refused when settings exclude each other or users share a name', () => {
    assert.deepEqual(
      problemsOf(`listeners:
  - { path: /mqtt, origins: [] }
  - { unixPath: /x, port: 1883 }
users: [{ username: u, password: p }, { username: u, password: q }]
`),
      [
        'dunlin.yaml:2:13: listeners[0].path: is allowed only with protocol ws or wss; this listener has mqtt',
        'dunlin.yaml:2:29: listeners[0].origins: is allowed only with protocol ws or wss; this listener has mqtt',
        'dunlin.yaml:3:27: listeners[1].port: is not allowed together with unixPath',
        'dunlin.yaml:4:51: users[1].username: is already the name of users[0]',
      ],
    );
  });

  it('is refused when the file cannot be read', () => {
    const folder = mkdtempSync(join(tmpdir(), 'dunlin-config-'));
    const file = join(folder, 'a.yaml');
    try {
      assert.equal(formatProblem(loadConfig(file).problems[0]!), `${file}: cannot be read: there is no such file`);
      assert.equal(formatProblem(loadConfig(folder).problems[0]!), `${folder}: cannot be read: it is a folder`);
      writeFileSync(file, Buffer.from([0x61, 0xff, 0xfe]));
      assert.equal(formatProblem(loadConfig(file).problems[0]!), `${file}: is not UTF-8 text`);
      writeFileSync(file, example);
      assert.deepEqual(loadConfig(file).config, defaultConfig());
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('settings of a program', () => {
  it('are checked and completed', () => {
    const config = resolveConfig({ listeners: [{ port: 0 }], limits: { receiveMaximum: 7 }, log: undefined });
    assert.equal(config.limits.receiveMaximum, 7);
    assert.equal(config.listeners.length, 1);
    assert.equal(config.log.level, 'information');
    assert.deepEqual(resolveConfig({ listeners: [] }).listeners, []);
  });

  it('may be a whole configuration, which stays as it is', () => {
    const unix = resolveConfig({
      listeners: [{ unixPath: '/x', protocol: 'ws' }, {}],
      users: [{ username: 'u', password: 'p' }],
    });
    for (const config of [defaultConfig(), unix]) assert.deepEqual(resolveConfig(config), config);
    assert.throws(
      () => resolveConfig({ listeners: [{ path: '/other' }] }),
      /listeners\[0\]\.path: is allowed only with protocol ws/,
    );
    assert.throws(() => resolveConfig({ listeners: [{ unixPath: '/x', port: 1 }] }), /port: is not allowed together/);
  });

  it('throw an error that names the keys', () => {
    const input = {
      limits: { receiveMaximum: 0 },
      storage: { mode: 'disk' as 'memory' },
      listeners: [{ host: '[::1]' }],
    };
    assert.throws(
      () => resolveConfig(input),
      (error: ConfigError) =>
        error instanceof ConfigError &&
        error.code === 'CONFIG_INVALID' &&
        error.message ===
          [
            'limits.receiveMaximum: found number 0, allowed is whole number from 1 to 65535',
            'storage.mode: found "disk", allowed is one of memory, buffered, sync, faultTolerant',
            'listeners[0].host: found "[::1]", allowed is IPv4 or IPv6 literal without brackets, or host name',
          ].join('\n'),
    );
  });

  it('may leave authentication to the program', () => {
    assert.throws(() => resolveConfig({ listeners: [{ host: '0.0.0.0' }] }), ConfigError);
    assert.equal(
      resolveConfig({ listeners: [{ host: '0.0.0.0' }] }, { authenticated: true }).listeners[0]?.allowAnonymous,
      false,
    );
  });
});

it('a difference tells what each setting needs', () => {
  const after = resolveConfig({
    log: { level: 'debug' },
    limits: { receiveMaximum: 3, queueQos0: true },
    listeners: [
      { name: 'default', connectionsMax: 7 },
      { name: 'new', port: 1 },
    ],
  });
  assert.deepEqual(diffConfig(defaultConfig(), after), [
    { key: 'listeners.default.connectionsMax', apply: 'live' },
    { key: 'listeners.web', apply: 'restart' },
    { key: 'listeners.new', apply: 'restart' },
    { key: 'limits.queueQos0', apply: 'live' },
    { key: 'limits.receiveMaximum', apply: 'reconnect' },
    { key: 'log.level', apply: 'live' },
  ]);
  assert.deepEqual(diffConfig(after, after), []);
  const withRules = (name: string, filter: string, type: 'roles' | 'identity') =>
    resolveConfig({
      authorization: { sources: [{ type: 'rules', name, rules: [{ permit: 'allow', filters: [filter] }] }, { type }] },
    });
  const former = withRules('own', 'a', 'roles');
  assert.deepEqual(diffConfig(former, withRules('own', 'b', 'roles')), [
    { key: 'authorization.sources.own.rules', apply: 'live' },
  ]);
  const whole = [{ key: 'authorization.sources', apply: 'live' }];
  assert.deepEqual(diffConfig(former, withRules('other', 'a', 'roles')), whole);
  assert.deepEqual(diffConfig(former, withRules('own', 'b', 'identity')), whole);
});

it('docs/configuration.md is what the schema says; else run `npm run reference`', () => {
  assert.equal(readFileSync('docs/configuration.md', 'utf8'), formatReference());
});

it('no text makes the reader throw, and every problem is one line with a place', () => {
  const pieces = fc.constantFrom(
    ...example.split(/(?<=[\s:,{}[\]])/),
    '&a ',
    '*a',
    '!!set ',
    '"',
    "'",
    '\t',
    '? ',
    '<<: ',
    '\u0000',
    '- ',
    '#',
    '|\n',
    '...\n',
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 60 }), (chosen) => {
      const { config, problems } = parseConfig(chosen.join(''), 'f');
      assert.equal(config === undefined, problems.length > 0);
      for (const problem of problems) assert.match(formatProblem(problem), /^f:\d+:\d+: [^\n]*$/);
    }),
    { numRuns: 500 },
  );
});

it('addresses are told apart', () => {
  for (const host of ['127.0.0.1', '127.8.9.1', '::1', '0:0:0:0:0:0:0:1', 'localhost', '::ffff:127.0.0.1'])
    assert.ok(isLoopback(host), host);
  for (const host of ['0.0.0.0', '::', '10.0.0.1', '::2', 'example.org', '1::1', '11::'])
    assert.ok(!isLoopback(host), host);
  for (const host of ['::1', 'fe80::1%eth0', 'a.example', 'x', '10.0.0.1']) assert.ok(isHost(host), host);
  for (const host of ['', '[::1]', '300.1.1.1', '1.2.3', 'a b', '-a', 'http://a', 'a:1'])
    assert.ok(!isHost(host), host);
  for (const text of ['10.0.0.0/8', '::1', 'fd00::/8', '1.2.3.4/32']) assert.ok(isNetwork(text), text);
  for (const text of ['10.0.0.0/33', 'a', '1.2.3.4/', '::/129', '1.2.3.4/8/8']) assert.ok(!isNetwork(text), text);
  assert.ok(
    addressesOverlap('::', '10.0.0.1') && addressesOverlap('0.0.0.0', '10.0.0.1') && addressesOverlap('0::1', '::1'),
  );
  assert.ok(
    !addressesOverlap('0.0.0.0', '::1') &&
      !addressesOverlap('127.0.0.1', '127.0.0.2') &&
      !addressesOverlap('::1', '127.0.0.1'),
  );
});
