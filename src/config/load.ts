/**
 * From a file, a text or a program's object to a checked `Config`.
 *
 * Returns  problems instead of throwing when a person wrote the settings; `resolveConfig`, for programs, throws.
 */
import { readFileSync } from 'node:fs';
import { LineCounter, parseDocument } from 'yaml';
import { fileFailure } from '../base/index.js';
import { checkBridge } from './bridge-rules.js';
import { type BridgeConfig, type BridgeInput, bridgeSettings } from './bridge-schema.js';
import { ConfigError, type Problem } from './problem.js';
import { checkRules } from './rules.js';
import { type Config, type ConfigInput, schema } from './schema.js';
import { plainSource, type Source, yamlSource } from './source.js';
import { Findings, validate } from './validate.js';

const FILE_BYTES_MAX = 64 * 1024 * 1024;

export type LoadedConfig =
  | { readonly config: Config; readonly problems: readonly [] }
  | { readonly config: undefined; readonly problems: readonly Problem[] };

export interface ResolveOptions {
  /** Clients are checked by something outside the configuration, so no `users` are needed. */
  readonly authenticated?: boolean;
}

/** Reads a YAML file. A file that cannot be read is a problem like any other. */
export function loadConfig(file: string): LoadedConfig {
  const unreadable = (sentence: string): LoadedConfig => ({
    config: undefined,
    problems: [{ file, position: undefined, key: '', sentence }],
  });
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    return unreadable(`cannot be read: ${fileFailure(error)}`);
  }
  if (bytes.length > FILE_BYTES_MAX)
    return unreadable(`has ${bytes.length} bytes; at most ${FILE_BYTES_MAX} are allowed`);
  try {
    return parseConfig(new TextDecoder('utf-8', { fatal: true }).decode(bytes), file);
  } catch (error) {
    if (error instanceof TypeError && 'code' in error && error.code === 'ERR_ENCODING_INVALID_ENCODED_DATA')
      return unreadable('is not UTF-8 text');
    throw error;
  }
}

/** Reads YAML text; `fileName` is what problems name. */
export function parseConfig(text: string, fileName: string): LoadedConfig {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false });
  const faults = [...document.errors, ...document.warnings];
  if (faults.length > 0)
    return {
      config: undefined,
      problems: faults.map(({ pos, message }) => {
        const { line, col } = lines.linePos(pos[0]);
        return {
          file: fileName,
          position: { line, column: col },
          key: '',
          sentence: `is not valid YAML: ${message.split('\n')[0]}`,
        };
      }),
    };
  const findings = new Findings(fileName);
  const config = check(yamlSource(document, lines), findings, {});
  if (config === undefined) return { config: undefined, problems: inOrder(findings.problems) };
  return { config, problems: [] };
}

/**
 * Checks settings given by a program and fills in the rest.
 *
 * Errors  ConfigError that names every key that is wrong.
 */
export function resolveConfig(input: ConfigInput, options: ResolveOptions = {}): Config {
  const findings = new Findings(undefined);
  const config = check(plainSource(input), findings, options);
  if (config === undefined) throw new ConfigError(findings.problems);
  return config;
}

/**
 * Checks the settings of one bridge given by a program and fills in the rest.
 *
 * Errors  ConfigError that names every key that is wrong.
 */
export function resolveBridge(input: BridgeInput, storageMode: string): BridgeConfig {
  const findings = new Findings(undefined);
  const bridge = validate(bridgeSettings, plainSource(input), '', findings) as BridgeConfig;
  if (findings.problems.length === 0) checkBridge(bridge, storageMode, '', findings);
  if (findings.problems.length > 0) throw new ConfigError(findings.problems);
  return bridge;
}

/** What the broker does without a configuration file. */
export function defaultConfig(): Config {
  return resolveConfig({});
}

function check(source: Source, findings: Findings, { authenticated = false }: ResolveOptions): Config | undefined {
  const config = validate(schema, source, '', findings) as Config;
  // Rules read whole values, so they wait until every single one is sound.
  if (findings.problems.length === 0) checkRules(config, findings, authenticated);
  return findings.problems.length === 0 ? config : undefined;
}

function inOrder(problems: readonly Problem[]): Problem[] {
  const place = ({ position }: Problem) => (position === undefined ? 0 : position.line * 100_000 + position.column);
  return [...problems].sort((a, b) => place(a) - place(b));
}
