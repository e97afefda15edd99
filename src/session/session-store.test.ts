/** What storage tells of sessions after a restart is what they were, and what they leave behind is nothing. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SimulatedFiles } from '../../test/support/simulated-files.js';
import { silentLogger } from '../base/index.js';
import { Message, type QoS } from '../protocol/index.js';
import { type FileLayer, Store } from '../storage/index.js';
import { LaneKind, laneNumber } from './lanes.js';
import { takeOutgoing } from './outgoing.js';
import { OutgoingQueue } from './outgoing-queue.js';
import { SessionStore } from './session-store.js';
import { StoredMessages } from './stored-messages.js';

const lane = laneNumber(16, LaneKind.Plain);

async function open(files: FileLayer, segmentBytes = 1_000_000): Promise<{ store: Store; sessions: SessionStore }> {
  let sessions!: SessionStore;
  const store = new Store({
    mode: 'buffered',
    folder: 'data',
    files,
    log: silentLogger,
    inline: true,
    segmentBytes,
    onReplay: (from, key, value) => sessions.replay(from, key, value),
  });
  sessions = new SessionStore(store);
  await store.open();
  return { store, sessions };
}

function messageOf(payload: string, qos: QoS = 1): Message {
  const message = Message.create({ topicName: 'a', payload, qos }, 0);
  message.handling = { priority: 16, durability: 'buffered' };
  return message;
}

function add(messages: StoredMessages, payload: string, packetId = 0, receivers = 1) {
  const message = messageOf(payload);
  message.receivers = receivers;
  const item = takeOutgoing(message, 1, false, undefined, undefined);
  messages.add(lane, item, message, packetId);
  return item;
}

const loaded = (messages: StoredMessages) =>
  messages.load(lane, '', 1000, Number.POSITIVE_INFINITY).found.map(({ item }) => item.message!.payload.toString());

/** Everything so far stands in a table when this resolves. */
async function becomesTable(store: Store): Promise<void> {
  const before = store.tableCount;
  store.put('zzz', Buffer.alloc(1_100_000));
  store.commit();
  while (store.tableCount === before) await new Promise(setImmediate);
}

describe('SessionStore', () => {
  it('syncs the identifier of a QoS 2 message that was read back, where its topic asks for that', async () => {
    const { store, sessions } = await open(new SimulatedFiles());
    const owner = sessions.newOwner();
    const messages = new StoredMessages(sessions, owner);
    for (const topicName of ['s', 'b']) {
      const message = Message.create({ topicName, payload: 'x', qos: 2 }, 0);
      message.handling = { priority: 16, durability: topicName === 's' ? 'sync' : 'buffered' };
      messages.add(lane, takeOutgoing(message, 2, false, undefined, undefined), message, 0);
    }
    const asked = messages.load(lane, '', 2, 1000).found.map(({ item }, index) => {
      sessions.saveExchange(owner, index + 1, item);
      return store.syncSequence === store.sequence;
    });
    assert.deepEqual(asked, [true, false]);
    await store.close();
  });

  it('leaves an ended session whose entries cannot be read, and sweeps the others', async () => {
    const { store, sessions } = await open(new SimulatedFiles());
    const [first, second] = [sessions.newOwner(), sessions.newOwner()];
    for (const owner of [first, second]) add(new StoredMessages(sessions, owner), 'x');
    sessions.endSession('first', first);
    sessions.endSession('second', second);
    const scan = store.scan.bind(store);
    store.scan = (from, to) => {
      if (from === `Q${first}`) throw new Error('damaged');
      return scan(from, to);
    };
    assert.throws(() => sessions.sweep(), /damaged/);
    assert.equal(sessions.sweep(), false);
    store.scan = scan;
    assert.deepEqual(
      [...store.scan('Q', 'R')].map(({ key }) => key.slice(1, 5)),
      [first],
    );
    await store.close();
  });

  it('reads back messages with any number of Subscription Identifiers', async () => {
    const { store, sessions } = await open(new SimulatedFiles());
    const messages = new StoredMessages(sessions, sessions.newOwner());
    const sizes = [1, 254, 255, 256, 600];
    for (const size of sizes) {
      const ids = Array.from({ length: size }, (_each, index) => 268_435_455 - index);
      const message = messageOf(`${size}`);
      messages.add(lane, takeOutgoing(message, 1, false, ids, undefined), message, 0);
    }
    store.commit();
    const { found } = messages.load(lane, '', 1000, Number.POSITIVE_INFINITY);
    assert.deepEqual(
      found.map(({ item }) => [
        `${item.message!.payload}`,
        item.subscriptionIds!.length,
        item.subscriptionIds!.at(-1)!,
      ]),
      sizes.map((size) => [`${size}`, size, 268_435_456 - size]),
    );
    await store.close();
  });

  it('does not give a new session what an ended one with its number had left in tables', async () => {
    const files = new SimulatedFiles();
    const first = await open(files);
    const former = first.sessions.newOwner();
    first.sessions.saveSession('former', former, 100, 0);
    add(new StoredMessages(first.sessions, former), 'secret');
    await becomesTable(first.store);
    first.sessions.endSession('former', former);
    while (first.sessions.sweep());
    await first.store.close();

    const second = await open(files);
    assert.deepEqual([...second.sessions.sessions()], []);
    second.sessions.recovered();
    const messages = new StoredMessages(second.sessions, second.sessions.newOwner());
    const item = add(messages, 'public');
    messages.remove(item);
    assert.deepEqual(loaded(messages), []);
    await second.store.close();
  });

  it('counts the bytes of queues down to nothing when ended sessions are swept after a restart', async () => {
    const files = new SimulatedFiles();
    const first = await open(files);
    const owner = first.sessions.newOwner();
    first.sessions.saveSession('c', owner, 100, 0);
    const messages = new StoredMessages(first.sessions, owner);
    for (let index = 0; index < 10; index++) add(messages, 'x'.repeat(100));
    assert.equal(first.sessions.queuedBytes, 10 * 101);
    first.sessions.endSession('c', owner);
    await first.store.close();

    const second = await open(files);
    assert.deepEqual([...second.sessions.sessions()], []);
    second.sessions.recovered();
    while (second.sessions.sweep());
    assert.equal(second.sessions.queuedBytes, 0);
    assert.equal(second.sessions.sessionBytes(), 0);
    await second.store.close();
  });

  it('knows how much waits after a clean stop, a failed disk that came back, and the end of the process', async () => {
    const files = new SimulatedFiles();
    const first = await open(files);
    const owner = first.sessions.newOwner();
    first.sessions.saveSession('c', owner, 100, 0);
    const before = new StoredMessages(first.sessions, owner);
    first.store.beforeRotation = () => before.save();
    add(before, 'one');
    await first.store.close();

    const second = await open(files);
    assert.equal([...second.sessions.sessions()].length, 1);
    const messages = new StoredMessages(second.sessions, owner, second.sessions.countsOf(owner));
    second.sessions.recovered();
    second.store.beforeRotation = () => messages.save();
    add(messages, 'two');
    const healed = new Promise<void>((resolve) => {
      second.store.onHealth = (failed) => failed ?? resolve();
    });
    files.readOnly = true;
    second.store.commit();
    assert.ok(second.store.failed);
    files.readOnly = false;
    const awake = setInterval(() => {}, 1000); // the store's own timer does not keep the process alive
    await healed;
    clearInterval(awake);

    const third = await open(files.kill());
    assert.equal([...third.sessions.sessions()].length, 1);
    const counts = third.sessions.countsOf(owner)!;
    assert.equal(counts.lanes.find((each) => each.lane === lane)?.messages, 2);
    assert.equal(counts.nextPlace, 2);
    assert.deepEqual(loaded(new StoredMessages(third.sessions, owner, counts)), ['one', 'two']);
    await third.store.close();
  });
});

