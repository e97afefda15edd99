/** Settings of bridges to other brokers. */
import { queueOverflowPolicies } from '../base/index.js';
import { directions } from '../bridge/index.js';
import { isValidTopicName } from '../protocol/index.js';
import { isHost } from './address.js';
import { boolean, choice, group, type InputOf, integer, list, text, type ValueOf } from './setting.js';

const most = Number.MAX_SAFE_INTEGER;
/** Identifiers of messages go round twice as many; those above are left for SUBSCRIBE. */
export const BRIDGE_INFLIGHT_MAX = 32_000;
const bytesOf = (value: string) => Buffer.byteLength(value);
const printable = (value: string) => !/[\u0000-\u001f\u007f]/.test(value);
const isPath = (value: string) => value !== '' && bytesOf(value) <= 4096 && printable(value);

const clientIdText = { allowed: 'text of 1 to 256 bytes without control characters' } as const;
const isClientId = (value: string) => bytesOf(value) >= 1 && bytesOf(value) <= 256 && printable(value);

const seconds = (sentence: string, minimum: number, maximum: number, standard: number) =>
  integer({ sentence, apply: 'reconnect', unit: 'seconds', minimum, maximum, default: standard });
const file = (sentence: string) =>
  text({ sentence, apply: 'reconnect', allowed: 'path of a file', check: isPath, optional: true });
const isPrefix = (value: string) => bytesOf(value) <= 65535 && printable(value);

const tls = group({
  sentence: 'TLS towards the remote.',
  fields: {
    enabled: boolean({
      sentence: 'Whether the connection is secured.',
      apply: 'reconnect',
      defaultText: 'true where `ca`, `trustSystemStore`, `certificate` or `psk` is given, else false',
      computed: ({ ca, trustSystemStore, certificate, psk }) =>
        (Array.isArray(ca) && ca.length > 0) ||
        trustSystemStore === true ||
        certificate !== undefined ||
        (psk as { identity?: string } | undefined)?.identity !== undefined,
    }),
    ca: list({
      sentence:
        "Authorities that the remote's certificate is checked against; without any, and without `trustSystemStore`, those that Node brings along.",
      apply: 'reconnect',
      default: [],
      item: text({
        sentence: 'A PEM file or a folder of such files.',
        apply: 'reconnect',
        allowed: 'path of a PEM file or folder of such files',
        check: isPath,
      }),
    }),
    trustSystemStore: boolean({
      sentence: 'Whether the authorities that the operating system trusts are trusted as well.',
      apply: 'reconnect',
      default: false,
    }),
    certificate: file('PEM file with the certificate that this broker shows, followed by those of its issuers.'),
    key: file('PEM file with its private key; without it the key is looked for in the file of the certificate.'),
    keyPassword: text({
      sentence: 'Password of an encrypted private key.',
      apply: 'reconnect',
      allowed: 'text of at most 1024 bytes',
      check: (value) => bytesOf(value) <= 1024,
      secret: true,
      optional: true,
    }),
    psk: group({
      sentence: 'A pre-shared key instead of certificates.',
      fields: {
        identity: text({
          sentence: 'Identity that names the key to the remote.',
          apply: 'reconnect',
          allowed: 'text of 1 to 128 bytes without control characters',
          check: (value) => bytesOf(value) >= 1 && bytesOf(value) <= 128 && printable(value),
          optional: true,
        }),
        key: text({
          sentence: 'The key, as `openssl rand -hex 32` writes one.',
          apply: 'reconnect',
          allowed: 'even number of 2 to 512 hexadecimal digits',
          check: (value) => /^([0-9a-fA-F]{2}){1,256}$/.test(value),
          secret: true,
          optional: true,
        }),
      },
    }),
    verifyHostname: boolean({
      sentence: "Whether the remote's certificate has to be for its host name.",
      apply: 'reconnect',
      default: true,
    }),
    insecure: boolean({
      sentence: 'Whether any certificate will do. Whoever is on the way can read and change everything.',
      apply: 'reconnect',
      default: false,
    }),
    serverName: text({
      sentence: 'Name that the remote is asked for (SNI) and checked against, where it is not its host.',
      apply: 'reconnect',
      allowed: 'host name',
      check: isHost,
      optional: true,
    }),
    alpn: list({
      sentence: 'Application protocols offered (ALPN).',
      apply: 'reconnect',
      default: [],
      item: text({
        sentence: 'A protocol.',
        apply: 'reconnect',
        allowed: 'text of 1 to 255 letters, digits, `.`, `_`, `-`, `/`',
        check: (value) => /^[A-Za-z0-9._/-]{1,255}$/.test(value),
      }),
    }),
    ciphers: text({
      sentence: 'Ciphers, the preferred first.',
      apply: 'reconnect',
      allowed: 'list as OpenSSL writes it, such as `ECDHE+AESGCM:!aNULL`',
      check: (value) => /^[A-Za-z0-9_:+!@=.,\- ]{0,4096}$/.test(value),
      default: '',
      defaultText: 'those of Node; with `psk` those with a pre-shared key',
    }),
    versionMin: choice({
      sentence: 'Oldest TLS version spoken.',
      apply: 'reconnect',
      choices: ['TLSv1.2', 'TLSv1.3'],
      default: 'TLSv1.2',
    }),
  },
});

