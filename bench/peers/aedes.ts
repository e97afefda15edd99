// npm's aedes (a development dependency) with its in-memory persistence, on a plain net server.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Peer, Place } from './peer.js';
import { findFreePort, startProcess } from './process.js';

export function aedes(node: string): Peer {
  return {
    name: 'aedes',
    describe() {
      const entry = createRequire(import.meta.url).resolve('aedes');
      const { version } = JSON.parse(readFileSync(join(dirname(entry), 'package.json'), 'utf8')) as { version: string };
      return `aedes version ${version}`;
    },
    async start(place: Place) {
      if (place.tls !== undefined) throw new Error('aedes is not measured over TLS');
      const port = await findFreePort();
      const server = fileURLToPath(new URL('./aedes-server.js', import.meta.url));
      return startProcess('aedes', place, port, () => [node, server, String(port)]);
    },
  };
}
