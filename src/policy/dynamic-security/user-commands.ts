/** Commands on users, which the plugin calls clients. */
import { hashPassword } from '../passwords/password-hash.js';
import {
  type CommandContext,
  CommandError,
  changedTexts,
  type Fields,
  groupOf,
  type Handler,
  malformedRoles,
  newTexts,
  putUser,
  roleLinksOf,
  roleOf,
  userOf,
  withoutRole,
} from './command.js';
import {
  byName,
  type Draft,
  type GroupLink,
  type StoredPassword,
  sortGroupLinks,
  sortRoleLinks,
  type User,
} from './contents.js';
import { isCleanText, isObject, textOf } from './fields.js';
import { formatDescribed, formatLink, linkPriority, storedPassword } from './file-format.js';

const makePassword = async (password: string): Promise<StoredPassword> =>
  storedPassword(await hashPassword(password, 'sha512-pbkdf2'), '');

const createClient: Handler = async (fields, { draft }) => {
  const username = fields.newName('username');
  const password = fields.optionalText('password');
  const clientid = fields.optionalText('clientid', 'client id');
  if (clientid !== undefined && !isCleanText(clientid)) throw new CommandError('Client ID not valid UTF-8');
  const texts = newTexts(fields);
  if (draft.users.get(username) !== undefined) throw new CommandError('Client already exists');
  const roles = roleLinksOf(fields, draft, malformedRoles) ?? [];
  const groups: GroupLink[] = [];
  for (const entry of fields.list('groups') ?? []) {
    const groupname = isObject(entry) ? textOf(entry, 'groupname') : undefined;
    if (!isObject(entry) || groupname === undefined) continue;
    groupOf(draft, groupname);
    if (groups.some((link) => link.groupname === groupname)) throw new CommandError('Internal error');
    groups.push({ groupname, priority: linkPriority(entry) });
  }
  putUser(draft, {
    username,
    ...(clientid === undefined || clientid === '' ? {} : { clientid }),
    ...texts,
    disabled: false,
    roles,
    groups: sortGroupLinks(groups),
    // An empty password lets nobody in, as in Mosquitto.
    ...(password === undefined || password === '' ? {} : { password: await makePassword(password) }),
  });
  return undefined;
};

const deleteClient: Handler = (fields, { draft }) => {
  const { username } = userOf(draft, fields.name('username'));
  draft.users.delete(username);
  draft.changed = true;
  revoke(draft, username);
  return undefined;
};

/** Ends the connections of a user; what it may do is asked for again too. */
function revoke(draft: Draft, username: string): void {
  draft.revoked.add(username);
  draft.rightsChanged = true;
}

const disableClient: Handler = (fields, { draft }) => {
  const user = userOf(draft, fields.name('username'));
  putUser(draft, { ...user, disabled: true });
  revoke(draft, user.username);
  return undefined;
};

const enableClient: Handler = (fields, { draft }) => {
  putUser(draft, { ...userOf(draft, fields.name('username')), disabled: false });
  draft.rightsChanged = true;
  return undefined;
};

const withClientId = ({ clientid: _before, ...user }: User, clientid: string | undefined): User =>
  clientid === undefined || clientid === '' ? user : { ...user, clientid };

const setClientId: Handler = (fields, { draft }) => {
  const username = fields.name('username');
  const clientid = fields.optionalText('clientid', 'client ID');
  if (clientid !== undefined && !isCleanText(clientid)) throw new CommandError('Client ID not valid UTF-8');
  putUser(draft, withClientId(userOf(draft, username), clientid));
  revoke(draft, username);
  return undefined;
};

const setClientPassword: Handler = async (fields, { draft }) => {
  const username = fields.name('username');
  const password = fields.text('password');
  if (password === undefined) throw new CommandError('Invalid/missing password');
  if (password === '') throw new CommandError('Empty password is not allowed');
  userOf(draft, username);
  const made = await makePassword(password);
  putUser(draft, { ...userOf(draft, username), password: made });
  revoke(draft, username);
  return undefined;
};

