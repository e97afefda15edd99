/**
 * The authority's own certificate and key (`ca.pem`, `ca.key`): made, taken over from elsewhere, renewed, and what is signed with
 * them. Without the key, or once it has expired, nothing is issued; `cannotIssue` says why.
 *
 * Knows nothing of the certificates it has signed: those are the list's.
 */
import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import type { Fault } from '../../base/index.js';
import { certificateFields } from '../certificate-fields.js';
import { describeCertificate } from '../client-certificate.js';
import { isSelfSigned } from '../key-material.js';
import type { AuthorityContext } from './authority-context.js';
import { authorityFault } from './authority-fault.js';
import { type CertificateAndKey, pairMark } from './authority-files.js';
import { isoTime } from './certificate-list.js';
import { chainFrom } from './certificate-text.js';
import { authorityFaultOf, checkedDays, checkedKeyType, usualAuthorityName } from './checks.js';
import { keyTypeOf, makeKey, signingKeyFault } from './keys.js';
import { basicConstraintsOf, type CertificateTerms, makeCertificate, type Signer, subjectOf } from './making.js';
import { checkedCommonName } from './names.js';
import { DAY_MS, type KeyType } from './options.js';

export interface AuthorityDescription {
  readonly subject: string;
  readonly issuer: string;
  readonly serialNumber: string;
  readonly notBefore: string;
  readonly notAfter: string;
  /** hexadecimal, lower case */
  readonly sha1: string;
  readonly sha256: string;
  readonly keyType: string;
  /** Why no certificates are issued; undefined when they are. */
  readonly cannotIssue: string | undefined;
}

export interface AuthorityTerms {
  readonly name?: string;
  readonly days?: number;
  readonly keyType?: KeyType;
}

/** For clocks that are behind ours. */
const BACKDATE_MS = 3_600_000;
const EXPIRES_SOON_MS = 365 * DAY_MS;

export class AuthorityPair {
  private pair: CertificateAndKey | undefined;

  constructor(private readonly context: AuthorityContext) {}

  read(): void {
    this.pair = this.context.files.readPair('ca');
  }

  get mark(): string {
    return `${pairMark(this.pair)} ${this.pair?.key !== undefined}`;
  }

  get isThere(): boolean {
    return this.pair !== undefined;
  }

  /** Looks at the folder without reading it. Errors: `Fault` CA_MISSING. */
  expectFiles(): void {
    const { files } = this.context;
    if (files.read('ca.pem') === undefined && files.read('ca.pem.new') === undefined) throw this.missing();
  }

  /** The certificate first, then its issuers up to the root. Errors: `Fault` CA_MISSING. */
  get chain(): readonly X509Certificate[] {
    if (this.pair === undefined) throw this.missing();
    return this.pair.chain;
  }

  get certificate(): X509Certificate {
    return this.chain[0]!;
  }

  describe(): AuthorityDescription {
    const { certificate } = this;
    const described = describeCertificate(certificate.raw, true)!;
    return {
      subject: described.subject,
      issuer: described.issuer,
      serialNumber: described.serialNumber,
      notBefore: isoTime(certificateFields(certificate.raw).notBeforeMs),
      notAfter: isoTime(described.notAfterMs),
      sha1: certificate.fingerprint.replaceAll(':', '').toLowerCase(),
      sha256: described.thumbprint,
      keyType: keyTypeOf(certificate.publicKey),
      cannotIssue: this.cannotIssue(),
    };
  }

  hasKeyOf({ publicKey }: X509Certificate): boolean {
    return this.pair?.chain[0]?.publicKey.equals(publicKey) ?? false;
  }

  // ---- made, taken over, renewed ----

  /** A new key with its certificate, which `replace` puts in force. */
  async make(terms: AuthorityTerms): Promise<{ name: string; pair: CertificateAndKey }> {
    const { settings } = this.context;
    const keyType = checkedKeyType(terms.keyType ?? settings.keyType);
    const key = await makeKey(keyType);
    const given = terms.name ?? settings.name;
    const name = given === '' ? usualAuthorityName(key) : given;
    const subject = [{ type: 'CN' as const, value: checkedCommonName(name) }];
    const certificate = await this.selfSigned(subject, key, terms.days ?? settings.days);
    return { name, pair: { chain: [certificate], key } };
  }

  /** What was made elsewhere, checked, for `replace`. Errors: `Fault` CA_INPUT, CA_EXISTS. */
  accept(chain: readonly X509Certificate[], key: KeyObject | undefined, mayReplace: boolean): CertificateAndKey {
    const fault = authorityFaultOf(chain, key, this.context.clock.nowMs());
    if (fault !== undefined) throw authorityFault('CA_INPUT', fault);
    const same = pairMark(this.pair) === chain[0]!.fingerprint256;
    if (same && this.pair?.key !== undefined && key === undefined)
      throw authorityFault('CA_EXISTS', 'this authority is here already, with its key');
    // The key of the same authority takes nothing away.
    if (!same) this.expectReplaceable(mayReplace);
    return { chain: chainFrom(chain), key };
  }

