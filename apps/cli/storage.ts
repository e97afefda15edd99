/**
 * `dunlin storage`: looks at data folders, checks and repairs them, makes backups and brings them back.
 *
 * Exit codes: 0 done (check: whole), 1 damaged or refused by the world, 2 the caller is wrong (and check: could not check).
 */
import { existsSync, lchownSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfigFile } from '../../src/config/index.js';
import {
  backupStorage,
  type CheckReport,
  checkStorage,
  copyingFiles,
  type Finding,
  type Gap,
  holdsStorage,
  readOnlyFiles,
  realFiles,
  repairStorage,
  restoreStorage,
  type Snapshot,
  withSnapshot,
} from '../../src/storage/index.js';
import { type Contents, countContents, describeKey } from './storage-contents.js';

const help = `dunlin storage: the data folder of a broker

Usage: dunlin storage stat [PATH | -c FILE] [--json]      what it holds; the broker may run
       dunlin storage check [PATH | -c FILE] [--repair]   reads all of it and names every damage; the broker must not run
       dunlin storage backup PATH TARGET                  copies it to a new folder; the broker may run
       dunlin storage restore BACKUP PATH [--replace]     brings a backup back; the broker must not run

PATH is the data folder: without it storage.path of the file given with -c, of ./dunlin.yaml when there is one, or else ./data.

  -c, --config-file FILE  the broker's configuration
      --json              stat: figures as JSON
      --repair            check: makes the folder one that opens again and says what is lost; run it as the broker's user or root
      --replace           restore: also where PATH holds data, which is kept in the folder PATH/replaced-<time>
  -h, --help              this text

stat, backup, restore end with 0 when done, 1 when it cannot be done, 2 when the arguments are wrong.
check ends with 0 when the folder is whole (after --repair: opens again), 1 when it is damaged, 2 when it could not be checked.

Examples
  dunlin storage backup ./data /backup/monday
  dunlin storage check /backup/monday
  dunlin storage restore /backup/monday ./data --replace
`;

/** What is said to the user in one line. */
class Refusal extends Error {
  constructor(
    message: string,
    readonly exitCode: 1 | 2,
  ) {
    super(message);
  }
}

type Print = (text: string) => void;

/** Where the command writes. */
export interface Output {
  readonly stdout: { write: Print };
  readonly stderr: { write: Print };
}

interface Request {
  readonly paths: readonly string[];
  readonly file: string | undefined;
  readonly flags: ReadonlySet<string>;
  readonly print: Print;
}

interface Action {
  readonly paths: readonly string[];
  /** Whether the one path may be left out. */
  readonly path: boolean;
  readonly flags: readonly string[];
  readonly failure: 1 | 2;
  readonly run: (request: Request) => Promise<number>;
}

const actions: Record<string, Action> = {
  stat: { paths: ['PATH'], path: true, flags: ['--json'], failure: 1, run: stat },
  check: { paths: ['PATH'], path: true, flags: ['--repair'], failure: 2, run: check },
  backup: { paths: ['PATH', 'TARGET'], path: false, flags: [], failure: 1, run: backup },
  restore: { paths: ['BACKUP', 'PATH'], path: false, flags: ['--replace'], failure: 1, run: restore },
};

export async function runStorage(args: readonly string[], { stdout, stderr }: Output = process): Promise<number> {
  const [name = '', ...rest] = args;
  const print: Print = (text) => stdout.write(text);
  if (name === 'help' || args.includes('-h') || args.includes('--help')) {
    print(help);
    return 0;
  }
  let failure: 1 | 2 = 2;
  try {
    const action = Object.hasOwn(actions, name) ? actions[name] : undefined;
    if (action === undefined) {
      const found = name === '' ? 'a command is missing' : `unknown command ${JSON.stringify(name)}`;
      throw new Refusal(`${found}; there are ${Object.keys(actions).join(', ')}; see dunlin storage --help`, 2);
    }
    const request = { ...parse(name, action, rest), print };
    failure = action.failure;
    return await action.run(request);
  } catch (error) {
    const refusal = error instanceof Refusal;
    // A failing world carries a code; anything else is a bug and shown whole.
    if (!refusal && (error as { code?: unknown }).code === undefined) throw error;
    stderr.write(`dunlin storage: ${(error as Error).message}\n`);
    return refusal ? error.exitCode : failure;
  }
}

