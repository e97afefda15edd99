import assert from 'node:assert/strict';
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { connect as connectSecurely } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { formatReference } from '../../src/config/index.js';
import { freePort } from '../../test/support/free-port.js';

const command = fileURLToPath(new URL('../../../bin/dunlin', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'dunlin-serve-'));
const isRoot = process.getuid?.() === 0;
const running = new Set<ChildProcess>();
after(() => {
  for (const child of running) child.kill('SIGKILL');
  rmSync(folder, { recursive: true });
});

const file = (name: string, text: string) => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};

/** Runs the command to its end. */
function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [command, ...args], { cwd: folder, timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
    });
  });
}

interface Entry {
  level: string;
  event: string;
  message: string;
}

/** Starts the broker and reads its log. */
function start(args: string[], cwd = folder) {
  const child = spawn(process.execPath, [command, ...args], { cwd, stdio: ['ignore', 'pipe', 'inherit'] });
  running.add(child);
  child.once('exit', () => running.delete(child));
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const entries = () =>
    text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Entry);
  const saw = async (pattern: RegExp) => {
    for (;;) {
      const found = entries().find(({ event, message }) => pattern.test(`${event}: ${message}`));
      if (found !== undefined) return found;
      assert.equal(child.exitCode, null, `ended before ${pattern} was logged`);
      await delay(10);
    }
  };
  const stop = async (signal: NodeJS.Signals) => {
    // Not `exit`: what it wrote last may come after that.
    const closed = once(child, 'close');
    child.kill(signal);
    return (await closed)[0] as number | null;
  };
  return { child, entries, saw, stop };
}

/** SHA-256 of the certificate that a listener shows. */
async function shownBy(port: number): Promise<string> {
  const client = connectSecurely({ port, host: '127.0.0.1', rejectUnauthorized: false });
  await once(client, 'secureConnect');
  const { fingerprint256 } = client.getPeerCertificate();
  client.destroy();
  return fingerprint256;
}

async function reachable(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.destroy();
}

