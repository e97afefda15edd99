/**
 * JSON as mosquitto_sub prints it: members in their order and with their duplicates, text byte for byte.
 *
 * All text here is "binary" (one character per byte), so that payloads that are not UTF-8 pass unchanged. A value is a string
 * (JSON text of a scalar, ready to print), or a list of elements or members.
 */
export type JsonValue = string | JsonElements | JsonMembers;
export interface JsonElements {
  readonly elements: readonly JsonValue[];
}
export interface JsonMembers {
  readonly members: readonly (readonly [name: string, value: JsonValue])[];
}

/** How deep arrays and objects of a payload may nest. */
const depthMax = 1000;

const shortEscapes: Record<string, string> = {
  '"': '\\"',
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
};

/** A binary string as a JSON string. */
export function jsonString(text: string): string {
  const escaped = text.replace(
    /["\\\u0000-\u001f]/g,
    (character) => shortEscapes[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return `"${escaped}"`;
}

export function printJson(value: JsonValue, pretty: boolean): string {
  return pretty ? printPretty(value, 0) : printCompact(value);
}

function printCompact(value: JsonValue): string {
  if (typeof value === 'string') return value;
  if ('elements' in value) return `[${value.elements.map(printCompact).join(',')}]`;
  return `{${value.members.map(([name, member]) => `${jsonString(name)}:${printCompact(member)}`).join(',')}}`;
}

function printPretty(value: JsonValue, depth: number): string {
  if (typeof value === 'string') return value;
  if ('elements' in value) return `[${value.elements.map((element) => printPretty(element, depth + 1)).join(', ')}]`;
  const inner = '\t'.repeat(depth + 1);
  const members = value.members.map(
    ([name, member]) => `${inner}${jsonString(name)}:\t${printPretty(member, depth + 1)}`,
  );
  return `{\n${members.join(',\n')}${members.length > 0 ? '\n' : ''}${'\t'.repeat(depth)}}`;
}

/** Parses a binary string; undefined when it is not one JSON value from end to end. */
export function parseJson(text: string): JsonValue | undefined {
  const parser = new Parser(text);
  try {
    return parser.document();
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

class Parser {
  private at = 0;

  constructor(private readonly text: string) {}

  document(): JsonValue {
    const value = this.value(0);
    this.space();
    if (this.at < this.text.length) throw new SyntaxError('text after the value');
    return value;
  }

  private value(depth: number): JsonValue {
    if (depth > depthMax) throw new SyntaxError('nested too deep');
    this.space();
    switch (this.text[this.at]) {
      case '{':
        return { members: this.list('}', () => this.member(depth)) };
      case '[':
        return { elements: this.list(']', () => this.value(depth + 1)) };
      case '"':
        return jsonString(this.string());
      default:
        return this.scalar();
    }
  }

  private list<T>(close: string, item: () => T): T[] {
    const items: T[] = [];
    this.at += 1;
    this.space();
    if (this.text[this.at] === close) {
      this.at += 1;
      return items;
    }
    for (;;) {
      items.push(item());
      this.space();
      const next = this.text[this.at];
      this.at += 1;
      if (next === close) return items;
      if (next !== ',') throw new SyntaxError('a comma is missing');
    }
  }

  private member(depth: number): readonly [string, JsonValue] {
    this.space();
    const name = this.string();
    this.space();
    if (this.text[this.at] !== ':') throw new SyntaxError('a colon is missing');
    this.at += 1;
    return [name, this.value(depth + 1)];
  }

  /** The unescaped text, in bytes. */
  private string(): string {
    const match = /"((?:[^"\\]|\\.)*)"/sy;
    match.lastIndex = this.at;
    const found = match.exec(this.text);
    if (found === null) throw new SyntaxError('a string does not end');
    this.at = match.lastIndex;
    return found[1]!.replace(/\\(u[0-9a-fA-F]{4}(?:\\u[dD][c-fC-F][0-9a-fA-F]{2})?|.)/gs, unescapeOne);
  }

  private scalar(): string {
    const match = /true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y;
    match.lastIndex = this.at;
    const found = match.exec(this.text)?.[0];
    if (found === undefined) throw new SyntaxError('no value');
    this.at = match.lastIndex;
    return /^[tfn]/.test(found) ? found : formatNumber(Number(found));
  }

  private space(): void {
    while (this.at < this.text.length && this.text.charCodeAt(this.at) <= 0x20) this.at += 1;
  }
}

const unescaped: Record<string, string> = {
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  '"': '"',
  '\\': '\\',
  '/': '/',
};

function unescapeOne(_all: string, sequence: string): string {
  if (sequence[0] === 'u' && sequence.length >= 5) {
    const units = sequence.split('\\').map((unit) => Number.parseInt(unit.slice(1), 16));
    const pair = units.length === 2;
    if (pair !== (units[0]! >= 0xd800 && units[0]! <= 0xdbff) || units[0] === 0)
      throw new SyntaxError('a bad \\u escape');
    if (!pair && units[0]! >= 0xdc00 && units[0]! <= 0xdfff) throw new SyntaxError('a bad \\u escape');
    return Buffer.from(String.fromCharCode(...units)).toString('latin1');
  }
  const character = unescaped[sequence];
  if (character === undefined) throw new SyntaxError('a bad escape');
  return character;
}

/** 15 significant digits where they are the same number, else 17, in the style of printf's %g. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return 'null';
  const short = formatG(value, 15);
  return Number(short) === value ? short : formatG(value, 17);
}

function formatG(value: number, digits: number): string {
  if (value === 0) return Object.is(value, -0) ? '-0' : '0';
  const [mantissa = '', exponentText = '0'] = value.toExponential(digits - 1).split('e');
  const exponent = Number(exponentText);
  const trim = (text: string) => (text.includes('.') ? text.replace(/\.?0+$/, '') : text);
  if (exponent < -4 || exponent >= digits) {
    const size = String(Math.abs(exponent)).padStart(2, '0');
    return `${trim(mantissa)}e${exponent < 0 ? '-' : '+'}${size}`;
  }
  return trim(value.toFixed(digits - 1 - exponent));
}
