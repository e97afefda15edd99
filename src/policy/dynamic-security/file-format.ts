/**
 * The text of `dynamic-security.json`, as Mosquitto 2.0 and 2.1 write and read it.
 *
 *   defaultACLAccess  publishClientSend, publishClientReceive, subscribe, unsubscribe: true or false
 *   clients           username, clientid, textname, textdescription, disabled, roles [rolename, priority], and of the password
 *                     password, salt, iterations (PBKDF2 with HMAC-SHA-512, base64), or encoded_password (2.1)
 *   groups            groupname, textname, textdescription, roles, clients [username, priority]
 *   anonymousGroup    its name
 *   roles             rolename, textname, textdescription, allowwildcardsubs (2.1), acls [acltype, topic, priority, allow]
 *
 * PBKDF2 is written in the three fields, which both versions read. What cannot be understood is an error that names it, so that
 * writing never loses what was there.
 */
import { parsePasswordHash } from '../passwords/password-hash.js';
import {
  ACL_PRIORITY_DEFAULT,
  type Acl,
  type AclType,
  accessTypes,
  aclTypes,
  byName,
  type Contents,
  type Draft,
  emptyContents,
  type Group,
  type GroupLink,
  PRIORITY_DEFAULT,
  priorityWithin,
  type Role,
  type RoleLink,
  type StoredPassword,
  sortAcls,
  sortGroupLinks,
  sortRoleLinks,
  type User,
} from './contents.js';
import { fieldOf, flagOf, isObject, type JsonObject, numberOf, textOf } from './fields.js';

/** Errors  Error in words, without the path. */
export function parseContents(text: string): Contents {
  let tree: unknown;
  try {
    tree = JSON.parse(text);
  } catch (error) {
    // What stands around the fault is left out: it may be part of a password.
    throw new Error(`is not valid JSON: ${(error as Error).message.replace(/, (?:\.\.\.)?"[\s\S]*$/, '')}`);
  }
  if (!isObject(tree)) throw new Error('is not a JSON object');
  const contents = emptyContents();
  const access = fieldOf(tree, 'defaultACLAccess');
  if (access !== undefined) {
    if (!isObject(access)) throw new Error('defaultACLAccess is no object');
    const { defaultAccess } = contents;
    contents.defaultAccess = Object.fromEntries(
      accessTypes.map((type) => [type, flagOf(access, type, defaultAccess[type])]),
    ) as Record<(typeof accessTypes)[number], boolean>;
  }
  for (const entry of listOf(tree, 'roles', '')) {
    const role = parseRole(entry);
    add(contents.roles, role.rolename, role, 'role');
  }
  for (const entry of listOf(tree, 'clients', '')) {
    const user = parseUser(entry);
    add(contents.users, user.username, user, 'client');
  }
  const links = new Map<string, GroupLink[]>();
  for (const entry of listOf(tree, 'groups', '')) {
    const group = parseGroup(entry, links);
    add(contents.groups, group.groupname, group, 'group');
  }
  for (const [username, groups] of links) {
    const user = contents.users.get(username);
    if (user !== undefined) contents.users.set(username, { ...user, groups: sortGroupLinks(groups) });
  }
  const anonymousGroup = textOf(tree, 'anonymousGroup');
  if (anonymousGroup !== undefined && contents.groups.has(anonymousGroup)) contents.anonymousGroup = anonymousGroup;
  return contents;
}

function add<Entry>(map: Map<string, Entry>, name: string, entry: Entry, what: string): void {
  if (map.has(name)) throw new Error(`${what} ${JSON.stringify(name)} is there twice`);
  map.set(name, entry);
}

function listOf(object: JsonObject, name: string, of: string): readonly JsonObject[] {
  const value = fieldOf(object, name);
  if (value === undefined || value === null) return [];
  const where = `${of}${name}`;
  if (!Array.isArray(value)) throw new Error(`${where} is no list`);
  const wrong = value.findIndex((entry) => !isObject(entry));
  if (wrong >= 0) throw new Error(`${where}[${wrong}] is no object`);
  return value;
}

function nameOf(object: JsonObject, name: string, what: string): string {
  const value = textOf(object, name);
  if (value === undefined) throw new Error(`a ${what} has no ${name}`);
  return value;
}

