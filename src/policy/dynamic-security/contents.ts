/**
 * What the file of dynamic security holds, and drafts of changes to it.
 *
 * Entries never change: a change puts another in the place of one. Whoever reads sees what is saved; a `Draft` lies above it, is read
 * by the commands that follow in the same batch, and is either applied as a whole or dropped.
 */
import type { PasswordHash } from '../passwords/password-hash.js';

export const aclTypes = [
  'publishClientSend',
  'publishClientReceive',
  'subscribeLiteral',
  'subscribePattern',
  'unsubscribeLiteral',
  'unsubscribePattern',
] as const;
export type AclType = (typeof aclTypes)[number];

/** Kinds of access that have a default. */
export const accessTypes = ['publishClientSend', 'publishClientReceive', 'subscribe', 'unsubscribe'] as const;
export type AccessType = (typeof accessTypes)[number];
export type DefaultAccess = Readonly<Record<AccessType, boolean>>;

export const usualDefaultAccess: DefaultAccess = {
  publishClientSend: false,
  publishClientReceive: true,
  subscribe: false,
  unsubscribe: true,
};

/** Of roles and groups where none is given. */
export const PRIORITY_DEFAULT = -1;
/** Of the entries of a role where none is given. */
export const ACL_PRIORITY_DEFAULT = 0;
const PRIORITY_MAX = 100_000;

export const priorityWithin = (value: number): number =>
  Math.max(-PRIORITY_MAX, Math.min(PRIORITY_MAX, Math.trunc(value)));

export interface Acl {
  readonly acltype: AclType;
  readonly topic: string;
  readonly priority: number;
  readonly allow: boolean;
}

interface Described {
  readonly textname?: string;
  readonly textdescription?: string;
}

export interface Role extends Described {
  readonly rolename: string;
  /** false: whoever has the role may not subscribe with wildcards */
  readonly allowWildcardSubs: boolean;
  /** By type, and in the order in which they count. */
  readonly acls: readonly Acl[];
}

export interface RoleLink {
  readonly rolename: string;
  readonly priority: number;
}

export interface GroupLink {
  readonly groupname: string;
  readonly priority: number;
}

export interface Group extends Described {
  readonly groupname: string;
  readonly roles: readonly RoleLink[];
}

/** What is kept of a password: the text of Mosquitto's password files, and what that says. */
export interface StoredPassword {
  readonly encoded: string;
  readonly hash: PasswordHash;
}

/** A user; the plugin's word for it is client. */
export interface User extends Described {
  readonly username: string;
  /** The only Client Identifier it may connect with. */
  readonly clientid?: string;
  readonly disabled: boolean;
  /** Without one nobody can connect as this user. */
  readonly password?: StoredPassword;
  readonly roles: readonly RoleLink[];
  /** Groups hold no lists of users, so that a user in or out of a large group is one small change. */
  readonly groups: readonly GroupLink[];
}

/** Names in one order everywhere: that of their code units. */
export const byName = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

const byPriority = (a: number, b: number, names: () => number): number => (a === b ? names() : b - a);

export const sortRoleLinks = (links: readonly RoleLink[]): RoleLink[] =>
  [...links].sort((a, b) => byPriority(a.priority, b.priority, () => byName(a.rolename, b.rolename)));

export const sortGroupLinks = (links: readonly GroupLink[]): GroupLink[] =>
  [...links].sort((a, b) => byPriority(a.priority, b.priority, () => byName(a.groupname, b.groupname)));

/** Stable: of entries with one priority the earlier counts first. */
export const sortAcls = (acls: readonly Acl[]): Acl[] =>
  [...acls].sort(
    (a, b) => aclTypes.indexOf(a.acltype) - aclTypes.indexOf(b.acltype) || byPriority(a.priority, b.priority, () => 0),
  );

export interface Contents {
  readonly users: Map<string, User>;
  readonly groups: Map<string, Group>;
  readonly roles: Map<string, Role>;
  defaultAccess: DefaultAccess;
  anonymousGroup: string | undefined;
}

export const emptyContents = (): Contents => ({
  users: new Map(),
  groups: new Map(),
  roles: new Map(),
  defaultAccess: usualDefaultAccess,
  anonymousGroup: undefined,
});

/** Changes above a map that stays as it is until they are applied. */
export class Layer<Entry> {
  private readonly changes = new Map<string, Entry | undefined>();
  private added = 0;

  constructor(private readonly base: Map<string, Entry>) {}

  get size(): number {
    return this.base.size + this.added;
  }

  get(name: string): Entry | undefined {
    return this.changes.has(name) ? this.changes.get(name) : this.base.get(name);
  }

  set(name: string, entry: Entry): void {
    if (this.get(name) === undefined) this.added++;
    this.changes.set(name, entry);
  }

  delete(name: string): void {
    if (this.get(name) !== undefined) this.added--;
    this.changes.set(name, undefined);
  }

  *values(): Generator<Entry> {
    for (const [name, entry] of this.base) if (!this.changes.has(name)) yield entry;
    for (const entry of this.changes.values()) if (entry !== undefined) yield entry;
  }

  apply(): void {
    for (const [name, entry] of this.changes) {
      if (entry === undefined) this.base.delete(name);
      else this.base.set(name, entry);
    }
  }
}

export class Draft {
  readonly users: Layer<User>;
  readonly groups: Layer<Group>;
  readonly roles: Layer<Role>;
  defaultAccess: DefaultAccess;
  anonymousGroup: string | undefined;
  /** Whether there is anything to save. */
  changed = false;
  /** Whether somebody may do more or less than before. */
  rightsChanged = false;
  /** Users whose connections end. */
  readonly revoked = new Set<string>();

  constructor(private readonly contents: Contents) {
    this.users = new Layer(contents.users);
    this.groups = new Layer(contents.groups);
    this.roles = new Layer(contents.roles);
    this.defaultAccess = contents.defaultAccess;
    this.anonymousGroup = contents.anonymousGroup;
  }

  apply(): void {
    this.users.apply();
    this.groups.apply();
    this.roles.apply();
    this.contents.defaultAccess = this.defaultAccess;
    this.contents.anonymousGroup = this.anonymousGroup;
  }
}
