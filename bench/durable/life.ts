// A broker in a folder that outlives it: started with a clock on it, ended gently or not, started again.

import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodePacket, PacketType } from '../../src/protocol/index.js';
import { findFreePort, pinned } from '../peers/index.js';
import type { DurableBroker } from './brokers.js';

const START_SECONDS_MAX = 300;
const STOP_SECONDS_MAX = 120;
const TRY_EVERY_MS = 3;

export interface Life {
  port: number;
  pid: number;
  /** From just before the process was started to the CONNACK that accepts a client. */
  secondsToFirstConnect: number;
  /** SIGTERM or SIGKILL; resolves with the seconds it took. */
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number>;
}

export async function startLife(broker: DurableBroker, folder: string, core: number | undefined): Promise<Life> {
  const port = await findFreePort();
  const [program = '', ...args] = pinned(broker.command(port, folder), core);
  const from = performance.now();
  const child = spawn(program, args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    if (said.length < 4000) said += chunk.toString();
  });
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', (error) => {
      said ||= error.message;
      resolve();
    });
  });
  try {
    await firstConnect(port, child, () => said);
  } catch (error) {
    child.kill('SIGKILL');
    await ended;
    throw new Error(`${broker.name}: ${(error as Error).message}`);
  }
  return {
    port,
    pid: child.pid ?? 0,
    secondsToFirstConnect: (performance.now() - from) / 1000,
    async end(signal) {
      const asked = performance.now();
      child.kill(signal);
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_SECONDS_MAX * 1000);
      await ended;
      clearTimeout(timer);
      return (performance.now() - asked) / 1000;
    },
  };
}

async function firstConnect(port: number, child: ChildProcess, said: () => string): Promise<void> {
  const end = performance.now() + START_SECONDS_MAX * 1000;
  while (performance.now() < end) {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined)
      throw new Error(said().trim() || `it ended with ${child.signalCode ?? child.exitCode ?? 'nothing said'}`);
    if (await isAccepted(port)) return;
    await sleep(TRY_EVERY_MS);
  }
  throw new Error(`it accepts nobody ${START_SECONDS_MAX} s after its start`);
}

/** One connection with a clean session: true when CONNACK says yes. */
function isAccepted(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    let answer = Buffer.alloc(0);
    const done = (accepted: boolean) => {
      socket.destroy();
      resolve(accepted);
    };
    socket.once('connect', () => {
      const packet = {
        type: PacketType.Connect,
        protocolVersion: 4,
        bridge: false,
        cleanStart: true,
        keepAlive: 0,
      } as const;
      socket.write(encodePacket({ ...packet, clientId: 'first' }, 4));
    });
    socket.on('data', (chunk: Buffer) => {
      answer = Buffer.concat([answer, chunk]);
      if (answer.length >= 4) done(answer[0] === 0x20 && answer[3] === 0);
    });
    socket.once('error', () => done(false));
    socket.once('close', () => done(false));
  });
}

export interface Memory {
  rssBytes: number;
  /** Most that it ever was. */
  peakBytes: number;
}

/** Zeros where /proc does not tell. */
export function memoryOf(pid: number): Memory {
  let status = '';
  try {
    status = readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {}
  const value = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) * 1024;
  return { rssBytes: value('VmRSS'), peakBytes: value('VmHWM') };
}
