/** Commands on roles and their entries, on the default access, and the figures of it all. */
import { isValidTopicFilter } from '../../protocol/index.js';
import {
  CommandError,
  changedTexts,
  type Fields,
  type Handler,
  newTexts,
  putGroup,
  putRole,
  putUser,
  roleOf,
  withoutRole,
} from './command.js';
import { type Acl, type AclType, accessTypes, byName, sortAcls } from './contents.js';
import { flagOf, isCleanText, isObject, textOf } from './fields.js';
import { aclTypeOf, formatRole, parseAcl, withoutRepeats } from './file-format.js';

/** Entries that lack something are passed over, as by Mosquitto. */
function aclsOf(fields: Fields): Acl[] | undefined {
  const acls = fields.list('acls')?.flatMap((entry) => {
    const acl = isObject(entry) ? parseAcl(entry) : undefined;
    return acl === undefined ? [] : [acl];
  });
  return acls === undefined ? undefined : sortAcls(withoutRepeats(acls));
}

const createRole: Handler = (fields, { draft }) => {
  const rolename = fields.newName('rolename');
  const texts = newTexts(fields);
  if (fields.has('allowwildcardsubs') && fields.flag('allowwildcardsubs') === undefined)
    throw new CommandError('Invalid allowwildcardsubs');
  if (draft.roles.get(rolename) !== undefined) throw new CommandError('Role already exists');
  putRole(draft, {
    rolename,
    ...texts,
    allowWildcardSubs: fields.flag('allowwildcardsubs') ?? true,
    acls: aclsOf(fields) ?? [],
  });
  return undefined;
};

const deleteRole: Handler = (fields, { draft }) => {
  const { rolename } = roleOf(draft, fields.name('rolename'));
  const holds = ({ roles }: { readonly roles: readonly { readonly rolename: string }[] }) =>
    roles.some((link) => link.rolename === rolename);
  for (const user of [...draft.users.values()])
    if (holds(user)) putUser(draft, { ...user, roles: withoutRole(user.roles, rolename) });
  for (const group of [...draft.groups.values()])
    if (holds(group)) putGroup(draft, { ...group, roles: withoutRole(group.roles, rolename) });
  draft.roles.delete(rolename);
  draft.changed = true;
  draft.rightsChanged = true;
  return undefined;
};

const modifyRole: Handler = (fields, { draft }) => {
  const role = roleOf(draft, fields.name('rolename'), 'Role does not exist');
  const acls = aclsOf(fields);
  const allowWildcardSubs = fields.flag('allowwildcardsubs') ?? role.allowWildcardSubs;
  putRole(draft, { ...role, ...changedTexts(fields), allowWildcardSubs, ...(acls === undefined ? {} : { acls }) });
  if (acls !== undefined || allowWildcardSubs !== role.allowWildcardSubs) draft.rightsChanged = true;
  return undefined;
};

const getRole: Handler = (fields, { draft }) => ({ role: formatRole(roleOf(draft, fields.name('rolename'))) });

const listRoles: Handler = (fields, { draft }) => {
  const roles = [...draft.roles.values()].sort((a, b) => byName(a.rolename, b.rolename));
  return {
    totalCount: roles.length,
    roles: fields.page(roles).map((role) => (fields.verbose ? formatRole(role) : role.rolename)),
  };
};

function aclNamed(fields: Fields): { acltype: AclType; topic: string } {
  const text = fields.text('acltype');
  if (text === undefined) throw new CommandError('Invalid/missing acltype');
  const acltype = aclTypeOf(text);
  if (acltype === undefined) throw new CommandError('Unknown acltype');
  const topic = fields.text('topic');
  if (topic === undefined) throw new CommandError('Invalid/missing topic');
  if (!isCleanText(topic)) throw new CommandError('Topic not valid UTF-8');
  if (!isValidTopicFilter(topic)) throw new CommandError('Invalid ACL topic');
  return { acltype, topic };
}

const addRoleACL: Handler = (fields, { draft }) => {
  const role = roleOf(draft, fields.name('rolename'));
  const { acltype, topic } = aclNamed(fields);
  if (role.acls.some((acl) => acl.acltype === acltype && acl.topic === topic))
    throw new CommandError('ACL with this topic already exists');
  putRole(draft, { ...role, acls: sortAcls([...role.acls, parseAcl(fields.object)!]) });
  draft.rightsChanged = true;
  return undefined;
};

const removeRoleACL: Handler = (fields, { draft }) => {
  const role = roleOf(draft, fields.name('rolename'));
  const { acltype, topic } = aclNamed(fields);
  const acls = role.acls.filter((acl) => acl.acltype !== acltype || acl.topic !== topic);
  if (acls.length === role.acls.length) throw new CommandError('ACL not found');
  putRole(draft, { ...role, acls });
  draft.rightsChanged = true;
  return undefined;
};

const setDefaultACLAccess: Handler = (fields, { draft }) => {
  const list = fields.list('acls');
  if (list === undefined) throw new CommandError('Missing/invalid actions array');
  const access = { ...draft.defaultAccess };
  for (const entry of list) {
    if (!isObject(entry)) continue;
    const wanted = textOf(entry, 'acltype')?.toLowerCase();
    const type = accessTypes.find((name) => name.toLowerCase() === wanted);
    if (type !== undefined) access[type] = flagOf(entry, 'allow', access[type]);
  }
  draft.defaultAccess = access;
  draft.changed = true;
  draft.rightsChanged = true;
  return undefined;
};

const getDefaultACLAccess: Handler = (_fields, { draft }) => ({
  acls: accessTypes.map((acltype) => ({ acltype, allow: draft.defaultAccess[acltype] })),
});

const getDetails: Handler = (_fields, { draft, changeIndex }) => ({
  clientCount: draft.users.size,
  groupCount: draft.groups.size,
  roleCount: draft.roles.size,
  changeIndex,
});

export const roleCommands: Readonly<Record<string, Handler>> = {
  createRole,
  deleteRole,
  getRole,
  listRoles,
  modifyRole,
  addRoleACL,
  removeRoleACL,
  setDefaultACLAccess,
  getDefaultACLAccess,
  getDetails,
};
