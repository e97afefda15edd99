import assert from 'node:assert/strict';
import { it } from 'node:test';
import { type LogFields, type Logger, LogLevel } from '../base/index.js';
import { boundedLog } from './bounded-log.js';

it('a flood of one event is bounded and counted, and hides neither other events nor errors', () => {
  const lines: [event: string, fields: LogFields | undefined][] = [];
  const write: Logger['error'] = (event, _sentence, fields) => lines.push([event, fields]);
  const log: Logger = { level: LogLevel.debug, error: write, warning: write, information: write, debug: write };
  let nowMs = 0;
  const bounded = boundedLog(log, () => nowMs);
  for (let count = 0; count < 1000; count++) bounded.information('connection.tls-failed', 'x', { peer: `p${count}` });
  assert.equal(lines.length, 100);
  bounded.warning('connection.refused', 'x');
  bounded.error('listener.tls', 'x');
  bounded.debug('connection.tls', 'x');
  assert.deepEqual(
    lines.slice(100).map(([event]) => event),
    ['connection.refused', 'listener.tls', 'connection.tls'],
  );
  nowMs = 10_000;
  bounded.information('connection.tls-failed', 'x', { peer: 'p' });
  assert.deepEqual(lines.at(-1), ['connection.tls-failed', { peer: 'p', notLogged: 900 }]);
  assert.equal(bounded.level, LogLevel.debug);
});
