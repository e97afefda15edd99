/**
 * The language the schema is written in: a setting is data, and both its TypeScript type and its validation follow from it.
 *
 * Shape    A leaf is an integer, boolean, text or choice; groups and lists hold leaves. A leaf without `default`,
 *          `computed` and `optional` must be given.
 * Refuses  to hold values: see `validate.ts`.
 */

/** What a change of the setting in a running broker needs. */
export type ApplyClass = 'live' | 'reconnect' | 'restart';

interface Leaf {
  readonly sentence: string;
  readonly apply: ApplyClass;
  /** How the reference words the default where it is not one value. */
  readonly defaultText?: string;
  /** The default where it depends on other settings of the same group; called after those are known. */
  readonly computed?: (siblings: Readonly<Record<string, unknown>>) => unknown;
  /** Messages never repeat the value. */
  readonly secret?: true;
  readonly optional?: true;
}

export interface IntegerSetting extends Leaf {
  readonly kind: 'integer';
  readonly default?: number;
  readonly minimum: number;
  readonly maximum: number;
  readonly unit?: string;
}

export interface BooleanSetting extends Leaf {
  readonly kind: 'boolean';
  readonly default?: boolean;
}

export interface TextSetting extends Leaf {
  readonly kind: 'text';
  readonly default?: string;
  /** What is allowed, in words. */
  readonly allowed: string;
  readonly check: (text: string) => boolean;
}

export interface ChoiceSetting<Choice extends string = string> extends Leaf {
  readonly kind: 'choice';
  readonly default?: Choice;
  readonly choices: readonly Choice[];
}

export interface ListSetting<Item extends Setting = Setting> {
  readonly kind: 'list';
  readonly sentence: string;
  readonly apply: ApplyClass;
  readonly item: Item;
  /** As it would be written in the file; checked like input. */
  readonly default: readonly unknown[];
  readonly defaultText?: string;
  readonly itemsMin?: number;
}

export interface GroupSetting<Fields extends GroupFields = GroupFields> {
  readonly kind: 'group';
  readonly sentence: string;
  readonly fields: Fields;
}

/** Texts by names of the writer's choice. */
export interface MapSetting {
  readonly kind: 'map';
  readonly sentence: string;
  readonly apply: ApplyClass;
  /** What each value may be. */
  readonly item: TextSetting;
}

/** A group whose setting `type` says which other settings it has. */
export interface VariantSetting<Variants extends AnyVariants = AnyVariants> {
  readonly kind: 'variant';
  readonly sentence: string;
  readonly apply: ApplyClass;
  readonly variants: Variants;
}

export type Setting =
  | IntegerSetting
  | BooleanSetting
  | TextSetting
  | ChoiceSetting
  | MapSetting
  | AnyList
  | AnyGroup
  | AnyVariant;
export interface GroupFields {
  readonly [key: string]: Setting;
}
interface AnyList extends ListSetting<Setting> {}
interface AnyGroup extends GroupSetting<GroupFields> {}
interface AnyVariants {
  readonly [type: string]: AnyGroup;
}
interface AnyVariant extends VariantSetting<AnyVariants> {}

type OptionalKeys<Fields> = {
  [Key in keyof Fields]: Fields[Key] extends { optional: true } ? Key : never;
}[keyof Fields];

/** The type of a setting's value once defaults are filled in. */
export type ValueOf<S> = S extends { kind: 'integer' }
  ? number
  : S extends { kind: 'boolean' }
    ? boolean
    : S extends { kind: 'choice'; choices: readonly (infer Choice)[] }
      ? Choice
      : S extends { kind: 'text' }
        ? string
        : S extends { kind: 'map' }
          ? Readonly<Record<string, string>>
          : S extends { kind: 'variant'; variants: infer Variants }
            ? { [Type in keyof Variants]: { readonly type: Type } & ValueOf<Variants[Type]> }[keyof Variants]
            : S extends { kind: 'list'; item: infer Item }
              ? readonly ValueOf<Item>[]
              : S extends { kind: 'group'; fields: infer Fields }
                ? { readonly [Key in Exclude<keyof Fields, OptionalKeys<Fields>>]: ValueOf<Fields[Key]> } & {
                    readonly [Key in OptionalKeys<Fields>]?: ValueOf<Fields[Key]>;
                  }
                : never;

/** The type of what a program may give: every key may be left out. */
export type InputOf<S> = S extends { kind: 'list'; item: infer Item }
  ? readonly InputOf<Item>[]
  : S extends { kind: 'variant'; variants: infer Variants }
    ? { [Type in keyof Variants]: { readonly type: Type } & InputOf<Variants[Type]> }[keyof Variants]
    : S extends { kind: 'group'; fields: infer Fields }
      ? { readonly [Key in keyof Fields]?: InputOf<Fields[Key]> | undefined }
      : ValueOf<S>;

export const integer = <const S extends Omit<IntegerSetting, 'kind'>>(setting: S) => ({
  kind: 'integer' as const,
  ...setting,
});
export const boolean = <const S extends Omit<BooleanSetting, 'kind'>>(setting: S) => ({
  kind: 'boolean' as const,
  ...setting,
});
export const text = <const S extends Omit<TextSetting, 'kind'>>(setting: S) => ({ kind: 'text' as const, ...setting });
export const choice = <const S extends Omit<ChoiceSetting, 'kind'>>(setting: S) => ({
  kind: 'choice' as const,
  ...setting,
});
export const list = <const S extends Omit<ListSetting, 'kind'>>(setting: S) => ({ kind: 'list' as const, ...setting });
export const map = <const S extends Omit<MapSetting, 'kind'>>(setting: S) => ({ kind: 'map' as const, ...setting });
export const variant = <const S extends Omit<VariantSetting, 'kind'>>(setting: S) => ({
  kind: 'variant' as const,
  ...setting,
});
export const group = <const S extends Omit<GroupSetting, 'kind'>>(setting: S) => ({
  kind: 'group' as const,
  ...setting,
});

/** What is allowed for a setting, in words, for messages and the reference. */
export function describeAllowed(setting: Setting): string {
  switch (setting.kind) {
    case 'integer':
      return `whole number from ${setting.minimum} to ${setting.maximum}`;
    case 'boolean':
      return 'true or false';
    case 'text':
      return setting.allowed;
    case 'choice':
      return setting.choices.length === 1 ? `only ${setting.choices[0]}` : `one of ${setting.choices.join(', ')}`;
    case 'list':
      return `list; each entry: ${describeAllowed(setting.item)}`;
    case 'map':
      return `names with ${describeAllowed(setting.item)}`;
    case 'variant':
      return `settings with type one of ${Object.keys(setting.variants).join(', ')}`;
    case 'group':
      return `settings ${Object.keys(setting.fields).join(', ')}`;
  }
}
