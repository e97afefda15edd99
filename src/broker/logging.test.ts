import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createLogger } from './logging.js';

function collector(isTTY = false) {
  const lines: string[] = [];
  return { lines, stream: { isTTY, write: (text: string) => lines.push(text) } };
}

const hostile = 'a"b\n2026-01-01 error fake\u001b[2J\u009b31m\u2028\u202e';

describe('the log', () => {
  it('is one JSON object a line, whatever clients send', () => {
    const { lines, stream } = collector();
    createLogger({ level: 'information', format: 'auto', stream }).warning('connection.refused', 'Refused a client.', {
      clientId: hostile,
      count: 3,
      ok: false,
      absent: undefined,
      level: 'faked',
    });
    assert.equal(lines.length, 1);
    assert.match(lines[0]!, /^[\x20-\x7e]+\n$/);
    const { time, ...entry } = JSON.parse(lines[0]!);
    assert.ok(!Number.isNaN(Date.parse(time)));
    assert.deepEqual(entry, {
      level: 'warning',
      event: 'connection.refused',
      message: 'Refused a client.',
      clientId: hostile,
      count: 3,
      ok: false,
      level_: 'faked',
    });
  });

  it('is one readable line on a terminal, whatever clients send', () => {
    const { lines, stream } = collector();
    createLogger({ level: 'debug', format: 'pretty', stream }).error('x.failed', `Failed: ${hostile}`, {
      clientId: hostile,
      count: 3,
      absent: undefined,
    });
    assert.equal(lines.length, 1);
    assert.match(lines[0]!, /^\d\d:\d\d:\d\d\.\d{3} error {7}Failed: a"b\\n/);
    assert.match(
      lines[0]!,
      /x\.failed clientId="a\\"b\\n2026-01-01 error fake\\u001b\[2J\\u009b31m\\u2028\\u202e" count=3\n$/,
    );
    assert.match(lines[0]!, /^[\x20-\x7e]+\n$/);
  });

  it('is pretty on a terminal when left to itself', () => {
    const { lines, stream } = collector(true);
    createLogger({ level: 'debug', format: 'auto', stream }).debug('a.b', 'Sentence.');
    assert.match(lines[0]!, /Sentence\./);
    assert.doesNotMatch(lines[0]!, /^\{/);
  });

  it('holds only what the level asks for, and follows a change', () => {
    const { lines, stream } = collector();
    const logger = createLogger({ level: 'none', format: 'json', stream });
    const all = () => {
      logger.error('e', 'e');
      logger.warning('w', 'w');
      logger.information('i', 'i');
      logger.debug('d', 'd');
      return lines.splice(0).map((line) => JSON.parse(line).level);
    };
    assert.deepEqual(all(), []);
    logger.setLevel('warning');
    assert.equal(logger.level, 2);
    assert.deepEqual(all(), ['error', 'warning']);
    logger.setLevel('debug');
    assert.deepEqual(all(), ['error', 'warning', 'information', 'debug']);
  });
});
