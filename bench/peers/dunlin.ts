// Dunlin itself, as built in this clone, with its defaults and no log.

import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Peer, Place } from './peer.js';
import { findFreePort, startProcess } from './process.js';

/** @param root the clone; @param node the Node binary that runs the broker. */
export function dunlin(root: string, node: string): Peer {
  const entry = join(root, 'bin', 'dunlin.mjs');
  return {
    name: 'dunlin',
    describe() {
      const { stdout } = spawnSync(node, ['--version'], { encoding: 'utf8' });
      return `dunlin on Node ${(stdout ?? '').trim()}`;
    },
    async start(place: Place) {
      if (!existsSync(join(root, 'dist', 'apps', 'cli', 'main.js')))
        throw new Error('dunlin is not built: run `npm run build` first');
      const port = await findFreePort();
      const { tls } = place;
      return startProcess('dunlin', place, port, (folder) => {
        if (tls === undefined) return [node, entry, '-p', String(port), '-q'];
        const file = join(folder, 'dunlin.yaml');
        const listener = { name: 'default', protocol: 'mqtts', host: '127.0.0.1', port, allowAnonymous: true, tls };
        writeFileSync(file, JSON.stringify({ listeners: [listener], log: { level: 'none' } }));
        return [node, entry, '-c', file];
      });
    },
  };
}
