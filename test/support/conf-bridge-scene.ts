/** A broker made from a mosquitto.conf with bridges, the remotes that a test plays for it, and clients of the broker. */
import assert from 'node:assert/strict';
import type { TlsOptions } from 'node:tls';
import { PacketType, type ProtocolVersion, type QoS } from '../../src/protocol/index.js';
import { type FakeConnection, FakeRemote, reaches } from './bridge-scene.js';
import { MosquittoScene } from './mosquitto-scene.js';
import type { WireClient } from './wire-client.js';

export interface ConfBridgeOptions {
  /** Lines in front of the listener: what holds for the whole broker. */
  readonly global?: readonly string[];
  /** How many remotes there are; `REMOTE`, `REMOTE2`, … in the lines are their addresses. */
  readonly remotes?: number;
  /** The remotes speak TLS. */
  readonly tls?: TlsOptions;
  /** Files of the folder that `DIR` in the lines stands for. */
  readonly files?: Readonly<Record<string, string>>;
}

export class ConfBridgeScene {
  readonly local = new MosquittoScene();
  readonly remotes: FakeRemote[] = [];

  /** The first of the remotes. */
  get remote(): FakeRemote {
    return this.remotes[0]!;
  }

  /** A client of the broker that has connected. */
  async client(clientId = 'near', version: ProtocolVersion = 4): Promise<WireClient> {
    const client = await this.local.client(version);
    await client.connect({ clientId });
    return client;
  }

  /** Publishes at the broker as a client, which then leaves; resolves when the broker has answered. */
  async publish(topicName: string, payload: string, qos: 0 | 1 | 2 = 1, retain = false): Promise<void> {
    const client = await this.client(`publisher-${++this.publishers}`);
    assert.equal(await client.deliver(topicName, payload, { qos, retain }), 0);
    client.stream.destroy();
  }
  private publishers = 0;

  /** The next connection of a bridge, which is told yes. */
  async accepted(remote = this.remote, sessionPresent = false): Promise<FakeConnection> {
    const connection = await remote.connection();
    await connection.accept(sessionPresent);
    return connection;
  }

  /** Resolves when the bridge is in the state. */
  reaches(name: string, state: 'connected' | 'waiting' | 'idle') {
    return reaches(this.local.broker, name, state);
  }

  async stop(): Promise<void> {
    await this.local.stop();
    for (const remote of this.remotes) remote.close();
  }
}

/** Runs `test` with a broker whose file ends with these lines: a listener for everybody stands before them. */
export async function withBridges(
  lines: readonly string[],
  test: (scene: ConfBridgeScene) => Promise<void>,
  { global = [], remotes = 1, tls, files = {} }: ConfBridgeOptions = {},
): Promise<void> {
  const scene = new ConfBridgeScene();
  try {
    for (let count = 0; count < remotes; count++) scene.remotes.push(await FakeRemote.listen(tls));
    for (const [name, text] of Object.entries(files)) scene.local.file(name, text);
    const filled = [...global, 'allow_anonymous true', 'listener PORT 127.0.0.1', ...lines].map((line) =>
      line.replace(/\bREMOTE(\d?)\b/g, (_, number: string) => scene.remotes[Number(number || '1') - 1]!.address),
    );
    await scene.local.start(`${filled.join('\n')}\n`);
    await test(scene);
  } finally {
    await scene.stop();
  }
}

/** The next message that a bridge has sent, in short; exchanges are answered. */
export async function sent(connection: FakeConnection): Promise<string> {
  const answer = (type: 4 | 5 | 7, packetId: number) => connection.send({ type, packetId, reasonCode: 0 });
  for (;;) {
    const packet = await connection.any();
    if (packet.type === PacketType.Pubrel) answer(PacketType.Pubcomp, packet.packetId);
    if (([PacketType.Pubrel, PacketType.Pingreq, PacketType.Unsubscribe] as number[]).includes(packet.type)) {
      connection.passedOver.push(packet.type);
      continue;
    }
    if (packet.type !== PacketType.Publish) assert.fail(`expected a PUBLISH, got ${JSON.stringify(packet)}`);
    const { topicName, payload, qos, retain, packetId } = packet;
    if (qos > 0) answer(qos === 1 ? PacketType.Puback : PacketType.Pubrec, packetId!);
    return `${topicName} ${Buffer.from(payload).toString()} ${qos}${retain ? ' retained' : ''}`;
  }
}

/** Sends a message as the remote does, and sees it acknowledged. */
export async function give(connection: FakeConnection, topicName: string, payload: string, qos: QoS, retain = false) {
  const values = {
    type: PacketType.Publish,
    topicName,
    payload: Buffer.from(payload),
    qos,
    retain,
    dup: false,
  } as const;
  connection.send(qos === 0 ? values : { ...values, packetId: 1 });
  if (qos === 1) await connection.packet(PacketType.Puback);
  if (qos < 2) return;
  await connection.packet(PacketType.Pubrec);
  connection.send({ type: PacketType.Pubrel, packetId: 1, reasonCode: 0 });
  await connection.packet(PacketType.Pubcomp);
}
