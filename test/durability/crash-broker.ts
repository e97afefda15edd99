/**
 * The broker as a process of its own on one data folder: started, killed at any moment, started again.
 *
 * Its log goes to memory (the last lines, for the report of a failed run). It listens on a free port of loopback, a new one
 * each time.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const command = fileURLToPath(new URL('../../../bin/dunlin.mjs', import.meta.url));
const LOG_LINES_MAX = 400;

export class CrashBroker {
  /** Holds the configuration, the data in `data/`, and after a failed run the log. */
  readonly folder = mkdtempSync(join(tmpdir(), 'dunlin-crash-'));
  port = 0;
  /** It listens and nobody has ended it yet: connections have no reason to break. */
  runs = false;
  /** How often it was started. */
  starts = 0;
  private child: ChildProcess | undefined;
  private readonly lines: string[] = [];
  private ending = false;

  /** @param onDeath  told when the process ends although nobody ended it */
  constructor(
    mode: string,
    private readonly onDeath: (text: string) => void,
  ) {
    const config = {
      listeners: [{ name: 'crash', port: 0, backlog: 511 }],
      storage: { mode, path: join(this.folder, 'data') },
      sys: { intervalSeconds: 0 },
      // On a busy machine it is late now and then, and is to take its clients back all the same.
      protection: { overload: { eventLoopDelayMsMax: 0 } },
      limits: {
        queueMessagesMax: 10_000_000,
        queueBytesMax: 10_000_000_000,
        sharedQueueMessagesMax: 10_000_000,
        retainedMessagesMax: 1_000_000,
      },
      log: { level: 'information', format: 'json' },
    };
    // JSON is YAML.
    writeFileSync(join(this.folder, 'dunlin.yaml'), JSON.stringify(config, null, 2));
  }

  /** Resolves true when it listens, false when it ended before that. */
  start(): Promise<boolean> {
    assert.ok(this.child === undefined || this.child.exitCode !== null || this.child.signalCode !== null, 'it runs');
    this.starts++;
    this.ending = false;
    this.note(`start ${this.starts}`);
    const child = spawn(process.execPath, [command, '-c', join(this.folder, 'dunlin.yaml')], {
      cwd: this.folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child = child;
    const killWithTest = () => child.kill('SIGKILL');
    process.once('exit', killWithTest);
    child.once('close', () => process.off('exit', killWithTest));
    return new Promise((resolve) => {
      let rest = '';
      child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          this.note(line);
          const port = /Listening on mqtt:\/\/127\.0\.0\.1:(\d+)/.exec(line)?.[1];
          if (port === undefined || this.ending) continue;
          this.port = Number(port);
          this.runs = true;
          resolve(true);
        }
      });
      child.stderr.setEncoding('utf8').on('data', (chunk: string) => this.note(`stderr: ${chunk.trimEnd()}`));
      child.once('error', (error) => this.note(`spawn: ${error.message}`));
      child.once('close', (code, signal) => {
        this.note(`ended with ${signal ?? code}`);
        this.runs = false;
        if (!this.ending)
          this.onDeath(`the broker ended by itself with ${signal ?? `code ${code}`}: ${this.lastWords()}`);
        resolve(false);
      });
    });
  }

  /** SIGKILL, at once. Resolves when the process is gone. */
  kill(): Promise<void> {
    return this.end('SIGKILL');
  }

  /** SIGTERM: the broker says goodbye to its clients. */
  stop(): Promise<void> {
    return this.end('SIGTERM');
  }

  /** Clients are about to be cut off although the broker lives; `resume` ends that. */
  expectBreaks(): void {
    this.runs = false;
  }

  resume(): void {
    this.runs = this.child?.exitCode === null && this.child.signalCode === null;
  }

  /** Lines of the test's own between those of the broker. */
  note(line: string): void {
    this.lines.push(line);
    if (this.lines.length > LOG_LINES_MAX) this.lines.splice(0, LOG_LINES_MAX / 4);
  }

  /** After `kill`. A folder that is kept gets the log. */
  dispose(keep: boolean): void {
    if (keep) writeFileSync(join(this.folder, 'broker.log'), `${this.lines.join('\n')}\n`);
    else rmSync(this.folder, { recursive: true, force: true });
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    this.runs = false;
    this.ending = true;
    const { child } = this;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'close');
  }

  private lastWords(): string {
    return this.lines.slice(-6).join(' | ');
  }
}