/** The texts beside the name. */
function describedBy(object: JsonObject): { textname?: string; textdescription?: string } {
  const textname = textOf(object, 'textname');
  const textdescription = textOf(object, 'textdescription');
  return {
    ...(textname === undefined ? {} : { textname }),
    ...(textdescription === undefined ? {} : { textdescription }),
  };
}

function parseRole(entry: JsonObject): Role {
  const rolename = nameOf(entry, 'rolename', 'role');
  const of = `role ${JSON.stringify(rolename)}: `;
  const acls = listOf(entry, 'acls', of).map((acl) => {
    const parsed = parseAcl(acl);
    if (parsed === undefined) throw new Error(`${of}an entry of acls has no topic, or an acltype that is not known`);
    return parsed;
  });
  return {
    rolename,
    ...describedBy(entry),
    allowWildcardSubs: flagOf(entry, 'allowwildcardsubs', true),
    acls: sortAcls(withoutRepeats(acls)),
  };
}

export function aclTypeOf(text: string): AclType | undefined {
  const wanted = text.toLowerCase();
  return aclTypes.find((type) => type.toLowerCase() === wanted);
}

/** Undefined when it lacks something. */
export function parseAcl(entry: JsonObject): Acl | undefined {
  const acltype = aclTypeOf(textOf(entry, 'acltype') ?? '');
  const topic = textOf(entry, 'topic');
  if (acltype === undefined || topic === undefined || topic === '') return undefined;
  return {
    acltype,
    topic,
    priority: priorityWithin(numberOf(entry, 'priority', ACL_PRIORITY_DEFAULT)),
    allow: flagOf(entry, 'allow', false),
  };
}

/** Of entries with one type and topic the first counts. */
export function withoutRepeats(acls: readonly Acl[]): Acl[] {
  const seen = new Set<string>();
  return acls.filter(({ acltype, topic }) => {
    const key = `${acltype} ${topic}`;
    return !seen.has(key) && seen.add(key);
  });
}

function parseRoleLinks(object: JsonObject, of: string): RoleLink[] {
  const links = new Map<string, RoleLink>();
  for (const entry of listOf(object, 'roles', of)) {
    const rolename = nameOf(entry, 'rolename', `${of}a role`);
    if (!links.has(rolename)) links.set(rolename, { rolename, priority: linkPriority(entry) });
  }
  return sortRoleLinks([...links.values()]);
}

export const linkPriority = (entry: JsonObject): number =>
  priorityWithin(numberOf(entry, 'priority', PRIORITY_DEFAULT));

function parseUser(entry: JsonObject): User {
  const username = nameOf(entry, 'username', 'client');
  const of = `client ${JSON.stringify(username)}: `;
  const clientid = textOf(entry, 'clientid');
  const password = parsePassword(entry, of);
  return {
    username,
    ...(clientid === undefined || clientid === '' ? {} : { clientid }),
    ...describedBy(entry),
    disabled: flagOf(entry, 'disabled', false),
    roles: parseRoleLinks(entry, of),
    groups: [],
    ...(password === undefined ? {} : { password }),
  };
}

function parsePassword(entry: JsonObject, of: string): StoredPassword | undefined {
  const encoded = textOf(entry, 'encoded_password');
  if (encoded !== undefined) return storedPassword(encoded, of);
  const password = textOf(entry, 'password');
  const salt = textOf(entry, 'salt');
  const iterations = numberOf(entry, 'iterations', 0);
  if (password === undefined && salt === undefined) return undefined;
  return storedPassword(`$7$${iterations}$${salt ?? ''}$${password ?? ''}`, of);
}

/** Errors  Error that says whose it is, and never what it is. */
export function storedPassword(encoded: string, of: string): StoredPassword {
  const hash = parsePasswordHash(encoded);
  if (hash === undefined) throw new Error(`${of}its password is in no known format`);
  return { encoded, hash };
}

function parseGroup(entry: JsonObject, links: Map<string, GroupLink[]>): Group {
  const groupname = nameOf(entry, 'groupname', 'group');
  const of = `group ${JSON.stringify(groupname)}: `;
  for (const member of listOf(entry, 'clients', of)) {
    const username = nameOf(member, 'username', `${of}a client`);
    const list = links.get(username) ?? [];
    links.set(username, list);
    if (!list.some((link) => link.groupname === groupname)) list.push({ groupname, priority: linkPriority(member) });
  }
  return { groupname, ...describedBy(entry), roles: parseRoleLinks(entry, of) };
}

