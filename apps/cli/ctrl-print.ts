/** Answers of dynamic security as lines, in the shape of mosquitto_ctrl. What the broker sends is text to show, nothing more. */
type Data = Record<string, unknown>;

/** Control characters of names would reach the terminal. */
const shown = (value: unknown): string =>
  String(value ?? '').replace(/[\u0000-\u001f\u007f-\u009f]/g, (character) => JSON.stringify(character).slice(1, -1));

const objectOf = (value: unknown): Data => (typeof value === 'object' && value !== null ? (value as Data) : {});
const listOf = (value: unknown): Data[] => (Array.isArray(value) ? value.map(objectOf) : []);

const PRIORITY_DEFAULT = -1;
const withPriority = (name: unknown, priority: unknown) =>
  `${shown(name)} (priority: ${shown(priority ?? PRIORITY_DEFAULT)})`;

/** `Title:   first`, and the others below it. */
function block(title: string, width: number, lines: readonly string[]): string[] {
  return lines.map((line, index) => `${(index === 0 ? title : '').padEnd(width)}${line}`);
}

export function listedNames(data: Data, what: string): string[] {
  const names = data[what];
  return Array.isArray(names) ? names.map(shown) : [];
}

export function printAccess(data: Data): string[] {
  return listOf(data.acls).map(
    ({ acltype, allow }) => `${shown(acltype).padEnd(20)} : ${allow === true ? 'allow' : 'deny'}`,
  );
}

export function printAnonymousGroup(data: Data): string[] {
  return [shown(objectOf(data.group).groupname)];
}

export function printClient(data: Data): string[] {
  const client = objectOf(data.client);
  const width = 10;
  return [
    `Username: ${shown(client.username)}`,
    `Clientid: ${shown(client.clientid)}`.trimEnd(),
    ...(client.disabled === true ? ['Disabled: true'] : []),
    ...block(
      'Roles:',
      width,
      listOf(client.roles).map(({ rolename, priority }) => withPriority(rolename, priority)),
    ),
    ...block(
      'Groups:',
      width,
      listOf(client.groups).map(({ groupname, priority }) => withPriority(groupname, priority)),
    ),
  ];
}

export function printGroup(data: Data): string[] {
  const group = objectOf(data.group);
  const width = 11;
  return [
    `Groupname: ${shown(group.groupname)}`,
    ...block(
      'Roles:',
      width,
      listOf(group.roles).map(({ rolename, priority }) => withPriority(rolename, priority)),
    ),
    ...block(
      'Clients:',
      width,
      listOf(group.clients).map(({ username }) => shown(username)),
    ),
  ];
}

export function printRole(data: Data): string[] {
  const role = objectOf(data.role);
  const lines = listOf(role.acls).map(
    ({ acltype, topic, allow, priority }) =>
      `${shown(acltype).padEnd(20)} : ${(allow === true ? 'allow' : 'deny').padEnd(5)} : ${shown(topic)} (priority: ${shown(priority)})`,
  );
  return [`Rolename: ${shown(role.rolename)}`, ...block('ACLs:', 10, lines)];
}