const modifyClient: Handler = async (fields, { draft }) => {
  const username = fields.name('username');
  const user = userOf(draft, username);
  const clientid = fields.text('clientid');
  if (clientid !== undefined && !isCleanText(clientid)) throw new CommandError('Client ID not valid UTF-8');
  const password = fields.text('password');
  const roles = roleLinksOf(fields, draft, malformedRoles);
  const groups = groupLinksOf(fields, draft);
  const made = password === undefined || password === '' ? undefined : await makePassword(password);
  putUser(draft, {
    ...(clientid === undefined ? user : withClientId(user, clientid)),
    ...changedTexts(fields),
    ...(roles === undefined ? {} : { roles }),
    ...(groups === undefined ? {} : { groups }),
    ...(made === undefined ? {} : { password: made }),
  });
  if (made !== undefined || (clientid ?? user.clientid ?? '') !== (user.clientid ?? '')) revoke(draft, username);
  if (roles !== undefined || groups !== undefined) draft.rightsChanged = true;
  return undefined;
};

function groupLinksOf(fields: Fields, draft: Draft): GroupLink[] | undefined {
  const list = fields.list('groups');
  if (list === undefined) return undefined;
  const links = new Map<string, GroupLink>();
  for (const entry of list) {
    if (!isObject(entry)) continue;
    const groupname = textOf(entry, 'groupname');
    if (groupname === undefined) throw new CommandError("'groups' contains an object with an invalid 'groupname'");
    if (draft.groups.get(groupname) === undefined)
      throw new CommandError("'groups' contains an object with a 'groupname' that does not exist");
    if (!links.has(groupname)) links.set(groupname, { groupname, priority: linkPriority(entry) });
  }
  return sortGroupLinks([...links.values()]);
}

const getClient: Handler = (fields, context) => ({
  client: shown(userOf(context.draft, fields.name('username')), context.addressesByUser()),
});

function shown(user: User, addresses: ReturnType<CommandContext['addressesByUser']>): unknown {
  return {
    username: user.username,
    ...(user.clientid === undefined ? {} : { clientid: user.clientid }),
    ...formatDescribed(user),
    ...(user.disabled ? { disabled: true } : {}),
    roles: user.roles.map(formatLink),
    groups: user.groups.map(formatLink),
    connections: (addresses.get(user.username) ?? []).map((address) => ({ address })),
  };
}

const listClients: Handler = (fields, { draft, addressesByUser }) => {
  const users = [...draft.users.values()].sort((a, b) => byName(a.username, b.username));
  const page = fields.page(users);
  const addresses = fields.verbose ? addressesByUser() : undefined;
  return {
    totalCount: users.length,
    clients: page.map((user) => (addresses === undefined ? user.username : shown(user, addresses))),
  };
};

const addClientRole: Handler = (fields, { draft }) => {
  const username = fields.name('username');
  const rolename = fields.name('rolename');
  const user = userOf(draft, username);
  roleOf(draft, rolename);
  if (user.roles.some((link) => link.rolename === rolename)) throw new CommandError('Internal error');
  putUser(draft, { ...user, roles: sortRoleLinks([...user.roles, { rolename, priority: fields.priority }]) });
  draft.rightsChanged = true;
  return undefined;
};

const removeClientRole: Handler = (fields, { draft }) => {
  const username = fields.name('username');
  const rolename = fields.name('rolename');
  const user = userOf(draft, username);
  roleOf(draft, rolename);
  putUser(draft, { ...user, roles: withoutRole(user.roles, rolename) });
  draft.rightsChanged = true;
  return undefined;
};

export const userCommands: Readonly<Record<string, Handler>> = {
  createClient,
  deleteClient,
  enableClient,
  disableClient,
  getClient,
  listClients,
  modifyClient,
  setClientId,
  setClientPassword,
  addClientRole,
  removeClientRole,
};
