import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { PasswordChecker } from './password-checker.js';
import {
  hashPassword,
  hashProblem,
  hashSchemes,
  parseDigest,
  parsePasswordHash,
  verifyPassword,
} from './password-hash.js';

const verifies = (hash: string, password: string) => verifyPassword(Buffer.from(password), parsePasswordHash(hash)!);

describe('password hashes', () => {
  // Made by mosquitto_passwd 2.0.11, bcrypt and argon2 elsewhere.
  const foreign = [
    [
      's3cret',
      '$7$101$D6vvpHc5fX/u/CQ5$e+DjJ95nVZ0XhorQtKzZPxD4XBirfo9oIctv/jp3vA4AdsugvBQO0XYykdR2+oo5bXu+BFl1ZNMJenxmJddbPg==',
    ],
    [
      'pässword',
      '$6$JsJVldLwZBVxXlyc$r9SYeIaNsQUrVKrmbxjOi2LMAMCuFcGgGWoqB4sqY8MVthu4v9x5pMUOEnnEVxQS+CclvwKjXvTVWFowT60Eeg==',
    ],
    ['s3cret', '$2y$05$To8VSwynE0tCKqUInsBXo.HZh66BlnVTgthUPp48Xc41LonGaEkDu'],
    ['s3cret', '$argon2id$v=19$m=1024,t=2,p=1$vAyoHQ16Nm3U0hpStlC2Ow$Hzfit8osmjl9lEK8LLsEP7j3Ij16k2IlAh2FpqJk9ko'],
  ] as const;

  it('of other programs are understood', async () => {
    for (const [password, hash] of foreign) {
      assert.equal(await verifies(hash, password), true, hash);
      assert.equal(await verifies(hash, `${password}x`), false, hash);
      assert.equal(await verifies(hash, ''), false, hash);
    }
  });

  it('made here are understood here', async () => {
    for (const scheme of hashSchemes) {
      const hash = await hashPassword('pässword', scheme, 10);
      assert.equal(hashProblem(hash), undefined);
      assert.equal(await verifies(hash, 'pässword'), true, hash);
      assert.equal(await verifies(hash, 'password'), false, hash);
      assert.notEqual(await hashPassword('pässword', scheme, 10), hash, 'each has a salt of its own');
    }
  });

  it('that are none, or would take for ever, are refused', () => {
    for (const wrong of [
      '',
      'plain',
      '$',
      '$6$abc',
      '$6$!!$YWJj',
      '$7$0$YWJj$YWJj',
      '$7$99999999$YWJj$YWJj',
      '$2b$31$abcdefghijklmnopqrstuuJmVv0M7Vq5dWm0sGr5cEZ7uW1sXo9nO',
      '$2b$03$abcdefghijklmnopqrstuuJmVv0M7Vq5dWm0sGr5cEZ7uW1sXo9nO',
      '$scrypt$ln=30,r=8,p=1$YWJj$YWJj',
      '$scrypt$ln=14,r=8,p=1$YWJj$Y',
      '$scrypt$ln=14,r=8,p=1$YWJj$YWJjYWJjYWJjYWJjYWJj',
      '$scrypt$ln=14,r=99,p=1$YWJjZGVm$YWJjZGVm$',
      '$argon2id$v=19$m=99999999,t=1,p=1$YWJj$YWJj',
      '$1$abc$def',
    ])
      assert.equal(parsePasswordHash(wrong), undefined, wrong);
  });

  it('of databases have their salt beside them', async () => {
    const check = async (
      algorithm: 'plain' | 'md5' | 'sha256' | 'pbkdf2',
      text: string,
      salt: string,
      saltPosition: 'prefix' | 'suffix' = 'prefix',
    ) => {
      const hash = parseDigest(text, salt, {
        passwordAlgorithm: algorithm,
        saltPosition,
        pbkdf2Iterations: 1000,
        pbkdf2Digest: 'sha256',
      });
      return hash !== undefined && (await verifyPassword(Buffer.from('s3cret'), hash));
    };
    const { createHash, pbkdf2Sync } = await import('node:crypto');
    const sha256 = (text: string) => createHash('sha256').update(text).digest();
    assert.equal(await check('plain', 's3cret', ''), true);
    assert.equal(await check('plain', 's3cres', ''), false);
    assert.equal(await check('md5', createHash('md5').update('s3cret').digest('hex'), ''), true);
    assert.equal(await check('sha256', sha256('salts3cret').toString('hex').toUpperCase(), 'salt'), true);
    assert.equal(await check('sha256', sha256('salts3cret').toString('base64'), 'salt'), true);
    assert.equal(await check('sha256', sha256('s3cretsalt').toString('hex'), 'salt', 'suffix'), true);
    assert.equal(await check('sha256', sha256('s3cretsalt').toString('hex'), 'salt'), false);
    assert.equal(await check('sha256', 'no hash', 'salt'), false);
    assert.equal(await check('pbkdf2', pbkdf2Sync('s3cret', 'salt', 1000, 32, 'sha256').toString('hex'), 'salt'), true);
  });
});

describe('a password checker', () => {
  const hash = parsePasswordHash(`$6$YWJj$${Buffer.alloc(64).toString('base64')}`)!;
  const other = parsePasswordHash(`$6$YWJj$${Buffer.alloc(64, 1).toString('base64')}`)!;

  it('answers at once for a password that was right lately, and only for that', async () => {
    let work = 0;
    const clock = { nowMs: 0 };
    const checker = new PasswordChecker(
      async (password) => {
        work++;
        return Buffer.from(password).toString() === 'right';
      },
      () => clock.nowMs,
    );
    const check = (name: string, password: string, kept = hash) => checker.check(name, Buffer.from(password), kept);
    assert.equal(await check('ada', 'right'), true);
    assert.equal(check('ada', 'right'), true, 'at once');
    assert.equal(await check('ada', 'wrong'), false);
    assert.equal(await check('ada', 'wrong'), false);
    assert.equal(work, 3, 'a wrong password is checked each time');
    assert.equal(await check('bob', 'right'), true);
    assert.equal(await check('ada', 'right', other), true);
    assert.equal(work, 5, 'another user and another hash are checked');
    const salted = parsePasswordHash(`$6$ZGVm$${Buffer.alloc(64).toString('base64')}`)!;
    await check('ada', 'right', salted);
    assert.equal(work, 6, 'another salt is another hash');
    clock.nowMs += 3_600_000;
    await check('ada', 'right');
    assert.equal(work, 7);
  });

  it('runs a few checks at a time', async () => {
    const releases: (() => void)[] = [];
    const slow = () => new Promise<boolean>((resolve) => releases.push(() => resolve(true)));
    const checker = new PasswordChecker(slow, Date.now, 2);
    const checks = [1, 2, 3].map((name) => checker.check(`user${name}`, Buffer.from('x'), hash));
    await turn();
    assert.equal(releases.length, 2);
    assert.equal(checker.load, 3);
    releases[0]!();
    await checks[0];
    await turn();
    assert.equal(releases.length, 3);
    releases[1]!();
    releases[2]!();
    assert.deepEqual(await Promise.all(checks), [true, true, true]);
    assert.equal(checker.load, 0);
  });
});
