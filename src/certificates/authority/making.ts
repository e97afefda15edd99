/**
 * Signs certificates (RFC 5280 §4) and revocation lists (§5) with the authority's key.
 *
 *   Certificate  ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signature }
 *   TBS…         ::= [0] version, serialNumber, algorithm, issuer, validity, subject, subjectPublicKeyInfo, [3] extensions
 *   TBSCertList  ::= version, algorithm, issuer, thisUpdate, nextUpdate, entries, [0] extensions
 */
import { createHash, createPublicKey, type KeyObject, randomBytes, sign, type X509Certificate } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { promisify } from 'node:util';
import { certificateFields, extensionOf } from '../certificate-fields.js';
import { DerTag, derValue, derWhole, expectDer } from '../der.js';
import type { RevocationReason } from './certificate-list.js';
import {
  bitString,
  boolean,
  element,
  enumerated,
  explicit,
  ia5String,
  implicit,
  integer,
  integerFromHex,
  namedBits,
  nothing,
  objectId,
  octetString,
  printableString,
  sequence,
  setOf,
  time,
  unsigned,
  utf8String,
} from './der-writer.js';
import { keyTypeOf } from './keys.js';
import { type ServerName, type SubjectPart, subjectTypes } from './names.js';

export interface CertificateTerms {
  /** The most general part first, as certificates have it; or the DER of a name. */
  readonly subject: readonly SubjectPart[] | Buffer;
  readonly publicKey: KeyObject;
  readonly purpose: 'client' | 'server' | 'authority';
  readonly names: readonly ServerName[];
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Where its revocation list is served; empty for nowhere. */
  readonly crlUrl: string;
  /** Of an authority: the value of this extension in the certificate it takes the place of. */
  readonly basicConstraints?: Buffer | undefined;
}

/** `certificate` undefined: self-signed. */
export interface Signer {
  readonly certificate: X509Certificate | undefined;
  readonly key: KeyObject;
}

export interface RevokedEntry {
  readonly serialNumber: string;
  readonly revokedAtMs: number;
  readonly reason: RevocationReason;
}

const SERIAL_BYTES = 16;
const extensionIds = {
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  crlNumber: '2.5.29.20',
  crlReason: '2.5.29.21',
  crlDistributionPoints: '2.5.29.31',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
} as const;
const keyUsageBits = { digitalSignature: 0, keyEncipherment: 2, keyCertSign: 5, cRLSign: 6 } as const;
const purposeIds = { client: '1.3.6.1.5.5.7.3.2', server: '1.3.6.1.5.5.7.3.1' } as const;
const reasonCodes: Readonly<Record<RevocationReason, number>> = {
  unspecified: 0,
  keyCompromise: 1,
  caCompromise: 2,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  certificateHold: 6,
  privilegeWithdrawn: 9,
};

const signBytes = promisify(sign) as (digest: string | null, data: Buffer, key: KeyObject) => Promise<Buffer>;

/** The DER of a new certificate with a random serial number. */
export function makeCertificate(terms: CertificateTerms, signer: Signer): Promise<Buffer> {
  const { publicKey, notBeforeMs, notAfterMs, crlUrl } = terms;
  const subject = Buffer.isBuffer(terms.subject) ? terms.subject : encodeSubject(terms.subject);
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  const extensions = [
    ...purposeExtensions(terms),
    extension('subjectKeyIdentifier', octetString(keyIdentifier(publicKey))),
    authorityKeyIdentifier(signer),
    ...(terms.names.length === 0 ? [] : [extension('subjectAltName', sequence(...terms.names.map(generalName)))]),
    ...(crlUrl === '' ? [] : [distributionPoint(crlUrl)]),
  ];
  return signed(signer.key, (algorithm) =>
    sequence(
      explicit(0, integer(2)), // version 3
      unsigned(serialNumber()),
      algorithm,
      signer.certificate === undefined ? subject : subjectOf(signer.certificate),
      sequence(time(notBeforeMs), time(notAfterMs)),
      subject,
      spki,
      explicit(3, sequence(...extensions)),
    ),
  );
}

/** The DER of a revocation list. */
export function makeRevocationList(
  signer: { readonly certificate: X509Certificate; readonly key: KeyObject },
  number: number,
  thisUpdateMs: number,
  nextUpdateMs: number,
  entries: readonly RevokedEntry[],
): Promise<Buffer> {
  return signed(signer.key, (algorithm) =>
    sequence(
      integer(1), // version 2
      algorithm,
      subjectOf(signer.certificate),
      time(thisUpdateMs),
      time(nextUpdateMs),
      // RFC 5280 §5.1.2.6: absent when empty
      ...(entries.length === 0 ? [] : [sequence(...entries.map(encodeEntry))]),
      explicit(0, sequence(authorityKeyIdentifier(signer), extension('crlNumber', integer(number)))),
    ),
  );
}

function encodeEntry({ serialNumber, revokedAtMs, reason }: RevokedEntry): Buffer {
  // RFC 5280 §5.3.1: unspecified is said by leaving the reason out
  const reasons = reason === 'unspecified' ? [] : [sequence(extension('crlReason', enumerated(reasonCodes[reason])))];
  return sequence(integerFromHex(serialNumber), time(revokedAtMs), ...reasons);
}

