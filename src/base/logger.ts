/**
 * What modules log to. Levels are those of the configuration: none, error, warning, information, debug.
 *
 * A call takes a stable event name (`connection.refused`), a sentence, and fields. Strings from clients go in fields only,
 * where the writer quotes them; secrets go nowhere.
 */
export const LogLevel = { none: 0, error: 1, warning: 2, information: 3, debug: 4 } as const;
export type LogLevelName = keyof typeof LogLevel;

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Logger {
  /** Highest level written; compare before building fields for `debug` on a busy path. */
  readonly level: number;
  error(event: string, sentence: string, fields?: LogFields): void;
  warning(event: string, sentence: string, fields?: LogFields): void;
  information(event: string, sentence: string, fields?: LogFields): void;
  debug(event: string, sentence: string, fields?: LogFields): void;
}

const nothing = () => {};

/** Writes nothing: the default of an embedded broker. */
export const silentLogger: Logger = {
  level: LogLevel.none,
  error: nothing,
  warning: nothing,
  information: nothing,
  debug: nothing,
};
