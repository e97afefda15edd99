// Two brokers of one kind joined by a bridge: `near` has it and is published to, `far` is subscribed at.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findFreePort, findProgram, type RunningPeer, startProcess } from '../peers/index.js';

export const KINDS = ['mosquitto', 'dunlin'] as const;
export type Kind = (typeof KINDS)[number];

const QUEUE_MESSAGES_MAX = 10_000_000;
const QUEUE_BYTES_MAX = 10_000_000_000;

export interface PairOptions {
  readonly root: string;
  readonly node: string;
  readonly kind: Kind;
  readonly qos: number;
  /** Of the bridge: `3.1.1` or `5.0`. */
  readonly version: string;
  /** Of Dunlin's storage; Mosquitto has none in either case. */
  readonly storage: string;
}

export class Pair {
  near!: RunningPeer;
  far: RunningPeer | undefined;
  private readonly folder = mkdtempSync(join(tmpdir(), 'dunlin-bench-bridge-'));
  private farPort = 0;

  constructor(private readonly options: PairOptions) {}

  /** Starts `near`, and `far` unless it is to be away at first. */
  async start(farToo = true): Promise<void> {
    this.farPort = await findFreePort();
    if (farToo) await this.startFar();
    const port = await findFreePort();
    const folder = join(this.folder, 'near');
    this.near = await startProcess(this.options.kind, { core: undefined }, port, (own) =>
      this.command(port, own, true, folder),
    );
  }

  async startFar(): Promise<void> {
    const port = this.farPort;
    const folder = join(this.folder, 'far');
    this.far = await startProcess(this.options.kind, { core: undefined }, port, (own) =>
      this.command(port, own, false, folder),
    );
  }

  async stop(): Promise<void> {
    await this.near.stop();
    await this.far?.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  private command(port: number, own: string, bridges: boolean, data: string): string[] {
    return this.options.kind === 'dunlin' ? this.dunlin(port, own, bridges, data) : this.mosquitto(port, own, bridges);
  }

  private dunlin(port: number, own: string, bridges: boolean, data: string): string[] {
    const { root, node, qos, version, storage } = this.options;
    if (!existsSync(join(root, 'dist', 'apps', 'cli', 'main.js')))
      throw new Error('dunlin is not built: run `npm run build` first');
    const queue = { messagesMax: QUEUE_MESSAGES_MAX, bytesMax: QUEUE_BYTES_MAX };
    const bridge = {
      name: 'bench',
      remotes: [{ host: '127.0.0.1', port: this.farPort }],
      protocolVersion: version,
      reconnect: { maximumSeconds: 1 },
      queue,
      topics: [{ topic: 'bench/#', direction: 'out', qos }],
    };
    const config = {
      listeners: [{ name: 'bench', host: '127.0.0.1', port }],
      storage: { mode: storage, path: data },
      limits: { queueMessagesMax: QUEUE_MESSAGES_MAX, queueBytesMax: QUEUE_BYTES_MAX },
      log: { level: 'error' },
      ...(bridges ? { bridges: [bridge] } : {}),
    };
    const file = join(own, 'dunlin.yaml');
    writeFileSync(file, JSON.stringify(config));
    return [node, join(root, 'bin', 'dunlin.mjs'), '-c', file];
  }

  private mosquitto(port: number, own: string, bridges: boolean): string[] {
    const { qos, version } = this.options;
    const program = findProgram('mosquitto');
    if (program === undefined) throw new Error('mosquitto is not installed');
    const file = join(own, 'mosquitto.conf');
    const lines = [
      'allow_anonymous true',
      'log_type error',
      'set_tcp_nodelay true',
      `max_queued_messages ${QUEUE_MESSAGES_MAX}`,
    ];
    lines.push(`listener ${port} 127.0.0.1`);
    if (bridges)
      lines.push(
        'connection bench',
        `address 127.0.0.1:${this.farPort}`,
        `bridge_protocol_version ${version === '5.0' ? 'mqttv50' : 'mqttv311'}`,
        'cleansession false',
        'restart_timeout 1',
        `topic bench/# out ${qos}`,
      );
    writeFileSync(file, `${lines.join('\n')}\n`);
    return [program, '-c', file];
  }
}
