import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Client } from '../policy.js';
import type { Question } from '../sources/facts.js';
import { parseRulesFile, RolesSource } from './local-sources.js';
import { MosquittoAccess, parseMosquittoAcl } from './mosquitto-acl.js';
import { RoleBook } from './role-book.js';
import { type Answer, bindRules, compileRule, parseRule, parseRules, type RuleInput } from './rule.js';
import type { BoundSource } from './source.js';

const client = (more: Partial<Client> = {}): Client => ({
  clientId: 'dev1',
  username: 'ada',
  protocolVersion: 5,
  listener: 'l',
  address: '10.0.0.1',
  ...more,
});
const question = (action: Question['action'], topic: string, qos = 0, retain = false): Question => ({
  action,
  topic,
  qos,
  retain,
});
const nobody = { roles: [], groups: [] };
const undecided = {
  publishClientSend: 'next',
  publishClientReceive: 'next',
  subscribe: 'next',
  unsubscribe: 'next',
} as const;

function asked(rules: RuleInput[], who = client(), standing: { roles: string[]; groups: string[] } = nobody) {
  const list = bindRules(
    rules.map((rule, index) => compileRule(rule, `rule ${index + 1}`)),
    who,
    standing,
  );
  return (...given: Parameters<typeof question>) => list.ask(question(...given))?.origin;
}

describe('rules', () => {
  it('decide in their order: the first that fits', () => {
    const ask = asked([
      { permit: 'allow', action: 'publish', filters: ['a/b'] },
      { permit: 'deny', action: 'publish', filters: ['a/#'] },
      { permit: 'allow', action: 'all', filters: ['#'] },
    ]);
    assert.equal(ask('publish', 'a/b'), 'rule 1');
    assert.equal(ask('publish', 'a/c'), 'rule 2');
    assert.equal(ask('publish', 'c'), 'rule 3');
    assert.equal(ask('subscribe', 'a/b'), 'rule 3');
    assert.equal(ask('receive', 'a/b'), 'rule 3');
    assert.equal(ask('publish', '$x'), undefined);
  });

  it('allow a subscription that they cover, and deny one that they overlap', () => {
    const ask = asked([
      { permit: 'allow', action: 'subscribe', filters: ['a/secret/mine'] },
      { permit: 'deny', action: 'subscribe', filters: ['a/secret/#'] },
      { permit: 'allow', action: 'subscribe', filters: ['a/#', 'eq +/x'] },
    ]);
    assert.equal(ask('subscribe', 'a/secret/mine'), 'rule 1');
    assert.equal(ask('subscribe', 'a/secret/+'), 'rule 2');
    assert.equal(ask('subscribe', 'a/#'), 'rule 2');
    assert.equal(ask('subscribe', 'a/b/#'), 'rule 3');
    assert.equal(ask('subscribe', '+/x'), 'rule 3');
    assert.equal(ask('subscribe', '#'), 'rule 2');
    assert.equal(ask('subscribe', 'b'), undefined);
  });

  it('are about whom they name', () => {
    const rules: RuleInput[] = [
      {
        permit: 'allow',
        action: 'all',
        filters: ['#'],
        who: { usernames: ['/a.*/'], addresses: ['10.0.0.0/8', '::1'] },
      },
      { permit: 'allow', action: 'all', filters: ['#'], who: { roles: ['engineer'] } },
      { permit: 'allow', action: 'all', filters: ['#'], who: { certificates: ['cn'], listeners: ['tls'] } },
    ];
    const origin = (more: Partial<Client>, standing?: { roles: string[]; groups: string[] }) =>
      asked(rules, client(more), standing)('publish', 't');
    assert.equal(origin({}), 'rule 1');
    assert.equal(origin({ address: '::ffff:10.9.9.9' }), 'rule 1');
    assert.equal(origin({ address: '11.0.0.1' }), undefined);
    assert.equal(origin({ address: '' }), undefined);
    assert.equal(origin({ username: 'ba' }), undefined, 'patterns fit the whole text');
    assert.equal(origin({ username: 'b' }, { roles: ['engineer'], groups: [] }), 'rule 2');
    assert.equal(origin({ username: undefined }), undefined);
    const certificate = { commonName: 'cn' } as never;
    assert.equal(origin({ username: 'b', listener: 'tls', certificate }), 'rule 3');
    assert.equal(origin({ username: 'b', listener: 'tcp', certificate }), undefined);
  });

  it('that deny are evaded by no odd name', () => {
    const who = { usernames: ['/eve.*/'] };
    for (const permit of ['allow', 'deny'] as const) {
      const verdict = (username: string) =>
        asked([{ permit, action: 'all', filters: ['#'], who }], client({ username }))('publish', 't');
      assert.equal(verdict('eve\n2'), 'rule 1');
      assert.equal(verdict(`eve${'x'.repeat(2000)}`), permit === 'deny' ? 'rule 1' : undefined);
    }
  });

  it('may depend on QoS and RETAIN', () => {
    const ask = asked([{ permit: 'allow', action: 'all', filters: ['#'], qos: [0, 1], retain: 'false' }]);
    assert.equal(ask('publish', 't', 1), 'rule 1');
    assert.equal(ask('publish', 't', 2), undefined);
    assert.equal(ask('publish', 't', 1, true), undefined);
    assert.equal(ask('subscribe', 't', 1), 'rule 1');
  });

  it('are read as other brokers write them, and refused in words', () => {
    assert.deepEqual(parseRule({ permission: 'deny', action: 'pubsub', topic: 'a', qos: '0,1', retain: 1 }), {
      permit: 'deny',
      action: 'all',
      filters: ['a'],
      qos: [0, 1],
      retain: 'true',
    });
    assert.equal(parseRules({ pub: ['a', 'b'], sub: 'c' }).length, 2);
    for (const [wrong, sentence] of [
      [{ topic: 'a', acton: 'publish' }, /"acton" is not known/],
      [{ topic: 'a', action: 'read' }, /action is one of/],
      [{ action: 'publish' }, /filters is a list/],
      [{ topic: 'a', qos: 3 }, /qos is/],
      [{ topic: 'a', who: { user: ['x'] } }, /"user" is not known/],
      [{ topic: 'a', permit: 'yes' }, /permit is/],
      ['a', /a rule is an object/],
    ] as const)
      assert.throws(() => parseRule(wrong), sentence);
    assert.throws(() => compileRule(parseRule({ topic: 'a/#/b' }), 'x'), /no topic filter/);
  });

  it('stand in a YAML file, in which a mistake has a line', () => {
    const rules = parseRulesFile(
      '# ours\n- { permit: allow, action: publish, filters: [a] }\n- permit: deny\n  topic: b\n',
      'f',
    );
    assert.deepEqual(
      rules.map(({ verdict }) => verdict.origin),
      ['f:2', 'f:3'],
    );
    assert.deepEqual(parseRulesFile('', 'f'), []);
    assert.throws(() => parseRulesFile('- topic: a\n- topic: 7\n', 'f'), /line 2: filters is a list/);
    assert.throws(() => parseRulesFile('a: [', 'f'), /is not valid YAML/);
    assert.throws(() => parseRulesFile('a: b', 'f'), /is no list/);
  });
});

