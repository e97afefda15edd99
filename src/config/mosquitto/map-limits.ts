/** Limits, protocol, storage, log and process: what holds for the whole broker. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { quoted } from '../../base/index.js';
import type { Draft } from './draft.js';
import type { Line, Remarks } from './remarks.js';
import type { Block } from './sections.js';

const most = Number.MAX_SAFE_INTEGER;
const PACKET_BYTES_MOST = 268_435_455;
const QUEUE_MESSAGES_MOST = 100_000_000;
const CONNECTIONS_MOST = 10_000_000;

/** What Mosquitto 2.1 does where its file is silent, in our words. */
export const defaultsOfMosquitto: readonly (readonly [string, unknown])[] = [
  ['limits.packetBytesMax', 2_000_000],
  ['limits.queueMessagesMax', 1000],
  ['limits.queueBytesMax', most],
  ['limits.queueOverflow', 'dropNewest'],
  ['limits.inflightMessagesMax', 20],
  ['limits.receiveMaximum', 20],
  ['limits.topicAliasMaximum', 10],
  ['limits.topicAliasMaximumToClients', 10],
  ['limits.topicBytesMax', 65_535],
  ['limits.topicLevelsMax', 201],
  ['limits.clientIdBytesMax', 65_535],
  ['limits.subscriptionsPerClientMax', 10_000_000],
  ['limits.connectionsMax', CONNECTIONS_MOST],
  ['limits.sessionExpirySecondsMax', 4_294_967_295],
  ['limits.retainedMessagesMax', 1_000_000_000],
  ['limits.retainedBytesMax', most],
  ['storage.mode', 'memory'],
  ['log.format', 'mosquitto'],
  ['log.destinations', ['stderr']],
  ['process.user', 'mosquitto'],
];

export function mapGlobal(global: Block, draft: Draft, remarks: Remarks): void {
  for (const [path, value] of defaultsOfMosquitto) draft.set(path, value, undefined);
  const set = (path: string, name: string, value: unknown) => draft.set(path, value, global.line(name));
  const integer = (name: string, path: string, minimum: number, maximum: number, ofZero?: number) => {
    const value = global.integer(name, minimum, maximum);
    set(path, name, value === 0 && ofZero !== undefined ? ofZero : value);
    return value;
  };
  integer('max_packet_size', 'limits.packetBytesMax', 20, PACKET_BYTES_MOST);
  integer('message_size_limit', 'limits.payloadBytesMax', 0, PACKET_BYTES_MOST);
  integer('max_inflight_bytes', 'limits.inflightBytesMax', 0, most);
  integer('max_inflight_messages', 'limits.inflightMessagesMax', 0, 65_535, 65_535);
  integer('max_inflight_messages', 'limits.receiveMaximum', 0, 65_535, 65_535);
  integer('max_queued_messages', 'limits.queueMessagesMax', 0, QUEUE_MESSAGES_MOST, QUEUE_MESSAGES_MOST);
  integer('max_queued_bytes', 'limits.queueBytesMax', 0, most, most);
  const bytesLine = global.line('max_queued_bytes');
  const bytes = Number(bytesLine?.value);
  if (bytesLine !== undefined && bytes > 0 && bytes < 1024) {
    remarks.warn(bytesLine, 'is raised to 1024, the least that a queue may have here');
    draft.set('limits.queueBytesMax', 1024, bytesLine);
  }
  set('limits.queueQos0', 'queue_qos0_messages', global.flag('queue_qos0_messages'));
  const keepAlive = integer('max_keepalive', 'limits.keepAliveSecondsMax', 0, 65_535, 65_535);
  if (keepAlive !== undefined && keepAlive > 0) set('protocol.refuseLongKeepAlive', 'max_keepalive', true);
  unlimited('global_max_connections', 'limits.connectionsMax', CONNECTIONS_MOST);
  unlimited('global_max_clients', 'limits.sessionsMax', 0);
  const memory = integer('memory_limit', 'protection.overload.memoryBytesMax', 0, most);
  if (memory !== undefined)
    draft.note(
      'protection.overload.memoryBytesMax',
      'memory_limit: above it new clients are refused and publishers wait; nobody is disconnected',
    );
  set('protocol.retain', 'retain_available', global.flag('retain_available'));
  set('protocol.upgradeQoS', 'upgrade_outgoing_qos', global.flag('upgrade_outgoing_qos'));
  const prefix = global.text('clientid_prefixes');
  if (prefix !== undefined) set('protocol.clientIdPrefixes', 'clientid_prefixes', [prefix]);
  set('limits.sessionExpirySecondsMax', 'persistent_client_expiration', expiration(global, remarks));
  integer('sys_interval', 'sys.intervalSeconds', 0, 65_535);
  warnOfFlag(
    global,
    remarks,
    'allow_duplicate_messages',
    true,
    'a client whose subscriptions overlap gets a message once',
  );
  set('process.pidFile', 'pid_file', global.text('pid_file'));
  set('process.user', 'user', global.text('user'));

  function unlimited(name: string, path: string, ofNone: number): void {
    const value = global.integer(name, -1, CONNECTIONS_MOST);
    if (value === 0) remarks.problem(global.line(name)!, 'found 0, allowed is -1 or a whole number from 1');
    else set(path, name, value === -1 ? ofNone : value);
  }
}

