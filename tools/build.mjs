// Installs what the lock file asks for when it is not there yet, then compiles to dist/. Needs nothing but Node and npm.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Runs `npm ci` when node_modules is missing or older than package-lock.json. */
export function install() {
  const stamp = join(root, 'node_modules', '.package-lock.json');
  const lock = join(root, 'package-lock.json');
  if (existsSync(stamp) && statSync(stamp).mtimeMs >= statSync(lock).mtimeMs) return;
  if (existsSync(stamp) && sameLock(stamp, lock)) return;
  console.error('dunlin: installing dependencies');
  const npm = process.env.npm_execpath;
  const options = { cwd: root, stdio: ['ignore', 2, 2] };
  if (npm?.endsWith('.js')) execFileSync(process.execPath, [npm, 'ci'], options);
  else execFileSync('npm', ['ci'], { ...options, shell: process.platform === 'win32' });
}

/** git sets new times on checkout: compare what is installed by version instead. */
function sameLock(stamp, lock) {
  const versions = (file) =>
    Object.entries(JSON.parse(readFileSync(file, 'utf8')).packages)
      .filter(([path, entry]) => path !== '' && !entry.optional)
      .map(([path, entry]) => `${path}@${entry.version}`)
      .join('\n');
  return versions(stamp) === versions(lock);
}

/** Compiles with tsc; exits with its code and messages when there are errors. */
export function compile() {
  mkdirSync(join(root, 'dist'), { recursive: true });
  const tsc = createRequire(import.meta.url).resolve('typescript/lib/tsc.js');
  const result = spawnSync(process.execPath, [tsc, '-p', join(root, 'tsconfig.json')], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  });
  if (result.status !== 0) process.exit(result.status ?? 1);
}

/** Removes what was compiled from sources that are gone, so that no test of a deleted file runs. */
function removeStale() {
  const dist = join(root, 'dist');
  for (const file of readdirSync(dist, { recursive: true })) {
    if (!file.endsWith('.js') || existsSync(join(root, `${file.slice(0, -3)}.ts`))) continue;
    for (const ending of ['.js', '.js.map', '.d.ts']) rmSync(join(dist, file.slice(0, -3) + ending), { force: true });
  }
}

/** Removes everything compiled. */
export function clean() {
  rmSync(join(root, 'dist'), { recursive: true, force: true });
}

export function build() {
  install();
  const mark = join(root, 'dist', '.built-with');
  const want = `${readFileSync(join(root, 'tsconfig.json'), 'utf8')}`;
  if (existsSync(mark) && readFileSync(mark, 'utf8') !== want) clean();
  compile();
  removeStale();
  writeFileSync(mark, want);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes('--clean')) clean();
  build();
}
