/** `connection` and what stands below it. */
import { hostname } from 'node:os';
import { quoted } from '../../base/index.js';
import { isHost } from '../address.js';
import { BRIDGE_INFLIGHT_MAX } from '../bridge-schema.js';
import type { Draft } from './draft.js';
import type { Line, Remarks } from './remarks.js';
import type { Block } from './sections.js';

/** So often Mosquitto tries the first address while it is connected to another one. */
const FAILBACK_SECONDS = 5;

export function mapBridges(bridges: readonly Block[], global: Block, draft: Draft, remarks: Remarks): void {
  const names = new Map<string, Line>();
  bridges.forEach((block, index) => {
    const begin = block.begin!;
    const before = names.get(begin.value);
    if (before !== undefined)
      remarks.problem(begin, `${quoted(begin.value)} is the name of the connection on line ${before.line} already`);
    names.set(begin.value, begin);
    mapBridge(block, begin, `bridges[${index}]`, draft, remarks);
    mapQueue(global, `bridges[${index}]`, draft);
  });
}

/** What waits for a remote, or is on its way, is bounded as it is for clients, where the file says so. */
function mapQueue(global: Block, path: string, draft: Draft): void {
  const limits = draft.root.limits as Record<string, unknown>;
  const set = (key: string, name: string, value: unknown) => {
    if (global.line(name) !== undefined) draft.set(`${path}.${key}`, value, global.line(name));
  };
  set('queue.messagesMax', 'max_queued_messages', limits.queueMessagesMax);
  set('queue.bytesMax', 'max_queued_bytes', limits.queueBytesMax);
  set('queue.qos0', 'queue_qos0_messages', limits.queueQos0);
  draft.set(`${path}.queue.overflow`, 'dropNewest', undefined);
  set(
    'inflightMessagesMax',
    'max_inflight_messages',
    Math.min(Number(limits.inflightMessagesMax), BRIDGE_INFLIGHT_MAX),
  );
}

function mapBridge(block: Block, begin: Line, path: string, draft: Draft, remarks: Remarks): void {
  const set = (key: string, name: string, value: unknown) => draft.set(`${path}.${key}`, value, block.line(name));
  draft.origins.set(path, begin);
  draft.set(`${path}.name`, begin.value, begin);
  const remotes = remotesOf(block, remarks);
  if (remotes === undefined) remarks.problem(begin, 'needs address: where the remote broker is');
  else draft.set(`${path}.remotes`, remotes, block.line('address') ?? block.line('addresses'));
  const roundRobin = block.flag('round_robin');
  if (roundRobin !== undefined) set('strategy', 'round_robin', roundRobin ? 'roundRobin' : 'failover');
  // Mosquitto has no directive for it.
  if (remotes !== undefined && remotes.length > 1 && roundRobin !== true)
    draft.set(`${path}.failbackSeconds`, FAILBACK_SECONDS, undefined);
  const version = block.choice('bridge_protocol_version', ['mqttv50', 'mqttv311', 'mqttv31']);
  draft.set(
    `${path}.protocolVersion`,
    version === 'mqttv50' ? '5.0' : version === 'mqttv31' ? '3.1' : '3.1.1',
    block.line('bridge_protocol_version'),
  );
  const clientId = either(block, ['remote_clientid', 'clientid'], remarks);
  draft.set(`${path}.clientId`, clientId?.value ?? `${hostname()}.${begin.value}`, clientId);
  set('localClientId', 'local_clientid', block.text('local_clientid'));
  const username = either(block, ['remote_username', 'username'], remarks);
  const password = either(block, ['remote_password', 'password'], remarks);
  draft.set(`${path}.username`, username?.value, username);
  draft.set(`${path}.password`, password?.value, password);
  if (password !== undefined && username === undefined) remarks.problem(password, 'needs remote_username beside it');
  set('keepAliveSeconds', 'keepalive_interval', block.integer('keepalive_interval', 5, 65_535));
  const clean = block.flag('cleansession');
  draft.set(`${path}.cleanSession`, clean ?? false, block.line('cleansession'));
  draft.set(
    `${path}.localCleanSession`,
    block.flag('local_cleansession') ?? clean ?? false,
    block.line('local_cleansession') ?? block.line('cleansession'),
  );
  set('tryPrivate', 'try_private', block.flag('try_private'));
  set('unsubscribe', 'bridge_attempt_unsubscribe', block.flag('bridge_attempt_unsubscribe'));
  set('start', 'start_type', block.choice('start_type', ['automatic', 'lazy', 'once']));
  set('lazy.idleSeconds', 'idle_timeout', block.integer('idle_timeout', 1, 86_400));
  set('lazy.threshold', 'threshold', block.integer('threshold', 1, 100_000_000));
  mapReconnect(block.line('restart_timeout'), path, draft, remarks);
  set('notifications.enabled', 'notifications', block.flag('notifications'));
  set('notifications.localOnly', 'notifications_local_only', block.flag('notifications_local_only'));
  set('notifications.topic', 'notification_topic', block.text('notification_topic'));
  set('topicAliasMaximum', 'bridge_max_topic_alias', block.integer('bridge_max_topic_alias', 0, 65_535));
  set('sentPacketBytesMax', 'bridge_max_packet_size', block.integer('bridge_max_packet_size', 0, 268_435_455));
  set('receiveMaximum', 'bridge_receive_maximum', block.integer('bridge_receive_maximum', 1, 65_535));
  set(
    'sessionExpirySeconds',
    'bridge_session_expiry_interval',
    block.integer('bridge_session_expiry_interval', 0, 4_294_967_295),
  );
  set('outgoingRetain', 'bridge_outgoing_retain', block.flag('bridge_outgoing_retain'));
  set('bindAddress', 'bridge_bind_address', block.text('bridge_bind_address'));
  mapTopics(block, path, draft, remarks);
  mapBridgeTls(block, path, draft, remarks);
}

