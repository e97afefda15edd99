// Eclipse Mosquitto as the system has it (Debian: `apt-get install mosquitto`), with its defaults but for these: one
// listener on loopback, anonymous clients, TCP_NODELAY (off, the kernel would hold back small packets and the latency
// would be the kernel's), and no log, as with every other broker here.

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { Peer, Place } from './peer.js';
import { findFreePort, findProgram, startProcess } from './process.js';

export function mosquitto(): Peer {
  const program = findProgram('mosquitto');
  return {
    name: 'mosquitto',
    describe() {
      if (program === undefined) return 'not installed';
      const { stdout } = spawnSync(program, ['-h'], { encoding: 'utf8' });
      return stdout.split('\n', 1)[0]!.trim();
    },
    async start(place: Place) {
      if (program === undefined) throw new Error('mosquitto is not installed (Debian: apt-get install mosquitto)');
      const port = await findFreePort();
      return startProcess('mosquitto', place, port, (folder) => {
        const file = join(folder, 'mosquitto.conf');
        const lines = [`listener ${port} 127.0.0.1`, 'allow_anonymous true', 'set_tcp_nodelay true', 'log_type none'];
        const { tls } = place;
        // The key is for the one who runs the bench alone; started by root, Mosquitto would give up being it first.
        if (tls !== undefined)
          lines.push(`certfile ${tls.certificate}`, `keyfile ${tls.key}`, `user ${userInfo().username}`);
        writeFileSync(file, `${lines.join('\n')}\n`);
        return [program, '-c', file];
      });
    },
  };
}
