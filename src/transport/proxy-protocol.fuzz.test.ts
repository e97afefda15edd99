/** Goal: no damaged PROXY header throws, is read beyond its end, or is an answer that more bytes would take back. */
import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { describe, it } from 'node:test';
import { damagedBytes } from '../base/damage.fuzz.js';
import { Random } from '../base/random.fuzz.js';
import { type ProxyHeader, parseProxyHeader } from './proxy-protocol.js';

const COUNT = 100_000;
const seed = Number(process.env.DUNLIN_SEED ?? 20_261);

const signature = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);
const second = (command: number, family: number, addresses: Buffer): Buffer => {
  const head = Buffer.concat([signature, Buffer.from([0x20 | command, family, 0, 0])]);
  head.writeUInt16BE(addresses.length, 14);
  return Buffer.concat([head, addresses]);
};
const headers = [
  Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.7 56324 1883\r\n'),
  Buffer.from('PROXY TCP6 2001:db8::1 ::ffff:198.51.100.7 65535 0\r\n'),
  Buffer.from('PROXY UNKNOWN whatever\r\n'),
  second(1, 0x11, Buffer.from([192, 0, 2, 1, 198, 51, 100, 7, 0xdc, 4, 7, 0x5b])),
  second(1, 0x21, Buffer.concat([Buffer.alloc(36, 0x20), Buffer.from([3, 0, 1, 9])])),
  second(1, 0x31, Buffer.alloc(216)),
  second(0, 0, Buffer.alloc(0)),
];

function check(answer: ProxyHeader | 'needMore' | Error, length: number): void {
  if (answer === 'needMore') return;
  if (answer instanceof Error) {
    assert.doesNotMatch(answer.message, /[^\x20-\x7e]/, 'a sentence for the log, without what the peer sent');
    return;
  }
  assert.ok(answer.length > 0 && answer.length <= length);
  if (answer.peer === undefined || answer.peer.address === '') return;
  const { address, localAddress, port, localPort } = answer.peer;
  assert.ok(isIP(address) > 0 && isIP(localAddress) > 0, `${address} ${localAddress}`);
  for (const each of [port, localPort]) assert.ok(Number.isInteger(each) && each >= 0 && each <= 65_535);
}

describe('a damaged PROXY header', () => {
  it(`is a header, an error, or not whole yet (seed ${seed})`, () => {
    const random = new Random(seed);
    const seen = { header: 0, error: 0, needMore: 0 };
    for (let count = 0; count < COUNT; count++) {
      const whole = Buffer.concat([random.pick(headers), Buffer.from([0x10, 0x20])]);
      const bytes = random.oneIn(10) ? whole : damagedBytes(random, whole);
      const accept = random.pick(['v1', 'v2', 'any'] as const);
      const framed = Buffer.concat([Buffer.from('??'), bytes, Buffer.from('??')]);
      const answer = parseProxyHeader(framed, 2, 2 + bytes.length, accept);
      check(answer, bytes.length);
      seen[answer === 'needMore' ? 'needMore' : answer instanceof Error ? 'error' : 'header']++;
      // The same bytes in two pieces come to the same.
      const early = parseProxyHeader(bytes, 0, random.below(bytes.length + 1), accept);
      if (early !== 'needMore') {
        if (answer instanceof Error || early instanceof Error)
          assert.ok(answer instanceof Error && early instanceof Error);
        else assert.deepEqual(early, answer);
      }
    }
    assert.ok(seen.header > 1000 && seen.error > 1000 && seen.needMore > 1000, JSON.stringify(seen));
  });
});