describe('the command', { timeout: 300_000 }, () => {
  it('says why it cannot run also where its storage is lost by then', {
    skip: !isRoot && 'only root becomes another user',
  }, async () => {
    const [pipe, data, port] = [join(folder, 'pid.fifo'), join(folder, 'lost-data'), await freePort()];
    execFileSync('mkfifo', [pipe]);
    const config = {
      listeners: [{ name: 'a', port }],
      storage: { mode: 'sync', path: data },
      process: { pidFile: pipe, user: 'nobody-of-this-name' },
    };
    const ended = run('-c', file('lost.json', JSON.stringify(config)));
    // Once it listens it waits for somebody to read its pid file.
    for (;;) {
      const socket = connect(port, '127.0.0.1');
      if (
        await once(socket.resume(), 'connect').then(
          () => true,
          () => false,
        )
      ) {
        socket.destroy();
        break;
      }
    }
    renameSync(data, `${data}-moved`);
    readFileSync(pipe);
    const { code, stderr } = await ended;
    assert.equal(code, 1);
    assert.match(stderr, /^dunlin: process\.user: there is no user nobody-of-this-name on this system$/m);
    assert.doesNotMatch(stderr, /\n\s+at /);
  });

  it('says what it is', async () => {
    const help = await run('--help');
    assert.equal(help.code, 0);
    assert.match(help.stdout, /Usage: dunlin/);
    assert.match((await run('--version')).stdout, /^dunlin \d+\.\d+\.\d+\n$/);
    assert.equal((await run('config', 'reference')).stdout, formatReference());
  });

  it('has a help for each command that its help names', async () => {
    for (const name of ['pub', 'sub', 'rr', 'bench', 'storage', 'passwd', 'ctrl', 'ca', 'config']) {
      const help = await run(name, '--help');
      assert.equal(help.code, 0, name);
      assert.match(help.stdout, new RegExp(`Usage: dunlin ${name} |^dunlin ${name}: `), name);
    }
    assert.equal((await run('config', 'check', '--help')).code, 0);
    assert.equal((await run('ctrl', 'dynsec', '--help')).code, 0);
  });

  it('ends quietly when nobody reads on', async () => {
    const child = spawn(process.execPath, [command, 'config', 'reference'], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.destroy();
    let errors = '';
    child.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString();
    });
    const [code] = (await once(child, 'close')) as [number | null];
    assert.deepEqual({ code, errors }, { code: 0, errors: '' });
  });

  it('ends with 2 when it does not understand', async () => {
    for (const [args, expected] of [
      [['serve'], /^dunlin: unknown command "serve"; there are pub, sub, rr, bench, config/],
      [['toString'], /unknown command/],
      [['--bogus'], /^dunlin: unknown argument "--bogus"/],
      [['-p'], /^dunlin: -p needs a port/],
      [['-p', '1e3'], /^dunlin: -p: found "1e3", allowed is a port from 0 to 65535/],
      [['-p', '9', '-p', '9'], /^dunlin: -p 9: listener port-9 already has this port/],
      [['config'], /config check FILE/],
    ] as const) {
      const { code, stderr, stdout } = await run(...args);
      assert.equal(code, 2, args.join(' '));
      assert.match(stderr, expected);
      assert.equal(stderr.trimEnd().split('\n').length, 1);
      assert.equal(stdout, '');
    }
  });

  it('checks a configuration without running it', async () => {
    const good = file('good.yaml', 'log: { level: debug }\n');
    const bad = file('bad.yaml', 'log: { level: loud }\nlimit: 1\n');
    assert.deepEqual(await run('config', 'check', good), { code: 0, stdout: `${good}: no problems\n`, stderr: '' });
    const expected = `${bad}:1:15: log.level: found "loud", allowed is one of none, error, warning, information, debug\n${bad}:2:1: limit: unknown setting; did you mean limits?\n`;
    for (const args of [
      ['config', 'check', bad],
      ['-c', bad],
      ['-d', '-c', bad],
      ['-c', bad, '--test-config'],
    ])
      assert.deepEqual(await run(...args), { code: 2, stdout: '', stderr: expected }, args.join(' '));
    assert.equal((await run('-c', join(folder, 'absent.yaml'))).code, 2);
  });

  it('checks the files that sources of access read', async () => {
    const passwords = file('passwords', 'ada:$7$nonsense\n');
    const rules = file('acl', 'topic read a\ntopics b\n');
    const config = file(
      'access.yaml',
      `authentication: [{ type: passwordFile, path: ${passwords} }]\nauthorization: { sources: [{ type: mosquittoAclFile, path: ${rules} }] }\n`,
    );
    for (const args of [
      ['config', 'check', config],
      ['--test-config', '-c', config],
    ]) {
      const { code, stderr } = await run(...args);
      assert.equal(code, 2, stderr);
      assert.match(stderr, /passwords: the password hash of "ada" is in no known format/);
      assert.match(stderr, /acl: line 2: /);
    }
    assert.equal((await run('-c', config)).code, 2);
    file(
      'passwords',
      'ada:$7$101$3hwX2ARyV1E8FxQO$qZ0SExpgY4IoC4GHnJljyE/7M6sJNwiyvRm4BrWFMAdVutXVWB307YWIKf5pNIw2uio54+nFCp7SnF3zFO9N4w==\n',
    );
    file('acl', 'topic read a\n');
    assert.equal((await run('config', 'check', config)).code, 0);
  });

  it('checks the authorities that sources of access trust', async () => {
    const authorities = file('authorities.pem', 'nothing of the kind\n');
    const source = `{ type: http, url: 'https://login.example/', caFile: ${authorities} }`;
    const config = file(
      'sources.yaml',
      `authentication: [${source}]\nauthorization: { sources: [${source.replace('authorities', 'absent')}] }\n`,
    );
    const { code, stderr } = await run('config', 'check', config);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /authentication\[0\]\.caFile: \S*authorities\.pem holds no certificate/);
    assert.match(stderr, /authorization\.sources\[0\]\.caFile: \S*absent\.pem cannot be read: there is no such file/);
  });

  it('ends with 1 and one line when a port is taken or an address is foreign', async () => {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    for (const args of [
      ['-p', String(port)],
      ['-d', '-p', String(port)],
    ]) {
      const { code, stderr, stdout } = await run(...args);
      assert.equal(code, 1);
      assert.equal(stdout, '');
      assert.equal(
        stderr,
        `dunlin: listener port-${port}: cannot listen on 127.0.0.1:${port}: the address is in use by another program\n`,
      );
    }
    server.close();
    const foreign = await run(
      '-c',
      file('foreign.yaml', 'listeners: [{ name: far, host: 192.0.2.1, port: 0, allowAnonymous: true }]'),
    );
    assert.equal(foreign.code, 1);
    assert.match(foreign.stderr, /^dunlin: listener far: cannot listen on 192\.0\.2\.1:0: .*\n$/);
  });
});

