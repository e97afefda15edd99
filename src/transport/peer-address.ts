/** Addresses as the rest of the broker wants them: plain literals, without zone, IPv4 where it is IPv4. */
import type { PeerAddress } from './byte-stream.js';

/** `::ffff:10.0.0.1` on a dual-stack listener is the IPv4 peer 10.0.0.1; a zone (`%eth0`) is dropped. */
export function plainAddress(address: string): string {
  const withoutZone = address.includes('%') ? address.slice(0, address.indexOf('%')) : address;
  return withoutZone.startsWith('::ffff:') && withoutZone.includes('.') ? withoutZone.slice(7) : withoutZone;
}

/** What a `net.Socket` knows of its ends; empty for Unix sockets and other streams. */
export function peerOfSocket(socket: {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
}): PeerAddress {
  return {
    address: plainAddress(socket.remoteAddress ?? ''),
    port: socket.remotePort ?? 0,
    localAddress: plainAddress(socket.localAddress ?? ''),
    localPort: socket.localPort ?? 0,
  };
}
