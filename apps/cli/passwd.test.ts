import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parsePasswordHash, verifyPassword } from '../../src/policy/index.js';

const command = fileURLToPath(new URL('../../../bin/dunlin', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'dunlin-passwd-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, 'users');

const passwd = (args: string[], input?: string) =>
  spawnSync(process.execPath, [command, 'passwd', ...args], {
    encoding: 'utf8',
    ...(input === undefined ? {} : { input }),
  });
const usersOf = (path: string) =>
  new Map(
    readFileSync(path, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]),
  );
const verifies = (hash: string, password: string) => verifyPassword(Buffer.from(password), parsePasswordHash(hash)!);

describe('dunlin passwd', () => {
  it('adds, changes and removes users', async () => {
    assert.equal(passwd(['-c', '-b', file, 'ada', 'one']).status, 0);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(passwd(['-H', 'sha512', '-b', file, 'bob', 'two']).status, 0);
    assert.equal(passwd([file, 'cy'], 'three\n').status, 0);
    assert.equal(passwd(['-I', '101', '-b', file, 'ada', 'four']).status, 0);
    const users = usersOf(file);
    assert.deepEqual([...users.keys()], ['ada', 'bob', 'cy']);
    assert.match(users.get('ada')!, /^\$7\$101\$/);
    assert.match(users.get('bob')!, /^\$6\$/);
    assert.equal(await verifies(users.get('ada')!, 'four'), true);
    assert.equal(await verifies(users.get('ada')!, 'one'), false);
    assert.equal(await verifies(users.get('bob')!, 'two'), true);
    assert.equal(await verifies(users.get('cy')!, 'three'), true);
    assert.equal(passwd(['-D', file, 'bob']).status, 0);
    assert.deepEqual([...usersOf(file).keys()], ['ada', 'cy']);
  });

  it('hashes a file of plain passwords, once', async () => {
    const plain = join(folder, 'plain');
    writeFileSync(plain, '# comment\nada:on:e\nbob:two\n', { mode: 0o640 });
    assert.equal(passwd(['-H', 'scrypt', '-U', plain]).status, 0);
    assert.equal(statSync(plain).mode & 0o777, 0o640);
    const once = readFileSync(plain, 'utf8');
    assert.equal(await verifies(usersOf(plain).get('ada')!, 'on:e'), true);
    assert.equal(passwd(['-U', plain]).status, 0);
    assert.equal(readFileSync(plain, 'utf8'), once);
  });

  it('says what is wrong, and leaves the file as it was', () => {
    const before = readFileSync(file, 'utf8');
    const latin = join(folder, 'latin');
    writeFileSync(latin, Buffer.from('m\u00fcller:$6$YWJj$YWJj\n', 'latin1'));
    for (const [args, status, sentence] of [
      [[file], 2, /needed is FILE USERNAME/],
      [['-b', file, 'x'], 2, /needed is FILE USERNAME PASSWORD/],
      [['-H', 'md5', '-b', file, 'x', 'y'], 2, /-H "md5" is none of/],
      [['-I', 'many', '-b', file, 'x', 'y'], 2, /-I "many" is no whole number/],
      [['-c', '-D', file, 'x'], 2, /-c begins a new file/],
      [['-b', file, 'a:b', 'y'], 2, /colon/],
      [['-b', file, '#a', 'y'], 2, /comment/],
      [['-b', latin, 'x', 'y'], 1, /is not UTF-8 text/],
      [['-b', file, 'x', ''], 2, /empty/],
      [['-D', file, 'nobody'], 1, /no user "nobody"/],
      [['-b', join(folder, 'none'), 'x', 'y'], 1, /there is no file/],
      [['-z'], 2, /Unknown option/],
    ] as const) {
      const { status: found, stderr } = passwd([...args]);
      assert.equal(found, status, stderr);
      assert.match(stderr, sentence);
    }
    assert.equal(readFileSync(file, 'utf8'), before);
  });

  it('leaves the file to whose it is, with its mode', { skip: process.getuid?.() !== 0 }, () => {
    const owned = join(folder, 'owned');
    assert.equal(passwd(['-c', '-b', owned, 'ada', 'one']).status, 0);
    chownSync(owned, 1234, 5678);
    chmodSync(owned, 0o640);
    const umask = process.umask(0o077);
    try {
      assert.equal(passwd(['-b', owned, 'bob', 'two']).status, 0);
    } finally {
      process.umask(umask);
    }
    const { uid, gid, mode } = statSync(owned);
    assert.deepEqual([uid, gid, mode & 0o777], [1234, 5678, 0o640]);
  });

  it('writes one line to standard output for -', async () => {
    const { status, stdout } = passwd(['-b', '-', 'ada', 'one']);
    assert.equal(status, 0);
    assert.equal(await verifies(stdout.trim().slice('ada:'.length), 'one'), true);
  });
});
