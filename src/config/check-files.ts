/** Reads the files that settings name, to say before the start what would be wrong with them. */
import { Fault, silentLogger } from '../base/index.js';
import { bridgeTls } from '../bridge/index.js';
import { ListenerTls, readCertificates } from '../certificates/index.js';
import { AccessPolicy } from '../policy/index.js';
import type { Problem } from './problem.js';
import { isSecure } from './rules.js';
import type { Config } from './schema.js';

export interface CheckedFiles {
  readonly problems: readonly Problem[];
  /** What works and deserves a word, such as a certificate that has expired. */
  readonly warnings: readonly Problem[];
}

/** `file` is the configuration's own, for the messages. */
export async function checkFiles(config: Config, file: string | undefined): Promise<CheckedFiles> {
  const problems: Problem[] = [];
  const warnings: Problem[] = [];
  const problem = (sentence: string): Problem => ({ file, position: undefined, key: '', sentence });
  const checked = (read: () => void): void => {
    try {
      read();
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      problems.push(problem(error.message));
    }
  };
  config.listeners.forEach(({ name, protocol, tls: settings }, index) => {
    if (!isSecure(protocol)) return;
    checked(() => {
      const tls = new ListenerTls({ name, settings, where: `listeners[${index}].tls`, log: silentLogger });
      warnings.push(...tls.warnings.map(problem));
    });
  });
  try {
    const access = await new AccessPolicy(config, { log: silentLogger }).check();
    problems.push(...access.map(problem));
  } catch (error) {
    problems.push(problem((error as Error).message)); // an option that cannot be used
  }
  for (const [key, sources] of [
    ['authentication', config.authentication],
    ['authorization.sources', config.authorization.sources],
  ] as const)
    for (const [index, source] of sources.entries()) {
      const caFile = 'caFile' in source ? source.caFile : undefined;
      if (caFile !== undefined) checked(() => readCertificates(caFile, `${key}[${index}].caFile`));
    }
  config.bridges.forEach(({ tls }, index) => {
    checked(() => bridgeTls(tls, `bridges[${index}].tls`));
  });
  return { problems, warnings };
}
