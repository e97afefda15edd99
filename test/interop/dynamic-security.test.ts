/**
 * Dynamic security beside Debian's mosquitto with its plugin: the same commands to both brokers and with both tools, the same answers
 * and the same output; and files that one of them wrote, read by the other.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { MqttClient } from '../../src/client/index.js';
import { findProgram, type Mosquitto, startMosquitto } from '../../src/client/mosquitto.test.helper.js';
import { type Broker, createBroker } from '../../src/index.js';
import { noteLeftOut, root, within } from './support.js';

const NAME = 'test/interop/dynamic-security';
const mosquitto = findProgram('mosquitto', NAME);
const tool = findProgram('mosquitto_ctrl', NAME);
const plugin = ['/usr/lib', '/usr/lib64', '/usr/local/lib']
  .filter((folder) => existsSync(folder))
  .flatMap((folder) => [folder, ...readdirSync(folder).map((name) => join(folder, name))])
  .map((folder) => join(folder, 'mosquitto_dynamic_security.so'))
  .find((path) => existsSync(path));
if (plugin === undefined) noteLeftOut(`${NAME}: mosquitto_dynamic_security.so`);

const dunlin = join(root, 'bin', 'dunlin');
const PASSWORD = 'administration';

interface Ran {
  readonly status: number | null;
  readonly output: string;
  readonly errors: string;
}

async function run(program: string, args: readonly string[], input = ''): Promise<Ran> {
  const child = spawn(program, args);
  const texts = { output: '', errors: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    texts.output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    texts.errors += text;
  });
  child.stdin.on('error', () => {}); // it may end without reading
  child.stdin.end(input);
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  return { status: await within(ended, `${program} ${args.join(' ')}`), ...texts };
}

const ourTool = (args: readonly string[], input?: string) => run(process.execPath, [dunlin, 'ctrl', ...args], input);
const theirTool = (args: readonly string[], input?: string) => run(tool!, args, input);
type Tool = typeof ourTool;

async function startDunlin(file: string): Promise<Broker> {
  const broker = createBroker({
    config: {
      listeners: [{ name: 'tcp', host: '127.0.0.1', port: 0, allowAnonymous: false }],
      dynamicSecurity: { file },
      sys: { intervalSeconds: 0 },
      protection: { overload: { eventLoopDelayMsMax: 0 } },
    },
  });
  await broker.start();
  return broker;
}

const startTheirs = (file: string): Promise<Mosquitto> =>
  startMosquitto(mosquitto!, (port, directory) => {
    copyFileSync(file, join(directory, 'users.json'));
    return [
      `listener ${port} 127.0.0.1`,
      'allow_anonymous false',
      `plugin ${plugin}`,
      `plugin_opt_config_file ${join(directory, 'users.json')}`,
    ];
  });

/** What a client that sends commands gets for them. */
class Asker {
  private resolve: (text: string) => void = () => {};

  private constructor(private readonly client: MqttClient) {}

  static async connect(port: number): Promise<Asker> {
    let asker: Asker | undefined;
    const client = new MqttClient(
      {
        target: { transport: 'tcp', host: '127.0.0.1', port },
        protocolVersion: 5,
        clientId: 'asker',
        cleanStart: true,
        keepAlive: 60,
        username: 'admin',
        password: Buffer.from(PASSWORD),
      },
      { onMessage: ({ payload }) => asker?.resolve(Buffer.from(payload).toString()) },
    );
    asker = new Asker(client);
    await client.connect();
    const topicFilter = '$CONTROL/dynamic-security/v1/response';
    await client.subscribe([{ topicFilter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 }]);
    return asker;
  }

  async send(payload: string): Promise<unknown> {
    const answer = new Promise<string>((resolve) => {
      this.resolve = resolve;
    });
    const acknowledged = this.client.publish('$CONTROL/dynamic-security/v1', Buffer.from(payload), { qos: 1 });
    const { reasonCode } = await acknowledged.catch((error: Error) => assert.fail(`${payload}: ${error.message}`));
    assert.equal(reasonCode, 0);
    return JSON.parse(await within(answer, `the answer to ${payload}`), (key, value) =>
      // of 2.1 and later
      key === 'connections' || key === 'allowwildcardsubs' ? undefined : value,
    );
  }

