/**
 * What a directive of mosquitto.conf is, as data: where it may stand, what its value is, and what becomes of it here.
 *
 * Shape    The tables (`general-directives`, `listener-directives`, `bridge-directives`) hold one row for each directive, in the order
 *          of the manual page. The reader, the mapping, the messages and docs/mosquitto.md all read them.
 */

/** Sections of the manual page. */
export const sections = {
  general: 'General options',
  listeners: 'Listeners',
  tls: 'Certificate based TLS',
  psk: 'Pre-shared-key based TLS',
  bridges: 'Bridges',
  bridgeTls: 'TLS of bridges',
  other: 'Not in the manual page',
} as const;
export type Section = keyof typeof sections;

/**
 * Where a directive counts. `security`: for the listener above it where `per_listener_settings` is true, else for all of them.
 */
export type Scope = 'global' | 'listener' | 'security' | 'plugin' | 'bridge';

export type ValueKind = 'flag' | 'integer' | 'text' | 'path' | 'words';

/**
 * `honoured`   as in Mosquitto.
 * `differs`    in force, with a difference that `note` states.
 * `unneeded`   without effect here, for the reason in `note`; said at the start.
 * `refused`    the broker does not start with it, for the reason in `note`.
 */
export type Fate = 'honoured' | 'differs' | 'unneeded' | 'refused';

export interface DirectiveRow {
  /** A name that ends with `*` stands for all that begin so. */
  readonly name: string;
  readonly section: Section;
  readonly scope: Scope;
  readonly value: ValueKind;
  readonly fate: Fate;
  /** The setting it becomes; empty where there is none. */
  readonly becomes: string;
  /** Difference or reason, a sentence without its full stop. */
  readonly note: string;
  /** May be given more than once. */
  readonly repeats: boolean;
}

type Options = { readonly repeats?: true };

/** Makes the rows of one section. */
export function rowsOf(section: Section) {
  const row = (
    name: string,
    scope: Scope,
    value: ValueKind,
    fate: Fate,
    becomes: string,
    note: string,
    { repeats = false }: { readonly repeats?: boolean } = {},
  ): DirectiveRow => ({ name, section, scope, value, fate, becomes, note, repeats });
  return {
    honoured: (name: string, scope: Scope, value: ValueKind, becomes: string, options: Options = {}) =>
      row(name, scope, value, 'honoured', becomes, '', options),
    differs: (name: string, scope: Scope, value: ValueKind, becomes: string, note: string, options: Options = {}) =>
      row(name, scope, value, 'differs', becomes, note, options),
    unneeded: (name: string, scope: Scope, value: ValueKind, note: string, options: Options = {}) =>
      row(name, scope, value, 'unneeded', '', note, options),
    refused: (name: string, scope: Scope, value: ValueKind, note: string, options: Options = {}) =>
      row(name, scope, value, 'refused', '', note, options),
  };
}
