/** One process at a time has a folder; a process that is gone, or another with its number, has nothing. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { lockFolder } from './lock.js';

const folder = mkdtempSync(join(tmpdir(), 'dunlin-lock-'));
const path = join(folder, 'lock');
const gives = (holder: unknown) => writeFileSync(path, typeof holder === 'string' ? holder : JSON.stringify(holder));

function takenAndGiven(): void {
  const unlock = lockFolder(folder);
  assert.equal((JSON.parse(readFileSync(path, 'utf8')) as { pid: number }).pid, process.pid);
  assert.deepEqual(readdirSync(folder), ['lock']);
  unlock();
  assert.deepEqual(readdirSync(folder), []);
}

describe('lockFolder', () => {
  after(() => rmSync(folder, { recursive: true }));

  it('takes a folder that nobody has, and gives it back', takenAndGiven);

  it('refuses a folder that a living process has, and names both', () => {
    const unlock = lockFolder(folder);
    assert.throws(() => lockFolder(folder), {
      code: 'STORAGE_IN_USE',
      message: `the data folder ${folder} is in use by process ${process.pid}`,
    });
    assert.deepEqual(readdirSync(folder), ['lock']);
    unlock();
  });

  it('takes over from a process that is gone', async () => {
    const child = spawn(process.execPath, ['-e', '']);
    const { pid } = child;
    await once(child, 'exit');
    gives({ pid, started: '' });
    takenAndGiven();
  });

  it('takes over when the number belongs to another process by now', { skip: process.platform !== 'linux' }, () => {
    gives({ pid: process.pid, started: '1' });
    takenAndGiven();
  });

  it('takes over a lock that was never written whole', () => {
    for (const text of ['', '{"pid":', '{}', '"x"', '\0\0\0']) {
      gives(text);
      takenAndGiven();
    }
  });
});
