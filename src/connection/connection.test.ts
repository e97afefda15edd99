/** Goal: bytes in any pieces are the same packets; runs, back-pressure and keep alive behave; a bug of ours ends one connection. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MemoryBroker, type MemoryClient } from '../../test/simulation/memory-broker.js';
import { Fault, type Logger } from '../base/index.js';
import { Random } from '../base/random.fuzz.js';
import {
  encodePacket,
  type Packet,
  PacketType,
  type Properties,
  type ProtocolVersion,
  type PublishPacket,
  type QoS,
  ReasonCode,
} from '../protocol/index.js';

function connect(
  broker: MemoryBroker,
  clientId: string,
  more: { version?: ProtocolVersion; keepAlive?: number; properties?: Properties } = {},
): MemoryClient {
  const { version = 5, keepAlive = 0, properties } = more;
  const client = broker.dial(version);
  client.send({
    type: PacketType.Connect,
    protocolVersion: version,
    bridge: false,
    cleanStart: true,
    keepAlive,
    clientId,
    ...(properties === undefined ? {} : { properties }),
  });
  return client;
}

function subscribe(client: MemoryClient, topicFilter: string, qos: QoS = 0, properties?: Properties): void {
  const options = { noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
  client.send({
    type: PacketType.Subscribe,
    packetId: 1,
    subscriptions: [{ topicFilter, qos, ...options }],
    ...(properties === undefined ? {} : { properties }),
  });
  client.take();
}

const publish = (topicName: string, payload: string, qos: QoS = 0, packetId = 1): PublishPacket => ({
  type: PacketType.Publish,
  dup: false,
  qos,
  retain: false,
  topicName,
  payload: Buffer.from(payload),
  ...(qos > 0 ? { packetId } : {}),
});

const payloads = (packets: readonly Packet[]) =>
  packets.filter((packet) => packet.type === PacketType.Publish).map(({ payload }) => Buffer.from(payload).toString());

describe('a connection', () => {
  for (const version of [4, 5] as const)
    it(`takes its packets in any pieces (level ${version})`, () => {
      const random = new Random(version);
      for (let round = 0; round < 60; round++) {
        const broker = new MemoryBroker();
        const subscriber = connect(broker, 'subscriber', { version: random.oneIn(2) ? 4 : 5 });
        subscribe(subscriber, '#');
        const publisher = connect(broker, 'publisher', { version });
        publisher.take();
        const expected: string[] = [];
        const packets: Packet[] = [];
        for (let count = 0; count < 40; count++) {
          const payload = `${count}-${'x'.repeat(random.pick([0, 3, 110, 113, 114, 115, 116, 300]))}`;
          expected.push(payload);
          packets.push(publish(random.pick(['a', 'a', 'a', 'b/é']), payload, random.oneIn(4) ? 1 : 0, count + 1));
          if (random.oneIn(6)) packets.push({ type: PacketType.Pingreq });
        }
        const bytes = Buffer.concat(packets.map((packet) => encodePacket(packet, version)));
        for (let at = 0; at < bytes.length; ) {
          const end = Math.min(bytes.length, at + 1 + random.below(random.pick([2, 8, 200, 5000])));
          publisher.sendBytes(bytes.subarray(at, end));
          at = end;
        }
        assert.deepEqual(payloads(subscriber.take()), expected, `round ${round}`);
        const answers = publisher.take();
        assert.equal(
          answers.filter(({ type }) => type === PacketType.Puback).length,
          packets.filter((packet) => packet.type === PacketType.Publish && packet.qos === 1).length,
        );
        assert.equal(publisher.closed, false);
      }
    });

  it('counts every packet of a run, for both sides', () => {
    const broker = new MemoryBroker();
    const subscriber = connect(broker, 's');
    subscribe(subscriber, 'a');
    const publisher = connect(broker, 'p');
    const before = { ...broker.metrics };
    publisher.send(publish('a', '1'), publish('a', '22'), publish('a', '333'), publish('b', 'x'));
    const { metrics } = broker;
    assert.deepEqual(
      [
        metrics.packetsReceived - before.packetsReceived,
        metrics.publishReceived - before.publishReceived,
        metrics.publishBytesReceived - before.publishBytesReceived,
        metrics.publishSent - before.publishSent,
        metrics.publishBytesSent - before.publishBytesSent,
      ],
      [4, 4, 7, 3, 6],
    );
    assert.equal(metrics.bytesReceived - before.bytesReceived, 4 * 6 + 7);
  });

  it('words a run for each receiver: identifiers, aliases, maximum packet size, version', () => {
    const broker = new MemoryBroker();
    const plain = connect(broker, 'plain', { version: 4 });
    subscribe(plain, 'a');
    const identified = connect(broker, 'identified');
    subscribe(identified, 'a', 0, { subscriptionIdentifiers: [5] });
    const aliasing = connect(broker, 'aliasing', { properties: { topicAliasMaximum: 3 } });
    subscribe(aliasing, 'a');
    const small = connect(broker, 'small', { properties: { maximumPacketSize: 80 } });
    subscribe(small, 'a');
    const publisher = connect(broker, 'p');
    const long = 'x'.repeat(100);
    publisher.send(publish('a', '1'), publish('a', long), publish('a', '3'));
    assert.deepEqual(payloads(plain.take()), ['1', long, '3']);
    const named = identified.take() as PublishPacket[];
    assert.deepEqual(payloads(named), ['1', long, '3']);
    assert.deepEqual(
      named.map(({ properties }) => properties?.subscriptionIdentifiers),
      [[5], [5], [5]],
    );
    const aliased = aliasing.take() as PublishPacket[];
    assert.deepEqual(
      aliased.map(({ topicName, properties }) => [topicName, properties?.topicAlias]),
      [
        ['a', 1],
        ['', 1],
        ['', 1],
      ],
    );
    assert.deepEqual(payloads(small.take()), ['1', '3']); // [MQTT-3.1.2-25]
    assert.equal(broker.metrics.publishDropped, 1);
  });

  it('drops QoS 0 above its outbound limit and counts it', () => {
    const broker = new MemoryBroker({ outboundBytesMax: 1000 });
    const subscriber = connect(broker, 's');
    subscribe(subscriber, 'a');
    const publisher = connect(broker, 'p');
    publisher.send(...Array.from({ length: 10 }, (_, index) => publish(index % 2 === 0 ? 'a' : 'b', 'x'.repeat(300))));
    const received = payloads(subscriber.take()).length;
    assert.equal(received, 3);
    assert.equal(broker.metrics.publishDropped, 2);
  });

  it('ends a client that is silent for 1.5 times its keep alive, and no other', () => {
    const broker = new MemoryBroker();
    const silent = connect(broker, 'silent', { keepAlive: 10 });
    const pinging = connect(broker, 'pinging', { keepAlive: 10 });
    const without = connect(broker, 'without', { keepAlive: 0 });
    for (const client of [silent, pinging, without]) client.take();
    broker.advance(10_000);
    pinging.send({ type: PacketType.Pingreq });
    broker.advance(4750);
    assert.equal(silent.closed, false);
    broker.advance(1000);
    assert.deepEqual(
      silent.take().map((packet) => packet.type === PacketType.Disconnect && packet.reasonCode),
      [ReasonCode.KeepAliveTimeout],
    );
    assert.deepEqual([silent.closed, pinging.closed, without.closed], [true, false, false]);
    broker.advance(100_000);
    assert.deepEqual([pinging.closed, without.closed], [true, false]);
  });

  it('ends a peer that sends no CONNECT in time', () => {
    const broker = new MemoryBroker({ connectTimeoutSeconds: 5 });
    const client = broker.dial(5);
    client.sendBytes(Buffer.from([0x10, 0x20, 0x00]));
    broker.advance(4500);
    assert.equal(client.closed, false);
    broker.advance(1500);
    assert.deepEqual([client.closed, client.take()], [true, []]);
  });

  it('holds little for a packet that announces much and sends little', () => {
    const broker = new MemoryBroker({ packetBytesMax: 100_000_000 });
    const client = connect(broker, 'c');
    const before = process.memoryUsage().arrayBuffers;
    client.sendBytes(Buffer.from([0x32, 0x80, 0x80, 0x80, 0x20, 0, 1, 0x61])); // 64 MiB
    client.sendBytes(Buffer.alloc(10));
    assert.ok(process.memoryUsage().arrayBuffers - before < 1_000_000);
    assert.equal(client.closed, false);
  });

  it('refuses a packet above the maximum as soon as its length is known', () => {
    const broker = new MemoryBroker({ packetBytesMax: 1000 });
    const whole = connect(broker, 'whole');
    const pieces = connect(broker, 'pieces');
    whole.take();
    pieces.take();
    whole.sendBytes(Buffer.from([0x30, 0xe6, 0x07])); // 998 bytes and 3 of header
    pieces.sendBytes(Buffer.from([0x30]));
    pieces.sendBytes(Buffer.from([0xe6]));
    assert.equal(pieces.closed, false);
    pieces.sendBytes(Buffer.from([0x07]));
    for (const client of [whole, pieces])
      assert.deepEqual(
        client.take().map((packet) => packet.type === PacketType.Disconnect && packet.reasonCode),
        [ReasonCode.PacketTooLarge],
      );
    const fits = connect(broker, 'fits');
    fits.take();
    fits.sendBytes(Buffer.from([0x30, 0xe5, 0x07]));
    assert.equal(fits.closed, false);
  });

  it('is refused where its session cannot be opened, and was never connected', () => {
    const broker = new MemoryBroker();
    const { sessions } = broker.context;
    const open = sessions.open.bind(sessions);
    sessions.open = () => {
      throw new Fault('STORAGE_DAMAGED', 'a block cannot be read');
    };
    const client = connect(broker, 'c');
    assert.deepEqual(
      client.take().map((packet) => packet.type === PacketType.Connack && packet.reasonCode),
      [ReasonCode.UnspecifiedError],
    );
    assert.deepEqual([client.closed, broker.metrics.clientsConnected], [true, 0]);
    sessions.open = open;
    assert.equal(connect(broker, 'c').take()[0]?.type, PacketType.Connack);
    assert.equal(broker.metrics.clientsConnected, 1);
  });

  it('ends by a bug of ours alone, says so in the log, and leaves the others', () => {
    const broker = new MemoryBroker();
    const logged: string[] = [];
    const log: Logger = {
      ...broker.context.log,
      error: (event, sentence) => logged.push(`${event} ${sentence.split('\n')[0]}`),
    };
    (broker.context as { log: Logger }).log = log;
    const { policy } = broker.context;
    const authorizePublish: typeof policy.authorizePublish = (client, topicName, qos, retain) => {
      if (topicName === 'bug') throw new TypeError('oops');
      return policy.authorizePublish(client, topicName, qos, retain);
    };
    (broker.context as { policy: unknown }).policy = {
      authenticate: policy.authenticate.bind(policy),
      beginExchange: policy.beginExchange.bind(policy),
      authorizeSubscribe: policy.authorizeSubscribe.bind(policy),
      authorizePublish,
    };
    const [client, other] = [connect(broker, 'c'), connect(broker, 'other')];
    client.take();
    client.send(publish('bug', ''), publish('bug', ''));
    assert.deepEqual(
      client.take().map((packet) => packet.type === PacketType.Disconnect && packet.reasonCode),
      [ReasonCode.UnspecifiedError],
    );
    assert.deepEqual([client.closed, other.closed, logged], [true, false, ['connection.bug TypeError: oops']]);
  });

  it('leaves out reasons that the client does not want or has no room for', () => {
    const broker = new MemoryBroker();
    const told = (properties: Properties) => {
      const client = connect(broker, 'c', { properties });
      client.take();
      client.sendBytes(Buffer.from([0x34, 0x06, 0, 1, 0x61, 0, 0, 0])); // Packet Identifier 0
      const last = client.take().at(-1);
      assert.ok(last?.type === PacketType.Disconnect);
      return last.properties?.reasonString !== undefined;
    };
    assert.equal(told({}), true);
    assert.equal(told({ requestProblemInformation: 0 }), true, 'DISCONNECT may always say why (v5 §3.1.2.11.7)');
    assert.equal(told({ maximumPacketSize: 40 }), false); // [MQTT-3.14.2-3]
  });
});
