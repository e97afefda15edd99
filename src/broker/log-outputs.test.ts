import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { fileOutput, syslogOutput } from './log-outputs.js';

const folder = mkdtempSync(join(tmpdir(), 'dunlin-log-'));
after(() => rmSync(folder, { recursive: true, force: true }));

async function there(path: string): Promise<void> {
  for (const deadline = Date.now() + 30_000; !existsSync(path); await new Promise((resolve) => setTimeout(resolve, 10)))
    if (Date.now() > deadline) assert.fail(`waited 30 s for ${path}`);
}

describe('outputs of the log', () => {
  it('the log of the system gets lines with facility and level through a program', async () => {
    const program = join(folder, 'logger');
    const seen = join(folder, 'seen');
    writeFileSync(program, `#!/bin/sh\necho "$@" > ${seen}.new\ncat >> ${seen}.new\nmv ${seen}.new ${seen}\n`);
    chmodSync(program, 0o755);
    const output = syslogOutput('local3', program);
    output.write('one\n', 'error');
    output.write('two\n', 'information');
    output.close?.();
    await there(seen);
    assert.equal(readFileSync(seen, 'utf8'), '--prio-prefix -t dunlin\n<155>one\n<158>two\n');
  });

  it('lines do not pile up before a program that reads none', async () => {
    const program = join(folder, 'slow-logger');
    const [seen, go] = [join(folder, 'slow-seen'), join(folder, 'go')];
    writeFileSync(
      program,
      `#!/bin/sh\nwhile [ ! -e ${go} ]; do sleep 0.05; done\ncat > ${seen}.new\nmv ${seen}.new ${seen}\n`,
    );
    chmodSync(program, 0o755);
    const output = syslogOutput('user', program);
    const line = `${'x'.repeat(1023)}\n`;
    for (let count = 0; count < 8192; count++) output.write(line, 'debug');
    writeFileSync(go, '');
    output.close?.();
    await there(seen);
    const { size } = statSync(seen);
    assert.ok(size > 512 * 1024 && size < 2 * 1024 * 1024, `${size} bytes`);
  });

  it('a program that is not there stops nothing', async () => {
    const output = syslogOutput('daemon', join(folder, 'absent'));
    output.write('one\n', 'error');
    await new Promise((resolve) => setImmediate(resolve));
    output.write('two\n', 'error');
  });

  it('a file is added to, and opened anew', () => {
    const path = join(folder, 'log');
    writeFileSync(path, 'before\n');
    const output = fileOutput(path);
    output.write('one\n', 'error');
    renameSync(path, `${path}.1`);
    output.write('two\n', 'error');
    output.reopen?.();
    output.write('three\n', 'error');
    output.close?.();
    assert.equal(readFileSync(`${path}.1`, 'utf8'), 'before\none\ntwo\n');
    assert.equal(readFileSync(path, 'utf8'), 'three\n');
    assert.throws(() => fileOutput(join(folder, 'no', 'log')), /log\.file: .* cannot be opened/);
  });
});
