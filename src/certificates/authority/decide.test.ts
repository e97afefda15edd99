/**
 * Every combination of the three options and of what is known of a certificate: at the decision itself, and in handshakes with a
 * listener. The rows say what the options promise:
 *
 * - require: clients need to show a certificate; those of a trusted authority are accepted.
 * - onlyListed: a certificate that is not on the list as authorized is refused even if trusted. No certificate is not listed.
 * - trustListed: a certificate that is not trusted is accepted when it is on the list as authorized.
 * - Revoked takes precedence, whatever is set.
 */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { Authority, Folder, type Issued } from '../../../test/support/pki.js';
import { TlsScene, tlsDefaults } from '../../../test/support/tls-scene.js';
import { CertificateAuthority } from './certificate-authority.js';
import type { AcceptanceOptions } from './decide.js';
import { listenerHooks, withAuthority } from './listener-terms.js';

/** Which certificate is shown; L on the list as authorized, T trusted, R revoked. */
const columns = ['none', '-', 'T', 'L', 'LT', 'R', 'RT', 'RL', 'RLT'] as const;
type Column = (typeof columns)[number];

const table: readonly [require: boolean, onlyListed: boolean, trustListed: boolean, outcomes: string][] = [
  // none - T L LT | R RT RL RLT; y is let in
  [false, false, false, 'y n y n y  n n n n'],
  [true, false, false, 'n n y n y  n n n n'],
  [false, true, false, 'n n n n y  n n n n'],
  [true, true, false, 'n n n n y  n n n n'],
  [false, false, true, 'y n y y y  n n n n'],
  [true, false, true, 'n n y y y  n n n n'],
  [false, true, true, 'n n n y y  n n n n'],
  [true, true, true, 'n n n y y  n n n n'],
];
const rows = table.map(([requireClientCertificate, onlyListed, trustListed, outcomes]) => ({
  options: { requireClientCertificate, onlyListed, trustListed },
  outcomes: new Map(columns.map((column, index) => [column, outcomes.split(/ +/)[index] === 'y'])),
}));
const named = ({ requireClientCertificate, onlyListed, trustListed }: AcceptanceOptions) =>
  `require ${requireClientCertificate}, onlyListed ${onlyListed}, trustListed ${trustListed}`;

const folder = new Folder();
let authority: CertificateAuthority;
let elsewhere: Authority;
const shown = new Map<Column, Issued>();
const der = (column: Column) => shown.get(column)!.der;

before(async () => {
  authority = await CertificateAuthority.open(folder.at('ca'));
  elsewhere = await Authority.create('Elsewhere CA');
  const trustedElsewhere = await Authority.create('Trusted CA');
  folder.write('trusted.pem', trustedElsewhere.certificate);
  for (const column of columns) {
    if (column === 'none') continue;
    const issued = await (column.includes('T') ? trustedElsewhere : elsewhere).issue(`device ${column}`);
    shown.set(column, issued);
    const certificate = new X509Certificate(issued.der);
    if (column.includes('L')) await authority.add(certificate);
    if (column.includes('R')) {
      // In a row of its own, so that an authorized one and a revoked one speak of the same certificate.
      const { serialNumber, issuer } = certificate;
      const { id } = await authority.addIdentity({ serialNumber, issuer });
      await authority.revoke(id);
    }
  }
});
after(() => folder.remove());

describe('the verdict on a client certificate', () => {
  it('covers all combinations once', () => {
    assert.equal(new Set(table.map((row) => row.slice(0, 3).join())).size, 8);
    for (const { outcomes } of rows) assert.equal(outcomes.size, columns.length);
  });

  for (const { options, outcomes } of rows)
    it(`is as the options say: ${named(options)}`, () => {
      for (const [column, expected] of outcomes) {
        const certificate = column === 'none' ? undefined : { der: der(column), trusted: column.includes('T') };
        const decision = authority.decide(certificate, options);
        assert.equal(decision.allow, expected, `${column}: ${JSON.stringify(decision)}`);
        if (!decision.allow && column.includes('R')) assert.equal(decision.reason, 'its certificate is revoked');
      }
    });

  for (const { options, outcomes } of rows)
    it(`is the same in a handshake: ${named(options)}`, async () => {
      const settings = withAuthority(
        {
          ...tlsDefaults,
          // As a listener would ask that trusts one authority more.
          clientCertificate: options.requireClientCertificate ? ('require' as const) : ('request' as const),
          clientCa: [folder.at('trusted.pem')],
        },
        authority,
        options,
      );
      const scene = await TlsScene.start(settings, listenerHooks(authority, options));
      try {
        for (const [column, expected] of outcomes) {
          const issued = shown.get(column);
          const outcome = await scene.try(issued === undefined ? {} : { cert: issued.certificate, key: issued.key });
          assert.equal(
            'stream' in outcome,
            expected,
            `${column}: ${'refusal' in outcome ? outcome.refusal : 'let in'}`,
          );
        }
      } finally {
        await scene.stop();
      }
    });
});

describe('what stands in for trust', () => {
  const options = { requireClientCertificate: true, onlyListed: false, trustListed: true };

  it('is the very certificate, not one with the same serial number and issuer', async () => {
    const real = await elsewhere.issue('device');
    const { serialNumber, issuer } = new X509Certificate(real.der);
    const { id } = await authority.addIdentity({ serialNumber, issuer });
    assert.equal(authority.judge(options)(real.der, false), 'its certificate is not trusted');
    assert.equal(authority.judge({ ...options, onlyListed: true })(real.der, true), undefined);
    await authority.remove(id);
    assert.notEqual(authority.judge({ ...options, onlyListed: true })(real.der, true), undefined);
  });

  it('does not outlive the certificate', async () => {
    const expired = await elsewhere.issue('old', { notAfterMs: Date.now() - 1000 });
    const early = await elsewhere.issue('new', { notBeforeMs: Date.now() + 3_600_000 });
    await authority.add(new X509Certificate(expired.der));
    await authority.add(new X509Certificate(early.der));
    assert.equal(authority.judge(options)(expired.der, false), 'its certificate has expired');
    assert.equal(authority.judge(options)(early.der, false), 'its certificate is not valid yet');
  });

  it('is no certificate of a server', async () => {
    const server = authority.serverChain()[0]!;
    const onlyListed = { requireClientCertificate: true, onlyListed: true, trustListed: true };
    assert.notEqual(authority.judge(onlyListed)(server.raw, true), undefined);
  });

  it('is nothing that cannot be read', () => {
    assert.equal(authority.judge(options)(Buffer.from('no certificate'), true), 'its certificate cannot be read');
  });
});
