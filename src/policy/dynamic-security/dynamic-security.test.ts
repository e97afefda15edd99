import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { silentLogger } from '../../base/index.js';
import { ReasonCode } from '../../protocol/index.js';
import { AccessPolicy } from '../access-policy.js';
import { openAccess } from '../options.js';
import type { PasswordChecker } from '../passwords/password-checker.js';
import type { Client } from '../policy.js';
import { Draft } from './contents.js';
import { DynamicSecurity } from './dynamic-security.js';
import { formatContents, parseContents } from './file-format.js';

const folder = mkdtempSync(join(tmpdir(), 'dunlin-dynsec-'));
after(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;

/** As `mosquitto_ctrl dynsec init FILE admin adminpw` of Mosquitto 2.0 writes it, with one of the roles' entries. */
const madeByMosquitto = `{
	"clients":	[{
			"username":	"admin",
			"textName":	"Dynsec admin user",
			"password":	"vBBBQWQE1sHm0GBwfR2frMI846vwL6zkJFqbOG9+qdm+WxKnfXVPs+8+TybiMDctpvpKPFbqLoSZhs8qASf/vg==",
			"salt":	"QidXIg+RDbdDejfe",
			"iterations":	101,
			"roles":	[{
					"rolename":	"admin"
				}]
		}],
	"roles":	[{
			"rolename":	"admin",
			"acls":	[{
					"acltype":	"publishClientSend",
					"topic":	"$CONTROL/dynamic-security/#",
					"allow":	true
				}]
		}],
	"defaultACLAccess":	{
		"publishClientSend":	false,
		"publishClientReceive":	true,
		"subscribe":	false,
		"unsubscribe":	true
	}
}`;

const asker: Client = { clientId: 'asker', username: 'admin', protocolVersion: 5, listener: 'l', address: '127.0.0.1' };

type Answer = { command: string; error?: string; data?: Record<string, unknown>; correlationData?: string };

class Book {
  readonly policy: AccessPolicy;

  private constructor(readonly file: string) {
    this.policy = new AccessPolicy({ ...openAccess, dynamicSecurity: { file } }, { log: silentLogger });
  }

  static async open(text = madeByMosquitto): Promise<Book> {
    const file = join(folder, `${++files}.json`);
    writeFileSync(file, text);
    const book = new Book(file);
    await book.policy.open();
    return book;
  }

  send(payload: string | Uint8Array): Promise<Answer[]> {
    return new Promise((resolve) => {
      const reply = (text: string) => resolve((JSON.parse(text) as { responses: Answer[] }).responses);
      assert.ok(this.policy.dynamicSecurity!.take({ client: asker, reply }, Buffer.from(payload)));
    });
  }

  ask(...commands: object[]): Promise<Answer[]> {
    return this.send(JSON.stringify({ commands }));
  }

  /** The error of one command; undefined when it was carried out. */
  async error(command: object): Promise<string | undefined> {
    return (await this.ask(command))[0]!.error;
  }

  async login(username: string, password: string, clientId = 'c'): Promise<boolean> {
    const { reasonCode } = await this.policy.authenticate({
      ...asker,
      username,
      clientId,
      password: Buffer.from(password),
      allowAnonymous: false,
    });
    return reasonCode === ReasonCode.Success;
  }

  tree(): { clients: Record<string, unknown>[]; groups: Record<string, unknown>[]; roles: Record<string, unknown>[] } {
    return JSON.parse(readFileSync(this.file, 'utf8'));
  }
}

describe('the file of dynamic security', () => {
  it('is read as Mosquitto wrote it, and written so that it says the same', async () => {
    const contents = parseContents(madeByMosquitto);
    const text = formatContents(new Draft(contents));
    assert.equal(formatContents(new Draft(parseContents(text))), text);
    const tree = JSON.parse(text);
    const original = JSON.parse(madeByMosquitto);
    const { password, salt, iterations } = original.clients[0];
    assert.deepEqual(tree.clients, [
      { username: 'admin', textname: 'Dynsec admin user', roles: [{ rolename: 'admin' }], password, salt, iterations },
    ]);
    assert.deepEqual(tree.defaultACLAccess, original.defaultACLAccess);
    const book = await Book.open();
    assert.equal(await book.login('admin', 'adminpw'), true);
    assert.equal(await book.login('admin', 'wrong'), false);
    await book.policy.close();
  });

  it('keeps everything: groups, priorities, disabled users, passwords in the form of 2.1', () => {
    const tree = {
      defaultACLAccess: { publishClientSend: true, publishClientReceive: false, subscribe: true, unsubscribe: false },
      clients: [
        {
          username: 'a',
          clientid: 'one',
          textname: 'n',
          textdescription: 'd',
          disabled: true,
          roles: [{ rolename: 'r', priority: 5 }, { rolename: 'q' }],
        },
        {
          username: 'b',
          roles: [],
          encoded_password:
            '$argon2id$v=19$m=47104,t=1,p=1$RNN5sPdk0VEnEXBlvSKD8g$BIWBeaLLxmaazVgkV0ooC5y3E8YWr6D8nLtGV36OIN4',
        },
      ],
      groups: [
        {
          groupname: 'g',
          textname: 'group',
          roles: [{ rolename: 'r', priority: 3 }],
          clients: [{ username: 'a', priority: 9 }, { username: 'b' }],
        },
      ],
      anonymousGroup: 'g',
      roles: [
        { rolename: 'q', allowwildcardsubs: true, acls: [] },
        {
          rolename: 'r',
          textdescription: 'role',
          allowwildcardsubs: false,
          acls: [
            { acltype: 'publishClientSend', topic: 'high', priority: 8, allow: true },
            { acltype: 'publishClientSend', topic: 'low', priority: -8, allow: false },
            { acltype: 'unsubscribePattern', topic: '#', priority: 0, allow: true },
          ],
        },
      ],
    };
    assert.deepEqual(JSON.parse(formatContents(new Draft(parseContents(JSON.stringify(tree))))), tree);
  });

  it('is refused with what is wrong and where, when it is damaged', async () => {
    for (const [text, expected] of [
      ['{"clients": [', /is not valid JSON/],
      ['[]', /is not a JSON object/],
      ['{"clients": 5}', /clients is no list/],
      ['{"clients": [5]}', /clients\[0\] is no object/],
      ['{"clients": [{}]}', /a client has no username/],
      ['{"clients": [{"username": "a"}, {"username": "a"}]}', /client "a" is there twice/],
      [
        '{"clients": [{"username": "a", "password": "x", "salt": "y"}]}',
        /client "a": its password is in no known format/,
      ],
      ['{"roles": [{"rolename": "r", "acls": [{"topic": "t"}]}]}', /role "r": an entry of acls has no topic, or an/],
      ['{"groups": [{"groupname": "g", "roles": [{}]}]}', /group "g": a role has no rolename/],
    ] as const)
      await assert.rejects(Book.open(text), expected, text);
    const before = files;
    writeFileSync(join(folder, `${before}.json`), Buffer.from([0x7b, 0xff, 0x7d]));
    await assert.rejects(
      new AccessPolicy(
        { ...openAccess, dynamicSecurity: { file: join(folder, `${before}.json`) } },
        { log: silentLogger },
      ).open(),
      /is not UTF-8 text/,
    );
  });

  it('is made with an administrator when there is none', async () => {
    const file = join(folder, 'new.json');
    const passwordFile = join(folder, 'first-password');
    writeFileSync(passwordFile, 'chosen one \nrest');
    for (const [more, passwordOf] of [
      [{}, () => /^admin (\S{24})\n$/.exec(readFileSync(`${file}.pw`, 'utf8'))![1]!],
      [{ passwordFile }, () => 'chosen one'],
    ] as const) {
      rmSync(file, { force: true });
      const policy = new AccessPolicy({ ...openAccess, dynamicSecurity: { file, ...more } }, { log: silentLogger });
      await policy.open();
      const request = { ...asker, password: Buffer.from(passwordOf()), allowAnonymous: false };
      assert.equal((await policy.authenticate(request)).reasonCode, ReasonCode.Success);
      assert.equal(await policy.authorizePublish(asker, '$CONTROL/dynamic-security/v1'), ReasonCode.Success);
      assert.equal(await policy.authorizePublish(asker, 'application'), ReasonCode.NotAuthorized);
      assert.equal(statSync(file).mode & 0o777, 0o600);
      await policy.close();
    }
    assert.equal(statSync(`${file}.pw`).mode & 0o777, 0o600);
    const nowhere = { ...openAccess, dynamicSecurity: { file: join(folder, 'no', 'such', 'folder.json') } };
    await assert.rejects(
      new AccessPolicy(nowhere, { log: silentLogger }).open(),
      /cannot be made: there is no such folder/,
    );
  });

  it('stays as it was, and so does everything else, when it cannot be written', {
    skip: process.platform === 'win32',
  }, async () => {
    const home = join(folder, 'home');
    mkdirSync(home);
    const file = join(home, 'users.json');
    writeFileSync(file, madeByMosquitto);
    const policy = new AccessPolicy({ ...openAccess, dynamicSecurity: { file } }, { log: silentLogger });
    await policy.open();
    const ask = (...commands: object[]) =>
      new Promise<Answer[]>((resolve) => {
        const reply = (text: string) => resolve((JSON.parse(text) as { responses: Answer[] }).responses);
        policy.dynamicSecurity!.take({ client: asker, reply }, Buffer.from(JSON.stringify({ commands })));
      });
    // A folder in the place of the file beside: nobody can write there, whatever their rights are.
    mkdirSync(`${file}.new`);
    writeFileSync(join(`${file}.new`, 'occupied'), '');
    const answers = await ask(
      { command: 'listClients', correlationData: 'before' },
      { command: 'createClient', username: 'b', password: 'x', correlationData: 'change' },
      { command: 'createGroup' },
    );
    assert.equal(answers[0]!.error, undefined);
    assert.match(answers[1]!.error!, /Nothing has changed: the file of dynamic security cannot be written/);
    assert.equal(answers[1]!.correlationData, 'change');
    assert.equal(answers[2]!.error, 'Invalid/missing groupname');
    assert.equal(readFileSync(file, 'utf8'), madeByMosquitto);
    assert.deepEqual((await ask({ command: 'listClients' }))[0]!.data, { totalCount: 1, clients: ['admin'] });
    assert.match(policy.status().authentication[0]!.lastError ?? '', /./);
    rmSync(`${file}.new`, { recursive: true });
    assert.equal((await ask({ command: 'createClient', username: 'b' }))[0]!.error, undefined);
    assert.deepEqual(readdirSync(home), ['users.json']);
    assert.equal(policy.status().authentication[0]!.lastError, undefined);
    await policy.close();
  });

  it('holds many users, written in pieces', async () => {
    const clients = Array.from({ length: 5000 }, (_, index) => ({ username: `ü${index}`, textname: 'n'.repeat(100) }));
    const groups = [{ groupname: 'all', clients: clients.map(({ username }) => ({ username, priority: 2 })) }];
    const book = await Book.open(JSON.stringify({ clients, groups }));
    await book.ask({ command: 'createClient', username: 'last' });
    const tree = book.tree();
    assert.equal(tree.clients.length, 5001);
    assert.equal((tree.groups[0]!.clients as unknown[]).length, 5000);
    assert.deepEqual(new Set(tree.clients.map(({ username }) => username)).size, 5001);
    await book.policy.close();
  });

  it('is readable by its owner only, whatever it was before', async () => {
    const book = await Book.open();
    chmodSync(book.file, 0o644);
    await book.ask({ command: 'createGroup', groupname: 'g' });
    assert.equal(statSync(book.file).mode & 0o777, 0o600);
    assert.equal(existsSync(`${book.file}.new`), false);
    await book.policy.close();
  });
});

describe('commands of dynamic security', () => {
  it('let users in and keep them out', async () => {
    const book = await Book.open();
    assert.equal(
      await book.error({ command: 'createClient', username: 'u', password: 'p', clientid: 'mine' }),
      undefined,
    );
    assert.equal(await book.login('u', 'p', 'mine'), true);
    assert.equal(await book.login('u', 'p', 'other'), false);
    assert.equal(await book.login('u', 'q', 'mine'), false);
    await book.ask({ command: 'setClientId', username: 'u' });
    assert.equal(await book.login('u', 'p', 'other'), true);
    await book.ask({ command: 'disableClient', username: 'u' });
    assert.equal(await book.login('u', 'p'), false);
    await book.ask(
      { command: 'enableClient', username: 'u' },
      { command: 'setClientPassword', username: 'u', password: 'q' },
    );
    assert.equal(await book.login('u', 'p'), false);
    assert.equal(await book.login('u', 'q'), true);
    await book.ask(
      { command: 'createClient', username: 'empty', password: '' },
      { command: 'createClient', username: 'none' },
    );
    assert.equal(await book.login('empty', ''), false);
    assert.equal(await book.login('none', ''), false);
    await book.ask({ command: 'deleteClient', username: 'u' });
    assert.equal(await book.login('u', 'q'), false);
    assert.equal(await book.login('admin', 'adminpw'), true);
    await book.policy.close();
  });

  it('count for logins that are being checked', async () => {
    const file = join(folder, 'checked.json');
    writeFileSync(file, madeByMosquitto);
    let answer: (right: boolean) => void = () => {};
    const checker = {
      check: () =>
        new Promise<boolean>((resolve) => {
          answer = resolve;
        }),
    } as unknown as PasswordChecker;
    for (const command of [
      { command: 'disableClient' },
      { command: 'setClientPassword', password: 'other' },
      { command: 'setClientId', clientid: 'other' },
      { command: 'deleteClient' },
    ]) {
      writeFileSync(file, madeByMosquitto);
      const security = new DynamicSecurity(
        { file },
        { log: silentLogger, checker, changed: () => {}, isLast: () => true },
      );
      await security.authentication.open!();
      const request = { ...asker, password: Buffer.from('adminpw'), allowAnonymous: false };
      const decision = security.authentication.authenticate(request);
      const payload = Buffer.from(JSON.stringify({ commands: [{ username: 'admin', ...command }] }));
      await new Promise<void>((resolve) => security.take({ client: asker, reply: () => resolve() }, payload));
      answer(true);
      assert.notEqual((await decision).outcome, 'allow', command.command);
    }
  });

  it('write passwords in the form that Mosquitto 2.0 and 2.1 read, and never in answers', async () => {
    const book = await Book.open();
    const answers = await book.ask(
      { command: 'createClient', username: 'u', password: 'very secret' },
      { command: 'getClient', username: 'u' },
      { command: 'listClients', verbose: true },
    );
    assert.doesNotMatch(JSON.stringify(answers), /secret|password|salt/);
    const user = book.tree().clients.find(({ username }) => username === 'u')!;
    assert.deepEqual(Object.keys(user), ['username', 'roles', 'password', 'salt', 'iterations']);
    assert.equal(Buffer.from(user.password as string, 'base64').length, 64);
    assert.doesNotMatch(readFileSync(book.file, 'utf8'), /very secret/);
    await book.policy.close();
  });

  it('are answered each by itself, in order, with their correlation data', async () => {
    const book = await Book.open();
    assert.deepEqual(
      await book.ask(
        { command: 'createGroup', groupname: 'g', correlationData: '1' },
        { command: 'nope', correlationData: '2' },
        { command: 'createGroup', groupname: 'g' },
        { command: 'getAnonymousGroup', correlationData: 5 },
      ),
      [
        { command: 'createGroup', correlationData: '1' },
        { command: 'nope', error: 'Unknown command', correlationData: '2' },
        { command: 'createGroup', error: 'Group already exists' },
        { command: 'getAnonymousGroup', error: 'Invalid correlationData data type.' },
      ],
    );
    await book.policy.close();
  });

  it('are told what is wrong with them as a whole', async () => {
    const book = await Book.open();
    const unknown = (error: string) => [{ command: 'Unknown command', error }];
    assert.deepEqual(await book.send('nonsense'), unknown('Payload not valid JSON'));
    assert.deepEqual(await book.send(''), unknown('Payload not valid JSON'));
    assert.deepEqual(await book.send(Buffer.from([0x22, 0xff, 0x22])), unknown('Payload not valid JSON'));
    assert.deepEqual(await book.send('['.repeat(100_000)), unknown('Payload not valid JSON'));
    assert.deepEqual(await book.send('5'), unknown('Invalid/missing commands'));
    assert.deepEqual(await book.send('{"commands": {}}'), unknown('Invalid/missing commands'));
    assert.deepEqual(await book.send('{"commands": [7]}'), unknown('Command not an object'));
    assert.deepEqual(
      await book.send('{"commands": [{"__proto__": {"command": "listClients"}}]}'),
      unknown('Missing command'),
    );
    assert.deepEqual(await book.send('{"commands": [{"command": "constructor"}]}'), [
      { command: 'constructor', error: 'Unknown command' },
    ]);
    const many = JSON.stringify({ commands: Array.from({ length: 10_001 }, () => ({ command: 'getDetails' })) });
    assert.deepEqual(await book.send(many), unknown('More than 10000 commands'));
    await book.policy.close();
  });

  it('refuse names with control characters, surrogates and nothing in them', async () => {
    const book = await Book.open();
    for (const name of ['a\u0000', 'a\u001b[2J', 'a\u009f', 'a\ufffe'])
      for (const [command, field, error] of [
        ['createClient', 'username', 'Username not valid UTF-8'],
        ['createGroup', 'groupname', 'Group name not valid UTF-8'],
        ['createRole', 'rolename', 'Role name not valid UTF-8'],
      ] as const)
        assert.equal(await book.error({ command, [field]: name }), error);
    assert.equal(
      (await book.send('{"commands": [{"command": "createRole", "rolename": "\\ud800"}]}'))[0]!.error,
      'Role name not valid UTF-8',
    );
    assert.equal(await book.error({ command: 'createClient', username: '' }), 'Empty username');
    assert.equal(await book.error({ command: 'createGroup', groupname: '' }), 'Empty groupname');
    assert.equal(await book.error({ command: 'createRole', rolename: '' }), 'Empty rolename');
    await book.policy.close();
  });

  it('leave no trace of what was deleted', async () => {
    const book = await Book.open();
    await book.ask(
      { command: 'createRole', rolename: 'r' },
      { command: 'createGroup', groupname: 'g', roles: [{ rolename: 'r' }] },
      { command: 'createGroup', groupname: 'kept' },
      { command: 'createClient', username: 'u', roles: [{ rolename: 'r' }], groups: [{ groupname: 'g', priority: 4 }] },
      { command: 'setAnonymousGroup', groupname: 'kept' },
      { command: 'deleteRole', rolename: 'r' },
    );
    assert.deepEqual(book.tree().groups, [
      { groupname: 'g', roles: [], clients: [{ username: 'u', priority: 4 }] },
      { groupname: 'kept', roles: [], clients: [] },
    ]);
    assert.equal(
      await book.error({ command: 'deleteGroup', groupname: 'kept' }),
      'Deleting the anonymous group is forbidden',
    );
    await book.ask({ command: 'deleteGroup', groupname: 'g' });
    assert.deepEqual((await book.ask({ command: 'getClient', username: 'u' }))[0]!.data!.client, {
      username: 'u',
      roles: [],
      groups: [],
      connections: [],
    });
    await book.policy.close();
  });

  it('change what a client may do at once, and tell so only when rights have changed', async () => {
    const book = await Book.open();
    let changes = 0;
    book.policy.onChange(() => changes++);
    const client = { ...asker, username: 'u' };
    const may = () => book.policy.authorizePublish(client, 't') === ReasonCode.Success;
    await book.ask({ command: 'createClient', username: 'u' }, { command: 'createRole', rolename: 'r' });
    assert.equal(changes, 0);
    assert.equal(may(), false);
    await book.ask(
      { command: 'addRoleACL', rolename: 'r', acltype: 'publishClientSend', topic: 't', allow: true },
      { command: 'addClientRole', username: 'u', rolename: 'r' },
    );
    assert.equal(may(), true);
    assert.equal(changes, 1, 'once for a message');
    await book.ask({ command: 'listRoles' }, { command: 'modifyRole', rolename: 'r', textname: 'x' });
    assert.equal(changes, 1);
    await book.ask({ command: 'removeRoleACL', rolename: 'r', acltype: 'PUBLISHCLIENTSEND', topic: 't' });
    assert.equal(may(), false);
    assert.deepEqual((await book.ask({ command: 'getDetails' }))[0]!.data, {
      clientCount: 2,
      groupCount: 0,
      roleCount: 2,
      changeIndex: 6,
    });
    await book.policy.close();
  });

  it('answer what comes while others are worked off, in order', async () => {
    const book = await Book.open();
    const answers = await Promise.all(
      Array.from({ length: 150 }, (_, index) => book.ask({ command: 'createGroup', groupname: `g${index}` })),
    );
    assert.ok(answers.every(([answer]) => answer!.error === undefined));
    assert.equal(book.tree().groups.length, 150);
    await book.policy.close();
  });
});
