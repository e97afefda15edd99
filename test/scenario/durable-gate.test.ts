/**
 * When answers leave a connection: not before what they promise is as durable as the mode, or the rule of the topic, says. The
 * disk is simulated and its syncs are let go one by one, so nothing here depends on time.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { silentLogger } from '../../src/base/index.js';
import {
  type Handling,
  Message,
  type Packet,
  PacketType,
  type ProtocolVersion,
  type QoS,
} from '../../src/protocol/index.js';
import { GroupStore, Router, StoredRetained } from '../../src/router/index.js';
import { SessionRegistry, SessionStore } from '../../src/session/index.js';
import { type DurabilityMode, Store } from '../../src/storage/index.js';
import { MemoryBroker, type MemoryClient } from '../simulation/memory-broker.js';
import { SimulatedFiles } from '../support/simulated-files.js';

/** The protocol path over a store on a simulated disk. */
class StoredBroker extends MemoryBroker {
  readonly files = new SimulatedFiles();
  readonly store: Store;

  constructor(mode: DurabilityMode, handlingOf?: (topicName: string) => Handling) {
    super();
    const { clock, wheel, limits, metrics, pressure } = this.context;
    this.store = new Store({
      mode,
      folder: 'data',
      files: this.files,
      log: silentLogger,
      inline: true,
    });
    const { store } = this;
    const handling = handlingOf ?? (() => ({ priority: 16, durability: mode === 'buffered' ? 'buffered' : 'sync' }));
    const router = new Router({
      storedRetained: new StoredRetained(
        store,
        { messagesMax: limits.retainedMessagesMax, bytesMax: limits.retainedBytesMax },
        () => clock.nowMs(),
      ),
      groupStore: new GroupStore(store, handling),
      storeFailed: () => store.failed !== undefined,
      handlingOf: handling,
      strategy: 'roundRobin',
      sharedQueueMessagesMax: limits.sharedQueueMessagesMax,
      topicCacheEntriesMax: limits.topicCacheEntriesMax,
      retainedMessagesMax: limits.retainedMessagesMax,
      retainedBytesMax: limits.retainedBytesMax,
      clock,
      wheel,
      onDropped: () => metrics.publishDropped++,
    });
    const sessions = new SessionRegistry(
      { router, wheel, clock, limits, metrics, pressure, store: new SessionStore(store) },
      (values) => router.publish(Message.create(values, clock.nowMs())),
    );
    Object.assign(this.context, { router, sessions, storage: store });
    this.context.turn.beforeFlush = () => store.commit();
  }

  async open(): Promise<this> {
    await this.store.open();
    this.context.sessions.restore();
    return this;
  }

  /** All that could leave has left. */
  async rest(): Promise<void> {
    for (let turn = 0; turn < 10; turn++) {
      this.settle();
      await nextTurn();
    }
  }

  async sync(): Promise<void> {
    this.files.releaseSyncs();
    await this.rest();
  }

  async connect(clientId: string, version: ProtocolVersion, kept = true): Promise<MemoryClient> {
    const client = this.dial(version);
    client.send({
      type: PacketType.Connect,
      protocolVersion: version,
      bridge: false,
      cleanStart: !kept,
      keepAlive: 0,
      clientId,
      ...(kept && version === 5 ? { properties: { sessionExpiryInterval: 100 } } : {}),
    });
    await this.rest();
    return client;
  }
}

const publish = (topicName: string, qos: QoS, packetId: number): Packet => ({
  type: PacketType.Publish,
  dup: false,
  qos,
  retain: false,
  topicName,
  payload: Buffer.from(`${packetId}`),
  ...(qos > 0 ? { packetId } : {}),
});

