/** What can be told of a TLS socket that somebody else has accepted, such as a program's own HTTPS server. */
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { StreamSecurity } from './byte-stream.js';

/** Undefined for streams without TLS. The certificate counts as trusted where the one who accepted it verified it. */
export function securityOfSocket(socket: Duplex): StreamSecurity | undefined {
  if (!(socket instanceof TLSSocket)) return undefined;
  const certificate = socket.getPeerX509Certificate();
  return {
    version: socket.getProtocol() ?? '',
    cipher: socket.getCipher()?.standardName ?? '',
    serverName: typeof socket.servername === 'string' ? socket.servername : undefined,
    certificate: certificate === undefined ? undefined : { der: certificate.raw, trusted: socket.authorized },
    pskIdentity: undefined,
  };
}
