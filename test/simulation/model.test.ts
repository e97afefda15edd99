/**
 * Goal: whatever clients do, what each of them receives is what the plain model says.
 *
 * Method: eight clients (3.1.1 and 5.0, persistent and not, wide and narrow windows) do random things against a broker in
 * memory and against the model; after each, every client's new packets are compared. A seed that fails is printed and can
 * be run again alone: DUNLIN_SEED=n DUNLIN_OPERATIONS=m.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type ConnectPacket,
  type Packet,
  PacketType,
  type Properties,
  type ProtocolVersion,
  type PublishPacket,
  type QoS,
  type Will,
} from '../../src/protocol/index.js';
import { MemoryBroker, type MemoryClient } from './memory-broker.js';
import {
  type Expected,
  formatKey,
  type ModelMessage,
  type ModelOutgoing,
  type ModelSubscription,
  ReferenceModel,
} from './reference-model.js';

const OPERATIONS = Number(process.env.DUNLIN_OPERATIONS ?? 100_000);
const seeds = process.env.DUNLIN_SEED === undefined ? [1, 20_261, 777_777] : [Number(process.env.DUNLIN_SEED)];
/** Multiples of it never coincide with will delay and expiry at once, so that the order of timers is certain. */
const STEP_MS = 750;
const QUEUE_MAX = 20;
const EXPIRY_S = 25;
const WILL_DELAY_S = 15;
const MESSAGE_EXPIRY_S = 15;

const topics = ['a', 'a/b', 'a/b/c', 'a/x', 'b', '/a', 'a/', '$s/a', 'é/b', 'b/c/d'];
const filters = [
  '#',
  '+',
  'a/#',
  'a/+',
  '+/b',
  'a/b',
  'a/b/c',
  '+/+',
  '+/#',
  'b',
  '$s/#',
  '$s/+',
  '/+',
  'é/b',
  'a/+/c',
  '+/a',
];
const shares = ['g1', 'g2'];

interface Actor {
  readonly clientId: string;
  readonly version: ProtocolVersion;
  /** Receive Maximum; narrow clients ask for no stored messages, whose order the model does not know. */
  readonly narrow: boolean;
  connection: MemoryClient | undefined;
  /** Deliveries that wait for an answer, by packet identifier. */
  readonly open: Map<number, { item: ModelOutgoing; released: boolean }>;
  /** QoS 2 publishes that were not released, to be repeated. */
  readonly unreleased: Map<number, PublishPacket>;
  nextPacketId: number;
}

/** mulberry32: small, seeded, good enough to choose with. */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) / 4294967296;
  };
}

interface Seen {
  readonly key: string;
  readonly qos: number;
  readonly packetId: number;
}

function inOrder(list: readonly { key: string; qos: number }[], zero: boolean): string[] {
  return list.filter(({ key, qos }) => (qos === 0) === zero && key !== 'pubrel').map(({ key }) => key);
}

class Simulation {
  private readonly next: () => number;
  private readonly broker = new MemoryBroker({
    inflightMessagesMax: 65535,
    queueMessagesMax: QUEUE_MAX,
    receiveMaximum: 65535,
  });
  private readonly model = new ReferenceModel(QUEUE_MAX);
  private readonly actors: Actor[] = [];
  private serial = 0;

  constructor(seed: number) {
    this.next = random(seed);
    for (let index = 0; index < 8; index++)
      this.actors.push({
        clientId: `client-${index}`,
        version: index % 4 === 3 ? 4 : 5,
        narrow: index >= 4 && index % 4 !== 3,
        connection: undefined,
        open: new Map(),
        unreleased: new Map(),
        nextPacketId: 1,
      });
  }

  /** One random operation, then the comparison. Returns what was done, for the message of a failure. */
  step(): string {
    this.broker.advance(STEP_MS);
    this.model.advance(STEP_MS);
    const actor = this.pick(this.actors);
    const done = this.act(actor);
    this.broker.settle();
    this.compare(done);
    return done;
  }

