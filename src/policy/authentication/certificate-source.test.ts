import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLogger } from '../../base/index.js';
import type { CertificateOptions } from '../options.js';
import type { ClientCertificate, ConnectRequest } from '../policy.js';
import { CertificateSource, type CertificateStanding, MatchSource, PskSource, sameName } from './built-in-sources.js';
import { UserStore } from './users.js';

const thumbprint = 'ab'.repeat(32);
const certificate = (more: Partial<ClientCertificate> = {}): ClientCertificate => ({
  subject: 'CN=pump,O=Plant',
  issuer: 'CN=My CA,O=Plant',
  commonName: 'pump',
  serialNumber: 'A1B2',
  thumbprint,
  notAfterMs: Number.POSITIVE_INFINITY,
  trusted: true,
  der: Buffer.alloc(0),
  ...more,
});
const request = (more: Partial<ConnectRequest> = {}): ConnectRequest => ({
  clientId: 'c',
  username: undefined,
  password: undefined,
  protocolVersion: 5,
  listener: 'tls',
  address: '127.0.0.1',
  allowAnonymous: true,
  ...more,
});
const users = new UserStore('users');
users.setAll([
  { username: 'pump', roles: ['device'] },
  { username: 'off', enabled: false },
  { username: 'away', listeners: ['other'] },
]);

function source(options: Partial<CertificateOptions> = {}, standing?: CertificateStanding): CertificateSource {
  return new CertificateSource(
    {
      type: 'certificate',
      name: 'cert',
      username: 'commonName',
      onlyListed: false,
      mustBeUser: false,
      listed: [],
      ...options,
    },
    users,
    standing === undefined ? undefined : () => standing,
    silentLogger,
  );
}
const listed = (more: object) => ({ enabled: true, listeners: [], ...more });
const outcome = (from: CertificateSource, shown: Partial<ClientCertificate> | undefined) => {
  const decision = from.authenticate(request(shown === undefined ? {} : { certificate: certificate(shown) }));
  return decision.outcome === 'allow' ? `as ${decision.identity.username}` : decision.outcome;
};

describe('a client certificate', () => {
  it('names the user, and passes on clients that show none', () => {
    assert.equal(outcome(source(), {}), 'as pump');
    assert.equal(outcome(source({ username: 'subject' }), {}), 'as CN=pump,O=Plant');
    assert.equal(outcome(source({ username: 'thumbprint' }), {}), `as ${thumbprint}`);
    assert.equal(outcome(source(), undefined), 'next');
    assert.equal(outcome(source(), { commonName: undefined }), 'deny');
    for (const commonName of ['pump\0.evil', 'pump\n', 'pump\ufffd', 'pump\ud800', ''])
      assert.equal(outcome(source(), { commonName }), 'deny', JSON.stringify(commonName));
  });

  it('may have to be that of a user, who may be disabled', () => {
    const strict = source({ mustBeUser: true });
    assert.equal(outcome(strict, {}), 'as pump');
    assert.equal(outcome(strict, { commonName: 'valve' }), 'deny');
    for (const commonName of ['off', 'away']) assert.equal(outcome(source(), { commonName }), 'deny', commonName);
    const decision = strict.authenticate(request({ certificate: certificate() }));
    assert.deepEqual(decision.outcome === 'allow' && decision.identity.roles, ['device']);
  });

  it('is listed by serial number and issuer, or by thumbprint', () => {
    const only = (entry: object) => source({ onlyListed: true, listed: [listed(entry)] });
    const issuer = 'CN=My CA,O=Plant';
    assert.equal(outcome(only({ serialNumber: '0a:1B:2', issuer }), {}), 'as pump');
    assert.equal(
      outcome(only({ serialNumber: '00A1B2', issuer: 'o = Plant, cn = My CA', username: 'other' }), {}),
      'as other',
    );
    assert.equal(outcome(only({ serialNumber: 'A1B2', issuer: 'CN=Other' }), {}), 'deny');
    assert.equal(outcome(only({ serialNumber: 'A1B3', issuer }), {}), 'deny');
    assert.equal(outcome(only({ thumbprint: thumbprint.toUpperCase().replace(/..(?=.)/g, '$&:') }), {}), 'as pump');
    assert.equal(outcome(only({ thumbprint, enabled: false }), {}), 'deny');
    assert.equal(outcome(only({ thumbprint, listeners: ['other'] }), {}), 'deny');
    assert.ok(sameName('CN=a\\, b,O=x', 'cn=a\\, b, o=x'));
    assert.ok(sameName('CN=a\\\\,O=x', 'o=x, cn=a\\\\'), 'a backslash that is escaped escapes no comma');
    assert.ok(!sameName('CN=a\\,O=x', 'CN=a, O=x'));
    assert.ok(!sameName('CN=a,O=x', 'CN=A,O=x'));
  });

  it('counts by what the authority says: revoked wins, listed outweighs a chain that is not trusted', () => {
    for (const [options, standing, trusted, expected] of [
      [{}, 'unlisted', true, 'as pump'],
      [{}, 'unlisted', false, 'deny'],
      [{}, 'authorized', false, 'as pump'],
      [{}, 'revoked', true, 'deny'],
      [{ listed: [listed({ thumbprint })] }, 'revoked', true, 'deny'],
      [{ onlyListed: true }, 'unlisted', true, 'deny'],
      [{ onlyListed: true }, 'authorized', true, 'as pump'],
      [{ onlyListed: true }, 'authorized', false, 'as pump'],
      [{ onlyListed: true }, 'revoked', false, 'deny'],
    ] as const)
      assert.equal(
        outcome(source(options, standing), { trusted }),
        expected,
        `${JSON.stringify(options)} ${standing} ${trusted}`,
      );
  });
});

it('the identity of a pre-shared key is a user', () => {
  const loose = new PskSource({ name: 'psk', mustBeUser: false }, users);
  const strict = new PskSource({ name: 'psk', mustBeUser: true }, users);
  const ask = (from: PskSource, pskIdentity?: string) =>
    from.authenticate(request(pskIdentity === undefined ? {} : { pskIdentity })).outcome;
  assert.deepEqual(
    [ask(loose), ask(loose, 'x'), ask(strict, 'x'), ask(strict, 'pump'), ask(loose, 'off')],
    ['next', 'allow', 'deny', 'allow', 'deny'],
  );
});

it('lists of client identifiers and addresses deny, admit and require', () => {
  const ip = new MatchSource({
    type: 'ip',
    name: 'ip',
    deny: ['10.1.0.0/16'],
    admit: ['10.2.0.1'],
    require: ['10.0.0.0/8', 'fd00::/8'],
  });
  const ask = (address: string) => ip.authenticate(request({ address })).outcome;
  assert.deepEqual(
    ['10.1.2.3', '10.2.0.1', '10.3.0.1', '11.0.0.1', '::ffff:10.1.2.3', 'fd00::1', 'fe80::1', ''].map(ask),
    ['deny', 'allow', 'next', 'deny', 'deny', 'next', 'deny', 'deny'],
  );
  const id = new MatchSource({ type: 'clientId', name: 'id', deny: ['/x.*/'], admit: [], require: [] });
  assert.deepEqual(
    ['x1', 'ax1', 'y'].map((clientId) => id.authenticate(request({ clientId })).outcome),
    ['deny', 'next', 'next'],
  );
});