function either(block: Block, names: readonly string[], remarks: Remarks): Line | undefined {
  const [line, second] = names.map((name) => block.line(name)).filter((found) => found !== undefined);
  if (second !== undefined)
    remarks.problem(second, `is another name for ${line!.name}, which is given on line ${line!.line}`);
  return line;
}

function remotesOf(block: Block, remarks: Remarks): { host: string; port: number }[] | undefined {
  const line = either(block, ['address', 'addresses'], remarks);
  if (line === undefined) return undefined;
  return line.value
    .split(/\s+/)
    .map((text) => remoteOf(text, line, remarks))
    .filter((remote) => remote !== undefined);
}

/** `host`, `host:port`, `[IPv6]:port`, or an IPv6 address whose port follows its last colon. */
function remoteOf(text: string, line: Line, remarks: Remarks): { host: string; port: number } | undefined {
  const [, host = text, port] = /^(.*[^:]):(\d{1,5})$/.exec(text) ?? [];
  const plain = host.replace(/^\[(.*)\]$/, '$1');
  const number = port === undefined ? 1883 : Number(port);
  if (isHost(plain) && number >= 1 && number <= 65_535) return { host: plain, port: number };
  remarks.problem(line, `found ${quoted(text)}, allowed is a host name or address, and a port behind a colon`);
  return undefined;
}

function mapReconnect(line: Line | undefined, path: string, draft: Draft, remarks: Remarks): void {
  if (line === undefined) {
    draft.set(`${path}.reconnect`, { minimumSeconds: 5, maximumSeconds: 30 }, undefined);
    return;
  }
  const numbers = line.value.split(/\s+/);
  const [base = 0, cap = base] = numbers.map(Number);
  if (
    numbers.length > 3 ||
    !numbers.every((text) => /^\d{1,4}$/.test(text)) ||
    base < 1 ||
    cap < base ||
    base > 3600 ||
    cap > 7200
  ) {
    remarks.problem(
      line,
      `found ${quoted(line.value)}, allowed are seconds from 1 to 3600, and behind them the most, up to 7200`,
    );
    return;
  }
  if (numbers.length === 3)
    remarks.warn(line, 'the third number has no effect: waiting begins anew after every connection that was answered');
  draft.set(`${path}.reconnect`, { minimumSeconds: base, maximumSeconds: cap }, line);
}

const directions = ['out', 'in', 'both'];

function mapTopics(block: Block, path: string, draft: Draft, remarks: Remarks): void {
  const lines = block.all('topic');
  if (lines.length === 0) remarks.problem(block.begin!, 'needs topic: what is bridged');
  const topics = lines.flatMap((line) => {
    const words = wordsOf(line.value);
    const [topic = '', direction = 'out', qos = '0', localPrefix = '', remotePrefix = '', ...more] = words ?? [];
    const wrong =
      words === undefined || more.length > 0
        ? 'topic, direction, QoS, local prefix and remote prefix, "" for an empty one'
        : !directions.includes(direction)
          ? `a direction of ${directions.join(', ')} behind the topic`
          : !/^[012]$/.test(qos)
            ? 'a QoS from 0 to 2 behind the direction'
            : topic === '' && (localPrefix === '' || remotePrefix === '')
              ? 'both prefixes where the topic is empty'
              : undefined;
    if (wrong !== undefined) {
      remarks.problem(line, `found ${quoted(line.value)}, allowed is ${wrong}`);
      return [];
    }
    return [{ topic, direction, qos: Number(qos), localPrefix, remotePrefix }];
  });
  draft.set(`${path}.topics`, topics, lines[0]);
  for (const [index, line] of lines.entries()) draft.origins.set(`${path}.topics[${index}]`, line);
}

