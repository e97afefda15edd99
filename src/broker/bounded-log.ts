/** A log for what anybody out there can cause as often as they like: whoever floods the broker must not fill it. Counters count all of it. */
import type { Logger } from '../base/index.js';
import { RefusalLines } from '../connection/index.js';

/** Lines in ten seconds of one kind. */
const LINES_MAX = 100;

/** Warnings and information of `log`, so many of each event; the next line tells how many were left out (`notLogged`). */
export function boundedLog(log: Logger, nowMs: () => number): Logger {
  const byEvent = new Map<string, RefusalLines>();
  const bounded = (write: Logger['warning']): Logger['warning'] => {
    return (event, sentence, fields) => {
      let lines = byEvent.get(event);
      if (lines === undefined) byEvent.set(event, (lines = new RefusalLines(LINES_MAX)));
      const notLogged = lines.take(nowMs());
      if (notLogged !== undefined) write(event, sentence, notLogged > 0 ? { ...fields, notLogged } : fields);
    };
  };
  return {
    get level() {
      return log.level;
    },
    error: (event, sentence, fields) => log.error(event, sentence, fields),
    warning: bounded((event, sentence, fields) => log.warning(event, sentence, fields)),
    information: bounded((event, sentence, fields) => log.information(event, sentence, fields)),
    debug: (event, sentence, fields) => log.debug(event, sentence, fields),
  };
}
