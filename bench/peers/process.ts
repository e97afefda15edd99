// Starts a broker process, pinned to a core, and waits until it listens.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Place, RunningPeer } from './peer.js';

const START_SECONDS_MAX = 20;
const STOP_SECONDS_MAX = 10;
const MESSAGE_BYTES_MAX = 4000;

/** The path of a program, or undefined when it is not installed. */
export function findProgram(name: string): string | undefined {
  for (const folder of [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/usr/local/sbin']) {
    const path = join(folder, name);
    if (folder !== '' && spawnSync('test', ['-x', path]).status === 0) return path;
  }
  return undefined;
}

export { freePort as findFreePort } from '../../test/support/free-port.js';

/** Puts `taskset` in front of a command when there is a core to pin it to. */
export function pinned(command: string[], core: number | undefined): string[] {
  return core === undefined ? command : ['taskset', '-c', String(core), ...command];
}

/**
 * Runs `command` in a folder of its own, which goes when the broker stops, or in `kept`, which stays. taskset replaces itself
 * by the command, so the process number is the broker's.
 */
export async function startProcess(
  name: string,
  place: Place,
  port: number,
  command: (folder: string) => string[],
  kept?: string,
): Promise<RunningPeer> {
  const folder = kept ?? mkdtempSync(join(tmpdir(), 'dunlin-bench-'));
  const [program = '', ...args] = pinned(command(folder), place.core);
  const child = spawn(program, args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    if (said.length < MESSAGE_BYTES_MAX) said += chunk.toString();
  });
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', (error) => {
      said ||= error.message;
      resolve();
    });
  });
  const stop = async () => {
    await endProcess(child, ended);
    if (kept === undefined) rmSync(folder, { recursive: true, force: true });
  };
  try {
    await waitUntilListening(port, child, () => said);
  } catch (error) {
    await stop();
    throw new Error(`${name} did not start: ${(error as Error).message}`);
  }
  return { host: '127.0.0.1', port, pids: [child.pid ?? 0], stop };
}

async function endProcess(child: ChildProcess, ended: Promise<void>): Promise<void> {
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_SECONDS_MAX * 1000);
  await ended;
  clearTimeout(timer);
}

async function waitUntilListening(port: number, child: ChildProcess, said: () => string): Promise<void> {
  const end = Date.now() + START_SECONDS_MAX * 1000;
  while (Date.now() < end) {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined)
      throw new Error(said().trim() || `it ended with code ${child.exitCode ?? child.signalCode ?? 'unknown'}`);
    if (await listens('127.0.0.1', port)) return;
    await sleep(50);
  }
  throw new Error(`nothing listens on its port after ${START_SECONDS_MAX} s`);
}

export function listens(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const answer = (listening: boolean) => {
      socket.destroy();
      resolve(listening);
    };
    socket.once('connect', () => answer(true));
    socket.once('error', () => answer(false));
    socket.setTimeout(2000, () => answer(false));
  });
}
