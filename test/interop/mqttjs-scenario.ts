/**
 * What MQTT.js does with the broker, in Node or in a web page: imports nothing at run time, is handed the library, and returns
 * what it saw as plain data for the test to compare.
 */
import type { IClientOptions, IPublishPacket, MqttClient } from 'mqtt';

export type Library = typeof import('mqtt').default;

export interface ScenarioOptions {
  readonly url: string;
  readonly version: 3 | 4 | 5;
  /** Begins every topic and client identifier, so that scenarios can share a broker; short, since 3.1 allows 23 bytes. */
  readonly prefix: string;
}

/** `topic qos retain payload` of a message, as it arrived. */
type Seen = string;

export interface ScenarioReport {
  readonly qos: Readonly<Record<'0' | '1' | '2', Seen[]>>;
  readonly lowered: Seen[];
  readonly bytesEqual: boolean;
  readonly retained: { readonly live: Seen[]; readonly later: Seen[]; readonly cleared: Seen[] };
  readonly will: Seen[];
  readonly resumed: { readonly sessionPresent: boolean[]; readonly seen: Seen[] };
  readonly shared: { readonly all: string[]; readonly members: number[] };
  /** 5.0 only */
  readonly properties: unknown;
}

const PATIENCE_MS = 30_000;

/** A client and everything it has received. */
class Party {
  readonly seen: Seen[] = [];
  readonly packets: IPublishPacket[] = [];
  private wake = () => {};

  constructor(
    readonly client: MqttClient,
    readonly sessionPresent: boolean,
  ) {}

  /** `topic` is the resolved one: the packet itself may have but an alias. */
  take(topic: string, packet: IPublishPacket): void {
    this.packets.push(packet);
    this.seen.push(`${topic} ${packet.qos} ${packet.retain ? 1 : 0} ${packet.payload}`);
    this.wake();
  }

