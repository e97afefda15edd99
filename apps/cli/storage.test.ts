/**
 * Goal: `dunlin storage` tells the truth about a folder, also beside a running broker; what it backs up opens elsewhere; what
 * it repairs opens again.
 *
 * Method: the command called here, on folders of brokers that run here; as a process where it is to work beside a broker that
 * goes on writing. More by hand: DUNLIN_BACKUPS=count backups of a running broker, DUNLIN_DAMAGES=count damaged folders.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Broker, createBroker } from '../../src/index.js';
import { runStorage } from './storage.js';

const BACKUPS = Number(process.env.DUNLIN_BACKUPS ?? 2);
const DAMAGES = Number(process.env.DUNLIN_DAMAGES ?? 60);

const command = fileURLToPath(new URL('../../../bin/dunlin', import.meta.url));
const root = mkdtempSync(join(tmpdir(), 'dunlin-storage-'));
const running = new Set<Broker>();
after(async () => {
  for (const broker of running) await broker.stop();
  rmSync(root, { recursive: true });
});

let folders = 0;
const newFolder = () => join(root, `data-${++folders}`);

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(...args: string[]): Promise<Ended> {
  let [stdout, stderr] = ['', ''];
  const code = await runStorage(args, {
    stdout: { write: (text) => void (stdout += text) },
    stderr: { write: (text) => void (stderr += text) },
  });
  return { code, stdout, stderr };
}

function runProcess(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [command, 'storage', ...args], { cwd: root }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
    });
  });
}

async function start(path: string, mode: 'buffered' | 'faultTolerant' = 'buffered'): Promise<Broker> {
  const broker = createBroker({
    config: {
      listeners: [],
      storage: { mode, path },
      limits: { retainedBytesMax: 2 ** 40 },
      sys: { intervalSeconds: 0 },
    },
  });
  await broker.start();
  running.add(broker);
  return broker;
}

async function stop(broker: Broker): Promise<void> {
  running.delete(broker);
  await broker.stop();
}

const retain = { qos: 1, retain: true } as const;
/** Larger than a segment, so that it becomes tables. */
const payload = Buffer.alloc(10_000, 'x');

