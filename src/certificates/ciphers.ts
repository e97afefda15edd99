/**
 * Which ciphers a listener offers.
 *
 * For TLS 1.3 the suites with SHA-256 come first where pre-shared keys are used: Node's keys are bound to that hash, and a
 * client with a key would be answered with the certificate under any other suite.
 */
export const CIPHER_SUITES = 'TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256';
const PSK_CIPHER_SUITES = 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384';

/** TLS 1.2 with forward secrecy and authenticated encryption, then what older devices know. */
const certificateCiphers = [
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
  'DHE-RSA-AES128-GCM-SHA256',
  'DHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-AES128-SHA256',
  'ECDHE-RSA-AES128-SHA256',
  'ECDHE-ECDSA-AES256-SHA384',
  'ECDHE-RSA-AES256-SHA384',
  'AES128-GCM-SHA256',
  'AES256-GCM-SHA384',
];
const pskCiphers = [
  'ECDHE-PSK-CHACHA20-POLY1305',
  'DHE-PSK-AES128-GCM-SHA256',
  'DHE-PSK-AES256-GCM-SHA384',
  'ECDHE-PSK-AES128-CBC-SHA256',
  'ECDHE-PSK-AES256-CBC-SHA384',
  'PSK-AES128-GCM-SHA256',
  'PSK-AES256-GCM-SHA384',
  'PSK-CHACHA20-POLY1305',
  'PSK-AES128-CBC-SHA256',
  'PSK-AES128-CBC-SHA',
  'PSK-AES256-CBC-SHA',
];

/** Both lists in one, as `node:tls` takes it; an empty setting stands for the usual list. */
export function cipherList(
  given: { readonly ciphers: string; readonly cipherSuites: string },
  withCertificate: boolean,
  withPsk: boolean,
): string {
  const suites = given.cipherSuites !== '' ? given.cipherSuites : withPsk ? PSK_CIPHER_SUITES : CIPHER_SUITES;
  const usual = [...(withPsk ? pskCiphers : []), ...(withCertificate ? certificateCiphers : [])].join(':');
  return `${suites}:${given.ciphers !== '' ? given.ciphers : usual}`;
}
