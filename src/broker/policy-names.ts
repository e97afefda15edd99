/**
 * Decisions of an embedding program under names that nobody asks for: one that is misspelt would leave the broker as open as if it were not there.
 * Helpers of the program's own may stand beside the decisions.
 */
import { Fault, type Logger, quoted } from '../base/index.js';
import { nearest } from '../config/index.js';
import { policyFunctions as names } from './checked-policy.js';

/** Begin so only in order to decide something. */
const decision = /^(authenticat|authori[sz]|beginexchange)/i;

/**
 * Shape   an object literal is refused. An object of a class, whose methods nobody wrote for the broker alone, is warned of where a name is close to
 *         that of a decision which it does not take.
 * Errors  `Fault` OPTIONS_INVALID
 */
export function checkPolicyNames(policy: object, log: Logger): void {
  const plain = isPlain(policy);
  for (const name of functionsOf(policy)) {
    if ((names as readonly string[]).includes(name)) continue;
    const meant = nearest(name, names);
    const taken = meant !== undefined && typeof (policy as Record<string, unknown>)[meant] === 'function';
    if (taken || (meant === undefined && !(plain && decision.test(name)))) continue;
    const sentence = `policy: nobody asks ${quoted(name)}; ${meant === undefined ? `there are ${names.join(', ')}` : `did you mean ${meant}?`}`;
    if (plain) throw new Fault('OPTIONS_INVALID', sentence);
    log.warning('policy.name-unknown', sentence);
  }
}

function isPlain(value: object): boolean {
  const above: unknown = Object.getPrototypeOf(value);
  return above === null || above === Object.prototype;
}

/** Their names, without calling anything of the program. */
function functionsOf(value: object): Set<string> {
  const names = new Set<string>();
  for (let each: object | null = value; each !== null && each !== Object.prototype; each = Object.getPrototypeOf(each))
    for (const [name, { value: member }] of Object.entries(Object.getOwnPropertyDescriptors(each)))
      if (typeof member === 'function' && name !== 'constructor') names.add(name);
  return names;
}
