/**
 * Users of a file that is read again when it changes.
 *
 *   mosquitto   <user name>:<hash>                     as `dunlin passwd` and mosquitto_passwd write it
 *   csv         header line with username and one of password, passwordHash; also salt, roles, groups, listeners, isSuperuser, enabled
 */
import type { Logger } from '../../base/index.js';
import type { PasswordFileOptions, PasswordFormat, UserOptions } from '../options.js';
import type { PasswordChecker } from '../passwords/password-checker.js';
import { parseDigest } from '../passwords/password-hash.js';
import { readyStatus, type SourceStatus } from '../sources/guard.js';
import { WatchedFile } from '../sources/watched-file.js';
import { type NewUser, UserStore, UsersSource } from './users.js';

export class PasswordFileSource extends UsersSource {
  private readonly file: WatchedFile<NewUser[]>;

  constructor(options: PasswordFileOptions, checker: PasswordChecker, log: Logger, lookMs?: number) {
    const { name, path, format } = options;
    const store = new UserStore(name);
    super(name, 'passwordFile', store, checker, false);
    const parse = format === 'csv' ? (text: string) => parseUserTable(text, options) : parsePasswordFile;
    this.file = new WatchedFile(path, parse, (users) => store.setAll(users), log, lookMs);
  }

  open(): Promise<void> {
    return this.file.open();
  }

  look(): void {
    this.file.look();
  }

  async close(): Promise<void> {
    this.file.close();
  }

  override status(): SourceStatus {
    return readyStatus(this.name, this.type, 0, this.file.lastError);
  }
}

/** Errors  Error that names the line. */
function parsePasswordFile(text: string): UserOptions[] {
  const users: UserOptions[] = [];
  const names = new Set<string>();
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.replace(/\r$/, '');
    if (line.trim() === '' || line.startsWith('#')) continue;
    const colon = line.indexOf(':');
    const username = line.slice(0, colon);
    if (colon < 1) throw new Error(`line ${index + 1}: is not <user name>:<hash>`);
    if (names.has(username)) throw new Error(`line ${index + 1}: the user name stands there twice`);
    names.add(username);
    const passwordHash = line.slice(colon + 1).trim();
    if (!passwordHash.startsWith('$'))
      throw new Error(`line ${index + 1}: the password is not hashed; \`dunlin passwd -U\` hashes a file`);
    users.push({ username, passwordHash });
  }
  return users;
}

const columns = [
  'username',
  'password',
  'passwordHash',
  'salt',
  'roles',
  'groups',
  'isSuperuser',
  'enabled',
  'listeners',
] as const;
const otherNames: Readonly<Record<string, (typeof columns)[number]>> = {
  user_id: 'username',
  password_hash: 'passwordHash',
  is_superuser: 'isSuperuser',
  superuser: 'isSuperuser',
};

/** Errors  Error that names the line. */
function parseUserTable(text: string, format: PasswordFormat): NewUser[] {
  const [header, ...rows] = parseCsv(text);
  if (header === undefined) throw new Error('has no header line');
  const names = header.cells.map((cell) => (Object.hasOwn(otherNames, cell) ? otherNames[cell]! : cell));
  const unknown = names.find((name) => !(columns as readonly string[]).includes(name));
  if (unknown !== undefined) throw new Error(`line 1: ${JSON.stringify(unknown)} is none of ${columns.join(', ')}`);
  const seen = new Set<string>();
  const hashed = (passwordHash: string, salt: string, line: number) => {
    const { passwordAlgorithm } = format;
    if (passwordAlgorithm === 'auto') return { passwordHash };
    const hash = parseDigest(passwordHash, salt, format);
    if (hash === undefined) throw new Error(`line ${line}: the password hash is not as ${passwordAlgorithm} says`);
    return { hash };
  };
  return rows.map(({ cells, line }) => {
    if (cells.length !== names.length)
      throw new Error(`line ${line}: has ${cells.length} columns, the header ${names.length}`);
    const cell = (name: (typeof columns)[number]) => cells[names.indexOf(name)] ?? '';
    const list = (name: (typeof columns)[number]) =>
      cell(name)
        .split(/[ ;|]+/)
        .filter((entry) => entry !== '');
    const username = cell('username');
    if (username === '') throw new Error(`line ${line}: has no username`);
    if (seen.has(username)) throw new Error(`line ${line}: the user name stands there twice`);
    seen.add(username);
    const passwordHash = cell('passwordHash');
    const password = cell('password');
    if ((passwordHash === '') === (password === ''))
      throw new Error(`line ${line}: either password or passwordHash is needed`);
    return {
      username,
      ...(passwordHash === '' ? { password } : hashed(passwordHash, cell('salt'), line)),
      roles: list('roles'),
      groups: list('groups'),
      listeners: list('listeners'),
      superuser: isTrue(cell('isSuperuser')),
      enabled: cell('enabled') === '' || isTrue(cell('enabled')),
    };
  });
}

const isTrue = (text: string) => /^(?:true|1|yes)$/i.test(text);

/** RFC 4180: commas, quotes around cells, doubled quotes inside. Empty lines are skipped. */
function parseCsv(text: string): { cells: string[]; line: number }[] {
  const rows: { cells: string[]; line: number }[] = [];
  let cells: string[] = [];
  let cell = '';
  let quoted = false;
  let line = 1;
  let startLine = 1;
  const endRow = (): void => {
    cells.push(cell);
    if (cells.length > 1 || cell !== '') rows.push({ cells, line: startLine });
    cells = [];
    cell = '';
    startLine = line;
  };
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    if (character === '\n') line++;
    if (quoted) {
      if (character !== '"') cell += character;
      else if (text[at + 1] === '"') {
        cell += '"';
        at++;
      } else quoted = false;
    } else if (character === '"' && cell === '') quoted = true;
    else if (character === ',') {
      cells.push(cell);
      cell = '';
    } else if (character === '\n') endRow();
    else if (character !== '\r') cell += character;
  }
  if (quoted) throw new Error(`line ${startLine}: a quote is not closed`);
  endRow();
  return rows;
}
