/** The module dynsec of `dunlin ctrl`: each command with its arguments, what is sent for it and how its answer is printed. */
import { makeAdministratorFile } from '../../src/policy/index.js';
import { UsageError } from './client-tool/tool-options.js';
import { listedNames, printAccess, printAnonymousGroup, printClient, printGroup, printRole } from './ctrl-print.js';
import type { SecretInput } from './hidden-line.js';

type Request = Record<string, unknown>;

export interface DynsecCommand {
  readonly name: string;
  readonly usage: string;
  readonly help: string;
  /** What goes along with the command; undefined when the arguments are wrong. */
  request(args: readonly string[], secrets: SecretInput): Request | undefined | Promise<Request | undefined>;
  print(data: Record<string, unknown>): string[];
}

const nothing: DynsecCommand['print'] = () => [];

const aclTypes = [
  'publishClientSend',
  'publishClientReceive',
  'subscribeLiteral',
  'subscribePattern',
  'unsubscribeLiteral',
  'unsubscribePattern',
];
const accessTypes = ['publishClientSend', 'publishClientReceive', 'subscribe', 'unsubscribe'];

/** A command whose arguments are the fields named, in order, those with `?` last and optional. */
function plain(name: string, usage: string, help: string, fields: readonly string[], print = nothing): DynsecCommand {
  return { name, usage, help, request: (args) => fieldsOf(fields, args), print };
}

function fieldsOf(fields: readonly string[], args: readonly string[]): Request | undefined {
  const needed = fields.filter((field) => !field.endsWith('?')).length;
  if (args.length < needed || args.length > fields.length) return undefined;
  const request: Request = {};
  for (const [index, argument] of args.entries()) {
    const field = fields[index]!.replace('?', '');
    request[field] = field === 'priority' ? wholeNumber(argument, 'priority') : argument;
  }
  return request;
}

function wholeNumber(text: string, what: string): number {
  if (!/^-?\d{1,9}$/.test(text)) throw new UsageError(`The ${what} ${JSON.stringify(text)} is no whole number.`);
  return Number(text);
}

function listing(name: string, what: string): DynsecCommand {
  const [usage, help] = ['[COUNT [OFFSET]]', `lists all ${what}, or COUNT of them from OFFSET on`];
  const request = (args: readonly string[]) =>
    args.length > 2
      ? undefined
      : {
          ...(args[0] === undefined ? {} : { count: wholeNumber(args[0], 'count') }),
          ...(args[1] === undefined ? {} : { offset: wholeNumber(args[1], 'offset') }),
        };
  return { name, usage, help, request, print: (data) => listedNames(data, what) };
}

function permission(text: string | undefined): boolean {
  if (text === 'allow' || text === 'deny') return text === 'allow';
  throw new UsageError(`The access ${JSON.stringify(text ?? '')} is neither allow nor deny.`);
}

function known(text: string | undefined, types: readonly string[]): string {
  if (text !== undefined && types.includes(text)) return text;
  throw new UsageError(`The acltype ${JSON.stringify(text ?? '')} is none of ${types.join(', ')}.`);
}

const groups: readonly { readonly title: string; readonly commands: readonly DynsecCommand[] }[] = [
  {
    title: 'General',
    commands: [
      plain('getDefaultACLAccess', '', 'what holds where no role says anything', [], printAccess),
      {
        name: 'setDefaultACLAccess',
        usage: 'ACLTYPE allow|deny',
        help: `changes that; ACLTYPE is one of ${accessTypes.join(', ')}`,
        request: (args) =>
          args.length === 2
            ? { acls: [{ acltype: known(args[0], accessTypes), allow: permission(args[1]) }] }
            : undefined,
        print: nothing,
      },
      plain('getAnonymousGroup', '', 'the group of clients without a user name', [], printAnonymousGroup),
      plain('setAnonymousGroup', 'GROUP', 'changes that', ['groupname']),
    ],
  },
  {
    title: 'Clients',
    commands: [
      {
        name: 'createClient',
        usage: 'USERNAME [-c CLIENTID] [-p PASSWORD]',
        help: 'creates a user; asks for the password where none is given',
        request: createClient,
        print: nothing,
      },
      plain('deleteClient', 'USERNAME', 'deletes it and ends its connections', ['username']),
      {
        name: 'setClientPassword',
        usage: 'USERNAME [PASSWORD]',
        help: 'changes its password; asks for it where none is given',
        request: setClientPassword,
        print: nothing,
      },
      plain('setClientId', 'USERNAME [CLIENTID]', 'the only client identifier it may connect with; none for any', [
        'username',
        'clientid?',
      ]),
      plain('addClientRole', 'USERNAME ROLE [PRIORITY]', 'gives it a role; the highest priority counts first', [
        'username',
        'rolename',
        'priority?',
      ]),
      plain('removeClientRole', 'USERNAME ROLE', 'takes a role from it', ['username', 'rolename']),
      plain('getClient', 'USERNAME', 'prints what is known of it', ['username'], printClient),
      listing('listClients', 'clients'),
      plain('enableClient', 'USERNAME', 'lets it in again', ['username']),
      plain('disableClient', 'USERNAME', 'keeps it out and ends its connections', ['username']),
    ],
  },
  {
    title: 'Groups',
    commands: [
      plain('createGroup', 'GROUP', 'creates a group', ['groupname']),
      plain('deleteGroup', 'GROUP', 'deletes it; its clients stay', ['groupname']),
      plain('addGroupRole', 'GROUP ROLE [PRIORITY]', 'gives it a role; the highest priority counts first', [
        'groupname',
        'rolename',
        'priority?',
      ]),
      plain('removeGroupRole', 'GROUP ROLE', 'takes a role from it', ['groupname', 'rolename']),
      plain(
        'addGroupClient',
        'GROUP USERNAME [PRIORITY]',
        'adds a client; the priority orders the groups of that client',
        ['groupname', 'username', 'priority?'],
      ),
      plain('removeGroupClient', 'GROUP USERNAME', 'takes a client out of it', ['groupname', 'username']),
      plain('getGroup', 'GROUP', 'prints what is known of it', ['groupname'], printGroup),
      listing('listGroups', 'groups'),
    ],
  },
  {
    title: 'Roles',
    commands: [
      plain('createRole', 'ROLE', 'creates a role', ['rolename']),
      plain('deleteRole', 'ROLE', 'deletes it', ['rolename']),
      {
        name: 'addRoleACL',
        usage: 'ROLE ACLTYPE FILTER allow|deny [PRIORITY]',
        help: 'adds an entry; the highest priority counts first',
        request: (args) => {
          const [rolename, acltype, topic, access, priority] = args;
          if (args.length < 4 || args.length > 5) return undefined;
          return {
            rolename,
            acltype: known(acltype, aclTypes),
            topic,
            allow: permission(access),
            ...(priority === undefined ? {} : { priority: wholeNumber(priority, 'priority') }),
          };
        },
        print: nothing,
      },
      {
        name: 'removeRoleACL',
        usage: 'ROLE ACLTYPE FILTER',
        help: 'takes an entry out of it',
        // Whoever copies the line of addRoleACL leaves its end on.
        request: (args) =>
          args.length < 3 || args.length > 5
            ? undefined
            : { rolename: args[0], acltype: known(args[1], aclTypes), topic: args[2] },
        print: nothing,
      },
      plain('getRole', 'ROLE', 'prints what is known of it', ['rolename'], printRole),
      listing('listRoles', 'roles'),
    ],
  },
];

