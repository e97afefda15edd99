/**
 * Reads a configuration file of either kind: our YAML, or a mosquitto.conf, which is mapped onto the same settings.
 *
 * The name decides (`.conf` is Mosquitto's; `.yaml`, `.yml`, `.json` are YAML), and for other names the first line that says something.
 */
import { readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { type LoadedConfig, loadConfig, resolveConfig } from './load.js';
import { findDirective } from './mosquitto/directives.js';
import { type MappedMosquitto, mapMosquittoFile } from './mosquitto/map.js';
import { problemAt } from './mosquitto/remarks.js';
import { ConfigError, type Problem } from './problem.js';

export type LoadedFile = LoadedConfig & {
  readonly format: 'yaml' | 'mosquitto';
  /** A mosquitto.conf without listeners, which listens on this machine only. */
  readonly localOnly: boolean;
  /** What does not stop the start: directives without effect, listeners that nobody can use. */
  readonly warnings: readonly Problem[];
};

export function loadConfigFile(file: string): LoadedFile {
  if (!isMosquittoConf(file)) return { ...loadConfig(file), format: 'yaml', localOnly: false, warnings: [] };
  const mapped = mapMosquittoFile(file);
  return { ...resolveMosquitto(mapped, file), format: 'mosquitto', localOnly: mapped.localOnly };
}

/** Checks what came of a mosquitto.conf as a file of our own would be; problems name its lines. */
export function resolveMosquitto(
  { input, draft, problems, warnings }: MappedMosquitto,
  file: string,
): LoadedConfig & { readonly warnings: readonly Problem[] } {
  if (problems.length > 0) return { config: undefined, problems, warnings };
  try {
    return { config: resolveConfig(input), problems: [], warnings };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const traced = error.problems.map(({ key, sentence }): Problem => {
      const line = draft.originOf(key);
      return line === undefined ? { file, position: undefined, key, sentence } : problemAt(line, `${key}: ${sentence}`);
    });
    return { config: undefined, problems: traced, warnings };
  }
}

export function isMosquittoConf(file: string): boolean {
  const extension = extname(file).toLowerCase();
  if (extension === '.conf') return true;
  if (['.yaml', '.yml', '.json'].includes(extension)) return false;
  let text: string;
  try {
    text = readFileSync(file, 'latin1');
  } catch {
    return false; // the reader of YAML says what is wrong
  }
  const first = text.split('\n').find((line) => line.trim() !== '' && !line.trim().startsWith('#'));
  const [, word = ''] = /^\s*(\S+)\s+\S/.exec(first ?? '') ?? [];
  return findDirective(word) !== undefined;
}
