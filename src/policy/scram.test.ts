import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ReasonCode } from '../protocol/index.js';
import type { ExchangeStep } from './policy.js';
import { saslPrep } from './sasl-prep.js';
import {
  deriveScramCredentials,
  type FindCredentials,
  isScramMethod,
  ScramExchange,
  type ScramMethod,
  scramMethods,
} from './scram.js';
import { ScramClient } from './scram-client.js';
import { ScramUsers } from './scram-users.js';

const refused: ExchangeStep = { outcome: 'refused', reasonCode: ReasonCode.NotAuthorized };
const iterations = 4096;

async function login(method: ScramMethod, find: FindCredentials, username: string, password: string) {
  const client = new ScramClient(method, username, password);
  const server = new ScramExchange(method, find);
  const first = await server.step(client.first());
  assert.equal(first.outcome, 'continue');
  const last = await server.step(await client.final(first.data!));
  return { first: first.data!.toString(), last, verified: last.outcome === 'success' && client.verify(last.data!) };
}

describe('SCRAM', () => {
  it('does the example of RFC 7677 §3', async () => {
    const clientFirst = 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO';
    const serverFirst = 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096';
    const clientFinal =
      'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=';
    const serverFinal = 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=';
    const credentials = await deriveScramCredentials('SCRAM-SHA-256', 'pencil', {
      salt: Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'),
      iterations,
    });
    const server = new ScramExchange('SCRAM-SHA-256', () => credentials, '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0');
    assert.deepEqual(await server.step(Buffer.from(clientFirst)), {
      outcome: 'continue',
      data: Buffer.from(serverFirst),
    });
    assert.deepEqual(await server.step(Buffer.from(clientFinal)), {
      outcome: 'success',
      data: Buffer.from(serverFinal),
      username: 'user',
    });
    assert.deepEqual(await server.step(Buffer.from(clientFinal)), refused);

    const client = new ScramClient('SCRAM-SHA-256', 'user', 'pencil', 'rOprNGfwEbeRWgbNEkqO');
    assert.equal(client.first().toString(), clientFirst);
    assert.equal((await client.final(Buffer.from(serverFirst))).toString(), clientFinal);
    assert.equal(client.verify(Buffer.from(serverFinal)), true);
    assert.equal(client.verify(Buffer.from(serverFinal.replace('6', '7'))), false);
  });

  it('lets in with the right password, by both methods, whatever the characters', async () => {
    const users = new ScramUsers(
      [
        { username: 'a=b,c', password: 'p,=\u00e9' },
        { username: 'IX', password: 'x\u00ady' },
        { username: '\u2168', password: 'z' },
        { username: 'control', password: 'a\u0007b' },
      ],
      iterations,
    );
    await users.prepareAll();
    for (const method of scramMethods) {
      for (const [username, password, name] of [
        ['a=b,c', 'p,=e\u0301', 'a=b,c'],
        ['IX', 'xy', 'IX'],
        ['control', 'a\u0007b', 'control'],
      ] as const) {
        const { last, verified } = await login(method, users.find, username, password);
        assert.equal(last.outcome, 'success');
        assert.equal(last.outcome === 'success' && last.username, name);
        assert.ok(verified);
      }
    }
    assert.ok(isScramMethod('SCRAM-SHA-512') && !isScramMethod('SCRAM-SHA-1') && !isScramMethod('PLAIN'));
  });

  it('shows no difference between an unknown user and a wrong password', async () => {
    const users = new ScramUsers([{ username: 'known', password: 'right' }]);
    const shape = ({
      first,
      last: { username: _, ...last },
    }: {
      first: string;
      last: ExchangeStep & { username?: string };
    }) => [first.replace(/r=[^,]+,s=[^,]{22}==/, ''), last];
    const known = await login('SCRAM-SHA-256', users.find, 'known', 'wrong');
    const unknown = await login('SCRAM-SHA-256', users.find, 'unknown', 'wrong');
    assert.deepEqual(shape(known), shape(unknown));
    assert.deepEqual(unknown.last, { ...refused, username: 'unknown' });
    const saltOf = ({ first }: { first: string }) => /s=([^,]+)/.exec(first)?.[1];
    assert.equal(saltOf(await login('SCRAM-SHA-256', users.find, 'unknown', 'again')), saltOf(unknown));
    assert.notEqual(saltOf(await login('SCRAM-SHA-256', users.find, 'unknown2', 'again')), saltOf(unknown));
  });

  it('refuses what is malformed, bound to a channel, for someone else, or extended', async () => {
    const find = () => undefined;
    const wrong = [
      'p=tls-unique,,n=user,r=abc',
      'n,a=other,n=user,r=abc',
      'n,,m=x,n=user,r=abc',
      'n,,n=us=2Xer,r=abc',
      'n,,n=,r=abc',
      'n,,n=user,r=',
      'n,,n=user,r=a\u00e9',
      'n,,n=us\u0007er,r=abc',
      'n,n=user,r=abc',
      'user',
      `n,,n=user,r=${'a'.repeat(5000)}`,
    ];
    for (const text of wrong)
      assert.deepEqual(await new ScramExchange('SCRAM-SHA-256', find).step(Buffer.from(text)), refused, text);
    assert.deepEqual(await new ScramExchange('SCRAM-SHA-256', find).step(Buffer.from([0x6e, 0xff])), refused);
    for (const text of ['y,,n=user,r=abc', 'n,a=user,n=user,r=abc', 'n,,n=user,r=abc,x=1'])
      assert.equal((await new ScramExchange('SCRAM-SHA-256', find).step(Buffer.from(text))).outcome, 'continue', text);
  });

  it('refuses a last message that changes nonce, header or proof', async () => {
    const credentials = await deriveScramCredentials('SCRAM-SHA-512', 'pw', { iterations });
    const changes: ((text: string) => string)[] = [
      (text) => text.replace('c=biws', 'c=eSws'),
      (text) => text.replace(/,r=[^,]+/, ',r=abc'),
      (text) => text.replace(/,r=([^,]+)/, ',r=$1x'),
      (text) => text.replace(/p=./, (start) => (start === 'p=A' ? 'p=B' : 'p=A')),
      (text) => text.replace(/,p=.*/, ',p=AAAA'),
      (text) => text.replace(/,p=.*/, ''),
      (text) => `${text}\n`,
      () => '',
    ];
    for (const change of changes) {
      const client = new ScramClient('SCRAM-SHA-512', 'u', 'pw');
      const server = new ScramExchange('SCRAM-SHA-512', () => credentials);
      const first = await server.step(client.first());
      const final = (await client.final(first.outcome === 'continue' ? first.data : Buffer.alloc(0))).toString();
      assert.deepEqual(await server.step(Buffer.from(change(final))), { ...refused, username: 'u' });
      assert.deepEqual(await server.step(Buffer.from(final)), refused);
    }
  });

  it('asks once for the first message when CONNECT carries none', async () => {
    const server = new ScramExchange('SCRAM-SHA-256', () => undefined);
    assert.deepEqual(await server.step(undefined), { outcome: 'continue', data: Buffer.alloc(0) });
    assert.deepEqual(await server.step(undefined), refused);
  });

  it('protects the client from a foreign, lazy or demanding server', async () => {
    const final = (challenge: (nonce: string) => string) =>
      new ScramClient('SCRAM-SHA-256', 'u', 'p', 'abc').final(Buffer.from(challenge('abc')));
    await assert.rejects(
      final(() => 'r=xyz,s=AAAA,i=4096'),
      /foreign nonce/,
    );
    await assert.rejects(
      final((nonce) => `r=${nonce},s=AAAA,i=4096`),
      /foreign nonce/,
    );
    await assert.rejects(
      final((nonce) => `r=${nonce}x,s=AAAA,i=1`),
      /asks for 1 iterations/,
    );
    await assert.rejects(
      final((nonce) => `r=${nonce}x,s=AAAA,i=2000000000`),
      /2000000000 iterations/,
    );
    await assert.rejects(
      final(() => 'e=other-error'),
      /malformed/,
    );
  });
});

it('SASLprep follows the examples of RFC 4013 §3', () => {
  assert.equal(saslPrep('I\u00adX'), 'IX');
  assert.equal(saslPrep('user'), 'user');
  assert.equal(saslPrep('USER'), 'USER');
  assert.equal(saslPrep('\u00aa'), 'a');
  assert.equal(saslPrep('\u2168'), 'IX');
  assert.equal(saslPrep('\u0007'), undefined);
  assert.equal(saslPrep('\u06271'), undefined);
  assert.equal(saslPrep('\u0627\u06271\u0628'), '\u0627\u06271\u0628');
  assert.equal(saslPrep('\u0627a\u0628'), undefined);
  assert.equal(saslPrep('a\u00a0b\u3000c'), 'a b c');
  assert.equal(saslPrep('\u00ad'), undefined);
  assert.equal(saslPrep('\ue000'), undefined);
});
