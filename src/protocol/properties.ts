/**
 * The properties of 5.0: one table of identifier, wire type, packets and repetition (v5 §2.2.2.2, table 2-4), and the
 * reading and writing that follow from it.
 *
 * Where a property may not appear, the packet is malformed (v5 §2.2.2.2); where it may not repeat, a second one is a protocol
 * error. Values with a narrower range than their wire type are checked here too.
 */
import { FieldReader } from './field-reader.js';
import { FieldWriter } from './field-writer.js';
import type { Properties, UserProperty } from './packet.js';
import { PacketType } from './packet.js';
import { malformed, ProtocolFailure, protocolError } from './protocol-failure.js';
import { ReasonCode } from './reason-code.js';
import { isValidTopicName } from './topic.js';
import { variableByteIntegerLength } from './variable-byte-integer.js';

/** Where properties stand: a packet type, or 0 for the Will Properties of CONNECT. */
export type PropertyPlace = PacketType | 0;
export const willProperties = 0;

export type PropertyType =
  | 'byte'
  | 'twoByteInteger'
  | 'fourByteInteger'
  | 'variableByteInteger'
  | 'string'
  | 'binary'
  | 'stringPair';

export interface PropertyDefinition {
  readonly id: number;
  readonly name: keyof Properties;
  /** as the standard writes it */
  readonly title: string;
  readonly type: PropertyType;
  readonly repeats: boolean;
  /** bit n set: allowed at place n */
  readonly places: number;
}

const { Connect, Connack, Publish, Puback, Pubrec, Pubrel, Pubcomp, Subscribe, Suback, Unsubscribe, Unsuback } =
  PacketType;
const { Disconnect, Auth } = PacketType;
const will = willProperties;
const answers: PropertyPlace[] = [Connack, Puback, Pubrec, Pubrel, Pubcomp, Suback, Unsuback, Disconnect, Auth];
const everywhere: PropertyPlace[] = [...answers, Connect, Publish, Subscribe, Unsubscribe, will];

/** All 27 properties, ordered by identifier. */
export const propertyTable: readonly PropertyDefinition[] = [
  define(0x01, 'payloadFormatIndicator', 'Payload Format Indicator', 'byte', [Publish, will]),
  define(0x02, 'messageExpiryInterval', 'Message Expiry Interval', 'fourByteInteger', [Publish, will]),
  define(0x03, 'contentType', 'Content Type', 'string', [Publish, will]),
  define(0x08, 'responseTopic', 'Response Topic', 'string', [Publish, will]),
  define(0x09, 'correlationData', 'Correlation Data', 'binary', [Publish, will]),
  define(0x0b, 'subscriptionIdentifiers', 'Subscription Identifier', 'variableByteInteger', [Publish, Subscribe], true),
  define(0x11, 'sessionExpiryInterval', 'Session Expiry Interval', 'fourByteInteger', [Connect, Connack, Disconnect]),
  define(0x12, 'assignedClientIdentifier', 'Assigned Client Identifier', 'string', [Connack]),
  define(0x13, 'serverKeepAlive', 'Server Keep Alive', 'twoByteInteger', [Connack]),
  define(0x15, 'authenticationMethod', 'Authentication Method', 'string', [Connect, Connack, Auth]),
  define(0x16, 'authenticationData', 'Authentication Data', 'binary', [Connect, Connack, Auth]),
  define(0x17, 'requestProblemInformation', 'Request Problem Information', 'byte', [Connect]),
  define(0x18, 'willDelayInterval', 'Will Delay Interval', 'fourByteInteger', [will]),
  define(0x19, 'requestResponseInformation', 'Request Response Information', 'byte', [Connect]),
  define(0x1a, 'responseInformation', 'Response Information', 'string', [Connack]),
  define(0x1c, 'serverReference', 'Server Reference', 'string', [Connack, Disconnect]),
  define(0x1f, 'reasonString', 'Reason String', 'string', answers),
  define(0x21, 'receiveMaximum', 'Receive Maximum', 'twoByteInteger', [Connect, Connack]),
  define(0x22, 'topicAliasMaximum', 'Topic Alias Maximum', 'twoByteInteger', [Connect, Connack]),
  define(0x23, 'topicAlias', 'Topic Alias', 'twoByteInteger', [Publish]),
  define(0x24, 'maximumQoS', 'Maximum QoS', 'byte', [Connack]),
  define(0x25, 'retainAvailable', 'Retain Available', 'byte', [Connack]),
  define(0x26, 'userProperties', 'User Property', 'stringPair', everywhere, true),
  define(0x27, 'maximumPacketSize', 'Maximum Packet Size', 'fourByteInteger', [Connect, Connack]),
  define(0x28, 'wildcardSubscriptionAvailable', 'Wildcard Subscription Available', 'byte', [Connack]),
  define(0x29, 'subscriptionIdentifierAvailable', 'Subscription Identifier Available', 'byte', [Connack]),
  define(0x2a, 'sharedSubscriptionAvailable', 'Shared Subscription Available', 'byte', [Connack]),
];

