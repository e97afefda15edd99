/**
 * Whether a client may come in with the certificate it showed: revoked, then trust, then the list.
 *
 * Revoked wins over everything, under any options. "Authorized" lets a certificate through `onlyListed`, and with `trustListed`
 * stands in for a trusted chain. `onlyListed` refuses clients without a certificate too, since they are not on the list.
 *
 * A certificate whose chain is not trusted says about itself whatever its maker likes. So only an entry with its thumbprint can
 * stand in for trust; an entry by serial number and issuer counts for certificates of trusted authorities.
 */
import { certificateFields } from '../certificate-fields.js';
import { type DescribedCertificate, describeCertificate } from '../client-certificate.js';
import type { CertificateList } from './certificate-list.js';

export interface AcceptanceOptions {
  /** Clients must show a certificate. */
  readonly requireClientCertificate: boolean;
  /** Only certificates that are on the list as authorized. */
  readonly onlyListed: boolean;
  /** A certificate that is on the list as authorized needs no trusted authority. */
  readonly trustListed: boolean;
}

export interface ShownToAuthority {
  readonly der: Buffer;
  /** Whether its chain leads to a trusted authority. */
  readonly trusted: boolean;
}

export type Decision = { readonly allow: true } | { readonly allow: false; readonly reason: string };

export type ShownStanding = 'revoked' | 'authorized' | 'unlisted';
/** What the list says of a certificate before anybody asks whether its chain is trusted. */
type Standing = ShownStanding | 'authorizedIfTrusted';

const allow: Decision = { allow: true };
const refuse = (reason: string): Decision => ({ allow: false, reason });

export function decide(
  shown: ShownToAuthority | undefined,
  { requireClientCertificate, onlyListed, trustListed }: AcceptanceOptions,
  list: CertificateList,
  nowMs: number,
): Decision {
  if (shown === undefined)
    return requireClientCertificate || onlyListed ? refuse('the client showed no certificate') : allow;
  const certificate = describeCertificate(shown.der, shown.trusted);
  if (certificate === undefined) return refuse('its certificate cannot be read');
  const standing = standingOf(certificate, list);
  if (standing === 'revoked') return refuse('its certificate is revoked');
  const authorized = standing === 'authorized' || (standing === 'authorizedIfTrusted' && shown.trusted);
  if (!shown.trusted) {
    if (!(trustListed && authorized)) return refuse('its certificate is not trusted');
    // A trusted chain has been checked for this already.
    if (nowMs > certificate.notAfterMs) return refuse('its certificate has expired');
    if (nowMs < certificateFields(shown.der).notBeforeMs) return refuse('its certificate is not valid yet');
  }
  if (onlyListed && !authorized) return refuse('its certificate is not on the list of authorized certificates');
  return allow;
}

/** What the list says of a certificate that was shown. */
export function shownStanding({ der, trusted }: ShownToAuthority, list: CertificateList): ShownStanding {
  const certificate = describeCertificate(der, trusted);
  if (certificate === undefined) return 'unlisted';
  const standing = standingOf(certificate, list);
  if (standing === 'authorizedIfTrusted') return trusted ? 'authorized' : 'unlisted';
  return standing;
}

export function standingOf(certificate: DescribedCertificate, list: CertificateList): Standing {
  const { serialNumber, issuer, thumbprint } = certificate;
  const entries = list.entriesFor(serialNumber, issuer, thumbprint);
  if (entries.some(({ state }) => state === 'revoked')) return 'revoked';
  const clients = entries.filter(({ purpose, removedAt }) => purpose === 'client' && removedAt === undefined);
  if (clients.length === 0) return 'unlisted';
  return clients.some((entry) => entry.thumbprint !== undefined) ? 'authorized' : 'authorizedIfTrusted';
}
