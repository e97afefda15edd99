/** What storage tells of sessions after a restart is what they were, and what they leave behind is nothing. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SimulatedFiles } from '../../test/support/simulated-files.js';
import { silentLogger } from '../base/index.js';
import { Message, type QoS } from '../protocol/index.js';
import { type FileLayer, Store } from '../storage/index.js';
import { LaneKind, laneNumber } from './lanes.js';
import { takeOutgoing } from './outgoing.js';
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
  messages.load(lane, '', 1000).map(({ item }) => item.message!.payload.toString());

/** Everything so far stands in a table when this resolves. */
async function becomesTable(store: Store): Promise<void> {
  const before = store.tableCount;
  store.put('zzz', Buffer.alloc(1_100_000));
  store.commit();
  while (store.tableCount === before) await new Promise(setImmediate);
}

describe('SessionStore', () => {
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
