/** What a program asks for while the broker runs, as the whole configuration that would come of it: so that it is checked like one. */
import type { Limits } from '../base/index.js';
import type { Config, ConfigInput } from '../config/index.js';
import type { ProtocolOptions } from '../connection/index.js';
import type { ReplacedAccess } from '../policy/index.js';
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
  readonly checkRetainedSource: boolean;
  readonly roles: Config['roles'];
  readonly groups: Config['groups'];
}

export function configAsked(config: Config, now: InForce, settings: LiveSettings): ConfigInput {
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
  return config.listeners.map((listener) => {
    const { connectionsMax, ...change } = changes.find(({ name }) => name === listener.name) ?? {};
    const terms = termsOfListener.map((term) => [term, (change as Partial<typeof listener>)[term]]);
    return { ...listener, ...given({ connectionsMax, ...Object.fromEntries(terms) }) };
  });
}

/** What is no group of settings goes through, to be named as what it is. */
function merged(group: object, changes: unknown): unknown {
  if (changes === undefined) return group;
  return isGroup(changes) ? { ...group, ...given(changes) } : changes;
}

function isGroup<Value>(value: Value): value is NonNullable<Value> & object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function given(values: object): object {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
