/**
 * Sockets of a listener from their accept until they are handed up, through the PROXY protocol header and whatever else comes first.
 *
 * Shape    Each is asked for by `admit` before it costs anything, and holds the place it was given until it closes: however its handshake or
 *          its request ends, the close of the socket is what gives the place back. When the listener stops, those not handed up are closed.
 * Refuses  to know why somebody may not come: that is `admit`'s.
 */
import type { Server, Socket } from 'node:net';
import type { Logger } from '../base/index.js';
import type { Admit, PeerAddress, Place } from './byte-stream.js';
import { peerOfSocket } from './peer-address.js';
import { consumeProxyHeader, type ProxyVersions } from './proxy-protocol.js';

export interface ArrivalOptions {
  /** Name of the listener, for the log. */
  readonly name: string;
  /** Everybody may come where it is absent. */
  readonly admit?: Admit | undefined;
  readonly proxyProtocol?: 'off' | ProxyVersions;
  readonly proxyTls?: boolean;
  /** How long the PROXY protocol header may take. */
  readonly handshakeTimeoutMs: number;
  readonly log: Logger;
  /** Counts sockets without a proper header. */
  readonly onRefused?: (() => void) | undefined;
}

export class Arrivals {
  private readonly waiting = new Set<Socket>();
  private readonly places = new WeakMap<object, Place>();

  /** @param speaksForOthers says of which addresses the client is told later than by the PROXY protocol: they are not judged as one. */
  constructor(
    private readonly options: ArrivalOptions,
    private readonly speaksForOthers: (address: string) => boolean = () => false,
  ) {}

  /** Takes over the connections of `server`: `goOn` is called with those that may come, as soon as the address is known. */
  receive(server: Server, goOn: (socket: Socket, peer: PeerAddress) => void): void {
    const { name, proxyProtocol = 'off', proxyTls, handshakeTimeoutMs, log, onRefused } = this.options;
    const known = (socket: Socket, peer: PeerAddress) => {
      if (this.speaksForOthers(peer.address) || this.places.get(socket)?.identify(peer) !== false) goOn(socket, peer);
      else socket.destroy();
    };
    server.removeAllListeners('connection');
    server.on('connection', (socket: Socket) => {
      const peer = peerOfSocket(socket);
      if (!this.take(socket, peer)) socket.destroy();
      else if (proxyProtocol === 'off') known(socket, peer);
      else {
        const proxy = {
          name,
          accept: proxyProtocol,
          requireTls: proxyTls,
          timeoutMs: handshakeTimeoutMs,
          log,
          onRefused,
        };
        consumeProxyHeader(socket, peer, proxy, (real) => known(socket, real));
      }
    });
  }

  /** The socket is somebody else's from now on. Returns its place. */
  handUp(socket: object): Place | undefined {
    this.waiting.delete(socket as Socket);
    return this.places.get(socket);
  }

  /** Called when the listener stops accepting. */
  close(): void {
    for (const socket of this.waiting) socket.destroy();
    this.waiting.clear();
  }

  private take(socket: Socket, peer: PeerAddress): boolean {
    const place = this.options.admit?.(peer);
    if (place !== undefined) this.places.set(socket, place);
    else if (this.options.admit !== undefined) return false;
    this.waiting.add(socket);
    socket.once('close', () => {
      this.waiting.delete(socket);
      place?.release();
    });
    return true;
  }
}
