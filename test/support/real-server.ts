/**
 * Real servers for the tests: each in a folder of its own on a free port of loopback, started by hand and ended by its process id. A
 * program that is not installed leaves its tests out, with a note at the end of the run.
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, chmodSync, chownSync, constants, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { noteLeftOut } from '../interop/support.js';

export interface Server {
  readonly port: number;
  /** Ends the process without a goodbye; `start` begins it again on the same port. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Ends it for good and removes its folder. */
  stop(): Promise<void>;
}

/** Also where Debian keeps what is not for everybody. */
export function find(program: string, folders: readonly string[] = []): string | undefined {
  const versions = '/usr/lib/postgresql';
  let postgres: string[] = [];
  try {
    postgres = readdirSync(versions).map((version) => join(versions, version, 'bin'));
  } catch {} // not there
  for (const folder of [
    ...folders,
    ...postgres,
    ...(process.env.PATH ?? '').split(delimiter),
    '/usr/sbin',
    '/usr/local/sbin',
  ]) {
    const path = join(folder, program);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {}
  }
  return undefined;
}

export { freePort } from './free-port.js';

/** Some servers refuse to be root: they run as a user of the system then. */
export function userOf(name: string): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  return uid === undefined ? {} : { uid: Number(uid), gid: Number(gid) };
}

export function folderFor(kind: string, user: { uid?: number; gid?: number }): string {
  const folder = mkdtempSync(join(tmpdir(), `dunlin-${kind}-`));
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid!);
  chmodSync(folder, 0o750);
  return folder;
}

/** How long a server may take to start, milliseconds: some are slow, and more so beside a test that keeps the machine busy. */
const START_PATIENCE_MS = 120_000;

/** How long the rest of a killed server may take to end; what became a daemon of its own does not. */
const REST_PATIENCE_MS = 5000;

/** A program that answers on `port` once it is ready, and `ready` there, if given; `folder` goes with it. */
export async function running(
  program: string,
  args: readonly string[],
  options: SpawnOptions,
  port: number,
  folder: string,
  ready: () => Promise<boolean> = async () => true,
): Promise<Server> {
  let child: ChildProcess | undefined;
  let output = '';
  const kill = async (): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    const closed = once(child, 'close');
    // A program that is a script has started others: the group goes with it.
    if (options.detached) process.kill(-child.pid!, 'SIGKILL');
    else child.kill('SIGKILL');
    await gone;
    // Processes of PostgreSQL that serve one client each notice a moment later, and answer until then; they hold its output open.
    await Promise.race([closed, pause(REST_PATIENCE_MS, undefined, { ref: false })]);
  };
  const start = async (): Promise<void> => {
    child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    output = '';
    const note = (chunk: Buffer): void => {
      output = (output + chunk.toString('utf8')).slice(-4000);
    };
    child.stdout!.on('data', note);
    child.stderr!.on('data', note);
    const deadline = Date.now() + START_PATIENCE_MS;
    while (!((await answers(port)) && (await ready()))) {
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

/** Notes what is not installed for the end of the run. */
export function missing(tests: string, what: string): undefined {
  noteLeftOut(`${tests}: ${what} is not installed`);
}