export function findDynsecCommand(name: string): DynsecCommand | undefined {
  return groups.flatMap(({ commands }) => commands).find((command) => command.name === name);
}

async function createClient(args: readonly string[], secrets: SecretInput): Promise<Request | undefined> {
  const [username, ...rest] = args;
  if (username === undefined || rest.length % 2 !== 0) return undefined;
  const request: Request = { username };
  for (let index = 0; index < rest.length; index += 2) {
    const [name, value] = rest.slice(index, index + 2);
    if (name === '-c' || name === '-i') request.clientid = value;
    else if (name === '-p') request.password = value;
    else return undefined;
  }
  if (request.password !== undefined) return request;
  const first = await secrets.ask(`New password for ${username} (empty: it cannot log in): `);
  if (first === undefined || first === '') return request;
  return { ...request, password: await again(secrets, username, first) };
}

async function setClientPassword(args: readonly string[], secrets: SecretInput): Promise<Request | undefined> {
  const [username, given] = args;
  if (username === undefined || args.length > 2) return undefined;
  return { username, password: given ?? (await newPassword(secrets, username)) };
}

async function newPassword(secrets: SecretInput, username: string): Promise<string> {
  const first = await secrets.ask(`New password for ${username}: `);
  if (first === undefined || first === '') throw new UsageError('The password is empty.');
  return again(secrets, username, first);
}

async function again(secrets: SecretInput, username: string, first: string): Promise<string> {
  if ((await secrets.ask(`Again, for ${username}: `)) !== first) throw new UsageError('The two passwords differ.');
  return first;
}

/** `init FILE USERNAME [PASSWORD]`, which needs no broker. */
export async function initialise(args: readonly string[], secrets: SecretInput): Promise<number> {
  const [file, username, given] = args;
  if (file === undefined || username === undefined || args.length > 3)
    throw new UsageError('Usage: dunlin ctrl dynsec init FILE USERNAME [PASSWORD]');
  if (username === '' || /[\u0000-\u001f\u007f-\u009f]/.test(username))
    throw new UsageError('The user name is empty or holds control characters.');
  if (given === '') throw new UsageError('The password is empty.');
  const password = given ?? (await newPassword(secrets, username));
  try {
    await makeAdministratorFile(file, username, password);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reason =
      code === 'EEXIST'
        ? 'there is such a file already; remove it or name another'
        : `it cannot be written (${message})`;
    process.stderr.write(`dynsec init: ${file}: ${reason}\n`);
    return 1;
  }
  process.stdout.write(`${file} was made with the user ${JSON.stringify(username)}.
It may administer users, groups and roles and read all topics, and publish to no others. For applications make users of their own:
   dunlin ctrl -u ${username} dynsec createClient USERNAME
   dunlin ctrl -u ${username} dynsec createRole ROLE
   dunlin ctrl -u ${username} dynsec addRoleACL ROLE publishClientSend FILTER allow
   dunlin ctrl -u ${username} dynsec addClientRole USERNAME ROLE
`);
  return 0;
}

export function dynsecHelp(): string {
  const line = (left: string, help: string) =>
    left.length > 50 ? `  ${left}\n  ${''.padEnd(50)} ${help}\n` : `  ${left.padEnd(50)} ${help}\n`;
  const parts = groups.map(
    ({ title, commands }) =>
      `\n${title}\n${commands.map(({ name, usage, help }) => line(`${name} ${usage}`.trimEnd(), help)).join('')}`,
  );
  return `dunlin ctrl [OPTIONS] dynsec COMMAND: users, groups and roles of a broker with dynamic security

A new file, without a broker
${line('init FILE USERNAME [PASSWORD]', 'makes it with an administrator; asks for the password where none is given')}${parts.join('')}
ACLTYPE of roles: ${aclTypes.slice(0, 3).join(', ')},
                  ${aclTypes.slice(3).join(', ')}
Passwords on the command line can be seen by others on this machine; those that are asked for cannot.
`;
}
