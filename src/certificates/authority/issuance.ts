/**
 * Certificates made on request: issued with a new key, signed for a key that its owner keeps, or in the place of an older one.
 *
 * Invariant  a private key is handed out once, in what is returned, and never kept.
 */
import { createPublicKey, type KeyObject, type X509Certificate } from 'node:crypto';
import type { AuthorityContext } from './authority-context.js';
import { authorityFault } from './authority-fault.js';
import type { AuthorityPair } from './authority-pair.js';
import type { CertificateIndex } from './certificate-index.js';
import { type ListedCertificate, mentionEntry } from './certificate-list.js';
import { checkedKeyType, namesForPurpose } from './checks.js';
import { keyTypeOf, makeKey } from './keys.js';
import { type CertificateTerms, subjectOf } from './making.js';
import { checkedCommonName, checkedSubject, readServerNames, type SubjectPart } from './names.js';
import { type KeyType, keyTypes } from './options.js';
import { readRequest } from './request.js';
import type { RevokedCertificates } from './revoked-certificates.js';
import { namesOf } from './server-certificate.js';

export interface IssueTerms {
  readonly commonName: string;
  readonly organization?: string | undefined;
  readonly days?: number | undefined;
  readonly keyType?: KeyType | undefined;
  readonly purpose?: 'client' | 'server' | undefined;
  /** For a server: the names and addresses it answers to. */
  readonly names?: readonly string[] | undefined;
}

export type SignTerms = Omit<IssueTerms, 'commonName' | 'keyType'> & { readonly commonName?: string | undefined };

export interface RenewTerms {
  readonly days?: number;
  readonly newKey?: boolean;
  /** Else it stays valid until it expires, so that the client can change over. */
  readonly revokeOld?: boolean;
}

export interface Issued {
  readonly entry: ListedCertificate;
  /** The certificate first, then its issuers without the root. */
  readonly chain: readonly X509Certificate[];
  /** Made for it, and kept nowhere; undefined when the client has its own. */
  readonly key: KeyObject | undefined;
  /** What was asked for and not given, in words. */
  readonly notGranted: readonly string[];
}

interface Checked extends Pick<CertificateTerms, 'subject' | 'publicKey' | 'names'> {
  readonly purpose: 'client' | 'server';
  readonly days: number | undefined;
  readonly key: KeyObject | undefined;
  readonly notGranted: readonly string[];
  /** id of the certificate it takes the place of */
  readonly renews?: string;
}

export class Issuance {
  constructor(
    private readonly context: AuthorityContext,
    private readonly authority: AuthorityPair,
    private readonly index: CertificateIndex,
    private readonly revoked: RevokedCertificates,
  ) {}

  async issue(terms: IssueTerms): Promise<Issued> {
    const { commonName, organization, purpose = 'client', days, keyType = this.context.settings.keyType } = terms;
    this.authority.signer();
    const subject = clientSubject(checkedCommonName(commonName), organization);
    const names = namesForPurpose(purpose, terms.names);
    const key = await makeKey(checkedKeyType(keyType));
    return this.certify({ subject, publicKey: createPublicKey(key), purpose, names, days, key, notGranted: [] });
  }

  /** `bytes` is a PKCS#10 request, PEM or DER; `what` names it in messages. */
  async sign(bytes: Buffer, terms: SignTerms, what: string): Promise<Issued> {
    this.authority.signer();
    const request = readRequest(bytes, what);
    const { commonName, organization, purpose = 'client', days } = terms;
    const asked = request.subject.filter(({ type }) => type !== 'CN' && !(type === 'O' && organization !== undefined));
    const name = commonName ?? request.subject.findLast(({ type }) => type === 'CN')?.value;
    if (name === undefined) throw authorityFault('CA_INPUT', `${what} names no common name; give one`);
    const subject = checkedSubject([...asked, ...clientSubject(checkedCommonName(name), organization)]);
    const names = namesForPurpose(purpose, terms.names);
    return this.certify({ ...request, subject, purpose, names, days, key: undefined });
  }

  /** The same subject once more, for the same key or a new one. */
  async renew(reference: string, terms: RenewTerms): Promise<Issued> {
    this.authority.signer();
    const old = this.index.list.find(reference);
    const certificate = this.index.certificateOf(old);
    if (old.origin !== 'issued' || certificate === undefined)
      throw authorityFault('CA_INPUT', `${mentionEntry(old)} was not issued here and cannot be renewed here`);
    if (old.state === 'revoked')
      throw authorityFault('CA_INPUT', `${mentionEntry(old)} is revoked and cannot be renewed`);
    const type = keyTypeOf(certificate.publicKey);
    const key = terms.newKey
      ? await makeKey(keyTypes.find((known) => known === type) ?? this.context.settings.keyType)
      : undefined;
    const issued = await this.certify({
      subject: subjectOf(certificate),
      publicKey: key === undefined ? certificate.publicKey : createPublicKey(key),
      purpose: old.purpose,
      names: old.purpose === 'server' ? readServerNames(namesOf(certificate)) : [],
      days: terms.days,
      key,
      notGranted: [],
      renews: old.id,
    });
    if (terms.revokeOld) await this.revoked.revoke(old.id, old.reason ?? 'superseded');
    return issued;
  }

  /** Signs it and puts it on the list. */
  private async certify(terms: Checked): Promise<Issued> {
    const { settings, log } = this.context;
    const { days = terms.purpose === 'client' ? settings.clientDays : settings.serverDays, renews, key } = terms;
    const { certificate, shortened } = await this.authority.certificateFor(terms, days);
    const made = this.index.entryFor(certificate, terms.purpose, 'issued');
    const entry: ListedCertificate = renews === undefined ? made : { ...made, renews };
    this.index.writeEntry(entry, certificate);
    log.information('authority.issued', 'A certificate was issued.', {
      certificate: entry.id,
      subject: entry.subject,
      until: entry.notAfter,
    });
    const notGranted = shortened ? [...terms.notGranted, `${days} days: it ends with the authority`] : terms.notGranted;
    return { entry, chain: this.authority.withIssuers(certificate), key, notGranted };
  }
}

function clientSubject(commonName: string, organization: string | undefined): readonly SubjectPart[] {
  return checkedSubject([
    ...(organization === undefined ? [] : [{ type: 'O' as const, value: organization }]),
    { type: 'CN', value: commonName },
  ]);
}
