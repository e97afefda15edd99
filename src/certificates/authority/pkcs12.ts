/**
 * PKCS#12 (RFC 7292): a private key with its certificates under one password, as browsers, Windows and Java import them.
 *
 * Key and certificates are encrypted with AES-256 (PBES2, RFC 8018); the whole is sealed with HMAC-SHA-256.
 */
import {
  createCipheriv,
  createHash,
  createHmac,
  type KeyObject,
  pbkdf2,
  randomBytes,
  type X509Certificate,
} from 'node:crypto';
import { promisify } from 'node:util';
import { authorityFault } from './authority-fault.js';
import {
  bmpString,
  explicit,
  implicit,
  integer,
  nothing,
  objectId,
  octetString,
  sequence,
  setOf,
} from './der-writer.js';

export interface Pkcs12Contents {
  readonly key: KeyObject;
  /** The certificate of the key first. */
  readonly certificates: readonly X509Certificate[];
  readonly friendlyName: string;
  readonly password: string;
}

const ITERATIONS = 100_000;
const SALT_BYTES = 16;
const ids = {
  data: '1.2.840.113549.1.7.1',
  encryptedData: '1.2.840.113549.1.7.6',
  shroudedKeyBag: '1.2.840.113549.1.12.10.1.2',
  certificateBag: '1.2.840.113549.1.12.10.1.3',
  x509Certificate: '1.2.840.113549.1.9.22.1',
  friendlyName: '1.2.840.113549.1.9.20',
  localKeyId: '1.2.840.113549.1.9.21',
  pbes2: '1.2.840.113549.1.5.13',
  pbkdf2: '1.2.840.113549.1.5.12',
  hmacSha256: '1.2.840.113549.2.9',
  aes256Cbc: '2.16.840.1.101.3.4.1.42',
  sha256: '2.16.840.1.101.3.4.2.1',
} as const;

const deriveKey = promisify(pbkdf2);

/** Passwords that every program reads the same way: printable ASCII. Java wants 6 characters. */
export function pkcs12PasswordFault(password: string): string | undefined {
  return /^[\x20-\x7e]{6,128}$/.test(password)
    ? undefined
    : 'a password for PKCS#12 has 6 to 128 characters, letters, digits and signs of ASCII';
}

export async function makePkcs12({ key, certificates, friendlyName, password }: Pkcs12Contents): Promise<Buffer> {
  const fault = pkcs12PasswordFault(password);
  if (fault !== undefined) throw authorityFault('CA_INPUT', fault);
  const [first] = certificates;
  const attributes = setOf(
    sequence(objectId(ids.friendlyName), setOf(bmpString(friendlyName))),
    sequence(objectId(ids.localKeyId), setOf(octetString(createHash('sha1').update(first!.raw).digest()))),
  );
  const certificateBags = certificates.map((certificate, index) =>
    sequence(
      objectId(ids.certificateBag),
      explicit(0, sequence(objectId(ids.x509Certificate), explicit(0, octetString(certificate.raw)))),
      ...(index === 0 ? [attributes] : []),
    ),
  );
  const [shroudedKey, sealedCertificates] = await Promise.all([
    encrypt(key.export({ format: 'der', type: 'pkcs8' }), password),
    encrypt(sequence(...certificateBags), password),
  ]);
  const keyBag = sequence(
    objectId(ids.shroudedKeyBag),
    explicit(0, sequence(shroudedKey.algorithm, octetString(shroudedKey.encrypted))),
    attributes,
  );
  const encryptedContent = sequence(
    objectId(ids.data),
    sealedCertificates.algorithm,
    implicit(0, sealedCertificates.encrypted),
  );
  const safe = sequence(
    sequence(objectId(ids.encryptedData), explicit(0, sequence(integer(0), encryptedContent))),
    sequence(objectId(ids.data), explicit(0, octetString(sequence(keyBag)))),
  );
  return sequence(integer(3), sequence(objectId(ids.data), explicit(0, octetString(safe))), seal(safe, password));
}

async function encrypt(plain: Buffer, password: string): Promise<{ algorithm: Buffer; encrypted: Buffer }> {
  const salt = randomBytes(SALT_BYTES);
  const iv = randomBytes(16);
  const cipher = createCipheriv('aes-256-cbc', await deriveKey(password, salt, ITERATIONS, 32, 'sha256'), iv);
  const derivation = sequence(
    objectId(ids.pbkdf2),
    sequence(octetString(salt), integer(ITERATIONS), sequence(objectId(ids.hmacSha256), nothing())),
  );
  return {
    algorithm: sequence(objectId(ids.pbes2), sequence(derivation, sequence(objectId(ids.aes256Cbc), octetString(iv)))),
    encrypted: Buffer.concat([cipher.update(plain), cipher.final()]),
  };
}

function seal(safe: Buffer, password: string): Buffer {
  const salt = randomBytes(SALT_BYTES);
  const digest = createHmac('sha256', macKey(password, salt)).update(safe).digest();
  return sequence(
    sequence(sequence(objectId(ids.sha256), nothing()), octetString(digest)),
    octetString(salt),
    integer(MAC_ITERATIONS),
  );
}

const MAC_ITERATIONS = 2048;
const MAC_KEY = 3;
const BLOCK_BYTES = 64;

/** RFC 7292 appendix B.2, for one block of SHA-256: the password is in UTF-16 with two zero bytes at its end. */
function macKey(password: string, salt: Buffer): Buffer {
  const repeat = (bytes: Buffer) => {
    const filled = Buffer.alloc(Math.ceil(bytes.length / BLOCK_BYTES) * BLOCK_BYTES);
    return filled.fill(bytes);
  };
  const secret = Buffer.from(`${password}\0`, 'utf16le').swap16();
  let hash: Buffer = Buffer.concat([Buffer.alloc(BLOCK_BYTES, MAC_KEY), repeat(salt), repeat(secret)]);
  for (let round = 0; round < MAC_ITERATIONS; round++) hash = createHash('sha256').update(hash).digest();
  return hash;
}
