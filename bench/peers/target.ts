// A broker that somebody else has started: NAME=HOST:PORT, or NAME=HOST:PORT:PID to count its CPU and memory as well.
// It is used as it is, also for the next run: memory figures are those of a broker that has worked before.

import { spawnSync } from 'node:child_process';
import { isLoopback } from '../../apps/cli/load/index.js';
import type { Peer, Place } from './peer.js';
import { listens } from './process.js';

/** Throws when the text has another form, or the host is not this machine. */
export function target(text: string): Peer {
  const match = /^([\w.-]+)=(\[[0-9a-f:]+\]|[\w.-]+):(\d{1,5})(?::(\d+(?:,\d+)*))?$/i.exec(text);
  if (match === null) throw new Error(`target ${JSON.stringify(text)} is not NAME=HOST:PORT or NAME=HOST:PORT:PID`);
  const [, name = '', host = '', port = '', pids] = match;
  const address = host.replace(/^\[|\]$/g, '');
  if (!isLoopback(address)) throw new Error(`target ${name}: ${address} is not this machine's loopback`);
  return {
    name,
    describe: () => `at ${host}:${port}`,
    async start(place: Place) {
      if (place.tls !== undefined) throw new Error(`target ${name} has no listener of TLS that is known here`);
      if (!(await listens(address, Number(port))))
        throw new Error(`target ${name}: nothing listens on ${host}:${port}`);
      const known = pids === undefined ? [] : pids.split(',').map(Number);
      if (place.core !== undefined)
        for (const pid of known) spawnSync('taskset', ['-a', '-p', '-c', String(place.core), String(pid)]);
      return { host: address, port: Number(port), pids: known, stop: async () => {} };
    },
  };
}