  private act(actor: Actor): string {
    const chance = this.next();
    if (actor.connection === undefined) return chance < 0.6 ? this.connect(actor) : 'nothing';
    if (chance < 0.02) return this.connect(actor); // takes itself over
    if (chance < 0.04) return this.disconnect(actor);
    if (chance < 0.06) return this.drop(actor);
    if (chance < 0.16) return this.subscribe(actor);
    if (chance < 0.2) return this.unsubscribe(actor);
    if (chance < 0.6) return this.publish(actor);
    return this.answer(actor);
  }

  private connect(actor: Actor): string {
    const cleanStart = this.next() < 0.3;
    const persistent = this.next() < 0.7;
    const v5 = actor.version === 5;
    const expirySeconds = !persistent ? 0 : v5 ? EXPIRY_S : Number.POSITIVE_INFINITY;
    const expiryMs = (v5 ? expirySeconds : cleanStart ? 0 : Number.POSITIVE_INFINITY) * 1000;
    const withWill = this.next() < 0.5;
    const delay = v5 && this.next() < 0.5 ? WILL_DELAY_S : 0;
    const topicName = this.pick(topics);
    const qos = this.qos();
    const retain = this.next() < 0.3;
    const payload = `will ${++this.serial}`;
    const will: Will = { topicName, payload: Buffer.from(payload), qos, retain };
    if (delay > 0) will.properties = { willDelayInterval: delay };
    const properties: Properties = { receiveMaximum: actor.narrow ? 2 : 65535 };
    if (expirySeconds > 0) properties.sessionExpiryInterval = expirySeconds;
    const packet: ConnectPacket = {
      type: PacketType.Connect,
      protocolVersion: actor.version,
      bridge: false,
      cleanStart,
      keepAlive: 0,
      clientId: actor.clientId,
      ...(withWill ? { will } : {}),
      ...(v5 ? { properties } : {}),
    };
    const former = actor.connection;
    former?.take();
    actor.connection = this.broker.dial(actor.version);
    actor.connection.send(packet);
    if (former !== undefined) assert.ok(former.closed, 'the connection that was taken over is closed');
    actor.open.clear();
    const present = this.model.connect(
      actor.clientId,
      cleanStart,
      expiryMs,
      withWill
        ? { message: { topicName, payload, qos, retain, publisherId: actor.clientId }, delayMs: delay * 1000 }
        : undefined,
      actor.narrow ? 2 : 65535,
    );
    if (!present) actor.unreleased.clear();
    const connack = actor.connection.received.shift();
    assert.ok(connack?.type === PacketType.Connack && connack.reasonCode === 0, 'CONNACK comes first');
    assert.equal(connack.sessionPresent, present, 'session present');
    return `${actor.clientId} connects (clean ${cleanStart}, expiry ${expiryMs}, will ${withWill} ${delay})`;
  }

  private disconnect(actor: Actor): string {
    actor.connection!.send({ type: PacketType.Disconnect, reasonCode: 0 });
    this.model.disconnect(this.session(actor), false);
    actor.connection = undefined;
    return `${actor.clientId} disconnects`;
  }

  private drop(actor: Actor): string {
    actor.connection!.drop();
    this.model.disconnect(this.session(actor), true);
    actor.connection = undefined;
    return `${actor.clientId} is cut off`;
  }

