import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLogger } from '../base/index.js';
import { ReasonCode } from '../protocol/index.js';
import { AccessPolicy } from './access-policy.js';
import { type AccessOptions, openAccess } from './options.js';
import { hashPassword } from './passwords/password-hash.js';
import type { Admission, Client, ConnectRequest } from './policy.js';
import { ScramClient } from './scram-client.js';

const client: Client = {
  clientId: 'c',
  username: 'ada',
  protocolVersion: 5,
  listener: 'default',
  address: '127.0.0.1',
};
const request = (username: string | undefined, password?: string, allowAnonymous = false): ConnectRequest => ({
  ...client,
  username,
  password: password === undefined ? undefined : Buffer.from(password),
  allowAnonymous,
});

const policyOf = (options: Partial<AccessOptions>) =>
  new AccessPolicy({ ...openAccess, ...options }, { log: silentLogger });

async function loginByScram(policy: AccessPolicy, username: string, password: string): Promise<string> {
  const scram = new ScramClient('SCRAM-SHA-256', username, password);
  const exchange = policy.beginExchange('SCRAM-SHA-256', client)!;
  const challenge = await exchange.step(scram.first());
  assert.equal(challenge.outcome, 'continue');
  return (await exchange.step(await scram.final(challenge.data))).outcome;
}

describe('the policy of users alone', () => {
  const users = policyOf({
    users: [
      { username: 'ada', password: 'pässword' },
      { username: 'bob', password: 'other' },
    ],
  });
  const policy = {
    authenticate: (asked: ConnectRequest) => users.authenticate(asked) as Admission,
    beginExchange: (method: string) => users.beginExchange(method, client),
  };

  it('lets users in with their own password only', () => {
    assert.equal(policy.authenticate(request('ada', 'pässword')).reasonCode, ReasonCode.Success);
    for (const [username, password] of [
      ['ada', 'other'],
      ['ada', ''],
      ['ada', 'pässword '],
      ['ada', undefined],
      ['', 'pässword'],
      ['constructor', ''],
    ] as const)
      assert.equal(policy.authenticate(request(username, password)).reasonCode, ReasonCode.BadUserNameOrPassword);
  });

  it('answers an unknown user and a wrong password alike', () => {
    assert.deepEqual(policy.authenticate(request('eve', 'other')), policy.authenticate(request('ada', 'other')));
    assert.deepEqual(policy.authenticate(request('eve', '', true)), policy.authenticate(request('ada', '', true)));
  });

  it('lets anonymous clients in where the listener does, and nobody with a bad login', () => {
    assert.equal(policy.authenticate(request(undefined, undefined, true)).reasonCode, ReasonCode.Success);
    assert.equal(policy.authenticate(request(undefined)).reasonCode, ReasonCode.NotAuthorized);
    const bad = policy.authenticate(request('ada', 'wrong', true));
    assert.equal(bad.reasonCode, ReasonCode.BadUserNameOrPassword);
  });

  it('knows nobody without users: a user name counts for nothing', () => {
    const open = policyOf({});
    assert.equal((open.authenticate(request('any', 'thing', true)) as Admission).reasonCode, ReasonCode.Success);
    assert.equal(
      (open.authenticate(request('any', 'thing')) as Admission).reasonCode,
      ReasonCode.BadUserNameOrPassword,
    );
    assert.equal(open.beginExchange('SCRAM-SHA-256', client), undefined);
  });

  it('offers SCRAM to its users, and nothing else', () => {
    assert.notEqual(policy.beginExchange('SCRAM-SHA-256'), undefined);
    assert.notEqual(policy.beginExchange('SCRAM-SHA-512'), undefined);
    for (const method of ['', 'scram-sha-256', 'PLAIN', 'constructor'])
      assert.equal(policy.beginExchange(method), undefined);
  });

  it('lets nobody in whose user was removed, disabled or changed while the login ran', async () => {
    const passwordHash = await hashPassword('one', 'sha512');
    const changes: ((store: AccessPolicy['users']) => void)[] = [
      (store) => store.remove('ada'),
      (store) => store.set({ username: 'ada', password: 'one', enabled: false }),
      (store) => store.set({ username: 'ada', password: 'two' }),
    ];
    for (const change of changes) {
      const hashed = policyOf({ users: [{ username: 'ada', passwordHash }] });
      const admission = hashed.authenticate(request('ada', 'one'));
      change(hashed.users);
      assert.equal((await admission).reasonCode, ReasonCode.BadUserNameOrPassword);

      const plain = policyOf({ users: [{ username: 'ada', password: 'one' }] });
      const scram = new ScramClient('SCRAM-SHA-256', 'ada', 'one');
      const exchange = plain.beginExchange('SCRAM-SHA-256', client)!;
      const challenge = await exchange.step(scram.first());
      assert.equal(challenge.outcome, 'continue');
      const answer = await scram.final(challenge.data);
      change(plain.users);
      assert.equal((await exchange.step(answer)).outcome, 'refused');
    }
  });

  it('keeps what SCRAM has derived when other users change', async () => {
    const changing = policyOf({ users: [{ username: 'ada', password: 'one' }] });
    await changing.prepare(new AbortController().signal);
    const salt = async () => {
      const first = new ScramClient('SCRAM-SHA-256', 'ada', 'one').first();
      const step = await changing.beginExchange('SCRAM-SHA-256', client)!.step(first);
      assert.equal(step.outcome, 'continue');
      return /s=([^,]+)/.exec(String(step.data))?.[1];
    };
    const before = await salt();
    changing.users.set({ username: 'bob', password: 'two' });
    assert.equal(await salt(), before);
    assert.equal(await loginByScram(changing, 'bob', 'two'), 'success');
    changing.users.set({ username: 'ada', password: 'three' });
    assert.notEqual(await salt(), before);
    assert.equal(await loginByScram(changing, 'ada', 'one'), 'refused');
    assert.equal(await loginByScram(changing, 'ada', 'three'), 'success');
  });

  it('takes a name by SCRAM for nobody but the user of that very name', async () => {
    const alike = policyOf({
      users: [
        { username: 'fi', password: 'one' },
        { username: '\ufb01', password: 'two' },
      ],
    });
    for (const [password, expected] of [
      ['one', 'success'],
      ['two', 'refused'],
    ] as const) {
      assert.equal(await loginByScram(alike, 'fi', password), expected);
    }
    // The user whom it seems to be has a hashed password, and so no SCRAM at all.
    const hashed = policyOf({
      users: [
        { username: 'fi', passwordHash: await hashPassword('one', 'sha512'), superuser: true },
        { username: '\ufb01', password: 'two' },
        { username: 'ada', password: 'three' },
      ],
    });
    assert.equal(await loginByScram(hashed, 'fi', 'two'), 'refused');
    assert.equal(await loginByScram(hashed, 'ada', 'three'), 'success');
  });

  it('allows everything but publishing below $SYS', () => {
    assert.equal(users.authorizePublish(client, '$SYS/broker/uptime'), ReasonCode.NotAuthorized);
    assert.equal(users.authorizePublish(client, '$SYStem'), ReasonCode.Success);
    assert.equal(users.authorizePublish(client, 'a'), ReasonCode.Success);
    for (const qos of [0, 1, 2] as const) assert.equal(users.authorizeSubscribe(client, '$SYS/#', qos), qos);
  });
});
