/**
 * What a program hands to the calls of the library, checked before anything is done with it: a program in JavaScript has no compiler that
 * would, and what stands in a message is written into bytes that others share.
 */
import { Server } from 'node:net';
import type { Duplex } from 'node:stream';
import { isUint8Array } from 'node:util/types';
import {
  Fault,
  type LogDestination,
  type LogFormat,
  LogLevel,
  logDestinations,
  logFormats,
  quoted,
} from '../base/index.js';
import { isValidTopicFilter, isValidTopicName, type Properties } from '../protocol/index.js';
import type { AttachOptions, BrokerOptions, PublishOptions } from './broker-api.js';
import { checkPolicy } from './checked-policy.js';

/** Bytes of a topic name, a filter or a text property that MQTT can carry. */
const TEXT_BYTES_MAX = 65_535;
/** Bytes that a PUBLISH may have behind its fixed header (v5 §2.1.4). */
const PACKET_BYTES_MAX = 268_435_455;
/** More than what else stands in a PUBLISH takes, but its user properties. */
const HEAD_BYTES_MAX = 5 * TEXT_BYTES_MAX;

const logCalls = ['error', 'warning', 'information', 'debug'] as const;

/** Errors  `Fault` OPTIONS_INVALID naming what is wrong; of `config` nothing is looked at. */
export function checkBrokerOptions(options: unknown): void {
  const { logger, policy } = group<BrokerOptions>('createBroker', options, ['config', 'logger', 'policy']);
  if (
    logger !== undefined &&
    (typeof logger?.level !== 'number' || logCalls.some((call) => typeof logger[call] !== 'function'))
  )
    throw invalid(
      'createBroker',
      'logger',
      logger,
      `allowed is an object with level and ${logCalls.join(', ')}, as createLogger makes one`,
    );
  if (policy === undefined) return;
  if (typeof policy !== 'object' || policy === null)
    throw invalid('createBroker', 'policy', policy, 'allowed is an object with decisions such as authenticate');
  checkPolicy(policy);
}

/** Errors  `Fault` TOPIC_NAME_INVALID, PAYLOAD_INVALID or OPTIONS_INVALID naming what is wrong. */
export function checkPublish(topicName: unknown, payload: unknown, options: unknown): void {
  if (!isText(topicName) || !isValidTopicName(topicName))
    throw new Fault('TOPIC_NAME_INVALID', `not a valid topic name: ${shown(topicName)}`);
  if (typeof payload !== 'string' && !isUint8Array(payload))
    throw new Fault('PAYLOAD_INVALID', `a payload is a string, a Buffer or a Uint8Array, not ${shown(payload)}`);
  const bytes = typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length;
  if (bytes > PACKET_BYTES_MAX - HEAD_BYTES_MAX)
    throw new Fault('PAYLOAD_INVALID', `a payload of ${bytes} bytes is larger than MQTT can carry`);
  const { qos, retain, properties } = group<PublishOptions>('publish', options, ['qos', 'retain', 'properties']);
  checkQoS('publish', qos);
  if (retain !== undefined && typeof retain !== 'boolean')
    throw invalid('publish', 'retain', retain, 'allowed is true or false');
  if (properties !== undefined) checkProperties(properties);
}

/** Errors  `Fault` TOPIC_FILTER_INVALID, HANDLER_INVALID or OPTIONS_INVALID naming what is wrong. */
export function checkSubscribe(topicFilter: unknown, handler: unknown, options: unknown): void {
  if (!isText(topicFilter) || !isValidTopicFilter(topicFilter))
    throw new Fault('TOPIC_FILTER_INVALID', `not a valid topic filter: ${shown(topicFilter)}`);
  if (topicFilter.startsWith('$share/'))
    throw new Fault('TOPIC_FILTER_INVALID', `only clients share subscriptions: ${shown(topicFilter)}`);
  if (typeof handler !== 'function')
    throw new Fault('HANDLER_INVALID', `the handler of a subscription is a function, not ${shown(handler)}`);
  checkQoS('subscribe', group<{ qos?: unknown }>('subscribe', options, ['qos']).qos);
}

/** Errors  `Fault` EVENT_UNKNOWN or HANDLER_INVALID naming what is wrong. */
export function checkOn(name: unknown, listener: unknown, names: readonly string[]): void {
  if (!names.includes(name as string))
    throw new Fault('EVENT_UNKNOWN', `there is no event ${shown(name)}; there are ${names.join(', ')}`);
  if (typeof listener !== 'function')
    throw new Fault('HANDLER_INVALID', `the listener of ${String(name)} is a function, not ${shown(listener)}`);
}

/** Errors  `Fault` STREAM_INVALID or OPTIONS_INVALID naming what is wrong. */
export function checkHandle(stream: unknown, options: unknown): void {
  const { on, write, pause, destroy } = (stream ?? {}) as Partial<Duplex>;
  if ([on, write, pause, destroy].some((call) => typeof call !== 'function'))
    throw new Fault(
      'STREAM_INVALID',
      `handle: found ${shown(stream)}, allowed is a stream that can be read and written`,
    );
  checkAnonymous('handle', group<AttachOptions>('handle', options, ['allowAnonymous']));
}

