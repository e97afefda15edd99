// `npm test`: installs, builds, runs every compiled *.test.js with node:test, and says which tests were left out for want
// of a program, and last what failed. Arguments select files by a part of their path: `npm test -- topic-tree`.
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, root } from './build.mjs';

build();

const wanted = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const files = readdirSync(join(root, 'dist'), { recursive: true })
  .filter((file) => file.endsWith('.test.js'))
  .map((file) => join(root, 'dist', file))
  .filter((file) => wanted.length === 0 || wanted.some((part) => relative(root, file).includes(part)))
  .sort();
if (files.length === 0) {
  console.error(`no test file matches ${wanted.join(' ')}`);
  process.exit(1);
}

const notes = mkdtempSync(join(tmpdir(), 'dunlin-test-'));
const failures = join(notes, 'failures');
const child = spawn(
  process.execPath,
  [
    '--enable-source-maps',
    '--test',
    '--test-concurrency=2',
    `--test-reporter=${process.stdout.isTTY ? 'spec' : 'tap'}`,
    '--test-reporter-destination=stdout',
    `--test-reporter=${pathToFileURL(join(root, 'tools/failures-reporter.mjs'))}`,
    `--test-reporter-destination=${failures}`,
    ...process.argv.slice(2).filter((a) => a.startsWith('--')),
    ...files,
  ],
  {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, DUNLIN_LEFT_OUT: join(notes, 'left-out') },
  },
);
child.on('exit', (code, signal) => {
  let left = [];
  let failed = '';
  try {
    failed = readFileSync(failures, 'utf8');
  } catch {}
  try {
    left = [...new Set(readFileSync(join(notes, 'left-out'), 'utf8').trim().split('\n'))];
  } catch {}
  rmSync(notes, { recursive: true, force: true });
  if (left.length > 0) console.log(`left out for want of a program:\n${left.map((line) => `  ${line}`).join('\n')}`);
  console.log(failed.trimEnd());
  if (left.length > 0 && process.env.DUNLIN_LEAVE_NOTHING_OUT) {
    console.error('tests were left out, which this run forbids');
    process.exit(1);
  }
  process.exit(signal ? 1 : (code ?? 1));
});