const byId: (PropertyDefinition | undefined)[] = [];
const byName = new Map<string, PropertyDefinition>();
for (const definition of propertyTable) {
  byId[definition.id] = definition;
  byName.set(definition.name, definition);
}

function define(
  id: number,
  name: keyof Properties,
  title: string,
  type: PropertyType,
  places: readonly PropertyPlace[],
  repeats = false,
): PropertyDefinition {
  return { id, name, title, type, repeats, places: places.reduce<number>((bits, place) => bits | (1 << place), 0) };
}

/** The row of a property by its field name; undefined for a name that is none. */
export function propertyDefinition(name: string): PropertyDefinition | undefined {
  return byName.get(name);
}

export function propertyAllowed(definition: PropertyDefinition, place: PropertyPlace): boolean {
  return (definition.places & (1 << place)) !== 0;
}

/** Reads a Property Length and what it covers. Returns undefined when there are no properties. */
export function readProperties(reader: FieldReader, place: PropertyPlace): Properties | undefined {
  const length = reader.variableByteInteger('Property Length');
  if (length === 0) return undefined;
  if (length > reader.remaining)
    throw malformed('v5 §2.2.2.1', `${reader.packetName} Property Length exceeds the packet`);
  const packetEnd = reader.end;
  reader.end = reader.position + length;
  const properties: Properties = {};
  while (reader.position < reader.end) readProperty(reader, place, properties);
  reader.end = packetEnd;
  if (properties.authenticationData !== undefined && properties.authenticationMethod === undefined) {
    throw protocolError(
      'v5 §3.1.2.11.10',
      `${reader.packetName} has Authentication Data without Authentication Method`,
    );
  }
  return properties;
}

function readProperty(reader: FieldReader, place: PropertyPlace, properties: Properties): void {
  const id = reader.variableByteInteger('Property Identifier');
  const definition = byId[id];
  if (definition === undefined) {
    throw malformed(
      'v5 §2.2.2.2',
      `${reader.packetName} has the unknown property 0x${id.toString(16).padStart(2, '0')}`,
    );
  }
  const { name, title } = definition;
  if (!propertyAllowed(definition, place)) {
    throw malformed('v5 §2.2.2.2', `${reader.packetName} may not have the property ${title}`);
  }
  if (name === 'userProperties') {
    const pair: UserProperty = [reader.string(title, 'MQTT-1.5.7-1'), reader.string(title, 'MQTT-1.5.7-1')];
    if (properties.userProperties === undefined) properties.userProperties = [pair];
    else properties.userProperties.push(pair);
    return;
  }
  if (name === 'subscriptionIdentifiers') {
    readSubscriptionIdentifier(reader, place, properties);
    return;
  }
  if (properties[name] !== undefined) throw protocolError('v5 §2.2.2.2', `${reader.packetName} has ${title} twice`);
  const value = readValue(reader, definition);
  checkValue(reader.packetName, definition, value);
  (properties as Record<string, unknown>)[name] = value;
}

function readSubscriptionIdentifier(reader: FieldReader, place: PropertyPlace, properties: Properties): void {
  const value = reader.variableByteInteger('Subscription Identifier');
  if (value === 0) throw protocolError('v5 §3.8.2.1.2', `${reader.packetName} Subscription Identifier is 0`);
  if (properties.subscriptionIdentifiers === undefined) {
    properties.subscriptionIdentifiers = [value];
    return;
  }
  if (place === Subscribe) throw protocolError('v5 §3.8.2.1.2', 'SUBSCRIBE has Subscription Identifier twice');
  properties.subscriptionIdentifiers.push(value);
}

function readValue(reader: FieldReader, { type, title }: PropertyDefinition): number | string | Buffer {
  switch (type) {
    case 'byte':
      return reader.byte(title);
    case 'twoByteInteger':
      return reader.twoByteInteger(title);
    case 'fourByteInteger':
      return reader.fourByteInteger(title);
    case 'variableByteInteger':
      return reader.variableByteInteger(title);
    case 'binary':
      return reader.binary(title);
    default:
      return reader.string(title);
  }
}

