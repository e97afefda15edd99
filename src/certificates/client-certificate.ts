/** What rules and data sources are told of the certificate that a client showed. */
import { createHash } from 'node:crypto';
import { certificateFields } from './certificate-fields.js';
import { derValue, hexInteger } from './der.js';
import { readName } from './distinguished-name.js';

export interface DescribedCertificate {
  readonly subject: string;
  readonly issuer: string;
  readonly commonName: string | undefined;
  /** hexadecimal, upper case, without leading zeros */
  readonly serialNumber: string;
  /** SHA-256 of the certificate, hexadecimal, lower case */
  readonly thumbprint: string;
  /** milliseconds since the Unix epoch */
  readonly notAfterMs: number;
  readonly trusted: boolean;
  readonly der: Buffer;
}

/** Undefined when it cannot be read, which OpenSSL would have refused. */
export function describeCertificate(der: Buffer, trusted: boolean): DescribedCertificate | undefined {
  try {
    const fields = certificateFields(der);
    const subject = readName(der, fields.subject);
    return {
      subject: subject.text,
      issuer: readName(der, fields.issuer).text,
      commonName: subject.commonName,
      serialNumber: hexInteger(derValue(der, fields.serialNumber)),
      thumbprint: createHash('sha256').update(der).digest('hex'),
      notAfterMs: fields.notAfterMs,
      trusted,
      der,
    };
  } catch {
    return undefined;
  }
}
