/**
 * `dunlin passwd`: password files as mosquitto_passwd writes and reads them, with its options.
 *
 * A file is written anew beside the old one, flushed and put in its place. It keeps owner and mode; a new one is readable by its owner only.
 */
import {
  closeSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  lstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  writeFileSync,
} from 'node:fs';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { type HashScheme, hashPassword, hashSchemes, PBKDF2_ITERATIONS } from '../../src/policy/index.js';
import { Interrupted, readHiddenLine } from './hidden-line.js';

const help = `dunlin passwd: keeps a password file for a source of type passwordFile, or for Mosquitto

Usage: dunlin passwd [-H HASH] [-I COUNT] [-c] FILE USERNAME           asks for the password
       dunlin passwd [-H HASH] [-I COUNT] [-c] -b FILE USERNAME PASSWORD
       dunlin passwd -D FILE USERNAME
       dunlin passwd [-H HASH] [-I COUNT] -U FILE

  -b             takes the password from the command line, where others may see it
  -c             begins a new file; an old one of that name is lost
  -D             removes the user
  -H HASH        sha512-pbkdf2 (as Mosquitto has it, the default), sha512 (older Mosquitto), argon2id, scrypt (not for Mosquitto)
  -I COUNT       iterations of sha512-pbkdf2; default ${PBKDF2_ITERATIONS}
  -U             hashes the plain passwords of a file with lines USERNAME:PASSWORD
      --help     this text

FILE may be - : then the line goes to standard output.
`;

/** What ends the command with a sentence and exit code 2, or 1 when the world refused. */
class Refusal extends Error {
  constructor(
    message: string,
    readonly exitCode: 1 | 2 = 2,
  ) {
    super(message);
  }
}

interface PasswdOptions {
  readonly batch: boolean;
  readonly create: boolean;
  readonly remove: boolean;
  readonly update: boolean;
  readonly scheme: HashScheme;
  readonly iterations: number;
  readonly positionals: readonly string[];
}

export async function runPasswd(args: string[]): Promise<number> {
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(help);
    return 0;
  }
  try {
    await run(readOptions(args));
    return 0;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    process.stderr.write(`dunlin passwd: ${error.message}\n`);
    return error.exitCode;
  }
}

function readOptions(args: string[]): PasswdOptions {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(args);
  } catch (error) {
    throw new Refusal(`${(error as Error).message.split('\n')[0]}; see dunlin passwd --help`);
  }
  const { values, positionals } = parsed;
  const { b = false, c = false, D = false, U = false, H = 'sha512-pbkdf2', I } = values;
  if (!(hashSchemes as readonly string[]).includes(H))
    throw new Refusal(`-H ${JSON.stringify(H)} is none of ${hashSchemes.join(', ')}`);
  const iterations = I === undefined ? PBKDF2_ITERATIONS : Number(I);
  if (!Number.isInteger(iterations) || iterations < 1 || iterations > 10_000_000)
    throw new Refusal(`-I ${JSON.stringify(I)} is no whole number from 1 to 10000000`);
  if (I !== undefined && H !== 'sha512-pbkdf2') throw new Refusal('-I is for sha512-pbkdf2');
  if (Number(b) + Number(D) + Number(U) > 1) throw new Refusal('-b, -D and -U exclude each other');
  if (c && (D || U)) throw new Refusal('-c begins a new file, in which there is nothing to change');
  const wanted = U ? 1 : b ? 3 : 2;
  if (positionals.length !== wanted)
    throw new Refusal(
      `${positionals.length} arguments were given, needed is ${['FILE', 'FILE USERNAME', 'FILE USERNAME PASSWORD'][wanted - 1]}; see dunlin passwd --help`,
    );
  return { batch: b, create: c, remove: D, update: U, scheme: H as HashScheme, iterations, positionals };
}

function parse(args: string[]) {
  return parseArgs({
    args,
    allowPositionals: true,
    options: {
      b: { type: 'boolean', short: 'b' },
      c: { type: 'boolean', short: 'c' },
      D: { type: 'boolean', short: 'D' },
      U: { type: 'boolean', short: 'U' },
      H: { type: 'string', short: 'H' },
      I: { type: 'string', short: 'I' },
    },
  });
}