  disconnect(): Promise<void> {
    return this.client.disconnect();
  }
}

const acl = (acltype: string, topic: string, more: object = {}) => ({ acltype, topic, ...more });
const role = { rolename: 'r1' };
const user = { username: 'c1' };
const group = { groupname: 'g1' };

/** By command, what goes along with it. Left out is where 2.1 answers differently from Debian's 2.0: empty names, and lists in part wrong. */
const commands: readonly (readonly [string, ...object[]])[] = [
  ['nope', {}, { correlationData: 'x' }],
  ['getDefaultACLAccess', { correlationData: 7 }, { correlationData: 'abc' }],
  [
    'setDefaultACLAccess',
    {},
    { acls: [] },
    { acls: [{ acltype: 'nope', allow: true }] },
    { acls: [{ acltype: 'unsubscribe' }] },
    { acls: [{ acltype: 'unsubscribe', allow: false }] },
  ],
  ['getDefaultACLAccess', {}],
  [
    'createClient',
    {},
    { username: 5 },
    { username: 'a\u0001b', password: 'x' },
    { ...user, password: 5 },
    { ...user, clientid: 5 },
    { ...user, textname: 5 },
    { ...user, textdescription: 5 },
    { ...user, roles: 5 },
    { ...user, roles: [{ rolename: 'nope' }] },
    { ...user, roles: [{ x: 1 }] },
    { ...user, roles: ['admin'] },
    { ...user, groups: [{ groupname: 'nope' }] },
    {
      ...user,
      password: 'pw',
      textname: 'tn',
      textdescription: 'td',
      clientid: 'cid',
      roles: [{ rolename: 'admin', priority: 5 }],
    },
    user,
    { username: 'c0' },
  ],
  [
    'listClients',
    {},
    { verbose: true },
    { count: 1, offset: 1 },
    { offset: 50 },
    { offset: -1, count: 'x', verbose: 'y' },
  ],
  ['getClient', { ...user, correlationData: 'k' }, {}, { username: 'nope' }],
  ['disableClient', user, { username: 'nope' }, {}],
  ['getClient', user],
  ['enableClient', user, {}],
  [
    'setClientId',
    { ...user, clientid: '' },
    { ...user, clientid: 'new' },
    { ...user, clientid: 5 },
    user,
    { username: 'nope' },
  ],
  [
    'setClientPassword',
    user,
    { ...user, password: '' },
    { username: 'nope', password: 'x' },
    { ...user, password: 'x' },
  ],
  [
    'createRole',
    {
      ...role,
      textname: 'tn',
      acls: [
        acl('publishClientSend', 'b/#', { allow: true }),
        acl('publishClientSend', 'a/#', { allow: true }),
        acl('subscribePattern', 'x/#', { priority: 5, allow: true }),
        acl('subscribePattern', 'y/#', { priority: 9 }),
        acl('wrong', 'y/#'),
        acl('subscribeLiteral', 'a/b'),
      ],
    },
    role,
    {},
    { rolename: 'r0', acls: 5 },
  ],
  ['getRole', role, { rolename: 'nope' }, {}],
  ['listRoles', {}, { verbose: true, count: 2, offset: 1 }],
  [
    'addRoleACL',
    { ...role, ...acl('publishClientSend', 'c/#', { allow: true }) },
    { ...role, ...acl('publishClientSend', 'c/#', { allow: true }) },
    { ...role, ...acl('publishClientSend', 'c/#/d', { allow: true }) },
    { ...role, ...acl('publishClientSend', 'd/#', { priority: 3 }) },
    { ...role, ...acl('nope', 'd/#') },
    { ...role, topic: 'd/#' },
    { ...role, acltype: 'publishClientReceive' },
    { rolename: 'nope', ...acl('publishClientReceive', 'a') },
    { ...role, ...acl('subscribe', 'a') },
    { ...role, ...acl('subscribeliteral', 'a') },
  ],
  ['getRole', role],
  [
    'removeRoleACL',
    { ...role, ...acl('publishClientSend', 'c/#') },
    { ...role, ...acl('publishClientSend', 'c/#') },
    { ...role, ...acl('nope', 'c/#') },
    { rolename: 'nope', ...acl('publishClientSend', 'c/#') },
    role,
  ],
  ['modifyRole', { ...role, textname: 'new' }, { ...role, textname: 5 }, { ...role, acls: 5 }, { rolename: 'nope' }],
  ['getRole', role],
  [
    'addClientRole',
    { ...user, ...role },
    { ...user, ...role },
    { username: 'nope', ...role },
    { ...user, rolename: 'nope' },
    user,
  ],
  ['getClient', user],
  ['removeClientRole', { ...user, rolename: 'r0' }, { ...user, rolename: 'nope' }, { ...user, rolename: 'admin' }],
  [
    'createGroup',
    { ...group, textdescription: 'td', roles: [{ ...role, priority: 3 }] },
    group,
    {},
    { groupname: 'g2', roles: 5 },
  ],
  ['createGroup', { groupname: 'g2', roles: [{ rolename: 'nope' }] }, { groupname: 'g2' }, { groupname: 'g0' }],
  [
    'addGroupClient',
    { ...group, ...user },
    { ...group, ...user },
    { groupname: 'nope', ...user },
    { ...group, username: 'nope' },
    group,
  ],
  ['addGroupClient', { groupname: 'g0', ...user, priority: 7 }, { groupname: 'g2', ...user, priority: 9 }],
  ['getGroup', group, { groupname: 'nope' }, {}],
  ['getClient', user],
  ['addGroupRole', { ...group, rolename: 'r0' }, { ...group, rolename: 'r0' }, { groupname: 'nope', ...role }, group],
  ['listGroups', {}, { verbose: true }, { count: 1, offset: 1 }],
  ['removeGroupRole', { ...group, rolename: 'r0' }, { ...group, rolename: 'r0' }, { ...group, rolename: 'nope' }],
  [
    'modifyGroup',
    { ...group, textname: 'new' },
    { groupname: 'nope' },
    { ...group, roles: [{ rolename: 'nope' }] },
    { ...group, roles: 5 },
  ],
  [
    'modifyGroup',
    { ...group, roles: [{ rolename: 'r0', priority: 1 }, role], clients: [{ username: 'c0', priority: 4 }] },
  ],
  ['getGroup', group],
  ['removeGroupClient', { ...group, username: 'c0' }, { ...group, username: 'c0' }, { ...group, username: 'nope' }],
  ['getAnonymousGroup', {}],
  ['setAnonymousGroup', group, { groupname: 'nope' }, {}],
  ['getAnonymousGroup', {}],
  [
    'modifyClient',
    {
      ...user,
      textname: 'T',
      clientid: 'cc',
      password: 'pp',
      roles: [{ rolename: 'r0' }],
      groups: [
        { groupname: 'g2', priority: 3 },
        { ...group, priority: 8 },
      ],
    },
    { ...user, textname: '' },
    { ...user, roles: [{ rolename: 'nope' }] },
    { ...user, password: 7 },
    { username: 'nope' },
    {},
  ],
  ['getClient', user],
  // Debian's does not outlive it when things are deleted that modifyClient and modifyGroup have put together.
  ['modifyClient', { ...user, roles: [], groups: [] }],
  ['modifyGroup', { ...group, roles: [], clients: [] }],
  ['deleteGroup', { groupname: 'g2' }, { groupname: 'g2' }, {}],
  ['deleteRole', { rolename: 'r0' }, { rolename: 'r0' }, {}],
  ['getClient', user],
  ['deleteClient', user, user, {}],
  ['getGroup', group],
];

