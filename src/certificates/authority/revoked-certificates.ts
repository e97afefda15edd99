/**
 * Which certificates are revoked: by the list, and by the revocation list (`crl.pem`) that follows from it.
 *
 *   authorized ──revoke──▶ revoked ──authorize──▶ authorized        either ──remove──▶ off the list
 *
 * Invariant  a revocation is in the index before the list that tells of it is made; without the authority's key there is none.
 */
import type { X509Certificate } from 'node:crypto';
import { toPem } from '../pem.js';
import type { AuthorityContext } from './authority-context.js';
import { authorityFault } from './authority-fault.js';
import { CRL_FILE, INDEX_FILE } from './authority-files.js';
import type { AuthorityPair } from './authority-pair.js';
import type { CertificateIndex } from './certificate-index.js';
import {
  type CertificateList,
  isoTime,
  type ListedCertificate,
  mentionEntry,
  type RevocationReason,
  revocationReasons,
} from './certificate-list.js';
import { checkedDays } from './checks.js';
import { publicKeyThumbprint } from './keys.js';
import { makeRevocationList, type RevokedEntry } from './making.js';
import { nameKey } from './names.js';
import { DAY_MS } from './options.js';
import { type RevocationListFile, readOwnRevocationList } from './revocation-list-file.js';

export interface RevocationListDescription {
  readonly number: number;
  readonly thisUpdate: string;
  readonly nextUpdate: string;
  readonly revoked: number;
}

/** A revoked certificate stays on the revocation list this long after it expired. */
const REMEMBERED_AFTER_EXPIRY_MS = 30 * DAY_MS;

export class RevokedCertificates {
  private file: RevocationListFile | undefined;

  constructor(
    private readonly context: AuthorityContext,
    private readonly authority: AuthorityPair,
    private readonly index: CertificateIndex,
  ) {}

  read(): void {
    const bytes = this.context.files.read(CRL_FILE);
    this.file =
      bytes === undefined || !this.authority.isThere
        ? undefined
        : readOwnRevocationList(bytes, this.authority.certificate);
  }

  get mark(): string | undefined {
    return this.file?.der.toString('base64');
  }

  revocationList(form: 'pem' | 'der'): Buffer | undefined {
    if (this.file === undefined) return undefined;
    return form === 'der' ? this.file.der : Buffer.from(toPem('X509 CRL', this.file.der));
  }

  describeRevocationList(): RevocationListDescription | undefined {
    if (this.file === undefined) return undefined;
    const { number, thisUpdateMs, nextUpdateMs, revoked } = this.file;
    return { number, thisUpdate: isoTime(thisUpdateMs), nextUpdate: isoTime(nextUpdateMs), revoked };
  }

  // ---- changes of the list ----

  /** Without `given` the reason is that of an earlier revocation: a lost key stays lost. */
  async revoke(reference: string, given: RevocationReason | undefined): Promise<ListedCertificate> {
    if (given !== undefined && !revocationReasons.includes(given))
      throw authorityFault(
        'CA_INPUT',
        `${JSON.stringify(given)} is no reason; there are ${revocationReasons.join(', ')}`,
      );
    const { clock, log } = this.context;
    const entry = this.index.list.find(reference);
    const reason = given ?? entry.reason ?? 'unspecified';
    const revokedAt = entry.revokedAt ?? isoTime(clock.nowMs());
    const revoked: ListedCertificate = { ...entry, state: 'revoked', revokedAt, reason };
    await this.publish(this.index.list.with(revoked));
    log.information('authority.revoked', 'A certificate was revoked.', { certificate: entry.id, reason });
    return revoked;
  }

