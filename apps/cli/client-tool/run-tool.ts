/**
 * What pub, sub and rr do alike around their own work: arguments, connecting, failures, signals, exit codes.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ClientError, type ClientHandlers, type ClientOptions, MqttClient } from '../../../src/client/index.js';
import type { ProtocolVersion } from '../../../src/protocol/index.js';
import { Output } from '../client-output/message-printer.js';
import { connectOptions } from './connect-options.js';
import { DebugLines } from './debug-lines.js';
import { reportFailure } from './failure-text.js';
import { helpText } from './help-text.js';
import { parseArguments, warningsOf } from './parse-arguments.js';
import { type ToolName, type ToolOptions, UsageError } from './tool-options.js';

export const exitCodes = { ok: 0, failed: 1, timedOut: 27 } as const;

/** What a shell says of a program that a signal ended. */
export const endedBy = (signal: number): number => 128 + signal;

/** After a signal, what is still on its way to the server or to a reader of the output may keep the process so long. */
const STOP_PATIENCE_MS = 3000;

/** One run of a tool between connecting and its end. */
export class ToolRun {
  readonly output = new Output(
    () => this.finish(exitCodes.ok),
    (full) => {
      if (full) this.client.pause();
      else this.client.resume();
    },
  );
  readonly client: MqttClient;
  private readonly done: Promise<number>;
  private resolve: (exitCode: number) => void = () => {};
  private timer: NodeJS.Timeout | undefined;
  private readonly ending = new AbortController();
  /** Aborted when the run finishes: what waits for time or input keeps the process no longer. */
  readonly ended: AbortSignal = this.ending.signal;
  finished = false;

  constructor(
    readonly options: ToolOptions,
    clientOptions: ClientOptions,
    handlers: ClientHandlers,
  ) {
    const debug = options.debug ? new DebugLines(clientOptions.clientId, (line) => this.output.write(line)) : undefined;
    this.client = new MqttClient(
      clientOptions,
      debug === undefined
        ? handlers
        : {
            ...handlers,
            onPacket: (direction, packet) => {
              debug.onPacket(direction, packet);
              handlers.onPacket?.(direction, packet);
            },
          },
    );
    this.done = new Promise((resolve) => {
      this.resolve = resolve;
    });
  }

  get version(): ProtocolVersion {
    return this.options.protocolVersion ?? 4;
  }

  /** Ends the run; the first call decides the exit code. */
  finish(exitCode: number): void {
    this.finished = true;
    this.resolve(exitCode);
    this.ending.abort();
  }

  fail(error: unknown): void {
    if (this.finished) return;
    const { text, exitCode } = reportFailure(error, this.client.address, this.version);
    this.say(text);
    this.finish(exitCode);
  }

  /** One line on standard error, unless `--quiet`. */
  say(text: string): void {
    if (!this.options.quiet) process.stderr.write(`${text}\n`);
  }

  /** Connects, starts the time limit, lets `work` go on, and waits for `finish`. A signal ends it with the exit code of `stoppedBy`. */
  async run(work: () => Promise<void>, stoppedBy: (signal: number) => number = () => exitCodes.ok): Promise<number> {
    const stop = (_name: string, signal: number) => {
      const exitCode = stoppedBy(signal);
      this.finish(exitCode);
      setTimeout(() => process.exit(exitCode), STOP_PATIENCE_MS).unref();
    };
    process.once('SIGINT', stop);
    process.once('SIGTERM', stop);
    try {
      const connecting = this.client.connect().then(async () => {
        const { timeoutSeconds } = this.options;
        if (timeoutSeconds !== undefined) this.timer = setTimeout(() => this.timeOut(), timeoutSeconds * 1000);
        if (!this.finished) await work();
      });
      connecting.catch((error: unknown) => this.fail(error));
      const exitCode = await this.done;
      const properties = this.version === 5 ? this.options.properties.disconnect : undefined;
      await this.client.disconnect(0, properties);
      return exitCode;
    } finally {
      clearTimeout(this.timer);
      process.off('SIGINT', stop);
      process.off('SIGTERM', stop);
      await this.output.finish();
    }
  }

  private timeOut(): void {
    if (this.finished) return;
    this.say('Timed out');
    this.finish(exitCodes.timedOut);
  }
}

/** Parses, prepares and runs; every failure becomes a line and an exit code. */
export async function runTool(
  tool: ToolName,
  args: readonly string[],
  start: (options: ToolOptions, clientOptions: ClientOptions) => Promise<number>,
): Promise<number> {
  try {
    const options = parseArguments(tool, args);
    if (options === 'help') {
      process.stdout.write(helpText(tool));
      return exitCodes.ok;
    }
    if (options === 'version') {
      process.stdout.write(`dunlin ${tool} ${packageVersion()}\n`);
      return exitCodes.failed;
    }
    if (!options.quiet) for (const warning of warningsOf(options)) process.stderr.write(`Warning: ${warning}\n`);
    return await runQuietly(options, () =>
      connectOptions(options).then((clientOptions) => start(options, clientOptions)),
    );
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`Error: ${error.message}\n\nUse 'dunlin ${tool} --help' to see usage.\n`);
    return exitCodes.failed;
  }
}

async function runQuietly(options: ToolOptions, step: () => Promise<number>): Promise<number> {
  try {
    return await step();
  } catch (error) {
    if (error instanceof UsageError || !(error instanceof Error)) throw error;
    const { text, exitCode } = reportFailure(error, options.host ?? 'localhost', options.protocolVersion ?? 4);
    if (!options.quiet) process.stderr.write(`${text}\n`);
    return exitCode;
  }
}

/** True for the failures that end a publish because the run is over. */
export function isClosing(error: unknown): boolean {
  return error instanceof ClientError && error.code === 'CLIENT_CLOSED';
}

function packageVersion(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); folder !== dirname(folder); folder = dirname(folder)) {
    try {
      const found = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
        name?: string;
        version?: string;
      };
      if (found.name === 'dunlin') return found.version ?? '';
    } catch {
      // further up
    }
  }
  return '(unknown version)';
}
