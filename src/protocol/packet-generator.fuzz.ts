/**
 * Valid packets of every type, version and direction, for fuzzers to start from: field values drawn from what is usual and
 * from what is on the edge, every property where it may stand.
 */
import type { Random } from '../base/random.fuzz.js';
import {
  type AcknowledgePacket,
  encodePacket,
  type Packet,
  PacketType,
  type Properties,
  type PropertyPlace,
  type ProtocolVersion,
  propertyAllowed,
  propertyTable,
  type QoS,
  type Role,
  reasonCodeAllowed,
  willProperties,
} from './index.js';

const topics = ['a', 'a/b', 'a/b/c', '/', 'a//b', '$SYS/x', '$x/y', 'é/日本/🚀', 'sensor/1/temperature', 'b/'];
const filters = [...topics, '#', '+', 'a/#', '+/b', '/+', '$x/#', '$share/g/a/#', '$share/g/+', 'a/+/c', '+/+/#'];
const clientIds = ['one', 'two', 'three', 'four', 'fünf', 'a-client-identifier-of-some-length'];
const texts = ['', 'x', 'text/plain', 'é🚀', 'a longer piece of text that is still ordinary', 'FUZZ'];
const integers = [0, 1, 2, 5, 10, 127, 128, 255, 256, 16_383, 16_384, 65_535];
const lengths = [0, 1, 2, 17, 110, 119, 120, 127, 128, 300];
const acknowledgeTypes = [PacketType.Puback, PacketType.Pubrec, PacketType.Pubrel, PacketType.Pubcomp] as const;

const serverTypes = [
  PacketType.Connect,
  PacketType.Publish,
  PacketType.Publish,
  PacketType.Publish,
  PacketType.Publish,
  PacketType.Puback,
  PacketType.Subscribe,
  PacketType.Subscribe,
  PacketType.Unsubscribe,
  PacketType.Pingreq,
  PacketType.Disconnect,
  PacketType.Auth,
] as const;
const clientTypes = [
  PacketType.Connack,
  PacketType.Publish,
  PacketType.Publish,
  PacketType.Puback,
  PacketType.Suback,
  PacketType.Unsuback,
  PacketType.Pingresp,
  PacketType.Disconnect,
  PacketType.Auth,
] as const;

export class PacketGenerator {
  constructor(
    private readonly random: Random,
    private readonly version: ProtocolVersion,
  ) {}

  /** One encoded packet that a peer in `role` may receive. */
  encoded(role: Role): Buffer {
    return encodePacket(this.packet(role), this.version);
  }

  connect(): Buffer {
    return encodePacket(this.make(PacketType.Connect, 'server'), this.version);
  }

  packet(role: Role): Packet {
    const types = role === 'server' ? serverTypes : clientTypes;
    let type = this.random.pick<(typeof types)[number]>(types);
    if (this.version < 5 && type === PacketType.Auth) type = PacketType.Publish;
    if (this.version < 5 && role === 'client' && type === PacketType.Disconnect) type = PacketType.Publish;
    return this.make(type, role);
  }

  private make(type: PacketType, role: Role): Packet {
    const { random, version } = this;
    const properties = this.properties(type, role);
    const packetId = 1 + random.below(random.oneIn(4) ? 65_535 : 8);
    switch (type) {
      case PacketType.Connect:
        return this.makeConnect(properties);
      case PacketType.Connack: {
        const reasonCode = version < 5 || random.oneIn(2) ? 0 : this.reasonCode(type, role);
        return { type, sessionPresent: reasonCode === 0 && random.oneIn(2), reasonCode, ...properties };
      }
      case PacketType.Publish: {
        const qos = random.below(3) as QoS;
        const payload = random.bytes(random.oneIn(500) ? random.below(70_000) : random.pick(lengths));
        const dup = qos > 0 && random.oneIn(4);
        const retain = random.oneIn(6);
        const topicName = random.pick(topics);
        return { type, dup, qos, retain, topicName, payload, ...(qos > 0 ? { packetId } : {}), ...properties };
      }
      case PacketType.Subscribe:
        return { type, packetId, subscriptions: this.list(() => this.subscription()), ...properties };
      case PacketType.Suback: {
        const reasonCodes = this.list(() => (version < 5 ? random.pick([0, 1, 2, 0x80]) : this.reasonCode(type, role)));
        return { type, packetId, reasonCodes, ...properties };
      }
      case PacketType.Unsubscribe:
        return { type, packetId, topicFilters: this.list(() => random.pick(filters)), ...properties };
      case PacketType.Unsuback:
        return { type, packetId, reasonCodes: this.list(() => this.reasonCode(type, role)), ...properties };
      case PacketType.Pingreq:
      case PacketType.Pingresp:
        return { type };
      case PacketType.Disconnect:
        return { type, reasonCode: this.reasonCode(type, role), ...properties };
      case PacketType.Auth: {
        const method = { authenticationMethod: 'FUZZ', ...properties.properties };
        return { type, reasonCode: this.reasonCode(type, role), properties: method };
      }
      default: {
        const acknowledge: AcknowledgePacket['type'] = random.pick(acknowledgeTypes);
        const reasonCode = random.oneIn(2) ? 0 : this.reasonCode(acknowledge, role);
        return { type: acknowledge, packetId, reasonCode, ...this.properties(acknowledge, role) };
      }
    }
  }

