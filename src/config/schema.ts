/**
 * Every setting of the broker, once: type, unit, default, range, sentence, apply class.
 *
 * From this follow the `Config` type, validation, defaults and docs/configuration.md. Adding a setting is adding it here
 * and running `npm run reference`.
 */
import { defaultLimits, type Limits, queueOverflowPolicies } from '../base/index.js';
import { isValidTopicFilter } from '../protocol/index.js';
import { durabilityModes } from '../storage/index.js';
import {
  authentication,
  authorization,
  groups,
  listenerAuthentication,
  listenerAuthorization,
  roles,
  userFields,
} from './access-schema.js';
import { isHost, isLoopback, isNetwork } from './address.js';
import { authoritySettings } from './authority-schema.js';
import { bridgeSettings } from './bridge-schema.js';
import { dynamicSecuritySettings } from './dynamic-security-schema.js';
import { listenerClientFields, listenerPlaceFields } from './listener-schema.js';
import { logSettings, processSettings } from './log-schema.js';
import { banSettings, protectionSettings, rateSettings } from './protection-schema.js';
import { boolean, choice, group, type InputOf, integer, list, text, type ValueOf } from './setting.js';
import { tlsSettings } from './tls-schema.js';

const most = Number.MAX_SAFE_INTEGER;
const bytesOf = (value: string) => Buffer.byteLength(value);
const printable = (value: string) => !/[\u0000-\u001f\u007f]/.test(value);

const defaultPorts: Readonly<Record<string, number>> = { mqtt: 1883, mqtts: 8883, ws: 8083, wss: 8084 };
const defaultPort = (protocol: unknown) => defaultPorts[String(protocol)] ?? 1883;

