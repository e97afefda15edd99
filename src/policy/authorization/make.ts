/** From settings to a source. */
import type { Logger } from '../../base/index.js';
import type { AuthorizationSourceOptions } from '../options.js';
import type { Client } from '../policy.js';
import { HttpRules, LookupRules } from './external-sources.js';
import { IdentitySource, MosquittoAclSource, RolesSource, RulesFileSource, RulesSource } from './local-sources.js';
import type { RoleBook } from './role-book.js';
import type { AuthorizationSource } from './source.js';

export interface AuthorizationDependencies {
  readonly log: Logger;
  readonly roles: RoleBook;
  /** Rules of this source have changed. */
  readonly changed: () => void;
  /** Rules of this client are found to be others than before. */
  readonly changedFor: (client: Client) => void;
  readonly lookMs?: number;
}

export function makeAuthorization(
  options: AuthorizationSourceOptions,
  { log, roles, changed, changedFor, lookMs }: AuthorizationDependencies,
): AuthorizationSource {
  switch (options.type) {
    case 'rules':
      return new RulesSource(options.name, options.rules);
    case 'rulesFile':
      return new RulesFileSource(options.name, options.path, log, changed, lookMs);
    case 'mosquittoAclFile':
      return new MosquittoAclSource(options.name, options.path, log, changed, lookMs);
    case 'identity':
      return new IdentitySource(options.name);
    case 'roles':
      return new RolesSource(options.name, options, roles);
    case 'http':
      return new HttpRules(options, log);
    case 'postgresql':
    case 'mysql':
    case 'mongodb':
    case 'redis':
      return new LookupRules(options, log, changedFor);
  }
}
