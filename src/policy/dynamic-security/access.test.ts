import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { BoundSource } from '../authorization/source.js';
import type { Client } from '../policy.js';
import type { Question } from '../sources/facts.js';
import { bindAccess, governsReceive } from './access.js';
import type { Contents } from './contents.js';
import { parseContents } from './file-format.js';

const clientOf = (username: string | undefined, clientId = 'c1'): Client => ({
  clientId,
  username,
  protocolVersion: 5,
  listener: 'test',
  address: '127.0.0.1',
});

const contentsOf = (tree: object): Contents => parseContents(JSON.stringify(tree));
const entry = (acltype: string, topic: string, allow: boolean, priority = 0) => ({ acltype, topic, allow, priority });

class Asked {
  private readonly bound: BoundSource;

  constructor(contents: Contents, username: string | undefined, clientId?: string, isLast = true) {
    this.bound = bindAccess(contents, clientOf(username, clientId), isLast);
  }

  may(action: Question['action'], topic: string): boolean | undefined {
    const answer = this.bound.ask({ action, topic, qos: 0, retain: false });
    return (answer as { permit: boolean } | undefined)?.permit;
  }

  mayUnsubscribe(topicFilter: string): boolean | undefined {
    return this.bound.askUnsubscribe?.(topicFilter)?.permit;
  }
}

const role = (rolename: string, ...acls: object[]) => ({ rolename, acls });

