/** What the policy is made of: the shapes of the settings. The configuration checks values and fills in defaults. */
import type { DefaultAccess, Group, Role } from './authorization/role-book.js';
import type { RuleInput } from './authorization/rule.js';
import type { DynamicSecurityOptions } from './dynamic-security/options.js';
import type { PasswordAlgorithm } from './passwords/password-hash.js';

export const administrations = ['none', 'viewer', 'operator', 'admin'] as const;
export type Administration = (typeof administrations)[number];

export interface UserOptions {
  readonly username: string;
  readonly password?: string;
  readonly passwordHash?: string;
  readonly roles?: readonly string[];
  readonly groups?: readonly string[];
  readonly administration?: Administration;
  /** Allowed everything that is not the broker's own. */
  readonly superuser?: boolean;
  readonly enabled?: boolean;
  /** Where the user may come in; empty: everywhere. */
  readonly listeners?: readonly string[];
}

/** Of every source outside the process. */
export interface ExternalOptions {
  readonly name: string;
  readonly timeoutMs: number;
  /** Requests at a time, and connections to a database. */
  readonly requestsMax: number;
  readonly cacheEntriesMax: number;
  readonly cacheSeconds: number;
  /** For refusals and unknown users. */
  readonly refusedCacheSeconds: number;
}

export interface HttpOptions extends ExternalOptions {
  readonly url: string;
  readonly caFile?: string;
  readonly method: 'POST' | 'GET';
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, string>>;
  readonly bodyFormat: 'json' | 'form';
}

export interface SqlOptions extends ExternalOptions {
  readonly url: string;
  readonly caFile?: string;
  readonly query: string;
}

export interface MongoOptions extends ExternalOptions {
  readonly url: string;
  readonly caFile?: string;
  readonly database: string;
  readonly collection: string;
  /** JSON text */
  readonly filter: string;
}

export interface RedisOptions extends ExternalOptions {
  readonly url: string;
  readonly caFile?: string;
  readonly command: string;
}

/** How a table keeps passwords. */
export interface PasswordFormat {
  readonly passwordAlgorithm: PasswordAlgorithm;
  readonly saltPosition: 'prefix' | 'suffix';
  readonly pbkdf2Iterations: number;
  readonly pbkdf2Digest: 'sha1' | 'sha256' | 'sha512';
}

/** The format of passwords counts for a table, whose `passwordHash` may have its salt in another column. */
export interface PasswordFileOptions extends PasswordFormat {
  readonly type: 'passwordFile';
  readonly name: string;
  readonly path: string;
  readonly format: 'mosquitto' | 'csv';
}

/** How a row or document is checked. */
export interface LookupOptions extends PasswordFormat {
  /** `exists`: what is found is let in; the query itself says whom. */
  readonly check: 'password' | 'exists';
}

export interface MatchOptions {
  readonly name: string;
  readonly admit: readonly string[];
  readonly require: readonly string[];
  readonly deny: readonly string[];
}

export interface ListedCertificate {
  readonly thumbprint?: string;
  readonly serialNumber?: string;
  readonly issuer?: string;
  readonly username?: string;
  readonly enabled: boolean;
  readonly listeners: readonly string[];
}

export interface CertificateOptions {
  readonly type: 'certificate';
  readonly name: string;
  readonly username: 'commonName' | 'subject' | 'serialNumber' | 'thumbprint';
  readonly onlyListed: boolean;
  readonly mustBeUser: boolean;
  readonly listed: readonly ListedCertificate[];
}

