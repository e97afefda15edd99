/** What a program asks for while the broker runs, as the whole configuration that would come of it: so that it is checked like one. */
import type { Limits } from '../base/index.js';
import type { Config, ConfigInput } from '../config/index.js';
import type { ProtocolOptions } from '../connection/index.js';
import type { LiveSettings, TermOfListener } from './broker-api.js';
import type { GuardSettings } from './guard.js';

export const termsOfListener: readonly TermOfListener[] = [
  'allowAnonymous',
  'protocolVersions',
  'emptyClientIds',
  'clientIdPrefix',
  'usernameAsClientId',
];

/** What changes while the broker runs, as it is at present. */
export interface InForce {
  readonly guard: GuardSettings;
  readonly limits: Limits;
  readonly protocol: Pick<ProtocolOptions, 'clientIdPrefixes' | 'refuseLongKeepAlive'>;
}

export function configAsked(config: Config, now: InForce, settings: LiveSettings): ConfigInput {
  const { limits, listeners, protocol, ...changed } = settings;
  const { clientIdPrefixes, refuseLongKeepAlive } = now.protocol;
  return {
    ...config,
    ...now.guard,
    users: [], // not of interest here, and perhaps many
    ...given(changed),
    limits: merged({ ...now.limits }, limits),
    listeners: Array.isArray(listeners) ? listenersAsked(config, listeners) : (listeners ?? config.listeners),
    protocol: merged({ ...config.protocol, clientIdPrefixes, refuseLongKeepAlive }, protocol),
  } as ConfigInput;
}

function listenersAsked(config: Config, changes: NonNullable<LiveSettings['listeners']>): ConfigInput['listeners'] {
  return config.listeners.map((listener) => {
    const { connectionsMax, ...change } = changes.find(({ name }) => name === listener.name) ?? {};
    const terms = termsOfListener.map((term) => [term, (change as Partial<typeof listener>)[term]]);
    return { ...listener, ...given({ connectionsMax, ...Object.fromEntries(terms) }) };
  });
}

/** What is no group of settings goes through, to be named as what it is. */
export function merged(group: object, changes: unknown): unknown {
  if (changes === undefined) return group;
  return isGroup(changes) ? { ...group, ...given(changes) } : changes;
}

function isGroup<Value>(value: Value): value is NonNullable<Value> & object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function given(values: object): object {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
