/**
 * A server's certificate with its chain and private key, from PEM files or a keystore: read, put in order, checked.
 *
 * Everything that would fail at the first handshake, or puzzle the first client, is found here, and the sentence names the file.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { certificateFields } from './certificate-fields.js';
import { readNamed, tlsFault } from './files.js';
import { readKeystore } from './keystore.js';
import { isCertificateLabel, isKeyLabel, pemBlocks, whatItSeems } from './pem.js';

export interface KeyMaterialSettings {
  readonly certificate?: string;
  readonly key?: string;
  readonly keyPassword?: string;
  readonly keystore?: string;
  readonly keystorePassword?: string;
  readonly keystoreType?: 'auto' | 'pkcs12' | 'jks';
  readonly keystoreEntry?: string;
}

export interface KeyMaterial {
  readonly certificate: X509Certificate;
  /** The certificate first, each followed by its issuer. */
  readonly chain: readonly X509Certificate[];
  readonly key: KeyObject;
  /** For `node:tls`. */
  readonly certificatePem: string;
  readonly keyPem: string;
  /** What deserves a word though it works. */
  readonly warnings: readonly string[];
  /** The files read. */
  readonly files: readonly string[];
}

const RSA_BITS_MIN = 2048;
const EXPIRES_SOON_MS = 14 * 86_400_000;
/** Signatures with MD5 and SHA-1. */
const weakSignatures = new Set(['1.2.840.113549.1.1.4', '1.2.840.113549.1.1.5', '1.2.840.10045.4.1']);

/** `where` is the path of the group of settings, for messages. Errors: `Fault` TLS_MATERIAL_INVALID. */
export function readKeyMaterial(settings: KeyMaterialSettings, where: string, nowMs = Date.now()): KeyMaterial {
  const found = settings.keystore === undefined ? fromPem(settings, where) : fromKeystore(settings, where);
  const { key, certificates, source, files } = found;
  const certificate = certificates.find((candidate) => candidate.checkPrivateKey(key));
  if (certificate === undefined)
    throw tlsFault(`${where}: ${found.keySource} is not the key of ${mention(certificates[0]!)} in ${source}`);
  const warnings: string[] = [];
  // The order within a keystore, and what else it holds, is nobody's mistake.
  const chain = inOrder(certificate, certificates, source, settings.keystore === undefined ? warnings : []);
  check(chain, source, nowMs, warnings);
  return {
    certificate,
    chain,
    key,
    certificatePem: chain.map((entry) => entry.toString()).join(''),
    keyPem: key.export({ format: 'pem', type: 'pkcs8' }) as string,
    warnings: warnings.map((warning) => `${where}: ${warning}`),
    files,
  };
}

interface Found {
  readonly certificates: readonly X509Certificate[];
  readonly key: KeyObject;
  readonly source: string;
  readonly keySource: string;
  readonly files: readonly string[];
}

function fromPem({ certificate, key, keyPassword }: KeyMaterialSettings, where: string): Found {
  if (certificate === undefined) throw tlsFault(`${where}.certificate: is missing`);
  const certificates = readCertificates(certificate, `${where}.certificate`);
  const keyFile = key ?? certificate;
  return {
    certificates,
    key: readKey(keyFile, keyPassword, `${where}.key`),
    source: certificate,
    keySource: keyFile,
    files: [certificate, ...(key === undefined ? [] : [key])],
  };
}

function fromKeystore(settings: KeyMaterialSettings, where: string): Found {
  const { keystore = '', keystorePassword = '', keystoreType = 'auto', keystoreEntry } = settings;
  const bytes = readNamed(keystore, `${where}.keystore`);
  const entry = readKeystore(bytes, keystore, keystorePassword, keystoreType, keystoreEntry, `${where}.keystore`);
  return {
    certificates: entry.certificates.map((der) => parseCertificate(der, keystore, `${where}.keystore`)),
    key: entry.key,
    source: keystore,
    keySource: `the key in ${keystore}`,
    files: [keystore],
  };
}

/** Every certificate of a PEM file; at least one. */
export function readCertificates(file: string, what: string): X509Certificate[] {
  const bytes = readNamed(file, what);
  const blocks = pemBlocks(bytes).filter(({ label }) => isCertificateLabel(label));
  if (blocks.length === 0) throw tlsFault(`${what}: ${file} holds no certificate${whatItSeems(bytes)}`);
  return blocks.map(({ der }) => parseCertificate(der, file, what));
}

