/** Goal: the command runs with a mosquitto.conf as mosquitto does: options, signals, files of the process. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { PacketType } from '../../src/protocol/index.js';
import { freePort } from '../../test/support/mosquitto-scene.js';
import { WireClient } from '../../test/support/wire-client.js';

const command = fileURLToPath(new URL('../../../bin/dunlin', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'dunlin-mosquitto-cli-'));
const running = new Set<ChildProcess>();
after(() => {
  for (const child of running) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

const file = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};

function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [command, ...args], { cwd: folder, timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
    });
  });
}

/** Starts the broker and reads what it writes to standard error. */
async function start(...args: string[]) {
  return startWith({}, ...args);
}

async function startWith(env: Readonly<Record<string, string>>, ...args: string[]) {
  const child = spawn(process.execPath, [command, ...args], {
    cwd: folder,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  child.once('exit', () => running.delete(child));
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
  const saw = async (pattern: RegExp, read = () => text): Promise<string> => {
    for (let deadline = Date.now() + 30_000; ; ) {
      const found = pattern.exec(read());
      if (found !== null) return found[0];
      assert.equal(child.exitCode, null, `ended before ${pattern}:\n${text}`);
      if (Date.now() > deadline) assert.fail(`waited 30 s for ${pattern} in:\n${read()}`);
      await delay(10);
    }
  };
  const stop = async (): Promise<void> => {
    // Not `exit`: what it wrote last may come after that.
    const closed = once(child, 'close');
    child.kill('SIGTERM');
    await closed;
  };
  return { child, saw, stop, text: () => text };
}

/** Eventually, since a file is written by another process. */
async function untilText(path: string, pattern: RegExp): Promise<void> {
  for (let deadline = Date.now() + 30_000; ; ) {
    if (existsSync(path) && pattern.test(readFileSync(path, 'utf8'))) return;
    if (Date.now() > deadline) assert.fail(`waited 30 s for ${pattern} in ${path}`);
    await delay(10);
  }
}

async function client(port: number, clientId: string): Promise<WireClient> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const made = new WireClient(socket, 5);
  await made.connect({ clientId });
  return made;
}

async function leave(made: WireClient): Promise<void> {
  made.send({ type: PacketType.Disconnect, reasonCode: 0 });
  await made.ended();
}

describe('dunlin -c mosquitto.conf', { timeout: 300_000 }, () => {
  it('checks with --test-config and config check, naming what has no effect', async () => {
    const good = file('good.conf', 'autosave_interval 5\nlistener 1884 127.0.0.1\nallow_anonymous true\n');
    const bad = file('bad.conf', 'listener 1884\nnonsense 1\nmax_packet_size x\n');
    for (const args of [
      ['--test-config', '-c', good],
      ['config', 'check', good],
    ]) {
      const { code, stdout, stderr } = await run(...args);
      assert.equal(code, 0);
      assert.equal(stdout, `${good}: no problems\n`);
      assert.match(stderr, /^Warning: .*good\.conf:1:1: autosave_interval: has no effect here: .*\n$/);
    }
    for (const args of [
      ['--test-config', '-c', bad],
      ['config', 'check', bad],
      ['config', 'convert', bad],
      ['-c', bad],
      ['-d', '-c', bad],
    ]) {
      const { code, stdout, stderr } = await run(...args);
      assert.equal(code, 2, args.join(' '));
      assert.equal(stdout, '');
      assert.match(stderr, /bad\.conf:2:1: nonsense: unknown directive/);
      assert.match(stderr, /bad\.conf:3:1: max_packet_size: found "x"/);
    }
  });

  it('converts to standard output or to a file, and never over one', async () => {
    const conf = file('convert.conf', 'listener 1884 127.0.0.1\nallow_anonymous true\n');
    const target = join(folder, 'converted.yaml');
    const { code, stdout } = await run('config', 'convert', conf);
    assert.equal(code, 0);
    assert.match(stdout, /^listeners:$/m);
    assert.equal((await run('config', 'convert', conf, '-o', target)).code, 0);
    assert.equal(readFileSync(target, 'utf8'), stdout);
    const again = await run('config', 'convert', conf, '-o', target);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /is there already; --force/);
    chmodSync(target, 0o644);
    assert.equal((await run('config', 'convert', '--force', conf, '-o', target)).code, 0);
    assert.equal(statSync(target).mode & 0o777, 0o600);
    assert.equal((await run('config', 'check', target)).code, 0);
    assert.equal((await run('config', 'convert')).code, 2);
    assert.equal((await run('config', 'convert', conf, '--what')).code, 2);
  });

  it('logs to standard error, writes its pid file, and takes it away at the end', async () => {
    const port = await freePort();
    const pidFile = join(folder, 'm.pid');
    const conf = file('run.conf', `user root\npid_file ${pidFile}\nlistener ${port} 127.0.0.1\nallow_anonymous true\n`);
    const broker = await start('-c', conf);
    await broker.saw(new RegExp(`^\\d{10}: Opening ipv4 listen socket on port ${port}\\.$`, 'm'));
    assert.equal(readFileSync(pidFile, 'utf8'), `${broker.child.pid}\n`);
    const one = await client(port, 'one');
    await broker.saw(/^\d{10}: New client connected from 127\.0\.0\.1:\d+ as one \(p5, c1, k0\)\.$/m);
    await leave(one);
    await broker.saw(/^\d{10}: Client one disconnected\.$/m);
    await broker.stop();
    assert.equal(existsSync(pidFile), false);
    assert.match(broker.text(), /: dunlin version \S+ terminating$/m);
  });

  it('log_dest syslog, log_facility: the log of the system hears of clients under that facility', async () => {
    const port = await freePort();
    const programs = join(folder, 'programs');
    const heard = join(folder, 'heard');
    mkdirSync(programs);
    writeFileSync(join(programs, 'logger'), `#!/bin/sh\nexec cat >> ${heard}\n`, { mode: 0o755 });
    const conf = file(
      'syslog.conf',
      `user root\nlog_dest syslog\nlog_facility 5\nlistener ${port} 127.0.0.1\nallow_anonymous true\n`,
    );
    const broker = await startWith({ PATH: `${programs}:${process.env.PATH}` }, '-c', conf);
    await untilText(heard, /listen socket on port/);
    await leave(await client(port, 'one'));
    // local5, information: 21 * 8 + 6 (RFC 5424, 6.2.1).
    await untilText(heard, /^<174>\d{10}: New client connected from \S+ as one \(p5, c1, k0\)\.$/m);
    await broker.stop();
  });

  it('persistence_file names the place: another one begins anew, the same one knows', async () => {
    const port = await freePort();
    const conf = (name: string): string =>
      file(
        `${name}.conf`,
        `user root\npersistence true\npersistence_location ${folder}\npersistence_file ${name}\nlistener ${port} 127.0.0.1\nallow_anonymous true\n`,
      );
    const retainedOf = async (name: string): Promise<string> => {
      const broker = await start('-c', conf(name));
      await broker.saw(/listen socket on port/);
      const one = await client(port, 'one');
      await one.subscribe('kept', { qos: 1 });
      const two = await client(port, 'two');
      await two.deliver('kept', name, { qos: 1, retain: true });
      const { payload, retain } = await one.message();
      await leave(one);
      await leave(two);
      await broker.stop();
      return retain ? String(payload) : '';
    };
    assert.equal(await retainedOf('a.db'), '');
    assert.equal(await retainedOf('b.db'), '');
    assert.equal(await retainedOf('a.db'), 'a.db');
    assert.ok(existsSync(join(folder, 'b.db.dunlin')));
  });

  it('refuses a pid file that cannot be written', async () => {
    const conf = file(
      'nopid.conf',
      `user root\npid_file ${join(folder, 'no', 'folder', 'pid')}\nlistener ${await freePort()} 127.0.0.1\n`,
    );
    const { code, stderr } = await run('-c', conf);
    assert.equal(code, 1);
    assert.match(stderr, /process\.pidFile: .* cannot be written/);
  });

  it('-p opens ports of this machine where the file has no listener, and says so where it has', async () => {
    const [first, second] = [await freePort(), await freePort()];
    const silent = await start('-c', file('silent.conf', 'user root\n'), '-p', String(first), '-p', String(second));
    await silent.saw(new RegExp(`Opening ipv4 listen socket on port ${second}\\.`));
    await leave(await client(first, 'a'));
    await leave(await client(second, 'b'));
    assert.doesNotMatch(silent.text(), /port 1883/);
    await silent.stop();
    const conf = file('has.conf', `user root\nlistener ${first} 127.0.0.1\nallow_anonymous true\n`);
    const other = await start('-c', conf, '-p', String(second));
    await other.saw(/Warning: .*has\.conf: -p \d+ has no effect: the file has listeners/);
    await other.saw(new RegExp(`listen socket on port ${first}\\.`));
    assert.doesNotMatch(other.text(), new RegExp(`listen socket on port ${second}`));
    await other.stop();
  });

  it('log_dest file, topic and stdout; SIGHUP opens the file anew', async () => {
    const port = await freePort();
    const log = join(folder, 'm.log');
    const conf = file(
      'log.conf',
      `user root\nlog_dest file ${log}\nlog_dest topic\nlog_dest stdout\nlog_type all\nlistener ${port} 127.0.0.1\nallow_anonymous true\n`,
    );
    const broker = await start('-c', conf);
    await broker.saw(/listen socket on port/);
    const reader = await client(port, 'reader');
    reader.sendSubscribe('$SYS/broker/log/#');
    const heard = async (pattern: RegExp): Promise<void> => {
      for (;;) {
        const { packet } = await reader.next();
        if (packet.type === PacketType.Publish && pattern.test(`${packet.topicName} ${packet.payload}`)) return;
      }
    };
    const other = await client(port, 'other');
    await heard(/^\$SYS\/broker\/log\/N \d{10}: New client connected from .* as other/);
    await other.subscribe('a/b');
    await heard(/^\$SYS\/broker\/log\/M\/subscribe .*other 0 a\/b$/);
    await untilText(log, /New client connected from .* as other/);
    await broker.saw(/New client connected from .* as other/);
    renameSync(log, `${log}.1`);
    broker.child.kill('SIGHUP');
    await untilText(log, /holds no change/);
    await leave(other);
    await untilText(log, /Client other disconnected/);
    await leave(reader);
    await broker.stop();
  });

  it('SIGHUP puts in force what mosquitto reads again, and names the rest', async () => {
    const port = await freePort();
    const text = (more: string) => `user root\nlistener ${port} 127.0.0.1\n${more}`;
    const conf = file('again.conf', text('allow_anonymous true\n'));
    const broker = await start('-c', conf);
    await broker.saw(/listen socket on port/);
    await leave(await client(port, 'before'));
    file(
      'again.conf',
      text(
        'allow_anonymous true\nclientid_prefixes x-\nmax_packet_size 5000\nallow_zero_length_clientid false\nmount_point m\n',
      ),
    );
    broker.child.kill('SIGHUP');
    await broker.saw(/listeners\.mqtt-\d+\.mountPoint changed in .* it takes effect after a restart/);
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    const other = new WireClient(socket, 5);
    other.sendConnect({ clientId: 'other' });
    await other.refused(0x87);
    const made = await client(port, 'x-1');
    await made.subscribe('t');
    made.publish('t', 'x'.repeat(6000));
    await made.refused(0x95);
    file('again.conf', text('allow_anonymous false\nclientid_prefixes x-\n'));
    broker.child.kill('SIGHUP');
    await broker.saw(/allowAnonymous is as in/);
    const nameless = new WireClient(connect(port, '127.0.0.1'), 5);
    nameless.sendConnect({ clientId: 'x-2' });
    await nameless.refused(0x87);
    file('again.conf', text('nonsense\n'));
    broker.child.kill('SIGHUP');
    await broker.saw(/again\.conf:3:1: nonsense: unknown directive/);
    await broker.stop();
  });

  it('SIGUSR1 says that everything is on the disk, SIGUSR2 tells subscriptions and retained messages', async () => {
    const port = await freePort();
    const conf = file(
      'signals.conf',
      `user root\npersistence true\npersistence_location ${folder}\nlistener ${port} 127.0.0.1\nallow_anonymous true\n`,
    );
    const broker = await start('-c', conf);
    await broker.saw(/listen socket on port/);
    const one = await client(port, 'one');
    await one.subscribe('a/+', { qos: 1 });
    await one.deliver('kept', 'payload', { qos: 1, retain: true });
    broker.child.kill('SIGUSR1');
    await broker.saw(/Everything that is kept is on the disk\./);
    assert.ok(statSync(join(folder, 'mosquitto.db.dunlin')).isDirectory());
    broker.child.kill('SIGUSR2');
    await broker.saw(/subscription "one 1 a\/\+"/);
    await broker.saw(/retained "kept 1 7"/);
    await broker.saw(/That was all\./);
    await leave(one);
    await broker.stop();
    const again = await start('-c', conf);
    await again.saw(/listen socket on port/);
    const two = await client(port, 'two');
    await two.subscribe('kept');
    assert.equal((await two.message()).payload, 'payload');
    await leave(two);
    await again.stop();
  });

  const nobody = process.getuid?.() === 0;
  it('user: root becomes somebody else once the listeners are open', { skip: !nobody }, async () => {
    const port = await freePort();
    chmodSync(folder, 0o755);
    const conf = file(
      'user.conf',
      `user nobody\npersistence true\npersistence_location ${folder}\npersistence_file n.db\nlistener ${port} 127.0.0.1\nallow_anonymous true\n`,
    );
    const broker = await start('-c', conf);
    await broker.saw(/The process runs as nobody from now on\./);
    assert.match(readFileSync(`/proc/${broker.child.pid}/status`, 'utf8'), /^Uid:\t(?!0)\d+/m);
    const one = await client(port, 'one');
    await one.deliver('kept', 'x', { qos: 1, retain: true });
    await leave(one);
    await broker.stop();
    const wrong = file('wrong-user.conf', `user nosuchuser0\nlistener ${port} 127.0.0.1\n`);
    const { code, stderr } = await run('-c', wrong);
    assert.equal(code, 1);
    assert.match(stderr, /process\.user: there is no user nosuchuser0 on this system/);
  });
});
