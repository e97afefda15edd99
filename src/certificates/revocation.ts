/**
 * Certificate revocation lists (RFC 5280 §5): read, verified against the authorities, looked up by issuer and serial number.
 *
 * OpenSSL's own check refuses every client of an authority that has no list, and reads each list again for every context.
 * Here a certificate is looked up in the lists of its issuer; issuers without a list are not checked.
 *
 * Shape    issuer's name (DER) → serial numbers in hexadecimal. An entry costs a string in a set.
 */
import type { X509Certificate } from 'node:crypto';
import { type CertificateFields, certificateFields, readExtension } from './certificate-fields.js';
import {
  children,
  DerError,
  DerTag,
  derTime,
  derValue,
  derWhole,
  expectDer,
  hexInteger,
  objectIdentifier,
  readDer,
} from './der.js';
import { readName } from './distinguished-name.js';
import { readNamed, tlsFault } from './files.js';
import { pemBlocks, whatItSeems } from './pem.js';
import { isKnownSignature, signatureHolds } from './signature.js';

/** removeFromCRL, RFC 5280 §5.3.1: the entry takes a certificate off the list. */
const REASON_EXTENSION = '2.5.29.21';
const REMOVE_FROM_CRL = 8;

interface RevocationList {
  readonly issuer: string;
  readonly nextUpdateMs: number;
  readonly serialNumbers: ReadonlySet<string>;
}

export type RevocationStatus = 'good' | 'revoked' | 'expiredList' | 'unreadable';

export class Revocations {
  private readonly lists = new Map<string, RevocationList[]>();
  readonly warnings: string[] = [];

  /** Reads the lists. Errors: `Fault` naming the file. */
  constructor(
    readonly files: readonly string[],
    authorities: readonly X509Certificate[],
    where: string,
    nowMs = Date.now(),
  ) {
    files.forEach((file, index) => {
      const what = `${where}.crl[${index}]`;
      for (const der of listsIn(file, what)) this.add(der, file, authorities, what, nowMs);
    });
  }

  get size(): number {
    return this.lists.size;
  }

  /** Looks up one certificate in the lists of its issuer. */
  statusOf(der: Buffer, nowMs: number): RevocationStatus {
    if (this.lists.size === 0) return 'good';
    const fields = fieldsOf(der);
    if (fields === undefined) return 'unreadable';
    const { issuer, serialNumber } = fields;
    const lists = this.lists.get(derWhole(der, issuer).toString('latin1'));
    if (lists === undefined) return 'good';
    const serial = hexInteger(derValue(der, serialNumber));
    if (lists.some(({ serialNumbers }) => serialNumbers.has(serial))) return 'revoked';
    return lists.every(({ nextUpdateMs }) => nextUpdateMs < nowMs) ? 'expiredList' : 'good';
  }

  private add(der: Buffer, file: string, authorities: readonly X509Certificate[], what: string, nowMs: number): void {
    let list: RevocationList;
    try {
      list = readList(der, authorities);
    } catch (error) {
      if (error instanceof DerError)
        throw tlsFault(`${what}: ${file} is no readable revocation list: ${error.message}`);
      if (error instanceof NotSigned) throw tlsFault(`${what}: ${file} ${error.message}`);
      throw error;
    }
    if (list.nextUpdateMs < nowMs)
      this.warnings.push(
        `${what}: ${file} has expired on ${new Date(list.nextUpdateMs).toISOString().slice(0, 10)}; see crlExpired`,
      );
    const known = this.lists.get(list.issuer);
    if (known === undefined) this.lists.set(list.issuer, [list]);
    else known.push(list);
  }
}

/** Undefined for what OpenSSL reads and calls untrusted, such as a certificate with a time that is none: anybody can show one. */
function fieldsOf(der: Buffer): CertificateFields | undefined {
  try {
    return certificateFields(der);
  } catch (error) {
    if (error instanceof DerError) return undefined;
    throw error;
  }
}

class NotSigned extends Error {}

function listsIn(file: string, what: string): Buffer[] {
  const bytes = readNamed(file, what);
  const blocks = pemBlocks(bytes).filter(({ label }) => label === 'X509 CRL' || label === 'CRL');
  if (blocks.length > 0) return blocks.map(({ der }) => der);
  if (bytes[0] === 0x30) return [bytes];
  throw tlsFault(`${what}: ${file} holds no revocation list${whatItSeems(bytes)}`);
}

function readList(der: Buffer, authorities: readonly X509Certificate[]): RevocationList {
  const whole = expectDer(der, 0, der.length, DerTag.sequence);
  const [signed, algorithm, signature] = [...children(der, whole)];
  if (signed === undefined || algorithm === undefined || signature?.tag !== DerTag.bitString)
    throw new DerError('it has not the three parts of one');
  const fields = [...children(der, signed)];
  if (fields[0]?.tag === DerTag.integer) fields.shift(); // version
  const [, issuer, thisUpdate, ...rest] = fields;
  if (issuer === undefined || thisUpdate === undefined) throw new DerError('it names no issuer');
  const next = rest[0]?.tag === DerTag.utcTime || rest[0]?.tag === DerTag.generalizedTime ? rest.shift() : undefined;
  const entries = rest[0]?.tag === DerTag.sequence ? rest[0] : undefined;
  const issuerName = derWhole(der, issuer);
  const identifier = objectIdentifier(derValue(der, readDer(der, algorithm.valueStart, algorithm.end)));
  verifyList(
    derWhole(der, signed),
    identifier,
    derValue(der, signature).subarray(1),
    issuerName,
    authorities,
    () => readName(der, issuer).text,
  );
  const serialNumbers = new Set<string>();
  if (entries !== undefined)
    for (const entry of children(der, entries)) {
      const serial = readDer(der, entry.valueStart, entry.end);
      if (!removes(der, serial.end, entry.end)) serialNumbers.add(hexInteger(derValue(der, serial)));
    }
  return {
    issuer: issuerName.toString('latin1'),
    nextUpdateMs: next === undefined ? Number.POSITIVE_INFINITY : derTime(der, next),
    serialNumbers,
  };
}

function verifyList(
  signed: Buffer,
  identifier: string,
  signature: Buffer,
  issuer: Buffer,
  authorities: readonly X509Certificate[],
  issuerText: () => string,
): void {
  if (!isKnownSignature(identifier))
    throw new NotSigned(`is signed with algorithm ${identifier}, which is not known here`);
  const named = authorities.filter(({ raw }) => derWhole(raw, certificateFields(raw).subject).equals(issuer));
  if (named.length === 0)
    throw new NotSigned(`is the list of "${issuerText()}", which is none of the authorities of clientCa`);
  if (!named.some(({ publicKey }) => signatureHolds(identifier, signed, publicKey, signature)))
    throw new NotSigned(`is not signed by "${issuerText()}" of clientCa: it was changed or has another signer`);
}

/** Whether an entry says that the certificate is no longer revoked; `from` is where its revocation date begins. */
function removes(der: Buffer, from: number, end: number): boolean {
  const date = readDer(der, from, end);
  if (date.end === end) return false;
  for (const extension of children(der, readDer(der, date.end, end))) {
    const { identifier, value } = readExtension(der, extension);
    if (identifier !== REASON_EXTENSION) continue;
    return value[value.length - 1] === REMOVE_FROM_CRL;
  }
  return false;
}
