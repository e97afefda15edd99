/** From settings to a source. */
import type { Logger } from '../../base/index.js';
import type { AuthenticationOptions } from '../options.js';
import type { PasswordChecker } from '../passwords/password-checker.js';
import { AnonymousSource, CertificateSource, type FindStanding, MatchSource, PskSource } from './built-in-sources.js';
import { HttpSource } from './http.js';
import { JwtSource } from './jwt.js';
import { LdapSource } from './ldap.js';
import { LookupSource } from './lookup.js';
import { PasswordFileSource } from './password-file.js';
import type { AuthenticationSource } from './source.js';
import { type UserStore, UsersSource } from './users.js';

export interface AuthenticationDependencies {
  readonly log: Logger;
  readonly users: UserStore;
  readonly checker: PasswordChecker;
  readonly findStanding?: FindStanding;
  readonly lookMs?: number;
}

export function makeAuthentication(
  options: AuthenticationOptions,
  { log, users, checker, findStanding, lookMs }: AuthenticationDependencies,
): AuthenticationSource {
  switch (options.type) {
    case 'anonymous':
      return new AnonymousSource(options.name);
    case 'users':
      return new UsersSource(options.name, 'users', users, checker, true);
    case 'passwordFile':
      return new PasswordFileSource(options, checker, log, lookMs);
    case 'clientId':
    case 'ip':
      return new MatchSource(options);
    case 'certificate':
      return new CertificateSource(options, users, findStanding, log);
    case 'psk':
      return new PskSource(options, users);
    case 'jwt':
      return new JwtSource(options, log);
    case 'ldap':
      return new LdapSource(options, log);
    case 'http':
      return new HttpSource(options, log);
    case 'postgresql':
    case 'mysql':
    case 'mongodb':
    case 'redis':
      return new LookupSource(options, checker, log);
  }
}
