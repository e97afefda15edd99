/** Bans, counts and rates by themselves; what clients see of them is in `test/scenario/protection.test.ts`. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLogger } from '../../base/index.js';
import type { Client } from '../../policy/index.js';
import { BanList } from './ban-list.js';
import { ConnectionCounts } from './connection-counts.js';
import { Protection, type ProtectionOptions } from './protection.js';
import { type RateRule, Rates } from './rates.js';
import { RecentCounts } from './recent-counts.js';

const client = (clientId: string, username?: string, address = '192.0.2.1', listener = 'default'): Client => ({
  clientId,
  username,
  address,
  listener,
  protocolVersion: 5,
});

describe('BanList', () => {
  it('finds clients by identifier, name, address, network and pattern, and nobody else', () => {
    const bans = new BanList(() => 0, undefined);
    bans.add({ kind: 'clientId', value: 'bad' }, 'test');
    bans.add({ kind: 'username', value: 'eve' }, 'test');
    bans.add({ kind: 'address', value: '203.0.113.7' }, 'test');
    bans.add({ kind: 'address', value: '198.51.100.0/24' }, 'test');
    bans.add({ kind: 'address', value: '2001:db8::/32' }, 'test');
    bans.add({ kind: 'clientIdPattern', value: 'scan-\\d+' }, 'test');
    bans.add({ kind: 'usernamePattern', value: 'tmp.*' }, 'test');
    const banned: [Client, string][] = [
      [client('bad'), 'bad'],
      [client('c', 'eve'), 'eve'],
      [client('c', undefined, '203.0.113.7'), '203.0.113.7'],
      [client('c', undefined, '198.51.100.200'), '198.51.100.0/24'],
      [client('c', undefined, '2001:db8:1::5'), '2001:db8::/32'],
      [client('scan-42'), 'scan-\\d+'],
      [client('c', 'tmpuser'), 'tmp.*'],
      [client('c', 'tmp\nuser'), 'tmp.*'],
    ];
    for (const [who, value] of banned) assert.equal(bans.find(who)?.value, value);
    for (const who of [client('bad2'), client('xscan-42'), client('scan-x'), client('c', 'eve2', '198.51.101.1')])
      assert.equal(bans.find(who), undefined);
    assert.equal(bans.remove('clientId', 'bad'), true);
    assert.equal(bans.remove('clientId', 'bad'), false);
    assert.equal(bans.find(client('bad')), undefined);
  });

  it('know an address in all of its spellings', () => {
    const bans = new BanList(() => 0, undefined);
    const from = (address: string) => bans.find(client('c', undefined, address))?.value;
    for (const [value, address] of [
      ['2001:DB8:0::7', '2001:db8::7'],
      ['::FFFF:203.0.113.7', '203.0.113.7'],
      ['::ffff:cb00:7108', '203.0.113.8'],
      ['fe80::1%eth0', 'fe80::1'],
      ['2001:DB8:AB::/48', '2001:db8:ab::1'],
      ['::ffff:198.51.100.0/120', '198.51.100.9'],
    ] as const) {
      assert.equal(from(address), undefined, address);
      bans.add({ kind: 'address', value }, 'test');
      assert.equal(from(address), value);
    }
    assert.equal(bans.remove('address', '2001:db8:0:0::7'), true);
    assert.equal(from('2001:db8::7'), undefined);
  });

  it('match all of a name, line ends included', () => {
    const bans = new BanList(() => 0, undefined);
    bans.add({ kind: 'clientIdPattern', value: 'scan-.*' }, 'test');
    assert.equal(bans.find(client('scan-1\n'))?.value, 'scan-.*');
    assert.equal(bans.find(client('a\nscan-1')), undefined);
  });

  it('forgets what is over', () => {
    let now = 0;
    const bans = new BanList(() => now, undefined);
    bans.add({ kind: 'clientId', value: 'bad', untilMs: 1000 }, 'test');
    bans.add({ kind: 'clientIdPattern', value: 'b.*', untilMs: 2000 }, 'test');
    assert.equal([...bans.list()].length, 2);
    now = 1000;
    assert.equal(bans.find(client('bad'))?.kind, 'clientIdPattern');
    now = 2000;
    assert.equal(bans.find(client('bad')), undefined);
    assert.equal(bans.size, 0);
  });

  it('does not gather those that are over', () => {
    let now = 0;
    const bans = new BanList(() => now, undefined);
    for (; now < 100_000; now++) bans.add({ kind: 'clientId', value: `c${now}`, untilMs: now + 10 }, 'test');
    assert.ok(bans.size <= 2000, `${bans.size}`);
  });

  it('lifts that of one maker only, where asked for', () => {
    const bans = new BanList(() => 0, undefined);
    bans.add({ kind: 'clientId', value: 'c' }, 'administrator');
    assert.equal(bans.remove('clientId', 'c', 'configuration'), false);
    assert.equal(bans.remove('clientId', 'c'), true);
  });

  it('names what is wrong with a value', () => {
    const bans = new BanList(() => 0, undefined);
    for (const value of ['10.0.0.0/33', 'host.example', '10.0.0.0/8/8', '10.0.0.0/', '::1/129', 'fe80::%eth0/64'])
      assert.throws(() => bans.add({ kind: 'address', value }, 'test'), { code: 'BAN_INVALID' }, value);
    assert.throws(() => bans.add({ kind: 'clientIdPattern', value: '(' }, 'test'), /is no regular expression/);
    assert.throws(() => bans.add({ kind: 'clientId', value: '' }, 'test'), /is empty/);
    assert.throws(() => bans.add({ kind: 'user' as 'username', value: 'u' }, 'test'), /"user", is none of clientId/);
    assert.throws(() => bans.add({ kind: 'username', value: undefined as unknown as string }, 'test'), /no text/);
    assert.throws(() => bans.add({ kind: 'username', value: 'u', untilMs: Number.NaN }, 'test'), /NaN/);
    assert.equal(bans.size, 0);
  });
});

describe('ConnectionCounts', () => {
  it('bounds what each has at a time', () => {
    const counts = new ConnectionCounts();
    assert.deepEqual(
      [counts.add('a', 2), counts.add('a', 2), counts.add('a', 2), counts.add('b', 2)],
      [true, true, false, true],
    );
    counts.remove('a');
    assert.equal(counts.add('a', 2), true);
    assert.equal(counts.add('a', 0), true);
  });
});

describe('RecentCounts', () => {
  it('counts within the window and forgets after it', () => {
    const counts = new RecentCounts(60, 1000);
    for (let index = 1; index <= 5; index++) assert.equal(counts.add('a', 1000), index);
    assert.equal(counts.count('a', 40_000), 5);
    assert.equal(counts.count('a', 130_000), 0);
  });

  it('holds no more names than it may', () => {
    const counts = new RecentCounts(60, 10);
    for (let index = 0; index < 1000; index++) counts.add(`name ${index}`, 0);
    assert.equal(counts.add('name 5', 0), 2);
    assert.equal(counts.add('name 900', 0), 1);
  });

  it('tells long names apart without keeping them', () => {
    const counts = new RecentCounts(60, 10);
    const long = (end: string) => `user ${'x'.repeat(60_000)}${end}`;
    for (let index = 1; index <= 3; index++) assert.equal(counts.add(long('a'), 0), index);
    assert.equal(counts.count(long('a'), 0), 3);
    assert.equal(counts.count(long('b'), 0), 0);
    const { current } = counts as unknown as { current: Map<string, number> };
    assert.ok([...current.keys()].every((name) => name.length < 200));
    counts.forget(long('a'));
    assert.equal(counts.count(long('a'), 0), 0);
  });
});

describe('Rates', () => {
  const rule = (more: Partial<RateRule>): RateRule => ({
    direction: 'publish',
    scope: 'client',
    listeners: [],
    usernames: [],
    messagesPerSecond: 10,
    bytesPerSecond: 0,
    burstSeconds: 1,
    outcome: 'delay',
    ...more,
  });

  it('concern those whom the rule names', () => {
    const rates = new Rates([rule({ listeners: ['slow'] }), rule({ usernames: ['u'], direction: 'deliver' })], () => 0);
    assert.equal(rates.of(client('a')), undefined);
    assert.equal(rates.of(client('a', 'u'))?.limitsDelivery, true);
    assert.equal(rates.of(client('a', undefined, '', 'slow'))?.limitsDelivery, false);
  });

  it('are shared in the scope of the rule', () => {
    for (const [scope, shared] of [
      ['client', false],
      ['user', true],
      ['listener', true],
      ['broker', true],
    ] as const) {
      const rates = new Rates([rule({ scope, outcome: 'drop' })], () => 0);
      const [a, b] = [rates.of(client('a', 'u'))!, rates.of(client('b', 'u'))!];
      assert.equal(a.published(10, 0, 0), 0);
      assert.equal(a.refusal(0), 'drop');
      assert.equal(b.refusal(0), shared ? 'drop' : undefined, scope);
    }
  });

  it('stay shared with those who have them, however many others come and go', () => {
    const rates = new Rates([rule({ scope: 'user', outcome: 'drop' })], () => 0);
    const first = rates.of(client('a', 'u'))!;
    for (let index = 0; index < 25_000; index++) rates.of(client('x', `user ${index}`));
    first.published(20, 0, 0);
    assert.equal(rates.of(client('b', 'u'))!.refusal(0), 'drop');
  });

  it('are not begun anew by rules that are the same', () => {
    const rates = new Rates([rule({ outcome: 'drop' })], () => 0);
    rates.of(client('a'))!.published(20, 0, 0);
    assert.equal(rates.replace([rule({ outcome: 'drop' })]), false);
    assert.equal(rates.of(client('a'))!.refusal(0), 'drop');
    assert.equal(rates.replace([rule({ outcome: 'drop', messagesPerSecond: 11 })]), true);
    assert.equal(rates.of(client('a'))!.refusal(0), undefined);
  });

  it('are not new for a client that comes back', () => {
    const rates = new Rates([rule({ outcome: 'disconnect' })], () => 0);
    rates.of(client('a'))!.published(20, 0, 0);
    assert.equal(rates.of(client('a'))!.refusal(0), 'disconnect');
  });

  it('make nobody wait longer than a timer can', () => {
    const rates = new Rates([rule({ messagesPerSecond: 0, bytesPerSecond: 1 })], () => 0);
    assert.equal(rates.of(client('a'))!.published(1, 200_000_000, 0), 2 ** 31 - 1);
  });

  it('say how long to wait, for the slowest of all rules', () => {
    const rates = new Rates([rule({}), rule({ messagesPerSecond: 0, bytesPerSecond: 100 })], () => 0);
    const mine = rates.of(client('a'))!;
    assert.equal(mine.published(1, 500, 0), 4010);
    assert.equal(mine.strict, false);
  });
});

describe('Protection', () => {
  const options: ProtectionOptions = {
    rates: [],
    connectionsPerUserMax: 0,
    connectionsPerAddressMax: 0,
    connectionsPerSecondMax: 5,
    connectionSecondsMax: 0,
    flapping: { connectsMax: 3, windowSeconds: 10, banSeconds: 30 },
    logins: { failuresMax: 2, windowSeconds: 10, delaySecondsMax: 1 },
  };

  it('bans a client that flaps, for a time', () => {
    let now = 0;
    const protection = new Protection(options, { nowMs: () => now }, silentLogger, undefined);
    assert.deepEqual(
      [1, 2, 3, 4].map(() => protection.connected(client('flap'))),
      [false, false, false, true],
    );
    assert.equal(protection.bans.find(client('flap'))?.by, 'flapping');
    now = 31_000;
    assert.equal(protection.bans.find(client('flap')), undefined);
  });

  it('delays the answer to failed logins more and more, by address and by name, up to a limit', () => {
    const protection = new Protection(options, { nowMs: () => 0 }, silentLogger, undefined);
    const fail = (address: string, username: string) => protection.loginFailed({ address, username });
    assert.deepEqual(
      Array.from({ length: 7 }, () => fail('192.0.2.1', 'root')),
      [0, 0, 100, 200, 400, 800, 1000],
    );
    assert.equal(fail('192.0.2.2', 'root'), 1000, 'another address, the same name');
    assert.equal(fail('192.0.2.1', 'other'), 1000, 'the same address, another name');
    assert.equal(fail('192.0.2.9', 'someone'), 0);
  });

  it('lets so many connect in a second', () => {
    let now = 0;
    const protection = new Protection(options, { nowMs: () => now }, silentLogger, undefined);
    assert.equal(Array.from({ length: 8 }, () => protection.mayConnect()).filter(Boolean).length, 5);
    now = 400;
    assert.equal(Array.from({ length: 8 }, () => protection.mayConnect()).filter(Boolean).length, 2);
  });
});