const payloads = [
  'nonsense',
  '{}',
  '{"commands": 1}',
  '{"commands": []}',
  '{"commands": [1]}',
  '{"commands": [{}]}',
  '{"commands": [{"command": 5}]}',
  ...commands.flatMap(([command, ...fields]) =>
    fields.map((values) => JSON.stringify({ commands: [{ command, ...values }] })),
  ),
  JSON.stringify({
    commands: [
      { command: 'createGroup', groupname: 'm', correlationData: '1' },
      { command: 'createGroup', groupname: 'm', correlationData: '2' },
      { command: 'nope' },
      { command: 'getGroup', groupname: 'm' },
    ],
  }),
];

/** Each command of the tool, in an order in which it has something to do. */
const lines = [
  'createClient dev -p pw',
  'createClient dev -p pw',
  'createClient dev2 -c cid2 -p pw',
  'createRole r1',
  'createRole r2',
  'addRoleACL r1 publishClientSend a/# allow 5',
  'addRoleACL r1 publishClientReceive a/# deny',
  'addRoleACL r1 subscribeLiteral a/b allow',
  'addRoleACL r1 subscribePattern a/# allow 7',
  'addRoleACL r1 unsubscribeLiteral a/b allow',
  'addRoleACL r1 unsubscribePattern long/topic/filter/# allow',
  'addRoleACL r1 publishClientSend a/#/b allow',
  'getRole r1',
  'getRole r2',
  'getRole nope',
  'listRoles',
  'listRoles 1 1',
  'addClientRole dev r1 3',
  'addClientRole dev r2',
  'createGroup g1',
  'createGroup g2',
  'addGroupRole g1 r1 5',
  'addGroupRole g1 r2',
  'addGroupClient g1 dev 4',
  'addGroupClient g2 dev',
  'addGroupClient g1 dev2',
  'getGroup g1',
  'getClient dev',
  'getClient dev2',
  'listClients',
  'listClients 2',
  'listGroups',
  'disableClient dev',
  'getClient dev',
  'enableClient dev',
  'setClientId dev new',
  'getClient dev',
  'setClientId dev',
  'setClientPassword dev other',
  'getDefaultACLAccess',
  'getAnonymousGroup',
  'setAnonymousGroup g2',
  'getAnonymousGroup',
  'removeGroupClient g1 dev',
  'removeGroupRole g1 r1',
  'removeClientRole dev r1',
  'removeRoleACL r1 publishClientSend a/#',
  'removeRoleACL r1 publishClientSend a/#',
  'getGroup g1',
  'deleteClient dev2',
  'deleteClient dev2',
  'deleteRole r2',
  'deleteGroup g1',
  'deleteGroup g1',
  'listClients',
];

