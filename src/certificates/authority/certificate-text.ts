/** Reads certificates and keys that people hand in: PEM, or DER for certificates. */
import { type KeyObject, X509Certificate } from 'node:crypto';
import { isSelfSigned } from '../key-material.js';
import { isCertificateLabel, isKeyLabel, pemBlocks, whatItSeems } from '../pem.js';
import { authorityFault } from './authority-fault.js';
import { readPrivateKey } from './keys.js';

/** Every certificate in `bytes`; at least one. `what` names the source in messages. */
export function readCertificates(bytes: Buffer, what: string): X509Certificate[] {
  const blocks = pemBlocks(bytes).filter(({ label }) => isCertificateLabel(label));
  const ders = blocks.length === 0 && bytes[0] === 0x30 ? [bytes] : blocks.map(({ der }) => der);
  if (ders.length === 0) throw authorityFault('CA_INPUT', `${what} holds no certificate${whatItSeems(bytes)}`);
  return ders.map((der) => {
    try {
      return new X509Certificate(der);
    } catch (error) {
      throw authorityFault('CA_INPUT', `${what} holds a certificate that cannot be read`, error);
    }
  });
}

/** The first certificate and its issuers as far as they are there, in order; others are left out. */
export function readChain(bytes: Buffer, what: string): X509Certificate[] {
  return chainFrom(readCertificates(bytes, what));
}

export function chainFrom([first, ...rest]: readonly X509Certificate[]): X509Certificate[] {
  const chain = [first!];
  for (;;) {
    const last = chain[chain.length - 1]!;
    if (isSelfSigned(last)) return chain;
    const issuer = rest.find((candidate) => last.checkIssued(candidate) && last.verify(candidate.publicKey));
    if (issuer === undefined || chain.includes(issuer)) return chain;
    chain.push(issuer);
  }
}

/** The private key in PEM text; undefined when there is none. */
export function findPrivateKey(bytes: Buffer, password: string | undefined, what: string): KeyObject | undefined {
  const found = pemBlocks(bytes).find(({ label }) => isKeyLabel(label));
  return found === undefined ? undefined : readPrivateKey(found.text, password, what);
}

export function readAuthorityKey(bytes: Buffer, what: string, password?: string): KeyObject {
  const key = findPrivateKey(bytes, password, what);
  if (key === undefined) throw authorityFault('CA_INPUT', `${what} holds no private key${whatItSeems(bytes)}`);
  return key;
}