  private subscribe(actor: Actor): string {
    const v5 = actor.version === 5;
    const shareName = this.next() < 0.25 ? this.pick(shares) : undefined;
    const subscription: ModelSubscription = {
      topicFilter: this.pick(filters),
      shareName,
      qos: this.qos(),
      noLocal: v5 && shareName === undefined && this.next() < 0.3,
      retainAsPublished: v5 && this.next() < 0.3,
      retainHandling: actor.narrow ? 2 : v5 ? Math.floor(this.next() * 3) : 0,
      subscriptionId: v5 && this.next() < 0.4 ? 1 + Math.floor(this.next() * 300) : undefined,
    };
    const { qos, noLocal, retainAsPublished, retainHandling, subscriptionId } = subscription;
    const topicFilter =
      shareName === undefined ? subscription.topicFilter : `$share/${shareName}/${subscription.topicFilter}`;
    actor.connection!.send({
      type: PacketType.Subscribe,
      packetId: 1,
      subscriptions: [
        { topicFilter, qos: qos as QoS, noLocal, retainAsPublished, retainHandling: retainHandling as 0 | 1 | 2 },
      ],
      ...(subscriptionId === undefined ? {} : { properties: { subscriptionIdentifiers: [subscriptionId] } }),
    });
    this.model.subscribe(this.session(actor), subscription);
    return `${actor.clientId} subscribes ${JSON.stringify(subscription)}`;
  }

  private unsubscribe(actor: Actor): string {
    const held = this.session(actor).subscriptions;
    if (held.length === 0) return 'nothing';
    const { topicFilter, shareName } = this.pick(held);
    const filter = shareName === undefined ? topicFilter : `$share/${shareName}/${topicFilter}`;
    actor.connection!.send({ type: PacketType.Unsubscribe, packetId: 1, topicFilters: [filter] });
    this.model.unsubscribe(this.session(actor), topicFilter, shareName);
    return `${actor.clientId} unsubscribes ${filter}`;
  }

  private publish(actor: Actor): string {
    if (actor.unreleased.size > 0 && this.next() < 0.3) return this.repeatOrRelease(actor);
    const v5 = actor.version === 5;
    const qos = this.qos();
    const retain = this.next() < 0.25;
    const payload = retain && this.next() < 0.3 ? '' : `m${++this.serial}`;
    const topicName = this.pick(topics);
    const expires = v5 && this.next() < 0.2;
    const packetId = qos === 0 ? undefined : this.packetId(actor);
    const packet: PublishPacket = {
      type: PacketType.Publish,
      dup: false,
      qos,
      retain,
      topicName,
      payload: Buffer.from(payload),
      ...(packetId === undefined ? {} : { packetId }),
      ...(expires ? { properties: { messageExpiryInterval: MESSAGE_EXPIRY_S } } : {}),
    };
    actor.connection!.send(packet);
    if (qos === 2) actor.unreleased.set(packetId!, packet);
    const message: ModelMessage = {
      topicName,
      payload,
      qos,
      retain,
      publisherId: actor.clientId,
      expiresAtMs: expires ? this.model.nowMs + MESSAGE_EXPIRY_S * 1000 : 0,
    };
    this.model.publish(message);
    return `${actor.clientId} publishes ${topicName} ${payload} q${qos} retain ${retain}`;
  }

  /** A QoS 2 exchange goes on: the PUBLISH again, which delivers nothing, or PUBREL, which ends it. */
  private repeatOrRelease(actor: Actor): string {
    const [packetId, packet] = this.pick([...actor.unreleased]);
    if (this.next() < 0.5) {
      actor.connection!.send({ ...packet, dup: true });
      return `${actor.clientId} repeats QoS 2 publish ${packetId}`;
    }
    actor.unreleased.delete(packetId);
    actor.connection!.send({ type: PacketType.Pubrel, packetId, reasonCode: 0 });
    return `${actor.clientId} releases ${packetId}`;
  }

