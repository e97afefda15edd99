/**
 * A listening endpoint for MQTT over WebSocket, with TLS or without, and an HTTP server of its own that serves little else: what it is
 * given by path, such as a revocation list.
 */
import { createServer, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Server as TlsServer } from 'node:tls';
import type { Listener, PeerAddress, StreamSecurity } from './byte-stream.js';
import { listenFault } from './listen-fault.js';
import { peerName, peerOfSocket } from './peer-address.js';
import { consumeProxyHeader, type ProxyVersions } from './proxy-protocol.js';
import { SecureEndpoint, type TlsProvider } from './secure-server.js';
import { attachWebSocket, type WebSocketOptions } from './websocket.js';

export interface WebSocketListenOptions extends Omit<WebSocketOptions, 'peerOf' | 'securityOf'> {
  /** Either host and port, or unixPath. */
  readonly host?: string;
  readonly port?: number;
  readonly unixPath?: string;
  readonly backlog?: number;
  readonly ipv6Only?: boolean;
  readonly proxyProtocol?: 'off' | ProxyVersions;
  readonly proxyTls?: boolean;
  /** Bounds sockets, those in the middle of the handshake included; more are closed at once. */
  readonly connectionsMax?: number;
  /** How long the PROXY protocol header and the HTTP request may take. */
  readonly handshakeTimeoutMs: number;
  /** Makes it WSS. */
  readonly tls?: TlsProvider;
  readonly onHandshakeFailed?: () => void;
  /** What GET and HEAD of another path than that of MQTT are answered with; undefined is nothing. */
  readonly documentAt?: (path: string) => HttpDocument | undefined;
}

export interface HttpDocument {
  /** media type */
  readonly type: string;
  readonly body: Buffer;
}

const REQUEST_BYTES_MAX = 16_384;

/**
 * Listens for WebSocket connections.
 *
 * Errors  `Fault` as `listenTcp`.
 */
export function listenWebSocket(options: WebSocketListenOptions): Promise<Listener> {
  const { handshakeTimeoutMs } = options;
  const settings = {
    noDelay: true,
    maxHeaderSize: REQUEST_BYTES_MAX,
    requestTimeout: handshakeTimeoutMs,
    headersTimeout: handshakeTimeoutMs,
    connectionsCheckingInterval: Math.min(handshakeTimeoutMs, 5000),
    keepAliveTimeout: 5000,
  };
  const endpoint =
    options.tls === undefined ? undefined : new SecureEndpoint({ ...options, tls: withHttp(options.tls) });
  const server =
    endpoint === undefined ? createServer(settings) : createSecureServer({ ...settings, ...endpoint.serverOptions() });
  if (options.connectionsMax !== undefined) server.maxConnections = options.connectionsMax;
  server.on('request', (request, response) => {
    const path = (request.url ?? '').split('?')[0]!;
    const found = path === options.path;
    const document = found || !/^(GET|HEAD)$/.test(request.method ?? '') ? undefined : options.documentAt?.(path);
    if (document !== undefined) {
      const { type, body } = document;
      response.writeHead(200, { 'Content-Type': type, 'Content-Length': body.length, Connection: 'close' });
      response.end(request.method === 'HEAD' ? undefined : body);
      return;
    }
    // RFC 9110 §15.5.22: the answer names the protocol that is needed
    response.writeHead(found ? 426 : 404, {
      'Content-Type': 'text/plain; charset=utf-8',
      Connection: found ? 'close, Upgrade' : 'close',
      ...(found ? { Upgrade: 'websocket' } : {}),
    });
    response.end(found ? 'This is MQTT over WebSocket.\n' : 'Not found.\n');
  });
  const known = below(server, endpoint, options);
  attachWebSocket(server, { ...options, ...known });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) =>
    refuseRequest(error, socket, options, known.peerOf),
  );
  const listening = bind(server, options);
  if (endpoint === undefined) return listening;
  return listening.then((listener) => ({
    ...listener,
    close: () => {
      endpoint.close();
      return listener.close();
    },
  }));
}

