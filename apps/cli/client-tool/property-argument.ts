import {
  PacketType,
  type Properties,
  type PropertyDefinition,
  type PropertyPlace,
  propertyAllowed,
  propertyTable,
  type UserProperty,
  willProperties,
} from '../../../src/protocol/index.js';
import { type PropertyCommand, type ToolOptions, UsageError } from './tool-options.js';

const places: Record<PropertyCommand, PropertyPlace> = {
  connect: PacketType.Connect,
  publish: PacketType.Publish,
  puback: PacketType.Puback,
  pubrec: PacketType.Pubrec,
  pubrel: PacketType.Pubrel,
  pubcomp: PacketType.Pubcomp,
  subscribe: PacketType.Subscribe,
  unsubscribe: PacketType.Unsubscribe,
  disconnect: PacketType.Disconnect,
  will: willProperties,
};

/** The standard's name with hyphens, as `-D` takes it. */
const byHyphenatedName = new Map(propertyTable.map((definition) => [hyphenated(definition), definition]));

function hyphenated({ title }: PropertyDefinition): string {
  return title.toLowerCase().replaceAll(' ', '-');
}

/** How many values follow `-D command identifier`: one, or two for a user property. */
export function propertyValueCount(identifier: string): number {
  return identifier === 'user-property' ? 2 : 1;
}

/** Adds `-D command identifier value` or `-D command user-property name value` to the options. */
export function addProperty(
  options: ToolOptions,
  command: string,
  identifier: string,
  values: readonly string[],
): void {
  const place = command.toLowerCase();
  if (place === 'auth') throw new UsageError('-D auth cannot be honoured: these tools never send AUTH.');
  if (!Object.hasOwn(places, place))
    throw new UsageError(`Invalid command ${JSON.stringify(command)} given in --property argument.`);
  const definition = byHyphenatedName.get(identifier);
  if (definition === undefined) {
    throw new UsageError(`Invalid property name ${JSON.stringify(identifier)} given in --property argument.`);
  }
  if (!propertyAllowed(definition, places[place as PropertyCommand])) {
    throw new UsageError(`${identifier} property not allowed for ${place} in --property argument.`);
  }
  // [MQTT-3.3.4-6] only a server puts it there
  if (place === 'publish' && definition.name === 'subscriptionIdentifiers')
    throw new UsageError(`${identifier} property not supported for ${place} in --property argument.`);
  const properties = (options.properties[place as PropertyCommand] ??= {});
  setProperty(properties, definition, identifier, values);
}

function setProperty(
  properties: Properties,
  definition: PropertyDefinition,
  identifier: string,
  values: readonly string[],
): void {
  const [first = '', second = ''] = values;
  const { name, type } = definition;
  if (type === 'stringPair') {
    const pair: UserProperty = [first, second];
    properties.userProperties = [...(properties.userProperties ?? []), pair];
    return;
  }
  if (properties[name] !== undefined)
    throw new UsageError(`${identifier} property given twice in --property arguments.`);
  const target = properties as Record<string, unknown>;
  if (type === 'string') target[name] = first;
  else if (type === 'binary') target[name] = Buffer.from(first);
  else if (type === 'variableByteInteger') target[name] = [wholeNumber(first, 1, 268_435_455, identifier)];
  else target[name] = wholeNumber(first, lowest.has(name) ? 1 : 0, highest[type] ?? 0, identifier);
}

const highest: Partial<Record<PropertyDefinition['type'], number>> = {
  byte: 1,
  twoByteInteger: 0xffff,
  fourByteInteger: 0xffff_ffff,
};
/** Values that may not be 0. */
const lowest = new Set<string>(['topicAlias', 'receiveMaximum', 'maximumPacketSize']);

function wholeNumber(text: string, min: number, max: number, identifier: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new UsageError(
    `Property value ${JSON.stringify(text)} of ${identifier} must be a whole number from ${min} to ${max}.`,
  );
}
