/** What counts as an address, and which addresses are this machine's own: pure text rules, no name is looked up. */
import { isIP, isIPv4 } from 'node:net';

const hostName = /^(?!-)[A-Za-z0-9-]{1,63}(\.(?!-)[A-Za-z0-9-]{1,63})*\.?$/;

/** An IPv4 or IPv6 literal without brackets, or a host name. */
export function isHost(text: string): boolean {
  if (isIP(text) !== 0) return true;
  const looksLikeIPv4 = /^[0-9.]+$/.test(text);
  return !looksLikeIPv4 && text.length <= 253 && hostName.test(text);
}

/** Whether only programs on this machine reach a socket bound to `host`. */
export function isLoopback(host: string): boolean {
  const plain = host.toLowerCase().replace(/^::ffff:/, '');
  if (isIPv4(plain)) return plain.startsWith('127.');
  return plain === 'localhost' || plain === 'localhost.' || /^(0*:)*0*1$/.test(plain);
}

/** Whether a socket bound to `host` takes an address away from one bound to `other` on the same port. */
export function addressesOverlap(host: string, other: string): boolean {
  const a = canonical(host);
  const b = canonical(other);
  if (a === b || a === '::' || b === '::') return true;
  return (a === '0.0.0.0' && isIP(b) !== 6) || (b === '0.0.0.0' && isIP(a) !== 6);
}

function canonical(host: string): string {
  const lower = host.toLowerCase().replace(/\.$/, '');
  if (lower === 'localhost') return '127.0.0.1';
  if (isIP(lower) !== 6) return lower;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(lower);
  if (mapped?.[1] !== undefined) return mapped[1];
  // The URL parser shortens IPv6 literals to the one canonical spelling; it knows no zones.
  const [address, zone] = lower.split('%');
  return new URL(`http://[${address}]/`).hostname.slice(1, -1) + (zone === undefined ? '' : `%${zone}`);
}

/** An IPv4 or IPv6 literal, or such a literal with a prefix length. */
export function isNetwork(text: string): boolean {
  const [address = '', prefix, ...rest] = text.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0 || address.includes('%')) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128));
}
