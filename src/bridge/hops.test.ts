import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Message, type Properties } from '../protocol/index.js';
import { encodedHops, findHops, HOPS_PROPERTY } from './hops.js';

const messageWith = (properties: Properties) => Message.create({ topicName: 'a', payload: 'x', properties }, 0);

describe('hops', () => {
  it('are none in a message that has not gone over a bridge', () => {
    assert.deepEqual(findHops(messageWith({})), { hops: 0, start: 0, end: 0 });
    const busy = messageWith({
      payloadFormatIndicator: 1,
      contentType: 'text/plain',
      responseTopic: 'r',
      correlationData: Buffer.from([1, 2]),
      userProperties: [['dunlin-hop', '7']],
    });
    assert.equal(findHops(busy).end, 0);
  });

  it('are found among other properties, and written as found', () => {
    for (const hops of [1, 2, 10, 999]) {
      const message = messageWith({
        contentType: 'x',
        userProperties: [
          ['a', 'b'],
          [HOPS_PROPERTY, String(hops)],
          ['c', 'd'],
        ],
      });
      const found = findHops(message);
      assert.equal(found.hops, hops);
      assert.deepEqual(message.body.subarray(found.start, found.end), encodedHops(hops));
    }
  });

  it('count as none where somebody wrote something else', () => {
    for (const value of ['', '-1', 'many', '1e9', '99999'])
      assert.equal(findHops(messageWith({ userProperties: [[HOPS_PROPERTY, value]] })).hops, 0);
  });
});