  async authorize(reference: string, force: boolean): Promise<ListedCertificate> {
    const entry = this.index.list.find(reference);
    if (entry.state === 'authorized') return entry;
    if (!force && (entry.reason === 'keyCompromise' || entry.reason === 'caCompromise'))
      throw authorityFault(
        'CA_INPUT',
        `${mentionEntry(entry)} was revoked because its key was compromised: somebody else may have it`,
      );
    const { revokedAt, reason, ...rest } = entry;
    const authorized: ListedCertificate = { ...rest, state: 'authorized' };
    await this.publish(this.index.list.with(authorized));
    return authorized;
  }

  /** What the authority has signed is remembered; the rest is forgotten, its revocation with it. */
  async remove(reference: string): Promise<ListedCertificate> {
    const entry = this.index.list.find(reference);
    if (entry.authority !== undefined)
      this.index.writeEntry({ ...entry, removedAt: isoTime(this.context.clock.nowMs()) });
    else {
      this.index.removeCertificateOf(entry);
      await this.publish(this.index.list.without(entry.id));
    }
    return entry;
  }

  // ---- the revocation list ----

  /** Made anew though it is current. Errors: `Fault` CA_NO_KEY. */
  async refresh(): Promise<void> {
    this.authority.signer();
    await this.publish(this.index.list);
  }

  async renewWhenDue(): Promise<void> {
    if (this.authority.cannotIssue() === undefined && this.isDue()) await this.publish(this.index.list);
  }

  /** For an authority with another key: a copy of the lists is kept, and no revocation list is left of the one before. */
  beginAnew(): void {
    const { files, clock } = this.context;
    files.keep([INDEX_FILE, CRL_FILE], clock.nowMs());
    files.remove(CRL_FILE);
    this.file = undefined;
  }

  private isDue(): boolean {
    if (this.file === undefined) return true;
    const nowMs = this.context.clock.nowMs();
    const { number, thisUpdateMs, nextUpdateMs } = this.file;
    return (
      number !== this.index.list.data.crlNumber || nowMs > (thisUpdateMs + nextUpdateMs) / 2 || nowMs < thisUpdateMs
    );
  }

  /**
   * Writes the changed list, then the revocation list that follows from it, with the number that the first announces: after a
   * crash between the two, maintenance makes the second. Without the authority's key there is none.
   */
  private async publish(changed: CertificateList): Promise<void> {
    const { index, authority } = this;
    if (authority.cannotIssue() !== undefined) {
      if (changed !== index.list) index.write(changed);
      return;
    }
    const { files, clock, settings } = this.context;
    const { certificate, key } = authority.signer();
    const nowMs = clock.nowMs();
    const number = index.list.data.crlNumber + 1;
    index.write(changed.replace({ crlNumber: number }));
    const nextUpdateMs = nowMs + checkedDays(settings.crlDays) * DAY_MS;
    const der = await makeRevocationList({ certificate, key }, number, nowMs, nextUpdateMs, this.entries(certificate));
    files.write(CRL_FILE, toPem('X509 CRL', der), 'public');
    this.file = readOwnRevocationList(der, certificate);
  }

  private entries(certificate: X509Certificate): RevokedEntry[] {
    const authority = publicKeyThumbprint(certificate.publicKey);
    const name = nameKey(this.authority.describe().subject);
    const nowMs = this.context.clock.nowMs();
    const forgottenMs = nowMs - REMEMBERED_AFTER_EXPIRY_MS;
    const entries = this.index.list.data.certificates.filter(
      (entry) =>
        entry.state === 'revoked' &&
        (entry.authority === authority ||
          (entry.authority === undefined && entry.thumbprint === undefined && nameKey(entry.issuer) === name)) &&
        (entry.notAfter === undefined || Date.parse(entry.notAfter) > forgottenMs),
    );
    const bySerial = new Map(entries.map((entry) => [entry.serialNumber, entry]));
    return [...bySerial.values()].map(({ serialNumber, revokedAt, reason = 'unspecified' }) => ({
      serialNumber,
      revokedAtMs: Date.parse(revokedAt ?? '') || nowMs,
      reason,
    }));
  }
}
