/** Which settings differ between two configurations, and what each needs to take effect. */
import { type Config, schema } from './schema.js';
import type { ApplyClass, Setting } from './setting.js';

export interface ConfigChange {
  /** Path of the setting. A list counts as one setting, unless its items have names: then these stand in the path. */
  readonly key: string;
  readonly apply: ApplyClass;
}

/** Whether a setting is about who may connect, and what they may do. */
export function isAccess({ key }: Pick<ConfigChange, 'key'>): boolean {
  return /^(users|roles|groups|authentication|authorization)(\.|$)|^listeners\..+\.(authentication|authorization)$/.test(
    key,
  );
}

export function diffConfig(before: Config, after: Config): ConfigChange[] {
  const changes: ConfigChange[] = [];
  compare(schema, before, after, '', changes);
  return changes;
}

function compare(setting: Setting, before: unknown, after: unknown, key: string, changes: ConfigChange[]): void {
  if (setting.kind === 'group') {
    for (const [name, field] of Object.entries(setting.fields))
      compare(field, (before as Fields)[name], (after as Fields)[name], key === '' ? name : `${key}.${name}`, changes);
  } else if (JSON.stringify(before) !== JSON.stringify(after)) {
    const items = setting.kind === 'list' ? setting.item : undefined;
    if (items?.kind === 'group' && 'name' in items.fields)
      compareByName(items, setting.apply, before as Fields[], after as Fields[], key, changes);
    else if (items?.kind === 'variant' && sameItems(before as Fields[], after as Fields[]))
      compareByName(items, setting.apply, before as Fields[], after as Fields[], key, changes);
    else if (setting.kind === 'variant' && sameType(before as Fields, after as Fields))
      compare(setting.variants[String((after as Fields).type)]!, before, after, key, changes);
    else changes.push({ key, apply: setting.apply });
  }
}

function compareByName(
  item: Setting,
  apply: ApplyClass,
  before: readonly Fields[],
  after: readonly Fields[],
  key: string,
  changes: ConfigChange[],
): void {
  const byName = (items: readonly Fields[]) => new Map(items.map((fields) => [String(fields.name), fields]));
  const [old, now] = [byName(before), byName(after)];
  for (const name of new Set([...old.keys(), ...now.keys()])) {
    if (old.has(name) && now.has(name)) compare(item, old.get(name), now.get(name), `${key}.${name}`, changes);
    else changes.push({ key: `${key}.${name}`, apply });
  }
}

/** Whether both lists have the same items in the same order, by names and types: the order of sources counts. */
function sameItems(before: readonly Fields[], after: readonly Fields[]): boolean {
  return (
    before.length === after.length &&
    before.every(
      (item, index) => item.name !== undefined && item.name === after[index]!.name && sameType(item, after[index]!),
    )
  );
}

const sameType = (before: Fields, after: Fields) => before.type === after.type;

type Fields = Readonly<Record<string, unknown>>;
