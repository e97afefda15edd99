/**
 * Goal: no command and no file, however damaged, breaks anything. Commands are answered in words that are known, what they leave can be
 * written and read again and then says the same; a file is read whole or refused with a sentence.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { damagedText } from '../../base/damage.fuzz.js';
import { Random } from '../../base/random.fuzz.js';
import { bindAccess } from './access.js';
import { answerCommands } from './commands.js';
import { type Contents, Draft, emptyContents } from './contents.js';
import { formatContents, parseContents } from './file-format.js';

const COUNT = 4000;
const seed = Number(process.env.DUNLIN_SEED ?? 20_262);

const names = ['a', 'b', 'r', 'g', '', '%u', '__proto__', '\u0001', '\ud800', 'ä/+'];
const topics = ['a/#', '#', '+/b', '%c/x', '$CONTROL/#', 'a/#/b', '', '%u'];
const values = [null, true, -1, 1e9, 0.5, 'x', [], {}, [[]], [{}], ...names];
const commandNames = [
  ...['createClient', 'modifyClient', 'deleteClient', 'getClient', 'listClients', 'setClientId', 'disableClient'],
  ...['addClientRole', 'removeClientRole', 'createGroup', 'modifyGroup', 'deleteGroup', 'getGroup', 'listGroups'],
  ...['addGroupClient', 'removeGroupClient', 'addGroupRole', 'removeGroupRole', 'setAnonymousGroup', 'createRole'],
  ...['modifyRole', 'deleteRole', 'getRole', 'listRoles', 'addRoleACL', 'removeRoleACL', 'setDefaultACLAccess'],
];
const aclTypes = ['publishClientSend', 'publishClientReceive', 'subscribeLiteral', 'subscribePattern', 'subscribe'];

function fieldsOf(random: Random): Record<string, unknown> {
  const acl = () => ({
    acltype: random.pick(aclTypes),
    topic: random.pick(topics),
    allow: random.oneIn(2),
    priority: random.below(5) - 2,
  });
  const fields: Record<string, unknown> = {
    command: random.pick(commandNames),
    username: random.pick(names),
    groupname: random.pick(names),
    rolename: random.pick(names),
    ...acl(),
  };
  if (random.oneIn(2)) fields.roles = [{ rolename: random.pick(names), priority: random.below(9) }];
  if (random.oneIn(2)) fields.groups = [{ groupname: random.pick(names) }];
  if (random.oneIn(3)) fields.clients = [{ username: random.pick(names), priority: random.below(9) }];
  if (random.oneIn(3)) fields.acls = [acl(), acl()];
  for (const key of Object.keys(fields)) if (random.oneIn(12)) fields[key] = random.pick(values);
  return fields;
}

async function answer(contents: Contents, payload: string): Promise<void> {
  const draft = new Draft(contents);
  const context = { draft, addressesByUser: () => new Map(), changeIndex: 0 };
  const { responses } = await answerCommands(Buffer.from(payload), context, (command, error) =>
    assert.fail(`${command} threw ${(error as Error).stack}\nfor ${payload}`),
  );
  for (const { command, error } of responses) {
    assert.equal(typeof command, 'string');
    assert.ok(error === undefined || error.length > 0);
  }
  const text = formatContents(draft);
  draft.apply();
  assert.equal(formatContents(new Draft(contents)), text);
}

describe('dynamic security, damaged', () => {
  it(`answers every command, seed ${seed}`, async () => {
    const random = new Random(seed);
    let contents = emptyContents();
    for (let turn = 0; turn < COUNT; turn++) {
      if (turn % 500 === 0) contents = emptyContents();
      const commands = Array.from({ length: 1 + random.below(3) }, () => fieldsOf(random));
      const payload = JSON.stringify({ commands });
      await answer(
        contents,
        random.oneIn(5) ? damagedText(random, payload, ['"', '{', '}', '[', ',', 'null']) : payload,
      );
      if (turn % 50 > 0) continue;
      const text = formatContents(new Draft(contents));
      assert.equal(formatContents(new Draft(parseContents(text))), text);
      for (const username of [undefined, ...names]) {
        const client = { clientId: 'c', username, protocolVersion: 5 as const, listener: 'l', address: '' };
        const bound = bindAccess(contents, client, true);
        for (const topic of ['a', 'a/b', '$SYS/x'])
          for (const action of ['publish', 'receive', 'subscribe'] as const)
            bound.ask({ action, topic, qos: 0, retain: false });
      }
    }
  });

  it(`reads a file whole or refuses it, seed ${seed}`, async () => {
    const random = new Random(seed);
    const contents = emptyContents();
    for (let turn = 0; turn < 300; turn++) await answer(contents, JSON.stringify({ commands: [fieldsOf(random)] }));
    const text = formatContents(new Draft(contents));
    let read = 0;
    for (let turn = 0; turn < COUNT; turn++) {
      const damaged = damagedText(random, text, [
        '"',
        '{',
        '}',
        '[',
        ']',
        ',',
        '5',
        'null',
        '"roles":',
        '"password":1',
      ]);
      try {
        const again = formatContents(new Draft(parseContents(damaged)));
        assert.equal(formatContents(new Draft(parseContents(again))), again);
        read++;
      } catch (error) {
        assert.ok(
          error instanceof Error && !(error instanceof TypeError) && !(error instanceof RangeError),
          String(error),
        );
        assert.ok(!(error instanceof assert.AssertionError), error.message);
      }
    }
    assert.ok(read > 0 && read < COUNT);
  });
});
