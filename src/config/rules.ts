/** What more than one setting decides: names and ports that collide, listeners nobody could use, safety by default. */
import { addressesOverlap, isLoopback } from './address.js';
import { type Config, type ListenerConfig, listenerFields } from './schema.js';
import type { Findings } from './validate.js';

const onlyWebSocket = ['path', 'origins', 'trustedProxies'] as const;

/** `authenticated`: clients are checked by something outside this configuration, so `users` may be empty. */
export function checkRules(config: Config, findings: Findings, authenticated: boolean): void {
  config.listeners.forEach((listener, index) => {
    const key = `listeners[${index}]`;
    checkListener(listener, key, findings);
    if (!listener.allowAnonymous && config.users.length === 0 && !authenticated)
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
  const indexes = new Map<string, number>();
  config.users.forEach(({ username }, index) => {
    const first = indexes.get(username);
    if (first !== undefined) findings.reportAt(`users[${index}].username`, `is already the name of users[${first}]`);
    else indexes.set(username, index);
  });
}

function checkListener(listener: ListenerConfig, key: string, findings: Findings): void {
  if (listener.protocol !== 'ws')
    for (const name of onlyWebSocket)
      if (isMeant(listener, name, key, findings))
        findings.reportAt(`${key}.${name}`, `is allowed only with protocol ws; this listener has ${listener.protocol}`);
  if (listener.unixPath !== undefined)
    for (const name of ['host', 'port'] as const)
      if (isMeant(listener, name, key, findings))
        findings.reportAt(`${key}.${name}`, 'is not allowed together with unixPath');
}

/** A program may hand in a whole `Config`, where every setting is given: there only a value of its own counts. */
function isMeant(
  listener: ListenerConfig,
  name: (typeof onlyWebSocket)[number] | 'host' | 'port',
  key: string,
  findings: Findings,
): boolean {
  if (!findings.given(`${key}.${name}`)) return false;
  const field: { default?: unknown; computed?: (siblings: Readonly<Record<string, unknown>>) => unknown } =
    listenerFields[name];
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
