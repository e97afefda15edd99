/** Users and rights among the settings that change while the broker runs. */
import type { Config } from '../config/index.js';
import type { AccessPolicy, ReplacedAccess } from '../policy/index.js';
import type { LiveSettings } from './broker-api.js';

/** The configuration with what is asked for, to be checked as a whole. Users that stay are not of interest, and perhaps many. */
export function withAccess(
  config: Config,
  access: AccessPolicy,
  { users = [], roles, groups, authorization }: LiveSettings,
) {
  const rules = authorization?.rules ?? {};
  const sources = config.authorization.sources.map((source) =>
    source.type === 'rules' && Object.hasOwn(rules, source.name) ? { ...source, rules: rules[source.name] } : source,
  );
  return {
    users,
    roles: roles ?? [...access.roles.roles.values()],
    groups: groups ?? [...access.roles.groups.values()],
    authorization: { ...config.authorization, sources },
  };
}

/** What is replaced, as it was checked; undefined where nothing is. */
export function replacedAccess(asked: LiveSettings, checked: Config): ReplacedAccess | undefined {
  const { rules: named = {} } = asked.authorization ?? {};
  // A name that is none of a source with rules is for the policy to refuse.
  const rules = Object.fromEntries(
    Object.keys(named).map((name) => {
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
