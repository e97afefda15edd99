/** Goal: a message says what its PUBLISH said, for as long as whoever keeps it likes. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../base/random.fuzz.js';
import {
  encodePacket,
  Message,
  PacketType,
  type Properties,
  type ProtocolVersion,
  PublishView,
  type QoS,
  readVariableByteInteger,
  variableByteIntegerLength,
} from './index.js';

const forwarded: Properties = {
  payloadFormatIndicator: 1,
  contentType: 'text/plain',
  responseTopic: 'réponse/1',
  correlationData: Buffer.from([0, 255, 7]),
  userProperties: [
    ['a', '1'],
    ['a', ''],
    ['', '🚀'],
  ],
};

interface Given {
  readonly version?: ProtocolVersion;
  readonly qos?: QoS;
  readonly topicName?: string;
  readonly payload?: Uint8Array;
  readonly properties?: Properties;
}

/** The view of a PUBLISH that stands somewhere in a chunk. */
function received({ version = 5, qos = 1, topicName = 'a/é', payload = Buffer.from('payload'), properties }: Given) {
  const packet = encodePacket(
    {
      type: PacketType.Publish,
      dup: false,
      qos,
      retain: true,
      topicName,
      payload,
      ...(qos > 0 ? { packetId: 0x1234 } : {}),
      ...(properties === undefined ? {} : { properties }),
    },
    version,
  );
  const chunk = Buffer.concat([Buffer.from('before'), packet, Buffer.from('after')]);
  const bodyStart = 6 + 1 + variableByteIntegerLength(readVariableByteInteger(packet, 1, packet.length));
  const view = new PublishView();
  view.read(chunk[6]!, chunk, bodyStart, 6 + packet.length, version);
  return { view, chunk };
}

const now = () => 50_000;
const facts = (message: Message) => ({
  topicName: message.topicName,
  topic: message.body.toString('utf8', message.topicStart, message.topicEnd),
  payload: message.payload.toString('latin1'),
  qos: message.qos,
  retain: message.retain,
  properties: message.properties,
  expiresAtMs: message.expiresAtMs,
  publisherId: message.publisherId,
  bytes: message.bytes,
});

