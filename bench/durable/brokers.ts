// The brokers of this bench: Dunlin in each of its storage modes, Mosquitto as its persistence is set up by default and as
// careful as it can be told to be. Each is a command and a configuration in a folder, so that it can be started there again.

import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findFreePort, findProgram, type Peer, type Place, startProcess } from '../peers/index.js';

export interface DurableBroker {
  name: string;
  describe(): string;
  /** Writes the configuration into `folder`, where the data goes too. Throws when the program is not there. */
  command(port: number, folder: string): string[];
}

export const MODES = ['memory', 'buffered', 'sync', 'faultTolerant'] as const;
export const REFERENCE = 'mosquitto';
/** Room for what is queued on purpose. */
const QUEUE_MESSAGES_MAX = 10_000_000;

export function durableBrokers(root: string, node: string): DurableBroker[] {
  return [
    mosquitto(REFERENCE, []),
    mosquitto('mosquitto-autosave', ['autosave_interval 1', 'autosave_on_changes true']),
    ...MODES.map((mode) => dunlin(mode, root, node)),
  ];
}

export function chooseBrokers(all: readonly DurableBroker[], names: readonly string[]): DurableBroker[] {
  return names.map((name) => {
    const broker = all.find((candidate) => candidate.name === name);
    if (broker === undefined)
      throw new Error(`${JSON.stringify(name)} is no broker here; there are ${all.map((one) => one.name).join(', ')}`);
    return broker;
  });
}

/** A fresh broker in a folder that goes with it, for the ordinary measurements. */
export function peerOf(broker: DurableBroker): Peer {
  return {
    name: broker.name,
    describe: broker.describe,
    async start(place: Place) {
      const port = await findFreePort();
      return startProcess(broker.name, place, port, (folder) => broker.command(port, folder));
    },
  };
}

function dunlin(mode: string, root: string, node: string): DurableBroker {
  return {
    name: `dunlin-${mode}`,
    describe() {
      const { stdout } = spawnSync(node, ['--version'], { encoding: 'utf8' });
      return `dunlin ${mode} on Node ${(stdout ?? '').trim()}`;
    },
    command(port, folder) {
      if (!existsSync(join(root, 'dist', 'apps', 'cli', 'main.js')))
        throw new Error('dunlin is not built: run `npm run build` first');
      const config = {
        listeners: [{ name: 'bench', host: '127.0.0.1', port }],
        storage: { mode, path: join(folder, 'data') },
        limits: {
          queueMessagesMax: QUEUE_MESSAGES_MAX,
          queueBytesMax: 10_000_000_000,
          retainedBytesMax: 10_000_000_000,
        },
      };
      const file = join(folder, 'dunlin.yaml');
      writeFileSync(file, `${JSON.stringify(config, null, 1)}\n`); // JSON is YAML
      return [node, join(root, 'bin', 'dunlin.mjs'), '-c', file, '-q'];
    },
  };
}

function mosquitto(name: string, more: string[]): DurableBroker {
  const program = findProgram('mosquitto');
  return {
    name,
    describe() {
      if (program === undefined) return 'mosquitto not installed';
      const { stdout } = spawnSync(program, ['-h'], { encoding: 'utf8' });
      return `${stdout.split('\n', 1)[0]!.trim()}, ${['persistence true', ...more].join(', ')}`;
    },
    command(port, folder) {
      if (program === undefined) throw new Error('mosquitto is not installed (Debian: apt-get install mosquitto)');
      const file = join(folder, 'mosquitto.conf');
      const lines = [
        `listener ${port} 127.0.0.1`,
        'allow_anonymous true',
        'set_tcp_nodelay true',
        'log_type none',
        'persistence true',
        `persistence_location ${folder}/`,
        'max_queued_messages 0',
        'max_queued_bytes 0',
        // Started as root it would change to a user that may not write here.
        ...(process.getuid?.() === 0 ? ['user root'] : []),
        ...more,
      ];
      writeFileSync(file, `${lines.join('\n')}\n`);
      return [program, '-c', file];
    },
  };
}