const listener = group({
  sentence: 'One place where clients connect.',
  fields: {
    name: text({
      sentence: 'Name of the listener in logs and messages; no two listeners share one.',
      apply: 'restart',
      allowed: 'text of 1 to 64 letters, digits, `.`, `_`, `-`',
      check: (value) => /^[A-Za-z0-9._-]{1,64}$/.test(value),
      defaultText: 'protocol and port, as in `mqtt-1883`',
      computed: ({ protocol, port, unixPath }) =>
        `${protocol}-${unixPath === undefined ? (port ?? defaultPort(protocol)) : 'unix'}`,
    }),
    protocol: choice({
      sentence: 'MQTT over a plain stream (`mqtt`) or over WebSocket (`ws`), with TLS `mqtts` and `wss`.',
      apply: 'restart',
      choices: ['mqtt', 'mqtts', 'ws', 'wss'],
      default: 'mqtt',
    }),
    host: text({
      sentence: 'Address to listen on; `0.0.0.0` is every IPv4 address, `::` every IPv4 and IPv6 address.',
      apply: 'restart',
      allowed: 'IPv4 or IPv6 literal without brackets, or host name',
      check: isHost,
      default: '127.0.0.1',
    }),
    port: integer({
      sentence: 'Port to listen on; 0 takes any free port.',
      apply: 'restart',
      minimum: 0,
      maximum: 65535,
      defaultText: '1883 for `mqtt`, 8883 for `mqtts`, 8083 for `ws`, 8084 for `wss`',
      computed: ({ protocol }) => defaultPort(protocol),
    }),
    unixPath: text({
      sentence: 'Path of a Unix socket to listen on instead of host and port.',
      apply: 'restart',
      allowed: 'path of 1 to 107 bytes',
      check: (value) => bytesOf(value) >= 1 && bytesOf(value) <= 107 && printable(value),
      optional: true,
    }),
    mountPoint: text({
      sentence:
        'What the topics of its clients begin with, unseen by them: a tree of topics for each listener, or, with `%u` (user name) and `%c` (client identifier), for each client. Rules for access are written without it.',
      apply: 'restart',
      allowed: 'text of at most 256 bytes without `+`, `#` and a leading `$`',
      check: (value) => bytesOf(value) <= 256 && printable(value) && !/^\$|[+#]/.test(value),
      default: '',
    }),
    path: text({
      sentence:
        'URL path of WebSocket connections; others are answered with 404. `*` is every path. Only with protocols `ws` and `wss`.',
      apply: 'restart',
      allowed: 'URL path that begins with `/`, without `?`, `#` and spaces, or `*`',
      check: (value) => value === '*' || (/^\/[^?#\s]{0,255}$/.test(value) && printable(value)),
      default: '/mqtt',
    }),
    origins: list({
      sentence:
        'Web pages that may connect, by their Origin; empty lets every page. Only with protocols `ws` and `wss`.',
      apply: 'restart',
      default: [],
      item: text({
        sentence: 'An Origin as browsers send it.',
        apply: 'restart',
        allowed: 'origin such as `https://example.org` or `http://localhost:8080`, or `null`',
        check: (value) => value === 'null' || /^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@]+$/.test(value),
      }),
    }),
    trustedProxies: list({
      sentence:
        'Proxies whose X-Forwarded-For header tells the address of the client. Only with protocols `ws` and `wss`.',
      apply: 'restart',
      default: [],
      item: text({
        sentence: 'Address or network of a proxy; `unix` for one that comes by the Unix socket of `unixPath`.',
        apply: 'restart',
        allowed: 'IPv4 or IPv6 address, network such as `10.0.0.0/8`, or `unix`',
        check: (proxy) => proxy === 'unix' || isNetwork(proxy),
      }),
    }),
    allowAnonymous: boolean({
      sentence: 'Whether clients may connect without a user name.',
      apply: 'live',
      defaultText: 'true on loopback addresses and Unix sockets, else false',
      computed: ({ host, unixPath }) => unixPath !== undefined || isLoopback(String(host)),
    }),
    proxyProtocol: choice({
      sentence:
        'Which version of the PROXY protocol header every connection must begin with; only behind a proxy that sends it.',
      apply: 'restart',
      choices: ['off', 'v1', 'v2', 'any'],
      default: 'off',
    }),
    connectionsMax: integer({
      sentence: 'Connections of this listener at one time; more are closed at once.',
      apply: 'live',
      minimum: 1,
      maximum: 10_000_000,
      default: 100_000,
    }),
    protocolVersions: list({
      sentence: 'MQTT versions that clients may speak here.',
      apply: 'reconnect',
      default: ['3.1', '3.1.1', '5.0'],
      itemsMin: 1,
      item: choice({ sentence: 'An MQTT version.', apply: 'restart', choices: ['3.1', '3.1.1', '5.0'] }),
    }),
    backlog: integer({
      sentence: 'Connections the operating system holds until the broker accepts them.',
      apply: 'restart',
      minimum: 1,
      maximum: 65535,
      default: 511,
    }),
    ...listenerPlaceFields,
    ...listenerClientFields,
    tls: tlsSettings,
    authentication: listenerAuthentication,
    authorization: listenerAuthorization,
  },
});

export const listenerFields = listener.fields;

const user = group({
  sentence: 'One user.',
  fields: {
    username: text({
      sentence: 'Name the client gives; no two users share one.',
      apply: 'live',
      allowed: 'text of 1 to 256 bytes without control characters',
      check: (value) => bytesOf(value) >= 1 && bytesOf(value) <= 256 && printable(value),
    }),
    password: text({
      sentence: 'Password of the user, for plain login and SCRAM.',
      apply: 'live',
      allowed: 'text of 1 to 1024 bytes',
      check: (value) => bytesOf(value) >= 1 && bytesOf(value) <= 1024,
      secret: true,
      optional: true,
    }),
    ...userFields,
  },
});

const topicFilter = text({
  sentence: 'A topic filter.',
  apply: 'restart',
  allowed: 'topic filter, with `+` and `#` as whole levels',
  check: isValidTopicFilter,
});

const count = (key: NumericLimit, sentence: string, minimum: number, maximum: number) =>
  integer({ sentence, apply: applyOf(key), minimum, maximum, default: defaultLimits[key] });
const inUnit = (key: NumericLimit, unit: string, sentence: string, minimum: number, maximum: number) =>
  integer({ sentence, apply: applyOf(key), unit, minimum, maximum, default: defaultLimits[key] });
/** What a client is told or granted when it connects holds for its connection. */
const forConnection: readonly string[] = [
  'packetBytesMax',
  'inflightMessagesMax',
  'inflightBytesMax',
  'receiveMaximum',
  'topicAliasMaximum',
  'topicAliasMaximumToClients',
  'sessionExpirySecondsMax',
  'keepAliveSecondsMax',
] satisfies (keyof Limits)[];
const fromStart: readonly string[] = ['connectTimeoutSeconds', 'topicCacheEntriesMax'] satisfies (keyof Limits)[];
const applyOf = (key: NumericLimit) =>
  fromStart.includes(key) ? 'restart' : forConnection.includes(key) ? 'reconnect' : 'live';
type NumericLimit = { [Key in keyof Limits]: Limits[Key] extends number ? Key : never }[keyof Limits];

const limits = group({
  sentence: 'What bounds clients and memory.',
  fields: {
    packetBytesMax: inUnit('packetBytesMax', 'bytes', 'Largest packet taken from a client.', 20, 268_435_460),
    payloadBytesMax: inUnit(
      'payloadBytesMax',
      'bytes',
      'Largest payload of a message; a larger one is acknowledged as an error and goes nowhere; 0 is no limit.',
      0,
      268_435_455,
    ),
    queueMessagesMax: count('queueMessagesMax', 'Messages waiting in one session.', 1, 100_000_000),
    queueBytesMax: inUnit('queueBytesMax', 'bytes', 'Bytes of messages waiting in one session.', 1024, most),
    queueOverflow: choice({
      sentence:
        'What happens when the queue of a session is full: the oldest message goes, the new one goes, QoS 0 messages go first (then the oldest), or the publisher is told quota exceeded.',
      apply: 'live',
      choices: queueOverflowPolicies,
      default: defaultLimits.queueOverflow,
    }),
    queueQos0: boolean({
      sentence: 'Whether sessions without a connection also queue QoS 0 messages.',
      apply: 'live',
      default: defaultLimits.queueQos0,
    }),
    inflightMessagesMax: count(
      'inflightMessagesMax',
      'QoS 1 and 2 messages on their way to one client at one time.',
      1,
      65535,
    ),
    inflightBytesMax: inUnit(
      'inflightBytesMax',
      'bytes',
      'Payload bytes of QoS 1 and 2 messages on their way to one client from which on the next one waits; 0 is no limit.',
      0,
      most,
    ),
    receiveMaximum: count(
      'receiveMaximum',
      'QoS 1 and 2 messages that one client may have on their way to the broker.',
      1,
      65535,
    ),
    topicAliasMaximum: count('topicAliasMaximum', 'Topic aliases that a client may set; 0 forbids them.', 0, 65535),
    topicAliasMaximumToClients: count(
      'topicAliasMaximumToClients',
      'Topic aliases that the broker sets towards one client; 0 sets none.',
      0,
      65535,
    ),
    topicBytesMax: inUnit('topicBytesMax', 'bytes', 'Longest topic name or topic filter.', 1, 65535),
    topicLevelsMax: count('topicLevelsMax', 'Levels of a topic name or topic filter.', 1, 65535),
    clientIdBytesMax: inUnit('clientIdBytesMax', 'bytes', 'Longest client identifier.', 23, 65535),
    subscriptionsPerClientMax: count('subscriptionsPerClientMax', 'Subscriptions of one client.', 1, 10_000_000),
    connectionsMax: count('connectionsMax', 'Connections of all listeners at one time.', 1, 10_000_000),
    sessionsMax: count(
      'sessionsMax',
      'Sessions, with and without a connection; clients that would begin another are refused; 0 is no limit.',
      0,
      1_000_000_000,
    ),
    sessionExpirySecondsMax: inUnit(
      'sessionExpirySecondsMax',
      'seconds',
      'How long a session outlives its connection at most; sessions of 3.1 and 3.1.1 clients expire after it too; 4294967295 is for ever.',
      0,
      4_294_967_295,
    ),
    keepAliveSecondsMax: inUnit(
      'keepAliveSecondsMax',
      'seconds',
      'Longest keep alive; below 65535, 5.0 clients that ask for more or for none are told this one.',
      1,
      65535,
    ),
    connectTimeoutSeconds: inUnit(
      'connectTimeoutSeconds',
      'seconds',
      'Time from the connection to its CONNECT packet.',
      1,
      3600,
    ),
    retainedMessagesMax: count(
      'retainedMessagesMax',
      'Retained messages; those of the broker below `$SYS` do not count.',
      0,
      1_000_000_000,
    ),
    retainedBytesMax: inUnit('retainedBytesMax', 'bytes', 'Bytes of retained messages.', 0, most),
    retainedPerSecondMax: count(
      'retainedPerSecondMax',
      'Retained messages sent to one client in a second because it subscribed; 0 is no limit.',
      0,
      1_000_000_000,
    ),
    delayedMessagesMax: count(
      'delayedMessagesMax',
      'Messages that wait to be published later (`$delayed/…`).',
      0,
      100_000_000,
    ),
    outboundBytesMax: inUnit(
      'outboundBytesMax',
      'bytes',
      'Bytes of one connection that its socket has not taken yet.',
      65_536,
      most,
    ),
    memoryOutboundBytesMax: inUnit(
      'memoryOutboundBytesMax',
      'bytes',
      'As `outboundBytesMax` over all connections; above it publishers wait shortly, and then what is above 64 KiB for one connection is dropped (QoS 0) or queued.',
      1_048_576,
      most,
    ),
    slowReaderHoldMs: inUnit(
      'slowReaderHoldMs',
      'milliseconds',
      'How long a subscriber that falls behind may hold its publishers back before it loses QoS 0 messages.',
      0,
      3_600_000,
    ),
    topicCacheEntriesMax: count(
      'topicCacheEntriesMax',
      'Topic names kept resolved to their subscribers.',
      16,
      16_777_216,
    ),
    sharedQueueMessagesMax: count(
      'sharedQueueMessagesMax',
      'QoS 1 and 2 messages that wait for a shared subscription while none of its members is connected.',
      0,
      100_000_000,
    ),
  } satisfies Record<keyof Limits, unknown>,
});

export const schema = group({
  sentence: 'All settings.',
  fields: {
    listeners: list({
      sentence: 'Where clients connect.',
      apply: 'restart',
      default: [
        { name: 'default', protocol: 'mqtt', host: '127.0.0.1', port: 1883 },
        { name: 'web', protocol: 'ws', host: '127.0.0.1', port: 8083, path: '/mqtt' },
      ],
      defaultText: '`default` (mqtt://127.0.0.1:1883) and `web` (ws://127.0.0.1:8083/mqtt)',
      item: listener,
    }),
    rates: rateSettings,
    bans: banSettings,
    protection: protectionSettings,
    users: list({
      sentence: 'Who may log in with user name and password.',
      apply: 'live',
      default: [],
      item: user,
    }),
    authentication,
    authorization,
    roles,
    groups,
    storage: group({
      sentence: 'Where sessions and messages are kept.',
      fields: {
        mode: choice({
          sentence:
            'What has to have happened before a message is acknowledged: nothing (`memory`: a restart forgets everything), it was handed to the operating system (`buffered`: survives the end of the process), it is on the disk (`sync`: survives a power cut), it is on the disk twice (`faultTolerant`: survives damage to one copy as well).',
          apply: 'restart',
          choices: durabilityModes,
          default: 'memory',
        }),
        path: text({
          sentence: 'Folder for what is kept on disk; mode `memory` leaves it alone.',
          apply: 'restart',
          allowed: 'path',
          check: (value) => value !== '' && printable(value),
          default: './data',
        }),
      },
    }),
    durability: list({
      sentence:
        'Topics whose messages are kept in another mode than `storage.mode`; the first filter that matches counts.',
      apply: 'restart',
      default: [],
      item: group({
        sentence: 'One rule.',
        fields: {
          filter: topicFilter,
          mode: choice({
            sentence: 'The mode of these messages; with `storage.mode` `memory` only `memory` can be asked for.',
            apply: 'restart',
            choices: durabilityModes,
          }),
        },
      }),
    }),
    priorities: list({
      sentence:
        'Topics whose messages overtake others, or are overtaken, in the queue of a session; the first filter that matches counts.',
      apply: 'restart',
      default: [],
      item: group({
        sentence: 'One rule.',
        fields: {
          filter: topicFilter,
          priority: integer({
            sentence: 'Higher goes first; messages without a rule have 16.',
            apply: 'restart',
            minimum: 0,
            maximum: 63,
          }),
        },
      }),
    }),
    dynamicSecurity: dynamicSecuritySettings,
    bridges: list({
      sentence: 'Connections to other brokers; see docs/bridges.md.',
      apply: 'live',
      default: [],
      item: bridgeSettings,
    }),
    certificateAuthority: authoritySettings,
    limits,
    sharedSubscriptions: group({
      sentence: 'Subscriptions to `$share/name/filter`.',
      fields: {
        strategy: choice({
          sentence: 'Which member of the group gets a message.',
          apply: 'restart',
          choices: ['roundRobin', 'random', 'sticky', 'hashClientId', 'hashTopic', 'localFirst'],
          default: 'roundRobin',
        }),
      },
    }),
    sys: group({
      sentence: 'The `$SYS` topics.',
      fields: {
        intervalSeconds: integer({
          sentence: 'How often `$SYS` topics are published; 0 publishes none.',
          apply: 'restart',
          unit: 'seconds',
          minimum: 0,
          maximum: 86_400,
          default: 10,
        }),
      },
    }),
    protocol: group({
      sentence: 'What the broker offers to clients.',
      fields: {
        responseInformation: text({
          sentence:
            'Response Information for 5.0 clients that request it, usually the prefix of their response topics; empty sends none.',
          apply: 'restart',
          allowed: 'text of at most 65535 bytes without control characters',
          check: (value) => bytesOf(value) <= 65535 && printable(value),
          default: '',
        }),
        serverReference: text({
          sentence: 'Other servers that 5.0 clients are told when `redirect` sends them away; empty names none.',
          apply: 'restart',
          allowed: 'host names or addresses with optional port, separated by spaces; at most 65535 bytes',
          check: (value) => bytesOf(value) <= 65535 && printable(value),
          default: '',
        }),
        redirect: choice({
          sentence:
            'Whether every client is sent away, for now (`useAnotherServer`, 0x9C) or for good (`serverMoved`, 0x9D).',
          apply: 'restart',
          choices: ['none', 'useAnotherServer', 'serverMoved'],
          default: 'none',
        }),
        wildcardSubscriptions: boolean({
          sentence: 'Whether topic filters may hold `+` and `#`.',
          apply: 'restart',
          default: true,
        }),
        subscriptionIdentifiers: boolean({
          sentence: 'Whether 5.0 clients may give subscription identifiers.',
          apply: 'restart',
          default: true,
        }),
        retain: boolean({
          sentence: 'Whether clients may publish retained messages.',
          apply: 'restart',
          default: true,
        }),
        compression: boolean({
          sentence: 'Whether bridges of other Dunlins may have their connection to this broker compressed.',
          apply: 'restart',
          default: false,
        }),
        sharedSubscriptions: boolean({
          sentence: 'Whether clients may use shared subscriptions.',
          apply: 'restart',
          default: true,
        }),
        clientIdPrefixes: list({
          sentence: 'What client identifiers have to begin with, one of these; empty: anything.',
          apply: 'reconnect',
          default: [],
          item: text({
            sentence: 'A beginning.',
            apply: 'restart',
            allowed: 'text of 1 to 256 bytes without control characters',
            check: (value) => value !== '' && bytesOf(value) <= 256 && printable(value),
          }),
        }),
        refuseLongKeepAlive: boolean({
          sentence:
            'Whether 3.1 and 3.1.1 clients with a longer keep alive than `limits.keepAliveSecondsMax` are refused, since they cannot be told another.',
          apply: 'reconnect',
          default: false,
        }),
        upgradeQoS: boolean({
          sentence:
            'Whether messages are delivered with the QoS of the subscription even where they were published with a lower one. The specification forbids it.',
          apply: 'restart',
          default: false,
        }),
        maximumQoS: integer({
          sentence: 'Highest QoS that clients may publish with.',
          apply: 'restart',
          minimum: 0,
          maximum: 2,
          default: 2,
        }),
      },
    }),
    log: logSettings,
    process: processSettings,
  },
});

/** The whole configuration with every default filled in. */
export type Config = ValueOf<typeof schema>;
export type ConfigInput = InputOf<typeof schema>;
export type ListenerConfig = ValueOf<typeof listener>;
export type ListenerInput = InputOf<typeof listener>;
export type TlsConfig = ListenerConfig['tls'];
export type UserConfig = ValueOf<typeof user>;