/** A stopped broker's folder with `count` retained messages. */
async function folderWith(count: number, mode: 'buffered' | 'faultTolerant' = 'buffered'): Promise<string> {
  const path = newFolder();
  const broker = await start(path, mode);
  for (let index = 0; index < count; index++) {
    broker.publish(`site/${index}`, index < 2000 ? `value ${index}` : payload, retain);
    if (index % 200 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await stop(broker);
  return path;
}

/** Topic names and payloads, as a broker started on the folder hands them out. */
async function retainedOf(path: string, mode: 'buffered' | 'faultTolerant' = 'buffered'): Promise<Map<string, string>> {
  const broker = await start(path, mode);
  const found = new Map<string, string>();
  broker.publish('site/~', 'the last in order', retain);
  await new Promise<void>((resolve) => {
    broker.subscribe('site/#', ({ topicName, payload: bytes }) => {
      if (topicName === 'site/~') resolve();
      else found.set(topicName, bytes.toString());
    });
  });
  broker.publish('site/~', '', retain);
  await stop(broker);
  return found;
}

function fileOf(path: string, kind: 'log' | 'table'): string {
  const name = readdirSync(path)
    .filter((each) => each.startsWith(kind))
    .sort((a, b) => statSync(join(path, b)).size - statSync(join(path, a)).size)[0];
  assert.ok(name !== undefined, `no ${kind} in ${path}`);
  return join(path, name);
}

function flip(file: string, at: number): void {
  const bytes = readFileSync(file);
  bytes[at]! ^= 0xff;
  writeFileSync(file, bytes);
}

describe('dunlin storage', () => {
  it('explains itself, and ends with 2 when it does not understand', async () => {
    const help = await runProcess('--help');
    assert.equal(help.code, 0);
    assert.match(help.stdout, /dunlin storage backup PATH TARGET/);
    const empty = newFolder();
    mkdirSync(empty);
    for (const [args, expected] of [
      [[], /a command is missing; there are stat, check, backup, restore/],
      [['mend'], /unknown command "mend"/],
      [['toString'], /unknown command/],
      [['stat', '--repair'], /stat: unknown argument "--repair"/],
      [['check', '-c'], /-c needs a file/],
      [['check', 'a', '-c', 'b'], /either PATH or -c FILE/],
      [['backup'], /PATH and TARGET missing/],
      [['backup', 'a'], /TARGET missing/],
      [['backup', 'a', 'b', 'c'], /one path too many: "c"/],
      [['stat', join(root, 'absent')], /there is no folder/],
      [['check', empty], /is not a data folder of Dunlin/],
      [['restore', empty, newFolder()], /is not a data folder of Dunlin/],
      [['stat', command], /is not a folder/],
    ] as const) {
      const { code, stdout, stderr } = await run(...args);
      assert.equal(code, 2, args.join(' '));
      assert.match(stderr, expected);
      assert.match(stderr, /^dunlin storage: .*\n$/);
      assert.equal(stdout, '');
    }
  });

  it('finds the folder that a mosquitto.conf names', async () => {
    const location = newFolder();
    const path = join(location, 'mosquitto.db.dunlin');
    await stop(await start(path));
    const config = join(root, 'mosquitto.conf');
    writeFileSync(config, `persistence true\npersistence_location ${location}\n`);
    const { code, stdout, stderr } = await run('stat', '-c', config);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /mosquitto\.db\.dunlin/);
  });

  it('tells what a folder holds while the broker runs, by path or by configuration', async () => {
    const path = newFolder();
    const broker = await start(path);
    broker.publish('site/1', 'one', retain);
    broker.publish('site/2', 'two', retain);
    broker.publish('$delayed/3600/later', 'x', { qos: 1 });
    await new Promise((resolve) => setImmediate(resolve));
    const config = join(root, 'stat.yaml');
    writeFileSync(config, `storage: { mode: buffered, path: ${path} }\n`);
    const text = await run('stat', '-c', config);
    assert.equal(text.code, 0, text.stderr);
    assert.match(text.stdout, /retained messages +2 /);
    assert.match(text.stdout, /delayed messages +1\n/);
    const figures = JSON.parse((await run('stat', path, '--json')).stdout);
    assert.equal(figures.format, 1);
    assert.equal(figures.contents.retained, 2);
    assert.equal(figures.copies, 1);
    const busy = await run('check', path);
    assert.equal(busy.code, 2);
    assert.match(busy.stderr, /in use by process \d+; stop the broker first/);
    assert.equal((await run('restore', path, path)).code, 1);
    await stop(broker);
    assert.equal((await run('check', path)).code, 0);
    assert.ok(!existsSync(join(path, 'lock')));
  });

  it('backs up a broker that goes on writing; the backup is a whole moment of it', async () => {
    const path = newFolder();
    const broker = await start(path);
    let index = 0;
    let writing = true;
    const writer = (async () => {
      while (writing) {
        // Two topics that change together, in this order: no moment has the second one ahead.
        for (let count = 0; count < 10; count++) {
          broker.publish('site/first', String(index), retain);
          broker.publish('site/second', String(index), retain);
          broker.publish(`site/${index % 1000}`, payload, retain);
          index++;
        }
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    })();
    const backups: string[] = [];
    try {
      while (readdirSync(path).every((name) => !name.startsWith('table')))
        await new Promise((resolve) => setTimeout(resolve, 20));
      for (let count = 0; count < BACKUPS; count++) {
        const before = index;
        const target = newFolder();
        const { code, stderr, stdout } = await runProcess('backup', path, target);
        assert.equal(code, 0, stderr);
        assert.match(stdout, /backup of .*, verified \(\d+ tables?/);
        backups.push(target);
        const stat = await runProcess('stat', path, '--json');
        assert.equal(stat.code, 0, stat.stderr);
        const found = await retainedOf(target);
        const [first, second] = [Number(found.get('site/first')), Number(found.get('site/second'))];
        assert.ok(first === second || first === second + 1, `${first} and ${second}`);
        assert.ok(second >= before - 20 && first <= index, `${first} of ${before} to ${index}`);
      }
    } finally {
      writing = false;
      await writer;
    }
    await stop(broker);
    assert.equal((await run('check', path)).code, 0);
    const full = await run('backup', path, backups[0]!);
    assert.equal(full.code, 1);
    assert.match(full.stderr, /is not empty/);
    assert.match((await run('backup', path, join(path, 'inside'))).stderr, /in the data folder/);
  });

  it('names damage, repairs it, and the broker starts with what is left', async () => {
    const path = await folderWith(4000);
    const whole = await retainedOf(path);
    assert.equal(whole.size, 4000);
    const table = fileOf(path, 'table');
    const blockOfSmallOnes = readFileSync(table).indexOf('value 1700');
    assert.ok(blockOfSmallOnes > 0);
    flip(table, blockOfSmallOnes);
    const checked = await run('check', path);
    assert.equal(checked.code, 1);
    assert.match(checked.stdout, /^DAMAGE {2}.*table-\d+, byte \d+: it cannot be read from here to byte \d+/);
    assert.match(checked.stdout, /\d+ entries can be read nowhere/);
    assert.match(checked.stdout, /lost: what stood between the retained message of "site\/\d+" and/);
    assert.match(checked.stdout, /dunlin storage check --repair/);
    const repaired = await run('check', path, '--repair');
    assert.equal(repaired.code, 0, repaired.stdout);
    assert.match(repaired.stdout, /can be opened again; what is named above is lost/);
    assert.ok(existsSync(`${table}.damaged`));
    const left = await retainedOf(path);
    assert.ok(left.size < whole.size && left.size > whole.size - 1000, `${left.size} of ${whole.size}`);
    for (const [topicName, value] of left) assert.equal(value, whole.get(topicName));
    assert.equal((await run('check', path)).code, 0);
  });

  it('mends one of two copies and loses nothing', async () => {
    const path = await folderWith(300, 'faultTolerant');
    flip(fileOf(path, 'log'), 500);
    writeFileSync(join(path, 'copy/manifest'), 'rubbish');
    const checked = await run('check', path);
    assert.equal(checked.code, 1);
    assert.match(checked.stdout, /the other copy has it/);
    const repaired = await run('check', path, '--repair');
    assert.equal(repaired.code, 0, repaired.stdout);
    assert.match(repaired.stdout, /nothing is lost/);
    assert.equal((await retainedOf(path, 'faultTolerant')).size, 300);
  });

  it('cuts a damaged log, keeps the rest beside, and makes up a lost manifest', async () => {
    const path = newFolder();
    const broker = await start(path);
    for (let index = 0; index < 100; index++) {
      broker.publish(`site/${index}`, 'x', retain);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await stop(broker);
    const log = fileOf(path, 'log');
    flip(log, Math.floor(statSync(log).size / 2));
    truncateSync(join(path, 'manifest'), 20);
    const repaired = await run('check', path, '--repair');
    assert.equal(repaired.code, 0, repaired.stdout);
    assert.match(repaired.stdout, /made up from the files that are there/);
    assert.match(repaired.stdout, /operations \d+ to \d+, or a part of them, are lost/);
    assert.ok(existsSync(`${log}.cut`));
    const left = await retainedOf(path);
    assert.ok(left.size > 30 && left.size < 70, String(left.size));
    for (let index = 0; index < left.size; index++) assert.ok(left.has(`site/${index}`));
  });

  it('restores a backup, keeps what was there, and refuses what is damaged or in use', async () => {
    const path = await folderWith(50);
    const backup = newFolder();
    assert.equal((await run('backup', path, backup)).code, 0);
    const other = newFolder();
    assert.equal((await run('restore', backup, other)).code, 0);
    assert.equal((await retainedOf(other)).size, 50);

    const newer = await start(other);
    newer.publish('site/new', 'x', retain);
    const busy = await run('restore', backup, other, '--replace');
    assert.equal(busy.code, 1);
    assert.match(busy.stderr, /in use by process/);
    await stop(newer);
    const refused = await run('restore', backup, other);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /holds data; with --replace/);
    const replaced = await run('restore', backup, other, '--replace');
    assert.equal(replaced.code, 0, replaced.stderr);
    const kept = /kept in (.*)\n/.exec(replaced.stdout)![1]!;
    assert.equal((await retainedOf(other)).size, 50);
    assert.equal((await retainedOf(kept)).size, 51);
    assert.deepEqual(
      readdirSync(other).filter((name) => name === 'restoring' || name === 'lock'),
      [],
    );

    const damaged = newFolder();
    cpSync(backup, damaged, { recursive: true });
    flip(fileOf(damaged, 'log'), 100);
    const wrong = await run('restore', damaged, newFolder());
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /the backup .* is damaged \(log-\d+: .*\) and is not restored/);
  });

  it('leaves a broker that starts, whatever of its folder was damaged', async () => {
    const fixture = join(process.cwd(), 'test/formats/format-1');
    const names = readdirSync(fixture).filter((name) => statSync(join(fixture, name)).size > 100);
    for (let seed = 0; seed < DAMAGES; seed++) {
      const path = newFolder();
      cpSync(fixture, path, { recursive: true });
      const file = join(path, names[seed % names.length]!);
      const at = Math.floor((statSync(file).size * (seed + 1)) / (DAMAGES + 2));
      flip(file, at);
      const { code, stdout, stderr } = await run('check', path, '--repair');
      assert.equal(code, 0, `${file}, byte ${at}: ${stdout}${stderr}`);
      const broker = await start(path);
      assert.ok(broker.status().running);
      await stop(broker);
    }
  });
});

describe('run by root', { skip: process.getuid?.() !== 0 }, () => {
  it('restore and repair leave a folder that its owner can read', async () => {
    const folder = newFolder();
    const broker = createBroker({ config: { listeners: [], storage: { mode: 'buffered', path: folder } } });
    await broker.start();
    await broker.stop();
    const backup = newFolder();
    assert.equal((await run('backup', folder, backup)).code, 0);
    chownSync(folder, 65534, 65534);
    const owners = () => {
      const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
      assert.ok(names.length >= 2);
      return new Set(names.map((name) => statSync(join(folder, name)).uid));
    };
    assert.equal((await run('restore', backup, folder, '--replace')).code, 0);
    assert.deepEqual(owners(), new Set([65534]));
    writeFileSync(join(folder, 'manifest'), 'damaged');
    assert.equal((await run('check', folder, '--repair')).code, 0);
    assert.deepEqual(owners(), new Set([65534]));
  });
});
