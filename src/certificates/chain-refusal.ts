/** Why the chain of a client's certificate is not trusted, in words, by OpenSSL's code. */
const sentences: Readonly<Record<string, string>> = {
  UNABLE_TO_GET_ISSUER_CERT: 'no authority of clientCa has issued its certificate',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'no authority of clientCa has issued its certificate',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'no authority of clientCa has issued its certificate',
  SELF_SIGNED_CERT_IN_CHAIN: 'the authority of its certificate is none of clientCa',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed and not in clientCa',
  CERT_HAS_EXPIRED: 'its certificate, or one of its chain, has expired',
  CERT_NOT_YET_VALID: 'its certificate, or one of its chain, is not valid yet',
  CERT_SIGNATURE_FAILURE: 'a signature in the chain of its certificate is wrong',
  CERT_CHAIN_TOO_LONG: 'the chain of its certificate is too long',
  INVALID_CA: 'an issuer in the chain of its certificate is no authority',
  INVALID_PURPOSE: 'its certificate is not made for clients',
  CERT_UNTRUSTED: 'its certificate is not made for clients',
  CA_MD_TOO_WEAK: 'a signature in the chain of its certificate uses a weak digest',
  CA_KEY_TOO_SMALL: 'an authority in the chain of its certificate has a short key',
  EE_KEY_TOO_SMALL: 'the key of its certificate is too short',
};

export function chainRefusal(code: string): string {
  return sentences[code] ?? `its certificate is not trusted (${code})`;
}