/** Words between blanks; quotes hold blanks, and nothing. Undefined where a quote is not closed. */
function wordsOf(text: string): string[] | undefined {
  const words: string[] = [];
  const pattern = /\s*(?:"([^"]*)"|([^\s"]+))(?=\s|$)/gy;
  let at = 0;
  for (let found = pattern.exec(text); found !== null; found = pattern.exec(text)) {
    words.push(found[1] ?? found[2]!);
    at = pattern.lastIndex;
  }
  return text.slice(at).trim() === '' ? words : undefined;
}

const secure = ['bridge_cafile', 'bridge_capath', 'bridge_certfile', 'bridge_psk', 'bridge_identity'];

function mapBridgeTls(block: Block, path: string, draft: Draft, remarks: Remarks): void {
  const set = (key: string, name: string, value: unknown) => draft.set(`${path}.tls.${key}`, value, block.line(name));
  const identity = block.line('bridge_identity');
  const key = block.line('bridge_psk');
  const certificate = block.line('bridge_certfile');
  const keyFile = block.line('bridge_keyfile');
  const authorities = ['bridge_cafile', 'bridge_capath']
    .map((name) => block.line(name))
    .filter((line) => line !== undefined);
  const ofSystem = block.flag('bridge_tls_use_os_certs');
  if ((identity === undefined) !== (key === undefined))
    remarks.problem((identity ?? key)!, `needs ${identity === undefined ? 'bridge_identity' : 'bridge_psk'} beside it`);
  if ((certificate === undefined) !== (keyFile === undefined))
    remarks.problem(
      (certificate ?? keyFile)!,
      `needs ${certificate === undefined ? 'bridge_certfile' : 'bridge_keyfile'} beside it`,
    );
  if (identity !== undefined && (authorities.length > 0 || certificate !== undefined))
    remarks.problem(identity, 'is not possible together with certificates');
  if (identity === undefined && authorities.length === 0 && ofSystem !== true) {
    const line = [
      ...secure,
      'bridge_keyfile',
      'bridge_insecure',
      'bridge_alpn',
      'bridge_tls_version',
      'bridge_ciphers',
      'bridge_ciphers_tls1.3',
    ]
      .map((name) => block.line(name))
      .find((found) => found !== undefined);
    if (line !== undefined)
      remarks.problem(
        line,
        'needs bridge_cafile, bridge_capath, bridge_tls_use_os_certs or bridge_psk: without them the bridge has no TLS',
      );
    return;
  }
  draft.set(`${path}.tls.enabled`, true, identity ?? authorities[0] ?? block.line('bridge_tls_use_os_certs'));
  if (identity !== undefined && key !== undefined) {
    draft.set(`${path}.tls.psk.identity`, identity.value, identity);
    draft.set(`${path}.tls.psk.key`, key.value, key);
  }
  if (authorities.length > 0)
    draft.set(
      `${path}.tls.ca`,
      authorities.map(({ value }) => value),
      authorities[0],
    );
  set('trustSystemStore', 'bridge_tls_use_os_certs', ofSystem);
  set('certificate', 'bridge_certfile', certificate?.value);
  set('key', 'bridge_keyfile', keyFile?.value);
  const insecure = block.flag('bridge_insecure');
  if (insecure !== undefined) set('verifyHostname', 'bridge_insecure', !insecure);
  const alpn = block.text('bridge_alpn');
  if (alpn !== undefined) set('alpn', 'bridge_alpn', [alpn]);
  const version = block.choice('bridge_tls_version', ['tlsv1.3', 'tlsv1.2', 'tlsv1.1']);
  if (version !== undefined) set('versionMin', 'bridge_tls_version', version === 'tlsv1.3' ? 'TLSv1.3' : 'TLSv1.2');
  if (version === 'tlsv1.1')
    remarks.warn(block.line('bridge_tls_version')!, 'is raised to tlsv1.2: older versions are not spoken');
  const suites = block.line('bridge_ciphers_tls1.3');
  const ciphers = block.line('bridge_ciphers');
  if (suites === undefined && ciphers === undefined) return;
  // One list here: a version of TLS without ciphers of its own in it would not be spoken.
  const list =
    identity === undefined
      ? [suites?.value ?? usualSuites, ciphers?.value ?? 'DEFAULT']
      : [...(suites === undefined ? [] : [suites.value]), ciphers?.value ?? 'PSK'];
  draft.set(`${path}.tls.ciphers`, list.join(':'), suites ?? ciphers);
}

const usualSuites = 'TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256';
