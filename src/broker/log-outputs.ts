/**
 * Where log lines go: standard output and error, a file, the log of the system.
 *
 * Refuses  to stop the broker: what cannot be written to is written to in vain, except for a file that cannot be opened at the start.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, writeSync } from 'node:fs';
import { Fault, type LogDestination, type SyslogFacility } from '../base/index.js';

export type Severity = 'error' | 'warning' | 'information' | 'debug';

export interface LogOutput {
  readonly isTTY?: boolean;
  write(text: string, severity: Severity): unknown;
  /** Opens anew what a program for log rotation may have moved away. */
  reopen?(): void;
  close?(): void;
}

/** Errors  `Fault` LOG_FILE_FAILED naming the file. */
export function fileOutput(path: string): LogOutput {
  const open = (): number => {
    try {
      return openSync(path, 'a', 0o640);
    } catch (error) {
      throw new Fault('LOG_FILE_FAILED', `log.file: ${path} cannot be opened: ${(error as Error).message}`, {
        cause: error,
      });
    }
  };
  let descriptor: number | undefined = open();
  return {
    write(text) {
      try {
        if (descriptor !== undefined) writeSync(descriptor, text);
      } catch {
        // A full disk must not stop the broker; what was to be said is lost.
      }
    },
    reopen() {
      const next = open();
      if (descriptor !== undefined) closeSync(descriptor);
      descriptor = next;
    },
    close() {
      if (descriptor !== undefined) closeSync(descriptor);
      descriptor = undefined;
    },
  };
}

export function streamOutput(stream: NodeJS.WriteStream): LogOutput {
  stream.on('error', () => {});
  return { isTTY: stream.isTTY === true, write: (text) => stream.write(text) };
}

const priorities: Readonly<Record<Severity, number>> = { error: 3, warning: 4, information: 6, debug: 7 };
const facilities: Readonly<Record<SyslogFacility, number>> = {
  user: 1,
  daemon: 3,
  local0: 16,
  local1: 17,
  local2: 18,
  local3: 19,
  local4: 20,
  local5: 21,
  local6: 22,
  local7: 23,
};

/** So much may wait for the program that writes to the log of the system; what would be more is lost. */
const WAITING_BYTES_MAX = 1_048_576;

/** Through `logger`, which knows where the system keeps its log; `program` is another one, for tests. */
export function syslogOutput(facility: SyslogFacility, program = 'logger'): LogOutput {
  let child: ChildProcess | undefined = spawn(program, ['--prio-prefix', '-t', 'dunlin'], {
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  const gone = (): void => {
    child = undefined;
  };
  child.on('error', gone);
  child.on('exit', gone);
  child.stdin?.on('error', gone);
  child.unref();
  (child.stdin as unknown as { unref?: () => void } | null)?.unref?.();
  return {
    write(text, severity) {
      if (child?.stdin == null || child.stdin.writableLength > WAITING_BYTES_MAX) return;
      child.stdin.write(`<${facilities[facility] * 8 + priorities[severity]}>${text}`);
    },
    close() {
      child?.stdin?.end();
    },
  };
}

export function outputsOf(
  destinations: readonly LogDestination[],
  file: string | undefined,
  facility: SyslogFacility,
): LogOutput[] {
  const outputs: LogOutput[] = [];
  if (destinations.includes('stdout')) outputs.push(streamOutput(process.stdout));
  if (destinations.includes('stderr')) outputs.push(streamOutput(process.stderr));
  if (destinations.includes('syslog')) outputs.push(syslogOutput(facility));
  if (file !== undefined) outputs.push(fileOutput(file));
  return outputs;
}
