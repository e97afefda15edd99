/** Goal: what a program hands over wrongly is named and changes nothing: not for its next call, not for the clients. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { defaultConfig } from '../config/index.js';
import type { Broker, PublishOptions } from './broker-api.js';
import { createBroker, createLogger } from './index.js';
import type { ReceivedMessage } from './local-subscriber.js';

const make = (): Broker => createBroker({ config: { listeners: [] } });
/** What a program in JavaScript may hand over, whatever the types say. */
const loose = (value: unknown) => value as never;

describe('publish', () => {
  it('refuses what is no payload, and publishes the next one whole', () => {
    const broker = make();
    const got: ReceivedMessage[] = [];
    broker.subscribe('#', (message) => got.push(message));
    const wrong = [5, 0, true, {}, [1, 2], null, undefined, new ArrayBuffer(4), new Uint16Array([1, 500]), new Date()];
    for (const payload of wrong)
      assert.throws(() => broker.publish('a', loose(payload)), { name: 'Fault', code: 'PAYLOAD_INVALID' });
    assert.throws(() => broker.publish('a', loose(5)), {
      message: 'a payload is a string, a Buffer or a Uint8Array, not 5',
    });
    for (const payload of ['text', '', Buffer.from('text'), new Uint8Array([1, 2]), Buffer.alloc(3_000_000, 'x')]) {
      broker.publish('a', payload);
      assert.deepEqual(got.pop()?.payload, Buffer.from(payload));
    }
    assert.deepEqual(got, []);
  });

  it('refuses a payload that no packet could carry', () => {
    assert.throws(() => make().publish('a', Buffer.alloc(268_435_455)), { code: 'PAYLOAD_INVALID' });
  });

  it('refuses what is no topic name', () => {
    for (const topicName of [undefined, null, 5, ['a'], {}, '', 'a/+', '\ud800', 'x'.repeat(65_536)])
      assert.throws(() => make().publish(loose(topicName), 'x'), { code: 'TOPIC_NAME_INVALID' });
  });

  it('refuses options that it would read otherwise than they were meant', () => {
    const broker = make();
    let got = 0;
    broker.subscribe('#', () => got++);
    const wrong: [unknown, RegExp][] = [
      [null, /found null/],
      [1, /found 1/],
      [{ qos: 3 }, /^publish: qos: found 3, allowed is 0, 1 or 2$/],
      [{ qos: '1' }, /qos: found "1"/],
      [{ QoS: 1 }, /unknown option "QoS"; there are qos, retain, properties/],
      [{ retain: 'false' }, /retain: found "false"/],
      [{ properties: 5 }, /properties: found 5/],
      [{ properties: { contentType: 5 } }, /contentType: found 5/],
      [{ properties: { contentType: 'a\0' } }, /contentType/],
      [{ properties: { responseTopic: 'a/#' } }, /responseTopic: found "a\/#"/],
      [{ properties: { correlationData: 'text' } }, /correlationData/],
      [{ properties: { payloadFormatIndicator: true } }, /payloadFormatIndicator: found true/],
      [{ properties: { messageExpiryInterval: -1 } }, /messageExpiryInterval: found -1/],
      [{ properties: { messageExpiryInterval: 0.5 } }, /messageExpiryInterval/],
      [{ properties: { userProperties: { a: 'b' } } }, /userProperties: found an object/],
      [{ properties: { userProperties: [['a', 5]] } }, /userProperties: found a list/],
      [{ properties: { topicAlias: 1 } }, /unknown option "topicAlias"/],
    ];
    for (const [options, message] of wrong)
      assert.throws(() => broker.publish('a', 'x', loose(options)), { code: 'OPTIONS_INVALID', message });
    assert.equal(got, 0);
  });

  it('takes every property that a message carries, and what is undefined as left out', () => {
    const broker = make();
    const got: ReceivedMessage[] = [];
    broker.subscribe('#', (message) => got.push(message), { qos: 2 });
    const properties = {
      payloadFormatIndicator: 1,
      contentType: 'text/plain',
      responseTopic: 'b',
      correlationData: Buffer.from([0]),
      userProperties: [['a', ''] as [string, string]],
    };
    broker.publish('a', 'x', { qos: 2, retain: false, properties } as PublishOptions);
    broker.publish('a', 'x', loose({ qos: undefined, properties: { contentType: undefined } }));
    assert.deepEqual(got[0]?.properties, properties);
    assert.equal(got[0]?.qos, 2);
    assert.equal(got[1]?.properties, undefined);
  });
});

describe('subscribe', () => {
  it('refuses what is no filter, no handler, or could never receive anything', () => {
    const broker = make();
    for (const topicFilter of [undefined, 5, '', 'a#', '\ud800', 'x'.repeat(65_536)])
      assert.throws(() => broker.subscribe(loose(topicFilter), () => {}), { code: 'TOPIC_FILTER_INVALID' });
    assert.throws(() => broker.subscribe('$share/g/a', () => {}), {
      code: 'TOPIC_FILTER_INVALID',
      message: 'only clients share subscriptions: "$share/g/a"',
    });
    for (const handler of [undefined, 'x', {}])
      assert.throws(() => broker.subscribe('a', loose(handler)), { code: 'HANDLER_INVALID' });
    for (const options of [null, 1, { qos: 3 }, { retain: true }])
      assert.throws(() => broker.subscribe('a', () => {}, loose(options)), { code: 'OPTIONS_INVALID' });
    assert.equal(broker.status().subscriptions, 0);
  });
});

describe('on', () => {
  it('refuses an event that there is not, and what is no function', () => {
    const broker = make();
    assert.throws(() => broker.on(loose('clientReady'), () => {}), { code: 'EVENT_UNKNOWN', message: /"clientReady"/ });
    assert.throws(() => broker.on('subscribed', loose(undefined)), { code: 'HANDLER_INVALID' });
  });
});

describe('ban', () => {
  it('refuses what would make a ban for a time one for good', () => {
    const broker = make();
    const ban = { kind: 'clientId', value: 'c' } as const;
    for (const more of [{ until: 5 }, { seconds: 60 }, { untilMs: '5' }, { untilMs: Number.NaN }, { reason: 5 }])
      assert.throws(() => broker.ban(loose({ ...ban, ...more })), { code: 'BAN_INVALID' });
    assert.deepEqual(broker.bans(), []);
    assert.equal(broker.ban({ ...ban, reason: 'x', untilMs: Date.now() + 60_000 }).by, 'administrator');
  });
});

describe('createLogger', () => {
  it('refuses a level, a format or a destination that there is not', () => {
    const wrong: [unknown, RegExp][] = [
      [undefined, /found undefined/],
      [{ level: 'info', format: 'json' }, /^createLogger: level: found "info", allowed is none, error, warning, /],
      [{ level: 'error', format: 'xml' }, /format: found "xml"/],
      [{ level: 'error', format: 'json', destinations: ['file'] }, /destinations: found a list/],
    ];
    for (const [options, message] of wrong)
      assert.throws(() => createLogger(loose(options)), { code: 'OPTIONS_INVALID', message });
    assert.equal(createLogger(defaultConfig().log).level, 3);
  });
});
