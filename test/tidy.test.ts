/**
 * Keeps the tree tidy: requirement ids that exist, files that somebody imports, a README for every folder of src, imports
 * that go downwards. Run from the root of the repository, as `npm test` does.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, posix, resolve } from 'node:path';
import { describe, it } from 'node:test';

const root = process.cwd();
assert.equal(
  JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).name,
  'dunlin',
  'run from the root of the repository',
);

/** Files that nothing imports because something else starts them. Only shrinks. */
const entryPoints = new Set(['src/index.ts', 'apps/cli/main.ts']);

const sources = ['src', 'apps', 'test', 'bench']
  .filter((folder) => existsSync(join(root, folder)))
  .flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => posix.join(folder, file.replaceAll('\\', '/'))),
  )
  .sort();
const textOf = new Map(sources.map((file) => [file, readFileSync(join(root, file), 'utf8')]));
const isTest = (file: string) =>
  /\.(test|fuzz|bench|contract|test\.helper)\.ts$/.test(file) || file.startsWith('test/');

/** Static and dynamic imports, re-exports and worker files, as paths of sources. */
function importsOf(file: string): string[] {
  const pattern = /(?:\bfrom\s*|\bimport\s*\(?\s*|\bnew URL\(\s*)(['"])(\.{1,2}\/[^'"]+)\1/g;
  return [...textOf.get(file)!.matchAll(pattern)].map((match) =>
    posix.join(posix.dirname(file), match[2]!).replace(/\.js$/, '.ts'),
  );
}

describe('the source', () => {
  it('names only requirements that exist, spelled in full', () => {
    const known = knownRequirements();
    const wrong: string[] = [];
    for (const [file, text] of textOf) {
      if (file === 'test/tidy.test.ts') continue;
      for (const [index, line] of text.split('\n').entries())
        for (const [written] of line.matchAll(/\bMQTT\d?[-.]\d+(?:[.-]\d+)*/g)) {
          if (!/^MQTT3?-\d+(?:\.\d+){1,2}-\d+$/.test(written))
            wrong.push(`${file}:${index + 1}: ${written} is not spelled MQTT-a.b.c-n or MQTT3-a.b.c-n`);
          else if (known !== undefined && !known.has(written))
            wrong.push(`${file}:${index + 1}: there is no requirement ${written}`);
        }
    }
    assert.deepEqual(wrong, []);
  });

  it('holds no file that nobody imports', () => {
    const imported = new Set<string>();
    for (const file of sources) if (!isTest(file)) for (const target of importsOf(file)) imported.add(target);
    const idle = sources.filter(
      (file) => /^(src|apps)\//.test(file) && !isTest(file) && !entryPoints.has(file) && !imported.has(file),
    );
    assert.deepEqual(idle, []);
  });

  it('imports only files that exist', () => {
    const wrong = sources.flatMap((file) =>
      importsOf(file)
        .filter((target) => target.endsWith('.ts') && !textOf.has(target))
        .map((target) => `${file} imports ${target}`),
    );
    assert.deepEqual(wrong, []);
  });

  it('has a README in every folder of src', () => {
    const folders = new Set(
      sources.filter((file) => file.startsWith('src/') && dirname(file) !== 'src').map((file) => dirname(file)),
    );
    assert.deepEqual(
      [...folders].filter((folder) => !existsSync(join(root, folder, 'README.md'))),
      [],
    );
  });

  it('imports downwards, and other modules only through their index', () => {
    const rules = boundaryRules();
    assert.ok(rules.length > 10);
    const wrong: string[] = [];
    for (const file of sources)
      for (const target of importsOf(file))
        for (const { name, from, to } of rules)
          if (applies(from, file) && applies(to, target)) wrong.push(`${file} imports ${target}: ${name}`);
    assert.deepEqual(wrong, []);
  });

  it('tells of no registry and no folder of one machine', () => {
    const foreign = /registry\.[a-z]+\.(?:org|com|io)|\/home\/\w+\//;
    const wrong = [...textOf]
      .filter(([file, text]) => file !== 'test/tidy.test.ts' && foreign.test(text))
      .map(([file]) => file);
    assert.deepEqual(wrong, []);
  });
});

interface Side {
  path?: string;
  pathNot?: string | string[];
}

/** The rules of .dependency-cruiser.cjs that speak of paths: one list for both. */
function boundaryRules(): { name: string; from: Side; to: Side }[] {
  const { forbidden } = createRequire(resolve(root, 'package.json'))('./.dependency-cruiser.cjs');
  return forbidden.filter(({ to }: { to: Side }) => to.path !== undefined);
}

function applies({ path, pathNot = [] }: Side, file: string): boolean {
  if (path !== undefined && !new RegExp(path).test(file)) return false;
  return ![pathNot].flat().some((pattern) => new RegExp(pattern).test(file));
}

/** Ids as sources write them: those of 3.1.1 begin with MQTT3. Undefined while the list is not there. */
function knownRequirements(): Set<string> | undefined {
  const file = join(root, 'test', 'conformance', 'requirements.json');
  if (!existsSync(file)) return undefined;
  const requirements = JSON.parse(readFileSync(file, 'utf8')) as { id: string; version: string | number }[];
  const spelled = ({ id, version }: { id: string; version: string | number }) =>
    id.startsWith('MQTT-') && String(version).startsWith('3') ? id.replace('MQTT-', 'MQTT3-') : id;
  return new Set(requirements.map(spelled));
}
