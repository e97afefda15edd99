/** What commands have in common: reading their fields, and refusing with the words of Mosquitto's plugin. */
import type { Draft, Group, GroupLink, Role, RoleLink, User } from './contents.js';
import { sortRoleLinks } from './contents.js';
import { fieldOf, flagOf, isCleanText, isObject, type JsonObject, numberOf, textOf } from './fields.js';
import { linkPriority } from './file-format.js';

/** The text is the answer's `error`. */
export class CommandError extends Error {}

export interface CommandContext {
  readonly draft: Draft;
  /** Addresses of the clients connected now, by user name. */
  readonly addressesByUser: () => ReadonlyMap<string, readonly string[]>;
  /** How often the contents have changed since the start. */
  readonly changeIndex: number;
}

/** Returns the answer's `data`, if it has any. Errors: CommandError. */
export type Handler = (
  fields: Fields,
  context: CommandContext,
) => Record<string, unknown> | undefined | Promise<Record<string, unknown> | undefined>;

const kinds = {
  username: { utf8: 'Username', empty: 'Empty username' },
  groupname: { utf8: 'Group name', empty: 'Empty groupname' },
  rolename: { utf8: 'Role name', empty: 'Empty rolename' },
} as const;

export class Fields {
  constructor(readonly object: JsonObject) {}

  /** A name that has to be there. */
  name(field: keyof typeof kinds): string {
    const name = textOf(this.object, field);
    if (name === undefined) throw new CommandError(`Invalid/missing ${field}`);
    if (!isCleanText(name)) throw new CommandError(`${kinds[field].utf8} not valid UTF-8`);
    return name;
  }

  /** The name of something new. */
  newName(field: keyof typeof kinds): string {
    const name = this.name(field);
    if (name === '') throw new CommandError(kinds[field].empty);
    return name;
  }

  /** Undefined where it is left out; anything but text is refused. */
  optionalText(field: string, called: string = field): string | undefined {
    const value = fieldOf(this.object, field);
    if (value === undefined || typeof value === 'string') return value;
    throw new CommandError(`Invalid/missing ${called}`);
  }

  /** Undefined where there is no text: that changes nothing. */
  text(field: string): string | undefined {
    return textOf(this.object, field);
  }

  flag(field: string): boolean | undefined {
    const value = fieldOf(this.object, field);
    return typeof value === 'boolean' ? value : undefined;
  }

  list(field: string): readonly unknown[] | undefined {
    const value = fieldOf(this.object, field);
    return Array.isArray(value) ? value : undefined;
  }

  has(field: string): boolean {
    return fieldOf(this.object, field) !== undefined;
  }

  get priority(): number {
    return linkPriority(this.object);
  }

  /** `names` from `offset` on, `count` of them where it is not negative. */
  page<Item>(names: readonly Item[]): readonly Item[] {
    const offset = Math.max(0, numberOf(this.object, 'offset', 0));
    const count = numberOf(this.object, 'count', -1);
    return names.slice(offset, count < 0 ? undefined : offset + count);
  }

  get verbose(): boolean {
    return flagOf(this.object, 'verbose', false);
  }
}

/** The texts of a new thing. */
export function newTexts(fields: Fields): { textname?: string; textdescription?: string } {
  const textname = fields.optionalText('textname');
  const textdescription = fields.optionalText('textdescription');
  return {
    ...(textname === undefined ? {} : { textname }),
    ...(textdescription === undefined ? {} : { textdescription }),
  };
}

/** The texts that a change gives. */
export function changedTexts(fields: Fields): { textname?: string; textdescription?: string } {
  const textname = fields.text('textname');
  const textdescription = fields.text('textdescription');
  return {
    ...(textname === undefined ? {} : { textname }),
    ...(textdescription === undefined ? {} : { textdescription }),
  };
}

/** `roles` of a command; undefined where it has none. */
export function roleLinksOf(fields: Fields, draft: Draft, malformed: string): RoleLink[] | undefined {
  if (!fields.has('roles')) return undefined;
  const list = fields.list('roles');
  if (list === undefined) throw new CommandError(malformed);
  const links = new Map<string, RoleLink>();
  for (const entry of list) {
    const rolename = isObject(entry) ? textOf(entry, 'rolename') : undefined;
    if (rolename === undefined) throw new CommandError(malformed);
    if (draft.roles.get(rolename) === undefined) throw new CommandError('Role not found');
    if (!links.has(rolename)) links.set(rolename, { rolename, priority: linkPriority(entry as JsonObject) });
  }
  return sortRoleLinks([...links.values()]);
}

export const malformedRoles = "'roles' not an array or missing/invalid rolename";

export function userOf(draft: Draft, username: string): User {
  const user = draft.users.get(username);
  if (user === undefined) throw new CommandError('Client not found');
  return user;
}

export function groupOf(draft: Draft, groupname: string): Group {
  const group = draft.groups.get(groupname);
  if (group === undefined) throw new CommandError('Group not found');
  return group;
}

export function roleOf(draft: Draft, rolename: string, otherwise = 'Role not found'): Role {
  const role = draft.roles.get(rolename);
  if (role === undefined) throw new CommandError(otherwise);
  return role;
}

/** Puts the user in the place of the one before. */
export function putUser(draft: Draft, user: User): void {
  draft.users.set(user.username, user);
  draft.changed = true;
}

export function putGroup(draft: Draft, group: Group): void {
  draft.groups.set(group.groupname, group);
  draft.changed = true;
}

export function putRole(draft: Draft, role: Role): void {
  draft.roles.set(role.rolename, role);
  draft.changed = true;
}

export const withoutGroup = (links: readonly GroupLink[], groupname: string): GroupLink[] =>
  links.filter((link) => link.groupname !== groupname);

export const withoutRole = (links: readonly RoleLink[], rolename: string): RoleLink[] =>
  links.filter((link) => link.rolename !== rolename);