  /** Resolves when `count` messages have come. */
  async has(count: number): Promise<Seen[]> {
    const deadline = Date.now() + PATIENCE_MS;
    while (this.seen.length < count) {
      if (Date.now() > deadline) throw new Error(`waited for ${count} messages, saw ${JSON.stringify(this.seen)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1000);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.seen;
  }
}

export async function runScenario(library: Library, options: ScenarioOptions): Promise<ScenarioReport> {
  const { url, version, prefix } = options;
  const parties: Party[] = [];
  const protocol: IClientOptions =
    version === 3 ? { protocolId: 'MQIsdp', protocolVersion: 3 } : { protocolVersion: version };

  const join = (name: string, more: IClientOptions = {}): Promise<Party> =>
    new Promise((resolve, reject) => {
      const client = library.connect(url, {
        ...protocol,
        clientId: `${prefix}-${name}`,
        reconnectPeriod: 0,
        connectTimeout: PATIENCE_MS,
        ...more,
      });
      // Messages of a resumed session may come with the CONNACK.
      const early: [string, IPublishPacket][] = [];
      let party: Party | undefined;
      client.on('message', (topic, _payload, packet) =>
        party ? party.take(topic, packet) : early.push([topic, packet]),
      );
      client.once('connect', (connack) => {
        party = new Party(client, connack.sessionPresent);
        for (const message of early) party.take(...message);
        parties.push(party);
        resolve(party);
      });
      client.on('error', reject);
    });
  /** Ends the connection without DISCONNECT. */
  const drop = (party: Party) => party.client.endAsync(true);
  const leave = (party: Party) => party.client.endAsync();
  const kept: IClientOptions =
    version === 5 ? { clean: false, properties: { sessionExpiryInterval: 600 } } : { clean: false };

  const publisher = await join('pub');
  const publish = (topic: string, payload: string | Uint8Array, qos: 0 | 1 | 2, retain = false) =>
    publisher.client.publishAsync(topic, payload as Buffer, { qos, retain });

  // QoS 0, 1, 2: all of them, in order, once; and lowered to what the subscription asks for.
  const qos: Record<'0' | '1' | '2', Seen[]> = { 0: [], 1: [], 2: [] };
  for (const level of [0, 1, 2] as const) {
    const subscriber = await join(`sub${level}`);
    await subscriber.client.subscribeAsync(`${prefix}/qos/${level}/+`, { qos: 2 });
    for (let number = 0; number < 20; number++) await publish(`${prefix}/qos/${level}/n`, `${number}`, level);
    qos[level] = await subscriber.has(20);
    await leave(subscriber);
  }
  const low = await join('low');
  await low.client.subscribeAsync(`${prefix}/low/#`, { qos: 0 });
  await publish(`${prefix}/low/a`, 'from 2', 2);
  await publish(`${prefix}/low`, 'the level above', 1);
  const lowered = [...(await low.has(2))];

  // A payload of many kilobytes with every byte value.
  const bytes = new Uint8Array(200_000).map((_, index) => (index * 7 + (index >> 8)) & 0xff);
  await publish(`${prefix}/low/bytes`, bytes, 1);
  await low.has(3);
  const payload = low.packets[2]!.payload as Uint8Array;
  const bytesEqual = payload.length === bytes.length && bytes.every((byte, index) => payload[index] === byte);
  await leave(low);

  // Retained: RETAIN 0 to who is there, 1 to who comes later, nothing once it is cleared.
  const live = await join('live');
  await live.client.subscribeAsync(`${prefix}/kept/#`, { qos: 1 });
  await publish(`${prefix}/kept/a`, 'old', 1, true);
  await publish(`${prefix}/kept/a`, 'new', 1, true);
  await live.has(2);
  const later = await join('later');
  await later.client.subscribeAsync(`${prefix}/kept/+`, { qos: 1 });
  await later.has(1);
  await publish(`${prefix}/kept/a`, '', 1, true);
  const cleared = await join('clear');
  await cleared.client.subscribeAsync(`${prefix}/kept/#`, { qos: 1 });
  await publish(`${prefix}/kept/b`, 'marker', 1);
  const retained = {
    live: [...(await live.has(4))],
    later: [...(await later.has(3))],
    cleared: [...(await cleared.has(1))],
  };
  for (const party of [live, later, cleared]) await leave(party);

  // The will of a client that breaks off is published; the one of a client that says goodbye is not.
  const heir = await join('heir');
  await heir.client.subscribeAsync(`${prefix}/will/#`, { qos: 2 });
  const polite = await join('polite', {
    will: { topic: `${prefix}/will/p`, payload: bytesOf('no'), qos: 1, retain: false },
  });
  const lost = await join('lost', {
    will: { topic: `${prefix}/will/l`, payload: bytesOf('gone'), qos: 1, retain: false },
  });
  await leave(polite);
  await drop(lost);
  const will = [...(await heir.has(1))];
  await publish(`${prefix}/will/end`, 'end', 1);
  will.splice(0, will.length, ...(await heir.has(2)));
  await leave(heir);

  // A session that outlives its connection keeps its subscription and what comes meanwhile.
  const sessionPresent: boolean[] = [];
  const first = await join('stay', kept);
  sessionPresent.push(first.sessionPresent);
  await first.client.subscribeAsync(`${prefix}/stay/#`, { qos: 2 });
  await leave(first);
  await publish(`${prefix}/stay/0`, 'not kept', 0);
  await publish(`${prefix}/stay/1`, 'one', 1);
  await publish(`${prefix}/stay/1`, 'two', 1);
  // Last: MQTT.js hands a QoS 2 message on when it is released.
  await publish(`${prefix}/stay/2`, 'three', 2);
  const second = await join('stay', kept);
  sessionPresent.push(second.sessionPresent);
  const seen = [...(await second.has(3))];
  await leave(second);
  const third = await join('stay', { clean: true });
  sessionPresent.push(third.sessionPresent);
  await leave(third);

  // A shared subscription: each message to one member.
  const members = [await join('m1'), await join('m2')];
  for (const member of members) await member.client.subscribeAsync(`$share/${prefix}/${prefix}/job/#`, { qos: 1 });
  for (let number = 0; number < 20; number++) await publish(`${prefix}/job/${number}`, `${number}`, 1);
  const deadline = Date.now() + PATIENCE_MS;
  const done = () => members.flatMap((member) => member.packets.map(({ payload }) => String(payload)));
  while (done().length < 20 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
  const shared = { all: done().sort((a, b) => Number(a) - Number(b)), members: members.map(({ seen }) => seen.length) };
  for (const member of members) await leave(member);

  const properties = version === 5 ? await seeProperties() : undefined;
  await leave(publisher);
  return { qos, lowered, bytesEqual, retained, will, resumed: { sessionPresent, seen }, shared, properties };

  /** What only 5.0 has: properties of a message, subscription identifiers, no-local, aliases both ways, reason codes. */
  async function seeProperties(): Promise<unknown> {
    const party = await join('props', { properties: { topicAliasMaximum: 5 }, autoAssignTopicAlias: true });
    const { client } = party;
    await client.subscribeAsync(`${prefix}/p/#`, { qos: 1, properties: { subscriptionIdentifier: 7 } });
    await client.subscribeAsync(`${prefix}/own/#`, { qos: 1, nl: true });
    await client.publishAsync(`${prefix}/own/a`, 'not to itself', { qos: 1 });
    for (const text of ['first', 'by alias'])
      await client.publishAsync(`${prefix}/p/a`, text, {
        qos: 1,
        properties: {
          contentType: 'text/plain',
          responseTopic: `${prefix}/answer`,
          correlationData: bytesOf('c1'),
          payloadFormatIndicator: true,
          messageExpiryInterval: 100,
          userProperties: { unit: '°C' },
        },
      });
    await party.has(2);
    let nobody: number | undefined;
    client.on('packetreceive', (packet) => {
      if (packet.cmd === 'puback') nobody = packet.reasonCode;
    });
    await client.publishAsync(`${prefix}/nobody`, 'x', { qos: 1 });
    await leave(party);
    return {
      seen: party.seen,
      properties: party.packets.map(({ properties }) => ({
        ...properties,
        correlationData: String(properties?.correlationData),
        userProperties: { ...properties?.userProperties },
        topicAlias: undefined,
      })),
      aliased: party.packets.map(({ properties }) => properties?.topicAlias !== undefined),
      nobody,
    };
  }
}

/** MQTT.js brings a Buffer of its own to the page; a Uint8Array is one to it. */
function bytesOf(text: string): Buffer {
  return new TextEncoder().encode(text) as unknown as Buffer;
}
