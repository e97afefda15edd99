import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  isAscii,
  isValidTopicFilter,
  isValidTopicName,
  isValidUtf8,
  parseSharedFilter,
  ReasonCode,
  readVariableByteInteger,
  reasonCodeOf,
  returnCodeOf,
  subackReturnCodeOf,
  topicLevelCount,
  topicMatches,
  variableByteIntegerIncomplete,
  variableByteIntegerLength,
  variableByteIntegerMalformed,
  writeVariableByteInteger,
} from './index.js';

test('topic names have no wildcards and at least one character', () => {
  for (const name of ['a', '/', '//', 'a b', '$SYS/x', 'é/\ufeff', ' ']) assert.ok(isValidTopicName(name), name);
  for (const name of ['', '+', 'a/#', 'a+b', 'a\0b']) assert.ok(!isValidTopicName(name), JSON.stringify(name));
});

test('wildcards in filters occupy whole levels, # the last one', () => {
  for (const filter of ['#', '+', '/', 'a/#', '+/+', '+/a/#', '/+', 'a//b', '$SYS/#', '/#'])
    assert.ok(isValidTopicFilter(filter), filter);
  for (const filter of ['', 'a#', 'a/#/b', '#/', 'a+', '+a', 'a/b+/c', '##', '++', 'a\0']) {
    assert.ok(!isValidTopicFilter(filter), JSON.stringify(filter));
  }
});

test('shared filters are taken apart or refused', () => {
  assert.deepEqual(parseSharedFilter('$share/g/a/#'), { shareName: 'g', topicFilter: 'a/#' });
  assert.deepEqual(parseSharedFilter('$share/g//a'), { shareName: 'g', topicFilter: '/a' });
  assert.equal(parseSharedFilter('$shared/g/a'), undefined);
  assert.equal(parseSharedFilter('$share'), undefined);
  for (const filter of ['$share/', '$share/g', '$share//a', '$share/g/', '$share/+/a', '$share/a#/b', '$share/g/a#']) {
    assert.equal(parseSharedFilter(filter), 'invalid', filter);
  }
});

test('the matcher follows the examples of the standard', () => {
  const yes = [
    ['sport/tennis/player1/#', 'sport/tennis/player1'],
    ['sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon'],
    ['sport/#', 'sport'],
    ['#', 'a/b'],
    ['+', 'a'],
    ['sport/+', 'sport/'],
    ['+/+', '/finance'],
    ['/+', '/finance'],
    ['$SYS/#', '$SYS/a'],
    ['$SYS/monitor/+', '$SYS/monitor/Clients'],
    ['a//c', 'a//c'],
  ];
  const no = [
    ['sport/tennis/+', 'sport/tennis/player1/ranking'],
    ['sport/+', 'sport'],
    ['+', '/finance'],
    ['#', '$SYS/a'],
    ['+/monitor/Clients', '$SYS/monitor/Clients'],
    ['a/b', 'a/B'],
    ['a', 'a/b'],
    ['a/b/c', 'a/b'],
  ];
  for (const [filter, name] of yes) assert.ok(topicMatches(filter!, name!), `${filter} ${name}`);
  for (const [filter, name] of no) assert.ok(!topicMatches(filter!, name!), `${filter} ${name}`);
  assert.deepEqual(['a', '/', 'a/b/c'].map(topicLevelCount), [1, 2, 3]);
});

test('UTF-8 is judged as a strict decoder judges it, NUL aside', () => {
  const strict = new TextDecoder('utf-8', { fatal: true });
  const accepts = (bytes: Uint8Array) => {
    try {
      strict.decode(bytes);
      return true;
    } catch {
      return false;
    }
  };
  const interesting = [
    0x01, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xee, 0xef, 0xf0,
    0xf1, 0xf4, 0xf5, 0xff,
  ];
  const count = interesting.length;
  for (let index = 0; index < count ** 4; index += 1) {
    const bytes = Uint8Array.of(
      interesting[index % count]!,
      interesting[Math.floor(index / count) % count]!,
      interesting[Math.floor(index / count ** 2) % count]!,
      interesting[Math.floor(index / count ** 3)]!,
    );
    if (isValidUtf8(bytes, 0, 4) !== accepts(bytes)) assert.fail(Buffer.from(bytes).toString('hex'));
  }
  assert.ok(!isValidUtf8(Buffer.from('a\0b'), 0, 3));
  assert.ok(!isAscii(Buffer.from('a\0'), 0, 2));
  assert.ok(!isAscii(Buffer.from('é'), 0, 2));
  assert.ok(isAscii(Buffer.from('xabcx'), 1, 4));
});

test('variable byte integers at every border', () => {
  const bytes = Buffer.alloc(5);
  for (const [value, length] of [
    [0, 1],
    [127, 1],
    [128, 2],
    [16_383, 2],
    [16_384, 3],
    [2_097_151, 3],
    [2_097_152, 4],
    [268_435_455, 4],
  ] as const) {
    assert.equal(writeVariableByteInteger(bytes, 0, value), length);
    assert.equal(variableByteIntegerLength(value), length);
    assert.equal(readVariableByteInteger(bytes, 0, 5), value);
    for (let end = 0; end < length; end += 1) {
      assert.equal(readVariableByteInteger(bytes, 0, end), variableByteIntegerIncomplete);
    }
  }
  for (const bad of ['8000', '808000', 'ffffffff01', '80808000']) {
    assert.equal(
      readVariableByteInteger(Buffer.from(bad, 'hex'), 0, bad.length / 2),
      variableByteIntegerMalformed,
      bad,
    );
  }
});

test('reason codes become return codes of 3.x and back', () => {
  assert.equal(returnCodeOf(ReasonCode.UnsupportedProtocolVersion), 1);
  assert.equal(returnCodeOf(ReasonCode.ClientIdentifierNotValid), 2);
  assert.equal(returnCodeOf(ReasonCode.ServerBusy), 3);
  assert.equal(returnCodeOf(ReasonCode.BadUserNameOrPassword), 4);
  assert.equal(returnCodeOf(ReasonCode.Banned), 5);
  assert.equal(returnCodeOf(ReasonCode.MalformedPacket), undefined);
  for (const returnCode of [0, 1, 2, 3, 4, 5]) assert.equal(returnCodeOf(reasonCodeOf(returnCode)), returnCode);
  assert.equal(reasonCodeOf(77), ReasonCode.UnspecifiedError);
  assert.deepEqual([0, 2, 0x80, 0x87].map(subackReturnCodeOf), [0, 2, 0x80, 0x80]);
});
