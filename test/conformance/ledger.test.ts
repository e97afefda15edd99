/**
 * Goal: no statement that binds a server goes without a test, and the ledger says so when one does. Method: run the ledger
 * on this tree and on small trees with one thing wrong each.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const ledger = (...args: string[]) =>
  spawnSync(process.execPath, [join(process.cwd(), 'tools', 'ledger.mjs'), ...args], { encoding: 'utf8' });

test('every statement of both standards that binds a server has its test', () => {
  const { status, stdout, stderr } = ledger();
  assert.equal(stderr, '');
  assert.equal(status, 0);
  assert.match(stdout, /MQTT 5\.0: 251 statements/);
  assert.match(stdout, /MQTT 3\.1\.1: 141 statements/);
});

/** Put together, since sources may name only statements that exist. */
const first = ['MQTT', '9.9.9', '1'].join('-');
const server = { id: first, version: '5.0', binds: 'server', topic: 'first' };
const client = {
  id: first.replace('MQTT', 'MQTT3'),
  version: '3.1.1',
  binds: 'client',
  topic: 'second',
  why: 'clients alone',
};
const titled = (title: string) => `conformance('${title}', all, async () => {});\n`;
const good = titled(`[${first}] is so`);

const trees: [name: string, requirements: object[], tests: string, complaint: RegExp | undefined][] = [
  ['a tree in order passes', [server, client], good, undefined],
  ['a server statement without a test', [server], '', /9\.9\.9-1 binds a server and has no test/],
  ['one that binds both sides', [{ ...server, binds: 'both' }], '', /binds a server and has no test/],
  ['a test in a comment is none', [server], `// ${good}`, /has no test/],
  ['a client statement without test and reason', [{ ...client, why: undefined }], '', /neither a test nor a reason/],
  ['a test and a reason for none', [{ ...server, why: 'none' }], good, /a reason for having none/],
  ['an unknown id', [server], `${good}${titled(`[${first}0] is not`)}`, /no requirement \S+9\.9\.9-10/],
  ['an id written twice', [server, server], good, /there twice/],
  ['an id of the other version', [{ ...server, id: client.id }], '', /no id of version 5\.0/],
  ['a test switched off', [server], good.replace('conformance(', ['test', 'skip('].join('.')), /switched off/],
];

for (const [name, requirements, tests, complaint] of trees)
  test(`the ledger: ${name}`, () => {
    const root = mkdtempSync(join(tmpdir(), 'dunlin-ledger-'));
    try {
      const folder = join(root, 'test', 'conformance');
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, 'requirements.json'), JSON.stringify(requirements));
      writeFileSync(join(folder, 'some.test.ts'), tests);
      const { status, stdout, stderr } = ledger(root);
      if (complaint === undefined) {
        assert.equal(stderr, '');
        assert.match(stdout, /some\.test\.ts:1 {2}is so/);
      } else assert.match(stderr, complaint);
      assert.equal(status, complaint === undefined ? 0 : 1);
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });
