/**
 * MQTT over WebSocket: a `ByteStream` over one WebSocket, and the handshake that leads to it.
 *
 * Packets may be split or joined over frames at will, so a frame's payload is just bytes here [MQTT-6.0.0-2].
 * Frames are never compressed: the memory for it would cost more per connection than the connection itself.
 */
import type { Server as HttpServer, IncomingMessage } from 'node:http';
import { BlockList, isIP, isIPv4 } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws';
import { Fault, type Logger } from '../base/index.js';
import type { AcceptStream, ByteSink, ByteStream, PeerAddress, Place, StreamSecurity } from './byte-stream.js';
import { canonicalAddress, peerOfSocket } from './peer-address.js';
import { securityOfSocket } from './socket-security.js';

/** How long `end` waits for the peer to take what was written and to close. */
const LINGER_MS = 10_000;
const subprotocols = ['mqtt', 'mqttv3.1'] as const;
const sendOptions = { binary: true, compress: false } as const;

export class WebSocketStream implements ByteStream {
  private sink: ByteSink | undefined;
  /** Frames that were already parsed when reading was paused: at most what one read of the socket held. */
  private readonly held: Buffer[] = [];
  private releasing = false;
  private paused = true;
  private callbacksDue = 0;
  private waiting = false;
  private ending = false;
  private closed = false;
  /** It is closed, in order: that is told behind what is held. */
  private ended = false;
  private failure: Error | undefined;

  /** `socket` is the one below `webSocket`. Make the stream in the turn in which the WebSocket opened, or bytes are missed. */
  constructor(
    private readonly webSocket: WebSocket,
    private readonly socket: Duplex,
    readonly peer: PeerAddress,
    readonly cookieHeader?: string,
    readonly security?: StreamSecurity,
  ) {
    const failed = (error: Error) => {
      this.failure ??= error;
    };
    socket.on('error', failed);
    webSocket.on('error', failed);
    webSocket.on('message', (data, isBinary) => this.received(data as Buffer, isBinary));
    webSocket.on('close', () => this.close());
    webSocket.pause();
  }

  start(sink: ByteSink): void {
    this.sink = sink;
    if (this.closed) process.nextTick(() => sink.onClosed(this.failure));
    else this.resume();
  }

  write(chunk: Uint8Array): boolean {
    if (this.gone()) return true;
    this.callbacksDue++;
    this.webSocket.send(chunk, sendOptions, this.written);
    return this.taken();
  }

  writeMany(chunks: Uint8Array[]): boolean {
    if (chunks.length === 0 || this.gone()) return true;
    this.callbacksDue += chunks.length;
    this.socket.cork();
    for (const chunk of chunks) this.webSocket.send(chunk, sendOptions, this.written);
    this.socket.uncork();
    return this.taken();
  }

  pause(): void {
    if (this.ending) return;
    this.paused = true;
    this.webSocket.pause();
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    if (this.held.length === 0 && !this.ended) this.webSocket.resume();
    else if (!this.releasing) {
      this.releasing = true;
      process.nextTick(() => this.release());
    }
  }

  end(): void {
    this.endWith(1000);
  }

  destroy(): void {
    this.held.length = 0;
    if (this.ended) this.close();
    else this.webSocket.terminate();
  }

  private received(data: Buffer, isBinary: boolean): void {
    if (this.ending) return;
    if (!isBinary) {
      this.failure = new Error('a text frame came; MQTT needs binary frames');
      this.endWith(1003); // [MQTT-6.0.0-1]
    } else if (this.paused || this.held.length > 0) this.held.push(data);
    else this.sink?.onBytes(data, 0, data.length);
  }

  private release(): void {
    this.releasing = false;
    while (!this.paused && !this.ending && !this.closed) {
      const data = this.held.shift();
      if (data === undefined) {
        if (this.ended) this.close();
        else this.webSocket.resume();
        return;
      }
      this.sink?.onBytes(data, 0, data.length);
    }
  }

