/**
 * Opens the byte stream to a server: TCP, Unix socket, TLS over either, WebSocket, each through a SOCKS5 proxy where given.
 */
import { connect as connectSocket, isIP, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { createWebSocketStream, WebSocket } from 'ws';
import type { ProtocolVersion } from '../protocol/index.js';
import type { Target } from './client-options.js';
import { negotiateSocks5 } from './socks5.js';

/**
 * How long one of several addresses of a host is tried before the next, milliseconds. Node's own quarter of a second gives up an
 * address that a slow link reaches, or a busy process, and there may be no other that answers.
 */
const ADDRESS_PATIENCE_MS = 3000;
const addresses = { autoSelectFamilyAttemptTimeout: ADDRESS_PATIENCE_MS };

/** `host:port`, a path or a URL without its user and password, as messages name the server. */
export function describeTarget(target: Target): string {
  switch (target.transport) {
    case 'tcp':
      return target.host.includes(':') ? `[${target.host}]:${target.port}` : `${target.host}:${target.port}`;
    case 'unix':
      return target.path;
    case 'webSocket':
      return target.url.replace(/\/\/[^/@]*@/, '//');
  }
}

/**
 * Resolves to an open stream. Rejects with the system's error (ECONNREFUSED and so on) or TLS's. Aborting `signal` ends the
 * attempt with an AbortError.
 */
export async function dial(target: Target, version: ProtocolVersion, signal: AbortSignal): Promise<Duplex> {
  signal.throwIfAborted();
  if (target.transport === 'webSocket') return dialWebSocket(target, version, signal);
  const socket = await dialSocket(target, signal);
  if (target.tls === undefined) return socket;
  return secure(target, socket, signal);
}

async function dialSocket(target: Exclude<Target, { transport: 'webSocket' }>, signal: AbortSignal): Promise<Socket> {
  if (target.transport === 'unix') return opened(connectSocket({ path: target.path }), 'connect', signal);
  const { host, port, proxy } = target;
  const socket = connectSocket({
    host: proxy?.host ?? host,
    port: proxy?.port ?? port,
    noDelay: target.noDelay ?? false,
    ...addresses,
    ...(target.localAddress === undefined ? {} : { localAddress: target.localAddress }),
  });
  await opened(socket, 'connect', signal);
  if (proxy !== undefined) await abortable(socket, signal, negotiateSocks5(socket, proxy, host, port));
  return socket;
}

function secure(
  target: Exclude<Target, { transport: 'webSocket' }>,
  socket: Socket,
  signal: AbortSignal,
): Promise<TLSSocket> {
  // servername must not be an address (RFC 6066 §3)
  const servername = target.transport === 'tcp' && isIP(target.host) === 0 ? { servername: target.host } : {};
  const host = target.transport === 'tcp' ? { host: target.host } : {};
  return opened(connectTls({ ...servername, ...host, ...target.tls, socket }), 'secureConnect', signal);
}

async function dialWebSocket(
  target: Extract<Target, { transport: 'webSocket' }>,
  version: ProtocolVersion,
  signal: AbortSignal,
): Promise<Duplex> {
  // [MQTT-6.0.0-3]
  const webSocket = new WebSocket(target.url, version === 3 ? 'mqttv3.1' : 'mqtt', {
    ...addresses,
    ...target.tls,
    ...(target.headers === undefined ? {} : { headers: target.headers }),
    perMessageDeflate: false,
  });
  const stream = createWebSocketStream(webSocket);
  const open = new Promise<void>((resolve, reject) => {
    webSocket.once('open', resolve);
    stream.once('error', reject);
    stream.once('close', () => reject(new Error('the server closed the connection')));
  });
  await abortable(stream, signal, open);
  return stream;
}

function opened<S extends Socket>(socket: S, event: 'connect' | 'secureConnect', signal: AbortSignal): Promise<S> {
  const open = new Promise<void>((resolve, reject) => {
    socket.once(event, () => {
      socket.off('error', reject);
      socket.off('close', closed);
      resolve();
    });
    const closed = () => reject(new Error('the server closed the connection'));
    socket.once('error', reject);
    socket.once('close', closed);
  });
  return abortable(socket, signal, open).then(() => socket);
}

/** Waits for `step`; a failure or an abort destroys the stream. */
async function abortable(stream: Duplex, signal: AbortSignal, step: Promise<void>): Promise<void> {
  const swallow = () => {};
  stream.on('error', swallow);
  let abort = swallow;
  const aborted = new Promise<never>((_resolve, reject) => {
    abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
  });
  try {
    await Promise.race([step, aborted]);
  } catch (error) {
    stream.destroy();
    throw inWords(error);
  } finally {
    signal.removeEventListener('abort', abort);
    if (!stream.destroyed) stream.off('error', swallow);
  }
}

/** OpenSSL's messages name its source files; what happened stands in `reason`. */
function inWords(error: unknown): unknown {
  const { code, reason } = error as { code?: unknown; reason?: unknown };
  if (typeof code !== 'string' || !code.startsWith('ERR_SSL_') || typeof reason !== 'string') return error;
  const alert = /^(?:tlsv1|sslv3|tlsv13|ssl\/tls) alert (.*)$/.exec(reason)?.[1];
  const sentence = alert === undefined ? reason : `the server ended the handshake (alert: ${alert})`;
  return Object.assign(new Error(`TLS: ${sentence}`, { cause: error }), { code });
}