const subscribe = (topicFilter: string, qos: QoS): Packet => ({
  type: PacketType.Subscribe,
  packetId: 1,
  subscriptions: [{ topicFilter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
});

const typesOf = (client: MemoryClient) => client.take().map(({ type }) => type);

/** An offline session that queues everything. */
async function withQueue(broker: StoredBroker): Promise<void> {
  const reader = await broker.connect('reader', 5);
  reader.send(subscribe('#', 1));
  await broker.rest();
  reader.drop();
  await broker.rest();
}

for (const mode of ['sync', 'faultTolerant'] as const)
  describe(`answers in mode ${mode}`, () => {
    it('leave after the sync', async () => {
      const broker = await new StoredBroker(mode).open();
      await withQueue(broker);
      broker.files.delaySync = true;
      const client = await broker.connect('client', 5);
      const expectAfterSync = async (packet: Packet | undefined, type: number) => {
        if (packet) client.send(packet);
        await broker.rest();
        assert.deepEqual(typesOf(client), [], `no answer of type ${type} before the sync`);
        await broker.sync();
        assert.deepEqual(typesOf(client), [type]);
      };
      await expectAfterSync(undefined, PacketType.Connack);
      await expectAfterSync(subscribe('own', 1), PacketType.Suback);
      await expectAfterSync(publish('q', 1, 5), PacketType.Puback);
      await expectAfterSync(publish('q', 2, 6), PacketType.Pubrec);
      await expectAfterSync({ type: PacketType.Pubrel, packetId: 6, reasonCode: 0 }, PacketType.Pubcomp);
      await expectAfterSync({ type: PacketType.Unsubscribe, packetId: 9, topicFilters: ['own'] }, PacketType.Unsuback);
      client.send({ type: PacketType.Pingreq }, publish('q', 0, 0));
      await broker.rest();
      assert.deepEqual(typesOf(client), [PacketType.Pingresp]);
      assert.equal(broker.files.syncsWaiting, 0);
      broker.files.delaySync = false;
      await broker.store.close();
    });

    it('leave while newer publishes of the same client keep coming', async () => {
      const broker = await new StoredBroker(mode).open();
      await withQueue(broker);
      const client = await broker.connect('client', 4);
      client.take();
      broker.files.delaySync = true;
      client.send(publish('q', 1, 1));
      await broker.rest();
      for (let packetId = 2; packetId <= 20; packetId++) {
        client.send(publish('q', 1, packetId));
        await broker.rest();
        // The sync that covers the publish before this one ends; the next one begins.
        await broker.sync();
      }
      const acknowledged = typesOf(client).length;
      assert.ok(acknowledged >= 15, `${acknowledged} of 20 publishes are acknowledged`);
      broker.files.delaySync = false;
      await broker.sync();
      await broker.store.close();
    });

    it('are not given when the sync fails', async () => {
      const broker = await new StoredBroker(mode).open();
      await withQueue(broker);
      const [five, three] = [await broker.connect('five', 5), await broker.connect('three', 4, false)];
      const quiet = await broker.connect('quiet', 5, false);
      quiet.send(subscribe('q', 0));
      await broker.rest();
      for (const client of [five, three, quiet]) client.take();
      broker.files.syncFailures = Number.POSITIVE_INFINITY;
      five.send(publish('q', 1, 1));
      three.send(publish('q', 1, 1));
      await broker.rest();
      assert.ok(broker.store.failed);
      assert.deepEqual(typesOf(five), [PacketType.Disconnect]);
      assert.deepEqual(typesOf(three), []);
      assert.ok(three.closed);
      quiet.take();
      // From now on it is known: 5.0 is told, 3.1.1 waits, QoS 0 goes on.
      const told = await broker.connect('told', 5, false);
      told.send(publish('q', 1, 1), publish('q', 0, 0));
      await broker.rest();
      const [, answer] = told.take();
      assert.ok(answer?.type === PacketType.Puback && answer.reasonCode === 0x97);
      assert.deepEqual(typesOf(quiet), [PacketType.Publish]);
      const waits = await broker.connect('waits', 4, false);
      waits.send(publish('q', 1, 1), publish('q', 0, 0));
      await broker.rest();
      assert.deepEqual(typesOf(waits), [PacketType.Connack]);
      assert.equal(waits.closed, false);
      await assert.rejects(broker.store.close());
    });
  });

describe('rules for topics', () => {
  const rules = (topicName: string): Handling => ({
    priority: 16,
    durability: topicName.startsWith('alarm/') ? 'sync' : 'buffered',
  });

  it('acknowledge what asks for a sync after it, everything else at once', async () => {
    const broker = await new StoredBroker('buffered', rules).open();
    await withQueue(broker);
    const [client, other] = [await broker.connect('client', 5), await broker.connect('other', 5)];
    client.take();
    other.take();
    broker.files.delaySync = true;
    client.send(publish('bulk/1', 1, 1));
    await broker.rest();
    assert.deepEqual(typesOf(client), [PacketType.Puback]);
    client.send(publish('alarm/1', 1, 2));
    other.send(publish('other', 0, 0), { type: PacketType.Pingreq });
    await broker.rest();
    assert.deepEqual(typesOf(client), []);
    assert.deepEqual(typesOf(other), [PacketType.Pingresp]);
    await broker.sync();
    assert.deepEqual(typesOf(client), [PacketType.Puback]);
    broker.files.delaySync = false;
    await broker.sync();
    await broker.store.close();
  });

  it('do not make one who stored nothing wait', async () => {
    const broker = await new StoredBroker('sync').open();
    await withQueue(broker);
    const [client, other] = [await broker.connect('client', 5, false), await broker.connect('other', 5, false)];
    client.take();
    other.take();
    broker.files.delaySync = true;
    client.send(publish('q', 1, 1));
    other.send({ type: PacketType.Pingreq });
    await broker.rest();
    assert.deepEqual([typesOf(client), typesOf(other)], [[], [PacketType.Pingresp]]);
    broker.files.delaySync = false;
    await broker.sync();
    assert.deepEqual(typesOf(client), [PacketType.Puback]);
    await broker.store.close();
  });
});

describe('while storage cannot be written', () => {
  it('a subscriber that acknowledges what it was sent before keeps its connection', async () => {
    const broker = await new StoredBroker('buffered').open();
    const reader = await broker.connect('reader', 4);
    reader.send(subscribe('q', 1));
    const publisher = await broker.connect('publisher', 5, false);
    publisher.send(publish('q', 1, 1));
    await broker.rest();
    const sent = reader.take().at(-1)!;
    assert.ok(sent.type === PacketType.Publish);
    broker.files.readOnly = true;
    publisher.send(publish('q', 1, 2));
    await broker.rest();
    assert.ok(broker.store.failed);
    reader.send({ type: PacketType.Puback, packetId: sent.packetId!, reasonCode: 0 });
    await broker.rest();
    assert.equal(reader.closed, false);
    reader.take();
    const other = await broker.connect('other', 5, false);
    other.send(publish('q', 0, 0));
    await broker.rest();
    assert.deepEqual(typesOf(reader), [PacketType.Publish]);
    await assert.rejects(broker.store.close());
  });
});
