/** Goal: a message is the same out of storage as it went in, with its publisher and its source where they are kept. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Message, type MessageSource, messageRecordBytes, readMessageRecord, writeMessageRecord } from './index.js';

function record(message: Message, withPublisher = true): Buffer {
  const bytes = Buffer.alloc(messageRecordBytes(message, withPublisher) + 10, 0xee);
  writeMessageRecord(message, withPublisher, bytes, 5);
  assert.ok(bytes.subarray(0, 5).every((byte) => byte === 0xee) && bytes.subarray(-5).every((byte) => byte === 0xee));
  return bytes.subarray(5, -5);
}

const read = (bytes: Buffer) => readMessageRecord(bytes, 0, bytes.length);

const message = (publisherId?: string, source?: MessageSource) =>
  Message.create(
    {
      topicName: 'plant/ü',
      payload: 'payload',
      qos: 1,
      retain: true,
      properties: { messageExpiryInterval: 7, contentType: 'text/plain' },
      publisherId,
      source,
    },
    1000,
  );

const facts = ({ topicName, payload, qos, retain, properties, expiresAtMs, publisherId, source }: Message) => ({
  topicName,
  payload: payload.toString(),
  qos,
  retain,
  properties,
  expiresAtMs,
  publisherId,
  source,
});

describe('the record of a message', () => {
  const sources: (MessageSource | undefined)[] = [
    undefined,
    { clientId: 'sensor-ü', username: 'ada', listener: 'plain' },
    { clientId: 'sensor-ü', username: 'Ä\0b', listener: 'plain' },
    { clientId: 'sensor-ü', username: '', listener: 'plain' },
    { clientId: 'sensor-ü', username: undefined, listener: '' },
  ];
  for (const source of sources)
    it(`holds all of it, of ${JSON.stringify(source)}`, () => {
      const given = message('sensor-ü', source);
      assert.deepEqual(facts(read(record(given))), facts(given));
    });

  it('has neither publisher nor source where they are not wanted', () => {
    const given = message('sensor-ü', sources[1]);
    const found = facts(read(record(given, false)));
    assert.deepEqual(found, { ...facts(given), publisherId: undefined, source: undefined });
    assert.equal(messageRecordBytes(given, false), messageRecordBytes(message(), true));
  });

  it('without a source is byte for byte what it was before there were sources', () => {
    const plain = Message.create({ topicName: 't', payload: 'p', publisherId: 'c' }, 0);
    assert.equal(record(plain).toString('hex'), '10010063010074' + '00' + '70');
  });

  it('costs the names and two bytes', () => {
    const source = { clientId: 'c', username: 'ada', listener: 'plain' };
    assert.equal(messageRecordBytes(message('c', source), true), messageRecordBytes(message('c'), true) + 2 + 3 + 5);
  });

  it('knows of a source with too long a name that there was one, not who', () => {
    const source = { clientId: 'c'.repeat(40_000), username: 'u'.repeat(40_000), listener: 'plain' };
    const found = read(record(message(source.clientId, source)));
    assert.deepEqual(found.source, { clientId: '', username: undefined, listener: '' });
    assert.equal(found.topicName, 'plant/ü');
  });
});
