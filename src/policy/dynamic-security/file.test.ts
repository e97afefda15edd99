import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { writeNew } from './file.js';

const folder = mkdtempSync(join(tmpdir(), 'dunlin-dynsec-file-'));
after(() => rmSync(folder, { recursive: true, force: true }));

describe('the file of dynamic security', () => {
  it('is there whole or not at all when it is made', async () => {
    const path = join(folder, 'dynamic-security.json');
    function* failing(): Generator<string> {
      yield '{'.repeat(1_000_000);
      throw new Error('the disk is full');
    }
    await assert.rejects(writeNew(path, failing()), /the disk is full/);
    assert.equal(existsSync(path), false);
    await writeNew(path, ['{}']);
    await assert.rejects(writeNew(path, failing()), { code: 'EEXIST' });
    assert.equal(readFileSync(path, 'utf8'), '{}', 'what is there stays');
  });
});