  private endWith(code: number): void {
    if (this.ending || this.closed) return;
    this.ending = true;
    this.held.length = 0;
    if (this.ended) return this.close();
    this.webSocket.close(code);
    this.webSocket.resume(); // so that the peer's close frame is seen even when reading was paused
  }

  private gone(): boolean {
    return this.closed || this.socket.destroyed || this.webSocket.readyState !== this.webSocket.OPEN;
  }

  private taken(): boolean {
    if (this.webSocket.bufferedAmount === 0 || this.socket.destroyed) return true;
    this.waiting = true;
    return false;
  }

  private readonly written = (error?: Error | null): void => {
    this.callbacksDue--;
    // A socket that was destroyed calls back without an error for bytes it never wrote.
    if (error || !this.waiting || this.callbacksDue > 0 || this.socket.destroyed) return;
    this.waiting = false;
    this.sink?.onWritten();
  };

  private close(): void {
    if (this.closed) return;
    if (this.held.length > 0 && this.failure === undefined) {
      this.ended = true;
      return;
    }
    this.closed = true;
    this.held.length = 0;
    this.sink?.onClosed(this.failure);
    this.sink = undefined;
  }
}

export interface WebSocketOptions {
  /** Name of the listener, for the log. */
  readonly name: string;
  /** `*` is every path. */
  readonly path: string;
  /** Values of the Origin header that may connect; empty for any. Programs that send none are let in: only browsers vouch for it. */
  readonly origins: readonly string[];
  /** The largest packet at present; bounds what one frame may hold: two of them and some. */
  readonly packetBytesMax: () => number;
  /** Addresses and networks whose X-Forwarded-For header is believed; `unix` is whoever comes by a Unix socket. */
  readonly trustedProxies?: readonly string[];
  /** Counts requests and connections that are refused. */
  readonly onRefused?: (() => void) | undefined;
  readonly onStream: AcceptStream;
  readonly log: Logger;
  /** Who is at the other end of a socket, where something below knows better than the socket. */
  readonly peerOf?: (socket: Duplex) => PeerAddress;
  /** What TLS below the HTTP server agreed on. */
  readonly securityOf?: (socket: Duplex) => StreamSecurity | undefined;
  /** What a socket was given when it came. */
  readonly placeOf?: (socket: Duplex) => Place | undefined;
}

/** The paths at which this module serves an HTTP server, in the order in which they came. */
const pathsOf = new WeakMap<HttpServer, Set<string>>();

/**
 * Takes MQTT connections from an HTTP server that belongs to someone else.
 *
 * Upgrades to other paths are left to the server's other `upgrade` handlers; when there are none, they get 404.
 * Returns a function that lets go of the server; streams already handed up live on.
 * Errors  `Fault` PATH_TAKEN when the server serves MQTT at this path already.
 */
