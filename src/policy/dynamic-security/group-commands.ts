/** Commands on groups, and which of them clients without a user name are in. */
import {
  CommandError,
  changedTexts,
  type Fields,
  groupOf,
  type Handler,
  malformedRoles,
  newTexts,
  putGroup,
  putUser,
  roleLinksOf,
  roleOf,
  userOf,
  withoutGroup,
  withoutRole,
} from './command.js';
import { byName, type Draft, type Group, sortGroupLinks, sortRoleLinks } from './contents.js';
import { isObject, textOf } from './fields.js';
import { formatDescribed, formatLink, linkPriority, membersByGroup } from './file-format.js';

const createGroup: Handler = (fields, { draft }) => {
  const groupname = fields.newName('groupname');
  const texts = newTexts(fields);
  if (draft.groups.get(groupname) !== undefined) throw new CommandError('Group already exists');
  putGroup(draft, { groupname, ...texts, roles: roleLinksOf(fields, draft, 'Internal error') ?? [] });
  return undefined;
};

const deleteGroup: Handler = (fields, { draft }) => {
  const { groupname } = groupOf(draft, fields.name('groupname'));
  if (draft.anonymousGroup === groupname) throw new CommandError('Deleting the anonymous group is forbidden');
  removeMembers(draft, groupname);
  draft.groups.delete(groupname);
  draft.changed = true;
  draft.rightsChanged = true;
  return undefined;
};

function removeMembers(draft: Draft, groupname: string): void {
  for (const user of [...draft.users.values()])
    if (user.groups.some((link) => link.groupname === groupname))
      putUser(draft, { ...user, groups: withoutGroup(user.groups, groupname) });
}

const modifyGroup: Handler = (fields, { draft }) => {
  const group = groupOf(draft, fields.name('groupname'));
  const { groupname } = group;
  const roles = roleLinksOf(fields, draft, malformedRoles);
  const members = membersOf(fields, draft);
  if (members !== undefined) {
    removeMembers(draft, groupname);
    for (const [username, priority] of members) {
      const user = userOf(draft, username);
      putUser(draft, { ...user, groups: sortGroupLinks([...user.groups, { groupname, priority }]) });
    }
  }
  putGroup(draft, { ...group, ...changedTexts(fields), ...(roles === undefined ? {} : { roles }) });
  if (roles !== undefined || members !== undefined) draft.rightsChanged = true;
  return undefined;
};

function membersOf(fields: Fields, draft: Draft): Map<string, number> | undefined {
  const list = fields.list('clients');
  if (list === undefined) return undefined;
  const members = new Map<string, number>();
  for (const entry of list) {
    if (!isObject(entry)) continue;
    const username = textOf(entry, 'username');
    if (username === undefined) throw new CommandError("'clients' contains an object with an invalid 'username'");
    if (draft.users.get(username) === undefined)
      throw new CommandError("'clients' contains an object with a 'username' that does not exist");
    if (!members.has(username)) members.set(username, linkPriority(entry));
  }
  return members;
}

function shown(group: Group, members: readonly { readonly username: string }[]): unknown {
  return {
    groupname: group.groupname,
    ...formatDescribed(group),
    clients: members.map(({ username }) => ({ username })).sort((a, b) => byName(a.username, b.username)),
    roles: group.roles.map(formatLink),
  };
}

const getGroup: Handler = (fields, { draft }) => {
  const group = groupOf(draft, fields.name('groupname'));
  return { group: shown(group, membersByGroup(draft.users.values()).get(group.groupname) ?? []) };
};

const listGroups: Handler = (fields, { draft }) => {
  const groups = [...draft.groups.values()].sort((a, b) => byName(a.groupname, b.groupname));
  const members = fields.verbose ? membersByGroup(draft.users.values()) : undefined;
  return {
    totalCount: groups.length,
    groups: fields
      .page(groups)
      .map((group) => (members === undefined ? group.groupname : shown(group, members.get(group.groupname) ?? []))),
  };
};

const addGroupClient: Handler = (fields, { draft }) => {
  const username = fields.name('username');
  const groupname = fields.name('groupname');
  const user = userOf(draft, username);
  groupOf(draft, groupname);
  if (user.groups.some((link) => link.groupname === groupname))
    throw new CommandError('Client is already in this group');
  putUser(draft, { ...user, groups: sortGroupLinks([...user.groups, { groupname, priority: fields.priority }]) });
  draft.rightsChanged = true;
  return undefined;
};

const removeGroupClient: Handler = (fields, { draft }) => {
  const username = fields.name('username');
  const groupname = fields.name('groupname');
  const user = userOf(draft, username);
  groupOf(draft, groupname);
  putUser(draft, { ...user, groups: withoutGroup(user.groups, groupname) });
  draft.rightsChanged = true;
  return undefined;
};

const addGroupRole: Handler = (fields, { draft }) => {
  const groupname = fields.name('groupname');
  const rolename = fields.name('rolename');
  const group = groupOf(draft, groupname);
  roleOf(draft, rolename);
  if (group.roles.some((link) => link.rolename === rolename)) throw new CommandError('Group is already in this role');
  putGroup(draft, { ...group, roles: sortRoleLinks([...group.roles, { rolename, priority: fields.priority }]) });
  draft.rightsChanged = true;
  return undefined;
};

const removeGroupRole: Handler = (fields, { draft }) => {
  const groupname = fields.name('groupname');
  const rolename = fields.name('rolename');
  const group = groupOf(draft, groupname);
  roleOf(draft, rolename);
  putGroup(draft, { ...group, roles: withoutRole(group.roles, rolename) });
  draft.rightsChanged = true;
  return undefined;
};

const setAnonymousGroup: Handler = (fields, { draft }) => {
  const { groupname } = groupOf(draft, fields.name('groupname'));
  draft.anonymousGroup = groupname;
  draft.changed = true;
  draft.rightsChanged = true;
  return undefined;
};

const getAnonymousGroup: Handler = (_fields, { draft }) => ({ group: { groupname: draft.anonymousGroup ?? '' } });

export const groupCommands: Readonly<Record<string, Handler>> = {
  createGroup,
  deleteGroup,
  getGroup,
  listGroups,
  modifyGroup,
  addGroupClient,
  removeGroupClient,
  addGroupRole,
  removeGroupRole,
  setAnonymousGroup,
  getAnonymousGroup,
};