function parse(name: string, action: Action, args: readonly string[]): Omit<Request, 'print'> {
  const wrong = (message: string) => new Refusal(`${name}: ${message}; see dunlin storage --help`, 2);
  const paths: string[] = [];
  const flags = new Set<string>();
  let file: string | undefined;
  for (let i = 0; i < args.length; i++) {
    const argument = args[i]!;
    if (action.path && (argument === '-c' || argument === '--config-file')) {
      file = args[++i];
      if (file === undefined) throw wrong(`${argument} needs a file`);
    } else if (action.flags.includes(argument)) flags.add(argument);
    else if (argument.startsWith('-')) throw wrong(`unknown argument ${JSON.stringify(argument)}`);
    else if (argument === '') throw wrong('a path is empty');
    else paths.push(argument);
  }
  if (paths.length > action.paths.length) throw wrong(`one path too many: ${JSON.stringify(paths.at(-1))}`);
  if (paths.length < action.paths.length && !action.path)
    throw wrong(`${action.paths.slice(paths.length).join(' and ')} missing: give ${action.paths.join(' and ')}`);
  if (file !== undefined && paths.length > 0) throw wrong('give either PATH or -c FILE');
  return { paths, file, flags };
}

function folderOf({ paths, file }: Request): string {
  let folder = paths[0];
  if (folder === undefined) {
    const config = file ?? (existsSync('./dunlin.yaml') ? './dunlin.yaml' : undefined);
    if (config === undefined) folder = './data';
    else {
      const loaded = loadConfigFile(config);
      if (loaded.config === undefined)
        throw new Refusal(`${config} has problems; dunlin config check ${config} names them`, 2);
      folder = loaded.config.storage.path;
    }
  }
  return trimmed(folder);
}

function trimmed(path: string): string {
  return path.length > 1 ? path.replace(/\/+$/, '') || '/' : path;
}

function mustBeStorage(folder: string): void {
  if (!existsSync(folder)) throw new Refusal(`there is no folder ${folder}`, 2);
  if (!statSync(folder).isDirectory()) throw new Refusal(`${folder} is not a folder`, 2);
  if (!holdsStorage(readOnlyFiles, folder)) throw new Refusal(`${folder} is not a data folder of Dunlin`, 2);
}

/** What root has written belongs to the owner of the folder, the user of the broker, who could not read it otherwise. */
function giveToOwner(folder: string): void {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = statSync(folder);
  if (uid === 0) return;
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }))
    lchownSync(join(folder, name), uid, gid);
}

// ---- stat ----

async function stat(request: Request): Promise<number> {
  const folder = folderOf(request);
  mustBeStorage(folder);
  const found = withSnapshot(readOnlyFiles, folder, (snapshot) => ({
    snapshot,
    contents: countContents(snapshot.entries()),
  }));
  const { snapshot, contents } = found;
  request.print(
    request.flags.has('--json')
      ? `${JSON.stringify(figuresOf(folder, snapshot, contents))}\n`
      : formatStat(folder, snapshot, contents),
  );
  return 0;
}

function figuresOf(
  folder: string,
  { manifest, copies, tables, segments, sequence }: Snapshot,
  contents: Contents,
): object {
  const { format, identity, generation } = manifest;
  return { folder, format, identity, generation, sequence, copies, tables, segments, contents };
}

function formatStat(folder: string, snapshot: Snapshot, contents: Contents): string {
  const { manifest, copies, tables, segments } = snapshot;
  const rows: [string, number, string][] = [
    ['sessions', contents.sessions, ''],
    ['subscriptions', contents.subscriptions, `${contents.sharedSubscriptions} of them shared`],
    ['retained messages', contents.retained, bytesText(contents.retainedBytes)],
    ['queued messages', contents.queued, bytesText(contents.queuedBytes)],
    ['messages for shared subscriptions', contents.waitingForGroups, ''],
    ['QoS 2 messages not released', contents.received, ''],
    ['delayed messages', contents.delayed, ''],
    ['wills', contents.wills, ''],
  ];
  const tableBytes = tables.reduce((sum, { bytes }) => sum + bytes, 0);
  const logBytes = segments.reduce((sum, { bytes }) => sum + bytes, 0);
  return [
    `${folder}: format ${manifest.format}, ${copiesText(copies)}, ${bytesText((tableBytes + logBytes) * copies)}`,
    `identity ${manifest.identity}`,
    '',
    ...rows.map(([name, count, more]) => `  ${name.padEnd(34)}${String(count).padStart(10)}${more && `   ${more}`}`),
    '',
    ...tables.map(
      ({ name, entries, tombstones, bytes }) =>
        `  ${name}  ${bytesText(bytes)}, ${entries - tombstones} entries, ${tombstones} removals`,
    ),
    ...segments.map(({ name, bytes }) => `  ${name}    ${bytesText(bytes)}`),
    '',
  ].join('\n');
}

