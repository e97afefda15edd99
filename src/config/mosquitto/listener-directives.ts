/** Directives of listeners: where they listen, TLS by certificates, TLS by pre-shared keys. */
import { type DirectiveRow, rowsOf } from './directive.js';

const general = rowsOf('listeners');
const tls = rowsOf('tls');
const psk = rowsOf('psk');

export const listenerDirectives: readonly DirectiveRow[] = [
  general.honoured('accept_protocol_versions', 'listener', 'text', '`listeners[].protocolVersions`'),
  general.honoured('bind_address', 'global', 'text', '`listeners[].host` of the default listener'),
  general.honoured('bind_interface', 'listener', 'text', '`listeners[].interface`'),
  general.honoured('enable_proxy_protocol', 'listener', 'integer', '`listeners[].proxyProtocol`'),
  general.differs(
    'http_dir',
    'listener',
    'path',
    '`listeners[].httpFolder`',
    'for listeners with `protocol websockets`',
  ),
  general.differs(
    'listener',
    'global',
    'words',
    '`listeners[]`',
    'without an address it listens on `::`, which is IPv4 and IPv6 in one socket; a host name is one address',
    { repeats: true },
  ),
  general.honoured('listener_allow_anonymous', 'listener', 'flag', '`listeners[].allowAnonymous`'),
  general.honoured('listener_auto_id_prefix', 'listener', 'text', '`listeners[].clientIdPrefix`'),
  general.differs('max_connections', 'listener', 'integer', '`listeners[].connectionsMax`', '-1 is 10000000'),
  general.honoured('max_qos', 'listener', 'integer', '`listeners[].maximumQoS`'),
  general.honoured('max_topic_alias_broker', 'listener', 'integer', '`listeners[].topicAliasMaximumToClients`'),
  general.honoured('max_topic_alias', 'listener', 'integer', '`listeners[].topicAliasMaximum`'),
  general.honoured('mount_point', 'listener', 'text', '`listeners[].mountPoint`'),
  general.unneeded('mptcp', 'listener', 'flag', 'connections are plain TCP, as where the kernel has no Multipath TCP'),
  general.honoured('port', 'global', 'integer', '`listeners[].port` of the default listener'),
  general.differs(
    'protocol',
    'listener',
    'text',
    '`listeners[].protocol`',
    'a listener with `http_api` is left out, and the start says so',
  ),
  general.honoured('proxy_protocol_v2_require_tls', 'listener', 'flag', '`listeners[].proxyTls`'),
  general.honoured('socket_domain', 'listener', 'text', '`listeners[].host` and `listeners[].ipv6Only`'),
  general.honoured('use_username_as_clientid', 'listener', 'flag', '`listeners[].usernameAsClientId`'),
  general.unneeded('packet_buffer_size', 'global', 'integer', 'buffers for reading belong to nobody and are large'),
  general.unneeded(
    'websockets_headers_size',
    'global',
    'integer',
    'headers of up to 16384 bytes are always taken, larger ones never',
  ),
  general.unneeded('websockets_log_level', 'global', 'integer', 'there is no libwebsockets whose log it could be'),
  general.honoured('websockets_origin', 'listener', 'text', '`listeners[].origins`', { repeats: true }),

  tls.differs(
    'cafile',
    'listener',
    'path',
    '`listeners[].tls.clientCa`',
    'counts with `require_certificate true`; without it no client is asked for a certificate',
  ),
  tls.differs(
    'capath',
    'listener',
    'path',
    '`listeners[].tls.clientCa`',
    'as `cafile`; every PEM file of the folder counts, without `openssl rehash`',
  ),
  tls.honoured('certfile', 'listener', 'path', '`listeners[].tls.certificate`'),
  tls.honoured('ciphers', 'listener', 'text', '`listeners[].tls.ciphers`'),
  tls.honoured('ciphers_tls1.3', 'listener', 'text', '`listeners[].tls.cipherSuites`'),
  tls.differs(
    'crlfile',
    'listener',
    'path',
    '`listeners[].tls.crl`',
    'counts with `require_certificate true`; without it no client is asked for a certificate',
  ),
  tls.unneeded('dhparamfile', 'listener', 'path', 'OpenSSL chooses parameters that fit the key of the certificate'),
  tls.unneeded(
    'disable_client_cert_date_checks',
    'listener',
    'flag',
    'certificates that are expired or not yet valid are always refused',
  ),
  tls.honoured('keyfile', 'listener', 'path', '`listeners[].tls.key`'),
  tls.honoured('require_certificate', 'listener', 'flag', '`listeners[].tls.clientCertificate`'),
  tls.refused('tls_engine', 'listener', 'text', 'OpenSSL engines cannot be used, so the key would be out of reach'),
  tls.refused(
    'tls_engine_kpass_sha1',
    'listener',
    'text',
    'OpenSSL engines cannot be used, so the key would be out of reach',
  ),
  tls.differs('tls_keyform', 'listener', 'text', '', '`pem` is all there is; `engine` is refused'),
  tls.differs('tls_version', 'listener', 'text', '`listeners[].tls.versionMin`', '`tlsv1.1` is raised to 1.2'),
  tls.honoured('use_identity_as_username', 'listener', 'flag', '`authentication`, type `certificate`'),
  tls.honoured(
    'use_subject_as_username',
    'listener',
    'flag',
    '`authentication`, type `certificate`, `username: subject`',
  ),

  psk.honoured('psk_hint', 'listener', 'text', '`listeners[].tls.psk.hint`'),
];

/** Directives that the manual page has in two sections, and what they become in the second. */
export const alsoForPsk: Readonly<Record<string, string>> = {
  ciphers: '`listeners[].tls.ciphers`',
  tls_version: '`listeners[].tls.versionMin`',
  use_identity_as_username: '`listeners[].tls.psk.identityAsUsername`',
};