describe('the broker as a process', { timeout: 300_000 }, () => {
  it('names where it listens, and stops in order', async () => {
    const config = file('two.yaml', 'listeners: [{ name: a, port: 0 }, { name: b, protocol: ws, port: 0, path: /x }]');
    const broker = start(['-c', config, '-p', '0']);
    const { message } = await broker.saw(/^listener\.started: .*ws:\/\/127\.0\.0\.1:\d+\/x$/);
    await broker.saw(/^listener\.started: .*mqtt:\/\/127\.0\.0\.1:\d+$/);
    await reachable(Number(/:(\d+)\/x/.exec(message)![1]));
    assert.equal(await broker.stop('SIGTERM'), 0);
    const entries = broker.entries();
    assert.equal(entries.filter(({ event }) => event === 'listener.started').length, 3);
    assert.equal(entries.at(-1)?.event, 'broker.stopped');
  });

  it('stops in order while a login waits for a database that has gone silent', async () => {
    const silent = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port: databasePort } = silent.address() as AddressInfo;
    const source = `{ type: mongodb, url: 'mongodb://127.0.0.1:${databasePort}/', collection: c, filter: '{}', timeoutMs: 60000 }`;
    const listener = '{ name: a, port: 0, allowAnonymous: false }';
    const broker = start(['-c', file('silent.yaml', `listeners: [${listener}]\nauthentication: [${source}]\n`)]);
    const { message } = await broker.saw(/^listener\.started/);
    const asked = once(silent, 'connection');
    const client = connect(Number(/:(\d+)$/.exec(message)![1]), '127.0.0.1');
    client.on('error', () => {});
    // CONNECT of 3.1.1 with client identifier "c" and user name "u"
    client.write(Buffer.from('101000044d51545404820000000163000175', 'hex'));
    await asked;
    assert.equal(await broker.stop('SIGTERM'), 0);
    assert.equal(broker.entries().at(-1)?.event, 'broker.stopped');
    client.destroy();
    silent.close();
  });

  it('reads dunlin.yaml in the current folder, but not with -p', async () => {
    const cwd = mkdtempSync(join(folder, 'cwd-'));
    writeFileSync(join(cwd, 'dunlin.yaml'), 'listeners: [{ name: mine, port: 0 }]');
    const broker = start([], cwd);
    await broker.saw(/^broker\.started: .* \.\/dunlin\.yaml/);
    assert.equal(await broker.stop('SIGINT'), 0);
    const other = start(['-p', '0'], cwd);
    await other.saw(/^broker\.started: .*built-in settings/);
    assert.equal(await other.stop('SIGINT'), 0);
  });

  it('warns of a listener that lets everyone in', async () => {
    const broker = start(['-c', file('open.yaml', 'listeners: [{ name: open, unixPath: ./s }]')]);
    await broker.saw(/^listener\.started: .*mqtt\+unix:\.\/s$/);
    assert.ok(!broker.entries().some(({ event }) => event === 'listener.anonymous'));
    assert.equal(await broker.stop('SIGINT'), 0);
  });

  it('on SIGHUP applies what it can and names what needs a restart', async () => {
    const config = file('changing.yaml', 'listeners: [{ name: a, port: 0 }]');
    const broker = start(['-c', config]);
    await broker.saw(/^listener\.started/);
    const reload = async (text: string, pattern: RegExp) => {
      file('changing.yaml', text);
      broker.child.kill('SIGHUP');
      return broker.saw(pattern);
    };
    await reload(
      'listeners: [{ name: a, port: x }]',
      /^configuration\.rejected: .*changing\.yaml:1:30: listeners\[0\]\.port/,
    );
    await reload('listeners: [{ name: a, port: 0 }]', /^configuration\.unchanged/);
    await reload(
      'listeners: [{ name: b, port: 0 }]\nlog: { level: debug }',
      /^configuration\.applied: log\.level is now debug/,
    );
    await broker.saw(/^configuration\.needsRestart: listeners\.a changed/);
    await broker.saw(/^configuration\.needsRestart: listeners\.b changed/);
    await reload(
      'listeners: [{ name: a, port: 0, connectionsMax: 1 }]\nlimits: { connectTimeoutSeconds: 3, receiveMaximum: 5, queueMessagesMax: 9 }\nauthorization: { checkRetainedSource: true }',
      /^configuration\.applied: listeners\.a\.connectionsMax is as in/,
    );
    await broker.saw(/^configuration\.applied: limits\.receiveMaximum .* for clients that connect from now on/);
    await broker.saw(/^configuration\.applied: limits\.queueMessagesMax is as in .* now\.$/);
    await broker.saw(/^configuration\.applied: authorization\.checkRetainedSource is as in .* now\.$/);
    await broker.saw(/^configuration\.needsRestart: limits\.connectTimeoutSeconds/);
    assert.equal(await broker.stop('SIGINT'), 0);
  });

  it('on SIGHUP takes users, sources, roles and rules, and what has changed of their files', async () => {
    const settings = (password: string, filter: string, more = '') =>
      `listeners: [{ name: a, port: 0 }]
users: [{ username: ada, password: ${password} }]
authorization: { sources: [${more}{ type: rules, rules: [{ permit: allow, filters: [${filter}] }] }] }
${more === '' ? '' : 'roles: [{ name: reader }]\n'}`;
    const config = file('access.yaml', settings('x', 'a'));
    const broker = start(['-c', config]);
    const { port } = (await broker.saw(/^listener\.started/)) as Entry & { port: number };
    const asked = async (password: string, filter: string) =>
      (await run('sub', '-p', `${port}`, '-V', '5', '-u', 'ada', '-P', password, '-t', filter, '-E')).code;
    const [granted, notAuthorized, badLogin] = [0, 0x87, 0x86];
    assert.deepEqual([await asked('x', 'a'), await asked('x', 'b')], [granted, notAuthorized]);
    const reload = (text: string) => {
      file('access.yaml', text);
      broker.child.kill('SIGHUP');
    };
    reload(settings('y', 'b'));
    await broker.saw(/^configuration\.applied: users is as in .* now\.$/);
    await broker.saw(/^configuration\.applied: authorization\.sources\.rules\.rules is as in .* now\.$/);
    assert.equal(await asked('x', 'b'), badLogin);
    assert.deepEqual([await asked('y', 'a'), await asked('y', 'b')], [notAuthorized, granted]);
    reload(settings('y', 'c', '{ type: roles }, '));
    await broker.saw(/^configuration\.applied: roles\.reader is as in .* now\.$/);
    await broker.saw(/^configuration\.applied: authorization\.sources is as in .* now\.$/);
    assert.deepEqual([await asked('y', 'b'), await asked('y', 'c')], [notAuthorized, granted]);

    const passwords = join(folder, 'live-passwords');
    const byFile = `${settings('y', 'c')}authentication: [{ type: users }, { type: passwordFile, path: ${passwords} }]\n`;
    reload(byFile);
    await broker.saw(/^configuration\.rejected: .*live-passwords: /);
    const eve = async (password: string) =>
      (await run('sub', '-p', `${port}`, '-V', '5', '-u', 'eve', '-P', password, '-t', 'c', '-E')).code;
    assert.deepEqual([await asked('y', 'c'), await eve('1')], [granted, badLogin]);
    const setPassword = (password: string) => run('passwd', '-c', '-b', passwords, 'eve', password);
    assert.equal((await setPassword('1')).code, 0);
    reload(byFile);
    await broker.saw(/^configuration\.applied: authentication is as in .* now\.$/);
    assert.deepEqual([await asked('y', 'c'), await eve('1')], [granted, granted]);
    assert.equal((await setPassword('2')).code, 0);
    broker.child.kill('SIGHUP');
    await broker.saw(/^file\.reloaded/);
    assert.deepEqual([await eve('1'), await eve('2')], [badLogin, granted]);
    assert.equal(await broker.stop('SIGINT'), 0);
  });

  it('on SIGHUP stays as it is where users are for a listener that needs a restart', async () => {
    const config = file(
      'new-listener.yaml',
      'listeners: [{ name: a, port: 0 }]\nusers: [{ username: ada, password: x }]',
    );
    const broker = start(['-c', config]);
    await broker.saw(/^listener\.started/);
    file(
      'new-listener.yaml',
      `listeners: [{ name: a, port: 0 }, { name: b, port: 0 }]
users: [{ username: ada, password: x, listeners: [b] }]`,
    );
    broker.child.kill('SIGHUP');
    await broker.saw(/^configuration\.rejected: users\[0\]\.listeners\[0\]: b is the name of no listener/);
    await broker.saw(/^configuration\.needsRestart: listeners\.b changed/);
    assert.equal(await broker.stop('SIGINT'), 0);
  });

  it('as another user than root sees what root does with the certificate authority', { skip: !isRoot }, async () => {
    const certificates = join(folder, 'certificates');
    chmodSync(folder, 0o755);
    const config = file(
      'user.yaml',
      `listeners: [{ protocol: mqtts, port: 0, allowAnonymous: true }]\nprocess: { user: nobody }\ncertificateAuthority: { folder: ${certificates} }\n`,
    );
    const broker = start(['-c', config]);
    await broker.saw(/The process runs as nobody from now on\./);
    for (const args of [
      ['issue', 'pump', '--zip', join(folder, 'pump.zip')],
      ['revoke', 'pump'],
      ['init', '--replace'],
    ])
      assert.equal((await run('ca', ...args, '--folder', certificates)).code, 0);
    const { uid } = statSync(certificates);
    assert.notEqual(uid, 0);
    for (const entry of readdirSync(certificates, { recursive: true }))
      assert.equal(statSync(join(certificates, String(entry))).uid, uid, String(entry));
    const { port } = (await broker.saw(/^listener\.started/)) as Entry & { port: number };
    const made = new X509Certificate(readFileSync(join(certificates, 'server.pem'))).fingerprint256;
    while ((await shownBy(port)) !== made) await delay(20);
    assert.ok(!broker.entries().some(({ level }) => level === 'error'));
    await broker.stop('SIGTERM');
  });

  it('runs in the background with -d', async () => {
    const log = join(folder, 'background.log');
    const output = openSync(log, 'a');
    const parent = spawn(process.execPath, [command, '-d', '-p', '0'], { stdio: ['ignore', output, output] });
    const [code] = await once(parent, 'exit');
    closeSync(output);
    const stdout = readFileSync(log, 'utf8');
    assert.equal(code, 0, stdout);
    const pid = Number(/background as process (\d+)/.exec(stdout)?.[1]);
    try {
      await reachable(Number(/mqtt:\/\/127\.0\.0\.1:(\d+)/.exec(stdout)?.[1]));
    } finally {
      process.kill(pid, 'SIGTERM');
    }
    while (!readFileSync(log, 'utf8').includes('broker.stopped')) await delay(10);
  });
});
