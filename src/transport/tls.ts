/** MQTT over TLS on a TCP address or a Unix socket. */
import { createServer, type Server } from 'node:tls';
import { Arrivals } from './arrivals.js';
import type { AcceptStream, Listener } from './byte-stream.js';
import { listenFault } from './listen-fault.js';
import { SecureEndpoint, type SecureOptions } from './secure-server.js';
import { secureStream } from './tls-stream.js';

export interface TlsListenOptions extends SecureOptions {
  /** Either host and port, or unixPath. */
  readonly host?: string;
  readonly port?: number;
  readonly unixPath?: string;
  readonly ipv6Only?: boolean;
  readonly backlog?: number;
  readonly onStream: AcceptStream;
}

/**
 * Listens for TLS connections; a stream is handed up when its handshake is done and its certificate was judged.
 *
 * Errors  `Fault` as `listenTcp`.
 */
export function listenTls(options: TlsListenOptions): Promise<Listener> {
  const endpoint = new SecureEndpoint(options, new Arrivals(options));
  const server = createServer({ ...endpoint.serverOptions(), noDelay: true });
  endpoint.serve(server, (socket, security, peer, place) =>
    options.onStream(secureStream(socket, peer, security), place),
  );
  const { name, host, port, unixPath, backlog, ipv6Only = false } = options;
  return new Promise((resolve, reject) => {
    const refused = (error: NodeJS.ErrnoException) => reject(listenFault(name, unixPath ?? `${host}:${port}`, error));
    server.once('error', refused);
    server.listen({ ...(unixPath === undefined ? { host, port, ipv6Only } : { path: unixPath }), backlog }, () => {
      server.off('error', refused);
      server.on('error', () => {}); // a failed accept (out of descriptors) concerns that peer alone
      resolve({ name, bound: boundTo(server, unixPath), close: () => closeServer(server, endpoint) });
    });
  });
}

function boundTo(server: Server, unixPath: string | undefined): Listener['bound'] {
  const address = server.address();
  return typeof address === 'object' && address !== null
    ? { address: address.address, port: address.port }
    : { path: unixPath ?? '' };
}

/** Node's own callback would wait for every connection that was handed up. */
async function closeServer(server: Server, endpoint: SecureEndpoint): Promise<void> {
  endpoint.close();
  server.close();
}
