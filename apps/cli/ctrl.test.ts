import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Broker, createBroker } from '../../src/index.js';
import { printClient, printRole } from './ctrl-print.js';

const command = fileURLToPath(new URL('../../../bin/dunlin', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'dunlin-ctrl-'));
const file = join(folder, 'dynamic-security.json');

async function ctrl(args: readonly string[], input = '') {
  // No options of whoever runs the tests.
  const child = spawn(process.execPath, [command, 'ctrl', ...args], {
    env: { ...process.env, XDG_CONFIG_HOME: folder },
  });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { status, output, errors };
}

describe('dunlin ctrl dynsec', { timeout: 300_000 }, () => {
  let broker: Broker;
  let socket = '';
  before(async () => {
    const made = await ctrl(['dynsec', 'init', file, 'admin'], 'first password\nfirst password\n');
    assert.equal(made.status, 0, made.errors);
    assert.match(made.output, /was made with the user "admin"/);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    socket = join(folder, 'socket');
    broker = createBroker({
      config: {
        listeners: [
          { name: 'tcp', host: '127.0.0.1', port: 0, allowAnonymous: false },
          { name: 'unix', unixPath: socket, allowAnonymous: false },
        ],
        dynamicSecurity: { file },
        sys: { intervalSeconds: 0 },
        protection: { overload: { eventLoopDelayMsMax: 0 } },
      },
    });
    await broker.start();
  });
  after(async () => {
    await broker.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('makes no file over another, and none for passwords that differ', async () => {
    const text = readFileSync(file, 'utf8');
    assert.equal((await ctrl(['dynsec', 'init', file, 'admin', 'x'])).status, 1);
    assert.equal(readFileSync(file, 'utf8'), text);
    for (const [args, input, expected] of [
      [['init', join(folder, 'a'), 'admin'], 'one\ntwo\n', /The two passwords differ/],
      [['init', join(folder, 'a'), 'admin'], '', /The password is empty/],
      [['init', join(folder, 'a'), 'a\u0007'], '', /control characters/],
      [['init', join(folder, 'a')], '', /Usage: dunlin ctrl dynsec init FILE USERNAME/],
    ] as const) {
      const { status, errors } = await ctrl(['dynsec', ...args], input);
      assert.equal(status, 3);
      assert.match(errors, expected);
    }
  });

  it('takes options from a file, a URL or the command line, and asks for what secret is missing', async () => {
    const port = broker.listeners.find(({ name }) => name === 'tcp')!.port!;
    const options = join(folder, 'options');
    writeFileSync(options, `# how to get there\n-h 127.0.0.1\n-p ${port}\n-u admin\n-P first password\n`);
    const list = ['dynsec', 'listClients'];
    for (const [args, input] of [
      [['-o', options], ''],
      [['--unix', socket, '-u', 'admin', '-P', 'first password'], ''],
      [['-L', `mqtt://admin@127.0.0.1:${port}`], 'first password\n'],
      [
        ['-h', '127.0.0.1', '-p', `${port}`, '-V', '31', '-q', '2', '-i', 'me', '-u', 'admin', '-P', 'first password'],
        '',
      ],
    ] as const) {
      const { status, output, errors } = await ctrl([...args, ...list], input);
      assert.equal(errors.replace('Password for admin: ', ''), '', args.join(' '));
      assert.equal(output, 'admin\n');
      assert.equal(status, 0);
    }
    // First the password of the new user, twice, then that of the administrator.
    const created = await ctrl(
      ['--unix', socket, '-u', 'admin', 'dynsec', 'createClient', 'dev', '-c', 'cid'],
      'of dev\nof dev\nfirst password\n',
    );
    assert.equal(created.status, 0, created.errors);
    const shown = await ctrl(['-o', options, 'dynsec', 'getClient', 'dev']);
    assert.equal(shown.output, 'Username: dev\nClientid: cid\n');
    const refused = await ctrl(['--unix', socket, '-u', 'dev', '-i', 'cid', '-P', 'of dev', ...list]);
    assert.equal(refused.errors, 'Subscribe error: Not authorized\n');
    assert.equal(refused.status, 135);
  });

  it('tells its commands', async () => {
    const { status, output } = await ctrl(['dynsec', 'help']);
    assert.equal(status, 0);
    for (const name of ['init', 'createClient', 'addRoleACL', 'setDefaultACLAccess', 'setAnonymousGroup'])
      assert.match(output, new RegExp(`^  ${name} `, 'm'));
    assert.equal((await ctrl(['--help'])).status, 0);
    assert.equal((await ctrl([])).status, 1);
  });

  it('prints what a broker sends as text, whatever it is', () => {
    assert.deepEqual(printClient({ client: { username: 'a\u001b[2J', roles: 5, groups: [{}, 7] } }), [
      'Username: a\\u001b[2J',
      'Clientid:',
      'Groups:    (priority: -1)',
      '           (priority: -1)',
    ]);
    assert.deepEqual(printRole({}), ['Rolename: ']);
  });
});
