/**
 * The filter of a query to MongoDB, taken apart once. Variables stand inside of strings only, so they can never be operators, and not
 * below an operator to which a string is more than a value: code, a pattern, or `$field` in an expression.
 */
import type { Facts, Place } from './facts.js';
import { Template } from './template.js';

type Shape = Template | readonly Shape[] | { readonly [key: string]: Shape } | number | boolean | null;

const readsMoreThanValues = new Set(['$where', '$expr', '$function', '$accumulator', '$regex', '$jsonSchema']);

export class MongoFilter {
  private readonly shape: Shape;
  private readonly templates: Template[] = [];

  /** Errors  Error in words where the text is no JSON object, or a variable stands where it cannot. */
  constructor(
    text: string,
    private readonly place: Place,
  ) {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('is no object in JSON');
    this.shape = this.compile(value, undefined);
  }

  /** Undefined when the client lacks a variable. */
  values(facts: Facts): string[] | undefined {
    const values: string[] = [];
    for (const template of this.templates) {
      const value = template.fill(facts);
      if (value === undefined) return undefined;
      values.push(value);
    }
    return values;
  }

  fill(values: readonly string[]): Record<string, unknown> {
    let at = 0;
    const fill = (shape: Shape): unknown => {
      if (shape instanceof Template) return values[at++];
      if (Array.isArray(shape)) return shape.map(fill);
      if (typeof shape !== 'object' || shape === null) return shape;
      return Object.fromEntries(Object.entries(shape).map(([key, inner]) => [key, fill(inner)]));
    };
    return fill(this.shape) as Record<string, unknown>;
  }

  /** In the order in which `fill` goes through it; `operator` is the one above that takes no variables. */
  private compile(value: unknown, operator: string | undefined): Shape {
    if (typeof value === 'string') {
      const template = new Template(value, this.place);
      if (operator !== undefined && template.variables > 0)
        throw new Error(`variables cannot stand below ${operator}, where a string is more than a value`);
      this.templates.push(template);
      return template;
    }
    if (Array.isArray(value)) return value.map((entry) => this.compile(entry, operator));
    if (typeof value !== 'object' || value === null) return value as number | boolean | null;
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => {
        const below = readsMoreThanValues.has(key) ? key : key === '$literal' ? undefined : operator;
        return [key, this.compile(inner, below)];
      }),
    );
  }
}

/** What is wrong with a filter, in words; undefined when nothing is. */
export function mongoFilterProblem(text: string, place: Place): string | undefined {
  try {
    new MongoFilter(text, place);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
