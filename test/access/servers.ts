/**
 * Real servers for the tests: each in a folder of its own on a free port of loopback, started by hand and ended by its process id. A
 * program that is not installed leaves its tests out, with a note at the end of the run.
 */
import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { noteLeftOut, PATIENCE_MS } from '../interop/support.js';

export interface Server {
  readonly port: number;
  /** Ends the process without a goodbye; `start` begins it again on the same port. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Ends it for good and removes its folder. */
  stop(): Promise<void>;
}

/** Also where Debian keeps what is not for everybody. */
function find(program: string): string | undefined {
  const versions = '/usr/lib/postgresql';
  let postgres: string[] = [];
  try {
    postgres = readdirSync(versions).map((version) => join(versions, version, 'bin'));
  } catch {} // not there
  for (const folder of [...postgres, ...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']) {
    const path = join(folder, program);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {}
  }
  return undefined;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** Some servers refuse to be root: they run as a user of the system then. */
function userOf(name: string): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  return uid === undefined ? {} : { uid: Number(uid), gid: Number(gid) };
}

function folderFor(kind: string, user: { uid?: number; gid?: number }): string {
  const folder = mkdtempSync(join(tmpdir(), `dunlin-${kind}-`));
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid!);
  chmodSync(folder, 0o750);
  return folder;
}

async function running(
  program: string,
  args: readonly string[],
  options: SpawnOptions,
  port: number,
  folder: string,
): Promise<Server> {
  let child: ChildProcess | undefined;
  let output = '';
  const kill = async (): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };
  const start = async (): Promise<void> => {
    child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    output = '';
    const note = (chunk: Buffer): void => {
      output = (output + chunk.toString('utf8')).slice(-4000);
    };
    child.stdout!.on('data', note);
    child.stderr!.on('data', note);
    const deadline = Date.now() + PATIENCE_MS;
    while (!(await answers(port))) {
      if (child.exitCode !== null || Date.now() > deadline) {
        await kill();
        throw new Error(`${program} does not listen on port ${port}:\n${output}`);
      }
      await pause(20);
    }
  };
  const stop = async (): Promise<void> => {
    await kill();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, kill, start, stop };
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

const missing = (what: string): undefined =>
  void noteLeftOut(`access control with a real server: ${what} is not installed`);

export async function startRedis(password: string): Promise<Server | undefined> {
  const program = find('redis-server');
  if (program === undefined) return missing('redis-server');
  const port = await freePort();
  const folder = folderFor('redis', {});
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder];
  return running(program, [...args, '--requirepass', password], {}, port, folder);
}

/** FerretDB, which speaks MongoDB's protocol, over SQLite; `.ci/run` builds it, since Debian has no MongoDB. */
export async function startFerretdb(): Promise<Server | undefined> {
  const program = find('ferretdb');
  if (program === undefined) return missing('ferretdb');
  const port = await freePort();
  const folder = folderFor('ferretdb', {});
  const args = ['--handler=sqlite', `--sqlite-url=file:${folder}/`, `--state-dir=${folder}`, '--telemetry=disable'];
  return running(program, [...args, `--listen-addr=127.0.0.1:${port}`, '--debug-addr=-'], {}, port, folder);
}

export async function startPostgres(password: string): Promise<Server | undefined> {
  const initdb = find('initdb');
  if (initdb === undefined) return missing('postgresql');
  const user = userOf('postgres');
  const folder = folderFor('postgres', user);
  const secret = join(folder, 'secret');
  const data = join(folder, 'data');
  writeFileSync(secret, `${password}\n`);
  if (user.uid !== undefined) chownSync(secret, user.uid, user.gid!);
  execFileSync(
    initdb,
    ['-D', data, '-U', 'dunlin', '-A', 'scram-sha-256', `--pwfile=${secret}`, '-E', 'UTF8', '--no-locale', '-N'],
    {
      ...user,
      cwd: folder,
      stdio: 'pipe',
    },
  );
  const port = await freePort();
  const args = ['-D', data, '-p', String(port), '-h', '127.0.0.1', '-k', folder, '-c', 'fsync=off'];
  return running(join(dirname(initdb), 'postgres'), args, { ...user, cwd: folder }, port, folder);
}

export async function startMariadb(): Promise<Server | undefined> {
  const install = find('mariadb-install-db');
  const program = find('mariadbd');
  if (install === undefined || program === undefined) return missing('mariadb-server');
  const user = userOf('mysql');
  const folder = folderFor('mariadb', user);
  const data = join(folder, 'data');
  execFileSync(
    install,
    ['--no-defaults', `--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db'],
    {
      ...user,
      cwd: folder,
      stdio: 'pipe',
    },
  );
  const port = await freePort();
  const args = [
    '--no-defaults',
    `--datadir=${data}`,
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    `--socket=${join(folder, 's')}`,
    `--pid-file=${join(folder, 'pid')}`,
  ];
  return running(program, args, { ...user, cwd: folder }, port, folder);
}

/** A directory with the entries of `ldif` below dc=example; its manager is cn=manager,dc=example with `password`. */
export async function startSlapd(
  password: string,
  ldif: string,
  tls?: { readonly certificate: string; readonly key: string },
): Promise<(Server & { readonly securePort: number }) | undefined> {
  const program = find('slapd');
  const slapadd = find('slapadd');
  if (program === undefined || slapadd === undefined) return missing('slapd');
  const folder = folderFor('slapd', {});
  const file = join(folder, 'slapd.conf');
  const lines = [
    ...['core', 'cosine', 'inetorgperson'].map((schema) => `include /etc/ldap/schema/${schema}.schema`),
    'modulepath /usr/lib/ldap',
    'moduleload back_mdb',
    `pidfile ${join(folder, 'pid')}`,
    'database mdb',
    'suffix "dc=example"',
    'rootdn "cn=manager,dc=example"',
    `rootpw ${password}`,
    `directory ${folder}`,
    'access to attrs=userPassword by anonymous auth by * none',
    'access to * by users read by anonymous auth',
  ];
  if (tls !== undefined) {
    writeFileSync(join(folder, 'cert.pem'), tls.certificate);
    writeFileSync(join(folder, 'key.pem'), tls.key);
    lines.splice(
      5,
      0,
      `TLSCertificateFile ${join(folder, 'cert.pem')}`,
      `TLSCertificateKeyFile ${join(folder, 'key.pem')}`,
    );
  }
  writeFileSync(file, `${lines.join('\n')}\n`);
  const entries = join(folder, 'entries.ldif');
  writeFileSync(entries, ldif);
  execFileSync(slapadd, ['-f', file, '-l', entries], { stdio: 'pipe' });
  const port = await freePort();
  const securePort = tls === undefined ? 0 : await freePort();
  const urls = [`ldap://127.0.0.1:${port}`, ...(tls === undefined ? [] : [`ldaps://127.0.0.1:${securePort}`])];
  const server = await running(program, ['-f', file, '-h', urls.join(' '), '-d', '0'], {}, port, folder);
  return { ...server, securePort };
}
