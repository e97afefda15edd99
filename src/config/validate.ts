/**
 * Reads settings after the schema: checks every one, fills in defaults, and reports all problems instead of the first.
 *
 * Written for the messages: a general JSON Schema validator knows neither lines nor units, and not what was meant.
 * What more than one setting decides is in `rules.ts`.
 */
import { quoted } from '../base/index.js';
import { nearest } from './nearest.js';
import type { Problem } from './problem.js';
import {
  choice,
  describeAllowed,
  type GroupFields,
  type GroupSetting,
  type ListSetting,
  type MapSetting,
  type Setting,
  type VariantSetting,
} from './setting.js';
import { type Position, plainSource, type Source } from './source.js';

/** Entries of one list; more is a mistake or an attack, not a configuration. */
const LIST_ENTRIES_MAX = 100_000;

/** What one reading found. Give a fresh one to `validate`. */
export class Findings {
  readonly problems: Problem[] = [];
  /** Where each given setting stands; settings left out have no entry. */
  readonly positions = new Map<string, Position | undefined>();

  /** `file` is undefined when a program gives the settings. */
  constructor(readonly file: string | undefined) {}

  report(key: string, position: Position | undefined, sentence: string): void {
    this.problems.push({ file: this.file, position, key, sentence });
  }

  /** Reports at the setting, or at the nearest group around it that was given. */
  reportAt(key: string, sentence: string): void {
    let around = key;
    while (around !== '' && !this.positions.has(around))
      around = around.slice(0, Math.max(0, around.search(/(\.[^.[]*|\[\d+\])$/)));
    this.report(key, this.positions.get(around), sentence);
  }

  given(key: string): boolean {
    return this.positions.has(key);
  }
}

/** Returns the value with defaults; undefined where a problem was found, which `findings` then holds. */
export function validate(setting: Setting, source: Source, key: string, findings: Findings): unknown {
  findings.positions.set(key, source.at);
  if (setting.kind === 'group') return validateGroup(setting, source, key, findings);
  if (setting.kind === 'list') return validateList(setting, source, key, findings);
  if (setting.kind === 'map') return validateMap(setting, source, key, findings);
  if (setting.kind === 'variant') return validateVariant(setting, source, key, findings);
  if (source.kind === 'scalar') {
    if (setting.kind === 'integer' && typeof source.value === 'number') {
      const { value } = source;
      if (Number.isInteger(value) && value >= setting.minimum && value <= setting.maximum) return value;
    }
    if (setting.kind === 'boolean' && typeof source.value === 'boolean') return source.value;
    if (setting.kind === 'text' && typeof source.value === 'string' && setting.check(source.value)) return source.value;
    // Choices compare what was written, so that 5.0 needs no quotes.
    if (setting.kind === 'choice') {
      const found = typeof source.value === 'string' ? source.value : source.written;
      if (setting.choices.includes(found)) return found;
    }
  }
  findings.report(key, source.at, mismatch(setting, source));
  return undefined;
}

function validateGroup(setting: GroupSetting<GroupFields>, source: Source, key: string, findings: Findings): unknown {
  if (source.kind !== 'map' && source.kind !== 'nothing') {
    findings.report(key, source.at, mismatch(setting, source));
    return undefined;
  }
  const values: Record<string, unknown> = {};
  const seen = new Map<string, Position | undefined>();
  for (const entry of source.kind === 'map' ? source.entries() : []) {
    const entryKey = key === '' ? entry.key : `${key}.${entry.key}`;
    const field = Object.hasOwn(setting.fields, entry.key) ? setting.fields[entry.key] : undefined;
    if (field === undefined)
      findings.report(
        key === '' ? safeKey(entry.key) : `${key}.${safeKey(entry.key)}`,
        entry.at,
        unknownSetting(entry.key, setting.fields),
      );
    else if (seen.has(entry.key))
      findings.report(entryKey, entry.at, `is given twice, first on line ${seen.get(entry.key)?.line}`);
    else values[entry.key] = validate(field, entry.value, entryKey, findings);
    seen.set(entry.key, entry.at);
  }
  fillIn(setting.fields, values, seen, key, source.at, findings);
  return values;
}

function fillIn(
  fields: GroupFields,
  values: Record<string, unknown>,
  given: ReadonlyMap<string, unknown>,
  key: string,
  at: Position | undefined,
  findings: Findings,
): void {
  const missing = Object.entries(fields).filter(([name]) => !given.has(name));
  for (const [name, field] of missing) {
    if (field.kind === 'group')
      values[name] = validateGroup(field, { kind: 'nothing', at: undefined }, join(key, name), findings);
    else if (field.kind === 'list' && (field.itemsMin ?? 0) > field.default.length)
      findings.report(join(key, name), at, `is missing; needed is ${describeAllowed(field)}`);
    else if (field.kind === 'list') values[name] = defaultList(field);
    else if (field.kind === 'map') values[name] = {};
    else if (field.kind === 'variant')
      findings.report(join(key, name), at, `is missing; needed is ${describeAllowed(field)}`);
    else if (field.default !== undefined) values[name] = field.default;
    else if (field.computed === undefined && !field.optional)
      findings.report(join(key, name), at, `is missing; needed is ${describeAllowed(field)}`);
  }
  for (const [name, field] of missing)
    if ('computed' in field && field.computed !== undefined) values[name] = field.computed(values);
}

function validateList(setting: ListSetting<Setting>, source: Source, key: string, findings: Findings): unknown {
  const items = source.kind === 'list' ? source.items() : undefined;
  if (items === undefined) {
    findings.report(key, source.at, mismatch(setting, source));
    return undefined;
  }
  const { itemsMin = 0 } = setting;
  if (items.length < itemsMin)
    findings.report(key, source.at, `the list is empty; at least ${itemsMin} of: ${describeAllowed(setting.item)}`);
  if (items.length > LIST_ENTRIES_MAX) {
    findings.report(key, source.at, `the list has ${items.length} entries; at most ${LIST_ENTRIES_MAX} are allowed`);
    return undefined;
  }
  return items.map((item, index) => validate(setting.item, item, `${key}[${index}]`, findings));
}

function validateMap(setting: MapSetting, source: Source, key: string, findings: Findings): unknown {
  if (source.kind !== 'map') {
    findings.report(key, source.at, mismatch(setting, source));
    return undefined;
  }
  const values: Record<string, unknown> = Object.create(null);
  for (const entry of source.entries()) {
    const entryKey = `${key}.${safeKey(entry.key)}`;
    if (entry.key in values) findings.report(entryKey, entry.at, 'is given twice');
    values[entry.key] = validate(setting.item, entry.value, entryKey, findings);
  }
  return { ...values };
}

/** Reads `type` first: it says what else there may be. */
function validateVariant(setting: VariantSetting, source: Source, key: string, findings: Findings): unknown {
  const types = Object.keys(setting.variants);
  const field = choice({ sentence: 'What it is.', apply: setting.apply, choices: types });
  if (source.kind !== 'map') {
    findings.report(key, source.at, mismatch(setting, source));
    return undefined;
  }
  const given = source.entries().find((entry) => entry.key === 'type');
  if (given === undefined) {
    findings.report(`${key}.type`, source.at, `is missing; needed is ${describeAllowed(field)}`);
    return undefined;
  }
  const type = given.value.kind === 'scalar' ? String(given.value.value) : '';
  if (!Object.hasOwn(setting.variants, type)) {
    findings.report(`${key}.type`, given.value.at, mismatch(field, given.value));
    return undefined;
  }
  const { sentence, fields } = setting.variants[type]!;
  return validateGroup({ kind: 'group', sentence, fields: { type: field, ...fields } }, source, key, findings);
}

function defaultList(setting: ListSetting<Setting>): unknown {
  const findings = new Findings(undefined);
  const value = validate(setting, plainSource(setting.default), '', findings);
  if (findings.problems.length > 0)
    throw new TypeError(`default of the schema is invalid: ${findings.problems[0]!.sentence}`);
  return value;
}

function mismatch(setting: Setting, source: Source): string {
  const secret = 'secret' in setting && setting.secret;
  const quotes =
    setting.kind === 'text' && source.kind === 'scalar' && typeof source.value !== 'string'
      ? ' (put it in quotes)'
      : '';
  const words = setting.kind === 'integer' && setting.unit !== undefined ? ` (${setting.unit})` : '';
  const meant =
    setting.kind === 'choice' && source.kind === 'scalar' ? nearest(source.written, setting.choices) : undefined;
  const suggestion = meant === undefined ? '' : `; did you mean ${meant}?`;
  return `found ${describeFound(source, secret ?? false)}, allowed is ${describeAllowed(setting)}${words}${quotes}${suggestion}`;
}

function describeFound(source: Source, secret: boolean): string {
  switch (source.kind) {
    case 'map':
      return 'a group of settings';
    case 'list':
      return 'a list';
    case 'nothing':
      return 'nothing';
    case 'other':
      return source.what;
    case 'scalar':
      if (secret) return 'a value that does not fit';
      return typeof source.value === 'string'
        ? quoted(source.value)
        : `${typeof source.value === 'number' ? 'number ' : ''}${source.written}`;
  }
}

function unknownSetting(name: string, fields: GroupFields): string {
  const names = Object.keys(fields);
  const meant = nearest(name, names);
  return meant === undefined
    ? `unknown setting; allowed here: ${names.join(', ')}`
    : `unknown setting; did you mean ${meant}?`;
}

/** A key of the file as a message may show it. */
function safeKey(key: string): string {
  return /^[\w.-]{1,60}$/.test(key) ? key : quoted(key);
}

function join(key: string, name: string): string {
  return key === '' ? name : `${key}.${name}`;
}
