/** What a program asks for while the broker runs, as the whole configuration that would come of it: so that it is checked like one. */
import { type Limits, quoted } from '../base/index.js';
import {
  type Config,
  type ConfigChange,
  ConfigError,
  type ConfigInput,
  diffConfig,
  isAccess,
} from '../config/index.js';
import type { ProtocolOptions } from '../connection/index.js';
import type { ReplacedAccess } from '../policy/index.js';
import type { AccessSettings, LiveSettings } from './broker-api.js';
import type { GuardSettings } from './guard.js';

/** Changes while the broker runs, but by neither of the two calls. */
const elsewhere = /^(bridges|log)(\.|$)/;

/** What may not be any more as `config` says. */
export interface InForce {
  readonly guard: GuardSettings;
  readonly limits: Limits;
  readonly protocol: Pick<ProtocolOptions, 'clientIdPrefixes' | 'refuseLongKeepAlive'>;
  readonly roles: Config['roles'];
  readonly groups: Config['groups'];
}

/** The calls that change settings, by their names. */
export type Call = 'protect' | 'replaceAccess';

export function configAsked(
  config: Config,
  now: InForce,
  settings: LiveSettings & AccessSettings,
  call: Call,
): ConfigInput {
  if (!isGroup(settings)) throw configError([['', `${call} takes a group of settings`]]);
  const { limits, listeners, protocol, authorization, ...changed } = settings;
  const { clientIdPrefixes, refuseLongKeepAlive } = now.protocol;
  const { roles, groups, guard } = now;
  const { rates, bans, protection } = guard;
  return {
    ...config,
    rates,
    bans,
    protection,
    roles,
    groups,
    users: [], // those that stay are not of interest here, and perhaps many
    ...given(changed),
    limits: merged({ ...now.limits }, limits),
    listeners: Array.isArray(listeners) ? listenersAsked(config, listeners) : (listeners ?? config.listeners),
    protocol: merged({ ...config.protocol, clientIdPrefixes, refuseLongKeepAlive }, protocol),
    authorization: merged(config.authorization, authorization),
  } as ConfigInput;
}

/**
 * Nothing that is asked for may be passed over.
 *
 * Errors  `ConfigError` naming each setting that is asked to be other than it is and that the call does not change, and listeners that there are not
 */
export function checkAsked(
  config: Config,
  now: InForce,
  asked: LiveSettings & AccessSettings,
  checked: Config,
  call: Call,
): void {
  const wrong: [key: string, sentence: string][] = [];
  for (const change of diffConfig(configAsked(config, now, {}, call) as Config, checked)) {
    const sentence = whyNot(change, call);
    if (sentence !== undefined) wrong.push([change.key, sentence]);
  }
  for (const [index, { name }] of asked.listeners?.entries() ?? [])
    if (!config.listeners.some((listener) => listener.name === name))
      wrong.push([`listeners[${index}].name`, `no listener is called ${quoted(String(name))}`]);
  if (wrong.length > 0) throw configError(wrong);
}

/** Users and rights that are to be replaced, as they were checked. */
export function replacedAccess(asked: AccessSettings, checked: Config): ReplacedAccess {
  const { users, roles, groups, authentication, authorization, listeners } = checked;
  return {
    authentication,
    authorization,
    listeners,
    ...(asked.users === undefined ? {} : { users }),
    ...(asked.roles === undefined ? {} : { roles }),
    ...(asked.groups === undefined ? {} : { groups }),
  };
}

function whyNot(change: ConfigChange, call: Call): string | undefined {
  if (change.apply === 'restart') return 'needs a restart';
  if (elsewhere.test(change.key)) return `is not for ${call}: see the calls for bridges and for the log`;
  const right: Call = isAccess(change) ? 'replaceAccess' : 'protect';
  return right === call ? undefined : `is not for ${call}, but for ${right}`;
}

function listenersAsked(
  config: Config,
  changes: NonNullable<(LiveSettings | AccessSettings)['listeners']>,
): ConfigInput['listeners'] {
  const odd = changes.findIndex((change) => !isGroup(change));
  if (odd !== -1) throw configError([[`listeners[${odd}]`, 'is no group of settings']]);
  return config.listeners.map((listener) =>
    Object.assign({ ...listener }, ...changes.filter(({ name }) => name === listener.name).map(given)),
  );
}

/** What is no group of settings goes through, to be named as what it is. */
function merged(group: object, changes: unknown): unknown {
  if (changes === undefined) return group;
  return isGroup(changes) ? { ...group, ...given(changes) } : changes;
}

function isGroup<Value>(value: Value): value is NonNullable<Value> & object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function configError(wrong: readonly [key: string, sentence: string][]): ConfigError {
  return new ConfigError(wrong.map(([key, sentence]) => ({ file: undefined, position: undefined, key, sentence })));
}

function given(values: object): object {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
