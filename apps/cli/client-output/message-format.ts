/**
 * The output formats of `-F`: parsed once into steps, so that a wrong format is refused before anything connects.
 *
 * Text is "binary" (one character per byte) until it is written.
 */

import { strftime } from '../../../src/base/index.js';
import type { Properties, UserProperty } from '../../../src/protocol/index.js';
import { type JsonMembers, type JsonValue, jsonString, parseJson, printJson } from './json-text.js';

export interface PrintedMessage {
  topicName: string;
  payload: Uint8Array;
  qos: number;
  retain: boolean;
  packetId: number;
  properties: Properties | undefined;
}

/** The moment a message is printed. */
export interface PrintTime {
  date: Date;
  /** nanoseconds of the current second */
  nanoseconds: number;
}

interface Field {
  alignLeft: boolean;
  pad: string;
  width: number;
  precision: number | undefined;
}

type Step = (message: PrintedMessage, time: PrintTime) => string;

export class FormatError extends Error {}

/** A payload that `%J` needs as JSON and is not; carries the topic for the message. */
export type ReportBadJson = (topicName: string) => void;

const binary = (text: string) => Buffer.from(text).toString('latin1');
const bytes = (data: Uint8Array) => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('latin1');

const escapes: Record<string, string> = {
  '\\': '\\',
  '0': '\0',
  a: '\x07',
  e: '\x1b',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

/** Throws FormatError with a sentence. */
export function parseFormat(format: string, pretty: boolean, badJson: ReportBadJson): Step {
  const steps: Step[] = [];
  const sequence = /%([-0]*)(\d*)(\.\d*)?(.?)|@(.?)|\\(.?)|[^%@\\]+/gsu;
  for (const [all, flags, width = '', precision, parameter, conversion, letter] of format.matchAll(sequence)) {
    if (parameter !== undefined)
      steps.push(parameterStep(parameter, fieldOf(flags!, width, precision), pretty, badJson));
    else if (conversion !== undefined) steps.push(timeStep(conversion));
    else if (letter !== undefined) steps.push(constant(escaped(letter)));
    else steps.push(constant(binary(all)));
  }
  return (message, time) => steps.map((step) => step(message, time)).join('');
}

function constant(text: string): Step {
  return () => text;
}

function escaped(letter: string): string {
  if (letter === '') throw new FormatError('Incomplete escape specifier.');
  const text = escapes[letter];
  if (text === undefined) throw new FormatError(`Invalid escape specifier '${letter}'.`);
  return text;
}

function timeStep(conversion: string): Step {
  if (conversion === '') throw new FormatError('Incomplete format specifier.');
  if (conversion === '@') return constant('@');
  if (conversion === 'N') return (_message, { nanoseconds }) => nineDigits(nanoseconds);
  return (_message, { date }) => binary(strftime(date, conversion));
}

/** Enough for any screen; beyond it a width is a mistake that would fill the disk. */
const widthMax = 10_000;

function fieldOf(flags: string, width: string, precision: string | undefined): Field {
  if (Number(width) > widthMax) throw new FormatError(`Field width ${width} is larger than ${widthMax}.`);
  const alignLeft = flags.includes('-');
  return {
    alignLeft,
    pad: flags.includes('0') && !alignLeft ? '0' : ' ',
    width: Number(width),
    precision: precision === undefined ? undefined : Number(precision.slice(1)),
  };
}

function parameterStep(parameter: string, field: Field, pretty: boolean, badJson: ReportBadJson): Step {
  const number =
    (value: (message: PrintedMessage) => number | undefined): Step =>
    (message) =>
      printNumber(value(message), field);
  const string =
    (value: (message: PrintedMessage, time: PrintTime) => string): Step =>
    (message, time) =>
      printString(value(message, time), field);
  switch (parameter) {
    case '':
      throw new FormatError('Incomplete format specifier.');
    case '%':
      return constant('%');
    case 'A':
      return number(({ properties }) => properties?.topicAlias);
    case 'C':
      return string(({ properties }) => binary(properties?.contentType ?? ''));
    case 'D':
      return ({ properties }) => bytes(properties?.correlationData ?? Buffer.alloc(0));
    case 'E':
      return number(({ properties }) => properties?.messageExpiryInterval);
    case 'F':
      return number(({ properties }) => properties?.payloadFormatIndicator);
    case 'I':
      return string((_message, { date }) => isoTime(date));
    case 'j':
      return (message, time) => printJson(jsonOf(message, time, jsonPayload(message)), pretty);
    case 'J':
      return (message, time) => printWithJsonPayload(message, time, pretty, badJson);
    case 'l':
      return number(({ payload }) => payload.length);
    case 'm':
      return number(({ packetId }) => packetId);
    case 'P':
      return ({ properties }) => binary((properties?.userProperties ?? []).map((pair) => pair.join(':')).join(' '));
    case 'p':
      return ({ payload }) => printPayload(payload, field);
    case 'q':
      return ({ qos }) => String(qos);
    case 'R':
      // absent it takes no room, unlike the content type
      return ({ properties }) =>
        properties?.responseTopic === undefined ? '' : printString(binary(properties.responseTopic), field);
    case 'r':
      return ({ retain }) => (retain ? '1' : '0');
    case 'S':
      return number(({ properties }) => properties?.subscriptionIdentifiers?.[0]);
    case 't':
      return string(({ topicName }) => binary(topicName));
    case 'U':
      return (_message, { date, nanoseconds }) => `${Math.floor(date.getTime() / 1000)}.${nineDigits(nanoseconds)}`;
    case 'x':
      return ({ payload }) => printHex(payload, field);
    case 'X':
      return ({ payload }) => printHex(payload, field).toUpperCase();
    default:
      throw new FormatError(`Invalid format specifier '${parameter}'.`);
  }
}

function align(text: string, { alignLeft, pad, width }: Field): string {
  return alignLeft ? text.padEnd(width, ' ') : text.padStart(width, pad);
}

function printNumber(value: number | undefined, field: Field): string {
  return align(value === undefined ? '' : String(value), field);
}

/** Text is padded with blanks whatever the flags say. */
function printString(text: string, field: Field): string {
  return align(field.precision === undefined ? text : text.slice(0, field.precision), { ...field, pad: ' ' });
}

/** A width is here a maximum too. */
function printPayload(payload: Uint8Array, field: Field): string {
  return align(bytes(field.width > 0 ? payload.subarray(0, field.width) : payload), field);
}

/** As above, and the width counts digits: half as many bytes of what the width leaves. */
function printHex(payload: Uint8Array, field: Field): string {
  const { width } = field;
  const shown = width > 0 ? payload.subarray(0, Math.floor(Math.min(payload.length, width) / 2)) : payload;
  return align(Buffer.from(shown).toString('hex'), field);
}

function nineDigits(nanoseconds: number): string {
  return String(nanoseconds).padStart(9, '0');
}

function isoTime(date: Date): string {
  return `${strftime(date, 'F')}T${strftime(date, 'T')}${strftime(date, 'z')}`;
}

function jsonPayload({ payload }: PrintedMessage): JsonValue {
  if (payload.length === 0) return 'null';
  const text = bytes(payload);
  const end = text.indexOf('\0');
  return jsonString(end === -1 ? text : text.slice(0, end));
}

function printWithJsonPayload(
  message: PrintedMessage,
  time: PrintTime,
  pretty: boolean,
  badJson: ReportBadJson,
): string {
  const payload = message.payload.length === 0 ? 'null' : parseJson(bytes(message.payload));
  if (payload === undefined) {
    badJson(message.topicName);
    return '';
  }
  return printJson(jsonOf(message, time, payload), pretty);
}

function jsonOf(message: PrintedMessage, { date, nanoseconds }: PrintTime, payload: JsonValue): JsonMembers {
  const microseconds = nineDigits(nanoseconds).slice(0, 6);
  const timestamp = `${strftime(date, 'F')}T${strftime(date, 'T')}.${microseconds}Z${strftime(date, 'z')}`;
  const members: [string, JsonValue][] = [
    ['tst', jsonString(timestamp)],
    ['topic', jsonString(binary(message.topicName))],
    ['qos', String(message.qos)],
    ['retain', message.retain ? '1' : '0'],
    ['payloadlen', String(message.payload.length)],
  ];
  if (message.qos > 0) members.push(['mid', String(message.packetId)]);
  if (message.properties !== undefined) members.push(['properties', jsonProperties(message.properties)]);
  members.push(['payload', payload]);
  return { members };
}

/** In the order in which the message had them. */
function jsonProperties(properties: Properties): JsonMembers {
  const members: [string, JsonValue][] = [];
  for (const name in properties) {
    switch (name as keyof Properties) {
      case 'payloadFormatIndicator':
        members.push(['payload-format-indicator', String(properties.payloadFormatIndicator)]);
        break;
      case 'messageExpiryInterval':
        members.push(['message-expiry-interval', String(properties.messageExpiryInterval)]);
        break;
      case 'contentType':
        members.push(['content-type', jsonString(binary(properties.contentType ?? ''))]);
        break;
      case 'responseTopic':
        members.push(['response-topic', jsonString(binary(properties.responseTopic ?? ''))]);
        break;
      case 'correlationData':
        members.push(['correlation-data', jsonString(bytes(properties.correlationData ?? Buffer.alloc(0)))]);
        break;
      case 'subscriptionIdentifiers':
        for (const identifier of properties.subscriptionIdentifiers ?? []) {
          members.push(['subscription-identifier', String(identifier)]);
        }
        break;
      case 'topicAlias':
        members.push(['topic-alias', String(properties.topicAlias)]);
        break;
      case 'userProperties':
        members.push(['user-properties', jsonPairs(properties.userProperties ?? [])]);
        break;
      default:
        break;
    }
  }
  return { members };
}

function jsonPairs(pairs: readonly UserProperty[]): JsonMembers {
  return { members: pairs.map(([name, value]) => [binary(name), jsonString(binary(value))]) };
}
