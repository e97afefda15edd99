/** Keys of the authority, of the server and of clients: made, read, and checked for strength. */
import { createHash, createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { authorityFault } from './authority-fault.js';
import type { KeyType } from './options.js';

const RSA_BITS_MIN = 2048;
const RSA_BITS_MAX = 8192;
const curves: Readonly<Record<string, string>> = { prime256v1: 'p256', secp384r1: 'p384', secp521r1: 'p521' };

const generate = promisify(generateKeyPair) as (
  type: string,
  options: object,
) => Promise<{ publicKey: KeyObject; privateKey: KeyObject }>;

/** Off the main thread. */
export async function makeKey(type: KeyType): Promise<KeyObject> {
  switch (type) {
    case 'p256':
      return (await generate('ec', { namedCurve: 'prime256v1' })).privateKey;
    case 'p384':
      return (await generate('ec', { namedCurve: 'secp384r1' })).privateKey;
    case 'ed25519':
      return (await generate('ed25519', {})).privateKey;
    default:
      return (await generate('rsa', { modulusLength: Number(type.slice(3)) })).privateKey;
  }
}

/** As people name it: `p256`, `rsa3072`; a kind that is not known here by OpenSSL's name. */
export function keyTypeOf(key: KeyObject): string {
  const { asymmetricKeyType = 'unknown', asymmetricKeyDetails } = key;
  if (asymmetricKeyType === 'rsa') return `rsa${asymmetricKeyDetails?.modulusLength}`;
  if (asymmetricKeyType === 'ec')
    return curves[asymmetricKeyDetails?.namedCurve ?? ''] ?? asymmetricKeyDetails?.namedCurve ?? 'ec';
  return asymmetricKeyType;
}

/** Why a certificate is not made for this public key; undefined when one is. */
export function publicKeyFault(key: KeyObject): string | undefined {
  const { asymmetricKeyType, asymmetricKeyDetails } = key;
  switch (asymmetricKeyType) {
    case 'rsa': {
      const bits = asymmetricKeyDetails?.modulusLength ?? 0;
      const exponent = asymmetricKeyDetails?.publicExponent ?? 0n;
      if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
        return `the RSA key has ${bits} bits; ${RSA_BITS_MIN} to ${RSA_BITS_MAX} are allowed`;
      return exponent < 65537n || exponent % 2n === 0n
        ? `the RSA key has the exponent ${exponent}; odd ones from 65537 are allowed`
        : undefined;
    }
    case 'ec':
      return Object.hasOwn(curves, asymmetricKeyDetails?.namedCurve ?? '')
        ? undefined
        : `the curve ${asymmetricKeyDetails?.namedCurve} is not allowed; P-256, P-384 and P-521 are`;
    case 'ed25519':
    case 'ed448':
      return undefined;
    default:
      return `keys of type ${asymmetricKeyType ?? 'unknown'} are not allowed; RSA, EC, Ed25519 and Ed448 are`;
  }
}

/** Why this private key cannot sign certificates here; undefined when it can. */
export function signingKeyFault(key: KeyObject): string | undefined {
  const type = keyTypeOf(key);
  if (/^rsa\d/.test(type) || /^p(256|384|521)$/.test(type) || type === 'ed25519')
    return publicKeyFault(createPublicKey(key));
  return `a key of type ${type} cannot sign here; RSA, P-256, P-384, P-521 and Ed25519 can`;
}

export function readPrivateKey(pem: Buffer | string, password: string | undefined, what: string): KeyObject {
  try {
    return createPrivateKey({ key: pem, format: 'pem', ...(password === undefined ? {} : { passphrase: password }) });
  } catch (error) {
    const encrypted = /ENCRYPTED/.test(pem.toString('latin1'));
    if (encrypted && password === undefined)
      throw authorityFault('CA_INPUT', `${what}: the private key is encrypted; its password is needed`, error);
    throw authorityFault(
      'CA_INPUT',
      encrypted ? `${what}: the password does not open the private key` : `${what}: the private key cannot be read`,
      error,
    );
  }
}

export function privateKeyPem(key: KeyObject): string {
  return key.export({ format: 'pem', type: 'pkcs8' }) as string;
}

/** SHA-256 of the public key: the same for all certificates made with one key. */
export function publicKeyThumbprint(key: KeyObject): string {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  return createHash('sha256')
    .update(publicKey.export({ format: 'der', type: 'spki' }))
    .digest('hex');
}