/** Errors  `Fault` SERVER_INVALID or OPTIONS_INVALID naming what is wrong. */
export function checkAttach(server: unknown, options: unknown): void {
  if (!(server instanceof Server))
    throw new Fault(
      'SERVER_INVALID',
      `attachWebSocket: found ${shown(server)}, allowed is a server of node:http or node:https (what app.listen() of Express returns, app.server of Fastify)`,
    );
  const attach = group<AttachOptions>('attachWebSocket', options, ['path', 'origins', 'allowAnonymous']);
  const { path, origins } = attach;
  if (path !== undefined && !(typeof path === 'string' && /^(\*|\/[^?#\s]*)$/.test(path)))
    throw invalid(
      'attachWebSocket',
      'path',
      path,
      'allowed is a URL path that begins with /, without ?, # and spaces, or *',
    );
  if (origins !== undefined && !(Array.isArray(origins) && origins.every((origin) => typeof origin === 'string')))
    throw invalid('attachWebSocket', 'origins', origins, 'allowed is a list of text');
  checkAnonymous('attachWebSocket', attach);
}

/** Errors  `Fault` BAN_INVALID; kind and value are looked at where bans are kept. */
export function checkBanCall(ban: unknown): void {
  const names = ['kind', 'value', 'untilMs', 'reason'];
  const { untilMs, reason, ...rest } = (ban ?? {}) as Record<string, unknown>;
  const unknown = Object.keys(rest).find((name) => !names.includes(name));
  if (unknown !== undefined)
    throw new Fault('BAN_INVALID', `ban: unknown option ${quoted(unknown)}; there are ${names.join(', ')}`);
  if (untilMs !== undefined && !Number.isFinite(untilMs))
    throw new Fault(
      'BAN_INVALID',
      `ban: untilMs: found ${shown(untilMs)}, allowed is a time in milliseconds since the Unix epoch`,
    );
  if (reason !== undefined && typeof reason !== 'string')
    throw new Fault('BAN_INVALID', `ban: reason: found ${shown(reason)}, allowed is text`);
}

/** Errors  `Fault` OPTIONS_INVALID. Other settings of `log` in the configuration may stand beside. */
export function checkLoggerOptions(options: unknown): void {
  if (typeof options !== 'object' || options === null)
    throw new Fault(
      'OPTIONS_INVALID',
      `createLogger: found ${shown(options)}, allowed is an object with level and format`,
    );
  const { level, format, destinations } = options as Record<string, unknown>;
  const levels = Object.keys(LogLevel);
  if (!levels.includes(level as string))
    throw invalid('createLogger', 'level', level, `allowed is ${levels.join(', ')}`);
  if (!logFormats.includes(format as LogFormat))
    throw invalid('createLogger', 'format', format, `allowed is ${logFormats.join(', ')}`);
  const known = (name: unknown) => logDestinations.includes(name as LogDestination);
  if (destinations !== undefined && !(Array.isArray(destinations) && destinations.every(known)))
    throw invalid('createLogger', 'destinations', destinations, `allowed is a list of ${logDestinations.join(', ')}`);
}

function checkAnonymous(call: string, { allowAnonymous }: Partial<AttachOptions>): void {
  if (allowAnonymous !== undefined && typeof allowAnonymous !== 'boolean')
    throw invalid(call, 'allowAnonymous', allowAnonymous, 'allowed is true or false');
}

function checkQoS(call: string, qos: unknown): void {
  if (qos !== undefined && qos !== 0 && qos !== 1 && qos !== 2) throw invalid(call, 'qos', qos, 'allowed is 0, 1 or 2');
}

type Check = readonly [allowed: string, fits: (value: unknown) => boolean];

const text: Check = [
  'allowed is text of at most 65535 bytes without U+0000 and lone surrogates',
  (value) => isText(value) && !value.includes('\0'),
];

/** What a message carries; the other properties belong to a connection. */
const carried: { readonly [Name in keyof Properties]?: Check } = {
  payloadFormatIndicator: ['allowed is 0 or 1', (value) => value === 0 || value === 1],
  messageExpiryInterval: [
    'allowed is a whole number from 0 to 4294967295 (seconds)',
    (value) => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0xffffffff,
  ],
  contentType: text,
  responseTopic: ['allowed is a topic name', (value) => isText(value) && isValidTopicName(value)],
  correlationData: [
    'allowed is a Buffer or Uint8Array of at most 65535 bytes',
    (value) => isUint8Array(value) && value.length <= TEXT_BYTES_MAX,
  ],
  userProperties: [
    'allowed is a list of [name, value], both text',
    (value) =>
      Array.isArray(value) &&
      value.every((pair) => Array.isArray(pair) && pair.length === 2 && text[1](pair[0]) && text[1](pair[1])),
  ],
};

function checkProperties(given: unknown): void {
  const names = Object.keys(carried);
  const properties = group<Record<string, unknown>>('publish: properties', given, names);
  for (const [name, value] of Object.entries(properties)) {
    const [allowed, fits] = carried[name as keyof Properties]!;
    if (value !== undefined && !fits(value)) throw invalid('publish: properties', name, value, allowed);
  }
}

/** An object with no other names than these. */
function group<Shape>(call: string, given: unknown, names: readonly string[]): Partial<Shape> {
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw new Fault('OPTIONS_INVALID', `${call}: found ${shown(given)}, allowed is an object with ${names.join(', ')}`);
  const unknown = Object.keys(given).find((name) => !names.includes(name));
  if (unknown !== undefined)
    throw new Fault('OPTIONS_INVALID', `${call}: unknown option ${quoted(unknown)}; there are ${names.join(', ')}`);
  return given;
}

function invalid(call: string, name: string, found: unknown, allowed: string): Fault {
  return new Fault('OPTIONS_INVALID', `${call}: ${name}: found ${shown(found)}, ${allowed}`);
}

/** A lone surrogate has no UTF-8 form [MQTT-1.5.4-1]. */
function isText(value: unknown): value is string {
  return typeof value === 'string' && !/[\ud800-\udfff]/u.test(value) && Buffer.byteLength(value) <= TEXT_BYTES_MAX;
}

function shown(value: unknown): string {
  if (typeof value === 'string') return quoted(value);
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  return typeof value === 'function' ? 'a function' : quoted(String(value)).slice(1, -1);
}
