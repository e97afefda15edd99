// `npm run ledger`: every normative statement of MQTT 5.0 and 3.1.1 with the tests that prove it, or why it has none.
//
// The statements are in test/conformance/requirements.json; the tests say what they prove themselves: a string that begins
// with ids, `'[MQTT-3.1.0-1] [MQTT3-3.1.0-1] the first packet has to be CONNECT'`, is a title (or the part of one that a
// table of tests holds). Fails when a statement that binds a server has no test, when a title names an id that does not
// exist, when a statement has neither test nor reason, and when a conformance test is switched off.
// An argument is the root of the tree to look at.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(process.argv[2] ?? dirname(dirname(fileURLToPath(import.meta.url))));
const parties = ['server', 'client', 'both', 'none'];
const problems = [];

const requirements = JSON.parse(readFileSync(join(root, 'test', 'conformance', 'requirements.json'), 'utf8'));
const testsOf = new Map();
for (const { id, version, binds, topic } of requirements) {
  if (testsOf.has(id)) problems.push(`requirements.json: ${id} is there twice`);
  testsOf.set(id, []);
  if (!/^MQTT3?-\d+(\.\d+)+-\d+$/.test(id) || version !== (id.startsWith('MQTT3-') ? '3.1.1' : '5.0'))
    problems.push(`requirements.json: ${id} is no id of version ${version}`);
  if (!parties.includes(binds)) problems.push(`requirements.json: ${id} binds "${binds}", not ${parties.join(', ')}`);
  if (!topic) problems.push(`requirements.json: ${id} has no topic`);
}

for (const file of [...sources('test/conformance'), ...sources('src')].filter((name) => name.endsWith('.test.ts'))) {
  const text = readFileSync(join(root, file), 'utf8').replace(/^\s*(\/\/|\/?\*).*$/gm, ''); // comments prove nothing
  for (const [title, ids, words] of titlesIn(text)) {
    const line = text.slice(0, title.index).split('\n').length;
    for (const id of ids) {
      const tests = testsOf.get(id);
      if (tests === undefined) problems.push(`${file}:${line}: there is no requirement ${id}`);
      else if (!tests.some((test) => test.where === `${file}:${line}`)) tests.push({ where: `${file}:${line}`, words });
    }
  }
  if (file.startsWith('test/conformance/'))
    for (const [index, line] of text.split('\n').entries())
      if (/\.(skip|only|todo)\(|\b(skip|only|todo): /.test(line))
        problems.push(`${file}:${index + 1}: a conformance test is switched off`);
}

for (const { id, binds, why } of requirements) {
  const tested = testsOf.get(id).length > 0;
  if (tested && why !== undefined) problems.push(`${id} has a test, and a reason for having none`);
  if (tested) continue;
  if (binds === 'server' || binds === 'both') problems.push(`${id} binds a server and has no test`);
  else if (!why) problems.push(`${id} has neither a test nor a reason for having none`);
}

for (const version of ['5.0', '3.1.1']) {
  console.log(`\nMQTT ${version}\n`);
  for (const { id, binds, topic, why } of requirements.filter((each) => each.version === version)) {
    console.log(`${id.padEnd(15)} ${binds.padEnd(6)}  ${topic}`);
    for (const { where, words } of testsOf.get(id)) console.log(`${' '.repeat(24)}${where}  ${words}`);
    if (why !== undefined) console.log(`${' '.repeat(24)}no test: ${why}`);
  }
}

console.log('');
for (const version of ['5.0', '3.1.1']) {
  const own = requirements.filter((each) => each.version === version);
  const server = own.filter(({ binds }) => binds === 'server' || binds === 'both');
  const tested = (list) => list.filter(({ id }) => testsOf.get(id).length > 0).length;
  console.log(
    `MQTT ${version}: ${own.length} statements; ${server.length} bind a server, ${tested(server)} of them tested; ` +
      `${tested(own) - tested(server)} of the other ${own.length - server.length} tested too`,
  );
}
if (problems.length > 0) {
  console.error(`\n${problems.join('\n')}`);
  process.exit(1);
}

/** Strings that begin with ids: where, which ids, and the words that follow them. */
function* titlesIn(text) {
  for (const title of text.matchAll(/(['"`])((?:\[MQTT[^\]'"`]*\] ?)+)((?:(?!\1).)*)\1/g))
    yield [
      title,
      [...title[2].matchAll(/\[([^\]]+)\]/g)].map(([, id]) => id),
      title[3].replace(/\$\{\w+\}/g, '…').trim(),
    ];
}

function sources(folder) {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true })
    .map((file) => posix.join(folder, file.replaceAll('\\', '/')))
    .sort();
}