/**
 * What would be in the file after `draft`, piece by piece, so that many users need not hold anybody up: each user, group and role is a
 * line of its own.
 */
export function* contentsPieces(draft: Draft): Generator<string> {
  const users = [...draft.users.values()].sort((a, b) => byName(a.username, b.username));
  const groups = [...draft.groups.values()].sort((a, b) => byName(a.groupname, b.groupname));
  const roles = [...draft.roles.values()].sort((a, b) => byName(a.rolename, b.rolename));
  yield `{\n"defaultACLAccess": ${JSON.stringify(draft.defaultAccess)},\n"clients": `;
  yield* list(users, (user) => [JSON.stringify(formatUser(user))]);
  yield ',\n"groups": ';
  const members = membersByGroup(users);
  yield* list(groups, (group) => groupPieces(group, members.get(group.groupname) ?? []));
  if (draft.anonymousGroup !== undefined) yield `,\n"anonymousGroup": ${JSON.stringify(draft.anonymousGroup)}`;
  yield ',\n"roles": ';
  yield* list(roles, (role) => [JSON.stringify(formatRole(role))]);
  yield '\n}\n';
}

export const formatContents = (draft: Draft): string => [...contentsPieces(draft)].join('');

function* list<Entry>(entries: readonly Entry[], pieces: (entry: Entry) => Iterable<string>): Generator<string> {
  for (const [index, entry] of entries.entries()) {
    yield index === 0 ? '[\n' : ',\n';
    yield* pieces(entry);
  }
  yield entries.length === 0 ? '[]' : '\n]';
}

function* groupPieces(group: Group, members: readonly MemberLink[]): Generator<string> {
  const { groupname, roles } = group;
  const head = JSON.stringify({ groupname, ...formatDescribed(group), roles: roles.map(formatLink) });
  yield `${head.slice(0, -1)},"clients":[`;
  for (const [index, member] of members.entries())
    yield `${index === 0 ? '' : ','}${JSON.stringify(formatLink(member))}`;
  yield ']}';
}

interface MemberLink {
  readonly username: string;
  readonly priority: number;
}

export function membersByGroup(users: Iterable<User>): Map<string, MemberLink[]> {
  const members = new Map<string, MemberLink[]>();
  for (const { username, groups } of users)
    for (const { groupname, priority } of groups) {
      const list = members.get(groupname);
      if (list === undefined) members.set(groupname, [{ username, priority }]);
      else list.push({ username, priority });
    }
  return members;
}

/** As it stands in files and answers: the usual priority is left out. */
export function formatLink<Link extends { readonly priority: number }>(link: Link): unknown {
  const { priority, ...name } = link;
  return priority === PRIORITY_DEFAULT ? name : { ...name, priority };
}

export function formatDescribed({ textname, textdescription }: { textname?: string; textdescription?: string }) {
  return {
    ...(textname === undefined ? {} : { textname }),
    ...(textdescription === undefined ? {} : { textdescription }),
  };
}

export function formatRole(role: Role): unknown {
  return {
    rolename: role.rolename,
    ...formatDescribed(role),
    allowwildcardsubs: role.allowWildcardSubs,
    acls: role.acls.map(({ acltype, topic, priority, allow }) => ({ acltype, topic, priority, allow })),
  };
}

function formatUser(user: User): unknown {
  return {
    username: user.username,
    ...(user.clientid === undefined ? {} : { clientid: user.clientid }),
    ...formatDescribed(user),
    ...(user.disabled ? { disabled: true } : {}),
    roles: user.roles.map(formatLink),
    ...(user.password === undefined ? {} : formatPassword(user.password.encoded)),
  };
}

function formatPassword(encoded: string): object {
  const parts = /^\$7\$(\d+)\$([^$]+)\$([^$]+)$/.exec(encoded);
  if (parts === null) return { encoded_password: encoded };
  const [, iterations, salt, password] = parts;
  return { password, salt, iterations: Number(iterations) };
}
