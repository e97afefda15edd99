/** Looks at a revocation list of our own: whether it is ours, which number it has, how long it counts. */
import type { X509Certificate } from 'node:crypto';
import { certificateFields, readExtension } from '../certificate-fields.js';
import { children, DerTag, derTime, derValue, derWhole, expectDer, objectIdentifier, readDer } from '../der.js';
import { pemBlocks } from '../pem.js';
import { signatureHolds } from '../signature.js';

export interface RevocationListFile {
  readonly der: Buffer;
  readonly number: number;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  readonly revoked: number;
}

const CRL_NUMBER = '2.5.29.20';

/** Undefined when it is no list that `authority` has signed. */
export function readOwnRevocationList(bytes: Buffer, authority: X509Certificate): RevocationListFile | undefined {
  try {
    const der = pemBlocks(bytes).find(({ label }) => label === 'X509 CRL')?.der ?? bytes;
    const whole = expectDer(der, 0, der.length, DerTag.sequence);
    const [signed, algorithm, signature] = [...children(der, whole)];
    const identifier = objectIdentifier(derValue(der, readDer(der, algorithm!.valueStart, algorithm!.end)));
    const [, , issuer, thisUpdate, nextUpdate, ...rest] = [...children(der, signed!)];
    const name = derWhole(authority.raw, certificateFields(authority.raw).subject);
    if (!derWhole(der, issuer!).equals(name)) return undefined;
    if (!signatureHolds(identifier, derWhole(der, signed!), authority.publicKey, derValue(der, signature!).subarray(1)))
      return undefined;
    const entries = rest.find(({ tag }) => tag === DerTag.sequence);
    const extensions = rest.find(({ tag }) => tag === 0xa0);
    let number = 0;
    if (extensions !== undefined)
      for (const extension of children(der, readDer(der, extensions.valueStart, extensions.end))) {
        const { identifier: kind, value } = readExtension(der, extension);
        if (kind !== CRL_NUMBER) continue;
        number = Number.parseInt(derValue(value, readDer(value, 0, value.length)).toString('hex'), 16);
      }
    return {
      der,
      number,
      thisUpdateMs: derTime(der, thisUpdate!),
      nextUpdateMs: derTime(der, nextUpdate!),
      revoked: entries === undefined ? 0 : [...children(der, entries)].length,
    };
  } catch {
    return undefined;
  }
}
