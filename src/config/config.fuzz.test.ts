/** Goal: no document, however damaged, makes reading it throw; what is wrong is said with a place, what is right is whole. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { damagedText } from '../base/damage.fuzz.js';
import { Random } from '../base/random.fuzz.js';
import { formatProblem, parseConfig, resolveConfig } from './index.js';

const COUNT = 6000;
const seed = Number(process.env.DUNLIN_SEED ?? 20_261);

const documents = [
  `listeners:
  - { name: default, protocol: mqtt, host: 127.0.0.1, port: 1883, allowAnonymous: true }
  - { name: web, protocol: ws, host: "::1", port: 8083, path: /mqtt, origins: [https://example.org] }
storage: { mode: memory, path: ./data }
limits: { packetBytesMax: 1048576, queueMessagesMax: 1000, queueOverflow: dropOldest }
log: { level: information, format: auto }
`,
  `# comment
users: &people
  - username: ada
    password: "pä\\tss"
  - username: bob
    password: |
      many
      lines
sys:
  intervalSeconds: 10
protocol:
  maximumQoS: 1
  retain: off
sharedSubscriptions: {strategy: sticky}
`,
  '{}\n',
  '',
];
const pieces = [
  ': ',
  '- ',
  '\n',
  '\n  ',
  '\t',
  '#',
  '&a ',
  '*a',
  '*people',
  '<<: *people',
  '!!set ',
  '!!binary |',
  '---\n',
  '...\n',
  '? ',
  '[',
  ']',
  '{',
  '}',
  '"',
  "'",
  '|',
  '>',
  'null',
  '~',
  '.nan',
  '-.inf',
  '0x1f',
  '1e999',
  '-0',
  '1883.0',
  '__proto__: ',
  'constructor',
  '2026-01-01',
  'yes',
  '%YAML 1.1\n',
  '%TAG',
  '\u0000',
  '\ufeff',
  '\u2028',
  '🚀',
  '9'.repeat(400),
  'a: '.repeat(30),
  '['.repeat(200),
  '&a [*a]',
  'listeners: []',
  'port: 99999',
  'users:',
];

describe('a damaged configuration', () => {
  it(`is refused with places, or is whole (seed ${seed})`, { timeout: 300_000 }, () => {
    const random = new Random(seed);
    let taken = 0;
    for (let count = 0; count < COUNT; count++) {
      const text = damagedText(random, random.pick(documents), pieces);
      try {
        const { config, problems } = parseConfig(text, 'dunlin.yaml');
        if (config !== undefined) {
          taken++;
          assert.deepEqual(problems, []);
          // What was taken can be handed in again as it is.
          assert.deepEqual(resolveConfig(config), config);
          continue;
        }
        assert.ok(problems.length > 0);
        const lines = text.split('\n').length;
        for (const problem of problems) {
          assert.equal(problem.file, 'dunlin.yaml');
          assert.ok(problem.position !== undefined, problem.sentence);
          assert.ok(problem.position.line >= 1 && problem.position.column >= 1);
          assert.ok(problem.position.line <= lines + text.split(/[\r\u2028\u0085]/).length);
          assert.notEqual(problem.sentence, '');
          assert.doesNotMatch(formatProblem(problem), /[\n\u0000-\u0008\u001b]/, 'one line that steers no terminal');
        }
      } catch (error) {
        throw new Error(`${JSON.stringify(text)}\n${error instanceof Error ? error.stack : String(error)}`);
      }
    }
    assert.ok(taken > COUNT / 20 && taken < COUNT / 2, String(taken));
    assert.equal(({} as { polluted?: unknown }).polluted, undefined);
  });
});
