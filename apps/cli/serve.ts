/**
 * Runs the broker as a process: arguments, configuration, signals, exit code.
 *
 * SIGINT, SIGTERM  stop in order; a second one stops at once.
 * SIGHUP           reads the configuration again; changes what can change while running and names what needs a restart.
 *                  Certificates, keys and revocation lists are read again, the log file is opened anew.
 * SIGUSR1          waits until all that is kept is on the disk, and says so.
 * SIGUSR2          writes subscriptions and retained messages to the log.
 */
import { spawn } from 'node:child_process';
import { existsSync, fstatSync } from 'node:fs';
import { type AdjustableLogger, type Broker, createBroker, createLogger } from '../../src/broker/index.js';
import {
  addressesOverlap,
  type Config,
  checkFiles,
  defaultConfig,
  diffConfig,
  formatProblem,
  isLoopback,
  isSecure,
  isWebSocket,
  type ListenerConfig,
  loadConfigFile,
  type Problem,
  resolveConfig,
} from '../../src/config/index.js';
import { publishLog } from './log-topics.js';
import { packageVersion } from './package-version.js';
import { becomeUser, makeFolderOf, writePidFile } from './process-setup.js';

const DEFAULT_FILE = './dunlin.yaml';
/** Set in the process that `-d` leaves behind; its parent waits for word over the IPC channel. */
const BACKGROUND = 'DUNLIN_BACKGROUND';
const STOP_SECONDS_MAX = 30;
/** Codes of faults that lie in files which the configuration names. */
const FILES_AT_FAULT = ['TLS_MATERIAL_INVALID', 'ACCESS_FILE'];
const BRIDGES = /^bridges(\.|$)/;

interface ServeOptions {
  file: string | undefined;
  ports: number[];
  level: 'debug' | 'none' | undefined;
  daemon: boolean;
  testConfig: boolean;
  /** What the file says that has no effect, from when it was last read. */
  remarks: readonly Problem[];
}

const version = packageVersion();

/** Something a person has to mend before the broker can run. */
class Refusal extends Error {
  constructor(
    message: string,
    readonly exitCode: 1 | 2,
  ) {
    super(message);
  }
}

export async function serve(args: string[]): Promise<number> {
  try {
    const options = parseArguments(args);
    if (options.daemon) return await runInBackground(args);
    const config = effectiveConfig(options);
    if (options.testConfig) {
      const { problems, warnings } = await checkFiles(config, options.file);
      if (problems.length > 0) throw new Refusal(problems.map(formatProblem).join('\n'), 2);
      for (const warning of [...options.remarks, ...warnings])
        process.stderr.write(`Warning: ${formatProblem(warning)}\n`);
      process.stdout.write(`${options.file ?? 'built-in settings'}: no problems\n`);
      return 0;
    }
    return await run(config, options);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (process.env[BACKGROUND] !== undefined && process.connected) {
      process.send?.({ refusal: error.message, exitCode: error.exitCode });
      process.disconnect();
    } else process.stderr.write(`${error.message}\n`);
    return error.exitCode;
  }
}

function parseArguments(args: string[]): ServeOptions {
  const options: ServeOptions = {
    file: undefined,
    ports: [],
    level: undefined,
    daemon: false,
    testConfig: false,
    remarks: [],
  };
  for (let i = 0; i < args.length; i++) {
    const argument = args[i]!;
    const value = (what: string) => {
      const given = args[++i];
      if (given === undefined) throw new Refusal(`dunlin: ${argument} needs ${what}`, 2);
      return given;
    };
    switch (argument) {
      case '-c':
      case '--config-file':
        options.file = value('a file');
        break;
      case '-p':
      case '--port':
        options.ports.push(parsePort(value('a port')));
        break;
      case '-v':
      case '--verbose':
        options.level ??= 'debug';
        break;
      case '-q':
      case '--quiet':
        options.level = 'none';
        break;
      case '-d':
      case '--daemon':
        options.daemon = true;
        break;
      case '--test-config':
        options.testConfig = true;
        break;
      default:
        throw new Refusal(`dunlin: unknown argument ${JSON.stringify(argument)}; see dunlin --help`, 2);
    }
  }
  if (options.file === undefined && options.ports.length === 0 && existsSync(DEFAULT_FILE)) options.file = DEFAULT_FILE;
  return options;
}

function parsePort(given: string): number {
  const port = Number(given);
  if (/^\d{1,5}$/.test(given) && port <= 65535) return port;
  throw new Refusal(`dunlin: -p: found ${JSON.stringify(given)}, allowed is a port from 0 to 65535`, 2);
}

