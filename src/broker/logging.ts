/**
 * Writes the log: one line an event, for people on a terminal or as JSON.
 *
 * Shape    time, level word, event name, sentence, fields. What clients sent stands in fields only, quoted and escaped, so
 *          that no client can fake a line or steer a terminal.
 * Refuses  to stop the broker: a console that went away is written to in vain.
 */
import { pino } from 'pino';
import {
  type LogDestination,
  type LogFields,
  type LogFormat,
  type Logger,
  LogLevel,
  type LogLevelName,
  type SyslogFacility,
} from '../base/index.js';
import { checkLoggerOptions } from './check-calls.js';
import { type LogOutput, outputsOf } from './log-outputs.js';
import { mosquittoLine, mosquittoTime } from './mosquitto-lines.js';

export interface LoggerOptions {
  level: LogLevelName;
  /** `auto` is `pretty` on a terminal and `json` otherwise. */
  format: LogFormat;
  /** Instead of what `destinations` and `file` say. */
  stream?: LogStream;
  /** Standard output when left out. `topic` is for `onLine`. */
  destinations?: readonly LogDestination[];
  file?: string;
  syslogFacility?: SyslogFacility;
  /** Of format `mosquitto`. */
  timestamp?: boolean;
  timestampFormat?: string;
  /** Whether connections that begin and end are told. */
  connectionMessages?: boolean;
}

export interface LogStream {
  readonly isTTY?: boolean;
  write(text: string): unknown;
  on?(event: 'error', listener: () => void): unknown;
}

/** A logger whose level can be changed while it is in use. */
export interface AdjustableLogger extends Logger {
  setLevel(level: LogLevelName): void;
  /** Opens the log file anew. Errors: `Fault` LOG_FILE_FAILED; the old one stays in use. */
  reopen(): void;
  /** Told of every line that is written, in the shape of Mosquitto, while `destinations` has `topic`. */
  onLine: ((severity: Severity, event: string, line: string) => void) | undefined;
}

export type Severity = Exclude<LogLevelName, 'none'>;
type WriteLine = (severity: Severity, event: string, sentence: string, fields: LogFields) => void;

const aboutConnections = new Set(['connection.opened', 'client.connected', 'client.disconnected']);

/** Errors  `Fault` OPTIONS_INVALID, LOG_FILE_FAILED */
export function createLogger(options: LoggerOptions): AdjustableLogger {
  checkLoggerOptions(options);
  const { level, format, stream, destinations = ['stdout'], connectionMessages = true } = options;
  stream?.on?.('error', () => {});
  const outputs: readonly LogOutput[] =
    stream === undefined ? outputsOf(destinations, options.file, options.syslogFacility ?? 'daemon') : [stream];
  const writers = outputs.map((output) => writerTo(output));
  const toTopic = stream === undefined && destinations.includes('topic');
  let highest: number = LogLevel[level];
  const at = (severity: Severity) => (event: string, sentence: string, fields?: LogFields) => {
    if (LogLevel[severity] > highest || (!connectionMessages && aboutConnections.has(event))) return;
    for (const write of writers) write(severity, event, sentence, fields ?? {});
    if (toTopic)
      logger.onLine?.(severity, event, timed(options, mosquittoLine(severity, event, sentence, fields ?? {})));
  };
  const logger: AdjustableLogger = {
    get level() {
      return highest;
    },
    setLevel(next) {
      highest = LogLevel[next];
    },
    reopen() {
      for (const output of outputs) output.reopen?.();
    },
    onLine: undefined,
    error: at('error'),
    warning: at('warning'),
    information: at('information'),
    debug: at('debug'),
  };
  return logger;

  function writerTo(output: LogOutput): WriteLine {
    if (format === 'mosquitto')
      return (severity, event, sentence, fields) =>
        output.write(`${timed(options, mosquittoLine(severity, event, sentence, fields))}\n`, severity);
    return format === 'pretty' || (format === 'auto' && output.isTTY === true)
      ? prettyWriter(output)
      : jsonWriter(output);
  }
}

function timed({ timestamp = true, timestampFormat = '' }: LoggerOptions, line: string): string {
  return timestamp ? `${mosquittoTime(timestampFormat, new Date())}: ${line}` : line;
}

/** Characters that JSON leaves alone and terminals or log viewers do not: C1 controls, line separators, direction marks. */
const treacherous = /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;
const escapeTreacherous = (text: string) =>
  text.replace(treacherous, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);

const reserved = new Set(['time', 'level', 'event', 'message']);

function jsonWriter(output: LogOutput): WriteLine {
  let now: Severity = 'information';
  const writer = pino(
    {
      customLevels: { error: 50, warning: 40, information: 30, debug: 20 },
      useOnlyCustomLevels: true,
      level: 'debug',
      base: null,
      messageKey: 'message',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    // The escapes mean the same characters to whoever parses the line.
    { write: (line: string) => output.write(escapeTreacherous(line), now) },
  );
  return (severity, event, sentence, fields) => {
    const entry: Record<string, unknown> = { event };
    for (const [name, value] of Object.entries(fields)) entry[reserved.has(name) ? `${name}_` : name] = value;
    now = severity;
    writer[severity](entry, sentence);
  };
}

const colours: Record<Severity, string> = { error: '31', warning: '33', information: '32', debug: '90' };

/** `12:00:05.123 warning     Refused a client.  connection.refused clientId="a\nb" address="127.0.0.1"` */
function prettyWriter(output: LogOutput): WriteLine {
  const coloured = output.isTTY === true && process.env.NO_COLOR === undefined;
  const paint = (text: string, colour: string) => (coloured ? `\u001b[${colour}m${text}\u001b[0m` : text);
  return (severity, event, sentence, fields) => {
    const parts = [paint(clockTime(new Date()), '90'), paint(severity.padEnd(11), colours[severity]), inLine(sentence)];
    const shown = Object.entries(fields).filter(([, value]) => value !== undefined);
    const details = shown.map(
      ([name, value]) => `${name}=${typeof value === 'string' ? escapeTreacherous(JSON.stringify(value)) : value}`,
    );
    output.write(`${parts.join(' ')}  ${paint([event, ...details].join(' '), '90')}\n`, severity);
  };
}

function clockTime(date: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

/** A sentence is ours and should hold no control characters; if a cause's message smuggles some in, they are escaped. */
function inLine(sentence: string): string {
  return escapeTreacherous(sentence.replace(/[\u0000-\u001f]/g, (character) => JSON.stringify(character).slice(1, -1)));
}
