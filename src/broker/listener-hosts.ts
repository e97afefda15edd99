/** On which addresses a listener listens: its host, or those of a network interface. */
import { lstatSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { Fault } from '../base/index.js';
import type { ListenerConfig } from '../config/index.js';

/**
 * The listener, once for each address.
 *
 * Errors  `Fault` LISTEN_INTERFACE_UNKNOWN when there is no such interface, or none of its addresses fits.
 */
export function placesOf(config: ListenerConfig): ListenerConfig[] {
  const { name, interface: device, ipv6Only, host } = config;
  if (device === undefined || config.unixPath !== undefined) return [config];
  const found = networkInterfaces()[device];
  if (found === undefined)
    throw new Fault(
      'LISTEN_INTERFACE_UNKNOWN',
      `listener ${name}: there is no network interface ${device}; there are ${Object.keys(networkInterfaces()).join(', ')}`,
    );
  // `0.0.0.0` beside an interface is IPv4 alone, as `ipv6Only` is IPv6 alone.
  const fits = found.filter(({ family }) => (family === 'IPv6' ? host !== '0.0.0.0' : !ipv6Only));
  if (fits.length === 0)
    throw new Fault('LISTEN_INTERFACE_UNKNOWN', `listener ${name}: ${device} has no address of the kind asked for`);
  return fits.map(({ address, scopeid }) => ({
    ...config,
    host: scopeid ? `${address}%${device}` : address,
    ipv6Only: false,
  }));
}

/**
 * Listens; where that fails for a reason that can be got round, once more: without IPv6 where the machine has none, and after the socket
 * file of a broker that is gone was removed.
 */
export async function listenOnceMore<Result>(
  config: ListenerConfig,
  listen: (config: ListenerConfig) => Promise<Result>,
): Promise<Result> {
  try {
    return await listen(config);
  } catch (error) {
    const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
    const { host, ipv6Only, unixPath } = config;
    if (unixPath !== undefined) {
      if (code !== 'EADDRINUSE' || !(await isAbandoned(unixPath))) throw error;
      rmSync(unixPath);
      return listen(config);
    }
    if (host !== '::' || ipv6Only || (code !== 'EAFNOSUPPORT' && code !== 'EADDRNOTAVAIL')) throw error;
    return listen({ ...config, host: '0.0.0.0' });
  }
}

/** Whether a path is a socket that nobody listens on. */
function isAbandoned(path: string): Promise<boolean> {
  try {
    if (!lstatSync(path).isSocket()) return Promise.resolve(false);
  } catch {
    return Promise.resolve(false);
  }
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
  });
}