/** The file or the defaults, with what the command line says on top. */
function effectiveConfig(options: ServeOptions): Config {
  const { file, level } = options;
  let { ports } = options;
  let config = defaultConfig();
  if (file !== undefined) {
    const loaded = loadConfigFile(file);
    if (loaded.config === undefined) throw new Refusal(loaded.problems.map(formatProblem).join('\n'), 2);
    config = loaded.config;
    options.remarks = loaded.warnings;
    if (loaded.format === 'mosquitto' && ports.length > 0) {
      // As there: -p is for a file without listeners.
      if (loaded.localOnly)
        config = {
          ...config,
          listeners: ports.map((port) => ({ ...config.listeners[0]!, port, name: `mqtt-${port}` })),
        };
      else
        options.remarks = [
          ...options.remarks,
          {
            file,
            position: undefined,
            key: '',
            sentence: `-p ${ports.join(' -p ')} has no effect: the file has listeners`,
          },
        ];
      ports = [];
    }
  } else if (ports.length > 0) config = { ...config, listeners: [] };
  else config = { ...config, storage: { ...config.storage, mode: 'buffered' } };
  for (const port of ports)
    config = { ...config, listeners: [...config.listeners, listenerOnPort(port, config.listeners)] };
  if (level === undefined) return config;
  // Mosquitto's -v is its log_type all.
  const subscriptions = level === 'debug' && config.log.format === 'mosquitto' ? 'all' : config.log.subscriptions;
  return { ...config, log: { ...config.log, level, subscriptions } };
}

function listenerOnPort(port: number, others: readonly ListenerConfig[]): ListenerConfig {
  const [listener] = resolveConfig({ listeners: [{ name: `port-${port}`, port, allowAnonymous: true }] }).listeners;
  const taken = others.find(
    (other) =>
      other.name === listener!.name ||
      (other.unixPath === undefined &&
        port !== 0 &&
        other.port === port &&
        addressesOverlap(other.host, listener!.host)),
  );
  if (taken !== undefined)
    throw new Refusal(`dunlin: -p ${port}: listener ${taken.name} already has this port or name`, 2);
  return listener!;
}

async function run(config: Config, options: ServeOptions): Promise<number> {
  const logger = openLog(config);
  const broker = createBroker({ config, logger });
  const signals = catchSignals(broker, config, options, logger);
  try {
    await broker.start();
  } catch (error) {
    if (!isFault(error)) throw error;
    signals.release();
    throw new Refusal(`dunlin: ${error.message}`, FILES_AT_FAULT.includes(error.code) ? 2 : 1);
  }
  if (config.log.destinations.includes('topic')) publishLog(logger, broker);
  const removePidFile = await settle(broker, config, logger, signals.release);
  for (const remark of options.remarks) logger.warning('configuration.without-effect', formatProblem(remark));
  logger.information('broker.started', `Dunlin runs with ${options.file ?? 'built-in settings'}.`, {
    pid: process.pid,
    version,
  });
  announce(broker, config, logger);
  if (process.env[BACKGROUND] !== undefined && process.connected) {
    process.send?.({ started: true });
    process.disconnect();
  }
  const signal = await signals.stopped;
  logger.information('broker.stopping', `Stopping after ${signal}.`);
  // Whatever keeps a connection from ending must not keep the process.
  const deadline = setTimeout(() => process.exit(1), STOP_SECONDS_MAX * 1000).unref();
  await broker.stop();
  clearTimeout(deadline);
  logger.information('broker.stopped', 'Stopped.', { version });
  removePidFile();
  return 0;
}

/** Errors  Refusal when the log file cannot be opened. */
function openLog(config: Config): AdjustableLogger {
  try {
    if (config.log.file !== undefined) makeFolderOf(config.log.file);
    return createLogger(config.log);
  } catch (error) {
    throw new Refusal(`dunlin: ${(error as Error).message}`, 1);
  }
}

/** What the process does about itself once the listeners are open. Returns what removes its file. */
async function settle(
  broker: Broker,
  config: Config,
  logger: AdjustableLogger,
  release: () => void,
): Promise<() => void> {
  try {
    const removePidFile = writePidFile(config.process.pidFile);
    const said = becomeUser(config);
    if (said !== undefined) logger.information('process.user', said);
    return removePidFile;
  } catch (error) {
    release();
    await broker.stop();
    throw new Refusal(`dunlin: ${(error as Error).message}`, 1);
  }
}

/** Every failure of the world that the broker words for people carries a stable code in capitals. */
function isFault(error: unknown): error is Error & { code: string } {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.name === 'Fault';
}

function announce(broker: Broker, config: Config, logger: AdjustableLogger): void {
  for (const { name, address, port } of broker.listeners) {
    const listener = config.listeners.find((candidate) => candidate.name === name);
    if (listener === undefined) continue;
    logger.information('listener.started', `Listening on ${listenerUrl(listener, address, port)}`, {
      listener: name,
      protocol: listener.protocol,
      address,
      port,
      path: listener.unixPath,
    });
    if (listener.allowAnonymous && listener.unixPath === undefined && !isLoopback(listener.host))
      logger.warning('listener.anonymous', 'Everyone who reaches this listener may connect without a user name.', {
        listener: name,
      });
  }
  if (config.listeners.length === 0) logger.warning('listener.none', 'No listener is configured; nobody can connect.');
}