function parseCertificate(der: Buffer, file: string, what: string): X509Certificate {
  try {
    const certificate = new X509Certificate(der);
    certificateFields(certificate.raw);
    return certificate;
  } catch (error) {
    throw tlsFault(`${what}: ${file} holds a certificate that cannot be read`, error);
  }
}

function readKey(file: string, password: string | undefined, what: string): KeyObject {
  const bytes = readNamed(file, what);
  const found = pemBlocks(bytes).find(({ label }) => isKeyLabel(label));
  if (found === undefined) throw tlsFault(`${what}: ${file} holds no private key${whatItSeems(bytes)}`);
  if (found.encrypted && password === undefined)
    throw tlsFault(
      `${what}: the private key in ${file} is encrypted with a password; give the password as keyPassword, or a key without one`,
    );
  try {
    return createPrivateKey({ key: found.text, ...(password === undefined ? {} : { passphrase: password }) });
  } catch (error) {
    throw tlsFault(
      found.encrypted
        ? `${what}: keyPassword does not open the private key in ${file}`
        : `${what}: the private key in ${file} cannot be read`,
      error,
    );
  }
}

/** The certificate, then issuer after issuer; what does not belong to the chain is left out, with a warning. */
function inOrder(
  first: X509Certificate,
  all: readonly X509Certificate[],
  source: string,
  warnings: string[],
): X509Certificate[] {
  const chain = [first];
  const rest = all.filter((entry) => entry !== first && entry.fingerprint256 !== first.fingerprint256);
  for (;;) {
    const last = chain[chain.length - 1]!;
    if (isSelfSigned(last)) break;
    const index = rest.findIndex((candidate) => last.checkIssued(candidate) && last.verify(candidate.publicKey));
    if (index < 0) break;
    chain.push(...rest.splice(index, 1));
  }
  const given = all.map(({ fingerprint256 }) => fingerprint256);
  const ordered = chain.map(({ fingerprint256 }) => fingerprint256);
  if (rest.length > 0)
    warnings.push(
      `${source} holds ${rest.map(mention).join(', ')}, which does not belong to the chain and is not sent`,
    );
  else if (given.join() !== ordered.join())
    warnings.push(`the certificates in ${source} are in the wrong order; they are sent in the right one`);
  return chain;
}

export function isSelfSigned(certificate: X509Certificate): boolean {
  return certificate.subject === certificate.issuer && certificate.checkIssued(certificate);
}

function check(chain: readonly X509Certificate[], source: string, nowMs: number, warnings: string[]): void {
  for (const certificate of chain) {
    const { notBeforeMs, notAfterMs, signatureAlgorithm } = certificateFields(certificate.raw);
    const name = `${mention(certificate)} in ${source}`;
    if (nowMs > notAfterMs) warnings.push(`${name} has expired on ${day(notAfterMs)}`);
    else if (nowMs > notAfterMs - EXPIRES_SOON_MS) warnings.push(`${name} expires on ${day(notAfterMs)}`);
    if (nowMs < notBeforeMs) warnings.push(`${name} is valid only from ${day(notBeforeMs)}`);
    const { asymmetricKeyType, asymmetricKeyDetails } = certificate.publicKey;
    const bits = asymmetricKeyDetails?.modulusLength ?? RSA_BITS_MIN;
    if (asymmetricKeyType === 'rsa' && bits < RSA_BITS_MIN)
      warnings.push(`${name} has an RSA key of ${bits} bits, which is weak; ${RSA_BITS_MIN} are usual`);
    if (weakSignatures.has(signatureAlgorithm) && !isSelfSigned(certificate))
      warnings.push(`${name} is signed with MD5 or SHA-1, which clients refuse`);
  }
}

function mention(certificate: X509Certificate): string {
  return `certificate "${subjectLines(certificate).reverse().join(',')}"`;
}

/** Node tells undefined of a subject without parts, as certificates with nothing but alternative names have it. */
export function subjectLines({ subject }: { readonly subject: string | undefined }): string[] {
  return subject?.split('\n') ?? [];
}

const day = (ms: number) => new Date(ms).toISOString().slice(0, 10);
