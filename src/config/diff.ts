/** Which settings differ between two configurations, and what each needs to take effect. */
import { type Config, schema } from './schema.js';
import type { ApplyClass, Setting } from './setting.js';

export interface ConfigChange {
  /** Path of the setting; a list counts as one setting. */
  readonly key: string;
  readonly apply: ApplyClass;
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
  } else if (JSON.stringify(before) !== JSON.stringify(after)) changes.push({ key, apply: setting.apply });
}

type Fields = Readonly<Record<string, unknown>>;
