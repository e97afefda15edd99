// All scenarios, and how words on the command line select from them.

import { FURTHER } from './further.js';
import type { Scenario } from './scenario.js';
import { SECURE } from './secure.js';
import { STANDARD } from './standard.js';

export type { Scenario, Target } from './scenario.js';

export const SCENARIOS: Scenario[] = [...STANDARD, ...FURTHER, ...SECURE];

/** Scenarios by name, by group or `all`; the standard ones without any word. Throws on a word that selects nothing. */
export function selectScenarios(words: string[]): Scenario[] {
  if (words.length === 0) return STANDARD;
  const chosen = new Set<Scenario>();
  for (const word of words) {
    const found = SCENARIOS.filter(({ name, group }) => word === 'all' || word === name || word === group);
    if (found.length === 0) {
      const groups = [...new Set(SCENARIOS.map(({ group }) => group))];
      throw new Error(
        `${JSON.stringify(word)} is no scenario; there are ${SCENARIOS.map(({ name }) => name).join(', ')}, ` +
          `and the groups ${groups.join(', ')}, all`,
      );
    }
    for (const scenario of found) chosen.add(scenario);
  }
  return SCENARIOS.filter((scenario) => chosen.has(scenario));
}