describe('an ACL file of Mosquitto', () => {
  const acl = parseMosquittoAcl(
    [
      '# anonymous',
      'topic read public/#',
      'user ada',
      'topic own/ada',
      'topic deny own/ada/secret',
      'topic read own/#',
      'topic write a b/+',
      'user bob',
      'topic write x%u',
      'pattern readwrite dev/%c/%u/#',
      'pattern read %c/up',
      '',
    ].join('\r\n'),
    'acl',
  );
  const ask = (who: Client, ...given: Parameters<typeof question>) =>
    new MosquittoAccess(acl, who, 'acl').ask(question(...given));

  it('gives users, anonymous clients and everybody their lines', () => {
    const ada = client();
    assert.deepEqual(ask(ada, 'publish', 'own/ada'), { permit: true, origin: 'acl:4' });
    assert.deepEqual(ask(ada, 'publish', 'own/ada/secret'), { permit: false, origin: 'acl:5' });
    assert.deepEqual(ask(ada, 'receive', 'own/ada/secret'), { permit: false, origin: 'acl:5' });
    assert.equal(ask(ada, 'publish', 'own/x'), undefined);
    assert.equal(ask(ada, 'receive', 'own/x')?.permit, true);
    assert.equal(ask(ada, 'publish', 'a b/c')?.origin, 'acl:7');
    assert.equal(ask(ada, 'publish', 'dev/dev1/ada/t')?.origin, 'acl:10');
    assert.equal(ask(ada, 'publish', 'dev/dev2/ada/t'), undefined);
    assert.equal(ask(ada, 'receive', 'public/x')?.permit, false);
    const anonymous = client({ username: undefined });
    assert.equal(ask(anonymous, 'receive', 'public/x')?.permit, true);
    assert.equal(ask(anonymous, 'receive', 'dev1/up')?.permit, true);
    assert.equal(ask(anonymous, 'publish', 'dev/dev1//t'), undefined);
    assert.equal(ask(client({ username: 'bob' }), 'publish', 'x%u')?.permit, true, 'topic lines have no variables');
    assert.equal(ask(client({ clientId: '+' }), 'receive', 'other/up')?.permit, false);
  });

  it('takes a subscription that could bring something, and refuses others', () => {
    const ada = client();
    assert.equal(ask(ada, 'subscribe', '#')?.permit, true);
    assert.equal(ask(ada, 'subscribe', 'own/+')?.permit, true);
    assert.equal(ask(ada, 'subscribe', 'own/ada/secret')?.permit, false);
    assert.equal(ask(ada, 'subscribe', 'a b/c'), undefined);
  });

  it('is refused with the line that is wrong', () => {
    for (const [text, sentence] of [
      ['topic\n', /line 1/],
      ['\ntopic look a\n', /line 2: "look" is none of/],
      ['user\n', /line 1: user without a name/],
      ['topics a\n', /"topics" is none of topic, user, pattern/],
      ['topic read a/#/b', /no topic filter/],
    ] as const)
      assert.throws(() => parseMosquittoAcl(text, 'acl'), sentence);
  });
});