describe('the queue of a stored session', () => {
  const MESSAGES = 200;

  async function fill(bytes: number, online: boolean) {
    const { store, sessions } = await open(new SimulatedFiles());
    const stored = new StoredMessages(sessions, sessions.newOwner());
    const queue = new OutgoingQueue(stored);
    let read = 0;
    const { load } = sessions;
    sessions.load = (...range) => {
      const result = load.apply(sessions, range);
      read += result.found.length;
      return result;
    };
    let count = 0;
    const push = () => {
      const message = messageOf(`${count++}`.padEnd(bytes, '.'));
      return queue.push(
        takeOutgoing(undefined, 1, false, undefined, undefined),
        message,
        online,
        MESSAGES,
        1e9,
        'dropOldest',
      );
    };
    for (let index = 0; index < MESSAGES; index++) assert.equal(push(), 0);
    return { store, queue, push, read: () => read };
  }

  const numberOf = (item: { message: Message | undefined } | undefined) =>
    Number.parseInt(`${item?.message?.payload}`, 10);

  it('reads no message to drop it while the client is away', async () => {
    const { store, queue, push, read } = await fill(100, false);
    const { bytes } = queue;
    for (let index = 0; index < 2 * MESSAGES + 7; index++) assert.equal(push(), 1);
    assert.deepEqual([read(), queue.length, queue.bytes], [0, MESSAGES, bytes]);
    for (let index = 0; index < MESSAGES; index++) assert.equal(numberOf(queue.shift()), 2 * MESSAGES + 7 + index);
    assert.deepEqual([queue.shift(), queue.length, queue.bytes], [undefined, 0, 0]);
    await store.close();
  });

  it('goes on with the next when it dropped some, and the client is back and away again', async () => {
    const { store, queue, push } = await fill(100, false);
    for (let index = 0; index < 3; index++) assert.equal(push(), 1);
    assert.equal(numberOf(queue.shift()), 3);
    queue.unload();
    assert.deepEqual([push(), push()], [0, 1]);
    assert.deepEqual([numberOf(queue.peek()), queue.length], [5, MESSAGES]);
    await store.close();
  });

  for (const online of [true, false])
    it(`keeps few large messages in memory (${online ? 'connected' : 'back again'})`, async () => {
      const { store, queue, read } = await fill(100_000, online);
      queue.peek();
      assert.ok(read() <= 3, `${read()} messages of 100 kB were read at once`);
      for (let index = 0; index < MESSAGES; index++) assert.equal(numberOf(queue.shift()), index);
      assert.deepEqual([queue.length, queue.bytes], [0, 0]);
      // All but those that were in memory from the beginning.
      assert.ok(read() >= MESSAGES - 3, `${MESSAGES - read()} messages of 100 kB were kept in memory`);
      await store.close();
    });

  it('leaves in storage what was in flight at the last run', async () => {
    const { store, sessions } = await open(new SimulatedFiles());
    const stored = new StoredMessages(sessions, sessions.newOwner());
    for (const packetId of [1, 2, 0]) add(stored, 'text', packetId);
    const queue = new OutgoingQueue(stored);
    queue.restore(lane, 3, 15);
    const sent = queue.takeSent(new Map());
    assert.deepEqual(
      sent.map((item) => [item.packetId, item.message, sessions.messageOf(item)?.payload.toString()]),
      [
        [1, undefined, 'text'],
        [2, undefined, 'text'],
      ],
    );
    assert.deepEqual([queue.length, queue.bytes], [1, 5]);
    await store.close();
  });
});