function encodeSubject(parts: readonly SubjectPart[]): Buffer {
  return sequence(
    ...parts.map(({ type, value }) => {
      const { id, form } = subjectTypes[type];
      const text =
        form === 'printable' ? printableString(value) : form === 'ia5' ? ia5String(value) : utf8String(value);
      return setOf(sequence(objectId(id), text));
    }),
  );
}

function extension(name: keyof typeof extensionIds, value: Buffer, critical = false): Buffer {
  return sequence(objectId(extensionIds[name]), ...(critical ? [boolean(true)] : []), octetString(value));
}

function purposeExtensions({ purpose, publicKey, basicConstraints }: CertificateTerms): Buffer[] {
  const { digitalSignature, keyEncipherment, keyCertSign, cRLSign } = keyUsageBits;
  if (purpose === 'authority')
    return [
      // no authorities below one that is made here
      extension('basicConstraints', basicConstraints ?? sequence(boolean(true), integer(0)), true),
      extension('keyUsage', namedBits([keyCertSign, cRLSign]), true),
    ];
  const usages = publicKey.asymmetricKeyType === 'rsa' ? [digitalSignature, keyEncipherment] : [digitalSignature];
  return [
    extension('basicConstraints', sequence(), true),
    extension('keyUsage', namedBits(usages), true),
    extension('extendedKeyUsage', sequence(objectId(purposeIds[purpose]))),
  ];
}

function generalName({ kind, value }: ServerName): Buffer {
  return kind === 'dns' ? implicit(2, Buffer.from(value, 'latin1')) : implicit(7, addressBytes(value));
}

function distributionPoint(url: string): Buffer {
  const fullName = explicit(0, explicit(0, implicit(6, Buffer.from(url, 'latin1'))));
  return extension('crlDistributionPoints', sequence(sequence(fullName)));
}

function addressBytes(address: string): Buffer {
  if (!isIPv6(address)) return Buffer.from(address.split('.').map(Number));
  const [before = '', after] = address.split('%')[0]!.split('::');
  const head = groups(before);
  const tail = groups(after ?? '');
  const zeros = after === undefined ? 0 : 8 - head.length - tail.length;
  const bytes = Buffer.alloc(16);
  for (const [index, group] of [...head, ...Array<number>(zeros).fill(0), ...tail].entries())
    bytes.writeUInt16BE(group, index * 2);
  return bytes;
}

/** Hexadecimal groups of an IPv6 address; its last may be an IPv4 address. */
function groups(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
    return [a * 256 + b, c * 256 + d];
  });
}

/** Byte for byte as in the certificate: programs compare issuers that way. */
export function subjectOf(certificate: X509Certificate): Buffer {
  return derWhole(certificate.raw, certificateFields(certificate.raw).subject);
}

export function basicConstraintsOf(certificate: X509Certificate): Buffer | undefined {
  return extensionOf(certificate.raw, certificateFields(certificate.raw), extensionIds.basicConstraints);
}

/** RFC 5280 §4.2.1.2 (1): SHA-1 of the bits of the key, without what says which kind it is. */
function keyIdentifier(key: KeyObject): Buffer {
  const der = key.export({ format: 'der', type: 'spki' });
  const whole = expectDer(der, 0, der.length, DerTag.sequence);
  const algorithm = expectDer(der, whole.valueStart, whole.end, DerTag.sequence);
  const bits = expectDer(der, algorithm.end, whole.end, DerTag.bitString);
  return createHash('sha1').update(derValue(der, bits).subarray(1)).digest();
}

function authorityKeyIdentifier({ certificate, key }: Signer): Buffer {
  let identifier: Buffer | undefined;
  if (certificate !== undefined) {
    const stated = extensionOf(certificate.raw, certificateFields(certificate.raw), extensionIds.subjectKeyIdentifier);
    if (stated !== undefined) identifier = derValue(stated, expectDer(stated, 0, stated.length, DerTag.octetString));
  }
  return extension('authorityKeyIdentifier', sequence(implicit(0, identifier ?? keyIdentifier(createPublicKey(key)))));
}

/** Positive, and of full length whatever is drawn. */
function serialNumber(): Buffer {
  const bytes = randomBytes(SERIAL_BYTES);
  bytes[0] = (bytes[0]! & 0x3f) | 0x40;
  return bytes;
}

interface SignatureAlgorithm {
  readonly id: string;
  readonly digest: string | null;
  /** RFC 3279: RSA has NULL for parameters, the others none. */
  readonly withNull?: true;
}

const signatureAlgorithms: Readonly<Record<string, SignatureAlgorithm>> = {
  p256: { id: '1.2.840.10045.4.3.2', digest: 'sha256' },
  p384: { id: '1.2.840.10045.4.3.3', digest: 'sha384' },
  p521: { id: '1.2.840.10045.4.3.4', digest: 'sha512' },
  ed25519: { id: '1.3.101.112', digest: null },
};
const rsaWithSha256: SignatureAlgorithm = { id: '1.2.840.113549.1.1.11', digest: 'sha256', withNull: true };

/** `contents` with the algorithm it is told, then the algorithm again, then the signature. */
async function signed(key: KeyObject, contents: (algorithm: Buffer) => Buffer): Promise<Buffer> {
  const { id, digest, withNull } = signatureAlgorithms[keyTypeOf(key)] ?? rsaWithSha256;
  const algorithm = sequence(objectId(id), ...(withNull ? [nothing()] : []));
  const bytes = contents(algorithm);
  return element(DerTag.sequence, bytes, algorithm, bitString(await signBytes(digest, bytes, key)));
}