/** Runs every line; what was printed, without the warning about encryption. */
async function runLines(with_: Tool, port: number): Promise<string[]> {
  const printed: string[] = [];
  for (const line of lines) {
    const connection = ['-h', '127.0.0.1', '-p', `${port}`, '-u', 'admin', '-P', PASSWORD];
    const { output, errors } = await with_([...connection, 'dynsec', ...line.split(' ')]);
    const text = `${output}${errors}`
      .split('\n')
      .filter((part) => part !== '' && !/^(Warning: You|This means)/.test(part));
    printed.push(`${line}\n${text.join('\n')}`);
  }
  return printed;
}

describe("dynamic security and Debian's mosquitto", {
  skip: mosquitto === undefined || tool === undefined || plugin === undefined,
  timeout: 300_000,
}, () => {
  const folder = mkdtempSync(join(tmpdir(), 'dunlin-dynsec-interop-'));
  const file = (name: string) => join(folder, name);
  let ours: Broker;
  let theirs: Mosquitto;
  const ourPort = () => ours.listeners[0]!.port!;
  const restart = async () => {
    await ours?.stop();
    await theirs?.stop();
    // Each begins with the file that the other's tool made.
    copyFileSync(file('by-mosquitto.json'), file('ours.json'));
    ours = await startDunlin(file('ours.json'));
    theirs = await startTheirs(file('by-dunlin.json'));
  };

  before(async () => {
    const made = await theirTool(['dynsec', 'init', file('by-mosquitto.json'), 'admin', PASSWORD]);
    assert.equal(made.status, 0, made.errors);
    const ourMade = await ourTool(['dynsec', 'init', file('by-dunlin.json'), 'admin'], `${PASSWORD}\n${PASSWORD}\n`);
    assert.equal(ourMade.status, 0, ourMade.errors);
    assert.doesNotMatch(ourMade.output, new RegExp(PASSWORD));
    await restart();
  });
  after(async () => {
    await ours?.stop();
    await theirs?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('answers every command as the plugin does', async () => {
    // Both with the same file, since answers tell of its roles.
    await theirs.stop();
    theirs = await startTheirs(file('by-mosquitto.json'));
    const [our, their] = [await Asker.connect(ourPort()), await Asker.connect(theirs.port)];
    for (const payload of payloads) assert.deepEqual(await our.send(payload), await their.send(payload), payload);
    await our.disconnect();
    await their.disconnect();
  });

  it('and with either tool prints the same', async () => {
    await restart();
    const [expected, onOurs] = await Promise.all([runLines(theirTool, theirs.port), runLines(theirTool, ourPort())]);
    assert.match(expected.join('\n'), /getClient dev\nUsername: dev\nClientid: new/);
    assert.deepEqual(onOurs, expected, 'mosquitto_ctrl and Dunlin');
    await restart();
    const [byOurs, allOurs] = await Promise.all([runLines(ourTool, theirs.port), runLines(ourTool, ourPort())]);
    assert.deepEqual(byOurs, expected, 'dunlin ctrl and mosquitto');
    assert.deepEqual(allOurs, expected, 'dunlin ctrl and Dunlin');
  });

  it('writes a file with which mosquitto goes on, and reads one of its', async () => {
    await restart();
    const ask = (with_: Tool, port: number, user: string, password: string, ...args: string[]) =>
      with_(['-h', '127.0.0.1', '-p', `${port}`, '-u', user, '-P', password, 'dynsec', ...args]);
    for (const [with_, port] of [
      [ourTool, ourPort()],
      [theirTool, theirs.port],
    ] as const) {
      await ask(with_, port, 'admin', PASSWORD, 'createClient', 'second', '-p', 'secret');
      await ask(with_, port, 'admin', PASSWORD, 'addClientRole', 'second', 'admin');
    }
    const written = file('written.json');
    copyFileSync(join(theirs.directory, 'users.json'), written);
    await theirs.stop();
    theirs = await startTheirs(file('ours.json'));
    await ours.stop();
    ours = await startDunlin(written);
    for (const port of [theirs.port, ourPort()])
      assert.equal((await ask(ourTool, port, 'second', 'secret', 'listClients')).output, 'admin\nsecond\n');
  });

  it('says what is wrong, and with which exit code', async () => {
    await restart();
    const at = ['-h', '127.0.0.1', '-p', `${ourPort()}`];
    for (const [args, status, expected] of [
      [
        [...at, '-u', 'admin', '-P', 'wrong', 'dynsec', 'listClients'],
        134,
        /Connection error: .*user name or password/i,
      ],
      [[...at, '-u', 'admin', 'dynsec', 'listClients'], 3, /A password is needed/],
      [[...at, '-u', 'admin', '-P', PASSWORD, 'dynsec', 'getRole', 'no'], 1, /^getRole: Error: Role not found\n$/],
      [[...at, 'dynsec', 'nope'], 13, /Command "nope" is not known/],
      [[...at, 'dynsec', 'getRole'], 3, /Usage: dunlin ctrl dynsec getRole ROLE/],
      [['nomodule', 'x'], 3, /There is no module "nomodule"/],
      [['--nope', 'dynsec'], 3, /Unknown option '--nope'/],
      [['dynsec', 'init', file('ours.json'), 'admin', 'x'], 1, /there is such a file already/],
      [['-o', file('none'), 'dynsec', 'listClients'], 3, /The file of options .*none cannot be read \(ENOENT\)/],
    ] as const) {
      const ran = await ourTool(args);
      assert.equal(ran.status, status, `${args.join(' ')}\n${ran.errors}`);
      assert.match(ran.errors, expected);
      assert.equal(ran.output, '');
    }
    const asked = await ourTool([...at, '-V', '311', '-u', 'admin', 'dynsec', 'listClients'], `${PASSWORD}\n`);
    assert.equal(asked.output, 'admin\n', asked.errors);
  });
});
