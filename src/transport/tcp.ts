/**
 * TCP and Unix socket listeners on libuv's stream handles (`handle-stream`). Where those are missing (`handlesAvailable` is
 * false), `net.Socket` behind `NodeStream` does the same work.
 */
import type { Server } from 'node:net';
import { createServer } from 'node:net';
import type { AcceptStream, Admit, Listener } from './byte-stream.js';
import { HandleStream, handlesAvailable, type StreamHandle } from './handle-stream.js';
import { listenFault } from './listen-fault.js';
import { NodeStream } from './node-stream.js';
import { ProxiedStreams } from './proxied-streams.js';
import type { ProxyOptions } from './proxy-protocol.js';

export interface TcpListenOptions {
  name: string;
  /** Either host and port, or unixPath. */
  host?: string;
  port?: number;
  /** Leaves IPv4 alone where `host` is `::`. */
  ipv6Only?: boolean;
  unixPath?: string;
  backlog?: number;
  /** Expects a PROXY protocol header ahead of each stream. */
  proxy?: ProxyOptions;
  /** Asked with `proxy` only: without one a stream is complete when it comes, and `onStream` can judge it. */
  admit?: Admit;
  onStream: AcceptStream;
  /** For tests: drive connections by `net.Socket` even where handles are available. */
  plainSockets?: boolean;
}

/**
 * Listens on a TCP address or a Unix socket.
 *
 * Errors  `Fault` LISTEN_ADDRESS_IN_USE, LISTEN_PERMISSION, LISTEN_ADDRESS_UNKNOWN or LISTEN_FAILED, naming listener and
 *         address in one line.
 */
export function listenTcp(options: TcpListenOptions): Promise<Listener> {
  const server = createServer({ noDelay: true });
  const where = options.unixPath ?? `${options.host}:${options.port}`;
  return new Promise((resolve, reject) => {
    const refused = (error: NodeJS.ErrnoException) => reject(listenFault(options.name, where, error));
    server.once('error', refused);
    server.listen(
      options.unixPath === undefined
        ? { host: options.host, port: options.port, backlog: options.backlog, ipv6Only: options.ipv6Only === true }
        : { path: options.unixPath, backlog: options.backlog },
      () => {
        server.off('error', refused);
        server.on('error', () => {}); // a failed accept (out of descriptors) concerns that peer alone
        const { proxy, admit, onStream } = options;
        const proxied = proxy === undefined ? undefined : new ProxiedStreams(proxy, admit, onStream);
        accept(server, proxied === undefined ? options : { ...options, onStream: (stream) => proxied.take(stream) });
        resolve(listenerOf(server, options, proxied));
      },
    );
  });
}

function accept(server: Server, options: TcpListenOptions): void {
  const handle = (server as unknown as { _handle?: { onconnection?: unknown } })._handle;
  if (!handlesAvailable || options.plainSockets || typeof handle?.onconnection !== 'function') {
    server.on('connection', (socket) => options.onStream(new NodeStream(socket)));
    return;
  }
  handle.onconnection = (error: number, accepted: StreamHandle | undefined) => {
    if (error === 0 && accepted !== undefined) options.onStream(new HandleStream(accepted));
  };
}

function listenerOf(server: Server, options: TcpListenOptions, proxied: ProxiedStreams | undefined): Listener {
  const address = server.address();
  return {
    name: options.name,
    bound:
      typeof address === 'object' && address !== null
        ? { address: address.address, port: address.port }
        : { path: options.unixPath ?? '' },
    close: () => {
      proxied?.close();
      return new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
