/** Goal: no mosquitto.conf makes the reader throw; what is wrong is told in one line with its place, and what is taken is a whole configuration. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { parseConfig } from '../load.js';
import { resolveMosquitto } from '../load-file.js';
import { formatProblem } from '../problem.js';
import { convertMosquitto } from './convert.js';
import { directives } from './directives.js';
import { mapMosquittoText } from './map.js';

const names = directives.map(({ name }) => name.replace('*', 'x')).filter((name) => name !== 'include_dir');
const value = fc.oneof(
  fc.constantFrom(
    'true',
    'false',
    '0',
    '1',
    '-1',
    '1883',
    '1884 127.0.0.1',
    '0 /tmp/x.sock',
    'websockets',
    'mqtt',
    '/x/mosquitto_dynamic_security.so',
    '/x/mosquitto_password_file.so',
    'a /x/mosquitto_acl_file.so',
    'h h:1 [::1]:2',
    '# both 2 a/ b/',
    '""',
    '"a b',
    '2d',
    'tlsv1.3',
    'file /l',
    'stdout',
    'all',
    'ipv6',
  ),
  fc.string({ maxLength: 12 }),
  fc.string({ unit: 'grapheme', maxLength: 6 }),
);
const line = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(fc.constantFrom(...names), value).map(([name, text]) => `${name} ${text}`) },
  { weight: 1, arbitrary: fc.string({ maxLength: 20 }) },
);

it('any lines are taken as a whole or refused with a place', () => {
  fc.assert(
    fc.property(fc.array(line, { maxLength: 25 }), (lines) => {
      const mapped = mapMosquittoText(lines.join('\n'), 'm.conf');
      const { config, problems, warnings } = resolveMosquitto(mapped, 'm.conf');
      for (const problem of [...problems, ...warnings]) {
        const text = formatProblem(problem);
        assert.doesNotMatch(text, /[\n\r\u0000-\u001f]/);
        assert.match(text, /^m\.conf(:\d+:\d+)?: /);
      }
      assert.equal(config === undefined, problems.length > 0);
      if (config === undefined) return;
      const read = parseConfig(convertMosquitto(mapped, 'm.conf'), 'dunlin.yaml');
      assert.deepEqual(read.problems, []);
      assert.deepEqual(read.config, config);
    }),
    { numRuns: 3000 },
  );
});
