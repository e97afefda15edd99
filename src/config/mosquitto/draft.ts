/** Settings as they are put together, with the line each of them comes from and what a reader of the result should know of it. */
import type { Line } from './remarks.js';

type Step = string | number;
export type Container = { [key: string]: unknown } | unknown[];

export class Draft {
  readonly root: Record<string, unknown> = {};
  /** By path, as in `listeners[0].port`. */
  readonly origins = new Map<string, Line>();
  readonly notes = new Map<string, string[]>();

  /** Sets what is not undefined. */
  set(path: string, value: unknown, origin: Line | undefined): void {
    if (value === undefined) return;
    const steps = stepsOf(path);
    let at: Container = this.root;
    steps.slice(0, -1).forEach((step, index) => {
      const inner = at as Record<Step, Container>;
      inner[step] ??= typeof steps[index + 1] === 'number' ? [] : {};
      at = inner[step]!;
    });
    (at as Record<Step, unknown>)[steps.at(-1)!] = value;
    if (origin !== undefined) this.origins.set(path, origin);
  }

  note(path: string, sentence: string): void {
    const known = this.notes.get(path) ?? [];
    known.push(sentence);
    this.notes.set(path, known);
  }

  /** The line that a path, or the nearest one around it, comes from. */
  originOf(path: string): Line | undefined {
    for (let around = path; around !== ''; around = around.replace(/(\.?[^.[\]]+|\[\d+\])$/, '')) {
      const line = this.origins.get(around);
      if (line !== undefined) return line;
    }
    return undefined;
  }
}

export function stepsOf(path: string): Step[] {
  return [...path.matchAll(/([^.[\]]+)|\[(\d+)\]/g)].map(([, name, index]) => name ?? Number(index));
}
