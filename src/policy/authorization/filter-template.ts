/**
 * The filter of a rule as it is written, with variables: `%u` user name, `%c` client identifier, `%a` address, `%l` listener,
 * `%{name}` and `${name}` anything of `facts`, `%%` a percent sign, `%$` a dollar sign.
 *
 * A value can never widen a rule. One that holds `/`, `+`, `#` or NUL, or begins a filter with `$`, makes a rule that allows
 * fall away for this client, and stands for `+` in a rule that denies, unless that is meant literally: then for itself. A value that is
 * missing or empty makes either fall away.
 */
import { isValidTopicFilter } from '../../protocol/index.js';
import { type Facts, factNames, factReader } from '../sources/facts.js';
import { type CompiledFilter, compileExact, compileFilter } from './topic-filter.js';

type Part = string | ((facts: Facts) => string | undefined);

const variable = /%([ucal%$])|[%$]\{([^}]*)\}/g;
const shortNames: Readonly<Record<string, string>> = { u: 'username', c: 'clientid', a: 'ip', l: 'listener' };

export class FilterTemplate {
  private readonly exact: boolean;
  /** By level, each of its parts; undefined when there is no variable. */
  private readonly levels: readonly (readonly Part[])[] | undefined;
  private readonly fixed: CompiledFilter | undefined;

  /** Errors  Error in words for whoever wrote the rule. */
  constructor(
    readonly text: string,
    private readonly permit: boolean,
    mayBeExact = true,
  ) {
    this.exact = mayBeExact && text.startsWith('eq ');
    const filter = this.exact ? text.slice(3) : text;
    const levels = filter.split('/').map(parseLevel);
    const plain = levels.every((parts) => parts.every((part) => typeof part === 'string'));
    const sample = levels.map((parts) => parts.map((part) => (typeof part === 'string' ? part : 'x')).join(''));
    if (!isValidTopicFilter(sample.join('/'))) throw new Error(`${JSON.stringify(filter)} is no topic filter`);
    if (plain) this.fixed = this.compile(sample.join('/'));
    else this.levels = levels;
  }

  /** For one client; undefined when the rule says nothing about it. */
  bind(facts: Facts): CompiledFilter | undefined {
    if (this.levels === undefined) return this.fixed;
    const levels: string[] = [];
    for (const [index, parts] of this.levels.entries()) {
      let level = '';
      for (const part of parts) {
        const value = typeof part === 'string' ? part : part(facts);
        if (value === undefined || (typeof part !== 'string' && value === '')) return undefined;
        const unfit = typeof part !== 'string' && isUnfit(value, index === 0 && level === '');
        if (unfit && this.permit) return undefined;
        if (unfit && !this.exact) {
          level = '+';
          break;
        }
        level += value;
      }
      levels.push(level);
    }
    return this.compile(levels.join('/'));
  }

  private compile(filter: string): CompiledFilter {
    return this.exact ? compileExact(filter) : compileFilter(filter, this.permit);
  }
}

function isUnfit(value: string, begins: boolean): boolean {
  return /[/+#\u0000]/.test(value) || (begins && value.startsWith('$'));
}

function parseLevel(level: string): Part[] {
  const parts: Part[] = [];
  let end = 0;
  for (const match of level.matchAll(variable)) {
    const [whole, short, long] = match;
    if (match.index > end) parts.push(level.slice(end, match.index));
    end = match.index + whole.length;
    if (short === '%' || short === '$') {
      parts.push(short);
      continue;
    }
    const name = short === undefined ? long! : shortNames[short];
    const reader = name === undefined ? undefined : factReader(name, 'rule');
    if (reader === undefined)
      throw new Error(`${whole} is not known; there are %u, %c, %a, %l and ${factNames('rule')}`);
    parts.push(reader);
  }
  if (end < level.length || parts.length === 0) parts.push(level.slice(end));
  return parts;
}

/** What is wrong with the filter of a rule, in words; undefined when nothing is. */
export function ruleFilterProblem(text: string): string | undefined {
  try {
    new FilterTemplate(text, true);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
