export { type AccessDependencies, AccessPolicy, type AccessStatus, type ReplacedAccess } from './access-policy.js';
export type { CertificateStanding, FindStanding } from './authentication/built-in-sources.js';
export type { ExplainedLogin } from './authentication/chain.js';
export type { UserStore } from './authentication/users.js';
export type { ExplainedStep } from './authorization/authorization-chain.js';
export { ruleFilterProblem } from './authorization/filter-template.js';
export {
  type DefaultAccess,
  type Group,
  type Role,
  type RoleBook,
  type RoleEntry,
  roleEntryTypes,
} from './authorization/role-book.js';
export { type RuleInput, ruleActions } from './authorization/rule.js';
export { patternProblem } from './authorization/who.js';
export { type Asker, DynamicSecurity } from './dynamic-security/dynamic-security.js';
export { makeAdministratorFile } from './dynamic-security/initial.js';
export { DYNAMIC_SECURITY } from './dynamic-security/options.js';
export { type AccessOptions, administrations, openAccess, type UserOptions } from './options.js';
export {
  type HashScheme,
  hashPassword,
  hashProblem,
  hashSchemes,
  PBKDF2_ITERATIONS,
  parsePasswordHash,
  passwordAlgorithms,
  verifyPassword,
} from './passwords/password-hash.js';
export type {
  Admission,
  AuthenticationExchange,
  Client,
  ClientCertificate,
  ConnectRequest,
  ExchangeStep,
  Identity,
  Policy,
} from './policy.js';
export { ScramClient } from './scram-client.js';
export type { Question } from './sources/facts.js';
export type { SourceStatus } from './sources/guard.js';
export { templateProblem } from './sources/template.js';
