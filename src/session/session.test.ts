/** Goal: window, packet identifiers, order, queue and re-delivery of a session, told by what its connection is handed. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ReasonCode } from '../protocol/index.js';
import { FakeLink, SessionBench, subscribed } from './fake-link.fuzz.js';

function one(limits: ConstructorParameters<typeof SessionBench>[0] = {}, receiveMaximum = 2, expiry = 100) {
  const bench = new SessionBench(limits);
  const { session, link } = bench.open('c', { receiveMaximum, expiry });
  session.subscribe(subscribed('#', 2));
  const send = (...payloads: string[]) => payloads.map((payload) => bench.publish(payload));
  return { bench, session, link, send };
}

describe('a session', () => {
  for (const expiry of [0, 100])
    it(`sends as many as the client receives at once, and queues the rest (expiry ${expiry})`, () => {
      const { session, link, send, bench } = one({}, 2, expiry);
      send('a', 'b', 'c', 'd');
      assert.deepEqual([link.take(), session.queuedMessages, session.inflightMessages], [['1:a', '2:b'], 2, 2]);
      bench.publish('zero', { qos: 0 });
      assert.deepEqual(link.take(), ['0:zero'], 'QoS 0 does not count');
      session.puback(2);
      assert.deepEqual(link.take(), ['3:c']);
      session.puback(2); // once more: unknown by now
      session.puback(77);
      assert.deepEqual([link.take(), session.inflightMessages], [[], 2]);
      session.puback(1);
      session.puback(3);
      session.puback(4);
      assert.deepEqual([link.take(), session.inflightMessages, session.queuedMessages], [['4:d'], 0, 0]);
    });

  it('keeps within its own window where the client takes more', () => {
    const { link, send } = one({ inflightMessagesMax: 3 }, 65_535);
    send('a', 'b', 'c', 'd');
    assert.deepEqual(link.take(), ['1:a', '2:b', '3:c']);
  });

  for (const expiry of [0, 100])
    it(`goes through the steps of QoS 2, and counts it until the last (expiry ${expiry})`, () => {
      const { bench, session, link } = one({}, 1, expiry);
      bench.publish('a', { qos: 2 });
      bench.publish('b', { qos: 2 });
      assert.deepEqual(link.take(), ['1:a']);
      session.puback(1); // the wrong packet for it
      session.pubcomp(1);
      assert.equal(session.inflightMessages, 1);
      session.pubrec(1, 0);
      session.pubrec(1, 0); // [MQTT-4.3.3-4] again
      assert.deepEqual(link.take(), ['rel 1', 'rel 1']);
      session.pubcomp(1);
      assert.deepEqual(link.take(), ['2:b']);
      session.pubrec(2, ReasonCode.QuotaExceeded);
      assert.deepEqual([link.take(), session.inflightMessages], [[], 0]);
      session.pubrec(9, 0);
      session.pubrec(9, ReasonCode.QuotaExceeded);
      assert.deepEqual(link.take(), ['rel 9 unknown']);
    });

  it('uses no packet identifier that is open, and few numbers over a long time', () => {
    const { session, link, send } = one({}, 3);
    const open = new Set<number>();
    let highest = 0;
    for (let count = 0; count < 2000; count++) {
      send('x');
      for (const text of link.take()) {
        const packetId = Number(text.split(':')[0]);
        assert.equal(open.has(packetId), false);
        open.add(packetId);
        highest = Math.max(highest, packetId);
      }
      // The first stays open for long, the others are acknowledged soon.
      const [first, ...others] = open;
      const acknowledged = count % 300 === 299 ? first! : others[0];
      if (acknowledged !== undefined && open.delete(acknowledged)) session.puback(acknowledged);
    }
    assert.ok(highest <= 64, String(highest));
  });

  it('re-delivers in the first order of sending, marked, before anything newer', () => {
    const { bench, session, link, send } = one({}, 5);
    send('a', 'b');
    bench.publish('c', { qos: 2 });
    bench.publish('d', { qos: 2 });
    send('e', 'waited');
    session.puback(1);
    session.pubrec(3, 0);
    link.take();
    bench.registry.close(session, link, false);
    send('while away');
    const again = bench.open('c', { receiveMaximum: 5 });
    assert.equal(again.sessionPresent, true);
    assert.equal(again.session, session);
    assert.deepEqual(again.link.take(), ['2:b+dup', 'rel 3', '4:d+dup', '5:e+dup', '6:waited+dup']);
    session.pubcomp(3);
    assert.deepEqual(again.link.take(), ['7:while away']);
  });

  it('re-delivers within a smaller window, and takes acknowledgements of the former connection', () => {
    const { bench, session, link, send } = one({}, 4);
    send('a', 'b', 'c', 'd');
    bench.registry.close(session, link, false);
    const again = bench.open('c', { receiveMaximum: 1 });
    assert.deepEqual(again.link.take(), ['1:a+dup']);
    session.puback(3);
    assert.deepEqual([again.link.take(), session.inflightMessages], [[], 1]);
    session.puback(1);
    assert.deepEqual(again.link.take(), ['2:b+dup']);
    session.puback(2);
    assert.deepEqual(again.link.take(), ['4:d+dup']);
    session.puback(4);
    send('e');
    assert.deepEqual([again.link.take(), session.inflightMessages], [['5:e'], 1]);
  });

  it('drops, counts or refuses by policy when its queue is full', () => {
    const full = (queueOverflow: 'dropOldest' | 'refuse') => {
      const { bench, session, link, send } = one({ queueMessagesMax: 2, queueOverflow });
      bench.registry.close(session, link, false);
      const answers = send('a', 'b', 'c');
      const back = bench.open('c');
      return { answers, sent: back.link.take(), dropped: bench.metrics.publishDropped };
    };
    const { Success, QuotaExceeded } = ReasonCode;
    assert.deepEqual(full('dropOldest'), {
      answers: [Success, Success, Success],
      sent: ['1:b', '2:c'],
      dropped: 1,
    });
    assert.deepEqual(full('refuse'), {
      answers: [Success, Success, QuotaExceeded],
      sent: ['1:a', '2:b'],
      dropped: 1,
    });
  });

  it('waits for a connection without room, and goes on when it has some', () => {
    const { session, link, send } = one({}, 10);
    link.hasRoom = false;
    send('a', 'b');
    assert.deepEqual([link.take(), session.queuedMessages], [[], 2]);
    link.hasRoom = true;
    session.pump();
    assert.deepEqual(link.take(), ['1:a', '2:b']);
  });

  it('holds whoever publishes once half of its queue is full', () => {
    const bench = new SessionBench({ queueMessagesMax: 8 }, 1000);
    const { session, link } = bench.open('c', { receiveMaximum: 1 });
    session.subscribe(subscribed('a', 1));
    const publisher = bench.open('p').link;
    bench.pressure.publisher = publisher;
    for (const payload of ['0', '1', '2', '3']) bench.publish(payload);
    assert.equal(publisher.held, 0);
    bench.publish('4');
    assert.equal(publisher.held, 1);
    bench.pressure.publisher = link;
    for (const packetId of [1, 2]) session.puback(packetId);
    assert.deepEqual([session.queuedMessages, publisher.held], [2, 0]);
  });

  it('lets its publishers go when its connection ends', () => {
    const bench = new SessionBench({ queueMessagesMax: 2 }, 1000);
    const { session, link } = bench.open('c', { receiveMaximum: 1 });
    session.subscribe(subscribed('a', 1));
    const publisher = bench.open('p').link;
    bench.pressure.publisher = publisher;
    for (const payload of ['0', '1']) bench.publish(payload);
    assert.equal(publisher.held, 1);
    bench.registry.close(session, link, false);
    assert.equal(publisher.held, 0);
  });

  it('sends no expired message, and counts it', () => {
    const { bench, session, link } = one();
    bench.registry.close(session, link, false);
    bench.publish('short', { properties: { messageExpiryInterval: 5 } });
    bench.publish('long', { properties: { messageExpiryInterval: 50 } });
    bench.pass(6);
    assert.deepEqual(bench.open('c').link.take(), ['1:long']);
    assert.equal(bench.metrics.publishDropped, 1);
  });

  it('takes a packet that is too large for the client as acknowledged', () => {
    const { bench, session, link, send } = one({}, 1);
    link.takes = false;
    send('large', 'large');
    assert.deepEqual([session.inflightMessages, session.queuedMessages, bench.metrics.publishDropped], [0, 0, 2]);
    link.takes = true;
    send('small');
    assert.deepEqual(
      link.take().map((text) => text.split(':')[1]),
      ['small'],
    );
  });

  it('queues QoS 0 for the absent only where that is switched on', () => {
    for (const queueQos0 of [false, true]) {
      const { bench, session, link } = one({ queueQos0 });
      bench.registry.close(session, link, false);
      bench.publish('zero', { qos: 0 });
      assert.deepEqual(bench.open('c').link.take(), queueQos0 ? ['0:zero'] : []);
    }
  });

  it('sends stored messages as a new subscription asks', () => {
    const bench = new SessionBench();
    bench.publish('stored', { retain: true, qos: 2 });
    const { session, link } = bench.open('c');
    const subscribe = (retainHandling: 0 | 1 | 2, topicFilter = 'a') => {
      session.subscribe(subscribed(topicFilter, 0, { retainHandling }));
      session.pump();
      return link.take();
    };
    assert.deepEqual(
      [subscribe(1), subscribe(1), subscribe(0), subscribe(2), subscribe(2, '+'), subscribe(1, '#')],
      [['0:stored+retain'], [], ['0:stored+retain'], [], [], ['0:stored+retain']],
    );
    session.subscribe(subscribed('a', 0, { shareName: 'g' }));
    session.pump();
    assert.deepEqual(link.take(), []);
  });

  it('sends no stored messages for a subscription that ended before their turn', () => {
    const bench = new SessionBench();
    for (const topicName of ['a', 'b']) bench.publish(`stored ${topicName}`, { topicName, retain: true });
    const { session, link } = bench.open('c', { receiveMaximum: 1 });
    session.subscribe(subscribed('+', 1));
    session.pump();
    assert.deepEqual(link.take(), ['1:stored a+retain']);
    assert.equal(session.unsubscribe('+'), ReasonCode.Success);
    session.puback(1);
    session.pump();
    assert.deepEqual(link.take(), []);
  });

  it('sends none for a subscription that was replaced and then ended before their turn', () => {
    const { bench, session, link } = one({}, 1);
    for (const topicName of ['a', 'b', 'c']) bench.publish(topicName, { topicName, retain: true });
    for (const packetId of [1, 2, 3]) session.puback(packetId);
    link.take();
    session.subscribe(subscribed('+', 1));
    session.subscribe(subscribed('+', 0, { retainHandling: 1 }));
    session.unsubscribe('+');
    assert.deepEqual(link.take(), []);
    session.pump();
    assert.deepEqual(link.take(), [], 'retainHandling 1');
    session.subscribe(subscribed('+', 1));
    session.subscribe(subscribed('+', 1));
    session.unsubscribe('+');
    session.pump();
    assert.deepEqual(link.take(), [], 'retainHandling 0');
  });

  it('sends them with the QoS of the subscription in the place of the one that asked, and once', () => {
    const { bench, session, link } = one({}, 1);
    for (const topicName of ['a', 'b']) bench.publish(topicName, { topicName, retain: true });
    for (const packetId of [1, 2]) session.puback(packetId);
    link.take();
    session.subscribe(subscribed('+', 1));
    session.subscribe(subscribed('+', 0, { retainHandling: 1 }));
    session.pump();
    assert.deepEqual(link.take(), ['0:a+retain', '0:b+retain']);
    session.subscribe(subscribed('+', 1));
    session.subscribe(subscribed('+', 0));
    session.pump();
    assert.deepEqual(link.take(), ['0:a+retain', '0:b+retain']);
  });

  it('sends QoS 0 behind the QoS 0 that waits [MQTT-4.6.0-5], and past what waits for acknowledgements', () => {
    const { bench, session, link } = one({ queueQos0: true }, 1);
    bench.registry.close(session, link, false);
    for (const payload of ['one', 'two']) bench.publish(payload);
    for (const payload of ['zero', 'next']) bench.publish(payload, { qos: 0 });
    const back = new FakeLink();
    back.hasRoom = false;
    bench.registry.open('c', false, 100, undefined, back, 1);
    session.resume();
    bench.publish('later', { qos: 0 });
    assert.deepEqual(back.take(), []);
    back.hasRoom = true;
    session.pump();
    assert.deepEqual(back.take(), ['1:one', '0:zero', '0:next', '0:later']);
    bench.publish('last', { qos: 0 });
    session.puback(1);
    assert.deepEqual([back.take(), session.queuedMessages], [['0:last', '2:two'], 0]);
  });

  it('sends stored messages no faster than they may, however often they are asked for', () => {
    const bench = new SessionBench({ retainedPerSecondMax: 4 });
    for (const topicName of ['a', 'b', 'c']) bench.publish(topicName, { topicName, retain: true });
    const { session, link } = bench.open('c');
    let asked = 0;
    const ask = () => {
      session.subscribe(subscribed(asked++ % 2 === 0 ? '+' : '+/#', 0));
      session.pump();
      return link.take().length;
    };
    assert.deepEqual([ask(), ask(), ask()], [3, 1, 0], 'what a second allows at once, then nothing');
    link.again = () => session.pump();
    bench.pass(1);
    assert.equal(link.take().length, 4);
    bench.pass(5);
    assert.equal(link.take().length, 1, 'the rest');
    assert.deepEqual([ask(), ask()], [3, 1], 'what was not used, and no more');
    bench.now -= 3_600_000;
    session.pump();
    bench.now += 1000;
    session.pump();
    assert.equal(link.take().length, 2, 'also after the clock was set back');
  });

  it('hands what it had of a group to other members when it leaves', () => {
    const bench = new SessionBench();
    const first = bench.open('first', { receiveMaximum: 2 });
    first.session.subscribe(subscribed('a', 1, { shareName: 'g' }));
    for (const payload of ['1', '2', '3']) bench.publish(payload);
    first.session.puback(1);
    const second = bench.open('second');
    second.session.subscribe(subscribed('a', 1, { shareName: 'g' }));
    assert.deepEqual(second.link.take(), []);
    bench.registry.close(first.session, first.link, false);
    assert.deepEqual(second.link.take(), ['1:2', '2:3']);
    assert.deepEqual([first.session.queuedMessages, bench.open('first').link.take()], [0, []]);
  });

  it('remembers what it received at QoS 2 until it is released', () => {
    const { session } = one();
    session.noteReceived(5);
    session.noteReceived(5);
    assert.deepEqual([session.hasReceived(5), session.hasReceived(6), session.receivedCount], [true, false, 1]);
    assert.deepEqual([session.release(5), session.release(5), session.receivedCount], [true, false, 0]);
  });

  it('tells whether what is unsubscribed was there', () => {
    const { bench, session, link, send } = one();
    assert.equal(session.unsubscribe('nothing'), ReasonCode.NoSubscriptionExisted);
    assert.equal(session.unsubscribe('#'), ReasonCode.Success);
    assert.equal(session.unsubscribe('#'), ReasonCode.NoSubscriptionExisted);
    send('x');
    assert.deepEqual([link.take(), bench.router.subscriptionCount, session.subscriptionCount], [[], 0, 0]);
  });
});