export function listenerUrl(listener: ListenerConfig, address: string | undefined, port: number | undefined): string {
  const path = !isWebSocket(listener.protocol) ? '' : listener.path === '*' ? '/' : listener.path;
  if (listener.unixPath !== undefined)
    return `${listener.protocol}+unix:${listener.unixPath}${path === '' ? '' : `:${path}`}`;
  const host = address ?? listener.host;
  return `${listener.protocol}://${host.includes(':') ? `[${host}]` : host}:${port ?? listener.port}${path}`;
}

/** From here on signals are the broker's. `release` hands them back, so that the process can end by itself. */
function catchSignals(
  broker: Broker,
  started: Config,
  options: ServeOptions,
  logger: AdjustableLogger,
): { stopped: Promise<NodeJS.Signals>; release: () => void } {
  let current = started;
  let stopping = false;
  let resolveStopped: (signal: NodeJS.Signals) => void = () => {};
  const stopped = new Promise<NodeJS.Signals>((resolve) => {
    resolveStopped = resolve;
  });
  // Signal handlers alone do not keep a process: a broker without listeners would end at once.
  const keepAlive = setInterval(() => {}, 2 ** 30);
  const stop = (signal: NodeJS.Signals) => {
    if (stopping) process.exit(1);
    stopping = true;
    clearInterval(keepAlive);
    resolveStopped(signal);
  };
  const reload = () => {
    if (stopping) return;
    reopenLog(logger);
    current = applyReload(broker, current, options, logger);
    reloadCertificates(broker, current, logger);
  };
  const save = () => void saveAll(broker, logger);
  const dump = () => {
    logger.information('broker.tree', 'Subscriptions and retained messages follow.');
    const tell = (kind: string, line: string) =>
      logger.information(`broker.tree-${kind}`, `${kind} ${JSON.stringify(line)}`);
    broker.dumpTree(tell).then(
      () => logger.information('broker.tree-end', 'That was all.'),
      (error: unknown) => logger.error('broker.tree-failed', `The rest cannot be read: ${(error as Error).message}`),
    );
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  process.on('SIGHUP', reload);
  process.on('SIGUSR1', save);
  process.on('SIGUSR2', dump);
  const release = () => {
    clearInterval(keepAlive);
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
    process.off('SIGHUP', reload);
    process.off('SIGUSR1', save);
    process.off('SIGUSR2', dump);
  };
  return { stopped, release };
}

function reopenLog(logger: AdjustableLogger): void {
  try {
    logger.reopen();
  } catch (error) {
    logger.error('log.not-reopened', (error as Error).message);
  }
}

/** What is kept is written as it happens: this waits for the disk. */
async function saveAll(broker: Broker, logger: AdjustableLogger): Promise<void> {
  try {
    await broker.save();
    logger.information('storage.saved', 'Everything that is kept is on the disk.');
  } catch (error) {
    logger.error('storage.not-saved', `Not everything is on the disk: ${(error as Error).message}`);
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
  let next: Config;
  try {
    next = effectiveConfig(options);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    for (const line of error.message.split('\n')) logger.error('configuration.rejected', line);
    return current;
  }
  for (const remark of options.remarks) logger.warning('configuration.without-effect', formatProblem(remark));
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
      if (!isFault(error)) throw error;
      rejected = true;
      logger.error('configuration.rejected', error.message);
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
  const authorization = { ...current.authorization, checkRetainedSource };
  broker.protect({ rates, bans, protection, limits, listeners, protocol, authorization });
  return { ...current, rates, bans, protection, limits, listeners, protocol, authorization };
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
    if (!isFault(error)) throw error;
    logger.error('listener.tls-rejected', `What was read before stays in use: ${error.message}`);
  }
}

/** Starts this command again without `-d`, apart from the terminal, and waits until it listens or says why not. */
function runInBackground(args: string[]): Promise<number> {
  const rest = args.filter((argument) => argument !== '-d' && argument !== '--daemon');
  // Output that goes to a file stays with the process; a terminal or a pipe does not outlive its user.
  const output = (descriptor: number) => (fstatSync(descriptor).isFile() ? 'inherit' : 'ignore');
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1]!, ...rest], {
    detached: true,
    stdio: ['ignore', output(1), output(2), 'ipc'],
    env: { ...process.env, [BACKGROUND]: '1' },
  });
  return new Promise((resolve) => {
    child.once('message', (word: { started?: true; refusal?: string; exitCode?: number }) => {
      if (word.refusal !== undefined) process.stderr.write(`${word.refusal}\n`);
      else process.stdout.write(`dunlin runs in the background as process ${child.pid}\n`);
      child.disconnect();
      child.unref();
      resolve(word.exitCode ?? 0);
    });
    child.once('exit', (code) => {
      process.stderr.write('dunlin: the background process ended before it listened\n');
      resolve(code === 0 || code === null ? 1 : code);
    });
  });
}
