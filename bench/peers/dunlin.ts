// Dunlin itself, as built in this clone, with its defaults and no log.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
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
      return startProcess('dunlin', place, port, () => [node, entry, '-p', String(port), '-q']);
    },
  };
}
