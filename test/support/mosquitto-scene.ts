/** A broker in this process, made from the text of a mosquitto.conf, and clients for it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createLogger } from '../../src/broker/index.js';
import { formatProblem, mapMosquittoFile, resolveMosquitto } from '../../src/config/index.js';
import { type Broker, createBroker } from '../../src/index.js';
import type { ProtocolVersion } from '../../src/protocol/index.js';
import { freePort } from './free-port.js';
import { WireClient } from './wire-client.js';

export { freePort };

export class MosquittoScene {
  readonly folder = mkdtempSync(join(tmpdir(), 'dunlin-mosquitto-'));
  readonly ports: number[] = [];
  readonly log: string[] = [];
  broker!: Broker;
  private readonly clients: WireClient[] = [];

  file(name: string, text: string): string {
    const path = join(this.folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    return path;
  }

  /** `PORT`, `PORT2`, … in the text are free ports, `DIR` is the folder. */
  async start(text: string): Promise<void> {
    for (const name of ['PORT', 'PORT2', 'PORT3', 'PORT4'])
      if (new RegExp(`\\b${name}\\b`).test(text)) this.ports.push(await freePort());
    const filled = text
      .replace(/\bPORT(\d?)\b/g, (_, number: string) => String(this.ports[Number(number || '1') - 1]))
      .replace(/\bDIR\b/g, this.folder);
    await this.run(this.file('mosquitto.conf', filled));
  }

  /** Ends the broker and starts it again, with the same file. */
  async restart(): Promise<void> {
    await this.broker.stop();
    await this.run(join(this.folder, 'mosquitto.conf'));
  }

  private async run(file: string): Promise<void> {
    const { config, problems } = resolveMosquitto(mapMosquittoFile(file), file);
    assert.deepEqual(problems.map(formatProblem), []);
    const { destinations: _, file: __, ...log } = config!.log;
    const logger = createLogger({ ...log, stream: { write: (line: string) => this.log.push(line) } });
    const { protection } = config!;
    // A broker that a busy machine holds up does not refuse its clients for that.
    const overload = { ...protection.overload, eventLoopDelayMsMax: 0 };
    this.broker = createBroker({ config: { ...config!, protection: { ...protection, overload } }, logger });
    await this.broker.start();
  }

  /** A client that has a connection and has said nothing; `number` counts the ports from 1. */
  async client(version: ProtocolVersion = 4, number = 1, host = '127.0.0.1'): Promise<WireClient> {
    const socket = connect(this.ports[number - 1]!, host);
    await once(socket, 'connect');
    const client = new WireClient(socket, version);
    this.clients.push(client);
    return client;
  }

  async stop(): Promise<void> {
    for (const { stream } of this.clients) stream.destroy();
    await this.broker?.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Runs `test` with a broker of this configuration and takes it down again. */
export async function withConf(text: string, test: (scene: MosquittoScene) => Promise<void>): Promise<void> {
  const scene = new MosquittoScene();
  try {
    await scene.start(text);
    await test(scene);
  } finally {
    await scene.stop();
  }
}
