/** Addresses as the rest of the broker wants them: plain literals, without zone, IPv4 where it is IPv4. */
import { isIPv4 } from 'node:net';
import type { PeerAddress } from './byte-stream.js';

/** `::ffff:10.0.0.1` on a dual-stack listener is the IPv4 peer 10.0.0.1; a zone (`%eth0`) is dropped. */
export function plainAddress(address: string): string {
  const withoutZone = address.includes('%') ? address.slice(0, address.indexOf('%')) : address;
  return withoutZone.startsWith('::ffff:') && withoutZone.includes('.') ? withoutZone.slice(7) : withoutZone;
}

/** One spelling for each address, so that those which others wrote can be compared as text. `address` is a valid literal. */
export function canonicalAddress(address: string): string {
  if (isIPv4(address)) return address;
  const short = new URL(`http://[${address.split('%')[0]}]/`).hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(short);
  if (mapped === null) return plainAddress(short);
  const [high, low] = [Number.parseInt(mapped[1]!, 16), Number.parseInt(mapped[2]!, 16)];
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}

/** The other end, as the log names it. */
export function peerName({ address, port }: Pick<PeerAddress, 'address' | 'port'>): string {
  return address === '' ? 'local' : `${address}:${port}`;
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
