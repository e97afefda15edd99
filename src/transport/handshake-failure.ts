/** Why a TLS handshake failed, in words: OpenSSL's codes say what happened, rarely what it means. */
const sentences: Readonly<Record<string, string>> = {
  ERR_TLS_HANDSHAKE_TIMEOUT: 'the handshake did not end in time',
  ERR_SSL_NO_SHARED_CIPHER: 'no cipher suite is known to both sides, or the client came without the PSK that is needed',
  ERR_SSL_NO_SUITABLE_KEY_SHARE: 'no key exchange group is known to both sides',
  ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM: 'no signature algorithm is known to both sides',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'the client speaks only TLS versions that are switched off',
  ERR_SSL_VERSION_TOO_LOW: 'the client speaks only TLS versions that are switched off',
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: 'the client speaks no TLS version that is offered',
  ERR_SSL_WRONG_VERSION_NUMBER: 'what came is not TLS',
  ERR_SSL_HTTP_REQUEST: 'what came is HTTP without TLS',
  ERR_SSL_HTTPS_PROXY_REQUEST: 'what came is an HTTP proxy request',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'the client does not trust the authority of our certificate',
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: 'the client refused our certificate',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: 'the client refused our certificate',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: 'the client found our certificate expired',
  ERR_SSL_TLSV1_ALERT_DECRYPT_ERROR: 'the client could not verify the handshake',
  ERR_SSL_PSK_IDENTITY_NOT_FOUND: 'the PSK identity is not known',
  ERR_SSL_BINDER_DOES_NOT_VERIFY: 'the client has another key for this PSK identity',
  ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC: 'a record did not decrypt (another key, or damage)',
  ERR_SSL_NO_APPLICATION_PROTOCOL: 'no protocol of ALPN is known to both sides',
  ERR_SSL_UNEXPECTED_EOF_WHILE_READING: 'the client closed the connection in the handshake',
  ECONNRESET: 'the client closed the connection in the handshake',
  EPIPE: 'the client closed the connection in the handshake',
};

/** A sentence without a full stop. */
export function handshakeFailure(error: NodeJS.ErrnoException, pskIdentity: string | undefined): string {
  const code = error.code ?? '';
  if (
    pskIdentity !== undefined &&
    (code === 'ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC' || code.includes('DIGEST_CHECK'))
  )
    return 'the client has another key for this PSK identity';
  const known = sentences[code];
  if (known !== undefined) return known;
  const { reason } = error as { reason?: string };
  const alert = /^(?:tlsv1|sslv3|tlsv13|ssl\/tls) alert (.*)$/.exec(reason ?? '')?.[1];
  if (alert !== undefined) return `the client ended the handshake (alert: ${alert})`;
  return reason ?? error.message.split('\n')[0] ?? code;
}