describe('a message', () => {
  for (const [name, given] of [
    ['of 3.1.1', { version: 4 as const }],
    ['of 5.0 without properties', {}],
    ['of 5.0 with properties', { properties: forwarded }],
    ['with a large payload', { payload: Buffer.alloc(10_000, 7), properties: forwarded }],
    ['at QoS 0', { qos: 0 as const }],
  ] satisfies [string, Given][])
    it(`is the same borrowed, kept, compact and made at once: ${name}`, () => {
      const { view, chunk } = received(given);
      const borrowed = Message.borrow(view, chunk, 'a/é', 'publisher', now);
      const said = facts(borrowed);
      const kept = borrowed.keep();
      const compact = borrowed.compact();
      const own = Message.fromView(view, chunk, 'a/é', 'publisher', now);
      assert.equal(borrowed.keep(), kept, 'made once for all who ask');
      assert.deepEqual(said.properties, 'properties' in given ? given.properties : undefined);
      chunk.fill(0x2a);
      for (const message of [kept, compact, own]) assert.deepEqual(facts(message), said);
      assert.equal(kept.keep(), kept);
      assert.equal(compact.compact(), compact);
      assert.equal(compact.body.length, compact.bytes, 'it holds no more than itself');
    });

  it('is not what the next borrowed one says', () => {
    const first = received({ topicName: 'one' });
    const second = received({ topicName: 'two', qos: 0, properties: forwarded });
    const kept = Message.borrow(first.view, first.chunk, 'one', 'x', now).keep();
    const next = Message.borrow(second.view, second.chunk, 'two', undefined, now).keep();
    assert.deepEqual([kept.topicName, kept.qos, kept.publisherId], ['one', 1, 'x']);
    assert.deepEqual([next.topicName, next.qos, next.publisherId], ['two', 0, undefined]);
  });

  it('leaves alias and expiry behind, the order of the rest as it was', () => {
    const properties: Properties = {
      userProperties: [['first', '1']],
      topicAlias: 3,
      contentType: 'x',
      messageExpiryInterval: 60,
      correlationData: Buffer.from('c'),
    };
    const { view, chunk } = received({ properties });
    const message = Message.borrow(view, chunk, 'a/é', undefined, now);
    assert.equal(message.expiresAtMs, 110_000);
    const { topicAlias: _alias, messageExpiryInterval: _expiry, ...rest } = properties;
    assert.deepEqual(message.properties, rest);
    assert.deepEqual(Object.keys(message.properties!), ['userProperties', 'contentType', 'correlationData']);
    chunk.fill(0x2a);
    assert.equal(message.topicName, 'a/é');
    assert.deepEqual(message.properties, rest, 'it was copied at once');
  });

  it('takes its topic name from the alias where that stands for it', () => {
    const { view, chunk } = received({ topicName: '', properties: { topicAlias: 1, contentType: 'x' } });
    const message = Message.borrow(view, chunk, 'the/nàme', undefined, now);
    assert.equal(facts(message).topic, 'the/nàme');
    assert.deepEqual(message.properties, { contentType: 'x' });
    assert.equal(message.payload.toString(), 'payload');
  });

  it('goes there and back through its properties when it is made of values', () => {
    const properties = { ...forwarded, messageExpiryInterval: 10, subscriptionIdentifiers: [1], topicAlias: 4 };
    const message = Message.create({ topicName: 'é', payload: 'ü', properties, qos: 2, publisherId: 'p' }, 1000);
    assert.deepEqual(facts(message), {
      topicName: 'é',
      topic: 'é',
      payload: Buffer.from('ü').toString('latin1'),
      qos: 2,
      retain: false,
      properties: forwarded,
      expiresAtMs: 11_000,
      publisherId: 'p',
      bytes: message.bytes,
    });
    assert.equal(
      Message.create({ topicName: 'a', payload: '', properties: { userProperties: [] } }, 0).properties,
      undefined,
    );
    assert.equal(Message.create({ topicName: 'a', payload: 'b' }, 0).bytes, 2);
  });

  it('expires at its time and tells whole seconds until then', () => {
    const message = Message.create({ topicName: 'a', payload: '', properties: { messageExpiryInterval: 3 } }, 1000);
    assert.deepEqual(
      [999, 3999, 4000].map((at) => message.isExpired(at)),
      [false, false, true],
    );
    assert.deepEqual(
      [1000, 1001, 3999, 9000].map((at) => message.remainingSeconds(at)),
      [3, 3, 1, 0],
    );
    const lasting = Message.create({ topicName: 'a', payload: '' }, 1000);
    assert.equal(lasting.isExpired(Number.MAX_SAFE_INTEGER), false);
    const never = Message.create({ topicName: 'a', payload: '', properties: { messageExpiryInterval: 0 } }, 1000);
    assert.equal(never.isExpired(1000), true, 'an interval of 0 is over at once');
  });

  it('shares slabs with others without touching them', () => {
    const random = new Random(2);
    const made: { message: Message; payload: Buffer }[] = [];
    for (let count = 0; count < 500; count++) {
      const payload = random.bytes(random.oneIn(10) ? 4000 + random.below(9000) : random.below(300));
      const { view, chunk } = received({ payload, version: random.oneIn(2) ? 4 : 5 });
      const message = Message.borrow(view, chunk, 'a/é', undefined, now);
      made.push({ message: random.oneIn(2) ? message.keep() : message.compact(), payload });
      chunk.fill(0);
    }
    for (const { message, payload } of made) {
      assert.ok(message.payload.equals(payload));
      assert.equal(facts(message).topic, 'a/é');
    }
  });
});
