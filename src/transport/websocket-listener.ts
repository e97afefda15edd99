/**
 * A listening endpoint for MQTT over WebSocket, with TLS or without, and an HTTP server of its own that serves little else: what it is
 * given by path, such as a revocation list.
 *
 * Shape    A socket is a connection like any other from its accept on, whatever it asks for: one that fetches a document, or is answered
 *          with 404, has its place until it closes, which is right after the answer (there is no second request), or when the answer is not
 *          taken for `handshakeTimeoutMs`. That of a trusted proxy is nobody's until an upgrade names the client; only then, and not for
 *          documents, is that client judged.
 */
import { createServer, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Server as TlsServer } from 'node:tls';
import { type ArrivalOptions, Arrivals } from './arrivals.js';
import type { Listener, PeerAddress, Place, StreamSecurity } from './byte-stream.js';
import { listenFault } from './listen-fault.js';
import { peerName, peerOfSocket } from './peer-address.js';
import { SecureEndpoint, type TlsProvider } from './secure-server.js';
import { attachWebSocket, trustedBy, type WebSocketOptions } from './websocket.js';

/** `handshakeTimeoutMs` is for the PROXY protocol header, TLS, the HTTP request, and for an answer that is not taken. */
export interface WebSocketListenOptions
  extends Omit<WebSocketOptions, 'peerOf' | 'securityOf' | 'placeOf'>,
    ArrivalOptions {
  /** Either host and port, or unixPath. */
  readonly host?: string;
  readonly port?: number;
  readonly unixPath?: string;
  readonly backlog?: number;
  readonly ipv6Only?: boolean;
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
  const arrivals = new Arrivals(options, trustedBy(options.trustedProxies ?? []));
  const endpoint =
    options.tls === undefined ? undefined : new SecureEndpoint({ ...options, tls: withHttp(options.tls) }, arrivals);
  const server =
    endpoint === undefined ? createServer(settings) : createSecureServer({ ...settings, ...endpoint.serverOptions() });
  server.on('request', (request, response) => {
    request.socket.setTimeout(handshakeTimeoutMs);
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
  const known = below(server, endpoint, arrivals);
  attachWebSocket(server, { ...options, ...known });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) =>
    refuseRequest(error, socket, options, known.peerOf),
  );
  return bind(server, options).then((listener) => ({
    ...listener,
    close: () => {
      (endpoint ?? arrivals).close();
      return listener.close();
    },
  }));
}

/** What came is no HTTP request, or did not come in time. */
function refuseRequest(
  { code }: NodeJS.ErrnoException,
  socket: Duplex,
  { name, log, onRefused }: WebSocketListenOptions,
  peerOf: (socket: Duplex) => PeerAddress,
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
  arrivals: Arrivals,
): Required<Pick<WebSocketOptions, 'peerOf' | 'securityOf' | 'placeOf'>> {
  const known = new WeakMap<
    Duplex,
    { peer: PeerAddress; security: StreamSecurity | undefined; place: Place | undefined }
  >();
  const layer = endpoint === undefined ? 'connection' : 'secureConnection';
  const serveHttp = server.listeners(layer) as ((this: Server, socket: Socket) => void)[];
  const handUp = (socket: Socket, security: StreamSecurity | undefined, peer: PeerAddress, place?: Place) => {
    known.set(socket, { peer, security, place });
    for (const serve of serveHttp) serve.call(server, socket);
  };
  if (endpoint === undefined)
    arrivals.receive(server, (socket, peer) => handUp(socket, undefined, peer, arrivals.handUp(socket)));
  else endpoint.serve(server as unknown as TlsServer, handUp);
  return {
    peerOf: (socket) => known.get(socket)?.peer ?? peerOfSocket(socket as Socket),
    securityOf: (socket) => known.get(socket)?.security,
    placeOf: (socket) => known.get(socket)?.place,
  };
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
      resolve({ name, bound, close: async () => stopAccepting(server) });
    });
  });
}

/** Node's own callback would wait for every WebSocket that was handed up. */
function stopAccepting(server: Server): void {
  server.close();
  server.closeAllConnections();
}
