/** Checks of what people ask of the authority; each throws `Fault` CA_INPUT or says what is wrong. */
import { createHash, createPublicKey, type KeyObject, type X509Certificate } from 'node:crypto';
import { hostname } from 'node:os';
import { certificateFields, extensionOf } from '../certificate-fields.js';
import { DerTag, derValue, expectDer } from '../der.js';
import { isSelfSigned, subjectLines } from '../key-material.js';
import { authorityFault } from './authority-fault.js';
import { chainFrom } from './certificate-text.js';
import { publicKeyFault } from './keys.js';
import { readServerNames, type ServerName } from './names.js';
import { CERTIFICATE_DAYS_MAX, type KeyType, keyTypes } from './options.js';

const KEY_USAGE = '2.5.29.15';
const KEY_CERT_SIGN = 0x04;

export function checkedDays(days: number): number {
  if (Number.isInteger(days) && days >= 1 && days <= CERTIFICATE_DAYS_MAX) return days;
  throw authorityFault('CA_INPUT', `days is a whole number from 1 to ${CERTIFICATE_DAYS_MAX}, not ${days}`);
}

export function checkedKeyType(type: string): KeyType {
  const found = keyTypes.find((known) => known === type);
  if (found === undefined)
    throw authorityFault('CA_INPUT', `${JSON.stringify(type)} is no type of key; there are ${keyTypes.join(', ')}`);
  return found;
}

export function namesForPurpose(purpose: 'client' | 'server', names: readonly string[] = []): ServerName[] {
  if (purpose === 'server' && names.length === 0)
    throw authorityFault('CA_INPUT', 'a certificate for a server needs at least one name it answers to');
  if (purpose === 'client' && names.length > 0)
    throw authorityFault('CA_INPUT', 'names are for the certificates of servers; a client has its common name');
  return readServerNames(names);
}

/** Told apart from the authorities of other machines, and from one made here before. */
export function usualAuthorityName(key: KeyObject): string {
  const host = hostname()
    .replace(/[^A-Za-z0-9.-]/g, '')
    .slice(0, 40);
  const mark = createHash('sha256')
    .update(createPublicKey(key).export({ format: 'der', type: 'spki' }))
    .digest('hex');
  return `Dunlin CA ${host === '' ? 'host' : host} ${mark.slice(0, 8)}`;
}

/** Why a certificate cannot be the authority; undefined when it can. */
export function authorityFaultOf(
  given: readonly X509Certificate[],
  key: KeyObject | undefined,
  nowMs: number,
): string | undefined {
  const chain = chainFrom(given);
  const [certificate] = chain;
  const name = `the certificate of ${subjectLines(certificate!).join(', ')}`;
  if (!certificate!.ca) return `${name} is not that of an authority (its basicConstraints do not say CA)`;
  const usage = extensionOf(certificate!.raw, certificateFields(certificate!.raw), KEY_USAGE);
  if (usage !== undefined) {
    const bits = derValue(usage, expectDer(usage, 0, usage.length, DerTag.bitString));
    if (((bits[1] ?? 0) & KEY_CERT_SIGN) === 0)
      return `${name} may not sign certificates (its keyUsage does not say keyCertSign)`;
  }
  const { notAfterMs } = certificateFields(certificate!.raw);
  if (notAfterMs < nowMs) return `${name} has expired on ${new Date(notAfterMs).toISOString().slice(0, 10)}`;
  const last = chain[chain.length - 1]!;
  if (!isSelfSigned(last))
    return `the issuer of ${subjectLines(last).join(', ')} is missing: put its certificates up to the root into the same file`;
  const weak = publicKeyFault(certificate!.publicKey);
  if (weak !== undefined) return `${name} is refused: ${weak}`;
  if (key !== undefined && !certificate!.checkPrivateKey(key)) return 'the private key is not that of the certificate';
  return undefined;
}
