/** What a program asks for while the broker runs, as the whole configuration that would come of it: so that it is checked like one. */
import { type Limits, quoted } from '../base/index.js';
import { type Config, ConfigError, type ConfigInput, diffConfig } from '../config/index.js';
import type { ProtocolOptions } from '../connection/index.js';
import type { LiveSettings } from './broker-api.js';
import type { GuardSettings } from './guard.js';

/** Changes while the broker runs, but not by `protect`. */
const elsewhere =
  /^(bridges|log|users|roles|groups|authentication|authorization)(\.|$)|^listeners\..+\.(authentication|authorization)(\.|$)/;

/** What changes while the broker runs, as it is at present. */
export interface InForce {
  readonly guard: GuardSettings;
  readonly limits: Limits;
  readonly protocol: Pick<ProtocolOptions, 'clientIdPrefixes' | 'refuseLongKeepAlive'>;
}

export function configAsked(config: Config, now: InForce, settings: LiveSettings): ConfigInput {
  if (!isGroup(settings)) throw configError([['', 'protect takes a group of settings']]);
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

/**
 * Nothing that is asked for may be passed over.
 *
 * Errors  `ConfigError` naming each setting that is asked to be other than it is and that `protect` does not change, and listeners that there are not
 */
export function checkAsked(config: Config, now: InForce, asked: LiveSettings, checked: Config): void {
  const wrong: [key: string, sentence: string][] = diffConfig(configAsked(config, now, {}) as Config, checked)
    .filter(({ apply, key }) => apply === 'restart' || elsewhere.test(key))
    .map(({ apply, key }) => [
      key,
      apply === 'restart'
        ? 'needs a restart'
        : 'is not for protect: access, bridges and the log have calls of their own',
    ]);
  for (const [index, { name }] of asked.listeners?.entries() ?? [])
    if (!config.listeners.some((listener) => listener.name === name))
      wrong.push([`listeners[${index}].name`, `no listener is called ${quoted(String(name))}`]);
  if (wrong.length > 0) throw configError(wrong);
}

function listenersAsked(config: Config, changes: NonNullable<LiveSettings['listeners']>): ConfigInput['listeners'] {
  const odd = changes.findIndex((change) => !isGroup(change));
  if (odd !== -1) throw configError([[`listeners[${odd}]`, 'is no group of settings']]);
  return config.listeners.map((listener) =>
    Object.assign({ ...listener }, ...changes.filter(({ name }) => name === listener.name).map(given)),
  );
}

/** What is no group of settings goes through, to be named as what it is. */
export function merged(group: object, changes: unknown): unknown {
  if (changes === undefined) return group;
  return isGroup(changes) ? { ...group, ...given(changes) } : changes;
}

function isGroup<Value>(value: Value): value is NonNullable<Value> & object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function configError(wrong: readonly [key: string, sentence: string][]): ConfigError {
  return new ConfigError(wrong.map(([key, sentence]) => ({ file: undefined, position: undefined, key, sentence })));
}

export function given(values: object): object {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
