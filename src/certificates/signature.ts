/** Verifies a signature as X.509 structures carry it: an algorithm identifier, the signed bytes, a BIT STRING. */
import { constants, type KeyObject, verify } from 'node:crypto';

/** Digests by the identifier of the signature algorithm; null for the ones that have their own. */
const digests: Readonly<Record<string, string | null>> = {
  '1.2.840.113549.1.1.5': 'sha1',
  '1.2.840.113549.1.1.11': 'sha256',
  '1.2.840.113549.1.1.12': 'sha384',
  '1.2.840.113549.1.1.13': 'sha512',
  '1.2.840.10045.4.1': 'sha1',
  '1.2.840.10045.4.3.2': 'sha256',
  '1.2.840.10045.4.3.3': 'sha384',
  '1.2.840.10045.4.3.4': 'sha512',
  '1.3.101.112': null,
  '1.3.101.113': null,
};
const RSA_PSS = '1.2.840.113549.1.1.10';
const pssDigests = ['sha256', 'sha384', 'sha512'];

export function isKnownSignature(algorithm: string): boolean {
  return algorithm === RSA_PSS || Object.hasOwn(digests, algorithm);
}

/** False also for a key of another kind. */
export function signatureHolds(algorithm: string, signed: Buffer, key: KeyObject, signature: Buffer): boolean {
  try {
    if (algorithm === RSA_PSS) {
      const { RSA_PKCS1_PSS_PADDING: padding, RSA_PSS_SALTLEN_AUTO: saltLength } = constants;
      return pssDigests.some((digest) => verify(digest, signed, { key, padding, saltLength }, signature));
    }
    const digest = digests[algorithm];
    return digest !== undefined && verify(digest, signed, key, signature);
  } catch {
    return false;
  }
}