  private answer(actor: Actor): string {
    if (actor.open.size === 0) return 'nothing';
    const done: string[] = [];
    for (let count = 1 + Math.floor(this.next() * 4); count > 0 && actor.open.size > 0; count--) {
      const [packetId, delivery] = this.pick([...actor.open]);
      const { item, released } = delivery;
      const { qos } = item;
      const stage = qos === 1 ? 'puback' : released ? 'pubcomp' : 'pubrec';
      const type = stage === 'puback' ? PacketType.Puback : stage === 'pubrec' ? PacketType.Pubrec : PacketType.Pubcomp;
      if (stage === 'pubrec') delivery.released = true;
      else actor.open.delete(packetId);
      actor.connection!.send({ type, packetId, reasonCode: 0 });
      this.model.acknowledge(this.session(actor), item, stage);
      this.compare(`${actor.clientId} sends ${stage} for ${item.message.topicName} ${item.message.payload}`);
      done.push(stage);
    }
    return `${actor.clientId} sends ${done.join(', ')}`;
  }

  private compare(done: string): void {
    for (const actor of this.actors) {
      if (actor.connection === undefined) continue;
      const session = this.session(actor);
      const expected = session.expected;
      session.expected = [];
      const seen = actor.connection.take().flatMap((packet) => this.describe(actor, packet));
      const where = `${actor.clientId} after: ${done}`;
      assert.deepEqual(seen.map(({ key }) => key).sort(), expected.map(({ key }) => key).sort(), where);
      // Stored messages come in an order of the broker's own; everything else in that of the model.
      if (!expected.some(({ stored }) => stored))
        for (const zero of [true, false])
          assert.deepEqual(inOrder(seen, zero), inOrder(expected, zero), `order for ${where}`);
      this.bind(actor, seen, expected);
    }
  }

  /** A packet the client received, in the model's words. */
  private describe(actor: Actor, packet: Packet): Seen[] {
    if (packet.type === PacketType.Pubrel) return [{ key: 'pubrel', qos: 2, packetId: packet.packetId }];
    if (packet.type === PacketType.Publish) {
      const { topicName, qos, retain, dup, packetId = 0 } = packet;
      const payload = Buffer.from(packet.payload).toString();
      const subscriptionIds = packet.properties?.subscriptionIdentifiers ?? [];
      return [{ key: formatKey(topicName, payload, qos, retain, dup, subscriptionIds), qos, packetId }];
    }
    if (packet.type === PacketType.Disconnect)
      assert.fail(`${actor.clientId} was disconnected with ${packet.reasonCode}`);
    return [];
  }

  /** Ties the packet identifiers to the model's deliveries, in order among those that look alike. */
  private bind(actor: Actor, seen: readonly Seen[], expected: readonly Expected[]): void {
    const left = [...expected];
    for (const { key, qos, packetId } of seen) {
      const [{ item }] = left.splice(
        left.findIndex((each) => each.key === key),
        1,
      ) as [Expected];
      if (qos === 0) continue;
      const open = actor.open.get(packetId);
      if (key === 'pubrel') {
        if (open !== undefined) assert.equal(open.item, item, `PUBREL ${packetId} is for its own message`);
        actor.open.set(packetId, { item, released: true });
      } else {
        assert.equal(open, undefined, `packet identifier ${packetId} is unused`);
        actor.open.set(packetId, { item, released: false });
      }
    }
  }

  private session(actor: Actor) {
    return this.model.sessions.get(actor.clientId)!;
  }

  private packetId(actor: Actor): number {
    do actor.nextPacketId = (actor.nextPacketId % 60000) + 1;
    while (actor.unreleased.has(actor.nextPacketId));
    return actor.nextPacketId;
  }

  private qos(): QoS {
    return Math.floor(this.next() * 3) as QoS;
  }

  private pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.next() * list.length)]!;
  }
}

for (const seed of seeds) {
  test(`the broker agrees with the model for ${OPERATIONS} operations, seed ${seed}`, () => {
    const simulation = new Simulation(seed);
    for (let operation = 0; operation < OPERATIONS; operation++) {
      try {
        simulation.step();
      } catch (error) {
        throw new Error(`seed ${seed}, operation ${operation}: ${(error as Error).message}`, { cause: error });
      }
    }
  });
}
