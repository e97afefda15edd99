/** Where the fields of a certificate stand in its DER (RFC 5280 §4.1), for what Node's X509Certificate does not tell. */
import {
  children,
  type DerElement,
  DerError,
  DerTag,
  derTime,
  derValue,
  expectDer,
  objectIdentifier,
  readDer,
} from './der.js';

export interface CertificateFields {
  readonly serialNumber: DerElement;
  readonly issuer: DerElement;
  readonly subject: DerElement;
  readonly publicKey: DerElement;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** of the signature on it */
  readonly signatureAlgorithm: string;
  readonly extensions: readonly DerElement[];
}

export function certificateFields(der: Buffer): CertificateFields {
  const certificate = expectDer(der, 0, der.length, DerTag.sequence);
  const [signed, algorithm] = [...children(der, certificate)];
  if (signed === undefined || algorithm === undefined) throw new DerError('this is no certificate');
  const fields = [...children(der, signed)];
  if (fields[0]?.tag === 0xa0) fields.shift(); // version
  const [serialNumber, , issuer, validity, subject, publicKey, ...rest] = fields;
  if (serialNumber === undefined || issuer === undefined || subject === undefined || publicKey === undefined)
    throw new DerError('this is no certificate');
  const [notBefore, notAfter] = [...children(der, validity!)];
  if (notBefore === undefined || notAfter === undefined) throw new DerError('the certificate has no validity');
  const wrapped = rest.find(({ tag }) => tag === 0xa3);
  return {
    serialNumber,
    issuer,
    subject,
    publicKey,
    notBeforeMs: derTime(der, notBefore),
    notAfterMs: derTime(der, notAfter),
    signatureAlgorithm: objectIdentifier(derValue(der, readDer(der, algorithm.valueStart, algorithm.end))),
    extensions: wrapped === undefined ? [] : [...children(der, readDer(der, wrapped.valueStart, wrapped.end))],
  };
}

/** The value inside the OCTET STRING of an extension; undefined when the certificate has none of that kind. */
export function extensionOf(der: Buffer, fields: CertificateFields, identifier: string): Buffer | undefined {
  for (const extension of fields.extensions) {
    const { identifier: found, value } = readExtension(der, extension);
    if (found === identifier) return value;
  }
  return undefined;
}

/** Errors: DerError for one that has nothing in it. */
export function readExtension(der: Buffer, extension: DerElement): { identifier: string; value: Buffer } {
  const parts = [...children(der, extension)];
  const [identifier] = parts;
  const value = parts[parts.length - 1];
  if (identifier === undefined || value === undefined) throw new DerError('an extension is empty');
  return { identifier: objectIdentifier(derValue(der, identifier)), value: derValue(der, value) };
}