async function run(options: PasswdOptions): Promise<void> {
  const [file = '', username = '', given] = options.positionals;
  const { scheme, iterations } = options;
  if (options.update) {
    const lines = await Promise.all(readLines(file).map((line) => hashed(line, scheme, iterations)));
    return writeLines(file, lines);
  }
  checkUsername(username);
  const belongs = (line: string) => line.startsWith(`${username}:`);
  if (options.remove) {
    const lines = readLines(file);
    if (!lines.some(belongs)) throw new Refusal(`${file} has no user ${JSON.stringify(username)}`, 1);
    return writeLines(
      file,
      lines.filter((line) => !belongs(line)),
    );
  }
  const before = options.create || file === '-' ? [] : readLines(file);
  const password = given ?? (await askPassword());
  if (password === '') throw new Refusal('the password is empty');
  const line = `${username}:${await hashPassword(password, scheme, iterations)}`;
  if (file === '-') {
    process.stdout.write(`${line}\n`);
    return;
  }
  const known = before.findIndex(belongs);
  if (known >= 0) before[known] = line;
  else before.push(line);
  writeLines(file, before);
}

function checkUsername(username: string): void {
  if (username === '') throw new Refusal('the user name is empty');
  if (username.includes(':')) throw new Refusal('a user name in a password file cannot hold a colon');
  if (username.startsWith('#'))
    throw new Refusal('a user name in a password file cannot begin with #: such a line is a comment');
  if (/[\u0000-\u001f\u007f]/.test(username)) throw new Refusal('a user name cannot hold control characters');
  if (Buffer.byteLength(username) > 65_535) throw new Refusal('a user name has at most 65535 bytes');
}

/** A line with a plain password as it is to be; others as they are. */
async function hashed(line: string, scheme: HashScheme, iterations: number): Promise<string> {
  const colon = line.indexOf(':');
  if (colon < 1 || line.startsWith('#')) return line;
  const password = line.slice(colon + 1);
  if (password.startsWith('$')) return line;
  if (password === '') throw new Refusal(`the user ${JSON.stringify(line.slice(0, colon))} has an empty password`);
  return `${line.slice(0, colon)}:${await hashPassword(password, scheme, iterations)}`;
}

function readLines(file: string): string[] {
  let text: string;
  try {
    // What is no text would be written back as something else.
    text = new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new Refusal(`there is no file ${file}; -c begins a new one`, 1);
    if (error instanceof TypeError) throw new Refusal(`${file} is not UTF-8 text`, 1);
    throw new Refusal(`${file} cannot be read: ${message}`, 1);
  }
  return text
    .split('\n')
    .map((line) => line.replace(/\r$/, ''))
    .filter((line) => line !== '');
}

/** Through a file beside it, so that whoever reads at that moment reads all of the old one or all of the new one. */
function writeLines(file: string, lines: readonly string[]): void {
  const beside = `${file}.${process.pid}.new`;
  try {
    const before = statsOf(file);
    const fd = openSync(beside, 'wx', 0o600);
    try {
      writeFileSync(fd, lines.map((line) => `${line}\n`).join(''));
      if (before !== undefined) keepOwner(fd, before);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(beside, file);
  } catch (error) {
    rmSync(beside, { force: true });
    throw new Refusal(`${file} cannot be written: ${(error as Error).message}`, 1);
  }
}

/** Undefined when there is no such file. */
function statsOf(file: string): Stats | undefined {
  const stats = lstatSync(file, { throwIfNoEntry: false });
  if (stats?.isSymbolicLink()) throw new Refusal(`${file} is a symbolic link; name the file itself`, 1);
  return stats;
}

/** A broker that runs as another user than whoever changes the file goes on reading it; the mode is no matter of the umask. */
function keepOwner(fd: number, { uid, gid, mode }: Stats): void {
  if (process.getuid?.() === 0) fchownSync(fd, uid, gid);
  fchmodSync(fd, mode & 0o777);
}

async function askPassword(): Promise<string> {
  const input = process.stdin;
  if (!input.isTTY) {
    const lines = createInterface({ input });
    for await (const line of lines) {
      lines.close();
      return line;
    }
    throw new Refusal('no password was given on standard input');
  }
  try {
    const first = await readHiddenLine('Password: ');
    if ((await readHiddenLine('Again: ')) !== first) throw new Refusal('the two passwords differ');
    return first;
  } catch (error) {
    if (error instanceof Interrupted) throw new Refusal('interrupted', 1);
    throw error;
  }
}