function warnOfFlag(global: Block, remarks: Remarks, name: string, unlike: boolean, sentence: string): void {
  if (global.flag(name) === unlike) remarks.warn(global.line(name)!, `is as if it were ${!unlike}: ${sentence}`);
}

const seconds: Readonly<Record<string, number>> = {
  s: 1,
  h: 3600,
  d: 86_400,
  w: 604_800,
  m: 2_592_000,
  y: 31_536_000,
};

function expiration(global: Block, remarks: Remarks): number | undefined {
  const line = global.line('persistent_client_expiration');
  if (line === undefined) return undefined;
  const [, number, unit] = /^(\d{1,9})([shdwmy])$/.exec(line.value) ?? [];
  const value = Number(number) * (seconds[unit ?? ''] ?? Number.NaN);
  if (value >= 1) return Math.min(value, 4_294_967_294);
  remarks.problem(line, `found ${quoted(line.value)}, allowed is a number with s, h, d, w, m (month) or y`);
  return undefined;
}

export function mapStorage(global: Block, draft: Draft, remarks: Remarks): void {
  const line = global.line('persistence');
  const on = global.flag('persistence') ?? false;
  const location = global.text('persistence_location') ?? '';
  const file = global.text('persistence_file') ?? 'mosquitto.db';
  if (!on) {
    for (const name of ['persistence_location', 'persistence_file'])
      if (global.line(name) !== undefined)
        remarks.warn(global.line(name)!, 'has no effect while persistence is not true');
    return;
  }
  if (file.includes('/'))
    remarks.problem(global.line('persistence_file')!, 'found a path, allowed is a name without folders');
  draft.set('storage.mode', 'buffered', line);
  const path = join(location, `${file}.dunlin`);
  draft.set('storage.path', path, global.line('persistence_location') ?? line);
  draft.note(
    'storage',
    `persistence: this folder is written as it happens; ${join(location, file)} of Mosquitto is not read`,
  );
  const old = join(location, file);
  if (existsSync(old) && !existsSync(path))
    remarks.warn(line!, `${old} is of Mosquitto and is not read: retained messages and sessions begin anew in ${path}`);
}

const facilities = /^[0-7]$/;

export function mapLog(global: Block, draft: Draft, remarks: Remarks): void {
  const set = (path: string, name: string, value: unknown) => draft.set(path, value, global.line(name));
  mapDestinations(global.all('log_dest'), draft, remarks);
  mapTypes(global.all('log_type'), draft, remarks);
  const facility = global.line('log_facility');
  if (facility !== undefined) {
    if (facilities.test(facility.value)) set('log.syslogFacility', 'log_facility', `local${facility.value}`);
    else remarks.problem(facility, `found ${quoted(facility.value)}, allowed is a whole number from 0 to 7`);
  }
  set('log.timestamp', 'log_timestamp', global.flag('log_timestamp'));
  set('log.timestampFormat', 'log_timestamp_format', global.text('log_timestamp_format'));
  set('log.connectionMessages', 'connection_messages', global.flag('connection_messages'));
}

function mapDestinations(lines: readonly Line[], draft: Draft, remarks: Remarks): void {
  if (lines.length === 0) return;
  const found = new Set<string>();
  let file: Line | undefined;
  for (const line of lines) {
    const [, word = '', rest = ''] = /^(\S+)\s*(.*)$/.exec(line.value)!;
    if (word === 'file') {
      if (rest === '') remarks.problem(line, 'file needs the path of the file');
      else if (file !== undefined) remarks.problem(line, `a log file is named on line ${file.line} already`);
      else {
        file = line;
        draft.set('log.file', rest, line);
      }
    } else if (word === 'stdout' || word === 'stderr' || word === 'syslog' || word === 'topic') found.add(word);
    else if (word === 'none') found.clear();
    else if (word === 'dlt' || word === 'android') {
      remarks.warn(line, `${word} is not available here; the log goes to standard error`);
      found.add('stderr');
    } else
      remarks.problem(
        line,
        `found ${quoted(word)}, allowed is one of stdout, stderr, syslog, topic, file, dlt, android, none`,
      );
  }
  draft.set('log.destinations', [...found], lines[0]);
}

const steps = ['none', 'error', 'warning', 'information', 'debug'];
const levels: Readonly<Record<string, string>> = {
  error: 'error',
  warning: 'warning',
  notice: 'information',
  information: 'information',
  debug: 'debug',
  websockets: 'none',
  subscribe: 'information',
  unsubscribe: 'information',
  none: 'none',
  all: 'debug',
};

function mapTypes(lines: readonly Line[], draft: Draft, remarks: Remarks): void {
  if (lines.length === 0) return;
  let level = 0;
  const words = new Set<string>();
  for (const line of lines) {
    const step = levels[line.value];
    if (step === undefined) {
      remarks.problem(line, `found ${quoted(line.value)}, allowed is one of ${Object.keys(levels).join(', ')}`);
      continue;
    }
    words.add(line.value);
    level = line.value === 'none' ? 0 : Math.max(level, steps.indexOf(step));
    if (line.value === 'none') words.clear();
  }
  draft.set('log.level', steps[level], lines[0]);
  const begun = words.has('subscribe') || words.has('all');
  const ended = words.has('unsubscribe') || words.has('all');
  if (begun || ended) draft.set('log.subscriptions', begun && ended ? 'all' : begun ? 'begun' : 'ended', lines[0]);
}