const topicRow = group({
  sentence: 'One row.',
  fields: {
    topic: text({
      sentence: 'Topic filter below the prefixes; empty where both prefixes are whole topic names.',
      apply: 'reconnect',
      allowed: 'topic filter, or empty',
      check: isPrefix,
      default: '',
    }),
    direction: choice({
      sentence:
        'Which way messages go: from the remote to this broker (`in`), from this broker to the remote (`out`), or `both`.',
      apply: 'reconnect',
      choices: directions,
      default: 'out',
    }),
    qos: integer({
      sentence: 'Highest QoS that they are forwarded with.',
      apply: 'reconnect',
      minimum: 0,
      maximum: 2,
      default: 0,
    }),
    localPrefix: text({
      sentence: 'What the topic begins with at this broker; ends with `/` where there is a `topic`.',
      apply: 'reconnect',
      allowed: 'beginning of a topic name',
      check: isPrefix,
      default: '',
    }),
    remotePrefix: text({
      sentence: 'What the topic begins with at the remote; ends with `/` where there is a `topic`.',
      apply: 'reconnect',
      allowed: 'beginning of a topic name',
      check: isPrefix,
      default: '',
    }),
  },
});

export const bridgeSettings = group({
  sentence: 'One bridge.',
  fields: {
    name: text({
      sentence: 'Name of the bridge, and, where `clientId` says nothing else, its client identifier at the remote.',
      apply: 'reconnect',
      allowed: 'text of 1 to 200 bytes without `+`, `#`, `/` and control characters',
      check: (value) => bytesOf(value) >= 1 && bytesOf(value) <= 200 && printable(value) && !/[+#/]/.test(value),
    }),
    enabled: boolean({ sentence: 'Whether it is used.', apply: 'reconnect', default: true }),
    remotes: list({
      sentence: 'Where the remote is: the primary first, then those that take its place.',
      apply: 'reconnect',
      default: [],
      itemsMin: 1,
      item: group({
        sentence: 'One address.',
        fields: {
          host: text({
            sentence: 'Host name or address.',
            apply: 'reconnect',
            allowed: 'IPv4 or IPv6 literal without brackets, or host name',
            check: isHost,
          }),
          port: integer({
            sentence: 'Port.',
            apply: 'reconnect',
            minimum: 1,
            maximum: 65535,
            default: 1883,
          }),
        },
      }),
    }),
    strategy: choice({
      sentence:
        'With several remotes: back to the primary as soon as it answers (`failover`), or the next one after each loss (`roundRobin`).',
      apply: 'reconnect',
      choices: ['failover', 'roundRobin'],
      default: 'failover',
    }),
    failbackSeconds: seconds('How often the primary is tried while another remote is in use.', 1, 86_400, 30),
    protocolVersion: choice({
      sentence: 'MQTT version spoken with the remote.',
      apply: 'reconnect',
      choices: ['3.1', '3.1.1', '5.0'],
      default: '5.0',
    }),
    clientId: text({
      sentence: 'Client identifier at the remote; no two of its clients may have the same.',
      apply: 'reconnect',
      ...clientIdText,
      check: isClientId,
      defaultText: 'the name',
      computed: ({ name }) => name,
    }),
    localClientId: text({
      sentence: 'Client identifier of the session that queues for the remote at this broker; no client may use it.',
      apply: 'reconnect',
      ...clientIdText,
      check: isClientId,
      defaultText: '`local.` and the client identifier',
      computed: ({ name, clientId }) => `local.${clientId ?? name}`,
    }),
    username: text({
      sentence: 'User name at the remote.',
      apply: 'reconnect',
      allowed: 'text of at most 65535 bytes',
      check: (value) => bytesOf(value) <= 65535 && !value.includes('\0'),
      optional: true,
    }),
    password: text({
      sentence: 'Password at the remote.',
      apply: 'reconnect',
      allowed: 'text of at most 65535 bytes',
      check: (value) => bytesOf(value) <= 65535,
      secret: true,
      optional: true,
    }),
    keepAliveSeconds: seconds(
      'A ping goes out when nothing else does; a remote that does not answer within this time is given up. 0 switches it off.',
      0,
      65535,
      60,
    ),
    cleanSession: boolean({
      sentence: 'Whether the remote forgets subscriptions and messages of the bridge when the connection ends.',
      apply: 'reconnect',
      default: false,
    }),
    localCleanSession: boolean({
      sentence: 'Whether this broker forgets what waits for the remote when the connection ends.',
      apply: 'reconnect',
      default: false,
    }),
    tryPrivate: boolean({
      sentence:
        'Whether a remote of 3.1 or 3.1.1 is told that a bridge connects, so that it does not send back what it got; one that refuses that is asked again without.',
      apply: 'reconnect',
      default: true,
    }),
    unsubscribe: boolean({
      sentence:
        'Whether subscriptions that the remote may have kept, and that no row wants any more, are ended when it is connected to. Some services end the connection of a client that may not unsubscribe.',
      apply: 'reconnect',
      default: true,
    }),
    start: choice({
      sentence:
        'When it connects: at once and always, when enough waits to be sent (`lazy`), or one time only (`once`).',
      apply: 'reconnect',
      choices: ['automatic', 'lazy', 'once'],
      default: 'automatic',
    }),
    lazy: group({
      sentence: 'For `start: lazy`.',
      fields: {
        idleSeconds: seconds('It disconnects when nothing went either way for so long.', 1, 86_400, 60),
        threshold: integer({
          sentence: 'Messages that have to wait before it connects.',
          apply: 'reconnect',
          minimum: 1,
          maximum: 100_000_000,
          default: 10,
        }),
      },
    }),
    reconnect: group({
      sentence: 'How long it waits between attempts; the time doubles, and a random part of it is left out.',
      fields: {
        minimumSeconds: seconds('After the first failure.', 1, 86_400, 1),
        maximumSeconds: seconds('After many.', 1, 86_400, 60),
      },
    }),
    connections: integer({
      sentence:
        'Connections to the remote at one time. Outgoing topics are spread over them, incoming rows as well; the order within a topic stays.',
      apply: 'reconnect',
      minimum: 1,
      maximum: 64,
      default: 1,
    }),
    notifications: group({
      sentence: 'A retained message that says whether the bridge is connected: `1` or `0`.',
      fields: {
        enabled: boolean({ sentence: 'Whether there is one.', apply: 'reconnect', default: true }),
        topic: text({
          sentence: 'Its topic.',
          apply: 'reconnect',
          allowed: 'topic name',
          check: (value) => value === '' || (isValidTopicName(value) && bytesOf(value) <= 65535),
          default: '',
          defaultText: '`$SYS/broker/connection/<clientId>/state`',
        }),
        localOnly: boolean({
          sentence: 'Whether the remote is left out: no message there, and no will.',
          apply: 'reconnect',
          default: false,
        }),
      },
    }),
    topics: list({
      sentence: 'What is forwarded.',
      apply: 'reconnect',
      default: [],
      item: topicRow,
    }),
    tls,
    queue: group({
      sentence: 'What waits for the remote.',
      fields: {
        messagesMax: integer({
          sentence: 'Messages.',
          apply: 'reconnect',
          minimum: 1,
          maximum: 100_000_000,
          default: 100_000,
        }),
        bytesMax: integer({
          sentence: 'Bytes of messages.',
          apply: 'reconnect',
          unit: 'bytes',
          minimum: 1024,
          maximum: most,
          default: 268_435_456,
        }),
        overflow: choice({
          sentence:
            'What happens when it is full: the oldest message goes, the new one goes, QoS 0 messages go first (then the oldest), or the publisher is told quota exceeded.',
          apply: 'reconnect',
          choices: queueOverflowPolicies,
          default: 'dropOldest',
        }),
        qos0: boolean({
          sentence: 'Whether QoS 0 messages wait too while there is no connection.',
          apply: 'reconnect',
          default: false,
        }),
      },
    }),
    durability: choice({
      sentence:
        'How safely what waits is kept before it is acknowledged; `asBroker` leaves that to `storage` and `durability`, others cannot be more than `storage.mode` has.',
      apply: 'reconnect',
      choices: ['asBroker', 'memory', 'buffered', 'sync', 'faultTolerant'],
      default: 'asBroker',
    }),
    packetBytesMax: integer({
      sentence: 'Largest packet taken from the remote; a remote of 5.0 is told so.',
      apply: 'reconnect',
      unit: 'bytes',
      minimum: 128,
      maximum: 268_435_460,
      default: 16_777_216,
    }),
    sentPacketBytesMax: integer({
      sentence:
        'Largest packet sent to the remote; larger messages are dropped. A remote of 5.0 may allow less; 0 is as much as it allows.',
      apply: 'reconnect',
      unit: 'bytes',
      minimum: 0,
      maximum: 268_435_460,
      default: 0,
    }),
    inflightMessagesMax: integer({
      sentence:
        'QoS 1 and 2 messages sent and not acknowledged; a remote of 5.0 may lower it. Mosquitto ends connections of 3.1.1 with more than 20.',
      apply: 'reconnect',
      minimum: 1,
      maximum: BRIDGE_INFLIGHT_MAX,
      defaultText: '1000 with 5.0, else 20',
      computed: ({ protocolVersion }) => (protocolVersion === undefined || protocolVersion === '5.0' ? 1000 : 20),
    }),
    receiveMaximum: integer({
      sentence: 'QoS 1 and 2 messages that a remote of 5.0 may send without an acknowledgement.',
      apply: 'reconnect',
      minimum: 1,
      maximum: 65535,
      default: 1000,
    }),
    sessionExpirySeconds: integer({
      sentence: 'How long a remote of 5.0 keeps the session when there is no connection; 4294967295 is for ever.',
      apply: 'reconnect',
      unit: 'seconds',
      minimum: 0,
      maximum: 4_294_967_295,
      default: 4_294_967_295,
    }),
    topicAliasMaximum: integer({
      sentence: 'Topic aliases each way with a remote of 5.0; 0 uses none.',
      apply: 'reconnect',
      minimum: 0,
      maximum: 65535,
      default: 0,
    }),
    outgoingRetain: boolean({
      sentence:
        'Whether retained messages, and the state that `notifications` announces to the remote, are sent as such; if not, stored ones are not sent at all.',
      apply: 'reconnect',
      default: true,
    }),
    bindAddress: text({
      sentence: 'Address of this machine to connect from.',
      apply: 'reconnect',
      allowed: 'IPv4 or IPv6 literal without brackets',
      check: isHost,
      optional: true,
    }),
    hopsMax: integer({
      sentence:
        'Bridges that a message may go over, counted in a user property (5.0 only), so that rings of brokers end; 0 counts nothing.',
      apply: 'reconnect',
      minimum: 0,
      maximum: 1000,
      default: 10,
    }),
    compression: boolean({
      sentence:
        'Whether the connection is compressed where the remote is a Dunlin that allows it (`protocol.compression`); 5.0 only.',
      apply: 'reconnect',
      default: false,
    }),
  },
});

export type BridgeConfig = ValueOf<typeof bridgeSettings>;
export type BridgeInput = InputOf<typeof bridgeSettings>;
