/**
 * SIGHUP: reads the configuration again, changes what can change while the broker runs, and names what needs a restart.
 * Certificates, keys and revocation lists are read again, the log file is opened anew.
 */
import { isDeepStrictEqual } from 'node:util';
import type { AdjustableLogger, Broker } from '../../src/broker/index.js';
import { type Config, ConfigError, diffConfig, formatProblem, isSecure } from '../../src/config/index.js';
import { isFault, Refusal } from './refusal.js';
import { type EffectiveConfig, effectiveConfig, type ServeOptions } from './serve-options.js';

const BRIDGES = /^bridges(\.|$)/;

/** Returns what reads again, each time against what is in force since the last. */
export function reloading(
  broker: Broker,
  started: Config,
  options: ServeOptions,
  logger: AdjustableLogger,
): () => void {
  let current = started;
  return () => {
    reopenLog(logger);
    current = applyReload(broker, current, options, logger);
    reloadCertificates(broker, current, logger);
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
function applyReload(broker: Broker, current: Config, options: ServeOptions, logger: AdjustableLogger): Config {
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
  const protecting = changes.filter(
    ({ apply, key }) => apply !== 'restart' && key !== 'log.level' && !BRIDGES.test(key),
  );
  if (protecting.length > 0) {
    try {
      inForce = protect(broker, current, next);
    } catch (error) {
      if (!isFault(error) && !(error instanceof ConfigError)) throw error;
      rejected = true;
      for (const line of error.message.split('\n')) logger.error('configuration.rejected', line);
    }
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

/** Gives the broker what it takes while it runs. Returns what is in force then. */
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
  const { checkRetainedSource } = next.authorization;
  const { users, roles, groups } = next;
  const rules = changedRules(current, next);
  broker.protect({
    rates,
    bans,
    protection,
    limits,
    listeners,
    protocol,
    authorization: { checkRetainedSource, rules },
    // What stays keeps what is remembered of it, such as proven passwords.
    ...(isDeepStrictEqual(users, current.users) ? {} : { users }),
    ...(isDeepStrictEqual([roles, groups], [current.roles, current.groups]) ? {} : { roles, groups }),
  });
  const sources = current.authorization.sources.map((source) =>
    source.type === 'rules' ? { ...source, rules: rules[source.name] ?? source.rules } : source,
  );
  const authorization = { ...current.authorization, checkRetainedSource, sources };
  return { ...current, rates, bans, protection, limits, listeners, protocol, authorization, users, roles, groups };
}

type Rules = Extract<Config['authorization']['sources'][number], { type: 'rules' }>['rules'];

/** The rules that differ, by the names of their sources; none where the sources themselves do, for which rules may have moved to another. */
function changedRules(current: Config, next: Config): Record<string, Rules> {
  const rules: Record<string, Rules> = {};
  const [former, sources] = [current.authorization.sources, next.authorization.sources];
  if (sources.length !== former.length) return {};
  for (const [index, source] of sources.entries()) {
    const before = former[index]!;
    if (source.name !== before.name || source.type !== before.type) return {};
    if (source.type === 'rules' && before.type === 'rules' && !isDeepStrictEqual(source.rules, before.rules))
      rules[source.name] = source.rules;
  }
  return rules;
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
