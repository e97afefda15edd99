/**
 * Debian's mosquitto as the other side of a test: started on a free loopback port with the configuration lines given, ended by
 * its process id.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { appendFileSync, chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../test/support/free-port.js';

export interface Mosquitto {
  readonly port: number;
  readonly directory: string;
  stop(): Promise<void>;
}

/** The program's path, or undefined with a note for the end of the test run. */
export function findProgram(program: string, testFile: string): string | undefined {
  for (const directory of [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/usr/local/sbin']) {
    const path = join(directory, program);
    if (spawnSync(path, ['--help']).error === undefined) return path;
  }
  const notes = process.env.DUNLIN_LEFT_OUT;
  if (notes !== undefined) appendFileSync(notes, `${testFile}: ${program}\n`);
  return undefined;
}

export { freePort };

/**
 * `lines` gets the port and a directory for files, and returns the configuration. Without it: one anonymous listener.
 */
export async function startMosquitto(
  program: string,
  lines: (port: number, directory: string) => string[] = (port) => [
    `listener ${port} 127.0.0.1`,
    'allow_anonymous true',
  ],
): Promise<Mosquitto> {
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    const directory = mkdtempSync(join(tmpdir(), 'dunlin-mosquitto-'));
    chmodSync(directory, 0o755);
    const file = join(directory, 'mosquitto.conf');
    // as root it would change to a user that cannot read the directory's files
    writeFileSync(file, ['user root', ...lines(port, directory), ''].join('\n'));
    const child = spawn(program, ['-c', file], { stdio: 'ignore' });
    // a test that fails before it stops the broker neither hangs nor leaves it behind
    child.unref();
    process.once('exit', () => child.kill('SIGKILL'));
    if (await answers(child, port)) return { port, directory, stop: () => stop(child, directory) };
    await stop(child, directory);
    if (attempt === 5) throw new Error('mosquitto did not start');
  }
}

async function answers(child: ChildProcess, port: number): Promise<boolean> {
  for (let turn = 0; turn < 1000 && child.exitCode === null; turn += 1) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });
    if (open) return child.exitCode === null;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}

async function stop(child: ChildProcess, directory: string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    child.ref();
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
  }
  rmSync(directory, { recursive: true, force: true });
}
