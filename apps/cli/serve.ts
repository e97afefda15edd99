/**
 * Runs the broker as a process, from its arguments to its exit code.
 *
 *   arguments ──▶ configuration ──▶ log ──▶ broker ──▶ pid file, user ──▶ until a signal ends it
 */
import { type AdjustableLogger, type Broker, createBroker, createLogger } from '../../src/broker/index.js';
import {
  type Config,
  checkFiles,
  formatProblem,
  isLoopback,
  isWebSocket,
  type ListenerConfig,
} from '../../src/config/index.js';
import { runInBackground, tellForeground } from './background.js';
import { publishLog } from './log-topics.js';
import { packageVersion } from './package-version.js';
import { becomeUser, makeFolderOf, writePidFile } from './process-setup.js';
import { isFault, Refusal } from './refusal.js';
import { reloading } from './reload.js';
import { type EffectiveConfig, effectiveConfig, parseArguments, type ServeOptions } from './serve-options.js';
import { catchSignals } from './signals.js';

const STOP_SECONDS_MAX = 30;
/** How long what is left open after all has ended in order may keep the process, such as a connection to a database that has gone silent. */
const LEFTOVERS_MS = 1000;
/** Codes of faults that lie in files which the configuration names. */
const FILES_AT_FAULT = ['TLS_MATERIAL_INVALID', 'ACCESS_FILE'];

const version = packageVersion();

export async function serve(args: string[]): Promise<number> {
  try {
    const options = parseArguments(args);
    if (options.daemon) return await runInBackground(args);
    const effective = effectiveConfig(options);
    return await (options.testConfig ? testConfig(effective, options) : run(effective, options));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (!tellForeground({ refusal: error.message, exitCode: error.exitCode }))
      process.stderr.write(`${error.message}\n`);
    return error.exitCode;
  }
}

/** `--test-config`: what the configuration and the files it names would stop the broker at. */
async function testConfig({ config, remarks }: EffectiveConfig, { file }: ServeOptions): Promise<number> {
  const { problems, warnings } = await checkFiles(config, file);
  if (problems.length > 0) throw new Refusal(problems.map(formatProblem).join('\n'), 2);
  for (const warning of [...remarks, ...warnings]) process.stderr.write(`Warning: ${formatProblem(warning)}\n`);
  process.stdout.write(`${file ?? 'built-in settings'}: no problems\n`);
  return 0;
}

async function run({ config, remarks }: EffectiveConfig, options: ServeOptions): Promise<number> {
  const logger = openLog(config);
  const broker = createBroker({ config, logger });
  const signals = catchSignals(broker, reloading(broker, config, options, logger), logger);
  try {
    await broker.start();
  } catch (error) {
    if (!isFault(error)) throw error;
    signals.release();
    throw new Refusal(`dunlin: ${error.message}`, FILES_AT_FAULT.includes(error.code) ? 2 : 1);
  }
  if (config.log.destinations.includes('topic')) publishLog(logger, broker);
  const removePidFile = await settle(broker, config, logger, signals.release);
  for (const remark of remarks) logger.warning('configuration.without-effect', formatProblem(remark));
  logger.information('broker.started', `Dunlin runs with ${options.file ?? 'built-in settings'}.`, {
    pid: process.pid,
    version,
  });
  announce(broker, config, logger);
  tellForeground({ started: true });
  const signal = await signals.stopped;
  logger.information('broker.stopping', `Stopping after ${signal}.`);
  // Whatever keeps a connection from ending must not keep the process.
  const deadline = setTimeout(() => process.exit(1), STOP_SECONDS_MAX * 1000).unref();
  const saved = await stopBroker(broker, logger);
  clearTimeout(deadline);
  logger.information('broker.stopped', 'Stopped.', { version });
  removePidFile();
  const exitCode = saved ? 0 : 1;
  setTimeout(() => process.exit(exitCode), LEFTOVERS_MS).unref();
  return exitCode;
}

/** Returns whether everything was stored. */
async function stopBroker(broker: Broker, logger: AdjustableLogger): Promise<boolean> {
  try {
    await broker.stop();
    return true;
  } catch (error) {
    if (!isFault(error)) throw error;
    logger.error('storage.not-saved', error.message);
    return false;
  }
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
    await stopBroker(broker, logger);
    throw new Refusal(`dunlin: ${(error as Error).message}`, 1);
  }
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

function listenerUrl(listener: ListenerConfig, address: string | undefined, port: number | undefined): string {
  const path = !isWebSocket(listener.protocol) ? '' : listener.path === '*' ? '/' : listener.path;
  if (listener.unixPath !== undefined)
    return `${listener.protocol}+unix:${listener.unixPath}${path === '' ? '' : `:${path}`}`;
  const host = address ?? listener.host;
  return `${listener.protocol}://${host.includes(':') ? `[${host}]` : host}:${port ?? listener.port}${path}`;
}