  /** A new certificate for the same key and name. */
  async renew(days: number): Promise<void> {
    const { certificate, key } = this.signer();
    if (!isSelfSigned(certificate))
      throw authorityFault('CA_INPUT', 'this authority was certified by another, which has to renew it');
    const renewed = await this.selfSigned(subjectOf(certificate), key, days, basicConstraintsOf(certificate));
    this.replace({ chain: [renewed], key });
  }

  /** Errors: `Fault` CA_EXISTS when there is an authority and it may not be replaced. */
  expectReplaceable(mayReplace: boolean): void {
    if (this.pair === undefined || mayReplace) return;
    const { subject } = this.describe();
    throw authorityFault(
      'CA_EXISTS',
      `${this.context.files.folder} holds an authority already (${subject}); replacing it ends the trust in all it has issued, and has to be asked for`,
    );
  }

  replace(pair: CertificateAndKey): void {
    const { files, clock, log } = this.context;
    const kept = files.writePair('ca', pair, clock.nowMs());
    this.pair = pair;
    if (kept !== undefined)
      log.warning('authority.replaced', 'The authority was replaced; the one before is kept.', { kept });
  }

  warnBeforeItExpires(): void {
    const { clock, log } = this.context;
    const { notAfterMs } = certificateFields(this.certificate.raw);
    if (notAfterMs - clock.nowMs() >= EXPIRES_SOON_MS) return;
    const notAfter = isoTime(notAfterMs);
    const renewed =
      this.pair?.key !== undefined && isSelfSigned(this.certificate)
        ? 'dunlin ca renew --authority renews it'
        : 'it has to be renewed where it was made, and imported again';
    log.warning('authority.expires', `The certificate authority expires on ${notAfter.slice(0, 10)}; ${renewed}.`, {
      notAfter,
    });
  }

  // ---- signing ----

  /** Why no certificates are issued; undefined when they are. */
  cannotIssue(): string | undefined {
    const { certificate } = this;
    if (this.pair?.key === undefined)
      return `no certificates are issued: the private key of the authority is not here (${this.context.files.path('ca.key')})`;
    const fault = signingKeyFault(this.pair.key);
    if (fault !== undefined) return `no certificates are issued: ${fault}`;
    const { notAfterMs } = certificateFields(certificate.raw);
    if (notAfterMs < this.context.clock.nowMs())
      return `no certificates are issued: the authority has expired on ${isoTime(notAfterMs).slice(0, 10)}`;
    return undefined;
  }

  /** Errors: `Fault` CA_NO_KEY. */
  signer(): Signer & { readonly certificate: X509Certificate } {
    const cannot = this.cannotIssue();
    if (cannot !== undefined) throw authorityFault('CA_NO_KEY', cannot);
    return { certificate: this.certificate, key: this.pair!.key! };
  }

  /** Ends no later than its issuer; `shortened` when that is earlier than asked for. */
  async certificateFor(
    terms: Pick<CertificateTerms, 'subject' | 'publicKey' | 'purpose' | 'names'>,
    days: number,
    signer: Signer = this.signer(),
  ): Promise<{ certificate: X509Certificate; shortened: boolean }> {
    const { clock, settings } = this.context;
    const nowMs = clock.nowMs();
    const issuer = signer.certificate === undefined ? undefined : certificateFields(signer.certificate.raw);
    const wantedMs = nowMs + checkedDays(days) * DAY_MS;
    const notAfterMs = Math.min(wantedMs, issuer?.notAfterMs ?? wantedMs);
    const notBeforeMs = Math.max(nowMs - BACKDATE_MS, issuer?.notBeforeMs ?? 0);
    const crlUrl = signer.certificate === undefined ? '' : settings.crlUrl;
    const der = await makeCertificate({ ...terms, notBeforeMs, notAfterMs, crlUrl }, signer);
    return { certificate: new X509Certificate(der), shortened: notAfterMs < wantedMs };
  }

  /** The chain of what it has signed, without the root. */
  withIssuers(certificate: X509Certificate): X509Certificate[] {
    return [certificate, ...this.chain.filter((issuer) => !isSelfSigned(issuer))];
  }

  private async selfSigned(
    subject: CertificateTerms['subject'],
    key: KeyObject,
    days: number,
    basicConstraints?: Buffer,
  ): Promise<X509Certificate> {
    const nowMs = this.context.clock.nowMs();
    const notBeforeMs = nowMs - BACKDATE_MS;
    const notAfterMs = nowMs + checkedDays(days) * DAY_MS;
    const publicKey = createPublicKey(key);
    const terms = { subject, publicKey, purpose: 'authority' as const, names: [], notBeforeMs, notAfterMs, crlUrl: '' };
    return new X509Certificate(await makeCertificate({ ...terms, basicConstraints }, { certificate: undefined, key }));
  }

  private missing(): Fault {
    return authorityFault(
      'CA_MISSING',
      `${this.context.files.folder} holds no certificate authority; dunlin ca init makes one`,
    );
  }
}