describe('access by dynamic security', () => {
  it('asks the roles of the user before those of its groups, each by priority', () => {
    // The order that the documentation of the plugin gives for such a user.
    const order = ['hallway', 'input', 'output', 'humidity'];
    const groups = [
      {
        groupname: 'temperature',
        roles: [
          { rolename: 'output', priority: 1 },
          { rolename: 'input', priority: 5 },
        ],
        clients: [{ username: 'sensor', priority: 2 }],
      },
      { groupname: 'humidity', roles: [{ rolename: 'humidity' }], clients: [{ username: 'sensor', priority: 1 }] },
    ];
    for (const [index, decides] of order.entries()) {
      const roles = order.map((name, at) =>
        // Those before it say nothing, those behind it the contrary.
        role(name, ...(at < index ? [] : [entry('publishClientSend', 't', name === decides)])),
      );
      const contents = contentsOf({
        clients: [{ username: 'sensor', roles: [{ rolename: 'hallway' }] }],
        groups,
        roles,
      });
      assert.equal(new Asked(contents, 'sensor').may('publish', 't'), true, decides);
    }
  });

  it('asks roles of one priority by name, and entries of one priority as they came', () => {
    const contents = contentsOf({
      clients: [{ username: 'u', roles: [{ rolename: 'b' }, { rolename: 'a' }] }],
      roles: [
        role('b', entry('publishClientSend', 't', true)),
        role(
          'a',
          entry('publishClientSend', 't', false),
          entry('publishClientSend', 'first/+', true),
          entry('publishClientSend', '+/x', false),
          entry('publishClientSend', 'high/x', true, 9),
        ),
      ],
    });
    const asked = new Asked(contents, 'u');
    assert.equal(asked.may('publish', 't'), false);
    assert.equal(asked.may('publish', 'first/x'), true);
    assert.equal(asked.may('publish', 'other/x'), false);
    assert.equal(asked.may('publish', 'high/x'), true);
  });

  it('tells literal filters from those that cover', () => {
    const contents = contentsOf({
      clients: [{ username: 'u', roles: [{ rolename: 'r' }] }],
      roles: [
        role(
          'r',
          entry('subscribeLiteral', '#', false),
          entry('subscribePattern', 'a/#', true),
          entry('subscribePattern', 'a/secret/#', false, 5),
          entry('subscribeLiteral', 'a/secret/x', true),
          entry('unsubscribeLiteral', 'a/b', false),
          entry('unsubscribePattern', 'k/#', false),
        ),
      ],
    });
    const asked = new Asked(contents, 'u');
    for (const [filter, expected] of [
      ['#', false],
      ['a', true],
      ['a/b', true],
      ['a/+', true],
      ['a/secret/y', false],
      ['a/secret/x', true],
      ['b', false],
    ] as const)
      assert.equal(asked.may('subscribe', filter), expected, filter);
    assert.equal(asked.mayUnsubscribe('a/b'), false);
    assert.equal(asked.mayUnsubscribe('k/x'), false);
    assert.equal(asked.mayUnsubscribe('a/c'), true);
  });

  it('has defaults, which never open $CONTROL', () => {
    const closed = contentsOf({ clients: [{ username: 'u' }] });
    const asked = new Asked(closed, 'u');
    assert.equal(asked.may('publish', 't'), false);
    assert.equal(asked.may('receive', 't'), true);
    assert.equal(asked.may('subscribe', 't'), false);
    assert.equal(asked.mayUnsubscribe('t'), true);
    assert.equal(new Asked(closed, 'u', 'c1', false).may('publish', 't'), undefined, 'another source may allow it');
    const open = new Asked(
      contentsOf({
        clients: [{ username: 'u' }],
        defaultACLAccess: {
          publishClientSend: true,
          subscribe: true,
          publishClientReceive: false,
          unsubscribe: false,
        },
      }),
      'u',
      'c1',
      false,
    );
    assert.equal(open.may('publish', 't'), true);
    assert.equal(open.may('subscribe', '#'), true);
    assert.equal(open.may('publish', '$CONTROL/dynamic-security/v1'), undefined);
    assert.equal(open.may('subscribe', '$CONTROL/#'), undefined);
    assert.equal(open.may('receive', 't'), false);
    assert.equal(open.mayUnsubscribe('t'), false);
  });

  it('leaves topics with $ out of # for messages, and not for subscriptions', () => {
    const contents = contentsOf({
      clients: [{ username: 'u', roles: [{ rolename: 'r' }] }],
      roles: [
        role(
          'r',
          entry('publishClientSend', '#', true),
          entry('subscribePattern', '#', true),
          entry('publishClientReceive', '#', false),
        ),
      ],
    });
    const asked = new Asked(contents, 'u');
    assert.equal(asked.may('publish', 'a'), true);
    assert.equal(asked.may('publish', '$CONTROL/dynamic-security/v1'), false);
    assert.equal(asked.may('subscribe', '$SYS/#'), true);
    assert.equal(asked.may('receive', 'a'), false);
    assert.equal(asked.may('receive', '$SYS/broker/uptime'), true, 'by default');
    assert.equal(governsReceive(contents), true);
    assert.equal(governsReceive(contentsOf({})), false);
  });

  it('puts in user name and client identifier, which never widen an entry', () => {
    const contents = contentsOf({
      clients: ['u', 'a/b', '+', '$SYS', '#'].map((username) => ({ username, roles: [{ rolename: 'r' }] })),
      roles: [
        role(
          'r',
          entry('publishClientSend', 'up/%u/%c', true),
          entry('publishClientSend', '%u/x', true),
          entry('publishClientSend', 'mixed-%u', true),
          entry('subscribeLiteral', 'lit/%u', true),
          entry('subscribePattern', 'priv/%u/#', false, 5),
          entry('subscribePattern', 'priv/#', true),
        ),
      ],
    });
    const asked = new Asked(contents, 'u');
    assert.equal(asked.may('publish', 'up/u/c1'), true);
    assert.equal(asked.may('publish', 'up/other/c1'), false);
    assert.equal(asked.may('publish', 'mixed-u'), false, 'a variable is a whole level');
    assert.equal(asked.may('subscribe', 'lit/u'), false);
    assert.equal(asked.may('subscribe', 'lit/%u'), true);
    assert.equal(new Asked(contents, '+').may('publish', 'up/any/c1'), false);
    assert.equal(new Asked(contents, '#').may('publish', 'up/a/b'), false);
    assert.equal(new Asked(contents, 'a/b').may('publish', 'up/a/b/c1'), false);
    assert.equal(new Asked(contents, '$SYS').may('publish', '$SYS/x'), false);
    assert.equal(new Asked(contents, 'u', 'x/y').may('publish', 'up/u/x/y'), false);
    assert.equal(new Asked(contents, '+').may('subscribe', 'priv/x/y'), false, 'what denies gets wider');
    assert.equal(asked.may('subscribe', 'priv/x/y'), true);
  });

  it('gives clients without a user name the roles of the anonymous group, and says nothing of users it does not know', () => {
    const tree = {
      clients: [{ username: 'off', disabled: true, roles: [{ rolename: 'r' }] }],
      groups: [{ groupname: 'g', roles: [{ rolename: 'r' }] }],
      roles: [role('r', entry('publishClientSend', 't', true))],
    };
    assert.equal(new Asked(contentsOf({ ...tree, anonymousGroup: 'g' }), undefined).may('publish', 't'), true);
    assert.equal(new Asked(contentsOf(tree), undefined).may('publish', 't'), false);
    assert.equal(new Asked(contentsOf(tree), 'somebody').may('publish', 't'), undefined);
    assert.equal(new Asked(contentsOf(tree), 'off').may('publish', 't'), false);
    assert.equal(new Asked(contentsOf(tree), 'off').may('receive', 't'), false);
  });

  it('keeps wildcards from whoever has a role without them, and takes no entry that is no filter', () => {
    const contents = contentsOf({
      clients: [{ username: 'u', roles: [{ rolename: 'r' }] }],
      roles: [
        {
          rolename: 'r',
          allowwildcardsubs: false,
          acls: [
            entry('subscribePattern', 'a/#', true),
            entry('subscribePattern', 'b/#/c', true),
            entry('publishClientSend', 'b/#/c', true),
          ],
        },
      ],
    });
    const asked = new Asked(contents, 'u');
    assert.equal(asked.may('subscribe', 'a/b'), true);
    assert.equal(asked.may('subscribe', 'a/+'), false);
    assert.equal(asked.may('subscribe', 'b/x'), false);
    assert.equal(asked.may('publish', 'b/x'), false);
  });
});
