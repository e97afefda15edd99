/** Who may connect and what they may do, asked for while the broker runs: as the whole configuration that would come of it, to be checked like one. */
import { Fault, quoted } from '../base/index.js';
import type { Config, ConfigInput } from '../config/index.js';
import type { ReplacedAccess } from '../policy/index.js';
import type { AccessSettings } from './broker-api.js';
import { given, merged } from './live-settings.js';

const settings = ['users', 'authentication', 'authorization', 'roles', 'groups', 'listeners'] as const;
const ofListener = ['name', 'authentication', 'authorization'] as const;

/** What of it is in force, where that may not be what `config` says. */
type InForce = Pick<Config, 'roles' | 'groups'>;

/** Errors  `Fault` OPTIONS_INVALID naming what cannot be replaced so. */
export function accessAsked(config: Config, now: InForce, asked: AccessSettings): ConfigInput {
  check('replaceAccess', asked, settings);
  const { listeners, authorization, ...lists } = asked;
  return {
    ...config,
    ...now,
    users: [], // those that stay are not of interest here, and perhaps many
    ...given(lists),
    authorization: merged(config.authorization, authorization),
    listeners: listeners === undefined ? config.listeners : listenersAsked(config, listeners),
  } as ConfigInput;
}

/** What the policy is to take, as it was checked. */
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

function listenersAsked(config: Config, asked: NonNullable<AccessSettings['listeners']>): ConfigInput['listeners'] {
  if (!Array.isArray(asked)) return asked; // to be named as what it is
  const changes = new Map(
    asked.map((change, index) => {
      check(`listeners[${index}]`, change, ofListener);
      if (!config.listeners.some(({ name }) => name === change.name))
        throw new Fault('OPTIONS_INVALID', `listeners[${index}].name: ${quoted(String(change.name))} is no listener`);
      return [change.name, given(change)];
    }),
  );
  return config.listeners.map((listener) => ({ ...listener, ...changes.get(listener.name) }));
}

function check(what: string, value: object, allowed: readonly string[]): void {
  if (typeof value !== 'object' || value === null)
    throw new Fault(
      'OPTIONS_INVALID',
      `${what}: found ${String(value)}, allowed is an object with ${allowed.join(', ')}`,
    );
  const unknown = Object.keys(value).find((key) => !allowed.includes(key));
  if (unknown !== undefined)
    throw new Fault('OPTIONS_INVALID', `${what}: ${quoted(unknown)} is none of ${allowed.join(', ')}`);
}