function numbered(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}

function copiesText(copies: number): string {
  return copies === 1 ? 'one copy' : `${copies} copies`;
}

function filesText(tables: number, segments: number): string {
  return `${numbered(tables, 'table')} and ${numbered(segments, 'log segment')}`;
}

function bytesText(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

// ---- check ----

async function check(request: Request): Promise<number> {
  const { print } = request;
  const folder = folderOf(request);
  mustBeStorage(folder);
  const unlock = lock(folder);
  try {
    const report = checkStorage(copyingFiles, folder);
    print(formatReport(folder, report));
    const damaged = report.findings.some(({ kind }) => kind === 'damage');
    if (!damaged) return 0;
    if (report.newerFormat) return 1;
    if (!request.flags.has('--repair')) {
      print(
        'To go on: restore a backup (dunlin storage restore), or keep what is left (dunlin storage check --repair).\n',
      );
      return 1;
    }
    try {
      return await repair(folder, print);
    } finally {
      giveToOwner(folder);
    }
  } finally {
    unlock();
  }
}

async function repair(folder: string, print: Print): Promise<number> {
  print('\nRepair\n');
  const done = await repairStorage(realFiles, folder);
  for (const { path, what, lost } of done) print(`  ${path}: ${what}\n${lostText(lost)}`);
  const left = checkStorage(realFiles, folder).findings.filter(({ kind }) => kind === 'damage');
  if (left.length > 0) {
    for (const finding of left) print(findingText(finding));
    print(`${folder} is still damaged.\n`);
    return 1;
  }
  const loss = done.some((each) => each.loss);
  print(`${folder} can be opened again; ${loss ? 'what is named above is lost' : 'nothing is lost'}.\n`);
  return 0;
}

/** On a disk that cannot be written no broker can be running, and there is nothing to lock. */
function lock(folder: string): () => void {
  try {
    return realFiles.lock(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EROFS') return () => {};
    if ((error as NodeJS.ErrnoException).code === 'STORAGE_IN_USE')
      throw new Refusal(`${(error as Error).message}; stop the broker first, or check a backup of it`, 2);
    throw error;
  }
}

function formatReport(folder: string, { findings, tables, segments, copies, bytes }: CheckReport): string {
  const damages = findings.filter(({ kind }) => kind === 'damage').length;
  const verdict = damages === 0 ? 'whole' : `damaged, in ${numbered(damages, 'place')}`;
  const read = `${filesText(tables, segments)} in ${copiesText(copies)}, ${bytesText(bytes)}`;
  return `${findings.map(findingText).join('')}${folder}: ${verdict} (${read})\n`;
}

function findingText({ kind, path, offset, what, meaning, lost }: Finding): string {
  const place = offset === undefined ? path : `${path}, byte ${offset}`;
  return `${kind === 'damage' ? 'DAMAGE' : 'note'}  ${place}: ${what}\n        ${meaning}\n${lostText(lost)}`;
}

function lostText(lost: readonly Gap[] | undefined): string {
  return (lost ?? [])
    .map(({ after, before }) => {
      const from = after === undefined ? 'the beginning' : describeKey(after);
      const to = before === undefined ? 'the end' : describeKey(before);
      return `        lost: what stood between ${from} and ${to}\n`;
    })
    .join('');
}

// ---- backup and restore ----

async function backup({ paths, print }: Request): Promise<number> {
  const [folder, target] = paths.map(trimmed) as [string, string];
  mustBeStorage(folder);
  const { tables, segments, bytes } = await backupStorage(copyingFiles, folder, target);
  print(`${target}: backup of ${folder}, verified (${filesText(tables, segments)}, ${bytesText(bytes)})\n`);
  return 0;
}

async function restore({ paths, flags, print }: Request): Promise<number> {
  const [from, folder] = paths.map(trimmed) as [string, string];
  mustBeStorage(from);
  const { bytes, kept } = await restoreStorage(copyingFiles, from, folder, {
    replace: flags.has('--replace'),
    nowMs: Date.now(),
  });
  giveToOwner(folder);
  print(`${folder}: restored from ${from}, verified (${bytesText(bytes)})\n`);
  if (kept !== undefined) print(`What it held before is kept in ${kept}\n`);
  return 0;
}
