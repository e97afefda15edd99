/** The server's certificate: what it says, and whether a new one is due. */
import type { X509Certificate } from 'node:crypto';
import { certificateFields } from '../certificate-fields.js';
import { describeCertificate } from '../client-certificate.js';
import type { ServerRecord } from './certificate-list.js';
import { keyTypeOf } from './keys.js';
import { lastingNames, plainAddress, type ServerName, type SubjectPart } from './names.js';

export interface ServerCertificate {
  readonly origin: ServerRecord['origin'];
  readonly subject: string;
  readonly issuer: string;
  readonly serialNumber: string;
  readonly names: readonly string[];
  readonly notBefore: string;
  readonly notAfter: string;
  readonly selfSigned: boolean;
  readonly keyType: string;
  /** hexadecimal, lower case */
  readonly sha1: string;
  readonly sha256: string;
}

export function describeServer(certificate: X509Certificate, origin: ServerRecord['origin']): ServerCertificate {
  const { subject, issuer, serialNumber, notAfterMs, thumbprint } = describeCertificate(certificate.raw, true)!;
  return {
    origin,
    subject,
    issuer,
    serialNumber,
    names: namesOf(certificate),
    notBefore: new Date(certificateFields(certificate.raw).notBeforeMs).toISOString(),
    notAfter: new Date(notAfterMs).toISOString(),
    selfSigned: signedItself(certificate),
    keyType: keyTypeOf(certificate.publicKey),
    sha1: certificate.fingerprint.replaceAll(':', '').toLowerCase(),
    sha256: thumbprint,
  };
}

/** Host names and addresses, as `node:crypto` writes subjectAltName: `DNS:a, IP Address:127.0.0.1`. */
export function namesOf({ subjectAltName }: X509Certificate): string[] {
  return [...(subjectAltName ?? '').matchAll(/(?:DNS|IP Address):("(?:[^"\\]|\\.)*"|[^,]*)/g)].map(([, name = '']) =>
    plainAddress(name),
  );
}

/** Also one that may not sign others, as that of a server. */
function signedItself(certificate: X509Certificate): boolean {
  return certificate.subject === certificate.issuer && certificate.verify(certificate.publicKey);
}

export function serverSubject(names: readonly ServerName[]): readonly SubjectPart[] {
  const fits = ({ value }: ServerName) => value.length <= 64;
  const name = names.find((candidate) => candidate.kind === 'dns' && fits(candidate)) ?? names.find(fits);
  return [{ type: 'CN', value: name?.value ?? 'mqtt-server' }];
}

export interface ServerSituation {
  readonly certificate: X509Certificate | undefined;
  readonly hasKey: boolean;
  readonly record: ServerRecord | undefined;
  readonly configuredNames: readonly string[];
  readonly authority: X509Certificate;
  /** Whether a new one would be signed by the authority; else it would be self-signed. */
  readonly canIssue: boolean;
  readonly nowMs: number;
}

/** Why a new certificate is due; undefined when none is. */
export function needsServerCertificate(situation: ServerSituation): string | undefined {
  const { certificate, record, authority, canIssue, nowMs } = situation;
  if (certificate === undefined) return 'there was none';
  if (!situation.hasKey) return 'its private key was not there';
  const { notBeforeMs, notAfterMs } = certificateFields(certificate.raw);
  if (nowMs > notAfterMs) return 'the one before has expired';
  if (notAfterMs - nowMs < (notAfterMs - notBeforeMs) / 3) return 'the one before expires soon';
  if (record?.origin === 'imported') return undefined;
  const issuedHere = certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
  if (!issuedHere && (canIssue || !signedItself(certificate))) return 'the authority is another one now';
  if (record?.origin !== 'automatic') return undefined;
  const missing = missingNames(certificate, lastingNames([...situation.configuredNames, ...record.names]));
  return missing.length === 0 ? undefined : `the one before does not name ${missing.join(', ')}`;
}

function missingNames(certificate: X509Certificate, wanted: readonly ServerName[]): string[] {
  return wanted
    .filter(({ kind, value }) =>
      kind === 'ip' ? certificate.checkIP(value) === undefined : !namesOf(certificate).includes(value),
    )
    .map(({ value }) => value);
}