  private makeConnect(properties: { properties?: Properties }): Packet {
    const { random, version } = this;
    const username = random.oneIn(3) ? random.pick(texts) : undefined;
    const password = (username !== undefined || version === 5) && random.oneIn(2) ? random.bytes(8) : undefined;
    const cleanStart = random.oneIn(2);
    const withWill = random.oneIn(3);
    return {
      type: PacketType.Connect,
      protocolVersion: version,
      bridge: version < 5 && random.oneIn(8),
      cleanStart,
      keepAlive: random.pick(integers),
      clientId: version > 3 && cleanStart && random.oneIn(5) ? '' : random.pick(clientIds),
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
      ...(withWill ? { will: this.will() } : {}),
      ...properties,
    };
  }

  private will() {
    const { random } = this;
    const properties = this.properties(willProperties, 'server');
    const payload = random.bytes(random.pick(lengths));
    return {
      topicName: random.pick(topics),
      payload,
      qos: random.below(3) as QoS,
      retain: random.oneIn(2),
      ...properties,
    };
  }

  private subscription() {
    const { random } = this;
    const topicFilter = random.pick(filters);
    return {
      topicFilter,
      qos: random.below(3) as QoS,
      noLocal: !topicFilter.startsWith('$share/') && random.oneIn(4),
      retainAsPublished: random.oneIn(2),
      retainHandling: random.below(3) as 0 | 1 | 2,
    };
  }

  private list<T>(make: () => T): T[] {
    return Array.from({ length: 1 + this.random.below(3) }, make);
  }

  private reasonCode(type: PacketType, role: Role): number {
    for (;;) {
      const code = this.random.below(0xa3);
      if (reasonCodeAllowed(type, code, role)) return code;
    }
  }

  private properties(place: PropertyPlace, role: Role): { properties?: Properties } {
    const { random } = this;
    if (this.version < 5 || random.oneIn(2)) return {};
    const properties: Record<string, unknown> = {};
    const allowed = propertyTable.filter((definition) => propertyAllowed(definition, place));
    for (let count = random.below(5); count > 0 && allowed.length > 0; count--) {
      const { name, type } = random.pick(allowed);
      if (name === 'subscriptionIdentifiers' && place === PacketType.Publish && role === 'server') continue;
      if (name === 'sessionExpiryInterval' && place === PacketType.Disconnect && role === 'client') continue;
      if (name === 'authenticationData') properties.authenticationMethod ??= 'FUZZ';
      properties[name] = this.value(name, type);
    }
    return { properties: properties as Properties };
  }

  private value(name: keyof Properties, type: string): unknown {
    const { random } = this;
    switch (type) {
      case 'byte':
        return random.below(2);
      case 'twoByteInteger':
        return name === 'topicAlias' ? 1 + random.below(8) : Math.max(1, random.pick(integers));
      case 'fourByteInteger':
        return Math.max(1, random.oneIn(8) ? random.bits() : random.pick(integers));
      case 'variableByteInteger':
        return [Math.max(1, random.pick(integers))];
      case 'binary':
        return random.bytes(random.below(20));
      case 'stringPair':
        return this.list(() => [random.pick(texts), random.pick(texts)]);
      default:
        if (random.oneIn(200)) return random.pick(['x', '"']).repeat(65_535 - random.below(60));
        if (name === 'responseTopic') return random.pick(topics);
        return name === 'authenticationMethod' ? 'FUZZ' : random.pick(texts);
    }
  }
}