/** What came is no HTTP request, or did not come in time. */
function refuseRequest(
  { code }: NodeJS.ErrnoException,
  socket: Duplex,
  { name, log, onRefused }: WebSocketListenOptions,
  peerOf: (socket: Duplex) => PeerAddress = (each) => peerOfSocket(each as Socket),
): void {
  const late = code === 'ERR_HTTP_REQUEST_TIMEOUT';
  if (code !== 'ECONNRESET') {
    onRefused?.();
    log.information(
      late ? 'connection.connect-timeout' : 'connection.refused',
      late ? 'no complete HTTP request in time' : `Closed a connection: no HTTP request (${code}).`,
      { listener: name, peer: peerName(peerOf(socket)) },
    );
  }
  if (!socket.writable) return void socket.destroy();
  const status = late
    ? '408 Request Timeout'
    : code === 'HPE_HEADER_OVERFLOW'
      ? '431 Request Header Fields Too Large'
      : '400 Bad Request';
  socket.once('finish', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`);
}

/** A browser names the protocol it speaks inside TLS; it is HTTP, whatever MQTT clients would ask for. */
function withHttp(tls: TlsProvider): TlsProvider {
  return {
    get terms() {
      return tls.terms;
    },
    pskHint: tls.pskHint,
    alpn: ['http/1.1'],
    onChange: (listener) => tls.onChange(listener),
  };
}

/** Puts TLS and the PROXY protocol below HTTP. Returns how to learn what they know of a socket. */
function below(
  server: Server,
  endpoint: SecureEndpoint | undefined,
  options: WebSocketListenOptions,
): Pick<WebSocketOptions, 'peerOf' | 'securityOf'> {
  if (endpoint === undefined) {
    const { proxyProtocol = 'off' } = options;
    return proxyProtocol === 'off' ? {} : { peerOf: behindProxy(server, proxyProtocol, options) };
  }
  const known = new WeakMap<Duplex, { peer: PeerAddress; security: StreamSecurity }>();
  const serveHttp = server.listeners('secureConnection') as ((this: Server, socket: Socket) => void)[];
  endpoint.serve(server as unknown as TlsServer, (socket, security, peer) => {
    known.set(socket, { peer, security });
    for (const serve of serveHttp) serve.call(server, socket);
  });
  return {
    peerOf: (socket) => known.get(socket)?.peer ?? peerOfSocket(socket as Socket),
    securityOf: (socket) => known.get(socket)?.security,
  };
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
    const proxy = {
      name: options.name,
      accept,
      requireTls: options.proxyTls,
      timeoutMs: options.handshakeTimeoutMs,
      log: options.log,
      onRefused: options.onRefused,
    };
    consumeProxyHeader(socket, peerOfSocket(socket), proxy, (peer) => {
      peers.set(socket, peer);
      for (const serve of serveHttp) serve.call(server, socket);
    });
  });
  return (socket) => peers.get(socket) ?? peerOfSocket(socket as Socket);
}

function bind(
  server: Server,
  { name, host, port, unixPath, backlog, ipv6Only = false }: WebSocketListenOptions,
): Promise<Listener> {
  return new Promise((resolve, reject) => {
    const refused = (error: NodeJS.ErrnoException) => reject(listenFault(name, unixPath ?? `${host}:${port}`, error));
    server.once('error', refused);
    server.listen({ ...(unixPath === undefined ? { host, port, ipv6Only } : { path: unixPath }), backlog }, () => {
      server.off('error', refused);
      server.on('error', () => {}); // a failed accept (out of descriptors) concerns that peer alone
      const address = server.address();
      const bound =
        typeof address === 'object' && address !== null
          ? { address: address.address, port: address.port }
          : { path: unixPath ?? '' };
      const limit = (connectionsMax: number) => {
        server.maxConnections = connectionsMax;
      };
      resolve({ name, bound, limit, close: async () => stopAccepting(server) });
    });
  });
}

/** Node's own callback would wait for every WebSocket that was handed up. */
function stopAccepting(server: Server): void {
  server.close();
  server.closeAllConnections();
}