describe('roles and groups', () => {
  it('decide by priority: own roles before groups, higher before lower', () => {
    const book = new RoleBook();
    const entry = (
      type: 'publishClientSend' | 'subscribePattern' | 'subscribeLiteral',
      filter: string,
      permit: 'allow' | 'deny',
      priority = 0,
    ) => ({ type, filter, permit, priority });
    const reader = {
      name: 'reader',
      priority: 0,
      entries: [
        entry('subscribePattern', 'data/#', 'allow'),
        entry('subscribePattern', 'data/secret/#', 'deny', 1),
        entry('subscribeLiteral', '#', 'allow'),
      ],
    };
    const writer = { name: 'writer', priority: 0, entries: [entry('publishClientSend', 'data/%u/#', 'allow')] };
    const muted = { name: 'muted', priority: 10, entries: [entry('publishClientSend', '#', 'deny')] };
    const staffed = [
      { name: 'quiet', priority: -1, roles: ['muted'] },
      { name: 'staff', priority: 0, roles: ['reader', 'writer'] },
    ];
    book.replace([reader, writer, muted], staffed);
    const ask = (standing: { roles: string[]; groups: string[] }, ...given: Parameters<typeof question>) =>
      book.bind(client(), standing, undecided).ask(question(...given))?.permit;
    const staff = { roles: [], groups: ['staff'] };
    assert.equal(ask(staff, 'subscribe', 'data/x'), true);
    assert.equal(ask(staff, 'subscribe', 'data/secret/x'), false);
    assert.equal(ask(staff, 'subscribe', '#'), true, 'a literal allows what was asked for literally');
    assert.equal(ask(staff, 'subscribe', '+'), undefined);
    assert.equal(ask(staff, 'publish', 'data/ada/x'), true);
    assert.equal(ask(staff, 'publish', 'data/bob/x'), undefined);
    assert.equal(ask({ roles: ['muted'], groups: ['staff'] }, 'publish', 'data/ada/x'), false);
    assert.equal(ask({ roles: ['unknown'], groups: ['none'] }, 'publish', 'data/ada/x'), undefined);
    assert.equal(ask({ roles: [], groups: ['quiet', 'staff'] }, 'publish', 'data/ada/x'), true);
    assert.equal(ask({ roles: ['writer', 'muted'], groups: [] }, 'publish', 'data/ada/x'), false);
    book.replace([reader, writer], staffed);
    assert.equal(ask({ roles: ['muted'], groups: ['staff'] }, 'publish', 'data/ada/x'), true);
  });

  it('have defaults by type and a group for clients without a name', () => {
    const book = new RoleBook();
    let changes = 0;
    book.onChange(() => changes++);
    const source = new RolesSource(
      'roles',
      {
        publishClientSend: 'deny',
        publishClientReceive: 'allow',
        subscribe: 'deny',
        unsubscribe: 'allow',
        anonymousGroup: 'guests',
      },
      book,
    );
    assert.equal(source.governsReceive, false);
    const guest = {
      name: 'guest',
      priority: 0,
      entries: [
        { type: 'publishClientSend', filter: 'hello', permit: 'allow', priority: 0 },
        { type: 'publishClientReceive', filter: 'x', permit: 'deny', priority: 0 },
        { type: 'unsubscribePattern', filter: 'stay/#', permit: 'deny', priority: 0 },
      ],
    } as const;
    book.replace([guest], [{ name: 'guests', priority: 0, roles: ['guest'] }]);
    assert.equal(changes, 1);
    assert.equal(source.governsReceive, true);
    const anonymous = source.bind(client({ username: undefined }), nobody);
    const permitted = (bound: BoundSource, action: Question['action'], topic: string) =>
      (bound.ask(question(action, topic)) as Answer)?.permit;
    assert.equal(permitted(anonymous, 'publish', 'hello'), true);
    assert.equal(permitted(anonymous, 'publish', 'other'), false);
    assert.equal(permitted(anonymous, 'receive', 'x'), false);
    assert.equal(permitted(anonymous, 'receive', 'y'), true);
    assert.equal(anonymous.askUnsubscribe?.('stay/here')?.permit, false);
    assert.equal(anonymous.askUnsubscribe?.('go')?.permit, true);
    assert.equal(permitted(source.bind(client(), nobody), 'publish', 'hello'), false);
  });

  it('refuse an entry that cannot be used, and stay as they were', () => {
    const book = new RoleBook();
    const role = (filter: string) => ({
      name: 'r',
      priority: 0,
      entries: [{ type: 'publishClientSend', filter, permit: 'allow', priority: 0 } as const],
    });
    book.replace([role('a')], []);
    assert.throws(() => book.replace([role('#/a')], [{ name: 'g', priority: 0, roles: [] }]), /no topic filter/);
    assert.deepEqual([[...book.roles.values()], book.groups.size], [[role('a')], 0]);
  });
});
