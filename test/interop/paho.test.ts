/** The Paho C client: `paho/scenario.c`, compiled for the run, in 3.1.1 and 5.0. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { embeddedBroker, findProgram, noteLeftOut, type RunningBroker, root } from './support.js';

const compiler = findProgram('cc', 'test/interop/paho: gcc');
const header = ['/usr/include', '/usr/local/include'].some((folder) => existsSync(join(folder, 'MQTTClient.h')));
if (!header) noteLeftOut('test/interop/paho: libpaho-mqtt-dev');

function expected(version: 4 | 5, prefix: string): string[] {
  const ten = Array.from({ length: 10 }, (_, number) => number);
  // Without retain-as-published of 5.0 RETAIN is 0 to a subscription that was there before.
  return [
    ...[0, 1, 2].flatMap((qos) => ten.map((number) => `qos${qos} ${prefix}/qos${qos}/n ${qos} 0 ${number}`)),
    `retained ${prefix}/kept 1 1 new`,
    `retained ${prefix}/kept 1 0 live`,
    `retained ${prefix}/kept 1 0 `,
    `cleared ${prefix}/kept 1 0 marker`,
    `will ${prefix}/will/lost 1 0 gone`,
    `will ${prefix}/will/end 1 0 end`,
    ...(version === 4 ? ['first sessionPresent 0', 'second sessionPresent 1'] : []),
    `resumed ${prefix}/stay/a 1 0 one`,
    `resumed ${prefix}/stay/b 1 0 two`,
    `resumed ${prefix}/stay/a 2 0 three`,
    ...(version === 4 ? ['third sessionPresent 0'] : []),
    ...[0, 1].flatMap((member) =>
      ten
        .filter((number) => number % 2 === member)
        .map((number) => `member${member} ${prefix}/job/${number} 1 0 ${number}`),
    ),
    'done',
  ];
}

describe('the Paho C client', { skip: compiler === undefined || !header, timeout: 120_000 }, () => {
  let broker: RunningBroker;
  const folder = mkdtempSync(join(tmpdir(), 'dunlin-paho-'));
  const program = join(folder, 'scenario');
  before(async () => {
    const source = join(root, 'test', 'interop', 'paho', 'scenario.c');
    execFileSync(compiler!, ['-std=gnu11', '-Wall', '-Werror', '-O1', '-o', program, source, '-lpaho-mqtt3c']);
    broker = await embeddedBroker();
  });
  after(async () => {
    rmSync(folder, { recursive: true, force: true });
    await broker?.stop();
  });

  for (const { version, name } of [
    { version: 4, name: '3.1.1' },
    { version: 5, name: '5.0' },
  ] as const)
    it(`${name} over TCP`, async () => {
      const prefix = `paho${version}`;
      const lines = await run(program, [`tcp://127.0.0.1:${broker.port}`, `${version}`, prefix]);
      assert.deepEqual(lines, expected(version, prefix));
    });
});

function run(program: string, args: string[]): Promise<string[]> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { timeout: 100_000 }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${stderr}${error.message}\n${stdout}`));
      else resolve(stdout.trimEnd().split('\n'));
    });
  });
}
