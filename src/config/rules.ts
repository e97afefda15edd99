/** What more than one setting decides: names and ports that collide, listeners nobody could use, safety by default. */
import { checkAccess } from './access-rules.js';
import { addressesOverlap, isLoopback } from './address.js';
import { checkBridges } from './bridge-rules.js';
import { checkProtection } from './protection-rules.js';
import { type Config, type ListenerConfig, listenerFields, type TlsConfig } from './schema.js';
import type { Findings } from './validate.js';

const onlyWebSocket = ['path', 'origins', 'trustedProxies', 'httpFolder'] as const;

/** `authenticated`: clients are checked by something outside this configuration, so `users` may be empty. */
export function checkRules(config: Config, findings: Findings, authenticated: boolean): void {
  config.listeners.forEach((listener, index) => {
    const key = `listeners[${index}]`;
    checkListener(listener, key, findings);
    const checked = authenticated || config.dynamicSecurity.file !== undefined;
    if (!listener.allowAnonymous && config.users.length === 0 && config.authentication.length === 0 && !checked)
      reportLockedOut(listener, key, findings);
    config.listeners.slice(0, index).forEach((other, otherIndex) => {
      if (other.name === listener.name)
        findings.reportAt(`${key}.name`, `${listener.name} is already the name of listeners[${otherIndex}]`);
      if (sameEndpoint(listener, other))
        findings.reportAt(
          listener.unixPath === undefined ? `${key}.port` : `${key}.unixPath`,
          `${endpoint(listener)} is already taken by listener ${other.name} (${endpoint(other)})`,
        );
    });
  });
  config.durability.forEach(({ mode }, index) => {
    if (config.storage.mode === 'memory' && mode !== 'memory')
      findings.reportAt(`durability[${index}].mode`, `is ${mode}, but storage.mode is memory: there is no storage`);
  });
  checkAccess(config, findings);
  checkProtection(config, findings);
  checkBridges(config, findings);
  const indexes = new Map<string, number>();
  config.users.forEach(({ username }, index) => {
    const first = indexes.get(username);
    if (first !== undefined) findings.reportAt(`users[${index}].username`, `is already the name of users[${first}]`);
    else indexes.set(username, index);
  });
}

function checkListener(listener: ListenerConfig, key: string, findings: Findings): void {
  if (!isWebSocket(listener.protocol))
    for (const name of onlyWebSocket)
      if (isMeant(listener, name, key, findings))
        findings.reportAt(
          `${key}.${name}`,
          `is allowed only with protocol ws or wss; this listener has ${listener.protocol}`,
        );
  checkTls(listener, `${key}.tls`, findings);
  if (listener.proxyTls && listener.proxyProtocol !== 'v2')
    findings.reportAt(`${key}.proxyTls`, `needs proxyProtocol: v2; this listener has ${listener.proxyProtocol}`);
  if (listener.interface !== undefined && listener.unixPath !== undefined)
    findings.reportAt(`${key}.interface`, 'is not allowed together with unixPath');
  if (listener.unixPath !== undefined)
    for (const name of ['host', 'port'] as const)
      if (isMeant(listener, name, key, findings))
        findings.reportAt(`${key}.${name}`, 'is not allowed together with unixPath');
}

export const isSecure = (protocol: ListenerConfig['protocol']) => protocol === 'mqtts' || protocol === 'wss';
export const isWebSocket = (protocol: ListenerConfig['protocol']) => protocol === 'ws' || protocol === 'wss';

