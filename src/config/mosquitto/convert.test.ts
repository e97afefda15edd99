/** Goal: a converted mosquitto.conf is the same configuration, and says where its meaning differs. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseConfig } from '../load.js';
import { resolveMosquitto } from '../load-file.js';
import { formatProblem } from '../problem.js';
import { convertMosquitto } from './convert.js';
import { mapMosquittoText } from './map.js';

const converted = (text: string) => convertMosquitto(mapMosquittoText(text, 'm.conf'), 'm.conf');

/** The configuration read directly, and by way of YAML. */
function bothWays(text: string) {
  const mapped = mapMosquittoText(text, 'm.conf');
  const direct = resolveMosquitto(mapped, 'm.conf');
  assert.deepEqual(direct.problems.map(formatProblem), [], text);
  const yaml = convertMosquitto(mapped, 'm.conf');
  const read = parseConfig(yaml, 'dunlin.yaml');
  assert.deepEqual(read.problems.map(formatProblem), [], yaml);
  return { direct: direct.config, read: read.config };
}

const flag = fc.boolean().map(String);
const integer = (min: number, max: number) => fc.integer({ min, max }).map(String);
const path = fc.stringMatching(/^[a-z0-9/#: '"{}-]{1,12}$/).map((text) => `/x${text.trimEnd()}`);
const word = fc.stringMatching(/^[a-zA-Z0-9]{1,10}$/);

const ofBroker: Record<string, fc.Arbitrary<string>> = {
  max_packet_size: integer(20, 268_435_455),
  message_size_limit: integer(0, 268_435_455),
  max_inflight_bytes: integer(0, 1e9),
  max_inflight_messages: integer(0, 65_535),
  max_queued_messages: integer(0, 1e8),
  max_queued_bytes: integer(0, 1e12),
  max_keepalive: integer(0, 65_535),
  memory_limit: integer(0, 1e12),
  global_max_clients: integer(1, 1e7),
  global_max_connections: integer(1, 1e7),
  check_retain_source: flag,
  retain_available: flag,
  upgrade_outgoing_qos: flag,
  queue_qos0_messages: flag,
  clientid_prefixes: word,
  persistent_client_expiration: fc.tuple(integer(1, 99), fc.constantFrom(...'shdwmy')).map((parts) => parts.join('')),
  sys_interval: integer(0, 65_535),
  persistence: flag,
  persistence_location: path,
  pid_file: path,
  user: word,
  log_dest: fc.constantFrom('stdout', 'stderr', 'topic', 'syslog', 'none', 'file /x/y'),
  log_type: fc.constantFrom('all', 'none', 'error', 'notice', 'subscribe'),
  log_facility: integer(0, 7),
  log_timestamp: flag,
  log_timestamp_format: fc.constantFrom('%s', '%Y-%m-%dT%H:%M:%S', "it's 5.0", '5.0', 'true'),
  connection_messages: flag,
  autosave_interval: integer(0, 1000),
  allow_anonymous: flag,
  allow_zero_length_clientid: flag,
  auto_id_prefix: word,
  password_file: path,
  acl_file: path,
};

const ofListener: Record<string, fc.Arbitrary<string>> = {
  max_connections: integer(1, 1e6),
  max_qos: integer(0, 2),
  max_topic_alias: integer(0, 65_535),
  max_topic_alias_broker: integer(0, 65_535),
  mount_point: word,
  accept_protocol_versions: fc.constantFrom('3', '4,5', '3, 4, 5'),
  socket_domain: fc.constantFrom('ipv4', 'ipv6'),
  use_username_as_clientid: flag,
  listener_allow_anonymous: flag,
  listener_auto_id_prefix: word,
  enable_proxy_protocol: fc.constantFrom('1', '2'),
  protocol: fc.constantFrom('mqtt', 'websockets'),
  bind_interface: word,
};

const some = (table: Record<string, fc.Arbitrary<string>>) =>
  fc
    .subarray(Object.keys(table))
    .chain((names) => fc.tuple(...names.map((name) => table[name]!.map((value) => `${name} ${value}`))))
    .map((lines) => lines.join('\n'));

describe('dunlin config convert', () => {
  it('writes what the file itself would do, for any file', () => {
    fc.assert(
      fc.property(
        some(ofBroker),
        fc.array(some(ofListener), { maxLength: 3 }),
        fc.boolean(),
        (broker, listeners, each) => {
          const text = [
            `per_listener_settings ${each}`,
            each ? '' : broker,
            ...listeners.map(
              (lines, index) =>
                `listener ${1884 + index} 127.0.0.1\n${lines}\n${each && index === 0 ? 'allow_anonymous true' : ''}`,
            ),
            '',
          ].join('\n');
          const { direct, read } = bothWays(text);
          assert.deepEqual(read, direct);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('keeps plugins, TLS and files of listeners', () => {
    const { direct, read } = bothWays(
      [
        'per_listener_settings true',
        'listener 8883 127.0.0.1',
        'certfile c.crt',
        'keyfile c.key',
        'cafile ca.crt',
        'require_certificate true',
        'use_identity_as_username true',
        'crlfile l.crl',
        'tls_version tlsv1.3',
        'listener 8884 127.0.0.1',
        'psk_file p',
        'psk_hint 5.0',
        'use_identity_as_username true',
        'listener 1884 127.0.0.1',
        'password_file pw',
        'acl_file acl',
        'listener 0 /tmp/s.sock',
        'allow_anonymous true',
        'listener 9001 127.0.0.1',
        'protocol websockets',
        'http_dir /srv/www',
        'websockets_origin http://a.example:8080',
        'plugin /x/mosquitto_password_file.so',
        'plugin_opt_password_file other',
      ].join('\n'),
    );
    assert.deepEqual(read, direct);
  });

  it('keeps bridges and dynamic security', () => {
    const { direct, read } = bothWays(
      [
        'plugin /x/mosquitto_dynamic_security.so',
        'plugin_opt_config_file /var/lib/d.json',
        'listener 1884 127.0.0.1',
        'connection one',
        'addresses a.example b.example:1884',
        'round_robin true',
        'remote_username joe',
        'remote_password "5.0: #secret"',
        'start_type lazy',
        'topic # both 2 l/ r/',
        'connection two',
        'address c.example',
        'bridge_identity i',
        'bridge_psk 00ff',
        'topic "" in 1 a b',
      ].join('\n'),
    );
    assert.deepEqual(read, direct);
    assert.equal(read!.bridges.length, 2);
    assert.equal(read!.dynamicSecurity.file, '/var/lib/d.json');
  });

  it('says above a setting what is different, and at the top what is left out', () => {
    const yaml = converted('autosave_interval 5\nmemory_limit 1000\nlistener 1884 127.0.0.1\nallow_anonymous true\n');
    assert.match(yaml, /^# Made by dunlin config convert from m\.conf\.\n/);
    assert.match(yaml, /^# - m\.conf:1: autosave_interval: has no effect here: /m);
    assert.match(
      yaml,
      /# memory_limit: the memory of the whole process counts; [^\n]*\n(?: *#[^\n]*\n)* *memoryBytesMax: 1000\n/,
    );
  });
});
