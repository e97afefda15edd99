/**
 * Events as lines in the shape of Mosquitto's log, for programs that read them:
 *
 *   1795290964: New connection from 127.0.0.1:44530 on port 1883.
 *   1795290964: New client connected from 127.0.0.1:44530 as sensor-1 (p2, c1, k60, u'joe').
 *   1795290966: Client sensor-1 disconnected.
 *
 * What Mosquitto has no line for keeps its sentence, with the fields behind it. What clients sent is escaped.
 */
import { escapeControls, type LogFields, strftime } from '../base/index.js';

type Severity = 'error' | 'warning' | 'information' | 'debug';

/** Text of the line without its time; undefined for what Mosquitto would not say. */
export function mosquittoLine(severity: Severity, event: string, sentence: string, fields: LogFields): string {
  const known = lines[event]?.(fields, sentence);
  if (known !== undefined) return known;
  const begin = severity === 'error' ? 'Error: ' : severity === 'warning' ? 'Warning: ' : '';
  const details = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${typeof value === 'string' ? safe(JSON.stringify(value)) : value}`);
  return `${begin}${safe(sentence)}${details.length === 0 ? '' : ` (${details.join(', ')})`}`;
}

/** Seconds since 1970, or what the format of strftime makes of the time. */
export function mosquittoTime(format: string, date: Date): string {
  if (format === '') return String(Math.floor(date.getTime() / 1000));
  return format.replace(/%(.)/g, (_, conversion: string) => strftime(date, conversion));
}

const treacherous = /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;
const safe = (text: string) =>
  escapeControls(text).replace(
    treacherous,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
const word = (value: LogFields[string]) => safe(String(value ?? ''));
const client = ({ clientId }: LogFields) => (clientId === undefined ? '<unknown>' : word(clientId));

const versions: Readonly<Record<string, number>> = { '3': 1, '4': 2, '5': 5 };

const lines: Readonly<Record<string, (fields: LogFields, sentence: string) => string | undefined>> = {
  'broker.started': ({ version }) => `dunlin version ${word(version)} running`,
  'broker.stopped': ({ version }) => `dunlin version ${word(version)} terminating`,
  'listener.started': ({ protocol, address, port, path }) => {
    if (path !== undefined) return `Opening unix listen socket on path ${word(path)}.`;
    if (port === undefined) return undefined;
    const kind = String(protocol).startsWith('ws') ? 'websockets' : String(address).includes(':') ? 'ipv6' : 'ipv4';
    return `Opening ${kind} listen socket on port ${port}.`;
  },
  'connection.opened': ({ peer, localPort }) => `New connection from ${word(peer)} on port ${localPort}.`,
  'client.connected': (fields) => {
    const { peer, version, cleanStart, keepAlive, username } = fields;
    const user = username === undefined ? '' : `, u'${word(username)}'`;
    const terms = `p${versions[String(version)] ?? version}, c${cleanStart === true ? 1 : 0}, k${keepAlive}${user}`;
    return `New client connected from ${word(peer)} as ${client(fields)} (${terms}).`;
  },
  'client.disconnected': (fields, sentence) => {
    switch (fields.reasonCode) {
      case undefined:
        return `Client ${client(fields)} closed its connection.`;
      case 0:
      case 4:
        return `Client ${client(fields)} disconnected.`;
      case 0x8d:
        return `Client ${client(fields)} has exceeded timeout, disconnecting.`;
      case 0x8e:
        return `Client ${client(fields)} already connected, closing old connection.`;
      default:
        return `Client ${client(fields)} disconnected: ${safe(sentence).toLowerCase()}.`;
    }
  },
  'client.subscribed': (fields) => `${client(fields)} ${fields.qos} ${word(fields.topicFilter)}`,
  'client.unsubscribed': (fields) => `${client(fields)} ${word(fields.topicFilter)}`,
  'connection.refused': (fields) =>
    fields.reasonCode === undefined ? undefined : `Client ${client(fields)} disconnected, not authorised.`,
  'connection.protocol-failure': (fields, sentence) =>
    `Client ${client(fields)} disconnected due to protocol error: ${safe(sentence)}.`,
  'connection.tls-failed': ({ peer }, sentence) => `Client from ${word(peer)} disconnected: ${safe(sentence)}`,
};
