/** Settings of the log and of the process around the broker. */
import { LogLevel, type LogLevelName, logDestinations, logFormats, syslogFacilities } from '../base/index.js';
import { boolean, choice, group, list, text } from './setting.js';

const bytesOf = (value: string) => Buffer.byteLength(value);
const printable = (value: string) => !/[\u0000-\u001f\u007f]/.test(value);
const isPath = (value: string) => value !== '' && bytesOf(value) <= 4096 && printable(value);

export const logSettings = group({
  sentence: 'What the broker writes about itself, and where to.',
  fields: {
    level: choice({
      sentence: 'Most talkative level that is written.',
      apply: 'live',
      choices: Object.keys(LogLevel) as LogLevelName[],
      default: 'information',
    }),
    format: choice({
      sentence:
        'Lines for people (`pretty`), JSON, or the lines of Mosquitto for those who parse them; `auto` is `pretty` on a terminal and `json` otherwise.',
      apply: 'restart',
      choices: logFormats,
      default: 'auto',
    }),
    destinations: list({
      sentence:
        'Where lines go: standard output, standard error, the log of the system (through the program `logger`), or topics `$SYS/broker/log/…` of the broker. Empty writes none, but for `file`.',
      apply: 'restart',
      default: ['stdout'],
      item: choice({ sentence: 'A destination.', apply: 'restart', choices: logDestinations }),
    }),
    file: text({
      sentence: 'File that lines are added to, beside the destinations; SIGHUP opens it anew.',
      apply: 'restart',
      allowed: 'path',
      check: isPath,
      optional: true,
    }),
    syslogFacility: choice({
      sentence: 'Facility of lines in the log of the system.',
      apply: 'restart',
      choices: syslogFacilities,
      default: 'daemon',
    }),
    timestamp: boolean({
      sentence: 'Whether lines of format `mosquitto` begin with the time.',
      apply: 'restart',
      default: true,
    }),
    timestampFormat: text({
      sentence: 'The time of lines of format `mosquitto`, as strftime writes it; empty: seconds since 1970.',
      apply: 'restart',
      allowed: 'text of at most 256 bytes, such as `%Y-%m-%dT%H:%M:%S`',
      check: (value) => bytesOf(value) <= 256 && printable(value),
      default: '',
    }),
    connectionMessages: boolean({
      sentence: 'Whether the log tells of connections that begin and end.',
      apply: 'restart',
      default: true,
    }),
    subscriptions: choice({
      sentence: 'Whether the log tells of subscriptions that begin, that end, or of both.',
      apply: 'restart',
      choices: ['none', 'begun', 'ended', 'all'],
      default: 'none',
    }),
  },
});

export const processSettings = group({
  sentence: 'The process of the broker, where the command runs it.',
  fields: {
    pidFile: text({
      sentence: 'File that holds the number of the process while it runs.',
      apply: 'restart',
      allowed: 'path',
      check: isPath,
      optional: true,
    }),
    user: text({
      sentence: 'Who the process becomes once its listeners are open, when it was started by root.',
      apply: 'restart',
      allowed: 'name of a user of the system',
      check: (value) => /^[A-Za-z0-9_.][A-Za-z0-9_.@-]{0,63}\$?$/.test(value),
      optional: true,
    }),
  },
});
