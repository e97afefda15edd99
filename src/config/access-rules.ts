/** What more than one setting of authentication and authorization decides: names, passwords, keys that a source needs. */
import { DYNAMIC_SECURITY } from '../policy/dynamic-security/options.js';
import type { Config } from './schema.js';
import type { Findings } from './validate.js';

export function checkAccess(config: Config, findings: Findings): void {
  const { users, authentication, authorization, roles, groups, listeners } = config;
  for (const [index, user] of users.entries()) {
    const key = `users[${index}]`;
    if (user.password !== undefined && user.passwordHash !== undefined)
      findings.reportAt(`${key}.passwordHash`, 'is not allowed together with password');
    for (const [at, name] of user.listeners.entries())
      if (!listeners.some((listener) => listener.name === name))
        findings.reportAt(`${key}.listeners[${at}]`, `${name} is the name of no listener`);
  }
  const dynamic = config.dynamicSecurity.file !== undefined;
  uniqueNames(authentication, 'authentication', findings);
  uniqueNames(authorization.sources, 'authorization.sources', findings);
  if (dynamic)
    for (const [key, sources] of [
      ['authentication', authentication],
      ['authorization.sources', authorization.sources],
    ] as const)
      for (const [index, { name }] of sources.entries())
        if (name === DYNAMIC_SECURITY)
          findings.reportAt(`${key}[${index}].name`, `${name} is the name of dynamic security itself`);
  if (!dynamic && config.dynamicSecurity.passwordFile !== undefined)
    findings.reportAt('dynamicSecurity.passwordFile', 'is given without file');
  uniqueNames(roles, 'roles', findings);
  uniqueNames(groups, 'groups', findings);

  const asksForPasswords = authentication.length === 0 || authentication.some(({ type }) => type === 'users');
  if (asksForPasswords)
    for (const [index, user] of users.entries())
      if (user.password === undefined && user.passwordHash === undefined && authentication.length === 0)
        findings.reportAt(`users[${index}].password`, 'is missing; needed is password or passwordHash');
  const usesUsers = asksForPasswords || authentication.some((source) => 'mustBeUser' in source);
  if (users.length > 0 && !usesUsers)
    findings.reportAt('users', 'count for nothing: no source in authentication has type users, certificate or psk');

  for (const [index, source] of authentication.entries()) checkSource(source, `authentication[${index}]`, findings);
  for (const [key, sources] of [
    ['authentication', authentication],
    ['authorization.sources', authorization.sources],
  ] as const)
    for (const [index, source] of sources.entries())
      if (source.type === 'http' && source.method === 'GET' && Object.keys(source.body).length > 0)
        findings.reportAt(`${key}[${index}].body`, 'counts for nothing with method GET');
  if (authentication.filter(({ type }) => type === 'users').length > 1)
    findings.reportAt('authentication', 'has more than one source of type users');
  if (authorization.sources.filter(({ type }) => type === 'roles').length > 1)
    findings.reportAt('authorization.sources', 'has more than one source of type roles');
  for (const [index, listener] of listeners.entries())
    for (const [at, name] of listener.authentication.entries())
      if (!authentication.some((source) => source.name === name) && !(dynamic && name === DYNAMIC_SECURITY))
        findings.reportAt(
          `listeners[${index}].authentication[${at}]`,
          `${name} is the name of no source in authentication`,
        );
  for (const [index, listener] of listeners.entries())
    for (const [at, name] of listener.authorization.entries())
      if (!authorization.sources.some((source) => source.name === name) && !(dynamic && name === DYNAMIC_SECURITY))
        findings.reportAt(
          `listeners[${index}].authorization[${at}]`,
          `${name} is the name of no source in authorization`,
        );

  const known = new Set(roles.map(({ name }) => name));
  for (const [index, group] of groups.entries())
    for (const [at, name] of group.roles.entries())
      if (!known.has(name)) findings.reportAt(`groups[${index}].roles[${at}]`, `${name} is the name of no role`);
}

function checkSource(source: Config['authentication'][number], key: string, findings: Findings): void {
  if (source.type === 'jwt') {
    const { secret, secretEncoding, publicKeyFiles, jwksUrl, oidcIssuer } = source;
    if (secret !== undefined && secretEncoding === 'base64' && !/^[A-Za-z0-9+/_-]{22,}={0,2}$/.test(secret))
      findings.reportAt(`${key}.secret`, 'is not the base64 of at least 16 bytes, as secretEncoding says');
    if (secret === undefined && publicKeyFiles.length === 0 && jwksUrl === undefined && oidcIssuer === undefined)
      findings.reportAt(key, 'needs a key: secret, publicKeyFiles, jwksUrl or oidcIssuer');
    if (jwksUrl !== undefined && oidcIssuer !== undefined)
      findings.reportAt(`${key}.jwksUrl`, 'is not allowed together with oidcIssuer, which tells where the keys are');
  }
  if (source.type === 'ldap') {
    if ((source.userDn === undefined) === (source.searchBase === undefined))
      findings.reportAt(key, 'needs either userDn or searchBase');
    if (source.bindPassword !== undefined && source.bindDn === undefined)
      findings.reportAt(`${key}.bindPassword`, 'counts for nothing without bindDn');
    if (source.superuserGroup !== undefined && source.groupBase === undefined)
      findings.reportAt(`${key}.superuserGroup`, 'counts for nothing without groupBase');
    if (source.startTls && source.url.startsWith('ldaps:'))
      findings.reportAt(`${key}.startTls`, 'is for ldap URLs; an ldaps connection has TLS from its beginning');
  }
  if (source.type === 'certificate')
    for (const [index, entry] of source.listed.entries())
      if (entry.thumbprint === undefined && (entry.serialNumber === undefined || entry.issuer === undefined))
        findings.reportAt(`${key}.listed[${index}]`, 'needs thumbprint, or serialNumber and issuer');
}

function uniqueNames(entries: readonly { readonly name: string }[], key: string, findings: Findings): void {
  const indexes = new Map<string, number>();
  for (const [index, { name }] of entries.entries()) {
    const first = indexes.get(name);
    if (first === undefined) indexes.set(name, index);
    else findings.reportAt(`${key}[${index}].name`, `${name} is already the name of ${key}[${first}]`);
  }
}
