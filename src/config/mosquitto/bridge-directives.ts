/** Directives of bridges, and those that no manual page has but files may hold. */
import { type DirectiveRow, rowsOf } from './directive.js';

const bridge = rowsOf('bridges');
const tls = rowsOf('bridgeTls');
const other = rowsOf('other');

const text = (name: string, becomes: string) => bridge.honoured(name, 'bridge', 'text', `\`bridges[].${becomes}\``);
const flag = (name: string, becomes: string) => bridge.honoured(name, 'bridge', 'flag', `\`bridges[].${becomes}\``);
const integer = (name: string, becomes: string) =>
  bridge.honoured(name, 'bridge', 'integer', `\`bridges[].${becomes}\``);

export const bridgeDirectives: readonly DirectiveRow[] = [
  bridge.honoured('address', 'bridge', 'words', '`bridges[].remotes`'),
  bridge.honoured('addresses', 'bridge', 'words', '`bridges[].remotes`'),
  bridge.differs(
    'bridge_attempt_unsubscribe',
    'bridge',
    'flag',
    '`bridges[].unsubscribe`',
    'with `true` subscriptions that the remote has kept and that are no more wanted are ended, and no others; for those of a former run that takes `persistence true`',
  ),
  text('bridge_bind_address', 'bindAddress'),
  integer('bridge_max_packet_size', 'sentPacketBytesMax'),
  bridge.differs(
    'bridge_max_topic_alias',
    'bridge',
    'integer',
    '`bridges[].topicAliasMaximum`',
    'counts both ways; without it there are none',
  ),
  bridge.unneeded(
    'bridge_mptcp',
    'bridge',
    'flag',
    'connections are plain TCP, as where the kernel has no Multipath TCP',
  ),
  bridge.differs(
    'bridge_outgoing_retain',
    'bridge',
    'flag',
    '`bridges[].outgoingRetain`',
    'with `false` messages that were stored before are not sent',
  ),
  bridge.differs(
    'bridge_protocol_version',
    'bridge',
    'text',
    '`bridges[].protocolVersion`',
    'with `mqttv50` messages carry the user property `dunlin-hops`, which ends rings of brokers',
  ),
  integer('bridge_receive_maximum', 'receiveMaximum'),
  integer('bridge_session_expiry_interval', 'sessionExpirySeconds'),
  bridge.unneeded('bridge_tcp_keepalive', 'bridge', 'words', 'the keep alive of MQTT finds broken connections'),
  bridge.unneeded('bridge_tcp_user_timeout', 'bridge', 'integer', 'the keep alive of MQTT finds broken connections'),
  flag('cleansession', 'cleanSession'),
  flag('local_cleansession', 'localCleanSession'),
  bridge.honoured('connection', 'global', 'text', '`bridges[].name`', { repeats: true }),
  integer('keepalive_interval', 'keepAliveSeconds'),
  integer('idle_timeout', 'lazy.idleSeconds'),
  text('local_clientid', 'localClientId'),
  bridge.unneeded('local_password', 'bridge', 'text', 'a bridge is part of the broker and logs in to it with nothing'),
  bridge.unneeded('local_username', 'bridge', 'text', 'a bridge is part of the broker and logs in to it with nothing'),
  bridge.differs(
    'notifications',
    'bridge',
    'flag',
    '`bridges[].notifications.enabled`',
    'the remote gets `1` with QoS 0; `0`, which comes as a will, with QoS 1 as in Mosquitto',
  ),
  flag('notifications_local_only', 'notifications.localOnly'),
  text('notification_topic', 'notifications.topic'),
  text('remote_clientid', 'clientId'),
  text('remote_password', 'password'),
  text('remote_username', 'username'),
  bridge.differs(
    'restart_timeout',
    'bridge',
    'words',
    '`bridges[].reconnect`',
    'the time doubles from the first number up to the second, and a random part is left out; the third number has no effect',
  ),
  bridge.differs(
    'round_robin',
    'bridge',
    'flag',
    '`bridges[].strategy`',
    'with `false` an address whose connection lasted ten seconds is tried again before the next one',
  ),
  bridge.differs(
    'start_type',
    'bridge',
    'text',
    '`bridges[].start`',
    '`once` tries until it has been connected; when that connection ends, it does not try again',
  ),
  integer('threshold', 'lazy.threshold'),
  bridge.differs(
    'topic',
    'bridge',
    'words',
    '`bridges[].topics`',
    'a prefix in front of a pattern ends with `/`; a message that several rows match is sent once for each name that they give it, and not by the first row only',
    { repeats: true },
  ),
  flag('try_private', 'tryPrivate'),
  bridge.unneeded('bridge_reload_type', 'bridge', 'text', 'a bridge that was changed reconnects at once'),
  tls.honoured('bridge_alpn', 'bridge', 'text', '`bridges[].tls.alpn`'),
  tls.honoured('bridge_cafile', 'bridge', 'path', '`bridges[].tls.ca`'),
  tls.honoured('bridge_capath', 'bridge', 'path', '`bridges[].tls.ca`'),
  tls.honoured('bridge_certfile', 'bridge', 'path', '`bridges[].tls.certificate`'),
  tls.honoured('bridge_identity', 'bridge', 'text', '`bridges[].tls.psk`'),
  tls.honoured('bridge_insecure', 'bridge', 'flag', '`bridges[].tls.verifyHostname`'),
  tls.honoured('bridge_keyfile', 'bridge', 'path', '`bridges[].tls.key`'),
  tls.honoured('bridge_psk', 'bridge', 'text', '`bridges[].tls.psk`'),
  tls.refused('bridge_require_ocsp', 'bridge', 'flag', 'a bridge does not ask for OCSP, so nothing would be required'),
  tls.honoured('bridge_tls_use_os_certs', 'bridge', 'flag', '`bridges[].tls.trustSystemStore`'),
  tls.differs('bridge_tls_version', 'bridge', 'text', '`bridges[].tls.versionMin`', '`tlsv1.1` is raised to 1.2'),
  tls.honoured('bridge_ciphers', 'bridge', 'text', '`bridges[].tls.ciphers`'),
  tls.honoured('bridge_ciphers_tls1.3', 'bridge', 'text', '`bridges[].tls.ciphers`'),

  other.honoured('clientid', 'bridge', 'text', 'as `remote_clientid`'),
  other.honoured('username', 'bridge', 'text', 'as `remote_username`'),
  other.honoured('password', 'bridge', 'text', 'as `remote_password`'),
  other.differs('plugin_load', 'plugin', 'words', '', 'as `plugin`, with a name for `plugin_use` in front', {
    repeats: true,
  }),
  other.differs('plugin_use', 'security', 'text', '', 'a plugin that is loaded by name counts for the listener above', {
    repeats: true,
  }),
  other.unneeded(
    'retry_interval',
    'global',
    'integer',
    'it left Mosquitto in version 1.5; messages are sent again when a client comes back',
  ),
  other.unneeded(
    'store_clean_interval',
    'global',
    'integer',
    'it left Mosquitto in version 1.5; storage is tidied all the time',
  ),
  ...['ffdc_output', 'max_log_entries', 'trace_level', 'trace_output'].map((name) =>
    other.unneeded(name, 'global', 'text', 'it is of another broker, RSMB, and means nothing to Mosquitto either'),
  ),
];
