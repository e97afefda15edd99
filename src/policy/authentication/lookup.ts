/**
 * Users and certificates in databases. Of the first row found:
 *
 *   password_hash, salt          compared with the password, unless `check` is `exists`
 *   username                     the user from now on; else that of CONNECT, when it was asked with, else none
 *   is_superuser, enabled        truth values; a user with enabled = false is refused like one with a wrong password
 *   roles, groups                arrays or text with commas
 *   administration               viewer, operator, admin
 *   expires_at                   seconds since the Unix epoch
 */
import type { Logger } from '../../base/index.js';
import type { LookupOptions } from '../options.js';
import type { PasswordChecker } from '../passwords/password-checker.js';
import { decoyHash, type PasswordHash, parseDigest } from '../passwords/password-hash.js';
import type { ConnectRequest, Identity } from '../policy.js';
import { makeRows, type RowOptions } from '../sources/make-rows.js';
import { flagOf, listOf, type Row, type RowSource, textOf } from '../sources/rows.js';
import { ExternalSource } from './external.js';
import { type Decision, identityOf, next, wrongPassword } from './source.js';

type Options = RowOptions & LookupOptions;

export class LookupSource extends ExternalSource<readonly string[]> {
  private readonly rows: RowSource;
  /** Whether the user name of CONNECT is among what is asked with; else nobody has vouched for it. */
  private readonly asksWithName: boolean;
  /** What an unknown user is compared with: as much work as the last known one was. */
  private decoy: PasswordHash;

  constructor(
    private readonly options: Options,
    private readonly checker: PasswordChecker,
    log: Logger,
  ) {
    super(options, options.type, log);
    this.rows = makeRows(options, 'login');
    this.decoy = decoyOf(options);
    this.asksWithName = questionOf(options).includes('${username}');
  }

  protected disconnect(): Promise<void> {
    return this.rows.close();
  }

  protected prepareRequest(request: ConnectRequest): { request: readonly string[]; key: unknown } | undefined {
    if (this.options.check === 'password' && request.username === undefined) return undefined;
    const values = this.rows.values({ client: request, password: request.password });
    return values === undefined ? undefined : { request: values, key: values };
  }

  protected async ask(values: readonly string[], request: ConnectRequest): Promise<Decision> {
    const [row] = await this.guard.run((signal) => this.rows.find(values, signal));
    if (this.options.check === 'exists') {
      if (row === undefined) return next;
      return flagOf(row, true, 'enabled') ? this.admit(row, request) : wrongPassword;
    }
    if (row !== undefined) this.decoy = this.hashOf(row);
    const { username = '', password = nothing } = request;
    const right = await this.checker.check(username, password, this.decoy);
    if (row === undefined) return next;
    return right && flagOf(row, true, 'enabled') ? this.admit(row, request) : wrongPassword;
  }

  /** Errors  Error when the row cannot be used: that concerns one user, not the source. */
  private hashOf(row: Row): PasswordHash {
    const text = textOf(row, 'password_hash', 'passwordHash', 'password', 'value');
    if (text === undefined || text === '') throw new Error('what was found has no password_hash');
    const hash = parseDigest(text, textOf(row, 'salt') ?? '', this.options);
    if (hash === undefined)
      throw new Error(`password_hash is not as passwordAlgorithm ${this.options.passwordAlgorithm} says`);
    return hash;
  }

  private admit(row: Row, request: ConnectRequest): Decision {
    const administration = textOf(row, 'administration');
    const expires = textOf(row, 'expires_at', 'expire_at');
    const expiresAtMs = expires === undefined ? undefined : Number(expires) * 1000;
    // A date, such as a column of that type: who would be let in for ever?
    if (Number.isNaN(expiresAtMs)) throw new Error('expires_at is no number of seconds');
    const superuser = flagOf(row, false, 'is_superuser', 'superuser');
    const more: Partial<Identity> = {
      roles: listOf(row, 'roles'),
      groups: listOf(row, 'groups'),
      ...(superuser ? { superuser } : {}),
      ...(isAdministration(administration) ? { administration } : {}),
      ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    };
    if (expiresAtMs !== undefined && expiresAtMs <= Date.now()) return wrongPassword;
    const username = textOf(row, 'username') ?? (this.asksWithName ? request.username : undefined);
    return { outcome: 'allow', identity: identityOf(this.name, username, more) };
  }
}

const nothing = Buffer.alloc(0);

function isAdministration(text: string | undefined): text is 'viewer' | 'operator' | 'admin' {
  return text === 'viewer' || text === 'operator' || text === 'admin';
}

function questionOf(options: Options): string {
  if (options.type === 'mongodb') return options.filter;
  return options.type === 'redis' ? options.command : options.query;
}

function decoyOf(options: LookupOptions): PasswordHash {
  const { passwordAlgorithm: algorithm } = options;
  if (algorithm === 'auto') return decoyHash;
  const bcrypt = '$2b$10$abcdefghijklmnopqrstuuJmVv0M7Vq5dWm0sGr5cEZ7uW1sXo9nO';
  const text =
    algorithm === 'bcrypt' ? bcrypt : '00'.repeat({ md5: 16, sha1: 20, sha256: 32 }[algorithm as 'md5'] ?? 64);
  return parseDigest(text, 'salt', options) ?? decoyHash;
}
