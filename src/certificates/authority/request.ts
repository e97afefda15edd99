/**
 * Certificate signing requests (PKCS#10, RFC 2986): read, their signature checked, and what they ask for held against what is given.
 *
 *   CertificationRequest ::= SEQUENCE { info, signatureAlgorithm, signature }
 *   info ::= SEQUENCE { version 0, subject, subjectPublicKeyInfo, [0] attributes }
 */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { readExtension } from '../certificate-fields.js';
import {
  children,
  type DerElement,
  DerError,
  DerTag,
  derValue,
  derWhole,
  expectDer,
  objectIdentifier,
  readDer,
} from '../der.js';
import { readName } from '../distinguished-name.js';
import { pemBlocks, whatItSeems } from '../pem.js';
import { isKnownSignature, signatureHolds } from '../signature.js';
import { authorityFault } from './authority-fault.js';
import { publicKeyFault } from './keys.js';
import { parseName, type SubjectPart, type SubjectType, subjectTypes } from './names.js';

export interface SigningRequest {
  /** The parts that certificates are made with; the most general first. */
  readonly subject: readonly SubjectPart[];
  readonly publicKey: KeyObject;
  /** What it asks for and does not get, in words. */
  readonly notGranted: readonly string[];
}

const REQUEST_BYTES_MAX = 64 * 1024;
const EXTENSION_REQUEST = '1.2.840.113549.1.9.14';
const extensionNames: Readonly<Record<string, string>> = {
  '2.5.29.14': 'subjectKeyIdentifier',
  '2.5.29.15': 'keyUsage',
  '2.5.29.17': 'subjectAltName',
  '2.5.29.19': 'basicConstraints',
  '2.5.29.37': 'extendedKeyUsage',
};
/** Every certificate gets these anyway, made here. */
const givenAnyway = new Set(['2.5.29.14', '2.5.29.35']);
const KEY_CERT_SIGN_BIT = 5;
const CRL_SIGN_BIT = 6;

/** Errors: `Fault` CA_INPUT saying what is wrong with it. */
export function readRequest(bytes: Buffer, what: string): SigningRequest {
  const der = derOf(bytes, what);
  try {
    return readInfo(der, what);
  } catch (error) {
    if (error instanceof DerError) throw wrong(what, `is no readable signing request: ${error.message}`, error);
    throw error;
  }
}

const wrong = (what: string, sentence: string, cause?: unknown) =>
  authorityFault('CA_INPUT', `${what} ${sentence}`, cause);

function derOf(bytes: Buffer, what: string): Buffer {
  if (bytes.length > REQUEST_BYTES_MAX) throw wrong(what, `has ${bytes.length} bytes; a signing request has far fewer`);
  const found = pemBlocks(bytes).find(
    ({ label }) => label === 'CERTIFICATE REQUEST' || label === 'NEW CERTIFICATE REQUEST',
  );
  if (found !== undefined) return found.der;
  if (bytes[0] === 0x30) return bytes;
  throw wrong(what, `holds no certificate signing request${whatItSeems(bytes)}`);
}

function readInfo(der: Buffer, what: string): SigningRequest {
  const whole = expectDer(der, 0, der.length, DerTag.sequence);
  const [info, algorithm, signature] = [...children(der, whole)];
  if (info === undefined || algorithm === undefined || signature?.tag !== DerTag.bitString)
    throw new DerError('it has not the three parts of one');
  const [version, subject, spki, ...rest] = [...children(der, info)];
  if (version?.tag !== DerTag.integer || subject?.tag !== DerTag.sequence || spki?.tag !== DerTag.sequence)
    throw new DerError('its first part is not that of one');
  const publicKey = readKey(derWhole(der, spki), what);
  const fault = publicKeyFault(publicKey);
  if (fault !== undefined) throw wrong(what, `is refused: ${fault}`);
  const identifier = objectIdentifier(derValue(der, readDer(der, algorithm.valueStart, algorithm.end)));
  if (!isKnownSignature(identifier))
    throw wrong(what, `is signed with algorithm ${identifier}, which is not known here`);
  if (!signatureHolds(identifier, derWhole(der, info), publicKey, derValue(der, signature).subarray(1)))
    throw wrong(what, 'is not signed with its own key: it was changed, or its maker does not have the key');
  const notGranted: string[] = [];
  const parts = readSubject(der, subject, notGranted);
  const attributes = rest.find(({ tag }) => tag === 0xa0);
  if (attributes !== undefined) readExtensions(der, attributes, what, notGranted);
  return { subject: parts, publicKey, notGranted };
}

function readKey(spki: Buffer, what: string): KeyObject {
  try {
    return createPublicKey({ key: spki, format: 'der', type: 'spki' });
  } catch (error) {
    throw wrong(what, 'holds a public key that cannot be read', error);
  }
}

function readSubject(der: Buffer, subject: DerElement, notGranted: string[]): SubjectPart[] {
  const { text } = readName(der, subject);
  const parts: SubjectPart[] = [];
  for (const { type, value } of text === '' ? [] : (parseName(text) ?? []).reverse()) {
    const known = (Object.keys(subjectTypes) as SubjectType[]).find(
      (name) => name.toLowerCase() === type.toLowerCase(),
    );
    if (known === undefined) notGranted.push(`${type} in its subject`);
    else parts.push({ type: known, value });
  }
  return parts;
}

/** Nobody becomes an authority by asking; whatever else is asked for beyond a client's certificate is left out, and told. */
function readExtensions(der: Buffer, attributes: DerElement, what: string, notGranted: string[]): void {
  for (const attribute of children(der, attributes)) {
    const [type, values] = [...children(der, attribute)];
    if (type === undefined || values === undefined || objectIdentifier(derValue(der, type)) !== EXTENSION_REQUEST)
      continue;
    for (const extension of children(der, readDer(der, values.valueStart, values.end))) {
      const { identifier, value } = readExtension(der, extension);
      if (asksForAuthority(identifier, value))
        throw wrong(what, 'is refused: it asks for the certificate of an authority');
      if (!givenAnyway.has(identifier)) notGranted.push(extensionNames[identifier] ?? `extension ${identifier}`);
    }
  }
}

function asksForAuthority(identifier: string, value: Buffer): boolean {
  if (identifier === '2.5.29.19') {
    const constraints = expectDer(value, 0, value.length, DerTag.sequence);
    const [first] = [...children(value, constraints)];
    return first?.tag === DerTag.boolean && derValue(value, first).some((byte) => byte !== 0);
  }
  if (identifier === '2.5.29.15') {
    const bits = derValue(value, expectDer(value, 0, value.length, DerTag.bitString)).subarray(1);
    return [KEY_CERT_SIGN_BIT, CRL_SIGN_BIT].some((bit) => ((bits[0] ?? 0) & (0x80 >> bit)) !== 0);
  }
  return false;
}
