/** `dunlin config`: checks configuration files, converts those of Mosquitto, prints the reference of all settings. */
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import {
  checkFiles,
  convertMosquitto,
  formatProblem,
  formatReference,
  loadConfigFile,
  mapMosquittoFile,
  type Problem,
  resolveMosquitto,
} from '../../src/config/index.js';

const help = `dunlin config: configuration files

Usage: dunlin config check FILE                         names every problem of a dunlin.yaml or mosquitto.conf, with its line
       dunlin config convert FILE [-o FILE] [--force]   writes a mosquitto.conf as a dunlin.yaml
       dunlin config reference                          prints all settings with their defaults

  -o, --output FILE  convert: writes this file, for its owner alone, in the place of standard output
      --force        convert: also where FILE is there already
  -h, --help         this text

check and convert end with 0 when nothing is wrong, 2 when the file or the arguments are, 1 when convert cannot write.
`;

const usage = `dunlin: use \`dunlin config check FILE\`, \`dunlin config convert FILE [-o FILE] [--force]\` or \`dunlin config reference\`
`;

export async function runConfig([action, ...rest]: string[]): Promise<number> {
  const [file] = rest;
  if ([action, ...rest].some((argument) => argument === '-h' || argument === '--help')) {
    process.stdout.write(help);
    return 0;
  }
  if (action === 'reference' && file === undefined) {
    process.stdout.write(formatReference());
    return 0;
  }
  if (action === 'check' && file !== undefined && rest.length === 1) return check(file);
  if (action === 'convert') return convert(rest);
  process.stderr.write(usage);
  return 2;
}

async function check(file: string): Promise<number> {
  const loaded = loadConfigFile(file);
  const files = loaded.config === undefined ? undefined : await checkFiles(loaded.config, file);
  const problems = [...loaded.problems, ...(files?.problems ?? [])];
  tell(problems, [...loaded.warnings, ...(files?.warnings ?? [])]);
  if (problems.length > 0) return 2;
  process.stdout.write(`${file}: no problems\n`);
  return 0;
}

function convert(args: readonly string[]): number {
  let source: string | undefined;
  let target: string | undefined;
  let force = false;
  for (let at = 0; at < args.length; at++) {
    const argument = args[at]!;
    if (argument === '--force') force = true;
    else if ((argument === '-o' || argument === '--output') && args[at + 1] !== undefined) target = args[++at];
    else if (!argument.startsWith('-') && source === undefined) source = argument;
    else {
      process.stderr.write(usage);
      return 2;
    }
  }
  if (source === undefined) {
    process.stderr.write(usage);
    return 2;
  }
  const mapped = mapMosquittoFile(source);
  const { problems, warnings } = resolveMosquitto(mapped, source);
  tell(problems, warnings);
  if (problems.length > 0) return 2;
  const text = convertMosquitto(mapped, source);
  if (target === undefined) {
    process.stdout.write(text);
    return 0;
  }
  if (existsSync(target) && !force) {
    process.stderr.write(`dunlin: ${target} is there already; --force writes over it\n`);
    return 1;
  }
  try {
    // It may hold passwords of bridges; a file that is written over keeps its mode otherwise.
    if (existsSync(target)) chmodSync(target, 0o600);
    writeFileSync(target, text, { mode: 0o600 });
  } catch (error) {
    process.stderr.write(`dunlin: ${target} cannot be written: ${(error as Error).message}\n`);
    return 1;
  }
  return 0;
}

function tell(problems: readonly Problem[], warnings: readonly Problem[]): void {
  for (const problem of problems) process.stderr.write(`${formatProblem(problem)}\n`);
  for (const warning of warnings) process.stderr.write(`Warning: ${formatProblem(warning)}\n`);
}
