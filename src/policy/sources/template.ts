/**
 * Text with `${variables}`, taken apart once. A value is only ever handed over as a value: bound in SQL, one argument in Redis, encoded
 * in a URL, escaped in an LDAP filter. A client that lacks a variable cannot be asked about.
 */
import { type Facts, factNames, factReader, type Place } from './facts.js';

const variable = /\$\{([^}]*)\}/g;

export class Template {
  private readonly literals: string[] = [];
  private readonly readers: ((facts: Facts) => string | undefined)[] = [];

  /** Errors  Error that names an unknown variable. */
  constructor(
    readonly text: string,
    place: Place,
  ) {
    let end = 0;
    for (const match of text.matchAll(variable)) {
      const reader = factReader(match[1]!, place);
      if (reader === undefined) throw new Error(`\${${match[1]}} is not known; there are ${factNames(place)}`);
      this.literals.push(text.slice(end, match.index));
      this.readers.push(reader);
      end = match.index + match[0].length;
    }
    this.literals.push(text.slice(end));
  }

  /** How many there are. */
  get variables(): number {
    return this.readers.length;
  }

  /** The values in order; undefined when the client lacks one. */
  values(facts: Facts): string[] | undefined {
    const values: string[] = [];
    for (const read of this.readers) {
      const value = read(facts);
      if (value === undefined) return undefined;
      values.push(value);
    }
    return values;
  }

  /** The text with every value put through `encode`; undefined when the client lacks one. */
  fill(facts: Facts, encode: (value: string) => string = (value) => value): string | undefined {
    const values = this.values(facts);
    if (values === undefined) return undefined;
    let text = this.literals[0]!;
    for (const [index, value] of values.entries()) text += encode(value) + this.literals[index + 1]!;
    return text;
  }

  /** The text with placeholders of a database in the place of variables. */
  withPlaceholders(placeholder: (index: number) => string): string {
    return this.literals.reduce((text, literal, index) => `${text}${placeholder(index - 1)}${literal}`);
  }
}

/** What is wrong with a text, in words; undefined when nothing is. */
export function templateProblem(text: string, place: Place): string | undefined {
  try {
    new Template(text, place);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
