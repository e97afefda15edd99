/** How the broker is to run: the arguments of the command, and the configuration they make together with the file. */
import { existsSync } from 'node:fs';
import {
  addressesOverlap,
  type Config,
  defaultConfig,
  formatProblem,
  type ListenerConfig,
  loadConfigFile,
  type Problem,
  resolveConfig,
} from '../../src/config/index.js';
import { Refusal } from './refusal.js';

export interface ServeOptions {
  file: string | undefined;
  ports: number[];
  level: 'debug' | 'none' | undefined;
  daemon: boolean;
  testConfig: boolean;
}

export interface EffectiveConfig {
  readonly config: Config;
  /** What the file says that has no effect. */
  readonly remarks: readonly Problem[];
}

const DEFAULT_FILE = './dunlin.yaml';

/** Errors: `Refusal` naming the argument. */
export function parseArguments(args: string[]): ServeOptions {
  const options: ServeOptions = {
    file: undefined,
    ports: [],
    level: undefined,
    daemon: false,
    testConfig: false,
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

/** The file or the defaults, with what the command line says on top. Errors: `Refusal`. */
export function effectiveConfig(options: ServeOptions): EffectiveConfig {
  const { file, level } = options;
  let { ports } = options;
  let config = defaultConfig();
  let remarks: readonly Problem[] = [];
  if (file !== undefined) {
    const loaded = loadConfigFile(file);
    if (loaded.config === undefined) throw new Refusal(loaded.problems.map(formatProblem).join('\n'), 2);
    config = loaded.config;
    remarks = loaded.warnings;
    if (loaded.format === 'mosquitto' && ports.length > 0) {
      // As there: -p is for a file without listeners.
      if (loaded.localOnly)
        config = {
          ...config,
          listeners: ports.map((port) => ({ ...config.listeners[0]!, port, name: `mqtt-${port}` })),
        };
      else
        remarks = [
          ...remarks,
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
  if (level === undefined) return { config, remarks };
  // Mosquitto's -v is its log_type all.
  const subscriptions = level === 'debug' && config.log.format === 'mosquitto' ? 'all' : config.log.subscriptions;
  return { config: { ...config, log: { ...config.log, level, subscriptions } }, remarks };
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
