/** What a program asks for while the broker runs, as the whole configuration that would come of it: so that it is checked like one. */
import { isDeepStrictEqual } from 'node:util';
import { type Limits, quoted } from '../base/index.js';
import { type Config, ConfigError, type ConfigInput, diffConfig } from '../config/index.js';
import type { ProtocolOptions } from '../connection/index.js';
import type { ReplacedAccess } from '../policy/index.js';
import type { LiveSettings } from './broker-api.js';
import type { GuardSettings } from './guard.js';

/** Changes while the broker runs, but not by `protect`. */
const elsewhere = /^(bridges|log)(\.|$)/;

/** What changes while the broker runs, as it is at present. */
export interface InForce {
  readonly guard: GuardSettings;
  readonly limits: Limits;
  readonly protocol: Pick<ProtocolOptions, 'clientIdPrefixes' | 'refuseLongKeepAlive'>;
  readonly checkRetainedSource: boolean;
  readonly roles: Config['roles'];
  readonly groups: Config['groups'];
}

export function configAsked(config: Config, now: InForce, settings: LiveSettings): ConfigInput {
  if (!isGroup(settings)) throw configError([['', 'protect takes a group of settings']]);
  const { limits, listeners, protocol, authorization, ...changed } = settings;
  const { clientIdPrefixes, refuseLongKeepAlive } = now.protocol;
  const { checkRetainedSource, roles, groups } = now;
  return {
    ...config,
    ...now.guard,
    roles,
    groups,
    users: [], // those that stay are not of interest here, and perhaps many
    ...given(changed),
    limits: merged({ ...now.limits }, limits),
    listeners: Array.isArray(listeners) ? listenersAsked(config, listeners) : (listeners ?? config.listeners),
    protocol: merged({ ...config.protocol, clientIdPrefixes, refuseLongKeepAlive }, protocol),
    authorization: merged({ ...config.authorization, checkRetainedSource }, authorizationAsked(config, authorization)),
  } as ConfigInput;
}

/**
 * Nothing that is asked for may be passed over.
 *
 * Errors  `ConfigError` naming each setting that is asked to be other than it is and stays while the broker runs, and listeners that there are not
 */
export function checkAsked(config: Config, now: InForce, asked: LiveSettings, checked: Config): void {
  const { listeners, authorization } = asked as Partial<Config>;
  const wrong: [key: string, sentence: string][] = diffConfig(configAsked(config, now, {}) as Config, checked)
    .filter(({ apply, key }) => apply === 'restart' || elsewhere.test(key))
    .map(({ apply, key }) => [
      key,
      apply === 'restart' ? 'needs a restart' : 'is not for protect: see the calls for bridges and for the log',
    ]);
  if (authorization?.sources !== undefined && !isDeepStrictEqual(authorization.sources, config.authorization.sources))
    wrong.push(['authorization.sources', 'needs a restart; their rules are given as authorization.rules']);
  for (const [index, { name }] of listeners?.entries() ?? [])
    if (!config.listeners.some((listener) => listener.name === name))
      wrong.push([`listeners[${index}].name`, `no listener is called ${quoted(String(name))}`]);
  if (wrong.length > 0) throw configError(wrong);
}

/** Users and rights that are to be replaced, as they were checked; undefined where none are. */
export function replacedAccess(asked: LiveSettings, checked: Config): ReplacedAccess | undefined {
  // A name that is none of a source with rules is for the policy to refuse.
  const rules = Object.fromEntries(
    Object.keys(asked.authorization?.rules ?? {}).map((name) => {
      const source = checked.authorization.sources.find((one) => one.name === name);
      return [name, source?.type === 'rules' ? source.rules : []];
    }),
  );
  const replaced = {
    ...(asked.users === undefined ? {} : { users: checked.users }),
    ...(asked.roles === undefined ? {} : { roles: checked.roles }),
    ...(asked.groups === undefined ? {} : { groups: checked.groups }),
    ...(Object.keys(rules).length === 0 ? {} : { rules }),
  };
  return Object.keys(replaced).length === 0 ? undefined : replaced;
}

/** With the rules in the sources that they are for. */
function authorizationAsked(config: Config, asked: LiveSettings['authorization']): unknown {
  if (!isGroup(asked) || !isGroup(asked.rules)) return asked;
  const { rules, ...more } = asked;
  const sources = config.authorization.sources.map((source) =>
    source.type === 'rules' && Object.hasOwn(rules, source.name) ? { ...source, rules: rules[source.name] } : source,
  );
  return { ...more, sources };
}

function listenersAsked(config: Config, changes: NonNullable<LiveSettings['listeners']>): ConfigInput['listeners'] {
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
