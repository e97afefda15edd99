/**
 * One view over what settings are read from: a YAML document with positions, or a plain object of a program.
 *
 * Refuses  to know the schema; values are judged in `validate.ts`.
 */
import { type Document, isAlias, isMap, isScalar, isSeq, type LineCounter, type Node } from 'yaml';

export interface Position {
  readonly line: number;
  readonly column: number;
}

export interface SourceEntry {
  readonly key: string;
  readonly at: Position | undefined;
  readonly value: Source;
}

export type Source = { readonly at: Position | undefined } & (
  | { readonly kind: 'map'; readonly entries: () => SourceEntry[] }
  | { readonly kind: 'list'; readonly items: () => Source[] }
  /** `written` is the text in the file, where it differs from the value: 5.0 is the number 5. */
  | { readonly kind: 'scalar'; readonly value: string | number | boolean; readonly written: string }
  | { readonly kind: 'nothing' }
  | { readonly kind: 'other'; readonly what: string }
);

export function yamlSource(document: Document, lines: LineCounter): Source {
  const position = (node: { range?: [number, number, number] | null } | null): Position | undefined => {
    if (!node?.range) return undefined;
    const { line, col } = lines.linePos(node.range[0]);
    return { line, column: col };
  };
  const convert = (given: unknown, fallback: Position | undefined): Source => {
    const alias = isAlias(given) ? given : undefined;
    const node = (alias === undefined ? given : alias.resolve(document)) as Node | null | undefined;
    const at = position(alias ?? node ?? null) ?? fallback;
    if (alias !== undefined && node === undefined)
      return { kind: 'other', at, what: `alias *${alias.source} without an anchor` };
    if (isMap(node)) {
      const entries = () =>
        node.items.map((pair): SourceEntry => {
          const keyAt = position(pair.key as Node);
          const key = isScalar(pair.key) ? String(pair.key.source ?? pair.key.value) : String(pair.key);
          return { key, at: keyAt, value: convert(pair.value, keyAt) };
        });
      return { kind: 'map', at, entries };
    }
    if (isSeq(node)) return { kind: 'list', at, items: () => node.items.map((item) => convert(item, at)) };
    if (!isScalar(node) || node.value === null) return { kind: 'nothing', at };
    const { value } = node;
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
      return { kind: 'scalar', at, value, written: node.source ?? String(value) };
    return { kind: 'other', at, what: String(value) };
  };
  return convert(document.contents, { line: 1, column: 1 });
}

export function plainSource(value: unknown): Source {
  const at = undefined;
  if (value === undefined || value === null) return { kind: 'nothing', at };
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
    return { kind: 'scalar', at, value, written: String(value) };
  if (Array.isArray(value)) return { kind: 'list', at, items: () => value.map(plainSource) };
  if (typeof value !== 'object') return { kind: 'other', at, what: `a ${typeof value}` };
  const entries = () =>
    Object.entries(value)
      .filter(([, entry]) => entry !== undefined)
      .map(([key, entry]): SourceEntry => ({ key, at: undefined, value: plainSource(entry) }));
  return { kind: 'map', at, entries };
}