/** What can be said without reading a file. */
function checkTls({ protocol, tls }: ListenerConfig, key: string, findings: Findings): void {
  const usesPsk = tls.psk.identities.length > 0 || tls.psk.file !== undefined;
  if (!isSecure(protocol)) {
    if (findings.file === undefined ? tls.certificate !== undefined || usesPsk : findings.given(key))
      findings.reportAt(key, `is allowed only with protocol mqtts or wss; this listener has ${protocol}`);
    return;
  }
  const withMaterial = tls.certificate !== undefined || tls.keystore !== undefined || tls.authority;
  if (!withMaterial && !usesPsk)
    findings.reportAt(key, `protocol ${protocol} needs certificate and key, a keystore, psk, or authority`);
  if (!tls.authority)
    for (const name of ['onlyListed', 'trustListed'] as const)
      if (tls[name]) findings.reportAt(`${key}.${name}`, 'needs authority: its list is meant');
  checkMaterial(tls, key, findings, false);
  for (const [index, server] of tls.servers.entries())
    checkMaterial(server, `${key}.servers[${index}]`, findings, true);
  checkServerNames(tls.servers, `${key}.servers`, findings);
  if (!usesPsk)
    for (const [name, given] of Object.entries({
      hint: tls.psk.hint !== '',
      identityAsUsername: tls.psk.identityAsUsername,
    }))
      if (given) findings.reportAt(`${key}.psk.${name}`, 'has no effect without identities and file');
  if (tls.servers.length > 0 && !withMaterial)
    findings.reportAt(
      `${key}.servers`,
      'needs a certificate of the listener too, for clients that ask for other names',
    );
  if (tls.versionMin > tls.versionMax)
    findings.reportAt(`${key}.versionMin`, `${tls.versionMin} is newer than versionMax, ${tls.versionMax}`);
  const trusts = tls.clientCa.length > 0 || tls.trustSystemStore || tls.authority;
  if (tls.clientCertificate !== 'off' && !trusts)
    findings.reportAt(
      `${key}.clientCertificate`,
      'needs clientCa, trustSystemStore or authority: nothing else says whom to trust',
    );
  if (tls.clientCertificate === 'off')
    for (const [name, given] of Object.entries({
      clientCa: tls.clientCa.length > 0,
      trustSystemStore: tls.trustSystemStore,
      onlyListed: tls.onlyListed,
      trustListed: tls.trustListed,
      crl: tls.crl.length > 0,
      ocsp: tls.ocsp !== 'off',
    }))
      if (given) findings.reportAt(`${key}.${name}`, 'has no effect while clientCertificate is off');
  if (protocol === 'wss' && tls.alpn.length > 0)
    findings.reportAt(`${key}.alpn`, 'is allowed only with protocol mqtts; wss is HTTP to ALPN');
  const { cipherSuites } = tls;
  if (usesPsk && cipherSuites !== '' && !/^TLS_(AES_128_GCM|CHACHA20_POLY1305)_SHA256\b/.test(cipherSuites))
    findings.reportAt(`${key}.cipherSuites`, 'needs a suite with SHA256 first: pre-shared keys work with those only');
}

function checkServerNames(servers: TlsConfig['servers'], key: string, findings: Findings): void {
  const seen = new Set<string>();
  for (const [index, { names }] of servers.entries())
    for (const [at, name] of names.entries()) {
      const lower = name.toLowerCase();
      if (seen.has(lower)) findings.reportAt(`${key}[${index}].names[${at}]`, `${name} has a certificate already`);
      seen.add(lower);
    }
}

function checkMaterial(
  material: Pick<TlsConfig, 'certificate' | 'key' | 'keystore' | 'keystorePassword' | 'keystoreEntry' | 'keyPassword'>,
  key: string,
  findings: Findings,
  needed: boolean,
): void {
  const { certificate, keystore } = material;
  if (certificate !== undefined && keystore !== undefined)
    findings.reportAt(`${key}.keystore`, 'is not allowed together with certificate');
  if (needed && certificate === undefined && keystore === undefined)
    findings.reportAt(key, 'needs certificate and key, or a keystore');
  if (certificate === undefined)
    for (const name of ['key', 'keyPassword'] as const)
      if (material[name] !== undefined) findings.reportAt(`${key}.${name}`, 'is given without certificate');
  if (keystore === undefined) {
    for (const name of ['keystorePassword', 'keystoreEntry'] as const)
      if (material[name] !== undefined) findings.reportAt(`${key}.${name}`, 'is given without keystore');
  } else if (material.keystorePassword === undefined)
    findings.reportAt(`${key}.keystorePassword`, `is missing; ${keystore} cannot be opened without it`);
}

/** A program may hand in a whole `Config`, where every setting is given: there only a value of its own counts. */
function isMeant(
  listener: ListenerConfig,
  name: (typeof onlyWebSocket)[number] | 'host' | 'port',
  key: string,
  findings: Findings,
): boolean {
  if (!findings.given(`${key}.${name}`)) return false;
  const field: {
    sentence: string;
    default?: unknown;
    computed?: (siblings: Readonly<Record<string, unknown>>) => unknown;
  } = listenerFields[name];
  const usual = 'computed' in field ? field.computed({ ...listener }) : field.default;
  return findings.file !== undefined || JSON.stringify(listener[name]) !== JSON.stringify(usual);
}

function reportLockedOut(listener: ListenerConfig, key: string, findings: Findings): void {
  const exposed = listener.unixPath === undefined && !isLoopback(listener.host);
  const reason = exposed
    ? `listener ${listener.name} on ${listener.host} is reachable from other machines, and no users are configured`
    : `listener ${listener.name} does not allow anonymous clients, and no users are configured`;
  findings.reportAt(`${key}.allowAnonymous`, `${reason}; add users, or say allowAnonymous: true to let everyone in`);
}

function sameEndpoint(listener: ListenerConfig, other: ListenerConfig): boolean {
  if (listener.unixPath !== undefined || other.unixPath !== undefined) return listener.unixPath === other.unixPath;
  return listener.port !== 0 && listener.port === other.port && addressesOverlap(listener.host, other.host);
}

function endpoint(listener: ListenerConfig): string {
  if (listener.unixPath !== undefined) return listener.unixPath;
  return listener.host.includes(':') ? `[${listener.host}]:${listener.port}` : `${listener.host}:${listener.port}`;
}
