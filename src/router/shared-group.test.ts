/** Goal: one member gets each message, by the strategy; what no member can take waits, in order, within its limit. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Message, PublishRun, type QoS } from '../protocol/index.js';
import { SharedGroup, type ShareStrategy } from './shared-group.js';
import { Subscription } from './subscription.js';
import { NotingSubscriber } from './topics.fuzz.js';

function group(strategy: ShareStrategy, names: readonly string[], queueMessagesMax = 100) {
  const state = { now: 0, dropped: 0 };
  const shared = new SharedGroup('g', 'a', {
    strategy,
    queueMessagesMax,
    onDropped: () => state.dropped++,
    nowMs: () => state.now,
  });
  const members = names.map((name) => new NotingSubscriber(name));
  const subscriptions = members.map((each) => new Subscription(each, 'a', 'g', 1, false, false, 0, undefined));
  for (const each of subscriptions) shared.add(each);
  const send = (
    payload: string,
    more: { qos?: QoS; topicName?: string; publisherId?: string; seconds?: number } = {},
  ) => shared.deliver(message(payload, more));
  return { shared, members, subscriptions, send, state, counts: () => members.map(({ got }) => got.length) };
}

function message(
  payload: string,
  more: { qos?: QoS; topicName?: string; publisherId?: string; seconds?: number } = {},
): Message {
  const { qos = 1, topicName = 'a', publisherId, seconds } = more;
  const properties = seconds === undefined ? undefined : { messageExpiryInterval: seconds };
  return Message.create({ topicName, payload, qos, publisherId, properties }, 0);
}

const online = (member: NotingSubscriber, is: boolean) => {
  member.online = is;
  member.accepting = is;
};

describe('a shared group', () => {
  for (const strategy of ['roundRobin', 'localFirst'] as const)
    it(`gives to its members in turn (${strategy})`, () => {
      const { members, send } = group(strategy, ['x', 'y', 'z']);
      for (const payload of ['1', '2', '3', '4']) send(payload);
      assert.deepEqual(
        members.map(({ payloads }) => payloads),
        [['1', '4'], ['2'], ['3']],
      );
      online(members[1]!, false);
      for (const payload of ['5', '6', '7']) send(payload, { qos: 0 });
      assert.deepEqual(
        members.map(({ payloads }) => payloads),
        [['1', '4', '6'], ['2'], ['3', '5', '7']],
      );
    });

  it('keeps the turn when a member leaves', () => {
    const { shared, members, subscriptions, send } = group('roundRobin', ['x', 'y', 'z']);
    send('1');
    send('2');
    shared.remove(subscriptions[0]!);
    send('3');
    send('4');
    assert.deepEqual(
      members.map(({ payloads }) => payloads),
      [['1'], ['2', '4'], ['3']],
    );
  });

  it('stays with one member while that can take (sticky)', () => {
    const { shared, members, subscriptions, send, counts } = group('sticky', ['x', 'y', 'z']);
    for (const payload of ['1', '2', '3']) send(payload);
    assert.deepEqual(counts().sort(), [0, 0, 3]);
    const chosen = members.findIndex(({ got }) => got.length === 3);
    online(members[chosen]!, false);
    send('4');
    send('5');
    assert.deepEqual(counts().sort(), [0, 2, 3]);
    const next = members.findIndex(({ got }) => got.length === 2);
    shared.remove(subscriptions[next]!);
    send('6');
    assert.deepEqual(counts().sort(), [1, 2, 3]);
  });

  for (const [strategy, vary] of [
    ['hashClientId', (name: string) => ({ publisherId: name })],
    ['hashTopic', (name: string) => ({ topicName: name })],
  ] as const)
    it(`sends the same to the same, and all members get some (${strategy})`, () => {
      const { members, send, counts } = group(strategy, ['x', 'y', 'z']);
      for (let round = 0; round < 3; round++) for (let n = 0; n < 60; n++) send(`p${n}`, vary(`client-${n}`));
      for (const { payloads } of members)
        for (const payload of payloads) assert.equal(payloads.filter((each) => each === payload).length, 3);
      assert.ok(
        counts().every((count) => count >= 30),
        counts().join(),
      );
    });

  it('spreads at random', () => {
    const { send, counts } = group('random', ['x', 'y']);
    for (let n = 0; n < 400; n++) send('p');
    assert.equal(counts()[0]! + counts()[1]!, 400);
    assert.ok(counts().every((count) => count > 50));
  });

  for (const strategy of ['roundRobin', 'random', 'sticky', 'hashClientId', 'hashTopic', 'localFirst'] as const)
    it(`keeps QoS 1 and 2 in order while no member takes, and drops QoS 0 (${strategy})`, () => {
      const { shared, members, send, state } = group(strategy, ['x', 'y'], 3);
      for (const member of members) online(member, false);
      send('0', { qos: 0 });
      for (const payload of ['1', '2', '3', '4']) assert.equal(send(payload), true);
      assert.deepEqual([shared.queued, state.dropped], [3, 1]);
      online(members[1]!, true);
      shared.drain();
      assert.deepEqual([members[0]!.payloads, members[1]!.payloads, shared.queued], [[], ['2', '3', '4'], 0]);
    });

  it('lets nothing newer pass what waits', () => {
    const { shared, members, send } = group('roundRobin', ['x']);
    online(members[0]!, false);
    send('1');
    members[0]!.online = true;
    send('2', { qos: 2 });
    assert.deepEqual(members[0]!.payloads, []);
    members[0]!.accepting = true;
    send('3');
    assert.deepEqual([members[0]!.payloads, shared.queued], [['1', '2', '3'], 0]);
  });

  it('takes back what a leaving member had, ahead of what waits', () => {
    const { shared, members, send } = group('roundRobin', ['x']);
    online(members[0]!, false);
    send('3');
    shared.takeBack([message('1'), message('2')]);
    online(members[0]!, true);
    shared.drain();
    assert.deepEqual(members[0]!.payloads, ['1', '2', '3']);
  });

  it('hands on no expired message', () => {
    const { shared, members, send, state } = group('roundRobin', ['x']);
    online(members[0]!, false);
    send('short', { seconds: 5 });
    send('long', { seconds: 50 });
    state.now = 6000;
    online(members[0]!, true);
    shared.drain();
    assert.deepEqual([members[0]!.payloads, state.dropped], [['long'], 1]);
  });

  it('says when the chosen member refuses', () => {
    const { members, send } = group('roundRobin', ['x']);
    members[0]!.takes = false;
    assert.equal(send('1'), false);
    assert.equal(send('1', { qos: 0 }), false);
  });

  it('spreads the packets of a run, and gives a run of one member whole', () => {
    const bytes = Buffer.from('\x30\x04\x00\x01a1\x30\x04\x00\x01a2\x30\x04\x00\x01a3', 'latin1');
    const run = new PublishRun();
    run.begin(bytes, 0, false, 1, undefined);
    run.end = bytes.length;
    run.count = 3;
    run.payloadBytes = 3;
    const two = group('roundRobin', ['x', 'y']);
    two.shared.deliverRun(run, 'a');
    assert.deepEqual(
      two.members.map(({ runs }) => runs.map((each) => each.bytes.at(-1))),
      [['1', '3'], ['2']],
    );
    const one = group('roundRobin', ['x']);
    one.shared.deliverRun(run, 'a');
    assert.deepEqual(one.members[0]!.runs, [{ count: 3, bytes: bytes.toString('latin1') }]);
  });
});
