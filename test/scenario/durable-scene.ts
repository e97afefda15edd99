/** A broker with storage in a folder of its own, that can be started again on it: after a clean stop, or after a crash. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import { silentLogger } from '../../src/base/index.js';
import type { BrokerOptions, ConfigInput } from '../../src/index.js';
import { PacketType, type ProtocolVersion } from '../../src/protocol/index.js';
import { type DurabilityMode, realFiles, Store } from '../../src/storage/index.js';
import { Scene } from '../support/scene.js';
import { PATIENCE_MS, type ReceivedMessage, type WireClient } from '../support/wire-client.js';

export type { ReceivedMessage, WireClient };
export { PATIENCE_MS };

export const storedModes = ['buffered', 'sync', 'faultTolerant'] as const;

export interface DurableOptions {
  readonly mode?: DurabilityMode;
  readonly version?: ProtocolVersion;
  readonly config?: Omit<ConfigInput, 'storage' | 'listeners'>;
  readonly policy?: BrokerOptions['policy'];
}

export class DurableScene {
  /** The broker that runs now; another one after `restart` and `crash`. */
  scene!: Scene;
  folder: string;
  private readonly root = mkdtempSync(join(tmpdir(), 'dunlin-durable-'));
  private runs = 0;

  constructor(
    private options: DurableOptions,
    folder?: string,
  ) {
    this.folder = folder ?? join(this.root, 'data');
  }

  async start(more: DurableOptions = {}): Promise<void> {
    this.options = { ...this.options, ...more };
    const { mode = 'buffered', version = 5, config, policy } = this.options;
    this.scene = new Scene(version, {
      config: { ...config, storage: { mode, path: this.folder } },
      ...(policy === undefined ? {} : { policy }),
    });
    await this.scene.start();
  }

  /** Stops the broker as an operator does, and starts another one on the folder; `more` are settings that differ. */
  async restart(more: DurableOptions = {}): Promise<void> {
    await this.scene.stop();
    await this.start(more);
  }

  /** Starts another broker on what the folder holds at this moment, as if the process had been killed. */
  async crash(more: DurableOptions = {}): Promise<void> {
    await nextTurn(); // what this turn did is stored at its end
    const left = join(this.root, `after-crash-${++this.runs}`);
    cpSync(this.folder, left, { recursive: true, filter: (path) => !path.endsWith('/lock') });
    await this.scene.stop();
    this.folder = left;
    await this.start(more);
  }

  async close(): Promise<void> {
    try {
      await this.scene.stop();
    } finally {
      rmSync(this.root, { recursive: true, force: true });
    }
  }

  /** Bytes of all files in the folder. */
  get bytes(): number {
    return readdirSync(this.folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
  }

  /** Stops the broker and tells what the folder holds: how many entries there are of each kind. */
  async entries(): Promise<Record<string, number>> {
    await this.scene.stop();
    const store = await Store.open({
      mode: this.options.mode ?? 'buffered',
      folder: this.folder,
      files: realFiles,
      log: silentLogger,
    });
    const kinds: Record<string, number> = {};
    for (const { key } of store.scan('', undefined)) kinds[key[0]!] = (kinds[key[0]!] ?? 0) + 1;
    await store.close();
    return kinds;
  }
}

/** Registers a test with a broker of its own. */
export function durable(
  title: string,
  options: DurableOptions,
  body: (durable: DurableScene, scene: () => Scene) => Promise<void>,
): void {
  test(title, { timeout: 6 * PATIENCE_MS }, async () => {
    const each = new DurableScene(options);
    try {
      await each.start();
      await body(each, () => each.scene);
    } finally {
      await each.close();
    }
  });
}

/** Waits until `condition` holds; only a fault takes as long as the tests' patience. */
export async function eventually(what: string, condition: () => boolean): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  while (!condition()) {
    assert.ok(Date.now() < deadline, `waited ${PATIENCE_MS} ms for ${what}`);
    await delay(10);
  }
}

/** Publishes in batches that the broker's Receive Maximum allows; resolves when the last is acknowledged. */
export async function publishMany(
  client: WireClient,
  count: number,
  topicName: (index: number) => string,
  payload: (index: number) => string | Uint8Array,
  options: { readonly qos?: 1; readonly retain?: boolean } = {},
): Promise<void> {
  for (let index = 0; index < count; ) {
    const batch = Math.min(90, count - index);
    for (let each = 0; each < batch; each++, index++)
      client.publish(topicName(index), payload(index), { qos: 1, ...options });
    for (let each = 0; each < batch; each++) {
      const { packet } = await client.next();
      assert.ok(
        packet.type === PacketType.Puback && packet.reasonCode < 0x80,
        `PUBACK expected: ${JSON.stringify(packet)}`,
      );
    }
  }
}

/** Takes `count` messages, acknowledges each that asks for it, and returns them. */
export async function takeMessages(client: WireClient, count: number): Promise<ReceivedMessage[]> {
  const messages: ReceivedMessage[] = [];
  while (messages.length < count) {
    const message = await client.message();
    messages.push(message);
    if (message.qos === 1) client.puback(message.packetId);
  }
  return messages;
}

export const payloadsOf = (messages: readonly ReceivedMessage[]): string[] => messages.map(({ payload }) => payload);

export const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, index) => String(from + index));

/** Takes and acknowledges QoS 0 and 1 messages until there are none left. */
export async function takeAll(client: WireClient): Promise<ReceivedMessage[]> {
  const all: ReceivedMessage[] = [];
  for (;;) {
    const before = all.length;
    client.send({ type: PacketType.Pingreq });
    for (;;) {
      const { packet, bytes } = await client.next();
      if (packet.type === PacketType.Pingresp) break;
      assert.ok(packet.type === PacketType.Publish, `expected a PUBLISH, got ${bytes.toString('hex')}`);
      const { topicName, payload, qos, retain, dup, packetId = 0, properties = {} } = packet;
      all.push({ topicName, payload: payload.toString(), qos, retain, dup, packetId, properties, bytes });
      if (qos === 1) client.puback(packetId);
    }
    if (all.length === before) return all;
  }
}

/** Resolves when the broker has handled all that the client sent; messages that come meanwhile are not acknowledged. */
export async function handled(client: WireClient): Promise<void> {
  client.send({ type: PacketType.Pingreq });
  while ((await client.next()).packet.type !== PacketType.Pingresp);
}
