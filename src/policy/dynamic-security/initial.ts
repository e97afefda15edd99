/** What a new file holds: an administrator, and roles to begin with. */
import { randomInt } from 'node:crypto';
import { hashPassword } from '../passwords/password-hash.js';
import {
  type Acl,
  type AclType,
  type Contents,
  emptyContents,
  PRIORITY_DEFAULT,
  type Role,
  sortAcls,
} from './contents.js';
import { writeContents } from './file.js';
import { storedPassword } from './file-format.js';

const PASSWORD_LETTERS = 'ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789';
const PASSWORD_LENGTH = 24;

export function randomPassword(): string {
  return Array.from({ length: PASSWORD_LENGTH }, () => PASSWORD_LETTERS[randomInt(PASSWORD_LETTERS.length)]).join('');
}

const every: readonly AclType[] = [
  'publishClientSend',
  'publishClientReceive',
  'subscribePattern',
  'unsubscribePattern',
];
const reading: readonly AclType[] = ['publishClientReceive', 'subscribePattern', 'unsubscribePattern'];

const allow = (topic: string, types: readonly AclType[]): Acl[] =>
  types.map((acltype) => ({ acltype, topic, priority: 0, allow: true }));

const role = (rolename: string, textdescription: string, acls: readonly Acl[]): Role => ({
  rolename,
  textdescription,
  allowWildcardSubs: true,
  acls: sortAcls(acls),
});

/**
 * Makes a file with one administrator, as `dynsec init` does.
 * Errors  those of `node:fs`, EEXIST among them: what is there is never replaced.
 */
export async function makeAdministratorFile(path: string, username: string, password: string): Promise<void> {
  await writeContents(path, await administratorOnly(username, password));
}

async function administratorOnly(username: string, password: string): Promise<Contents> {
  const contents = emptyContents();
  const admin = role('admin', 'Administers dynamic security and reads all topics.', [
    ...allow('$CONTROL/dynamic-security/#', reading.concat('publishClientSend')),
    ...allow('$SYS/#', reading),
    ...allow('#', reading),
  ]);
  contents.roles.set(admin.rolename, admin);
  await addAdministrator(contents, username, password, ['admin']);
  return contents;
}

/** As a broker makes it that finds no file: the names of the roles are those of Mosquitto 2.1. */
export async function firstContents(password: string): Promise<Contents> {
  const contents = emptyContents();
  for (const made of [
    role('client', 'Publishes and reads all topics of applications.', allow('#', every)),
    role('dynsec-admin', 'Administers users, groups and roles.', allow('$CONTROL/dynamic-security/#', every)),
    role('super-admin', 'Administers everything there is below $CONTROL.', allow('$CONTROL/#', every)),
    role('sys-observe', 'Reads the topics below $SYS.', allow('$SYS/#', reading)),
    role('topic-observe', 'Reads all topics of applications.', allow('#', reading)),
  ])
    contents.roles.set(made.rolename, made);
  contents.groups.set('unauthenticated', {
    groupname: 'unauthenticated',
    textdescription: 'Its roles are those of clients without a user name, where a listener lets them in.',
    roles: [],
  });
  contents.anonymousGroup = 'unauthenticated';
  await addAdministrator(contents, 'admin', password, ['super-admin', 'sys-observe', 'topic-observe']);
  return contents;
}

async function addAdministrator(
  contents: Contents,
  username: string,
  password: string,
  roles: readonly string[],
): Promise<void> {
  const encoded = await hashPassword(password, 'sha512-pbkdf2');
  contents.users.set(username, {
    username,
    textname: 'Administrator',
    disabled: false,
    password: storedPassword(encoded, ''),
    roles: roles.map((rolename) => ({ rolename, priority: PRIORITY_DEFAULT })),
    groups: [],
  });
}
