/**
 * PKCS#12 and Java keystores: one private key with its certificates. One password opens the store and the key.
 */
import { createHash, createPrivateKey, type KeyObject } from 'node:crypto';
import { createRequire } from 'node:module';
import { tlsFault } from './files.js';
import { isCertificateLabel, pemBlocks } from './pem.js';
import { readPkcs12 } from './pkcs12.js';

export interface KeystoreEntry {
  readonly key: KeyObject;
  readonly certificates: readonly Buffer[];
}

const require = createRequire(import.meta.url);
const JKS_MAGIC = 0xfeedfeed;
const JCEKS_MAGIC = 0xcececece;
/** Bytes of the digest at the end of a Java keystore, keyed with its password. */
const JKS_DIGEST_BYTES = 20;

export function readKeystore(
  bytes: Buffer,
  file: string,
  password: string,
  type: 'auto' | 'pkcs12' | 'jks',
  wanted: string | undefined,
  what: string,
): KeystoreEntry {
  const found = typeOf(bytes, file, what);
  if (type !== 'auto' && type !== found)
    throw tlsFault(
      `${what}: ${file} is a ${found === 'jks' ? 'Java keystore (jks)' : 'PKCS#12 file (pkcs12)'}, not ${type}`,
    );
  if (found === 'jks' && !jksPasswordOpens(bytes, password))
    throw tlsFault(`${what}: keystorePassword does not open ${file}`);
  const entries = open(bytes, file, password, found, what);
  const withKey = Object.entries(entries).filter(([, { key }]) => key !== undefined);
  if (withKey.length === 0) throw tlsFault(`${what}: ${file} holds no private key${aliases(entries)}`);
  const [chosen] =
    wanted === undefined ? withKey : withKey.filter(([alias]) => alias.toLowerCase() === wanted.toLowerCase());
  if (chosen === undefined)
    throw tlsFault(`${what}: ${file} holds no private key named "${wanted}"${aliases(entries)}`);
  if (wanted === undefined && withKey.length > 1)
    throw tlsFault(`${what}: ${file} holds several private keys; name one as keystoreEntry${aliases(entries)}`);
  const [alias, { cert, key }] = chosen;
  const certificates = [cert, ...Object.values(entries).map(({ ca }) => ca)]
    .filter((text) => text !== undefined)
    .flatMap((text) => pemBlocks(Buffer.from(text)))
    .filter(({ label }) => isCertificateLabel(label))
    .map(({ der }) => der);
  if (cert === undefined || certificates.length === 0)
    throw tlsFault(`${what}: ${file} holds the private key "${alias}" without its certificate`);
  try {
    return { key: createPrivateKey(key!), certificates };
  } catch (error) {
    throw tlsFault(`${what}: the private key "${alias}" in ${file} cannot be read`, error);
  }
}

type Entries = Readonly<Record<string, { readonly cert?: string; readonly key?: string; readonly ca?: string }>>;

function open(bytes: Buffer, file: string, password: string, type: 'pkcs12' | 'jks', what: string): Entries {
  try {
    if (type !== 'jks') return readPkcs12(bytes, password);
    const jks = require('jks-js') as typeof import('jks-js'); // loaded with the first one: few brokers have one
    return jks.toPem(bytes, password);
  } catch (error) {
    // The digest of a Java keystore has been checked, so it is the key that has another password.
    if (type === 'jks')
      throw tlsFault(
        `${what}: keystorePassword opens ${file}, but not the private key in it; both need the same password`,
        error,
      );
    if (/mac|password|decrypt/i.test((error as Error).message))
      throw tlsFault(`${what}: keystorePassword does not open ${file}`, error);
    throw tlsFault(`${what}: ${file} cannot be read as PKCS#12: ${(error as Error).message}`, error);
  }
}

function typeOf(bytes: Buffer, file: string, what: string): 'pkcs12' | 'jks' {
  const magic = bytes.length >= 4 ? bytes.readUInt32BE(0) : 0;
  if (magic === JKS_MAGIC) return 'jks';
  if (magic === JCEKS_MAGIC)
    throw tlsFault(
      `${what}: ${file} is a JCEKS keystore; convert it with keytool -importkeystore -deststoretype pkcs12`,
    );
  if (bytes[0] === 0x30) return 'pkcs12';
  throw tlsFault(`${what}: ${file} is neither PKCS#12 nor a Java keystore`);
}

/** The last 20 bytes are SHA-1 over the password in UTF-16, a constant, and everything before. */
function jksPasswordOpens(bytes: Buffer, password: string): boolean {
  if (bytes.length < JKS_DIGEST_BYTES + 12) return false;
  const contents = bytes.subarray(0, bytes.length - JKS_DIGEST_BYTES);
  const digest = createHash('sha1')
    .update(Buffer.from(password, 'utf16le').swap16())
    .update('Mighty Aphrodite')
    .update(contents)
    .digest();
  return digest.equals(bytes.subarray(bytes.length - JKS_DIGEST_BYTES));
}

function aliases(entries: Entries): string {
  const names = Object.entries(entries).map(
    ([alias, { key }]) => `${alias} (${key === undefined ? 'certificate' : 'key'})`,
  );
  return names.length === 0 ? '' : `; it holds: ${names.slice(0, 10).join(', ')}`;
}
