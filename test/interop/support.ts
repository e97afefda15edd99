/**
 * What the interop and scenario tests share: programs that may be missing, the broker as a process of its own, and lines of a
 * program's output to wait for.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, appendFileSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { type Broker, type ConfigInput, createBroker } from '../../src/index.js';
import { unhurried } from '../support/unhurried.js';

/** The package: where `bin`, `dist` and `test` are. */
export const root = fileURLToPath(new URL('../../../', import.meta.url));

/** How long a test waits for what must come; only a fault takes this long, milliseconds. */
export const PATIENCE_MS = 30_000;

/** The program's path; undefined, and noted for the end of the test run, when it is not installed. */
export function findProgram(program: string, note: string): string | undefined {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder, program);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {}
  }
  noteLeftOut(note);
  return undefined;
}

export function noteLeftOut(note: string): void {
  const file = process.env.DUNLIN_LEFT_OUT;
  if (file !== undefined) appendFileSync(file, `${note}\n`);
}

export async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${PATIENCE_MS} ms for ${what}`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Lines of a stream, and the first one that matches, whether it came already or not. */
export class Lines {
  readonly lines: string[] = [];
  private part = '';
  private ended = false;
  private wake: (() => void)[] = [];

  constructor(stream: Readable) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      const lines = (this.part + text).split('\n');
      this.part = lines.pop()!;
      this.lines.push(...lines);
      this.notify();
    });
    stream.on('close', () => {
      this.ended = true;
      this.notify();
    });
  }

  find(pattern: RegExp): Promise<string> {
    const found = async () => {
      for (;;) {
        const line = this.lines.find((candidate) => pattern.test(candidate));
        if (line !== undefined) return line;
        if (this.ended) assert.fail(`the output ended without ${pattern}:\n${this.lines.join('\n')}`);
        await new Promise<void>((resolve) => this.wake.push(resolve));
      }
    };
    return within(found(), `output that matches ${pattern}, after:\n${this.lines.join('\n')}`);
  }

  private notify(): void {
    for (const wake of this.wake.splice(0)) wake();
  }
}

export interface RunningBroker {
  /** of the TCP listener */
  readonly port: number;
  readonly webPort: number;
  /** undefined when it runs in this process */
  readonly pid: number | undefined;
  readonly broker: Broker | undefined;
  stop(): Promise<void>;
}

const listeners: ConfigInput['listeners'] = [
  { name: 'tcp', protocol: 'mqtt', host: '127.0.0.1', port: 0 },
  { name: 'web', protocol: 'ws', host: '127.0.0.1', port: 0, path: '/mqtt' },
];

/** The library in this process. */
export async function embeddedBroker(config: ConfigInput = {}): Promise<RunningBroker> {
  const broker = createBroker({ config: unhurried({ listeners, sys: { intervalSeconds: 0 }, ...config }) });
  await broker.start();
  const port = (name: string) => broker.listeners.find((listener) => listener.name === name)!.port!;
  return { port: port('tcp'), webPort: port('web'), pid: undefined, broker, stop: () => broker.stop() };
}

/** The command `dunlin`, as a person starts it. */
export async function brokerProcess(config: ConfigInput = {}): Promise<RunningBroker> {
  const folder = mkdtempSync(join(tmpdir(), 'dunlin-interop-'));
  const file = join(folder, 'dunlin.yaml');
  // JSON is YAML
  writeFileSync(
    file,
    JSON.stringify(unhurried({ listeners, log: { level: 'information', format: 'json' }, ...config })),
  );
  const child = spawn(process.execPath, [join(root, 'bin', 'dunlin'), '-c', file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const stop = async () => {
    await endProcess(child, 'SIGTERM');
    rmSync(folder, { recursive: true, force: true });
  };
  const output = new Lines(child.stdout!);
  const port = async (scheme: string) => {
    const line = await output.find(new RegExp(`Listening on ${scheme}://127\\.0\\.0\\.1:`));
    return Number(/127\.0\.0\.1:(\d+)/.exec(line)![1]);
  };
  try {
    return { port: await port('mqtt'), webPort: await port('ws'), pid: child.pid, broker: undefined, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

export async function endProcess(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}
