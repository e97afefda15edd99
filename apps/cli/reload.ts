/**
 * SIGHUP: reads the configuration again, changes what can change while the broker runs, and names what needs a restart.
 * Certificates, keys, revocation lists, password files and access lists are read again, the log file is opened anew.
 */
import { isDeepStrictEqual } from 'node:util';
import type { AdjustableLogger, Broker } from '../../src/broker/index.js';
import {
  type Config,
  type ConfigChange,
  ConfigError,
  diffConfig,
  formatProblem,
  isAccess,
  isSecure,
} from '../../src/config/index.js';
import { isFault, Refusal } from './refusal.js';
import { type EffectiveConfig, effectiveConfig, type ServeOptions } from './serve-options.js';

const BRIDGES = /^bridges(\.|$)/;

/** Returns what reads again, each time against what is in force since the last, and when that has ended. */
export function reloading(
  broker: Broker,
  started: Config,
  options: ServeOptions,
  logger: AdjustableLogger,
): () => void {
  let current = started;
  let reading = Promise.resolve();
  return () => {
    reopenLog(logger);
    broker.reloadAccessFiles();
    reading = reading.then(async () => {
      current = await applyReload(broker, current, options, logger);
      reloadCertificates(broker, current, logger);
    });
  };
}

function reopenLog(logger: AdjustableLogger): void {
  try {
    logger.reopen();
  } catch (error) {
    logger.error('log.not-reopened', (error as Error).message);
  }
}

/** Returns what is in force afterwards. A file with problems changes nothing. */
async function applyReload(
  broker: Broker,
  current: Config,
  options: ServeOptions,
  logger: AdjustableLogger,
): Promise<Config> {
  if (options.file === undefined) {
    logger.information(
      'configuration.unchanged',
      'Nothing to read again: the broker runs without a configuration file.',
    );
    return current;
  }
  let read: EffectiveConfig;
  try {
    read = effectiveConfig(options);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    for (const line of error.message.split('\n')) logger.error('configuration.rejected', line);
    return current;
  }
  const { config: next, remarks } = read;
  for (const remark of remarks) logger.warning('configuration.without-effect', formatProblem(remark));
  const changes = diffConfig(current, next);
  if (changes.length === 0) logger.information('configuration.unchanged', `${options.file} holds no change.`);
  let inForce = current;
  let rejected = false;
  const isProtection = ({ apply, key }: ConfigChange) =>
    apply !== 'restart' && key !== 'log.level' && !BRIDGES.test(key) && !isAccess({ key });
  try {
    if (changes.some(isAccess)) inForce = await replaceAccess(broker, current, next);
    if (changes.some(isProtection)) inForce = protect(broker, inForce, next);
  } catch (error) {
    if (!isFault(error) && !(error instanceof ConfigError)) throw error;
    rejected = true;
    for (const line of error.message.split('\n')) logger.error('configuration.rejected', line);
  }
  if (changes.some(({ key }) => BRIDGES.test(key))) {
    replaceBridges(broker, next.bridges, logger);
    inForce = { ...inForce, bridges: next.bridges };
  }
  for (const { key, apply } of changes) {
    if (BRIDGES.test(key)) continue;
    if (apply === 'restart')
      logger.warning(
        'configuration.needsRestart',
        `${key} changed in ${options.file}; it takes effect after a restart.`,
        { key },
      );
    else if (key === 'log.level') {
      logger.setLevel(next.log.level);
      inForce = { ...inForce, log: { ...inForce.log, level: next.log.level } };
      logger.information('configuration.applied', `${key} is now ${next.log.level}.`, { key });
    } else if (!rejected)
      logger.information(
        'configuration.applied',
        `${key} is as in ${options.file} now${apply === 'reconnect' ? ', for clients that connect from now on' : ''}.`,
        { key },
      );
  }
  return inForce;
}

/** Gives the broker other users, sources, roles and groups. Returns what is in force then. */
async function replaceAccess(broker: Broker, current: Config, next: Config): Promise<Config> {
  const { users, roles, groups, authentication, authorization } = next;
  const listeners = current.listeners.map((listener) => {
    const found = next.listeners.find(({ name }) => name === listener.name) ?? listener;
    return { ...listener, authentication: found.authentication, authorization: found.authorization };
  });
  const chains = listeners.map(({ name, authentication, authorization }) => ({ name, authentication, authorization }));
  await broker.replaceAccess({
    authentication,
    authorization,
    listeners: chains,
    // What stays keeps what is remembered of it, such as proven passwords.
    ...(isDeepStrictEqual(users, current.users) ? {} : { users }),
    ...(isDeepStrictEqual([roles, groups], [current.roles, current.groups]) ? {} : { roles, groups }),
  });
  return { ...current, users, roles, groups, authentication, authorization, listeners };
}

/** Gives the broker what else it takes while it runs. Returns what is in force then. */
function protect(broker: Broker, current: Config, next: Config): Config {
  const { rates, bans, protection } = next;
  const { connectTimeoutSeconds, topicCacheEntriesMax } = current.limits;
  const limits = { ...next.limits, connectTimeoutSeconds, topicCacheEntriesMax };
  const listeners = current.listeners.map((listener) => {
    const found = next.listeners.find(({ name }) => name === listener.name) ?? listener;
    const { connectionsMax, allowAnonymous, protocolVersions, emptyClientIds, clientIdPrefix, usernameAsClientId } =
      found;
    const terms = { allowAnonymous, protocolVersions, emptyClientIds, clientIdPrefix, usernameAsClientId };
    return { ...listener, connectionsMax, ...terms };
  });
  const { clientIdPrefixes, refuseLongKeepAlive } = next.protocol;
  const protocol = { ...current.protocol, clientIdPrefixes, refuseLongKeepAlive };
  broker.protect({ rates, bans, protection, limits, listeners, protocol });
  return { ...current, rates, bans, protection, limits, listeners, protocol };
}

/** Only bridges that differ are touched. */
function replaceBridges(broker: Broker, bridges: Config['bridges'], logger: AdjustableLogger): void {
  const { added, changed, removed } = broker.replaceBridges(bridges);
  const say = (names: string[], what: string) => {
    for (const name of names)
      logger.information('configuration.applied', `Bridge ${JSON.stringify(name)} ${what}.`, {
        key: `bridges.${name}`,
      });
  };
  say(added, 'was added');
  say(changed, 'connects anew with its changed settings');
  say(removed, 'was removed');
}

/** The files that the configuration names may have changed while it did not. */
function reloadCertificates(broker: Broker, config: Config, logger: AdjustableLogger): void {
  if (!config.listeners.some(({ protocol }) => isSecure(protocol))) return;
  try {
    broker.reloadCertificates();
    logger.information('listener.tls-reloaded', 'Certificates, keys and revocation lists were read again.');
  } catch (error) {
    const reason = isFault(error) ? error.message : String((error as Error).stack);
    logger.error('listener.tls-rejected', `What was read before stays in use: ${reason}`);
  }
}
