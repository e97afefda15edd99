/** What the schema cannot say of bans and rates. */
import { Fault } from '../base/index.js';
import { checkBan } from '../connection/index.js';
import type { Config } from './schema.js';
import type { Findings } from './validate.js';

export function checkProtection({ bans, rates, listeners }: Config, findings: Findings): void {
  bans.forEach((ban, index) => {
    try {
      checkBan(ban);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      findings.reportAt(`bans[${index}].value`, error.message);
    }
  });
  rates.forEach(({ direction, outcome, messagesPerSecond, bytesPerSecond, listeners: names }, index) => {
    const key = `rates[${index}]`;
    if (direction === 'deliver' && outcome !== 'delay')
      findings.reportAt(`${key}.outcome`, `is ${outcome}, but deliveries can only wait: outcome: delay`);
    if (messagesPerSecond === 0 && bytesPerSecond === 0)
      findings.reportAt(key, 'limits nothing: give messagesPerSecond, bytesPerSecond, or both');
    for (const name of names)
      if (!listeners.some((listener) => listener.name === name))
        findings.reportAt(`${key}.listeners`, `names ${name}, which is no listener`);
  });
}
