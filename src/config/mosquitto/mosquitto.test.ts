/** Goal: a mosquitto.conf is read and mapped as Mosquitto means it, and what cannot be is named with file and line. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { isMosquittoConf, resolveMosquitto } from '../load-file.js';
import { formatProblem } from '../problem.js';
import type { Config } from '../schema.js';
import { directives } from './directives.js';
import { formatMosquittoGuide } from './guide.js';
import { mapMosquittoFile, mapMosquittoText } from './map.js';
import { inOrderOfMosquitto } from './read-lines.js';

const folder = mkdtempSync(join(tmpdir(), 'dunlin-mosquitto-conf-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const file = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};

const resolve = (text: string) => resolveMosquitto(mapMosquittoText(text, 'm.conf'), 'm.conf');

function configOf(text: string): Config {
  const { config, problems } = resolve(text);
  assert.deepEqual(problems.map(formatProblem), []);
  return config!;
}

const problemsOf = (text: string) => resolve(text).problems.map(formatProblem);
const warningsOf = (text: string) => {
  const { problems, warnings } = resolve(text);
  assert.deepEqual(problems.map(formatProblem), []);
  return warnings.map(formatProblem);
};

describe('check_retain_source', () => {
  const checks = (text: string) => configOf(text).authorization.checkRetainedSource;

  it('holds where there is an access list, unless it is false', () => {
    const acl = 'listener 1884\nallow_anonymous true\nacl_file a\n';
    assert.equal(checks(acl), true);
    assert.equal(checks(`check_retain_source true\n${acl}`), true);
    assert.equal(checks(`check_retain_source false\n${acl}`), false);
    assert.equal(
      checks('plugin /x/mosquitto_dynamic_security.so\nplugin_opt_config_file d.json\nlistener 1884\n'),
      true,
    );
  });

  it('is nothing without one, and no word is lost about it', () => {
    const open = 'check_retain_source true\nlistener 1884\nallow_anonymous true\n';
    assert.equal(checks(open), false);
    assert.deepEqual(
      warningsOf(open),
      warningsOf(open.replace(/^.*\n/, '')).map((line) => line.replace(':1:', ':2:')),
    );
  });
});

describe('reading', () => {
  it('takes comments, blanks, tabs and line ends of Windows', () => {
    const { limits } = configOf('# one\r\n\r\n  # two\r\nmax_packet_size   5000  \r\n\tmax_queued_messages\t7\r\n');
    assert.equal(limits.packetBytesMax, 5000);
    assert.equal(limits.queueMessagesMax, 7);
  });

  it('includes the files of a folder in their order, each with the default listener', () => {
    assert.deepEqual(['b.conf', 'A.conf', '01.conf', 'a.conf', 'B.conf', '00.conf'].sort(inOrderOfMosquitto), [
      '00.conf',
      '01.conf',
      'A.conf',
      'a.conf',
      'B.conf',
      'b.conf',
    ]);
    const inner = join(folder, 'conf.d');
    mkdirSync(inner);
    writeFileSync(join(inner, 'b.conf'), 'max_queued_messages 2\nlistener 1885\nmax_connections 5\n');
    writeFileSync(join(inner, 'A.conf'), 'max_queued_messages 1\nmax_connections 3\n');
    writeFileSync(join(inner, 'README'), 'nonsense\n');
    const main = file('main.conf', `listener 1884\nallow_anonymous true\ninclude_dir ${inner}\nmax_connections 4\n`);
    const { config, problems, warnings } = resolveMosquitto(mapMosquittoFile(main), main);
    assert.deepEqual(problems, []);
    assert.deepEqual(
      config!.listeners.map(({ port, connectionsMax }) => [port, connectionsMax]),
      [
        [1884, 4],
        [1885, 5],
        [1883, 3],
      ],
    );
    assert.equal(config!.limits.queueMessagesMax, 2);
    assert.deepEqual(warnings.map(formatProblem), [
      `${join(inner, 'b.conf')}:1:1: max_queued_messages: takes the place of ${join(inner, 'A.conf')}, line 1, which has the same name`,
    ]);
  });

  it('tells its files from those of YAML by name, and else by what they hold', () => {
    assert.equal(isMosquittoConf('/etc/x.conf'), true);
    assert.equal(isMosquittoConf('/etc/x.yml'), false);
    assert.equal(isMosquittoConf(file('one', '# c\nlistener 1883\n')), true);
    assert.equal(isMosquittoConf(file('two', '# c\nlisteners:\n  - port: 1\n')), false);
    assert.equal(isMosquittoConf(file('three', 'log: { level: debug }\n')), false);
    assert.equal(isMosquittoConf(join(folder, 'absent')), false);
  });

  it('names what is wrong with file and line', () => {
    assert.deepEqual(
      problemsOf(
        [
          'lisener 1883',
          'max_packet_size big',
          'persistence maybe',
          'address example.org',
          'listener 70000',
          'pid_file',
          'tls_engine tpm2',
          'protocol gopher',
          'plugin /usr/lib/thing.so',
          'acl_file a',
          'acl_file b',
          'log_dest nowhere',
        ].join('\n'),
      ),
      [
        'm.conf:1:1: lisener: unknown directive; did you mean listener?',
        'm.conf:2:1: max_packet_size: found "big", allowed is a whole number from 20 to 268435455',
        'm.conf:3:1: persistence: found "maybe", allowed is true or false',
        'm.conf:4:1: address: belongs to a bridge, and no connection stands above it',
        'm.conf:5:1: listener: found "70000", allowed is a port from 0 to 65535',
        'm.conf:6:1: pid_file: has no value',
        'm.conf:7:1: tls_engine: OpenSSL engines cannot be used, so the key would be out of reach',
        'm.conf:8:1: protocol: found "gopher", allowed is one of mqtt, websockets, http_api',
        'm.conf:9:1: plugin: "/usr/lib/thing.so" is C code for Mosquitto and cannot be loaded; authentication, authorization and rules of this broker may do what it does',
        'm.conf:11:1: acl_file: is given twice, first on line 10',
        'm.conf:12:1: log_dest: found "nowhere", allowed is one of stdout, stderr, syslog, topic, file, dlt, android, none',
      ],
    );
  });

  it('names a wrong value once, though more than one setting comes of it', () => {
    assert.deepEqual(problemsOf('listener 1883\nallow_anonymous yes\n'), [
      'm.conf:2:1: allow_anonymous: found "yes", allowed is true or false',
    ]);
  });

  it('takes the first word of a number or a flag, as Mosquitto does, and says so', () => {
    const text = 'listener 1883 127.0.0.1\nallow_anonymous true # for all\nmax_connections 7\t# few\n';
    const [listener] = configOf(text).listeners;
    assert.equal(listener!.allowAnonymous, true);
    assert.equal(listener!.connectionsMax, 7);
    assert.deepEqual(warningsOf(text), [
      'm.conf:2:1: allow_anonymous: is "true"; "# for all" behind it does not count',
      'm.conf:3:1: max_connections: is "7"; "# few" behind it does not count',
    ]);
  });

  it('traces what our own rules refuse to the line it came from', () => {
    assert.deepEqual(problemsOf('listener 1883\nwebsockets_origin x\nprotocol websockets\n'), [
      'm.conf:2:1: websockets_origin: listeners[0].origins[0]: found "x", allowed is origin such as `https://example.org` or `http://localhost:8080`, or `null`',
    ]);
    assert.deepEqual(problemsOf('listener 1883\nlistener 1883 127.0.0.1\n').length, 1);
  });

  it('says what has no effect', () => {
    assert.deepEqual(warningsOf('autosave_interval 5\nlistener 1883\nallow_anonymous true\ndhparamfile x\n'), [
      'm.conf:1:1: autosave_interval: has no effect here: what is to be kept is written when it happens, not at intervals',
      'm.conf:4:1: dhparamfile: has no effect here: OpenSSL chooses parameters that fit the key of the certificate',
    ]);
    assert.deepEqual(warningsOf('listener 1883\n'), [
      'm.conf:1:1: listener: nobody can connect here: allow_anonymous is not true, and nothing says who may',
    ]);
  });
});

describe('a silent file', () => {
  it('is a broker for this machine with the defaults of Mosquitto 2.1', () => {
    const { listeners, limits, storage, log, authentication, authorization } = configOf('');
    assert.deepEqual(
      listeners.map(({ host, port, allowAnonymous }) => [host, port, allowAnonymous]),
      [['127.0.0.1', 1883, true]],
    );
    assert.equal(limits.packetBytesMax, 2_000_000);
    assert.equal(limits.topicAliasMaximum, 10);
    assert.equal(limits.receiveMaximum, 20);
    assert.equal(limits.inflightMessagesMax, 20);
    assert.equal(limits.queueMessagesMax, 1000);
    assert.equal(limits.queueOverflow, 'dropNewest');
    assert.equal(limits.sessionExpirySecondsMax, 4_294_967_295);
    assert.equal(storage.mode, 'memory');
    assert.equal(log.format, 'mosquitto');
    assert.deepEqual(log.destinations, ['stderr']);
    assert.deepEqual(authentication, []);
    assert.deepEqual(authorization.sources, []);
  });
});

describe('listeners', () => {
  const places = (text: string) => configOf(text).listeners.map(({ host, port }) => `${host} ${port}`);

  it('are where Mosquitto has them', () => {
    assert.deepEqual(places('allow_anonymous false\n'), ['127.0.0.1 1883']);
    assert.deepEqual(places('password_file x\n'), ['127.0.0.1 1883']);
    assert.deepEqual(places('max_connections 5\n'), [':: 1883']);
    assert.deepEqual(places('port 1884\n'), [':: 1884']);
    assert.deepEqual(places('bind_address 127.0.0.2\n'), ['127.0.0.2 1883']);
    assert.deepEqual(places('max_connections 5\nlistener 1884\n'), [':: 1884', ':: 1883']);
    assert.deepEqual(places('per_listener_settings true\nallow_anonymous true\nlistener 1884\n'), [':: 1884']);
    assert.deepEqual(places('listener 1884\nsocket_domain ipv4\nlistener 1885\nsocket_domain ipv6\n'), [
      '0.0.0.0 1884',
      ':: 1885',
    ]);
    const [socket] = configOf('listener 0 /tmp/m.sock\n').listeners;
    assert.equal(socket!.unixPath, '/tmp/m.sock');
  });

  it('have names of their own', () => {
    const { listeners } = configOf(
      'listener 1884 127.0.0.1\nlistener 1884 127.0.0.2\nlistener 9001\nprotocol websockets\n',
    );
    assert.deepEqual(
      listeners.map(({ name }) => name),
      ['mqtt-1884', 'mqtt-1884-2', 'ws-9001'],
    );
  });

  it('leave out what this broker does not speak', () => {
    const { config, warnings } = resolve('listener 1884\nprotocol http_api\n');
    assert.deepEqual(config!.listeners, []);
    assert.match(formatProblem(warnings[0]!), /m\.conf:2:1: protocol: a listener with http_api is not opened/);
  });

  it('are refused where a proxy would have to vouch for certificates', () => {
    assert.match(
      problemsOf('listener 1884\nenable_proxy_protocol 2\nrequire_certificate true\n')[0]!,
      /^m\.conf:3:1: require_certificate: what a proxy says/,
    );
  });
});

describe('who may connect', () => {
  it('is the same for all listeners, or of each', () => {
    const shared = configOf('password_file p\nacl_file a\nlistener 1\nlistener 2\nlistener_allow_anonymous true\n');
    assert.deepEqual(
      shared.authentication.map(({ name, type }) => [name, type]),
      [['passwords', 'passwordFile']],
    );
    assert.deepEqual(
      shared.authorization.sources.map(({ name, type }) => [name, type]),
      [['acl', 'mosquittoAclFile']],
    );
    assert.deepEqual(
      shared.listeners.map((listener) => [listener.allowAnonymous, listener.authentication, listener.authorization]),
      [
        [false, [], []],
        [true, [], []],
      ],
    );
    const own = configOf(
      [
        'per_listener_settings true',
        'listener 1',
        'password_file p',
        'acl_file a',
        'listener 2',
        'allow_anonymous true',
        'listener 3',
        'password_file q',
        'acl_file a',
      ].join('\n'),
    );
    assert.deepEqual(
      own.listeners.map((listener) => [listener.allowAnonymous, listener.authentication, listener.authorization]),
      [
        [false, ['passwords'], ['acl']],
        [true, ['everyone'], ['everything']],
        [false, ['passwords-2'], ['acl']],
      ],
    );
  });

  it('is by the plugins that are built in', () => {
    const { authentication, authorization, storage } = configOf(
      [
        'listener 1',
        'plugin /usr/lib/mosquitto_password_file.so',
        'plugin_opt_password_file p',
        'plugin /usr/lib/mosquitto_acl_file.so',
        'plugin_opt_acl_file a',
        'plugin /usr/lib/mosquitto_persist_sqlite.so',
        'plugin_opt_db_file /var/lib/m.sqlite3',
        'plugin_opt_sync full',
      ].join('\n'),
    );
    assert.equal(authentication[0]!.type, 'passwordFile');
    assert.equal(authorization.sources[0]!.type, 'mosquittoAclFile');
    assert.deepEqual(storage, { mode: 'sync', path: '/var/lib/m.sqlite3.dunlin' });
    const named = configOf(
      'plugin_load pw /x/mosquitto_password_file.so\nplugin_opt_password_file p\nlistener 1\nplugin_use pw\nlistener 2\nlistener_allow_anonymous true\n',
    );
    assert.deepEqual(
      named.listeners.map((listener) => listener.authentication),
      [['passwords'], ['everyone']],
    );
  });
});

describe('storage, log and process', () => {
  it('are those of the file', () => {
    const {
      storage,
      log,
      process: own,
    } = configOf(
      'persistence true\npersistence_location /var/lib/m/\npersistence_file x.db\nlog_dest syslog\nlog_facility 5\nlog_dest file /l\nlog_type error\nlog_type warning\nuser joe\npid_file /p\n',
    );
    assert.deepEqual(storage, { mode: 'buffered', path: '/var/lib/m/x.db.dunlin' });
    assert.deepEqual(log.destinations, ['syslog']);
    assert.equal(log.syslogFacility, 'local5');
    assert.equal(log.file, '/l');
    assert.equal(log.level, 'warning');
    assert.deepEqual(own, { pidFile: '/p', user: 'joe' });
  });

  it('point out a database of Mosquitto that is not read', () => {
    const location = mkdtempSync(join(folder, 'db-'));
    writeFileSync(join(location, 'mosquitto.db'), 'x');
    assert.match(
      warningsOf(`persistence_location ${location}\npersistence true\n`)[0]!,
      /^m\.conf:2:1: persistence: .*mosquitto\.db is of Mosquitto and is not read: /,
    );
  });
});

describe('bridges', () => {
  const bridgesOf = (text: string) => {
    const mapped = mapMosquittoText(text, 'm.conf');
    const { draft } = mapped;
    const problems = resolveMosquitto(mapped, 'm.conf').problems.map(formatProblem);
    return { problems, bridges: draft.root.bridges as Record<string, unknown>[] };
  };

  it('are mapped with all that stands below connection', () => {
    const { bridges, problems } = bridgesOf(
      [
        'connection office',
        'addresses one.example two.example:1884 2001:db8::1:1885',
        'round_robin true',
        'bridge_protocol_version mqttv50',
        'remote_clientid edge',
        'local_clientid local.edge',
        'remote_username joe',
        'remote_password secret word',
        'keepalive_interval 30',
        'cleansession true',
        'local_cleansession false',
        'try_private false',
        'start_type lazy',
        'idle_timeout 20',
        'threshold 5',
        'restart_timeout 2 40',
        'notifications true',
        'notifications_local_only true',
        'notification_topic bridge/state',
        'bridge_receive_maximum 7',
        'bridge_session_expiry_interval 100',
        'bridge_max_topic_alias 4',
        'bridge_max_packet_size 5000',
        'bridge_attempt_unsubscribe false',
        'bridge_outgoing_retain false',
        'bridge_bind_address 127.0.0.1',
        'topic sensor/# out 1 local/ remote/office1/',
        'topic "" both 2 one two',
        'topic "a b/#"',
        'bridge_cafile ca.crt',
        'bridge_certfile c.crt',
        'bridge_keyfile c.key',
        'bridge_insecure true',
        'bridge_alpn mqtt',
        'bridge_tls_version tlsv1.3',
        'bridge_ciphers_tls1.3 A',
        'bridge_ciphers B',
      ].join('\n'),
    );
    assert.deepEqual(problems, []);
    assert.deepEqual(JSON.parse(JSON.stringify(bridges)), [
      {
        name: 'office',
        remotes: [
          { host: 'one.example', port: 1883 },
          { host: 'two.example', port: 1884 },
          { host: '2001:db8::1', port: 1885 },
        ],
        strategy: 'roundRobin',
        protocolVersion: '5.0',
        clientId: 'edge',
        localClientId: 'local.edge',
        username: 'joe',
        password: 'secret word',
        keepAliveSeconds: 30,
        cleanSession: true,
        localCleanSession: false,
        tryPrivate: false,
        unsubscribe: false,
        start: 'lazy',
        lazy: { idleSeconds: 20, threshold: 5 },
        reconnect: { minimumSeconds: 2, maximumSeconds: 40 },
        notifications: { enabled: true, localOnly: true, topic: 'bridge/state' },
        topicAliasMaximum: 4,
        sentPacketBytesMax: 5000,
        receiveMaximum: 7,
        sessionExpirySeconds: 100,
        outgoingRetain: false,
        bindAddress: '127.0.0.1',
        topics: [
          { topic: 'sensor/#', direction: 'out', qos: 1, localPrefix: 'local/', remotePrefix: 'remote/office1/' },
          { topic: '', direction: 'both', qos: 2, localPrefix: 'one', remotePrefix: 'two' },
          { topic: 'a b/#', direction: 'out', qos: 0, localPrefix: '', remotePrefix: '' },
        ],
        tls: {
          enabled: true,
          ca: ['ca.crt'],
          certificate: 'c.crt',
          key: 'c.key',
          verifyHostname: false,
          alpn: ['mqtt'],
          versionMin: 'TLSv1.3',
          ciphers: 'A:B',
        },
        queue: { overflow: 'dropNewest' },
      },
    ]);
  });

  it('have the defaults of Mosquitto', () => {
    const { bridges } = bridgesOf(
      'max_queued_messages 50\nmax_inflight_messages 0\nconnection c\naddress h\ntopic #\nbridge_identity i\nbridge_psk 00ff\n',
    );
    const { protocolVersion, cleanSession, reconnect, clientId, queue, inflightMessagesMax, tls } = bridges[0]!;
    assert.equal(protocolVersion, '3.1.1');
    assert.equal(cleanSession, false);
    assert.deepEqual(reconnect, { minimumSeconds: 5, maximumSeconds: 30 });
    assert.equal(clientId, `${hostname()}.c`);
    assert.equal(inflightMessagesMax, 32_000);
    assert.deepEqual(queue, { messagesMax: 50, overflow: 'dropNewest' });
    assert.deepEqual(tls, { enabled: true, psk: { identity: 'i', key: '00ff' } });
  });

  it('know older names, and authorities of folder and system', () => {
    const { bridges, problems } = bridgesOf(
      'connection c\naddress h\ntopic #\nclientid i\nusername u\npassword p\nbridge_capath /ca\nbridge_tls_use_os_certs true\n',
    );
    assert.deepEqual(problems, []);
    const { clientId, username, password, tls } = bridges[0]!;
    assert.deepEqual([clientId, username, password], ['i', 'u', 'p']);
    assert.deepEqual(tls, { enabled: true, ca: ['/ca'], trustSystemStore: true });
  });

  it('name what is wrong', () => {
    const lines =
      'connection c\ntopic "" out 0 a\ntopic a sideways\ntopic a out 3\ntopic "a\nrestart_timeout 9 3\nbridge_identity x\nremote_password p\nconnection c\naddress h:0\ntopic a\n';
    const { problems } = bridgesOf(lines);
    assert.deepEqual(
      problems.map((line) => line.slice(0, 60)),
      [
        'm.conf:1:1: connection: needs address: where the remote brok',
        'm.conf:2:1: topic: found "\\"\\" out 0 a", allowed is both pre',
        'm.conf:3:1: topic: found "a sideways", allowed is a directio',
        'm.conf:4:1: topic: found "a out 3", allowed is a QoS from 0 ',
        'm.conf:5:1: topic: found "\\"a", allowed is topic, direction,',
        'm.conf:6:1: restart_timeout: found "9 3", allowed are second',
        'm.conf:7:1: bridge_identity: needs bridge_psk beside it',
        'm.conf:8:1: remote_password: needs remote_username beside it',
        'm.conf:9:1: connection: "c" is the name of the connection on',
        'm.conf:10:1: address: found "h:0", allowed is a host name or',
      ],
    );
  });

  it('are joined by dynamic security', () => {
    const { draft } = mapMosquittoText(
      'listener 1883\nplugin /usr/lib/mosquitto_dynamic_security.so\nplugin_opt_config_file /var/lib/d.json\nplugin_opt_password_init_file /p\n',
      'm.conf',
    );
    assert.deepEqual(draft.root.dynamicSecurity, { file: '/var/lib/d.json', passwordFile: '/p' });
    assert.equal(draft.root.authentication, undefined);
    assert.deepEqual(draft.root.authorization, { checkRetainedSource: true });
  });
});

describe('the table', () => {
  it('is in docs/mosquitto.md as it is here; else run `npm run reference`', () => {
    assert.equal(readFileSync('docs/mosquitto.md', 'utf8'), formatMosquittoGuide());
  });

  it('names no directive as honoured whose effect no client sees in a test', () => {
    const scenarios = (themes: readonly string[]) =>
      themes.map((theme) => `test/scenario/mosquitto-conf-${theme}.test.ts`);
    const textOf = (paths: readonly string[]) =>
      paths.map((path) => readFileSync(path, 'utf8').replaceAll('\\n', '\n')).join('\n');
    // Seen by a client or, those of bridges, by a remote; their mapping alone is no test of them.
    const text = textOf([
      'apps/cli/mosquitto-conf.test.ts',
      ...scenarios(['access', 'limits', 'listeners', 'retained', 'tls']),
    ]);
    const ofBridges = textOf(
      scenarios(['login', 'remotes', 'topics', 'messages', 'queue', 'tls'].map((theme) => `bridges-${theme}`)),
    );
    const untested = directives
      .filter(({ fate }) => fate === 'honoured' || fate === 'differs')
      .filter(({ name, scope }) => {
        const exact = name.replace('*', '').replaceAll('.', '\\.');
        const pattern = new RegExp(`(?<![a-z_])${exact}${exact.endsWith('_') ? '' : '(?![a-z_])'}`);
        return !pattern.test(scope === 'bridge' ? ofBridges : text);
      });
    assert.deepEqual(
      untested.map(({ name }) => name),
      [],
    );
  });

  it('has every directive once, and a sentence where one is needed', () => {
    const names = directives.map(({ name }) => name);
    assert.equal(new Set(names).size, names.length);
    for (const { name, fate, note, becomes } of directives) {
      assert.doesNotMatch(note, /\.$/, name);
      if (fate === 'honoured') assert.notEqual(becomes, '', name);
      else assert.notEqual(note, '', name);
    }
  });
});