/** Every byte property is a flag of 0 or 1; some integers may not be 0. */
function checkValue(packetName: string, definition: PropertyDefinition, value: number | string | Buffer): void {
  const { name, title, type } = definition;
  if (type === 'byte') {
    if (value !== 0 && value !== 1)
      throw protocolError('v5 §2.2.2.2', `${packetName} ${title} is ${value}, not 0 or 1`);
  } else if (value === 0 && name === 'topicAlias') {
    throw new ProtocolFailure(ReasonCode.TopicAliasInvalid, 'MQTT-3.3.2-8', `${packetName} ${title} is 0`);
  } else if (value === 0 && (name === 'receiveMaximum' || name === 'maximumPacketSize')) {
    throw protocolError(name === 'receiveMaximum' ? 'v5 §3.1.2.11.3' : 'v5 §3.1.2.11.4', `${packetName} ${title} is 0`);
  } else if (name === 'responseTopic' && !isValidTopicName(value as string)) {
    throw protocolError('MQTT-3.3.2-14', `${packetName} ${title} is empty or has a wildcard`);
  }
}

/** As `readProperties`, for a caller that has offsets and no reader. `next` is the position after the properties. */
export function decodeProperties(
  bytes: Buffer,
  start: number,
  end: number,
  place: PropertyPlace,
): { properties: Properties | undefined; next: number } {
  const reader = new FieldReader();
  reader.reset(bytes, start, end, placeName(place));
  const properties = readProperties(reader, place);
  return { properties, next: reader.position };
}

/** Writes the Property Length and the properties, in the order in which the object has them. */
export function writeProperties(writer: FieldWriter, properties: Properties | undefined, place: PropertyPlace): void {
  if (properties === undefined) {
    writer.byte(0); // [MQTT-2.2.2-1]
    return;
  }
  writer.variableByteInteger(propertiesLength(properties), 'Property Length');
  for (const name in properties) {
    const value = properties[name as keyof Properties];
    if (value === undefined) continue;
    const definition = byName.get(name);
    if (definition === undefined || !propertyAllowed(definition, place)) {
      throw new RangeError(`${placeName(place)} may not have the property ${definition?.title ?? name}`);
    }
    writeProperty(writer, definition, value);
  }
}

function writeProperty(writer: FieldWriter, definition: PropertyDefinition, value: Properties[keyof Properties]): void {
  const { id, title, type } = definition;
  if (type === 'stringPair') {
    for (const [name, text] of value as UserProperty[]) {
      writer.byte(id);
      writer.string(name, title);
      writer.string(text, title);
    }
    return;
  }
  if (type === 'variableByteInteger') {
    for (const identifier of value as number[]) {
      writer.byte(id);
      writer.variableByteInteger(identifier, title);
    }
    return;
  }
  writer.byte(id);
  if (type === 'byte') writer.byte(value as number);
  else if (type === 'twoByteInteger') writer.twoByteInteger(value as number, title);
  else if (type === 'fourByteInteger') writer.fourByteInteger(value as number, title);
  else if (type === 'binary') writer.binary(value as Uint8Array, title);
  else writer.string(value as string, title);
}

/** Bytes that the properties take, without their Property Length. */
export function propertiesLength(properties: Properties | undefined): number {
  let length = 0;
  for (const name in properties) {
    const value = properties[name as keyof Properties];
    const definition = byName.get(name);
    if (value !== undefined && definition !== undefined) length += propertyLength(definition, value);
  }
  return length;
}

function propertyLength({ type }: PropertyDefinition, value: NonNullable<Properties[keyof Properties]>): number {
  switch (type) {
    case 'byte':
      return 2;
    case 'twoByteInteger':
      return 3;
    case 'fourByteInteger':
      return 5;
    case 'binary':
      return 3 + (value as Uint8Array).length;
    case 'string':
      return 3 + Buffer.byteLength(value as string);
    case 'variableByteInteger':
      return (value as number[]).reduce((sum, identifier) => sum + 1 + variableByteIntegerLength(identifier), 0);
    default:
      return (value as UserProperty[]).reduce(
        (sum, [name, text]) => sum + 5 + Buffer.byteLength(name) + Buffer.byteLength(text),
        0,
      );
  }
}

/** The wire form with its Property Length. */
export function encodeProperties(properties: Properties | undefined, place: PropertyPlace): Buffer {
  const writer = new FieldWriter();
  writeProperties(writer, properties, place);
  return writer.take();
}

/** The properties of a PUBLISH, with their Property Length, as a sender may keep them to encode a message once. */
export function encodePublishProperties(properties: Properties | undefined): Buffer {
  return encodeProperties(properties, Publish);
}

const placeNames = new Map<number, string>(
  Object.entries(PacketType).map(([name, type]) => [type, name.toUpperCase()]),
);

/** `PUBLISH`, or `Will` for the Will Properties. */
export function placeName(place: PropertyPlace): string {
  return placeNames.get(place) ?? 'Will';
}