export interface JwtOptions {
  readonly type: 'jwt';
  readonly name: string;
  readonly from: 'password' | 'username' | 'cookie';
  readonly cookie: string;
  readonly secret?: string;
  readonly secretEncoding: 'text' | 'base64';
  readonly publicKeyFiles: readonly string[];
  readonly jwksUrl?: string;
  readonly oidcIssuer?: string;
  readonly caFile?: string;
  readonly algorithms: readonly string[];
  readonly issuer?: string;
  readonly audience: readonly string[];
  readonly claims: Readonly<Record<string, string>>;
  readonly clockToleranceSeconds: number;
  readonly requireExpiry: boolean;
  readonly disconnectAtExpiry: boolean;
  readonly usernameClaim: string;
  readonly clientIdClaim?: string;
  readonly rolesClaim: string;
  readonly groupsClaim: string;
  readonly aclClaim: string;
  readonly superuserClaim?: string;
  readonly keysRefreshSeconds: number;
  readonly timeoutMs: number;
}

export interface LdapOptions extends ExternalOptions {
  readonly type: 'ldap';
  readonly url: string;
  readonly startTls: boolean;
  readonly caFile?: string;
  readonly bindDn?: string;
  readonly bindPassword?: string;
  readonly userDn?: string;
  readonly searchBase?: string;
  readonly searchFilter: string;
  readonly groupBase?: string;
  readonly groupFilter: string;
  readonly groupAttribute: string;
  readonly superuserGroup?: string;
}

export type AuthenticationOptions =
  | { readonly type: 'anonymous' | 'users'; readonly name: string }
  | { readonly type: 'psk'; readonly name: string; readonly mustBeUser: boolean }
  | PasswordFileOptions
  | (MatchOptions & { readonly type: 'clientId' | 'ip' })
  | CertificateOptions
  | JwtOptions
  | LdapOptions
  | (HttpOptions & { readonly type: 'http' })
  | (SqlOptions & LookupOptions & { readonly type: 'postgresql' | 'mysql' })
  | (MongoOptions & LookupOptions & { readonly type: 'mongodb' })
  | (RedisOptions & LookupOptions & { readonly type: 'redis' });

export type AuthorizationSourceOptions =
  | { readonly type: 'identity'; readonly name: string }
  | { readonly type: 'rules'; readonly name: string; readonly rules: readonly RuleInput[] }
  | { readonly type: 'rulesFile' | 'mosquittoAclFile'; readonly name: string; readonly path: string }
  | {
      readonly type: 'roles';
      readonly name: string;
      readonly anonymousGroup?: string;
      readonly publishClientSend: DefaultAccess;
      readonly publishClientReceive: DefaultAccess;
      readonly subscribe: DefaultAccess;
      readonly unsubscribe: DefaultAccess;
    }
  | (HttpOptions & { readonly type: 'http' })
  | (SqlOptions & { readonly type: 'postgresql' | 'mysql' })
  | (MongoOptions & { readonly type: 'mongodb' })
  | (RedisOptions & { readonly type: 'redis' });

export interface AuthorizationOptions {
  readonly sources: readonly AuthorizationSourceOptions[];
  readonly noMatch: 'allow' | 'deny';
  readonly denyAction: 'ignore' | 'disconnect';
  /** Topics whose verdicts are kept for one client. */
  readonly cacheTopicsMax: number;
  /** Whether new subscriptions get what is retained only while its publisher may publish it. */
  readonly checkRetainedSource: boolean;
}

export interface AccessOptions {
  readonly users: readonly UserOptions[];
  readonly authentication: readonly AuthenticationOptions[];
  readonly authorization: AuthorizationOptions;
  readonly roles: readonly Role[];
  readonly groups: readonly Group[];
  /** By listener, the names of the sources that count there; all of them where it names none. */
  readonly listeners: readonly {
    readonly name: string;
    readonly authentication: readonly string[];
    readonly authorization?: readonly string[];
  }[];
  /** Comes before the sources of both chains; without a file there is none. */
  readonly dynamicSecurity?: Partial<DynamicSecurityOptions>;
}

/** No sources at all: everything is allowed to everybody whom the listener lets in. */
export const openAccess: AccessOptions = {
  users: [],
  authentication: [],
  authorization: { sources: [], noMatch: 'allow', denyAction: 'ignore', cacheTopicsMax: 0, checkRetainedSource: false },
  roles: [],
  groups: [],
  listeners: [],
};
