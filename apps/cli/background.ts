/**
 * `-d`: the command starts itself again as a process of its own, and the one in the foreground ends once that listens or says
 * why it cannot. They talk over the IPC channel.
 */
import { spawn } from 'node:child_process';
import { fstatSync } from 'node:fs';

/** Set in the process that stays. */
const BACKGROUND = 'DUNLIN_BACKGROUND';

type Word = { readonly started: true } | { readonly refusal: string; readonly exitCode: number };

/** Starts this command again without `-d`, apart from the terminal, and waits until it listens or says why not. */
export function runInBackground(args: string[]): Promise<number> {
  const rest = args.filter((argument) => argument !== '-d' && argument !== '--daemon');
  // Output that goes to a file stays with the process; a terminal or a pipe does not outlive its user.
  const output = (descriptor: number) => (fstatSync(descriptor).isFile() ? 'inherit' : 'ignore');
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1]!, ...rest], {
    detached: true,
    stdio: ['ignore', output(1), output(2), 'ipc'],
    env: { ...process.env, [BACKGROUND]: '1' },
  });
  return new Promise((resolve) => {
    child.once('message', (word: Word) => {
      if ('refusal' in word) process.stderr.write(`${word.refusal}\n`);
      else process.stdout.write(`dunlin runs in the background as process ${child.pid}\n`);
      child.disconnect();
      child.unref();
      resolve('refusal' in word ? word.exitCode : 0);
    });
    child.once('exit', (code) => {
      process.stderr.write('dunlin: the background process ended before it listened\n');
      resolve(code === 0 || code === null ? 1 : code);
    });
  });
}

/** In the background, gives word to the process that waits. Returns whether there was one. */
export function tellForeground(word: Word): boolean {
  if (process.env[BACKGROUND] === undefined || !process.connected) return false;
  process.send?.(word);
  process.disconnect();
  return true;
}
