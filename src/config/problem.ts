/** What is wrong with a configuration, one line each, and the error a program gets. */
import { escapeControls } from '../base/index.js';
import type { Position } from './source.js';

export interface Problem {
  /** Undefined when the settings came from a program. */
  readonly file: string | undefined;
  readonly position: Position | undefined;
  /** Path of the setting, as in `listeners[1].port`; empty for the whole. */
  readonly key: string;
  /** What was found and what is allowed. */
  readonly sentence: string;
}

/** `dunlin.yaml:3:12: limits.queueOverflow: found "drop", allowed is …` */
export function formatProblem({ file, position, key, sentence }: Problem): string {
  const place = position === undefined ? file : `${file}:${position.line}:${position.column}`;
  const parts = [file === undefined ? undefined : place, key === '' ? undefined : key, sentence];
  return escapeControls(parts.filter((part) => part !== undefined).join(': '));
}

/** Settings that cannot be used. The message holds every problem, one a line. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly code = 'CONFIG_INVALID';

  constructor(readonly problems: readonly Problem[]) {
    super(problems.map(formatProblem).join('\n'));
  }
}