export function attachWebSocket(server: HttpServer, options: WebSocketOptions): () => void {
  const paths = pathsOf.get(server) ?? new Set();
  pathsOf.set(server, paths);
  const { path } = options;
  if (paths.has(path) || paths.has('*') || (path === '*' && paths.size > 0))
    throw new Fault(
      'PATH_TAKEN',
      `this HTTP server serves MQTT at ${paths.has(path) ? path : [...paths].join(', ')} already`,
    );
  paths.add(path);
  const settings: ServerOptions & { closeTimeout: number } = {
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    closeTimeout: LINGER_MS,
    // [MQTT-6.0.0-4] `mqtt` wins when it is offered; 3.1 clients that offer only their own name get that one
    handleProtocols: (offered) => subprotocols.find((name) => offered.has(name)) ?? false,
  };
  const webSockets = new WebSocketServer(settings);
  const isTrusted = trustedBy(options.trustedProxies ?? []);
  const onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const asked = (request.url ?? '').split('?')[0]!;
    const pathMatches = path === '*' || asked === path;
    // Of several attached here, one answers for all.
    if (!pathMatches && (server.listenerCount('upgrade') > paths.size || paths.has(asked) || [...paths][0] !== path))
      return;
    const socketPeer = options.peerOf?.(socket) ?? peerOfSocket(socket as Partial<IncomingMessage['socket']>);
    const peer = forwardedPeer(request, socketPeer, isTrusted);
    const place = options.placeOf?.(socket);
    if (place?.identify(peer) === false) return void socket.destroy();
    const refusal = pathMatches ? refusalOf(request, options) : ([404, 'no WebSocket at this path'] as const);
    if (refusal !== undefined) {
      const [status, reason] = refusal;
      options.onRefused?.();
      options.log.warning('connection.refused', `Refused a WebSocket with status ${status}: ${reason}.`, {
        listener: options.name,
        address: peer.address,
        path: request.url?.slice(0, 200),
        origin: request.headers.origin?.slice(0, 200),
        subprotocols: request.headers['sec-websocket-protocol']?.slice(0, 200),
      });
      answer(socket, status, reason);
      return;
    }
    webSockets.options.maxPayload = 2 * options.packetBytesMax() + 65_536;
    try {
      webSockets.handleUpgrade(request, socket, head, (webSocket) =>
        options.onStream(
          new WebSocketStream(
            webSocket,
            socket,
            peer,
            request.headers.cookie,
            (options.securityOf ?? securityOfSocket)(socket),
          ),
          place,
        ),
      );
    } catch (error) {
      // `ws` takes no socket twice: a handler before this one answers whatever comes, whichever path it asks for.
      options.log.error('connection.refused', `A WebSocket cannot be taken: ${(error as Error).message}`, {
        listener: options.name,
        path: asked.slice(0, 200),
      });
    }
  };
  server.on('upgrade', onUpgrade);
  let attached = true;
  return () => {
    if (!attached) return;
    attached = false;
    server.off('upgrade', onUpgrade);
    paths.delete(path);
  };
}

function refusalOf(request: IncomingMessage, { origins }: WebSocketOptions): readonly [400 | 403, string] | undefined {
  const { origin } = request.headers;
  if (
    origin !== undefined &&
    origins.length > 0 &&
    !origins.some((allowed) => allowed.toLowerCase() === origin.toLowerCase())
  )
    return [403, 'this origin is not allowed'];
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
  // [MQTT-6.0.0-3] the client has to offer the sub-protocol
  if (!offered.some((name) => subprotocols.includes(name as 'mqtt')))
    return [400, `the sub-protocol has to be ${subprotocols.join(' or ')}`];
  return undefined;
}

const statusTexts = { 400: 'Bad Request', 403: 'Forbidden', 404: 'Not Found' } as const;

function answer(socket: Duplex, status: keyof typeof statusTexts, reason: string): void {
  const body = `${reason}\n`;
  socket.on('error', () => {});
  socket.once('finish', () => socket.destroy());
  socket.end(
    `HTTP/1.1 ${status} ${statusTexts[status]}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

/** Says of an address whether it is one of these addresses and networks. */
export function trustedBy(proxies: readonly string[]): (address: string) => boolean {
  if (proxies.length === 0) return () => false;
  const list = new BlockList();
  const trustsUnix = proxies.includes('unix');
  for (const network of proxies) {
    if (network === 'unix') continue;
    const [address = '', prefix] = network.split('/');
    const family = isIPv4(address) ? 'ipv4' : 'ipv6';
    if (prefix === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(prefix), family);
  }
  return (address) =>
    address === '' ? trustsUnix : isIP(address) !== 0 && list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
}

/** X-Forwarded-For grows to the right, so the client is the rightmost address that is not one of our own proxies. */
function forwardedPeer(
  request: IncomingMessage,
  peer: PeerAddress,
  isTrusted: (address: string) => boolean,
): PeerAddress {
  const header = request.headers['x-forwarded-for'];
  if (header === undefined || !isTrusted(peer.address)) return peer;
  const hops = (Array.isArray(header) ? header.join(',') : header).split(',').map((hop) => hop.trim());
  let address = peer.address;
  while (isTrusted(address)) {
    const hop = hops.pop();
    if (hop === undefined || isIP(hop) === 0) break;
    address = canonicalAddress(hop);
  }
  return address === peer.address ? peer : { ...peer, address, port: 0 };
}
