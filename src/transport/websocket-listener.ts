/** A listening endpoint for MQTT over WebSocket, with an HTTP server of its own that serves nothing else. */
import { createServer, type Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Listener, PeerAddress } from './byte-stream.js';
import { listenFault } from './listen-fault.js';
import { peerOfSocket } from './peer-address.js';
import { consumeProxyHeader, type ProxyVersions } from './proxy-protocol.js';
import { attachWebSocket, type WebSocketOptions } from './websocket.js';

export interface WebSocketListenOptions extends Omit<WebSocketOptions, 'peerOf'> {
  /** Either host and port, or unixPath. */
  readonly host?: string;
  readonly port?: number;
  readonly unixPath?: string;
  readonly backlog?: number;
  readonly proxyProtocol?: 'off' | ProxyVersions;
  /** Bounds sockets, those in the middle of the handshake included; more are closed at once. */
  readonly connectionsMax?: number;
  /** How long the PROXY protocol header and the HTTP request may take. */
  readonly handshakeTimeoutMs: number;
}

const REQUEST_BYTES_MAX = 16_384;

/**
 * Listens for WebSocket connections.
 *
 * Errors  `Fault` as `listenTcp`.
 */
export function listenWebSocket(options: WebSocketListenOptions): Promise<Listener> {
  const { handshakeTimeoutMs } = options;
  const server = createServer({
    noDelay: true,
    maxHeaderSize: REQUEST_BYTES_MAX,
    requestTimeout: handshakeTimeoutMs,
    headersTimeout: handshakeTimeoutMs,
    connectionsCheckingInterval: Math.min(handshakeTimeoutMs, 5000),
    keepAliveTimeout: 5000,
  });
  if (options.connectionsMax !== undefined) server.maxConnections = options.connectionsMax;
  server.on('request', (request, response) => {
    const found = (request.url ?? '').split('?')[0] === options.path;
    // RFC 9110 §15.5.22: the answer names the protocol that is needed
    response.writeHead(found ? 426 : 404, {
      'Content-Type': 'text/plain; charset=utf-8',
      Connection: found ? 'close, Upgrade' : 'close',
      ...(found ? { Upgrade: 'websocket' } : {}),
    });
    response.end(found ? 'This is MQTT over WebSocket.\n' : 'Not found.\n');
  });
  const proxied =
    options.proxyProtocol === undefined || options.proxyProtocol === 'off'
      ? undefined
      : behindProxy(server, options.proxyProtocol, options);
  attachWebSocket(server, { ...options, ...(proxied === undefined ? {} : { peerOf: proxied }) });
  return bind(server, options);
}

/** Makes the server read each connection's PROXY protocol header first. Returns who is at the other end of a socket. */
function behindProxy(
  server: Server,
  accept: ProxyVersions,
  options: WebSocketListenOptions,
): (socket: Duplex) => PeerAddress {
  const peers = new WeakMap<Duplex, PeerAddress>();
  const serveHttp = server.listeners('connection') as ((this: Server, socket: Socket) => void)[];
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    const proxy = { name: options.name, accept, timeoutMs: options.handshakeTimeoutMs, log: options.log };
    consumeProxyHeader(socket, peerOfSocket(socket), proxy, (peer) => {
      peers.set(socket, peer);
      for (const serve of serveHttp) serve.call(server, socket);
    });
  });
  return (socket) => peers.get(socket) ?? peerOfSocket(socket as Socket);
}

function bind(server: Server, { name, host, port, unixPath, backlog }: WebSocketListenOptions): Promise<Listener> {
  return new Promise((resolve, reject) => {
    const refused = (error: NodeJS.ErrnoException) => reject(listenFault(name, unixPath ?? `${host}:${port}`, error));
    server.once('error', refused);
    server.listen({ ...(unixPath === undefined ? { host, port } : { path: unixPath }), backlog }, () => {
      server.off('error', refused);
      server.on('error', () => {}); // a failed accept (out of descriptors) concerns that peer alone
      const address = server.address();
      const bound =
        typeof address === 'object' && address !== null
          ? { address: address.address, port: address.port }
          : { path: unixPath ?? '' };
      resolve({ name, bound, close: async () => stopAccepting(server) });
    });
  });
}

/** Node's own callback would wait for every WebSocket that was handed up. */
function stopAccepting(server: Server): void {
  server.close();
  server.closeAllConnections();
}
